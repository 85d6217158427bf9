r"""Saturation makes gradients vanish where a bias or an input causes it; where large weights cause it, they explode.

"Where units saturate, the gradient vanishes as well; so initialise with care." The notes S0 and the encyclopaedia say
it of weights that start too large. Of one unit it is true: at $\pm 10$ the slope of the sigmoid is $4.5 \cdot
10^{-5}$. And weights ten times as large as Xavier's do saturate a deep tanh net: nine slopes in ten are small (left
picture).

But its gradient does not vanish. A weight that is ten times as large multiplies the gradient by ten on the way back,
which is more than the slopes take away: from the last layer to the first it *grows* (right picture). Random deep nets
have two phases, and large weights are in the chaotic one (Poole et al. 2016, Schoenholz et al. 2017). Such a net
trains badly since its gradient explodes and points anywhere, and not for lack of a gradient.

Biases are different. They saturate units without making the way back steeper: with a bias of 5 in every unit 8 layers
take more than $10^{15}$ from the gradient.

## Mathematics
For independent weights of variance $\sigma_w^2 / n$ the squared norm of a gradient is multiplied in each layer, on
average, by
$$\chi = \sigma_w^2 \, \mathbb{E}\big[s'(a)^2\big].$$
Where $a$ has a standard deviation proportional to $\sigma_w$, a share of about $1/\sigma_w$ of the units is not
saturated, so $\chi$ grows like $\sigma_w$ for large weights. A bias changes the expectation alone.

## Try it
>>> import tinygrad_rnn as tg
>>> a = tg.tensor([0.0, 10.0, -10.0], dtype=tg.float64, requires_grad=True)
>>> tg.sigmoid(a).sum().backward()
>>> [f"{slope:.3g}" for slope in a.grad.tolist()]
['0.25', '4.54e-05', '4.54e-05']

## It would be false if
tanh nets with weights ten times too large had a smaller gradient in the first layer than in the last.

## Exercise
Find the gain at which the gradient of a *sigmoid* net of 8 layers neither falls nor grows. Is it a good place to
start from? Look at the slopes there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics, nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

STARTS = {"Xavier": (1.0, 0.0), "10 x Xavier": (10.0, 0.0), "bias 5": (1.0, 5.0)}
DEPTH = 8


def network(gain: float, bias: float, width: int) -> nn.Sequential:
    """A tanh net with weights of variance gain^2 / width."""
    layers: list[Any] = []
    for _ in range(DEPTH):
        linear = nn.Linear(width, width)
        nn.init.xavier_normal_(linear.weight, gain=gain)
        assert linear.bias is not None
        nn.init.constant_(linear.bias, bias)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers)


def norms(model: Any, x: Any) -> tuple[Any, Any]:
    """log |dE/da| of the arguments a of each layer's activations, and the mean of their squared slopes."""
    # lab: begin
    arguments, y = [], x
    for linear, _ in zip(model[::2], model[1::2], strict=True):
        arguments.append(linear(y))
        y = tg.tanh(arguments[-1])
    gradients: Any = tg.autograd.grad((y**2).sum() / 2, arguments)
    slopes = [1 - tg.tanh(a.detach()) ** 2 for a in arguments]
    logs = [float(tg.log(g.norm())) for g in gradients]
    squares = [float((s**2).mean()) for s in slopes]
    # lab: end
    return np.array(logs), np.array(squares)


def measured(size: Size, seed: int, fine: str = "Xavier") -> Result:
    """Slopes and gradients, layer by layer, of nets that start in different ways."""
    width = 64 if size == "quick" else 512
    a = tg.tensor([-10.0, 10.0], requires_grad=True)
    tg.sigmoid(a).sum().backward()
    at_ten = float(abs(a.grad - 4.5395807735951673e-05).max())
    x = tg.randn(64, width)
    arrays: dict[str, Any] = {}
    numbers: dict[str, Any] = {}
    for name, (gain, bias) in STARTS.items():
        model = network(*(STARTS[fine] if name == "Xavier" else (gain, bias)), width)
        found = diagnostics.saturation(model, x)
        logs, squares = norms(model, x)
        arrays |= {f"slopes, {name}": found.histograms, f"small, {name}": found.small, f"log norm, {name}": logs}
        arrays[f"predicted, {name}"] = 0.5 * np.log(gain**2 * squares[:-1])
        numbers[f"{name}: slopes below 0.05 in layer {DEPTH}"] = float(found.small[-1])
        numbers[f"{name}: log |gradient|, first less last layer"] = float(logs[0] - logs[-1])
    kept = {name: arrays[f"log norm, {name}"][0] - arrays[f"log norm, {name}"][-1] for name in STARTS}
    theory = float(arrays["predicted, 10 x Xavier"].sum())
    large = "10 x Xavier"
    checks = [
        Check("slope of the sigmoid at 10 and -10", at_ten, "<", 1e-16, "4.54e-5; 1 - s is rounded to 1e-16"),
        Check("Xavier leaves slopes open", arrays["small, Xavier"][-1], "<", 0.01, "share below 0.05; 0 in 20 seeds"),
        Check("large weights saturate", arrays[f"small, {large}"][-1], ">", 0.75, "0.81 the smallest of 20 seeds"),
        Check("their gradient grows nevertheless", kept[large], ">", 3.0, "nats; 5.4 the smallest of 20 seeds"),
        Check("a bias makes it vanish", kept["bias 5"], "<", -20.0, "nats; -37 the largest of 20 seeds"),
        Check("growth as chi says", kept[large] / theory, "between", (0.7, 1.3), "within 0.08 in 20 seeds"),
    ]
    because = (
        f"a bias of 5 takes e^{kept['bias 5']:.0f} from the gradient of {DEPTH} layers, but with weights 10 times too "
        f"large, where {arrays[f'small, {large}'][-1]:.0%} of the slopes are small, it grows by e^{kept[large]:.1f}"
    )
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """Histograms of slopes to the left, the gradient by layer to the right."""
    grid = figure.add_gridspec(3, 2)
    right = figure.add_subplot(grid[:, 1])
    edges = np.linspace(0, 1, 21)
    for k, name in enumerate(STARTS):
        ax = figure.add_subplot(grid[k, 0])
        ax.stairs(arrays[f"slopes, {name}"][-1], edges, fill=True, color=COLOURS[k], alpha=0.6)
        ax.set_ylim(0, 1)
        ax.set_title(name, fontsize=9)
        ax.tick_params(labelbottom=k == 2)
        if k == 1:
            ax.set_ylabel("share of slopes, last layer")
        logs = arrays[f"log norm, {name}"]
        shown = (logs - logs[-1]) / math.log(10)
        right.plot(np.arange(1, DEPTH + 1), shown, color=COLOURS[k], marker=MARKERS[k], label=name)
    ax.set_xlabel("slope of tanh")
    right.axhline(0, color=GREY, linewidth=0.8)
    right.set_xlabel("layer (1 is the first)")
    right.set_ylabel("log₁₀ |gradient|, against the last layer")
    right.legend(fontsize=8)


@experiment(
    11,
    "Saturation",
    source="notes S0; encyclopaedia page S3; Glorot and Bengio 2010; Schoenholz et al. 2017, section 3",
    seconds=0.1,
    full_seconds=2,
)
def run(size: Size, seed: int) -> Result:
    """Whether saturated units make gradients vanish, by what saturated them."""
    return measured(size, seed)


@run.broken("weights that are too large called fine", fails="Xavier leaves slopes open")
def too_large(size: Size, seed: int) -> Result:
    """The net that should start as Xavier says has weights ten times as large."""
    return measured(size, seed, fine="10 x Xavier")


@run.smallest
def smallest() -> tg.Tape:
    """One sigmoid unit at 0 and one at 10."""
    a = tg.tensor([0.0, 10.0], requires_grad=True)
    with tg.Tape() as tape:
        y = tg.sigmoid(a)
        y.sum().backward()
    return tape

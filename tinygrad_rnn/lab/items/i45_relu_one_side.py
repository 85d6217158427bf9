r"""ReLU saturates on one side only, and so suffers less from vanishing gradients than sigmoid and tanh.

S3 says so of rectifiers. The reason sounds plain: a derivative that is 0 stops the gradient, and of ReLU's derivative
that is true on one side, of the sigmoid's almost on both. Counted like that the claim comes out *upside down*: half of
all slopes of a ReLU network are exactly 0, and none of a sigmoid's. A ReLU network would be the one that vanishes.

What counts is the product along the way. Half of the slopes are 0 and the others 1, so the mean *squared* slope is 1/2,
and weights of variance $2/n$ (He et al. 2015) make up for exactly that: gradients keep their size over 32 layers
(picture). The sigmoid's slopes are all positive and all small, 1/16 when squared at the most; drawn for it as for tanh
(Xavier), each layer leaves less than a quarter of the norm. No slope is 0, and nothing arrives. Tanh is between.

The one side has its price: a unit whose input is negative for all samples gets no gradient from any of them, and does
not learn. They are counted in the picture to the right. In a deep ReLU network there are many of these from the start,
since samples become alike from layer to layer; with a bias of $-1$ (as after a step that was too large) all are dead
from the fourth layer on, and the network is a constant.

## Mathematics
For one layer, $\partial E / \partial z_l = s'(z_l) \odot W_{l+1}^T \, \partial E / \partial z_{l+1}$, so that the
expected squared norm is multiplied by
$$\sigma^2 \, \mathbb{E}\, s'(z)^2 = \begin{cases} 2 \cdot \tfrac12 = 1 & \text{ReLU, } \sigma^2 = 2 \\
1 \cdot \mathbb{E}\, s'^2 \le \tfrac1{16} & \text{sigmoid, } \sigma^2 = 1. \end{cases}$$

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn import diagnostics, nn
>>> x = tg.linspace(-3, 3, 7).reshape(7, 1)
>>> found = diagnostics.saturation(nn.ReLU(), x)
>>> found.zero.round(2).tolist(), found.dead.tolist()             # 4 of 7 slopes are 0; the unit is not dead
([0.57], [0.0])

## It would be false if
gradients of a ReLU network with He's weights shrank like those of a sigmoid network, or if some size of weights of
the sigmoid kept them.

## Exercise
Replace ReLU by leaky ReLU with slope $a$ for negative inputs. Which variance keeps the gradient, and what becomes of
the dead units? Check both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics, nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

KINDS: dict[str, tuple[Any, float]] = {"relu": (nn.ReLU, 2.0), "tanh": (nn.Tanh, 1.0), "sigmoid": (nn.Sigmoid, 1.0)}
LAYERS = 32


def network(kind: str, width: int, bias: float = 0.0) -> nn.Sequential:
    """Layers with weights of variance 2/n for relu, 1/n for the others."""
    activation, variance = KINDS[kind]
    layers = [nn.Linear(width, width) for _ in range(LAYERS)]
    for layer in layers:
        nn.init.normal_(layer.weight, 0, np.sqrt(variance / width))
        nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    return nn.Sequential(*[module for layer in layers for module in (layer, activation())])


def measured(size: Size, seed: int, count_zeros: bool = False) -> Result:
    """Gradients by layer, shares of slopes that are 0, and dead units, of three activations."""
    width, samples = (128, 16) if size == "quick" else (512, 64)
    x = tg.randn(samples, width)
    curves, zeros, dead = {}, {}, {}
    for kind in KINDS:
        net, towards = network(kind, width), tg.randn(samples, width)
        # lab: begin
        slopes = diagnostics.saturation(net, x)
        zeros[kind], dead[kind] = slopes.zero, slopes.dead
        depth = diagnostics.depth(net, lambda y, towards=towards: (y * towards).sum(), x)
        curves[kind] = depth.log_of_output - depth.log_of_output[-1]
        if count_zeros:  # the statistic of the twin: what share of slopes lets a gradient pass
            curves[kind] = np.cumsum(np.log(1 - slopes.zero)[::-1])[::-1]
        # lab: end
    dead["relu, bias -1"] = diagnostics.saturation(network("relu", width, -1.0), x).dead
    factor = {kind: float(np.exp(curve[0] / (LAYERS - 1))) for kind, curve in curves.items()}
    checks = [
        Check("half of relu's slopes are 0", zeros["relu"].mean(), "between", (0.4, 0.6), "20 seeds: 0.49 to 0.51"),
        Check("none of the sigmoid's", zeros["sigmoid"].max(), "==", 0, "s (1 - s) at |z| < 10"),
        Check("relu keeps the norm", factor["relu"], "between", (0.8, 1.2), "1 in theory; 20 seeds: 0.99 to 1.02"),
        Check(
            "sigmoid loses it", factor["sigmoid"], "<", 0.3, "1/4 at most with Xavier's weights; 20 seeds: at most 0.24"
        ),
        Check("tanh is between", factor["tanh"], "between", (0.85, 0.98), "20 seeds: 0.93 to 0.95"),
        Check("relu has dead units", dead["relu"][-1], ">", 0.05, "of the last layer; 20 seeds: at least 0.25"),
        Check("tanh and sigmoid have none", dead["tanh"].max() + dead["sigmoid"].max(), "==", 0, "no slope is 0"),
        Check(
            "a negative bias kills more",
            dead["relu, bias -1"][-1] - dead["relu"][-1],
            ">",
            0.1,
            "20 seeds: at least 0.49",
        ),
    ]
    numbers: dict[str, Any] = {f"factor per layer, {kind}": value for kind, value in factor.items()}
    numbers |= {f"share of slopes that are 0, {kind}": float(value.mean()) for kind, value in zeros.items()}
    numbers |= {f"dead units, last layer, {kind}": float(value[-1]) for kind, value in dead.items()}
    because = (
        f"weights are He's: then gradients keep their size ({factor['relu']:.2f} a layer, sigmoid "
        f"{factor['sigmoid']:.2f}), "
        f"although {zeros['relu'].mean():.0%} of its slopes are 0 and none of the sigmoid's"
    )
    arrays = {f"log gradient, {k}": v for k, v in curves.items()} | {f"dead, {k}": v for k, v in dead.items()}
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """Gradients by layer to the left, dead units to the right."""
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    layers = np.arange(1, LAYERS + 1)
    for k, kind in enumerate(KINDS):
        logs = arrays[f"log gradient, {kind}"] / np.log(10)
        left.plot(layers, logs, color=COLOURS[k], marker=MARKERS[k], markevery=4, label=kind)
    left.axhline(0, color=GREY, linewidth=1)
    left.set_xlabel("layer")
    left.set_ylabel(r"$\log_{10}$ of $|\partial E/\partial z_l|$, last layer 0")
    left.legend(fontsize=9)
    for k, kind in enumerate(("relu", "relu, bias -1", "sigmoid")):
        colour = COLOURS[(0, 3, 2)[k]]
        style = ("-", "--", ":")[k]
        right.plot(
            layers, 100 * arrays[f"dead, {kind}"], style, color=colour, marker=MARKERS[(0, 4, 2)[k]], markevery=4
        )
        right.lines[-1].set_label(kind)
    right.set_xlabel("layer")
    right.set_ylabel("units dead for all samples (%)")
    right.legend(fontsize=9, loc="upper right", bbox_to_anchor=(1, 0.93))


@experiment(
    45,
    "ReLU saturates on one side",
    source="S3; Glorot, Bordes and Bengio 2011; He et al. 2015",
    seconds=0.4,
    full_seconds=4,
)
def run(size: Size, seed: int) -> Result:
    """Products of slopes and weights over 32 layers, beside the shares of slopes that are 0."""
    return measured(size, seed)


@run.broken("the share of zero slopes decides", fails="relu keeps the norm")
def count_zeros(size: Size, seed: int) -> Result:
    """Each layer is said to pass the share of slopes that are not 0: then relu vanishes, and the sigmoid does not."""
    return measured(size, seed, count_zeros=True)


@run.smallest
def smallest() -> tg.Tape:
    """Two relu units of which one is shut: its weight gets 0, the other's all."""
    x = tg.tensor([1.0, 2.0])
    w = tg.tensor([[0.5, 0.5], [-0.5, -0.5]], requires_grad=True)
    with tg.Tape() as tape:
        tg.relu(w @ x).sum().backward()
    return tape

r"""Gradients vanish in any deep network, not in recurrent ones alone; direct connections keep them.

So say the lecture notes S1, and S3: "vanishing gradients are a problem of all deep architectures; the fix is to add
direct connections, so that the gradient can flow." The experiment measures it: networks of 2 to 64 layers of
$\tanh(W x + b)$, plain and with the three known kinds of direct connections (`nn.Residual`, `nn.Highway`, `nn.Dense`),
all drawn as `nn.Linear` draws them. What is shown is the gradient of the first layer's weight over that of the last.

The claim holds, with two remarks that the sources do not make.

- A direct connection is as good as what it multiplies by. A residual block adds the identity. A highway block carries
  $1 - T$ of its input, which is 0.88 where its gate has the bias $-2$, and $0.88^{64}$ is small: its curve falls, later
  than that of the plain network, and a lower bias makes it fall later still.
- A plain network vanishes *as it is drawn*. Drawn orthogonal it does not (dotted curve): 64 layers, and all of the
  gradient arrives. Direct connections need no such care, and stay when training changes the weights.

## Mathematics
The gradient of the first layer's output is a product over all layers,
$$\frac{\partial E}{\partial h_1} = J_2^T J_3^T \cdots J_L^T \, \frac{\partial E}{\partial h_L}, \qquad
J_l = \operatorname{diag}(1 - h_l^2) \, W_l .$$
Entries of $W_l$ from $U(-1/\sqrt{n}, 1/\sqrt{n})$ have the variance $1/(3n)$, so that $J_l^T$ multiplies a norm by at
most about $\sqrt{1/3} = 0.58$: after 32 layers by $2 \cdot 10^{-8}$. A residual block has $I + J_l$ in its place, a
highway block about $(1 - T) I + T J_l$, and in a dense block every layer reads the input itself.

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn import diagnostics, nn
>>> _ = tg.manual_seed(0)
>>> plain = nn.Sequential(*[nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(32)])
>>> direct = nn.Sequential(*[nn.Residual(block) for block in plain])
>>> x = tg.randn(8, 16)
>>> for net in (plain, direct):
...     found = diagnostics.depth(net, lambda y: (y**2).sum(), x)
...     print(found.log_first_over_last < -10)
True
False

## It would be false if
the curve of the plain network were flat as it is drawn by default, or those of residual and dense networks fell.

## Exercise
At which bias of its gate does a highway network of 64 layers keep a tenth of the gradient? Predict it from
$(1 - T)^{64}$ first, then measure.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.result import COLOURS, MARKERS

from ..experiment import Check, Result, Size, experiment

KINDS = ("plain", "residual", "highway", "dense", "plain, orthogonal")
DEPTHS = (2, 4, 8, 16, 32, 64)
GROWTH = 4


def network(kind: str, depth: int, width: int) -> tuple[nn.Module, list[nn.Linear]]:
    """A network, and its layers without their connections."""
    # lab: begin
    if kind == "dense":
        layers = [nn.Linear(width + k * GROWTH, GROWTH) for k in range(depth)]
        return nn.Dense(*[nn.Sequential(layer, nn.Tanh()) for layer in layers]), layers
    layers = [nn.Linear(width, width) for _ in range(depth)]
    blocks: list[nn.Module] = [nn.Sequential(layer, nn.Tanh()) for layer in layers]
    if kind == "residual":
        blocks = [nn.Residual(block) for block in blocks]
    elif kind == "highway":
        blocks = [nn.Highway(block, width, bias=-2.0) for block in blocks]
    return nn.Sequential(*blocks), layers
    # lab: end


def ratio(kind: str, depth: int, width: int) -> float:
    """log10 of |dE/dW_1| / |dE/dW_L| for the squared distance to a random target."""
    net, layers = network(kind, depth, width)
    for layer in layers if "orthogonal" in kind else ():
        nn.init.orthogonal_(layer.weight)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    y = net(tg.randn(32, width))
    ((y - tg.randn(*y.shape)) ** 2).mean().backward()
    first, last = (float(np.linalg.norm(layer.weight.grad.numpy())) for layer in (layers[0], layers[-1]))  # type: ignore[union-attr]
    return float(np.log10(first / last))


def measured(size: Size, seed: int, forgotten: bool = False) -> Result:
    """The ratio for all depths and kinds; ``forgotten``: the network called residual is a plain one."""
    width, repeats = (16, 1) if size == "quick" else (32, 5)
    found = {
        kind: np.array(
            [
                np.mean(
                    [ratio("plain" if forgotten and kind == "residual" else kind, n, width) for _ in range(repeats)]
                )
                for n in DEPTHS
            ]
        )
        for kind in KINDS
    }
    at_32, at_64 = ({kind: curve[DEPTHS.index(n)] for kind, curve in found.items()} for n in (32, 64))
    checks = [
        Check("plain vanishes at 32 layers", at_32["plain"], "<", -6, "0.58^31 is 10^-7.4; 20 seeds: at most -6.6"),
        Check("residual keeps it at 32 layers", at_32["residual"], ">", -1, "20 seeds: at least -0.07"),
        Check("dense keeps it at 64 layers", at_64["dense"], ">", -1, "20 seeds: at least -0.11"),
        Check("highway keeps more than plain", at_64["highway"] - at_64["plain"], ">", 10, "20 seeds: at least 12.8"),
        Check("highway falls in the end", at_64["highway"], "<", -1, "0.88^63 is 10^-3.5; 20 seeds: at most -1.7"),
        Check("orthogonal plain keeps it", at_64["plain, orthogonal"], ">", -1, "20 seeds: at least 0.0"),
    ]
    numbers = {f"log10 of first over last, 32 layers, {kind}": value for kind, value in at_32.items()}
    numbers |= {f"the same, 64 layers, {kind}": value for kind, value in at_64.items()}
    because = (
        f"of 32 plain layers the first gets {10 ** at_32['plain']:.1e} of the last one's gradient, "
        f"of 32 residual ones {10 ** at_32['residual']:.1f}"
    )
    arrays = {"layers": np.array(DEPTHS), **found}
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, found))


def draw(figure: Any, curves: dict[str, Any]) -> None:
    """One curve for each kind of network."""
    ax = figure.subplots()
    for k, (kind, curve) in enumerate(curves.items()):
        style = ":" if "orthogonal" in kind else "-"
        ax.plot(DEPTHS, curve, style, color=COLOURS[k], marker=MARKERS[k], label=kind)
    ax.set_xscale("log", base=2)
    ax.set_xticks(DEPTHS, [str(n) for n in DEPTHS])
    ax.set_xlabel("layers")
    ax.set_ylabel(r"$\log_{10}$ of gradient norms, first layer / last")
    ax.legend(fontsize=9)


@experiment(
    21,
    "Depth and direct connections",
    source="CS224N 2019, lecture 7 (S1); S3; He 2015, Huang 2016, Srivastava 2015",
    seconds=0.3,
    full_seconds=4,
)
def run(size: Size, seed: int) -> Result:
    """How much of the gradient reaches the first of 2 to 64 layers, without and with direct connections."""
    return measured(size, seed)


@run.broken("a plain network is called residual", fails="residual keeps it at 32 layers")
def forgotten(size: Size, seed: int) -> Result:
    """The connection was left out, and the network runs and trains all the same."""
    return measured(size, seed, forgotten=True)


@run.smallest
def smallest() -> tg.Tape:
    """Two residual blocks of one unit: what arrives at the input is a sum over four paths."""
    x = tg.tensor([0.5], requires_grad=True)
    w_1, w_2 = (tg.tensor([w], requires_grad=True) for w in (0.3, -0.4))
    with tg.Tape() as tape:
        h_1 = x + tg.tanh(w_1 * x)
        h_2 = h_1 + tg.tanh(w_2 * h_1)
        h_2.sum().backward()
    return tape

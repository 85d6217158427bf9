r"""ResNet adds the identity, DenseNet joins all to all, a highway gates: each leaves the gradient a way of its own.

S1 names the three kinds of direct connections, S3 the first. They are modules here, around any module:
`nn.Residual(F)` is $F(x) + x$ (He et al. 2015), `nn.Dense(H_1, ..., H_n)` hands every module all that was there before
it (Huang et al. 2016), and `nn.Highway(H, size)` mixes by a gate that is learned (Srivastava et al. 2015). They stand
around recurrent layers and between them, and take padded and packed sequences.

What is said of them is exact, and is checked to rounding. The Jacobian of a residual block is the identity plus that of
its branch: its singular values lie around 1 where those of the branch lie around 0 (right picture), and products of
such Jacobians neither vanish nor explode soon. A highway block turns from the identity into the plain layer while its
gate opens (left picture); at both ends it is that to the last bit, in between its Jacobian has a third term, through
the gate, which drawings of it leave out.

## Mathematics
Residual: $\dfrac{\partial y}{\partial x} = I + J_F$.

Highway, $y = T \odot H + (1 - T) \odot x$ with $T = \sigma(W x + b)$:
$$\frac{\partial y}{\partial x} = \operatorname{diag}(T)\, J_H + \operatorname{diag}(1 - T)
+ \operatorname{diag}\big((H - x)\, T (1 - T)\big)\, W .$$
Dense: the features are $[x_0, x_1, \ldots, x_n]$ with $x_k = H_k([x_0, \ldots, x_{k-1}])$, so that $2^n$ paths
lead from $x_0$ into the features, one of them of length 0. Of $K$ features and the growth rate $G$ come $K + nG$.

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn import nn
>>> from tinygrad_rnn.autograd.functional import jacobian
>>> layer = nn.Residual(nn.Tanh())
>>> jacobian(layer, tg.zeros(2))                                  # I + diag(1 - tanh(0)^2)
tensor([[2., 0.],
        [0., 2.]])
>>> model = nn.Sequential(nn.LSTM(3, 4), nn.Residual(nn.Sequential(nn.Linear(4, 4), nn.Tanh())), nn.GRU(4, 4))
>>> output, h_n = model(tg.zeros(5, 2, 3))

## It would be false if
the Jacobian of a residual block differed from $I + J_F$ by more than rounding, or a highway block whose gate is shut
changed its input.

## Exercise
For which $F$ is the Jacobian of `nn.Residual(F)` singular, so that a gradient can vanish in one block after all? Build
one with two units and show it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.autograd.functional import jacobian
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS
from tinygrad_rnn.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..experiment import Check, Result, Size, experiment

BIASES = tuple(range(-12, 13, 2))


class Dropped(nn.Residual):
    """The mistake of the first twin: only the shortcut is left."""

    def forward(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        return super().forward(input, *args, **kwargs) - self.module(input)


class Swapped(nn.Highway):
    """The mistake of the second: T is what is carried."""

    def forward(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        return self.module(input) + input - super().forward(input, *args, **kwargs)


def array(J: Any) -> Any:
    """A Jacobian as a matrix of NumPy's."""
    return J.detach().numpy()


def sequences(K: int) -> float:
    """The largest difference of a packed and a padded run through connections around and between recurrent layers."""
    between = nn.Residual(nn.Sequential(nn.Linear(K, K), nn.Tanh()))
    model = nn.Sequential(nn.LSTM(K, K), between, nn.Residual(nn.GRU(K, K)), nn.Highway(nn.Linear(K, K), K))
    x, lengths = tg.randn(6, 3, K), [6, 4, 1]
    packed, _ = pad_packed_sequence(model(pack_padded_sequence(x, lengths)))
    alone = [model(x[:n, k : k + 1]) for k, n in enumerate(lengths)]
    return max(float(np.abs(array(packed[:n, k] - alone[k][:, 0])).max()) for k, n in enumerate(lengths))


def measured(size: Size, seed: int, residual: Any = nn.Residual, highway: Any = nn.Highway) -> Result:
    """The Jacobians of all three, against the formulas."""
    K, G = (6, 2) if size == "quick" else (32, 8)
    x = tg.randn(K)
    # lab: begin
    branch = nn.Sequential(nn.Linear(K, K), nn.Tanh(), nn.Linear(K, K))
    J_F = array(jacobian(branch, x))
    J = array(jacobian(residual(branch), x))
    off = np.abs(J - (np.eye(K) + J_F)).max()

    gated = highway(branch, K)
    W = array(gated.gate.weight)
    T, H = array(tg.sigmoid(gated.gate(x))), array(branch(x))
    through_gate = ((H - x.numpy()) * T * (1 - T))[:, None] * W
    expected = T[:, None] * J_F + np.diag(1 - T) + through_gate
    off_highway = np.abs(array(jacobian(gated, x)) - expected).max()
    # lab: end
    ends: dict[float, float] = {}
    far: dict[str, list[float]] = {"identity": [], "plain layer": []}
    for bias in (-800.0, 800.0, *BIASES):
        nn.init.constant_(gated.gate.bias, bias)
        y, J_b = array(gated(x)), array(jacobian(gated, x))
        ends[bias] = float(np.abs(y - (x.numpy() if bias < 0 else H)).max())
        if bias in BIASES:
            far["identity"].append(float(np.linalg.norm(J_b - np.eye(K))))
            far["plain layer"].append(float(np.linalg.norm(J_b - J_F)))
    block = nn.Dense(*[nn.Linear(K + k * G, G) for k in range(4)])
    features = block(x)
    alone = block.layers[3](features[: K + 3 * G])
    joined = tg.equal(features[:K], x) and tg.equal(features[K + 3 * G :], alone) and len(features) == K + 4 * G
    values = {
        "branch": np.linalg.svd(J_F, compute_uv=False),
        "block": np.linalg.svd(J, compute_uv=False),
    }
    checks = [
        Check("residual: J = I + J_F", off, "<", 1e-12, "one rounding; 20 seeds: 0"),
        Check("highway: J has three terms", off_highway, "<", 1e-12, "rounding; 20 seeds: 1.1e-16"),
        Check("highway: the gate has its term", np.abs(through_gate).max(), ">", 1e-3, "20 seeds: at least 0.04"),
        Check("highway, shut: the identity", ends[-800.0], "==", 0, "T is exactly 0, and 0 H + 1 x = x"),
        Check("highway, open: the plain layer", ends[800.0], "==", 0, "T is exactly 1"),
        Check("dense: all that was before", joined, "==", True, "the same numbers, side by side"),
        Check(
            "packed as padded", sequences(K), "<", 1e-12, "products of other shapes round otherwise; 20 seeds: 1.1e-16"
        ),
    ]
    numbers = {
        "largest |J - (I + J_F)|, residual": off,
        "largest |J - its three terms|, highway": off_highway,
        "largest entry of the term through the gate": np.abs(through_gate).max(),
        "singular values of J_F, from": values["branch"].min(),
        "to": values["branch"].max(),
        "of I + J_F, from": values["block"].min(),
        "up to": values["block"].max(),
    }
    because = (
        f"the Jacobian of a residual block is I + J_F (off by {off:.1g}), a shut highway is the identity to the bit"
    )
    arrays = {"bias": np.array(BIASES), **{k: np.array(v) for k, v in far.items()}, **values}
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """The gate from shut to open to the left, singular values to the right."""
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    for k, name in enumerate(("identity", "plain layer")):
        left.semilogy(arrays["bias"], arrays[name], color=COLOURS[k], marker=MARKERS[k], label=f"from the {name}")
    left.set_xlabel("bias of the gate")
    left.set_ylabel("distance of the highway's Jacobian")
    left.legend(fontsize=9)
    for k, (name, label) in enumerate((("branch", r"$J_F$"), ("block", r"$I + J_F$"))):
        places = np.arange(1, len(arrays[name]) + 1)
        right.plot(places, arrays[name], color=COLOURS[k + 2], marker=MARKERS[k + 2], label=label)
    right.axhline(1, color=GREY, linestyle=":")
    right.set_xlabel("number of the singular value")
    right.set_ylabel("singular value")
    right.legend(fontsize=9)


@experiment(
    22,
    "ResNet, DenseNet, highway",
    source="CS224N 2019, lecture 7 (S1); S3; He 2015, Huang 2016, Srivastava 2015",
    seconds=0.2,
    full_seconds=1,
)
def run(size: Size, seed: int) -> Result:
    """Jacobians of the three connections against their formulas, and their limits."""
    return measured(size, seed)


@run.broken("the branch is dropped", fails="residual: J = I + J_F")
def dropped(size: Size, seed: int) -> Result:
    """Only the shortcut is left: its Jacobian is I, and nothing is learned."""
    return measured(size, seed, residual=Dropped)


@run.broken("T and 1 - T are swapped", fails="highway, shut: the identity")
def swapped(size: Size, seed: int) -> Result:
    """The gate carries where it should transform, and a negative bias opens it."""
    return measured(size, seed, highway=Swapped)


@run.smallest
def smallest() -> tg.Tape:
    """One highway unit: three contributions meet at x."""
    x, w, u = (tg.tensor([v], requires_grad=True) for v in (0.5, 0.8, 1.5))
    with tg.Tape() as tape:
        t = tg.sigmoid(u * x - 1)
        y = t * tg.tanh(w * x) + (1 - t) * x
        y.sum().backward()
    return tape

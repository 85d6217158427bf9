r"""A residual network lowers the training error, and works as an ensemble of paths, of which the short ones matter.

S3 says the first of ResNet, and the second after Veit, Wilber and Belongie (2016). A network of $n$ residual blocks is
a sum over $2^n$ paths: each block is gone through or around. Three things follow that can be measured, and are.

- The paths add up to the output. For linear branches that is an identity of matrices, here multiplied out for
  $2^8$ paths. For others it is one of Jacobians, at a point.
- There are $\binom{n}{k}$ paths of length $k$, but the gradient is not divided like that: a path's share shrinks with
  every branch on it, and most of the mass lies on paths far shorter than $n/2$ (left picture). The masses are *sums of
  norms*, and add up to more than the norm of the gradient, since paths cancel; articles often pass over that.
- If one block is taken out of a trained residual network, half of the paths are left, and it still works. A plain
  network of the same depth has one path, and without any of its layers it guesses (right picture).

That training error is lower holds for networks as they are usually drawn: 16 plain layers learn nothing here in 100
updates, 16 residual ones all. A plain network that is drawn orthogonal learns too (it is the one at the right); item
21 shows why.

## Mathematics
$$(I + J_n) \cdots (I + J_1) = \sum_{S \subseteq \{1, \ldots, n\}} \; \prod_{i \in S} J_i, \qquad
\Big\lVert \sum_S P_S \Big\rVert \;\le\; \sum_S \lVert P_S \rVert .$$
If each branch had the norm $m$ and nothing cancelled, the mass of length $k$ would be $\binom{n}{k} m^k$, with the mean
length $n m / (1 + m)$: below $n/2$ where $m < 1$.

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn import diagnostics, nn
>>> _ = tg.manual_seed(0)
>>> blocks = [nn.Residual(nn.Sequential(nn.Linear(8, 8), nn.Tanh())) for _ in range(10)]
>>> found = diagnostics.paths(blocks, tg.randn(8))
>>> found.counts.astype(int).tolist()
[1, 10, 45, 120, 210, 252, 210, 120, 45, 10, 1]
>>> bool(found.mean_length < 5), bool(found.log_mass.max() > found.log_total)
(True, True)

## It would be false if
a residual network without one of its blocks were as lost as a plain one, or if the paths of length $n/2$, of which
there are most, carried most of the gradient.

## Exercise
Take out two blocks, then three. How does the accuracy fall with the number of paths that are left, $2^{n-1}$,
$2^{n-2}$, ...? Compare with swapping two blocks, which leaves all paths of length 0 and 1 as they are.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics, nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

DEPTH, DEEP, WIDTH = 8, 16, 8


def network(kind: str, depth: int) -> nn.Sequential:
    """A classifier of points of the plane."""
    if kind == "residual":
        branches = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH)) for _ in range(depth)]
        blocks: list[nn.Module] = [nn.Residual(branch) for branch in branches]
    else:
        layers = [nn.Linear(WIDTH, WIDTH) for _ in range(depth)]
        for layer in layers if kind == "plain, orthogonal" else ():
            nn.init.orthogonal_(layer.weight)
        blocks = [nn.Sequential(layer, nn.Tanh()) for layer in layers]
    return nn.Sequential(nn.Linear(2, WIDTH), *blocks, nn.Linear(WIDTH, 2))


def rings(n: int) -> tuple[tg.Tensor, tg.Tensor]:
    """Points on two rings of radius 1 and 2, with noise, and which ring it is."""
    angle, inner = 2 * np.pi * tg.rand(n), tg.rand(n) > 0.5
    points = tg.stack([tg.cos(angle), tg.sin(angle)], 1) * (2 - inner.to(tg.float64)).unsqueeze(1)
    return points + 0.1 * tg.randn(n, 2), inner.to(tg.int64)


def trained(kind: str, depth: int, updates: int) -> tuple[nn.Sequential, float]:
    """A network and its loss after so many updates."""
    net, (x, ring) = network(kind, depth), rings(128)
    optimizer = tg.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(updates + 1):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), ring)
        loss.backward()
        optimizer.step()
    return net, loss.item()


def without_each(net: nn.Sequential, keep: bool) -> Any:
    """The accuracy without each of the blocks in turn."""
    x, ring = rings(500)
    found = []
    for k in range(1, len(net) - 1):
        rest = [block for number, block in enumerate(net) if number != k or keep]
        found.append((nn.Sequential(*rest)(x).argmax(1) == ring).to(tg.float64).mean().item())
    return np.array(found)


def measured(size: Size, seed: int, norms: bool = False, keep: bool = False) -> Result:
    """Paths of a linear and of a trained network, and what is left of it without a block."""
    updates = 100 if size == "quick" else 500
    rng = np.random.default_rng(seed)
    # lab: begin
    A = 0.5 * rng.standard_normal((DEPTH, WIDTH, WIDTH)) / np.sqrt(WIDTH)
    x = rng.standard_normal(WIDTH)
    y = x
    for branch in A:
        y = y + branch @ y
    paths, lengths = [], []
    for taken in itertools.product([False, True], repeat=DEPTH):
        value = x
        for branch in A[list(taken)]:
            value = branch @ value
        paths.append(value)
        lengths.append(sum(taken))
    each = np.linalg.norm(paths, axis=1)
    whole = each.sum() if norms else np.linalg.norm(np.sum(paths, axis=0))
    off = abs(whole - np.linalg.norm(y)) / np.linalg.norm(y)
    # lab: end
    binomial = [lengths.count(k) == math.comb(DEPTH, k) for k in range(DEPTH + 1)]
    losses = {kind: trained(kind, DEEP, updates)[1] for kind in ("plain", "residual")}
    left, nets = {}, {}
    for kind in ("plain, orthogonal", "residual"):
        nets[kind], _ = trained(kind, DEPTH, updates)
        left[kind] = without_each(nets[kind], keep)
    h = nets["residual"][0](rings(1)[0]).detach()
    by_length = diagnostics.paths(list(nets["residual"])[1:-1], h)
    masses = np.exp(by_length.log_mass - by_length.log_mass.max())
    gain = float((np.exp(by_length.log_mass).sum()) / np.exp(by_length.log_total))
    ratio = losses["residual"] / losses["plain"]
    checks = [
        Check("paths add up to the output", off, "<", 1e-12, "rounding of 256 sums; 20 seeds: at most 2e-15"),
        Check("counts are binomial", all(binomial), "==", True, "which of 8 blocks are gone through"),
        Check("paths cancel", each.sum() / np.linalg.norm(y), ">", 2, "20 seeds: at least 5.4"),
        Check("mass lies on short paths", by_length.mean_length, "<", DEPTH / 2, "20 seeds: at most 2.7 of 8 blocks"),
        Check("residual: lower training error", ratio, "<", 0.1, "16 layers; 20 seeds: at most 0.002"),
        Check("residual works without a block", left["residual"].mean(), ">", 0.7, "20 seeds: at least 0.80"),
        Check("plain does not", left["plain, orthogonal"].mean(), "<", 0.75, "a guess is 0.5; 20 seeds: at most 0.68"),
    ]
    numbers = {
        "training loss, 16 plain layers": losses["plain"],
        "training loss, 16 residual blocks": losses["residual"],
        "accuracy without a block, mean, residual": left["residual"].mean(),
        "accuracy without a layer, mean, plain": left["plain, orthogonal"].mean(),
        "mean length of a path by mass, of 8": by_length.mean_length,
        "masses added up, over the norm of the Jacobian": gain,
    }
    because = (
        f"without one of 8 blocks a residual net is right at {left['residual'].mean():.0%}, a plain one at "
        f"{left['plain, orthogonal'].mean():.0%}; paths carry their gradient at a mean length of "
        f"{by_length.mean_length:.1f}"
    )
    arrays = {"mass": masses, "counts": by_length.counts, **{f"without, {k}": v for k, v in left.items()}}
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """Mass and number of paths by length to the left, accuracy without a block to the right."""
    left, right = figure.subplots(1, 2)
    for k, (name, label) in enumerate((("mass", "gradient mass"), ("counts", "number of paths"))):
        share = arrays[name] / arrays[name].sum()
        left.plot(share, ("-", "--")[k], color=COLOURS[k], marker=MARKERS[k], label=label)
    left.set_xlabel("length of the path (blocks gone through)")
    left.set_ylabel("share of all")
    left.legend(fontsize=9)
    blocks = np.arange(1, DEPTH + 1)
    for k, kind in enumerate(("residual", "plain, orthogonal")):
        style = ("-", "--")[k]
        right.plot(blocks, arrays[f"without, {kind}"], style, color=COLOURS[k + 2], marker=MARKERS[k + 2], label=kind)
    right.axhline(0.5, color=GREY, linestyle=":", label="a guess")
    right.set_xlabel("block that is taken out")
    right.set_ylabel("accuracy")
    right.set_ylim(0, 1.05)
    right.legend(fontsize=9)


@experiment(
    44, "Paths through a residual net", source="S3; He 2015; Veit, Wilber and Belongie 2016", seconds=1, full_seconds=4
)
def run(size: Size, seed: int) -> Result:
    """Where the gradient of a residual network goes, and what one block matters."""
    return measured(size, seed)


@run.broken("sum of norms for norm of the sum", fails="paths add up to the output")
def norms(size: Size, seed: int) -> Result:
    """Paths are thought to add up in size, as if none cancelled another."""
    return measured(size, seed, norms=True)


@run.broken("no block is taken out", fails="plain does not")
def nothing_taken_out(size: Size, seed: int) -> Result:
    """The accuracy is measured with all blocks in their places."""
    return measured(size, seed, keep=True)


@run.smallest
def smallest() -> tg.Tape:
    """Two linear blocks: 1 + a + b + ab, the gradient of x as four contributions."""
    x, a, b = (tg.tensor(v, requires_grad=True) for v in (1.0, 0.5, 0.25))
    with tg.Tape() as tape:
        h = x + a * x
        y = h + b * h
        y.backward()
    return tape

r"""Clipping by norm keeps the direction of the gradient; clipping by value, or each tensor by itself, turns it.

"If the norm of the gradient is greater than some threshold, scale it down before applying the update. Intuition: take
a step in the same direction, but a smaller step." So says lecture 7 of CS224N, and it holds of the *joint* norm of
all gradients, taken as one long vector: the direction is the same to rounding, the norm is the threshold, and below
it not one bit is changed.

Two things that look alike do something else. Clipping each *entry* at a bound pulls the step towards the diagonals:
all entries that are cut off count alike, whatever they were (left picture). And clipping each parameter by a norm of
its own changes how large they are to each other.

## Mathematics
$$\hat g = g \cdot \min\Big(1, \frac{\theta}{\lVert g \rVert + 10^{-6}}\Big), \qquad
\lVert g \rVert^2 = \sum_k \lVert g_k \rVert_F^2$$
The $10^{-6}$ is PyTorch's, against division by 0: the clipped norm falls short of $\theta$ by a part of $10^{-6} /
\lVert g \rVert$.

## Try it
>>> import tinygrad_rnn as tg
>>> p = tg.tensor([0.0, 0.0], requires_grad=True)
>>> p.grad = tg.tensor([3.0, 4.0])
>>> tg.nn.utils.clip_grad_norm_([p], 1.0), p.grad                       # the norm it had; what is left
(tensor(5.), tensor([0.6000, 0.8000]))
>>> p.grad = tg.tensor([3.0, 4.0])
>>> tg.nn.utils.clip_grad_value_([p], 1.0)
>>> p.grad
tensor([1., 1.])

## It would be false if
the clipped gradient had an angle to the one before, or if a gradient below the threshold were changed.

## Exercise
For a gradient of n independent normal entries, clipped by value at a bound far below its entries: what does the
cosine tend to as n grows? (It is $\sqrt{2/\pi}$; why does it not depend on the bound?)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics, nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY

from ..experiment import Check, Result, Size, experiment

Clip = Callable[[list[Any], float], Any]
NORMS = np.geomspace(0.01, 100, 41)


def each_by_itself(parameters: list[Any], max_norm: float) -> None:
    """Clip each parameter by its own norm."""
    for p in parameters:
        nn.utils.clip_grad_norm_([p], max_norm)


def gradients(rng: Any) -> list[Any]:
    """Parameters of several shapes, with gradients of several scales, of joint norm 1."""
    scales = {(8, 4): 1.0, (16,): 0.3, (3, 5, 2): 0.1, (1,): 0.5}
    drawn = [scale * rng.standard_normal(shape) for shape, scale in scales.items()]
    total = np.sqrt(sum([(g**2).sum() for g in drawn]))
    parameters = [tg.zeros(np.shape(g), requires_grad=True) for g in drawn]
    for p, g in zip(parameters, drawn, strict=True):
        p.grad = tg.tensor(g / total)
    return parameters


def compared(parameters: list[Any], clip: Clip, scale: float, max_norm: float) -> tuple[float, float, bool]:
    """1 - cosine of a scaled gradient with what clipping leaves of it, its norm then, and whether it is unchanged."""
    # lab: begin
    given = [p.grad.clone() for p in parameters]
    for p in parameters:
        p.grad.mul_(scale)
    before = tg.cat([p.grad.reshape(-1) for p in parameters])
    clip(parameters, max_norm)
    after = tg.cat([p.grad.reshape(-1) for p in parameters])
    difference = after / after.norm() - before / before.norm()
    turned = float((difference**2).sum()) / 2  # 1 - cosine, without its rounding
    same = bool((after == before).all())
    # lab: end
    for p, g in zip(parameters, given, strict=True):
        p.grad = g
    return turned, float(after.norm()), same


def measured(size: Size, seed: int, clip: Clip = nn.utils.clip_grad_norm_) -> Result:
    """Directions and norms over four decades of gradients, threshold 1; then other ways to clip."""
    rng = np.random.default_rng(seed)
    draws = 10 if size == "quick" else 300
    turned = {name: np.zeros((draws, len(NORMS))) for name in ("norm", "value", "each")}
    left, changed = np.zeros((draws, len(NORMS))), 0
    for d in range(draws):
        parameters = gradients(rng)
        for k, norm in enumerate(NORMS):
            turned["norm"][d, k], left[d, k], same = compared(parameters, clip, norm, 1.0)
            changed += norm < 0.999 and not same
            turned["value"][d, k] = compared(parameters, nn.utils.clip_grad_value_, norm, 0.1)[0]
            turned["each"][d, k] = compared(parameters, each_by_itself, norm, 0.5)[0]
    above = NORMS > 1.001
    arrow = np.array([0.9, 0.2]) * 2
    report = diagnostics.clip_report(NORMS.tolist(), 1.0)
    largest = {name: float(t.max()) for name, t in turned.items()}
    checks = [
        Check("direction is kept", largest["norm"], "<", 1e-24, "1 - cosine; the square of rounding"),
        Check("norm is the threshold", float(abs(left[:, above] - 1).max()), "<", 2e-6, "1e-6 / the norm before"),
        Check("below the threshold nothing changes", changed, "==", 0, "a factor of exactly 1"),
        Check("clipping by value turns", largest["value"], ">", 0.2, "1 - cosine; 0.39 the least of 20 seeds"),
        Check("clipping each by itself turns", largest["each"], ">", 0.2, "1 - cosine; 0.34 the least of 20 seeds"),
    ]
    numbers = {f"largest 1 - cosine, {name}": value for name, value in largest.items()}
    numbers |= {"share of norms above the threshold": report.clipped, "largest norm left": float(left.max())}
    arrays = {"norms": NORMS, "left": left.mean(0), "arrow": arrow}
    arrays |= {f"angle, {name}": np.degrees(np.arccos(1 - t.mean(0))) for name, t in turned.items()}
    by_norm, by_value = largest["norm"], largest["value"]
    because = f"1 - cosine is {by_norm:.0e} at most after clipping by norm; by value it is up to {by_value:.2f}"
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """Arrows in two dimensions, and angles over the norm."""
    left, right = figure.subplots(1, 2)
    g = arrays["arrow"]
    ways = (
        (g, GREY, "gradient"),
        (g / np.linalg.norm(g), COLOURS[0], "by norm"),
        (np.minimum(g, 1), COLOURS[3], "by value"),
    )
    round_ = np.linspace(0, 2 * np.pi, 100)
    left.plot(np.cos(round_), np.sin(round_), color=COLOURS[0], linestyle="--", linewidth=0.8)
    left.plot([-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1], color=COLOURS[3], linestyle=":", linewidth=1)
    for k, (v, colour, name) in enumerate(ways):
        left.annotate(
            "",
            v,
            (0, 0),
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": (1, 3, 2)[k], "shrinkA": 0, "shrinkB": 0},
        )
        left.text(v[0] - 0.1, v[1] + (0.08, -0.3, 0.12)[k], name, color=colour, fontsize=9, ha="right")
    left.set_xlim(-1.2, 2)
    left.set_ylim(-1.2, 1.4)
    left.set_aspect("equal")
    left.set_xlabel("gradient of the first weight")
    left.set_ylabel("gradient of the second weight")
    for k, (name, label) in enumerate(
        (("norm", "joint norm at 1"), ("each", "each tensor at 0.5"), ("value", "each entry at 0.1"))
    ):
        style = {"color": COLOURS[(0, 2, 3)[k]], "linestyle": ("-", "--", ":")[k], "marker": "o^D"[k], "markevery": 5}
        right.plot(arrays["norms"], arrays[f"angle, {name}"], label=label, markersize=5, **style)
    right.set_xscale("log")
    right.set_xlabel("norm of the gradient")
    right.set_ylabel("turned by (degrees)")
    right.legend(fontsize=8)


@experiment(
    15,
    "Clipping",
    source="CS224N 2019, lecture 7; Pascanu, Mikolov and Bengio 2013, section 3.2, algorithm 1",
    seconds=0.4,
    full_seconds=12,
)
def run(size: Size, seed: int) -> Result:
    """Whether a clipped gradient has the direction of the gradient."""
    return measured(size, seed)


@run.broken("clipping by value", fails="direction is kept")
def by_value(size: Size, seed: int) -> Result:
    """Each entry is cut off at the bound."""
    return measured(size, seed, clip=nn.utils.clip_grad_value_)


@run.broken("clipping each parameter by its own norm", fails="direction is kept")
def by_parameter(size: Size, seed: int) -> Result:
    """Large gradients are cut off, small ones of other parameters stay as they are."""
    return measured(size, seed, clip=each_by_itself)


@run.smallest
def smallest() -> tg.Tape:
    """The norm of a gradient and its scaling, as operations: no gradient flows through clipping, but it could."""
    g = tg.tensor([3.0, 4.0], requires_grad=True)
    with tg.Tape() as tape:
        clipped = g * (1.0 / tg.sqrt((g**2).sum()))
        clipped[0].backward()
    return tape

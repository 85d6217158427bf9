"""What makes a comparison of gradients worthless, said as what it is.

A function that draws random numbers, a backward pass that gives something else each time, arithmetic in float32: each
looks like a wrong gradient or a kink where numbers are compared, and is neither.  ``obstacle`` looks for them where
a check has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import to_device
from ..backend.quiet import seeded, unreported
from ..tape.grad import grad
from ..tape.tensor import Tensor, wrap
from .numeric import Problem, to_host

__all__ = ["NOT_REENTRANT", "distance", "obstacle", "pull", "unsteady"]

NOT_REENTRANT = (
    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
    "gives different values, although analytical gradient matches numerical gradient."
)
CALLS = 8  # dropout of one entry gives the same twice in half of all cases, and eight times in one of 128
STEP = 2.0**-22  # four roundings of float32 in each step, of which float64 notices nothing
LINE = 12
SMOOTH = 1e-10  # third differences of float64 on that line, relative: the third derivative times 1e-20, and rounding
CANCELLED = 1e-13  # what rounding of numbers around 1 leaves where they cancel, as in 1 - tanh(x)^2 for large x
SINGLE = 1e-5  # larger jumps are no rounding of float32


def obstacle(problem: Problem, seed: int = 0, *, precision: bool = True) -> str | None:
    """What stands in the way of a comparison at these inputs, as a sentence; None if nothing does.

    Args:
        seed: of the cotangents and directions.
        precision: whether float32 in the backward pass would explain what was found.
    """
    rng = seeded(seed)
    outputs = problem.outputs()
    found = unsteady(problem, outputs, calls=CALLS)
    if found is not None:
        return found
    vs = [rng.standard_normal(y.shape) for y in outputs]
    first = pull(problem, vs)
    for _ in range(2):
        gap = max([distance(a, b) for a, b in zip(first, pull(problem, vs), strict=True)], default=0.0)
        if gap > 0:
            return f"{NOT_REENTRANT} They differ by up to {gap:.3g}"
    tensors = [t for t in problem.inputs if isinstance(t, Tensor) and t.dtype.kind == "f"]
    if any(t.dtype.itemsize < 8 for t in (*tensors, *outputs)):
        return None  # then float32 is what was asked for
    us = [_away(problem.inputs[k], rng) for k in problem.wanted]
    if _in_steps(lambda t: _moved(problem, us, t, problem.values)):
        return SINGLE_PRECISION.format("func computes", "its values move", "their")
    ws = [rng.standard_normal(y.shape) for y in outputs]

    def gradients(t: float) -> list[Any]:
        return _moved(problem, us, t, lambda: pull(problem, [v + t * w for v, w in zip(vs, ws, strict=True)]))

    if precision and _in_steps(gradients):
        return SINGLE_PRECISION.format("backward computes", "the gradient moves", "its")
    return None


SINGLE_PRECISION = (
    "{} in float32 somewhere: {} in steps of 6e-08 of {} size when the inputs move evenly. Gradients are checked in "
    "float64: look for .float(), astype(np.float32), or constants and buffers of float32"
)


def _away(t: Tensor, rng: np.random.Generator) -> Any:
    """A direction of the size of the entries: float32 rounds each in units of its own."""
    size = np.abs(to_host(t._data))
    return np.where(size > 0, size, 1.0) * rng.uniform(0.5, 1.5, t.shape)


def unsteady(problem: Problem, outputs: Sequence[Tensor], tolerance: float = 0.0, calls: int = 1) -> str | None:
    """What is to be said if the function, called again with the same inputs, gives something else; else None."""
    for _ in range(calls):
        again = problem.named_outputs()
        if len(again) != len(outputs):
            return f"func is not deterministic: it gave {len(outputs)} tensors at first, and {len(again)} now"
        for (name, y), first in zip(again, outputs, strict=True):
            gap = distance(to_host(first._data), to_host(y._data)) if first.shape == y.shape else np.inf
            if gap > tolerance:
                return (
                    f"func is not deterministic: called twice with the same inputs, {name} differs by up to "
                    f"{gap:.3g}. Switch dropout off (eval()), or seed random numbers inside func"
                )
    return None


@unreported
def distance(a: Any, b: Any) -> float:
    """The largest difference between two arrays; nan equals nan."""
    gap = np.abs(a - b)
    return float(np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, gap).max(initial=0.0))


def pull(problem: Problem, vs: Sequence[Any]) -> list[Any]:
    """``v J`` by every wanted input, through a graph of its own."""
    live = [(y, v) for y, v in zip(problem.outputs(), vs, strict=True) if y.requires_grad]
    leaves = [problem.inputs[k] for k in problem.wanted]
    if not live or not leaves:  # without leaves an output may still require grad, by a parameter
        return [np.zeros(t.shape) for t in leaves]
    seeds = [wrap(to_device(np.array(v, y.dtype), y.device)) for y, v in live]
    found = grad([y for y, _ in live], leaves, seeds, allow_unused=True)
    return [np.zeros(t.shape) if g is None else to_host(g._data) for g, t in zip(found, leaves, strict=True)]


def _moved(problem: Problem, us: Sequence[Any], t: float, look: Callable[[], list[Any]]) -> list[Any]:
    """What is seen where all wanted inputs are moved by ``t`` along their directions."""
    arrays = [problem.inputs[k]._data for k in problem.wanted]
    before = [a.copy() for a in arrays]
    try:
        for a, kept, u in zip(arrays, before, us, strict=True):
            a[...] = kept + to_device(np.asarray(t * u), problem.inputs[problem.wanted[0]].device)
        return look()
    finally:
        for a, kept in zip(arrays, before, strict=True):
            a[...] = kept


@unreported
def _in_steps(line: Callable[[float], list[Any]]) -> bool:
    """Whether values on an evenly spaced line lie on stairs as high as the rounding of float32."""
    rows = [np.concatenate([np.ravel(a) for a in line(k * STEP)] or [np.zeros(0)]) for k in range(LINE)]
    if len({row.shape for row in rows}) > 1:
        return False
    table = np.stack(rows)
    third, sizes = np.abs(np.diff(table, 3, axis=0)), np.abs(table).max(axis=0, initial=0)
    size = np.maximum(sizes, 1e-3 * sizes.max(initial=0))  # of what has cancelled only rounding is left
    rough = (third > SMOOTH * size + CANCELLED) & (third < SINGLE * size)
    return bool((rough.sum(axis=0) >= 3).any())

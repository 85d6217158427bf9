"""A step length that satisfies the strong Wolfe conditions.

Along the line ``x + t * d``, with value ``f(t)`` and slope ``s(t)``, a length is accepted when::

    f(t) <= f(0) + c1 * t * s(0)        it descends enough (Armijo)
    |s(t)| <= c2 * |s(0)|               it is near a minimum along the line

First the length grows until an interval brackets such a point, then the interval shrinks around it; trial points
come from the cubic through both ends.  Source: Nocedal & Wright, Numerical Optimization, 2nd ed., algorithms 3.5
and 3.6, equation 3.59; the safeguards (how near an end a trial may fall) are those of Schmidt's minFunc, which
PyTorch follows, so that both take the same trial points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..typing import Array

__all__ = ["Trial", "cubic_minimum", "strong_wolfe"]


@dataclass(frozen=True)
class Trial:
    """A point on the line: length ``t``, value ``f``, full gradient there, and its slope along the line."""

    t: Any
    f: float
    gradient: Array
    slope: Any


def cubic_minimum(a: Trial, b: Trial, bounds: tuple[Any, Any] | None = None) -> Any:
    """Where the cubic with the values and slopes of two trials has its minimum, clipped to ``bounds``.

    Args:
        bounds: smallest and largest length allowed; by default the interval between the trials.

    Returns:
        the length; the middle of the bounds if the cubic has no minimum.
    """
    left, right = (a, b) if a.t <= b.t else (b, a)
    low, high = bounds if bounds is not None else (left.t, right.t)
    if a.t == b.t:  # a learning rate of 0
        return (low + high) / 2.0
    chord = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = chord**2 - a.slope * b.slope
    # Negated, so that a nan, from a trial that overflowed, falls back to the middle too.
    if not square >= 0:
        return (low + high) / 2.0
    root = square**0.5
    t = right.t - (right.t - left.t) * ((right.slope + root - chord) / (right.slope - left.slope + 2 * root))
    return min(max(t, low), high)


def strong_wolfe(
    evaluate: Callable[[Any], Trial],
    start: Trial,
    t: Any,
    largest_component: Any,
    max_evaluations: int,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance: float = 1e-9,
) -> tuple[Trial, int]:
    """Search for an acceptable length.

    Args:
        evaluate: the trial at a length.
        start: the trial at length 0; its slope must be negative.
        t: first length to try.
        largest_component: of the direction, in absolute value; with ``tolerance`` it says when an interval is
            too small to matter.
        max_evaluations: how many trials beyond the first.

    Returns:
        the best trial, and how many were made.
    """

    def too_high(trial: Trial) -> bool:
        return bool(trial.f > start.f + c1 * trial.t * start.slope)

    def level(trial: Trial) -> bool:
        return bool(abs(trial.slope) <= -c2 * start.slope)

    before, new, made = start, evaluate(t), 0
    while made < max_evaluations:
        # From the third trial on, as PyTorch counts (the book: from the second), for the same trial points.
        if too_high(new) or (made > 1 and new.f >= before.f):
            ends = [before, new]
            break
        if level(new):
            return new, made + 1
        if new.slope >= 0:
            ends = [before, new]
            break
        t = cubic_minimum(before, new, (new.t + 0.01 * (new.t - before.t), new.t * 10))
        before, new, made = new, evaluate(t), made + 1
    else:
        # No bracket within the budget: what is known is the start and the last trial.
        ends = [start, new]

    best = 0 if ends[0].f <= ends[1].f else 1
    stalled = False
    while made < max_evaluations and abs(ends[1].t - ends[0].t) * largest_component >= tolerance:
        left, right = min(e.t for e in ends), max(e.t for e in ends)
        t = cubic_minimum(ends[0], ends[1])
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:
            if stalled or t >= right or t <= left:
                # Near an end for the second time: without a step inside, the interval might hardly shrink.
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        new, made = evaluate(t), made + 1
        if too_high(new) or new.f >= ends[best].f:
            ends[1 - best] = new
            best = 0 if ends[0].f <= ends[1].f else 1
        elif level(new):
            return new, made + 1
        else:
            # The slope at the new point rises towards the far end: the minimum is on the side of the old best.
            if new.slope * (ends[1 - best].t - ends[best].t) >= 0:
                ends[1 - best] = ends[best]
            ends[best] = new
    return ends[best], made + 1

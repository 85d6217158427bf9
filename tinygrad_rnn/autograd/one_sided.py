"""One-sided slopes of a function of one number: what tells a kink from a wrong gradient.

The difference quotients to the left and to the right of a point approach each other, in proportion to the step, if
the function is smooth there; at a kink their gap stays whatever the step; at a jump it grows as the step shrinks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..backend.quiet import unreported

__all__ = ["Slopes", "slopes"]


@dataclass(frozen=True)
class Slopes:
    """One-sided derivatives at the worst entry, and what they say.

    Attributes:
        left, right: difference quotients to both sides.
        verdict: ``smooth``, ``curved`` (the step is too long for this curvature), ``kink``, ``jump``, ``edge`` (not
            finite on one side) or ``near`` (smooth, but not as far as the numerical derivative reached).
    """

    left: float
    right: float
    verdict: str

    def __str__(self) -> str:
        meaning = {
            "smooth": "equal: the function is smooth here, so the analytical gradient is wrong",
            "curved": "they approach each other with shorter steps: smooth but strongly curved, eps may be too large",
            "kink": "they stay apart however short the step: a kink, where no gradient agrees with the symmetric "
            "difference. Move the input away from it",
            "jump": "they grow with shorter steps: a jump or an infinite slope. Move the input away from it",
            "near": "equal, but the numerical value says otherwise: its steps are longer and cross a kink or a pole. "
            "Move the input away from it, or use method='central'",
            "edge": "not finite on one side: the edge of the function's domain. Move the input away from it",
        }
        return f"slopes: left {self.left:.9g}, right {self.right:.9g}; {meaning[self.verdict]}"


@unreported
def slopes(
    f: Callable[[float], float],
    eps: float,
    atol: float,
    rtol: float,
    *,
    analytical: float | None = None,
    numerical: float | None = None,
    weight: float = 0.0,
) -> Slopes:
    """The slopes of ``f`` on both sides of 0 by steps of ``eps``, judged by their gap at that step and at a longer one.

    Args:
        atol, rtol: a gap within these is none.
        analytical, numerical: the derivatives that disagree, if any: a gap that is a tenth of their difference
            explains nothing.
        weight: the size of the terms of ``f``, where it is a sum of terms that cancel: its rounding is theirs.

    >>> print(slopes(abs, 1e-6, 1e-5, 1e-3).verdict, slopes(lambda t: t * t, 1e-6, 1e-5, 1e-3).verdict)
    kink smooth
    """
    found: list[tuple[float, float]] = []
    middle = f(0.0)
    for h in (8 * eps, eps):  # the longer step tells a curve, whose gap falls with the step, from a kink
        found.append(((middle - f(-h)) / h, (f(h) - middle) / h))
    (left, right), long_gap = found[1], abs(found[0][1] - found[0][0])
    gap = abs(right - left)
    mismatch = 0.0 if analytical is None or numerical is None else abs(analytical - numerical)
    # what rounding of the two values makes of a quotient
    noise = 8 * float(np.finfo(np.float64).eps) * max(abs(middle), weight, 1e-300) / eps
    if not np.isfinite([left, right]).all():
        verdict = "edge"
    # a gap much smaller than the mismatch cannot explain it
    elif gap <= max(atol + rtol * max(abs(left), abs(right)), 0.1 * mismatch) + noise:
        verdict = "smooth"
        if analytical is not None and numerical is not None:
            # Short steps must side with the analytical value, by more than their own rounding: a mismatch smaller
            # than that says nothing about a kink.
            mean = (left + right) / 2
            if abs(mean - numerical) > 0.5 * mismatch + noise and abs(mean - analytical) < 0.1 * mismatch + noise:
                verdict = "near"
    elif gap < 0.5 * long_gap:
        verdict = "curved"
    else:
        verdict = "kink" if gap < 2 * long_gap else "jump"
    return Slopes(left, right, verdict)

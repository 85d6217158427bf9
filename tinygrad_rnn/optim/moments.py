"""Running averages, as PyTorch rounds them: used by Adam and RMSprop."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..typing import Array

__all__ = ["average_square_", "lerp_"]


def lerp_(average: Array, new: Array, weight: Any, scratch: Array) -> None:
    """``average += weight * (new - average)`` in place, from whichever end is nearer.

    Starting from ``new`` when weight >= 1/2 makes weight 1 give ``new`` exactly.
    """
    np.subtract(new, average, out=scratch)
    if isinstance(weight, (int, float)) and weight >= 0.5:
        np.multiply(scratch, 1 - weight, out=scratch)
        np.subtract(new, scratch, out=average)
    else:
        np.multiply(scratch, weight, out=scratch)
        np.add(average, scratch, out=average)


def average_square_(average: Array, new: Array, kept: Any, scratch: Array) -> None:
    """``average = kept * average + (1 - kept) * new**2`` in place."""
    np.multiply(average, kept, out=average)
    np.multiply(new, 1 - kept, out=scratch)
    np.multiply(scratch, new, out=scratch)
    np.add(average, scratch, out=average)

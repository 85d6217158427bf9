"""Sums and maxima over the units of a row, for kernels of cells that have them, such as those with layer norm.

A sum from the left to the right is one long chain of additions, and a compiler must not change its order.  Here the
upper half of a row is added to the lower one, again and again: each of these loops is vectorised, and the error grows
with the logarithm of the length.
"""

from __future__ import annotations

from typing import Any

from ....typing import Array
from .jit import compiled

__all__ = ["row_max", "row_sum"]

SHORT = 8
"""So many numbers are added one after the other."""


@compiled
def row_sum(a: Array, size: int) -> Any:
    """The sum of the first ``size`` entries, 1 at least; they are overwritten."""
    left = size
    while left > SHORT:
        half = left // 2
        top = left - half
        for u in range(half):
            a[u] += a[top + u]
        left = top
    total = a[0]
    for u in range(1, left):
        total += a[u]
    return total


@compiled
def row_max(a: Array, size: int) -> Any:
    """The largest of the first ``size`` entries, 1 at least; nan if one is nan.  They are overwritten."""
    left = size
    while left > SHORT:
        half = left // 2
        top = left - half
        for u in range(half):
            one, other = a[u], a[top + u]
            # a comparison with nan is false: nan stays, on either side
            a[u] = one if one >= other or one != one else other
        left = top
    largest = a[0]
    for u in range(1, left):
        one = a[u]
        largest = largest if largest >= one or largest != largest else one
    return largest

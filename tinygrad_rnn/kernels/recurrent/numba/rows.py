"""Sums and maxima over the units of a row, for kernels of cells that have them, such as those with layer norm.

A sum from the left to the right is one long chain of additions, each of which waits for the one before, and a compiler
must not change its order.  :func:`plus` is an addition in which it may: a loop that adds up a row keeps as many sums as
there are lanes in a few vector registers, and adds these up at the end.  Its rounding errors are those of shorter
chains; infinities and nan go as in any order.

There is no such permission for maxima, where nan counts: the upper half of a row is compared with the lower one, again
and again, and each of these loops is vectorised.
"""

from __future__ import annotations

from typing import Any

from ....typing import Array
from .jit import compiled, compiled_with

__all__ = ["plus", "row_max"]

SHORT = 8
"""So many numbers are compared one after the other."""


@compiled_with("contract", "reassoc")
def plus(total: float, term: float) -> float:
    """total + term, as one of many additions whose order does not matter."""
    return total + term


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

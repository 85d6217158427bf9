"""Arrays as compiled code wants them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ....typing import Array

__all__ = ["given", "plain", "summed"]


def plain(a: Array) -> Array:
    """``a``, contiguous and writable: for every other kind of array the loops would be compiled anew."""
    flags = a.flags
    return a if flags.c_contiguous and flags.writeable else a.copy()


def given(a: Array | None, dimensions: int, dtype: Any) -> Array:
    """``a``, or an empty array of the same type where there is none: compiled code looks at its length."""
    return _nothing(dimensions, dtype) if a is None else a


@functools.cache
def _nothing(dimensions: int, dtype: Any) -> Array:
    return np.empty((0,) * dimensions, dtype)


def summed(b_ih: Array | None, b_hh: Array | None, size: int, dtype: Any) -> Array:
    """The sum of two biases; zero where there are none."""
    if b_ih is None or b_hh is None:
        bias = b_hh if b_ih is None else b_ih
        return np.zeros(size, dtype) if bias is None else plain(bias)
    total: Array = b_ih + b_hh
    return total

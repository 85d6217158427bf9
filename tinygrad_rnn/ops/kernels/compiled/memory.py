"""Memory for tables, used again when the last array that shows it is gone.

Memory that the system hands out is mapped page by page when it is first written to, which at middle sizes takes as
long as a third of a layer's whole computation.  So blocks that were let go are kept, up to ``MOST`` bytes of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....typing import Array

__all__ = ["LINE", "empty", "like", "room"]

LINE = 64
"""Bytes of a line of the cache, and of a vector register: vectors that begin elsewhere are read in two pieces."""

LEAST = 1 << 17
"""Smaller blocks are left to NumPy, which keeps memory for them itself."""

MOST = 1 << 26
"""Bytes that are kept at most, without use."""

_free: dict[int, Array] = {}  # by identity, those that were let go first in front


class _Block:
    """Memory that goes to ``_free`` when no array refers to it any more."""

    __slots__ = ("__array_interface__", "memory")

    def __init__(self, memory: Array) -> None:
        self.memory = memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        if self.memory.nbytes <= MOST:
            _free[id(self.memory)] = self.memory
            while sum([block.nbytes for block in list(_free.values())]) > MOST:
                _free.pop(next(iter(_free), 0), None)


def _memory(size: int) -> Array:
    """At least ``size`` bytes."""
    if size < LEAST:
        return np.empty(size, np.uint8)
    for key, block in list(_free.items()):
        if size <= block.nbytes <= size + size // 4 and _free.pop(key, None) is block:
            break
    else:
        block = np.empty(size, np.uint8)
    return np.asarray(_Block(block))


def empty(rows: int, width: int, dtype: Any) -> Array:
    """An array (rows, width), not filled, that begins with a line of the cache.

    >>> empty(3, 5, np.float32).shape
    (3, 5)
    """
    size = rows * width * np.dtype(dtype).itemsize
    memory = _memory(size + LINE)
    start = -memory.__array_interface__["data"][0] % LINE
    return memory[start : start + size].view(dtype).reshape(rows, width)


def like(a: Array) -> Array:
    """Of the shape and dtype of ``a`` (M, K)."""
    return empty(a.shape[0], a.shape[1], a.dtype)


def room(rows: int, width: int, dtype: Any) -> Array:
    """The same, with a line more in each row if rows lay a power of two apart: those share places in the caches."""
    size = np.dtype(dtype).itemsize
    return empty(rows, width + (LINE // size if width * size % 1024 == 0 else 0), dtype)

"""Memory for large intermediate arrays: aligned, and used again.

A training step asks for the same arrays over and over.  The C library gives large ones back to the system when they
are freed, so every step gets fresh pages, which the system first has to find and to fill with zeros: for an LSTM
layer (T, N, H) = (64, 32, 64) that was 1300 pages and a third of the time of a step.  Here memory whose last array is
gone is kept for the next array of about its size.

Only arrays of the host come from here: CuPy has a pool of its own.
"""

from __future__ import annotations

from ctypes import addressof, c_char
from math import prod
from typing import Any

import numpy as np

from ..typing import Array, DType
from .arrays import array_module

__all__ = ["aligned_empty", "release_memory"]

CACHE_LINE = 64
"""Bytes; also the width of the widest vector registers."""

SMALLEST = 1 << 17
"""Bytes of an array from which on its memory is kept: smaller ones the C library keeps itself."""

MOST = 1 << 27
"""Bytes of idle memory that are kept."""

UNALIGNED = 1 << 14
"""Bytes up to which an array is not worth aligning: a microsecond is what the calls alone cost there."""

ndarray, empty, uint8 = np.ndarray, np.empty, np.dtype(np.uint8)
from_buffer: Any = c_char.from_buffer  # with it the address of an array takes a fifth of the time of NumPy's own ways

_idle: dict[int, list[tuple[Array, int]]] = {}
"""By size: memory, and the address of the first cache line in it."""


class _Lease:
    """Stands between memory and the arrays that use it: when the last of them is gone, so is the lease."""

    __slots__ = ("__array_interface__", "memory")

    def __init__(self, memory: tuple[Array, int], shape: tuple[int, ...], dtype: DType) -> None:
        self.memory = memory
        self.__array_interface__ = {"shape": shape, "typestr": dtype.str, "data": (memory[1], False), "version": 3}

    def __del__(self) -> None:
        size = self.memory[0].size
        if sum([key * len(kept) for key, kept in list(_idle.items())]) + size > MOST:
            _idle.clear()  # sizes change: what is kept is of no use any more
        if size <= MOST:
            _idle.setdefault(size, []).append(self.memory)


def release_memory() -> None:
    """Give all idle memory back to the system."""
    _idle.clear()


def aligned_empty(shape: tuple[int, ...], like: Array) -> Array:
    """An array of the dtype and module of ``like`` that begins at the start of a cache line.  Its values mean nothing.

    NumPy's own begin 16 bytes into one, so with AVX-512 every vector lies in two lines.  Adding two tables of
    (4, 32, 256) in cache took 9.1 us so and 4.1 us aligned; matrix products whose right operand is not packed
    (see ``kernels/recurrent/numpy/packed_weights.py``) ran at 125 GFLOP/s so and at 180 aligned.
    """
    dtype = like.dtype
    if type(like) is not ndarray or dtype.hasobject:
        return array_module(like).empty(shape, dtype)
    size = prod(shape) * dtype.itemsize
    if size <= UNALIGNED:
        return empty(shape, dtype)
    if size < SMALLEST:
        memory = empty(size + CACHE_LINE, uint8)
        return ndarray(shape, dtype, memory, -addressof(from_buffer(memory)) % CACHE_LINE)
    step = 1 << (size.bit_length() - 4)  # 8 sizes between a power of two and the next
    size = -(-size // step) * step + CACHE_LINE
    try:
        found = _idle[size].pop()
    except LookupError:
        memory = empty(size, uint8)
        start = addressof(from_buffer(memory))
        found = memory, start + -start % CACHE_LINE
    return np.asarray(_Lease(found, shape, dtype))

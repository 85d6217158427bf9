"""A pool of aligned memory for large intermediate arrays.

A training step allocates the same arrays over and over.  The C library returns large ones to the system when they are
freed, so that every step gets new pages, which the system has to find and to fill with zeros: for an LSTM layer with
(T, N, H) = (64, 32, 64) that was 1300 pages and a third of the time of a step.  Here memory is kept, once its last
array is freed, for the next array of about its size.

The pool holds host memory only; CuPy has its own pool for the GPU.
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
"""Bytes of the smallest array whose memory is kept; the C library keeps smaller ones itself."""

MOST = 1 << 27
"""The limit of idle memory, in bytes."""

UNALIGNED = 1 << 14
"""Bytes up to which alignment does not pay: the calls alone cost a microsecond."""

ndarray, empty, uint8 = np.ndarray, np.empty, np.dtype(np.uint8)
from_buffer: Any = c_char.from_buffer  # gives an array's address in a fifth of the time that NumPy takes

_idle: dict[int, list[tuple[Array, int]]] = {}
"""By size in bytes: the memory, and the address of the first cache line in it."""


class _Lease:
    """The owner of memory while arrays use it; freed with the last of them, it returns the memory to the pool."""

    __slots__ = ("__array_interface__", "memory")

    def __init__(self, memory: tuple[Array, int], shape: tuple[int, ...], dtype: DType) -> None:
        self.memory = memory
        self.__array_interface__ = {"shape": shape, "typestr": dtype.str, "data": (memory[1], False), "version": 3}

    def __del__(self) -> None:
        # No lock: this may run at any allocation, also inside the pool's own code, where a lock would deadlock. Each
        # change of the table is one atomic call.
        size = self.memory[0].size
        # A copy of the items, since another thread may add a size meanwhile.
        if sum([key * len(kept) for key, kept in list(_idle.items())]) + size > MOST:
            _idle.clear()  # the limit is reached because sizes have changed: the old ones will not be requested again
        if size <= MOST:
            _idle.setdefault(size, []).append(self.memory)


def release_memory() -> None:
    """Return all idle memory to the system."""
    _idle.clear()


def aligned_empty(shape: tuple[int, ...], like: Array) -> Array:
    """An uninitialised array of the dtype and module of ``like`` that begins at a cache line.

    NumPy's arrays begin 16 bytes into a cache line, so that with AVX-512 every vector spans two of them.  Adding two
    tables of (4, 32, 256) in cache took 9.1 us unaligned and 4.1 us aligned; matrix products whose right operand is
    not packed (see ``kernels/recurrent/numpy/products.py``) ran at 125 GFLOP/s unaligned and at 180 aligned.
    """
    dtype = like.dtype
    if type(like) is not ndarray or dtype.hasobject:  # uninitialised memory is no place for pointers to objects
        plain: Array = array_module(like).empty(shape, dtype)
        return plain
    size = prod(shape) * dtype.itemsize
    if size <= UNALIGNED:
        return empty(shape, dtype)
    if size < SMALLEST:  # align, but leave the reuse to the C library
        memory = empty(size + CACHE_LINE, uint8)
        return ndarray(shape, dtype, memory, -addressof(from_buffer(memory)) % CACHE_LINE)
    step = 1 << (size.bit_length() - 4)  # 8 sizes between a power of two and the next
    size = -(-size // step) * step + CACHE_LINE
    # Not "if there is one: pop": another thread could take the last one in between.
    try:
        found = _idle[size].pop()
    except LookupError:
        memory = empty(size, uint8)
        start = addressof(from_buffer(memory))
        found = memory, start + -start % CACHE_LINE
    # Views have the lease as their base too, so the memory returns to the pool after the last of them.
    return np.asarray(_Lease(found, shape, dtype))

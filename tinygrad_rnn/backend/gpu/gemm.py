"""Matrix products on a GPU by direct calls of cuBLAS.

``cupy.matmul`` took 20 to 25 us of host time beside an H200 where cuBLAS alone took 15: it makes views, handles
broadcasting and selects the arithmetic.  Here an array is just memory: row-major, without gaps, of one dtype.  The
caller gives the numbers of rows and columns, so that nothing is reshaped before or after.

Products use cuBLAS's default mode: full float32 or float64, regardless of ``CUPY_TF32``.

``product`` takes any matrices, and leaves to CuPy those that cuBLAS cannot read in place.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import numpy as np

from ...typing import CudaArray
from ..arrays import array_module
from .kernels import gpu

__all__ = ["multiply", "product", "readable", "sum_of_rows"]

# Held by the module: cuBLAS gets the addresses alone, so these arrays must never be freed.
_ONE = {char: np.ones(1, char) for char in "fd"}
_ZERO = {char: np.zeros(1, char) for char in "fd"}
_FACTORS = {char: (_ONE[char].ctypes.data, _ZERO[char].ctypes.data) for char in "fd"}
"""Addresses of cuBLAS's factors alpha and beta, 1 and 0, by dtype."""


def multiply(
    out: CudaArray,
    a: CudaArray,
    b: CudaArray,
    sizes: tuple[int, int, int],
    *,
    a_across: bool = False,
    b_across: bool = False,
    add: bool = False,
) -> CudaArray:
    """``out`` (m, n) = A (m, k) @ B (k, n), for ``sizes`` = (m, n, k), all at least 1.

    Args:
        out, a, b: C-contiguous CuPy arrays of float32 or float64, of any shape that has as many entries.
        a_across, b_across: ``a`` (``b``) holds A (B) transposed, as (k, m) or (n, k).
        add: add the product to what is in ``out``.
    """
    cuda: Any = sys.modules["cupy"].cuda
    m, n, k = sizes
    char = out.dtype.char
    one, zero = _FACTORS[char]
    run = cuda.cublas.sgemm if char == "f" else cuda.cublas.dgemm
    # cuBLAS is column-major, so it sees every matrix transposed: out^T = B^T A^T.
    run(
        cuda.get_cublas_handle(), int(b_across), int(a_across), n, m, k,
        one, b.data.ptr, k if b_across else n, a.data.ptr, m if a_across else k, one if add else zero, out.data.ptr, n,
    )  # fmt: skip
    return out


def _across(a: Any) -> bool | None:
    """Whether a matrix is stored transposed; None if there are gaps between its entries."""
    flags = a.flags
    return False if flags.c_contiguous else True if flags.f_contiguous else None


def product(a: CudaArray, b: CudaArray, onto: CudaArray | None = None) -> CudaArray:
    """``a @ b`` of two matrices on a GPU, as a new array; or added to ``onto``, which is returned."""
    # cuBLAS takes float32 and float64 of one dtype, not empty, without gaps, on the current GPU; CuPy takes the rest.
    simple = a.dtype.char in _FACTORS and a.dtype == b.dtype and a.shape[1] == b.shape[0] and a.size and b.size
    if simple and (onto is None or (onto.flags.c_contiguous and onto.dtype == a.dtype)):
        a_across, b_across = _across(a), _across(b)
        here = gpu().number
        if a_across is not None and b_across is not None and a.device.id == b.device.id == here:
            shape = a.shape[0], b.shape[1]
            out = type(a)(shape, a.dtype) if onto is None else onto
            sizes = (*shape, a.shape[1])
            return multiply(out, a, b, sizes, a_across=a_across, b_across=b_across, add=onto is not None)
    if onto is None:
        return a.dot(b)
    onto += a.dot(b)
    return onto


@functools.lru_cache(maxsize=16)
def _ones(make: Any, device: int, count: int, dtype: Any) -> CudaArray:
    """(2, count), cached: the constant operand of a sum over rows, which is faster as a product."""
    return make((2, count), dtype)


def readable(a: CudaArray) -> bool:
    """Whether cuBLAS can read a GPU's array in place: C-contiguous, on the current GPU."""
    return bool(a.dtype.char in _FACTORS and a.size and a.flags.c_contiguous and a.device.id == gpu().number)


def sum_of_rows(a: CudaArray, shape: tuple[int, ...], onto: CudaArray | None = None) -> CudaArray:
    """The sum of the rows of ``a``: of ``shape`` (n,), or repeated as ``shape`` (times, n).

    As a new array, or added to ``onto``.  Both are C-contiguous, on the current GPU, of float32 or float64.
    """
    times, n = (1, *shape)[-2:]
    rows = a.size // n
    ones = _ones(array_module(a).ones, gpu().number, rows, a.dtype)
    out = type(a)(shape, a.dtype) if onto is None else onto
    return multiply(out, ones, a, (times, n, rows), add=onto is not None)

"""Products of matrices on a GPU with nothing in between: one call of cuBLAS.

``cupy.matmul`` took 20 to 25 us of the host beside an H200 where cuBLAS alone took 15: it makes views, looks for
broadcasting, asks which arithmetic to use.  Here arrays are memory: row-major, without gaps, of one dtype; how many
rows and columns there are is said by the caller, so that nothing is reshaped before or after.

Products are those of cuBLAS's default mode: full float32 or float64, whatever ``CUPY_TF32`` says.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..typing import Array

__all__ = ["multiply"]

_ONE = {char: np.ones(1, char) for char in "fd"}
_ZERO = {char: np.zeros(1, char) for char in "fd"}
_FACTORS = {char: (_ONE[char].ctypes.data, _ZERO[char].ctypes.data) for char in "fd"}
"""Where cuBLAS reads its factors of the product and of what was there before, by dtype."""


def multiply(
    out: Array, a: Array, b: Array, sizes: tuple[int, int, int], *, a_across: bool = False, b_across: bool = False
) -> Array:
    """``out`` (m, n) = A (m, k) @ B (k, n), for ``sizes`` = (m, n, k), all at least 1.

    Args:
        out, a, b: C-contiguous CuPy arrays of float32 or float64, of any shape that has as many entries.
        a_across, b_across: ``a`` (``b``) holds A (B) transposed, as (k, m) or (n, k).
    """
    cuda: Any = sys.modules["cupy"].cuda
    m, n, k = sizes
    char = out.dtype.char
    one, zero = _FACTORS[char]
    run = cuda.cublas.sgemm if char == "f" else cuda.cublas.dgemm
    # cuBLAS reads by columns, hence sees every matrix transposed: out^T = B^T A^T.  0: as it is, 1: across.
    run(
        cuda.get_cublas_handle(), int(b_across), int(a_across), n, m, k,
        one, b.data.ptr, k if b_across else n, a.data.ptr, m if a_across else k, zero, out.data.ptr, n,
    )  # fmt: skip
    return out

"""Recurrent layers compiled by Numba (extra ``fast``), for arrays on the CPU.

Numba is imported, and the loops compiled or taken from the disk, when a layer first runs here.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import numpy as np

from ....typing import Array

__all__ = ["installed", "refuses"]

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


FEW_ROWS, LARGE = 4, 1 << 18
"""Rows of a sequence, and bytes of a recurrent weight.

The time of these kernels over that of NumPy's (one thread of a Xeon with AVX-512, float32, LSTM; forward alone, and
forward with backward), for T steps of N sequences:

    T, N       H = 32         H = 128        H = 256        H = 512        H = 1024
    1, 1     0.47  0.50     0.85  0.48     1.01  0.85     1.27  0.89     0.89  0.65
    2, 1     0.60  0.50     0.81  0.70     1.39  0.85     1.53  0.94     1.50  0.71
    4, 1     0.38  0.43     0.70  0.70     0.70  0.76     0.67  0.84     0.87  0.98
    2, 8     0.43  0.48     0.83  0.70     0.69  0.58     0.74  0.72     0.98  0.61
    8, 8     0.35  0.38     0.68  0.66     0.70  0.80     0.84  1.01     0.51  0.68
    32, 1    0.21  0.24     0.46  0.45     0.65  0.69     0.85  0.83     0.89  0.94
    32, 32   0.60  0.46     1.08  0.74     0.87  0.82     0.85  0.90     0.41  0.61

GRU and RNN are alike.  So NumPy is better at one thing: a step or two forward with a large weight, which is not worth
rearranging for it.
"""


@functools.cache
def installed() -> bool:
    """Whether there is a Numba to import."""
    return importlib.util.find_spec("numba") is not None


def refuses(mode: str, *arrays: Array, **params: Any) -> str | None:
    """Why these kernels should not do this work; None if they should."""
    if not installed():
        return "Numba is not installed"
    dtype = arrays[0].dtype
    if dtype not in DTYPES:
        return f"they compute in float32 and float64, not in {dtype}"
    for a in arrays:
        if a is not None and a.dtype is not dtype and a.dtype != dtype:
            return "the arrays are of several dtypes"
    if mode == "lstm" and len(arrays) > 7 and arrays[7] is not None:
        return "they do not project the output"
    x, w_hh = arrays[0], arrays[4 if mode == "lstm" else 3]
    if not params.get("save", True) and w_hh.nbytes > LARGE and x.size < FEW_ROWS * x.shape[-1]:
        return "a large weight is not worth rearranging for so few steps"
    return None

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
    if any(a is not None and a.dtype != dtype for a in arrays):
        return "the arrays are of several dtypes"
    if mode == "lstm" and len(arrays) > 7 and arrays[7] is not None:
        return "they do not project the output"
    return None

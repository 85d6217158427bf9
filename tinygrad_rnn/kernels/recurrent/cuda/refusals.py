"""Which work these kernels are not for, and why."""

from __future__ import annotations

from typing import Any

from ....backend.gpu.kernels import gpu
from ....typing import Array

__all__ = ["OLDEST", "refuses"]

OLDEST = 70
"""The compute capability below which nothing was ever compiled."""


def refuses(mode: str, *arrays: Array, **params: Any) -> str | None:
    """Why these kernels should not do this work; None if they should."""
    x, h0 = arrays[:2]
    capability = gpu().capability
    if capability < OLDEST:
        return f"the kernels need a GPU of compute capability 7.0 or newer, not {capability / 10}"
    dtype = x.dtype
    if dtype.char not in "fd":
        return f"the kernels compute in float32 and float64, not in {dtype}"
    if any(a is not None and a.dtype != dtype for a in arrays):
        return "the arrays are of several dtypes"
    if mode == "lstm" and len(arrays) > 7 and arrays[7] is not None:
        return "there is no kernel for projected states"
    if params.get("cells"):
        return "there is no kernel that gives the cell states of all steps"
    if 0 in x.shape or 0 in h0.shape:
        return "there is nothing to compute"
    return None

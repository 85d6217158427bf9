"""Concatenation and contiguous copies on a GPU by memcpy, which costs the host less than kernels do.

``cupy.concatenate`` and ``ascontiguousarray`` launch one kernel per array, at about 20 us of host time each; a
two-dimensional copy by the driver is a single call.  That matters for small arrays; large ones are left to CuPy.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...typing import Array, CudaArray

__all__ = ["dense", "joined"]

LARGEST = 1 << 22
"""Bytes of a result above which the GPU, not the host, is the bottleneck."""


def _copy(to: int, to_pitch: int, source: int, pitch: int, width: int, rows: int) -> None:
    """Copy ``rows`` rows of ``width`` bytes, which begin ``pitch`` bytes apart, on the current stream."""
    cuda: Any = sys.modules["cupy"].cuda
    runtime = cuda.runtime
    stream = cuda.get_current_stream().ptr
    runtime.memcpy2DAsync(to, to_pitch, source, pitch, width, rows, runtime.memcpyDefault, stream)


def _address(a: CudaArray) -> int:
    return int(a.data.ptr)


def _plain(a: Array, like: Array) -> bool:
    return bool(type(a) is type(like) and a.size and a.dtype == like.dtype and a.flags.c_contiguous)


def joined(xp: Any, parts: Sequence[Array], axis: int) -> Array:
    """``xp.concatenate`` of arrays of one dtype along ``axis``, which is not negative."""
    first = parts[0]
    if xp is np or first.nbytes * len(parts) > LARGEST or not all(_plain(p, first) for p in parts):
        whole: Array = xp.concatenate(parts, axis)
        return whole
    shape = first.shape
    # The result as a matrix: one row for each index before ``axis``, in which every part has its columns.
    out: Array = xp.empty((*shape[:axis], sum([p.shape[axis] for p in parts]), *shape[axis + 1 :]), first.dtype)
    rows = math.prod(shape[:axis])
    pitch, place = out.nbytes // rows, _address(out)
    for part in parts:
        width = part.nbytes // rows
        _copy(place, pitch, _address(part), width, width, rows)
        place += width
    return out


def dense(xp: Any, a: Array) -> Array:
    """``xp.ascontiguousarray``: ``a`` if it is C-contiguous, else a copy that is."""
    out: Array
    if xp is np or a.flags.c_contiguous:
        out = xp.ascontiguousarray(a)
        return out
    shape, strides, width = a.shape, a.strides, a.shape[-1] * a.itemsize if a.ndim else 0
    # A two-dimensional copy needs contiguous rows whose leading axes act as one axis of constant step.
    steps = [strides[k] == strides[k + 1] * shape[k + 1] for k in range(a.ndim - 2)]
    # Rows that overlap or run backwards (expand, flip) are no pitch either. A vector with gaps fails at its last
    # stride, so that ``strides[-2]`` exists where it is read.
    if not 0 < a.nbytes <= LARGEST or strides[-1] != a.itemsize or not all(steps) or strides[-2] < width:
        out = xp.ascontiguousarray(a)
        return out
    out = xp.empty(shape, a.dtype)
    _copy(_address(out), width, _address(a), strides[-2], width, a.nbytes // width)
    return out

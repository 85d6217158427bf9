"""CUDA kernels that read rows of a table by number, and add to them: an embedding and its gradient, a launch each.

CuPy takes several passes for either, at some 50 us of the host's time.  As there, numbers outside the table wrap
around.  Where several values go to one row they are added in the order in which threads arrive.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import on_gpu
from ...backend.gpu.kernels import REALS, Kernel, KernelError, Launch, gpu, kernel
from ...source_line import warn_user
from ...typing import Array

__all__ = ["SOURCE", "add_rows", "rows_of_table"]

LAUNCH = Launch(threads=256)
MOST_BLOCKS = 4096

SOURCE = """
__device__ long long entry(const long long* index, long long i, long long V, long long E)
{
    const long long row = index[i / E] % V;
    return (row < 0 ? row + V : row) * E + i % E;
}

// table (V, E), index (S), out (S, E); size = S E
extern "C" __global__ void rows_of_table(
    const REAL* table, const long long* index, REAL* out, long long V, long long E, long long size)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step)
        out[i] = table[entry(index, i, V, E)];
}

// total (V, E), index (S), values (S, E); size = S E
extern "C" __global__ void add_rows(
    REAL* total, const long long* index, const REAL* values, long long V, long long E, long long size)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step)
        atomicAdd(total + entry(index, i, V, E), values[i]);
}
"""

_broken = False


def _ready(name: str, table: Any, index: Any, size: int) -> Kernel | None:
    """The kernel, if it can be used for these arrays."""
    global _broken
    if _broken or not on_gpu(table) or not on_gpu(index) or index.dtype != np.int64 or table.dtype not in REALS:
        return None
    here = gpu()
    if not here.capability or not size or table.ndim < 2 or not table.size:
        return None
    if not table.flags.c_contiguous or not index.flags.c_contiguous:
        return None
    if table.device.id != here.number or index.device.id != here.number:
        return None
    try:
        return kernel(SOURCE, name, REALS[table.dtype], LAUNCH)
    except KernelError as error:
        _broken = True
        warn_user(f"rows are read on the GPU by CuPy from now on: {error}", RuntimeWarning)
        return None


def _launch(run: Kernel, table: Any, index: Any, rows: Any) -> None:
    V, size = len(table), rows.size
    blocks = min(-(-size // LAUNCH.threads), MOST_BLOCKS)
    run(blocks, table, index, rows, np.int64(V), np.int64(table.size // V), np.int64(size))


def rows_of_table(table: Any, index: Any) -> Array:
    """``table[index]`` for whole numbers that name rows."""
    run = _ready("rows_of_table", table, index, index.size)
    if run is None:
        found: Array = table[index]
        return found
    out: Array = type(table)((*index.shape, *table.shape[1:]), table.dtype)
    _launch(run, table, index, out)
    return out


def add_rows(total: Any, index: Any, values: Any) -> bool:
    """``total[index] += values``, every value counted; False if the kernel cannot be used: then nothing was done."""
    if not on_gpu(values) or values.dtype != total.dtype or not values.flags.c_contiguous:
        return False
    run = _ready("add_rows", total, index, values.size)
    if run is None or values.device.id != total.device.id or values.shape != (*index.shape, *total.shape[1:]):
        return False
    _launch(run, total, index, values)
    return True

"""Stepwise kernels: the recurrence as one product and one kernel per step.  Any GPU, any size, float32 and float64.

Forward, at each step: ``product = h @ w_hh^T`` for the samples that run, then the kernel of the cell's equations,
which also saves what backward needs.  Backward: the kernel gives dz, then ``product = dz @ w_hh`` is the gradient of
the earlier h.  States are updated in place, the first rows of them where the others have ended.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....backend.gpu.gemm import multiply
from ....backend.gpu.kernels import Kernel, Launch, kernel
from ....typing import Array
from .cells import Cell, stepwise_source
from .rows import Rows
from .tables import Saved

__all__ = ["backward", "forward"]

LAUNCH = Launch(threads=256)


def _kernel(cell: Cell, name: str, dtype: Any) -> Kernel:
    real = {"f": "float", "d": "double"}[dtype.char]
    return kernel(stepwise_source(cell), name, (f"-DREAL={real}", *cell.options), LAUNCH)


def _blocks(count: int, size: int) -> int:
    return -(-count * size // LAUNCH.threads)


def forward(
    xp: Any,
    cell: Cell,
    rows: Rows,
    projected: Array,
    states: tuple[Array, ...],
    w_hh: Array,
    biases: tuple[Array | None, Array | None],
    saved: Saved | None,
    y: Array,
) -> tuple[Array, ...]:
    """Fill ``y`` (S rows of H) and ``saved`` from the projected input (S, G*H); gives the final states."""
    run = _kernel(cell, "step_forward", y.dtype)
    size = y.shape[-1]
    across = cell.rows * size
    finals = tuple(state.copy() for state in states)
    h, c = finals if len(finals) == 2 else (finals[0], None)
    product = xp.empty((rows.batch, across), y.dtype)
    earlier, earlier_c, gates = saved.pointers() if saved is not None else (None, None, None)
    for first, count in rows.visits():
        # a step at which no sequence runs would be a launch of no blocks
        if count:  # the first rows of h and product are those of the samples that run
            multiply(product, h, w_hh, (count, across, size), b_across=True)
            where = (np.int32(first), np.int32(count), np.int32(size))
            run(_blocks(count, size), projected, product, *biases, h, c, y, earlier, earlier_c, gates, *where)
    return finals


def backward(
    xp: Any,
    cell: Cell,
    rows: Rows,
    saved: Saved,
    w_hh: Array,
    dy: Array | None,
    finals: tuple[Array | None, ...],
    shape: tuple[int, int],
) -> tuple[Array, Array, tuple[Array, ...]]:
    """From the cotangents of y and the final states: dz (S, G*H) for h, the same for x, those of the states."""
    run = _kernel(cell, "step_backward", w_hh.dtype)
    size = shape[1]
    past, dc = ((xp.zeros(shape, w_hh.dtype) if g is None else g.copy()) for g in (*finals, None)[:2])
    product = xp.zeros(shape, w_hh.dtype)
    across = cell.rows * size
    dz = xp.empty((rows.total, across), w_hh.dtype)
    dz_input = xp.empty(dz.shape, dz.dtype) if cell.separate_input else None
    for first, count in reversed(list(rows.visits())):
        if count:
            where = (np.int32(first), np.int32(count), np.int32(size))
            run(_blocks(count, size), saved.gates, saved.kept, dy, product, past, dc, dz, dz_input, *where)
            multiply(product, dz[first : first + count], w_hh, (count, size, across))
    xp.add(past, product, out=past)
    return dz, dz if dz_input is None else dz_input, (past, dc)[: len(finals)]

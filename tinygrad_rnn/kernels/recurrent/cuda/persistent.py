"""Persistent kernels: the recurrence in one launch per sequence, float32, hidden sizes up to 512.

Their sources explain them: ``sources/persistent_forward.cu``, ``sources/persistent_backward.cu``, ``sources/group.cu``.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ....backend.gpu.kernels import Kernel, KernelError, Launch, kernel
from ....typing import Array
from .cells import Cell, persistent_source
from .rows import Rows
from .tables import Saved
from .tilings import Tiling

__all__ = ["backward", "compiled", "forward", "launch_groups"]

FLOATS_APART = 32  # counters of groups: a cache line


@functools.cache
def _recipe(cell: Cell, tiling: Tiling, name: str) -> tuple[str, str, tuple[str, ...], Launch]:
    launch = tiling.forward() if name == "persistent_forward" else tiling.backward()
    return persistent_source(cell), name, (*tiling.options(), *cell.options), launch


def compiled(cell: Cell, tiling: Tiling, name: str) -> Kernel:
    """The kernel ``name`` for a tiling, on the current device.

    Raises:
        KernelError: it does not compile.
    """
    return kernel(*_recipe(cell, tiling, name))


@functools.lru_cache(maxsize=256)
def _numbers(*numbers: int) -> tuple[np.int32, ...]:
    return tuple(map(np.int32, numbers))


def launch_groups(
    xp: Any, run: Kernel, tiling: Tiling, rows: Rows, size: int, arguments: tuple[Any, ...], floats: int
) -> None:
    """Launch all groups; where they must run at the same time, as many at once as fit.

    Args:
        arguments: the kernel's, up to ``exchange``.
        floats: room that a group's exchange takes in global memory, where it goes that way.
    """
    groups = -(-rows.batch // tiling.samples)
    together, exchange, counters = groups, None, None
    # blocks that meet through global memory must all be resident, or they wait for ever
    if tiling.cooperative:
        fit = run.resident_blocks() // tiling.ctas
        if fit < 1:
            raise KernelError(f"{tiling.ctas} blocks cannot run at the same time on this GPU")
        together = min(groups, fit)
        exchange = xp.empty(together * floats, np.float32)
        counters = xp.zeros((-(-groups // together), together * FLOATS_APART), np.uint32)
    tables = rows.tables(xp)
    common = _numbers(rows.steps, rows.batch, size, rows.reverse)
    for launch, first in enumerate(range(0, groups, together)):
        count = min(together, groups - first)
        meeting = None if counters is None else counters[launch]
        where = _numbers(first, count)
        run(count * tiling.ctas, *arguments, exchange, meeting, *tables, *common, *where)


def forward(
    xp: Any,
    cell: Cell,
    rows: Rows,
    tiling: Tiling,
    projected: Array,
    states: tuple[Array, ...],
    w_hh: Array,
    biases: tuple[Array | None, Array | None],
    saved: Saved | None,
    y: Array,
) -> tuple[Array, ...]:
    """Fill ``y`` (S rows of H) and ``saved`` from the projected input (S, G*H); gives the final states.

    Raises:
        KernelError: these kernels cannot run here.
    """
    run = compiled(cell, tiling, "persistent_forward")
    h0, c0 = states if len(states) == 2 else (states[0], None)
    h_n, c_n = xp.empty(h0.shape, y.dtype), None if c0 is None else xp.empty(h0.shape, y.dtype)
    earlier, earlier_c, gates = saved.pointers() if saved is not None else (None, None, None)
    if c0 is None:
        arguments: tuple[Any, ...] = (projected, w_hh, *biases, h0, y, h_n, earlier, gates)
    else:
        arguments = (projected, w_hh, *biases, h0, c0, y, h_n, c_n, earlier, earlier_c, gates)
    launch_groups(xp, run, tiling, rows, y.shape[-1], arguments, 2 * tiling.samples * tiling.hidden)
    return (h_n,) if c_n is None else (h_n, c_n)


def backward(
    xp: Any,
    cell: Cell,
    rows: Rows,
    tiling: Tiling,
    saved: Saved,
    w_hh: Array,
    dy: Array | None,
    finals: tuple[Array | None, ...],
    shape: tuple[int, int],
) -> tuple[Array, Array, tuple[Array, ...]]:
    """From the cotangents of y and the final states: dz (S, G*H) for h, the same for x, those of the states.

    Raises:
        KernelError: these kernels cannot run here.
    """
    run = compiled(cell, tiling, "persistent_backward")
    starts = tuple(xp.empty(shape, w_hh.dtype) for _ in finals)
    dz = xp.empty((rows.total, cell.rows * shape[1]), w_hh.dtype)
    dz_input = xp.empty(dz.shape, dz.dtype) if cell.separate_input else None
    arguments = (w_hh, saved.gates, None, None, saved.kept, dy, *finals, *starts, dz, dz_input, None)
    launch_groups(xp, run, tiling, rows, shape[1], arguments, 2 * tiling.samples * tiling.hidden * tiling.ctas)
    return dz, dz if dz_input is None else dz_input, starts

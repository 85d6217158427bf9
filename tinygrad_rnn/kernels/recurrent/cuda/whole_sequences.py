"""Compiled cells in one launch for each sequence: persistent kernels, and scans.

A cell without a product with a state, such as SRU, minGRU and an independent RNN, is *scanned*: what units of a step
share is known before the loop, as the products with x are, so a thread takes one unit through all steps and waits for
no other (``sources/scan.cu``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....backend.gpu.kernels import REALS, KernelError, Launch, gpu, kernel
from ....source_line import warn_user
from . import persistent
from .calls import Call
from .cells import Cell, scan_source
from .tilings import Tiling

__all__ = ["backward", "forward", "scan"]

LAUNCH = Launch(threads=64)
"""A thread waits for memory at each step, so threads are spread over as many multiprocessors as there are."""

_given_up: set[tuple[int, Cell]] = set()


def _with_series(unit: Cell, call: Call) -> Cell:
    """The cell that gives all states after each step, where they are asked for."""
    return replace(unit, options=("-DALL_SERIES=1",)) if unit.all_series or call.cells else unit


def forward(unit: Cell, call: Call, tiling: Tiling) -> None:
    """Run forward by a persistent kernel.

    Raises:
        KernelError: it cannot run here.
    """
    assert unit.of_state is not None
    cell = _with_series(unit, call)
    launched = persistent.compiled(cell, tiling, "persistent_forward")
    projected = None if unit.of_x is None else call.array(f"p{unit.of_x}")
    arguments = (projected, call.weights[unit.of_state].rows(call.xp), *call.whole_forward(cell))
    floats = 2 * tiling.samples * tiling.hidden
    persistent.launch_groups(call.xp, launched, tiling, call.rows, call.steps.widths[0], arguments, floats)


def backward(unit: Cell, call: Call, tiling: Tiling) -> None:
    """Run back by a persistent kernel.

    Raises:
        KernelError: it cannot run here.
    """
    assert unit.of_state is not None
    cell = _with_series(unit, call)
    launched = persistent.compiled(cell, tiling, "persistent_backward")
    arguments = (call.back(unit.of_state).rows(call.xp), *call.whole_backward(cell))
    floats = 2 * tiling.samples * tiling.hidden * tiling.ctas
    persistent.launch_groups(call.xp, launched, tiling, call.rows, call.steps.widths[0], arguments, floats)


def scan(unit: Cell, call: Call, way: str) -> bool:
    """Run ``"forward"`` or ``"backward"`` by a scan; False if this GPU cannot, which is said once."""
    device = gpu().number
    if (device, unit) in _given_up:
        return False
    try:
        _scan(_with_series(unit, call), call, way)
    except KernelError as error:
        _given_up.add((device, unit))
        text = f"recurrent layers ({unit.name}) run step by step on this GPU from now on: {error}"
        warn_user(text, RuntimeWarning)
        return False
    return True


def _scan(cell: Cell, call: Call, way: str) -> None:
    launched = kernel(scan_source(cell), f"scan_{way}", (*REALS[call.dtype], *cell.options), LAUNCH)
    if way == "forward":
        projected = None if cell.of_x is None else call.array(f"p{cell.of_x}")
        arguments = (projected, *call.whole_forward(cell))
    else:
        *others, _, dz_input, totals = call.whole_backward(cell)
        arguments = (*others, dz_input, totals)
    rows, size = call.rows, call.steps.widths[0]
    numbers = map(np.int32, (rows.steps, rows.batch, size, rows.reverse))
    launched(-(-rows.batch * size // LAUNCH.threads), *arguments, *rows.tables(call.xp), *numbers)

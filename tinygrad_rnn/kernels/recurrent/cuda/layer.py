"""One layer, one direction, on a GPU: the large products, and in between the recurrence by the best kernels.

Two kinds of kernels run the recurrence: persistent ones, one launch per sequence, where a tiling fits, and one
product and kernel per step otherwise.  What they save is the same, so each way chooses for itself.  A persistent
kernel that cannot be compiled or launched is not tried again in this process; a warning says so, once, and what is
done instead: without clusters, then step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from ....backend import array_module
from ....backend.gpu.device_copies import dense
from ....backend.gpu.gemm import multiply, sum_of_rows
from ....backend.gpu.kernels import KernelError, gpu
from ....source_line import warn_user
from ....typing import Array
from ..dispatch import KernelUnavailable
from . import persistent, stepwise
from .cells import Cell
from .rows import Rows
from .tables import Saved
from .tilings import Tiling, choose

__all__ = ["Residual", "backward", "forward", "plan"]

Found = TypeVar("Found")
BEFORE_CLUSTERS = 89
"""The compute capability up to which there are no clusters: what runs there runs everywhere."""

_given_up: dict[tuple[int, Cell, Tiling], str] = {}


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    cell: Cell
    rows: Rows
    saved: Saved


def plan(cell: Cell, size: int, batch: int, dtype: object) -> Tiling | str:
    """The tiling of the persistent kernels that would be used, or why the work is done step by step."""
    device = gpu()
    reason = ""
    for capability in (device.capability, min(device.capability, BEFORE_CLUSTERS)):
        tiling = choose(cell, size, batch, dtype, device._replace(capability=capability))
        if isinstance(tiling, str):
            return reason or tiling
        reason = _given_up.get((device.number, cell, tiling), "")
        if not reason:
            return tiling
    return reason


def _best(cell: Cell, shape: tuple[int, int], dtype: Any, persistently: Callable[[Tiling], Found], steps: Any) -> Found:
    while isinstance(tiling := plan(cell, shape[1], shape[0], dtype), Tiling):
        try:
            return persistently(tiling)
        except KernelError as error:
            reason = f"the persistent kernel for hidden size {tiling.hidden} cannot be used: {error}"
            _given_up[gpu().number, cell, tiling] = reason
            now = plan(cell, shape[1], shape[0], dtype)
            how = "step by step" if isinstance(now, str) else "with blocks that meet through global memory"
            text = f"recurrent layers ({cell.name}) run {how} on this GPU from now on: {reason}"
            warn_user(text, RuntimeWarning)
    try:
        found: Found = steps()
    except KernelError as error:
        raise KernelUnavailable(str(error)) from error
    return found


def forward(
    cell: Cell,
    x: Array,
    states: tuple[Array, ...],
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None,
    b_hh: Array | None,
    sizes: Sequence[int] | None,
    reverse: bool,
    save: bool,
) -> tuple[tuple[Array, ...], Residual | None]:
    """(y, final states), and what backward needs; shapes as in the NumPy kernels.

    Raises:
        KernelUnavailable: not even the kernel of one step can be compiled.
    """
    xp = array_module(x)
    batch, size = states[0].shape
    steps = x.shape[0] if sizes is None else len(sizes)
    rows = Rows(steps, batch, None if sizes is None else tuple(sizes), reverse)
    total, across, dtype = rows.total, cell.rows * size, x.dtype
    x, w_ih, w = [dense(xp, a) for a in (x, w_ih, w_hh)]
    begin = tuple([dense(xp, a) for a in states])
    biases = (None if b_ih is None else dense(xp, b_ih), None if b_hh is None else dense(xp, b_hh))
    projected = xp.empty((total, across), dtype)
    multiply(projected, x, w_ih, (total, across, x.shape[-1]), b_across=True)
    y = xp.empty((*x.shape[:-1], size), dtype)
    saved = Saved.room(xp, cell, y, (total, size)) if save else None

    def persistently(tiling: Tiling) -> tuple[Array, ...]:
        return persistent.forward(xp, cell, rows, tiling, projected, begin, w, biases, saved, y)

    def stepwise_() -> tuple[Array, ...]:
        return stepwise.forward(xp, cell, rows, projected, begin, w, biases, saved, y)

    finals = _best(cell, (batch, size), x.dtype, persistently, stepwise_)
    residual = None if saved is None else Residual(cell, rows, saved)
    return (y, *finals), residual


def backward(
    gs: Sequence[Array | None],
    residual: Residual,
    x: Array,
    states: tuple[Array, ...],
    w_ih: Array,
    w_hh: Array,
    needs: Sequence[bool],
) -> list[Array | None]:
    """The gradients of x, the states, w_ih, w_hh, b_ih, b_hh; None where ``needs`` is false."""
    xp = array_module(x)
    cell, rows, saved = residual
    x, w_ih, w = [dense(xp, a) for a in (x, w_ih, w_hh)]
    batch, size = shape = states[0].shape
    inputs, total, across, dtype = x.shape[-1], rows.total, cell.rows * size, x.dtype
    dy, *finals = [None if g is None else dense(xp, g) for g in gs[: 1 + len(states)]]

    def persistently(tiling: Tiling) -> tuple[Array, Array, tuple[Array, ...]]:
        return persistent.backward(xp, cell, rows, tiling, saved, w, dy, tuple(finals), shape)

    def stepwise_() -> tuple[Array, Array, tuple[Array, ...]]:
        return stepwise.backward(xp, cell, rows, saved, w, dy, tuple(finals), shape)

    dz, dz_input, starts = _best(cell, shape, dtype, persistently, stepwise_)
    need_x, need_states = needs[0], needs[1 : 1 + len(starts)]
    need_w_ih, need_w_hh, need_b_ih, need_b_hh = needs[1 + len(starts) : 5 + len(starts)]
    found: list[Array | None] = [None] * 5
    if need_x:
        found[0] = multiply(xp.empty(x.shape, dtype), dz_input, w_ih, (total, inputs, across))
    if need_w_ih:
        found[1] = multiply(xp.empty(w_ih.shape, dtype), dz_input, x, (across, inputs, total), a_across=True)
    if need_w_hh:
        found[2] = multiply(xp.empty(w.shape, dtype), dz, saved.earlier, (across, size, total), a_across=True)

    if need_b_ih and need_b_hh and not cell.separate_input:
        found[3:] = sum_of_rows(dz, (2, across))
    else:
        pairs = ((need_b_ih, dz_input), (need_b_hh, dz))
        found[3:] = [sum_of_rows(d, (across,)) if need else None for need, d in pairs]
    dx, *others = found
    return [dx, *(start if need else None for start, need in zip(starts, need_states, strict=True)), *others]

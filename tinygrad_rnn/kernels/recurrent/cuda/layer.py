"""Recurrent layers on a GPU: the large products, and in between the recurrence by the best kernels.

Two kinds of kernels run the recurrence: persistent ones, one launch per sequence, where a tiling fits, and one
product and kernel per step otherwise.  What they save is the same, so each way chooses for itself.  A persistent
kernel that cannot be compiled or launched is not tried again in this process; a warning says so, once, and what is
done instead: without clusters, then step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from ....backend import array_module
from ....backend.gpu.device_copies import dense
from ....backend.gpu.gemm import multiply, sum_of_rows
from ....backend.gpu.kernels import KernelError, gpu
from ....source_line import warn_user
from ....typing import Array
from ..interface import Cotangents, Gradients, KernelUnavailable, Needs, Options, Run, Weights
from . import persistent, stepwise
from .cells import CELLS, Cell
from .rows import Rows
from .tables import Saved
from .tilings import Tiling, choose

__all__ = ["KERNELS", "Layer", "Residual", "best", "or_unavailable", "plan"]

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
    # with clusters, and then as a GPU without them would do it
    for capability in (device.capability, min(device.capability, BEFORE_CLUSTERS)):
        tiling = choose(cell, size, batch, dtype, device._replace(capability=capability))
        if isinstance(tiling, str):
            return reason or tiling
        # a tiling that failed once is not tried again in this process
        reason = _given_up.get((device.number, cell, tiling), "")
        if not reason:
            return tiling
    return reason


def best(
    cell: Cell,
    shape: tuple[int, int],
    dtype: Any,
    persistently: Callable[[Tiling], Found],
    steps: Callable[[], Found],
) -> Found:
    """Run with the best tiling that can be compiled and launched, or else step by step; ``shape`` is (N, H).

    Raises:
        KernelUnavailable: not even the kernels of one step can be compiled.
    """
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
    return or_unavailable(steps)


def or_unavailable(steps: Callable[[], Found]) -> Found:
    """Run step by step.

    Raises:
        KernelUnavailable: not even the kernels of one step can be compiled.
    """
    try:
        return steps()
    except KernelError as error:
        raise KernelUnavailable(str(error)) from error


class Layer:
    """The kernel of one mode; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`.

    Callers ask first whether it is for the work (``dispatch.refusal``): nothing of that is checked here.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def cell(self, options: Options) -> Cell:
        """The cell that runs with these options."""
        return CELLS[options.nonlinearity if self.mode == "rnn" else self.mode]

    def forward(self, x: Array, states: tuple[Array, ...], weights: Weights, options: Options) -> Run:
        """One direction.

        Raises:
            KernelUnavailable: not even the kernel of one step can be compiled.
        """
        cell, sizes = self.cell(options), options.sizes
        xp = array_module(x)
        batch, size = states[0].shape
        rows = Rows(x.shape[0] if sizes is None else len(sizes), batch, sizes, options.reverse)
        total, across, dtype = rows.total, cell.rows * size, x.dtype
        x, w_ih, w = [dense(xp, a) for a in (x, weights.w_ih, weights.w_hh)]
        begin = tuple([dense(xp, a) for a in states])
        b_ih, b_hh = [None if b is None else dense(xp, b) for b in (weights.b_ih, weights.b_hh)]
        projected = xp.empty((total, across), dtype)
        multiply(projected, x, w_ih, (total, across, x.shape[-1]), b_across=True)
        y = xp.empty((*x.shape[:-1], size), dtype)
        saved = Saved.room(xp, cell, y, (total, size)) if options.save else None

        def persistently(tiling: Tiling) -> tuple[Array, ...]:
            return persistent.forward(xp, cell, rows, tiling, projected, begin, w, (b_ih, b_hh), saved, y)

        def by_steps() -> tuple[Array, ...]:
            return stepwise.forward(xp, cell, rows, projected, begin, w, (b_ih, b_hh), saved, y)

        finals = best(cell, (batch, size), x.dtype, persistently, by_steps)
        return Run((y,), finals, None if saved is None else Residual(cell, rows, saved))

    def backward(
        self,
        x: Array,
        states: tuple[Array, ...],
        weights: Weights,
        options: Options,
        residual: Residual,
        cotangents: Cotangents,
        needs: Needs,
    ) -> Gradients:
        """Its gradients."""
        xp = array_module(x)
        cell, rows, saved = residual
        x, w_ih, w = [dense(xp, a) for a in (x, weights.w_ih, weights.w_hh)]
        shape, size = states[0].shape, states[0].shape[1]
        inputs, total, across, dtype = x.shape[-1], rows.total, cell.rows * size, x.dtype
        dy, *finals = [None if g is None else dense(xp, g) for g in (cotangents.series[0], *cotangents.states)]

        def persistently(tiling: Tiling) -> tuple[Array, Array, tuple[Array, ...]]:
            return persistent.backward(xp, cell, rows, tiling, saved, w, dy, tuple(finals), shape)

        def by_steps() -> tuple[Array, Array, tuple[Array, ...]]:
            return stepwise.backward(xp, cell, rows, saved, w, dy, tuple(finals), shape)

        dz, dz_input, starts = best(cell, shape, dtype, persistently, by_steps)
        need_w_ih, need_w_hh, need_b_ih, need_b_hh, *_ = needs.weights
        dx = d_w_ih = d_w_hh = None
        if needs.x:
            dx = multiply(xp.empty(x.shape, dtype), dz_input, w_ih, (total, inputs, across))
        if need_w_ih:
            d_w_ih = multiply(xp.empty(w_ih.shape, dtype), dz_input, x, (across, inputs, total), a_across=True)
        if need_w_hh:
            d_w_hh = multiply(xp.empty(w.shape, dtype), dz, saved.earlier, (across, size, total), a_across=True)
        # the two biases have the same gradient: one kernel writes both arrays
        if need_b_ih and need_b_hh and not cell.separate_input:
            d_b_ih, d_b_hh = sum_of_rows(dz, (2, across))
        else:
            d_b_ih = sum_of_rows(dz_input, (across,)) if need_b_ih else None
            d_b_hh = sum_of_rows(dz, (across,)) if need_b_hh else None
        d_states = tuple([start if need else None for start, need in zip(starts, needs.states, strict=True)])
        d_weights = (d_w_ih, d_w_hh, d_b_ih, d_b_hh)
        return Gradients(dx, d_states, (*d_weights, None) if self.mode == "lstm" else d_weights)


KERNELS = {mode: Layer(mode) for mode in ("rnn", "gru", "lstm")}

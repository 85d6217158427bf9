"""Compiled cells on a GPU: one launch per sequence where the cell and the GPU allow it, else step by step.

Three ways, with the same arrays (``steps.py``), so that each direction chooses for itself:

* *persistent*: one product with a state at each step, whose weight stays on the chip; float32;
* *scan*: no product with a state, a thread for each unit (both ``whole_sequences.py``);
* *stepwise*: everything (``step_loops.py``).
"""

from __future__ import annotations

from collections.abc import Callable

from ....typing import Array
from ..interface import Cotangents, Gradients, Needs, Options, Run
from . import step_loops, whole_sequences
from .calls import Call, Residual
from .cells import Cell
from .layer import best, or_unavailable, plan
from .steps import Steps
from .tilings import Tiling

__all__ = ["CellLayer"]


class CellLayer:
    """The kernel of a compiled cell; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`.

    The weights of a call are the matrices that the step reads, then its vectors, (W,) each.

    Args:
        steps: its kernels step by step.
        unit: what one unit of it computes; or why there are no kernels for whole sequences.
    """

    def __init__(self, steps: Steps, unit: Cell | str) -> None:
        self.steps, self.unit = steps, unit

    def explain(self, x: Array, states: tuple[Array, ...]) -> str:
        """How the recurrence of this work would be computed, in one line."""
        launches = sum(k is not None for k in self.steps.forward)
        products = sum(p.source != "x" for p in self.steps.products)
        how = f"{products} products and {launches} kernels for each step"
        if isinstance(self.unit, str):
            return f"stepwise, {how}: {self.unit}"
        if not self.unit.rows:
            return "scan: one launch, a thread for each unit of each sequence"
        batch, size = states[0].shape
        found = plan(self.unit, size, batch, x.dtype)
        if isinstance(found, str):
            return f"stepwise, {how}: {found}"
        return f"persistent: one launch, groups of {found.ctas} blocks, {found.samples} sequences each"

    def _run(self, call: Call, way: str, whole: Callable[[Cell, Tiling], None], steps: Callable[[], None]) -> None:
        unit, shape = self.unit, call.states[0].shape
        if isinstance(unit, Cell) and unit.rows:
            best(unit, (shape[0], shape[1]), call.dtype, lambda tiling: whole(unit, tiling), steps)
        elif not (isinstance(unit, Cell) and whole_sequences.scan(unit, call, way)):
            or_unavailable(steps)

    def forward(self, x: Array, states: tuple[Array, ...], weights: tuple[Array, ...], options: Options) -> Run:
        """One direction.

        Raises:
            KernelUnavailable: not even the kernels of one step can be compiled.
        """
        call = Call(self.steps, x, states, weights, options)
        call.begin()
        self._run(
            call,
            "forward",
            lambda unit, tiling: whole_sequences.forward(unit, call, tiling),
            lambda: step_loops.forward(self.steps, call, states),
        )
        return call.run()

    def backward(
        self,
        x: Array,
        states: tuple[Array, ...],
        weights: tuple[Array, ...],
        options: Options,
        residual: Residual,
        cotangents: Cotangents,
        needs: Needs,
    ) -> Gradients:
        """Its gradients."""
        call = Call(self.steps, x, states, weights, options, residual)
        call.begin_back(cotangents, needs)
        self._run(
            call,
            "backward",
            lambda unit, tiling: whole_sequences.backward(unit, call, tiling),
            lambda: step_loops.backward(self.steps, call),
        )
        return call.gradients(needs)

"""Kernels of a program, compiled by Numba: called like those that are written by hand.

Their text comes from :mod:`.numba_host`; what it leaves open, sizes and numbers, is here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError
from ...kernels.recurrent.interface import Cotangents, Gradients, Needs, Options, Run
from ...kernels.recurrent.numba import schedule
from ...typing import Array
from .generated_modules import load
from .numba_host import Generated, generate
from .program import Program

__all__ = ["CellKernel"]


class CellKernel:
    """The kernel of a program; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`.

    The module imports Numba, as those of the kernels that are written by hand do.

    The weights of a call are the matrices of the program's prelude, then its vectors, (W,) each.  Where the residual
    follows from the states, the kernel has the method ``restore`` of
    :class:`~tinygrad_rnn.kernels.recurrent.interface.Restoring`.

    Attributes:
        widths: those that the text leaves open.

    Raises:
        Unknown: an operation that has no form in compiled code.
    """

    def __init__(self, program: Program, generated: Generated | None = None) -> None:
        self.program = program
        self.text = text = generated or generate(program)
        self.module: Any = load(text.text)
        self.widths = text.widths
        self._masked = bool(program.step_masks or program.sequence_masks)
        self._arrays: dict[str, tuple[Array, Array]] = {}
        if text.restorable:
            self.restore = self._restore

    def arrays(self, dtype: Any) -> tuple[Array, Array]:
        """The widths and the numbers that the text leaves open, for compiled code."""
        found = self._arrays.get(dtype.char)  # a dtype takes longer to look up
        if found is None:
            found = np.array(self.text.widths, np.int64), np.array(self.text.numbers, dtype)
            self._arrays[dtype.char] = found
        return found

    def masks(self, visits: schedule.Visits, options: Options, dtype: Any) -> list[Array]:
        """The masks of a call as compiled code wants them.

        Raises:
            ArgumentError: they are not those that the cell was compiled for.
        """
        program = self.program
        asked, given = (*program.step_masks, *program.sequence_masks), (*options.step_masks, *options.sequence_masks)
        if len(options.step_masks) != len(program.step_masks) or len(asked) != len(given):
            raise ArgumentError(
                f"the cell has {len(program.step_masks)} masks of a step and {len(program.sequence_masks)} of a "
                f"sequence, got {len(options.step_masks)} and {len(options.sequence_masks)}"
            )
        found = []
        for k, (mask, a) in enumerate(zip(asked, given, strict=True)):
            rows = visits.rows if k < len(program.step_masks) else visits.batch
            kind = np.dtype(bool) if mask.boolean else dtype
            if a.dtype != kind or a.shape[-1] != mask.width or a.size != rows * mask.width:
                raise ArgumentError(
                    f"mask {k} must have {rows} rows of {mask.width} columns, and be {kind}; got {a.dtype} {a.shape}"
                )
            found.append(schedule.plain(a.reshape(rows, mask.width)))
        return found

    def forward(self, x: Array, states: tuple[Array, ...], weights: tuple[Array, ...], options: Options) -> Run:
        """One direction; the series are the first state, or with ``cells`` each, and then what is emitted."""
        if (options.step_masks or options.sequence_masks) and not self._masked:
            self.masks(schedule.Visits.of(x, len(states[0]), options.sizes, options.reverse), options, x.dtype)
        run: Run = self.module.run_forward(self, x, states, weights, options)
        return run

    def backward(
        self,
        x: Array,
        states: tuple[Array, ...],
        weights: tuple[Array, ...],
        options: Options,
        residual: Any,
        cotangents: Cotangents,
        needs: Needs,
    ) -> Gradients:
        """Its gradients; those of the weights in the order of the weights."""
        run = self.module.run_backward
        found: Gradients = run(self, x, states, weights, options, residual, cotangents, needs)
        return found

    def _restore(
        self, x: Array, states: tuple[Array, ...], weights: tuple[Array, ...], options: Options, y: Array
    ) -> Any:
        return self.module.run_restore(self, x, states, weights, options, y)

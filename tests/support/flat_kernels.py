"""Recurrent kernels called with their arrays one after the other, ``x, *states, *weights``, as tests list them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tinygrad_rnn.ops.recurrent.sequence  # noqa: F401 - which gives the cells their equations
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.interface import Cotangents, Needs, Options, Weights

__all__ = ["FlatKernel", "flat", "grouped"]


def grouped(mode: str, arrays: Sequence[Any]) -> tuple[Any, tuple[Any, ...], Weights]:
    """``x, states, weights``."""
    split = 1 + dispatch.CELLS[mode].states
    return arrays[0], tuple(arrays[1:split]), Weights(*arrays[split:])


class FlatKernel:
    """The functions of a kernel; outputs and gradients in one list, cotangents and needs as well."""

    def __init__(self, kernel: Any, mode: str) -> None:
        self.kernel, self.mode, self.split = kernel, mode, 1 + dispatch.CELLS[mode].states
        self.options = Options()

    def forward(self, *arrays: Any, **options: Any) -> tuple[tuple[Any, ...], Any]:
        """``(y, *states, *others), residual``."""
        self.options = Options(**options)  # which a backward run is to be given again
        run = self.kernel.forward(*grouped(self.mode, arrays), self.options)
        return (run.series[0], *run.states, *run.series[1:]), run.residual

    def backward(self, gs: Sequence[Any], residual: Any, *arrays: Any, needs: Sequence[bool]) -> list[Any]:
        """The gradients, padded to as many as there are ``needs``."""
        finals, more = tuple(gs[1 : self.split]), tuple(gs[self.split :])
        wanted = [*needs, False, False]
        found = self.kernel.backward(
            *grouped(self.mode, arrays),
            self.options,
            residual,
            Cotangents((gs[0], *more), finals),
            Needs(wanted[0], tuple(wanted[1 : self.split]), tuple(wanted[self.split : self.split + 5])),
        )
        flat = [found.x, *found.states, *found.weights]
        return flat + [None] * (len(needs) - len(flat))


def flat(mode: str, backend: str = "numpy") -> FlatKernel:
    """The kernel of RNN, GRU or LSTM."""
    return FlatKernel(dispatch.CELLS[mode].kernel(backend), mode)

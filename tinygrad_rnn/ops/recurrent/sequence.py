"""Recurrent layers as operations: one layer, one direction, the whole sequence.

Each exists twice: *fused*, one record on the tape with one kernel forward and one back through time, and
*composed*, every step on the tape.  The two give the same numbers.  The composed form is also what defines the
fused one: its vjp is used where a backward pass is itself recorded (``create_graph=True``), so that fused layers
have every order.

The tape passes the arguments of a record one after the other, ``x, *states, *weights``; kernels take them in groups
(``kernels/recurrent/interface.py``).  :class:`Record` stands between the two.

Shapes: x (T, N, I) or packed (S, I), states (N, R) and (N, H), weights in PyTorch's layout.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from ...kernels.recurrent import checkpointing, dispatch
from ...kernels.recurrent.interface import Cell, Cotangents, Needs, Options, Weights
from ...tape.formula import Formula
from ...tape.modes import is_grad_enabled
from ...tape.multi_output import fused
from ...tape.tensor import Tensor
from ...typing import Array, V
from ..shape import unsqueeze
from . import conventions
from .cells import gru_cell, lstm_cell, rnn_cell
from .formulas import FORMULAS
from .unroll import unroll

__all__ = ["Record", "Segments", "Sizes", "gru_sequence", "lstm_sequence", "reasons", "rnn_sequence"]

Sizes = Sequence[int] | None
Segments = int | str | None


class Record:
    """One record for a cell over a sequence.

    Args:
        cell: its kernels.
        composed: the same with every step on the tape: ``composed(x, *states, *weights, options, segments, stacked)``
            gives ``(y, *states, *others)``, the other series of a run after the states.  From it come higher
            derivatives.
        weights: makes the group of weights of a kernel of them: ``Weights``; None: a tuple.
        formula: its equations.
        listed: whether it is a row of the table of primitives.
    """

    def __init__(
        self,
        cell: Cell,
        composed: Callable[..., tuple[Any, ...]],
        weights: Callable[..., tuple[Any, ...]] | None = None,
        *,
        formula: Formula | None = None,
        listed: bool = False,
    ) -> None:
        self.cell, self.count, self.weights = cell, cell.states, weights or _in_a_tuple
        self.fused = fused(
            cell.name, self.forward, self.backward, composed, formula=formula, gives_new=True, listed=listed
        )

    def __call__(
        self, args: tuple[V | None, ...], sizes: Sizes, reverse: bool, segments: Segments, stacked: bool, *more: Any
    ) -> tuple[Any, ...]:
        """``(y, *states, *others)``.

        Args:
            args: ``x, *states, *weights``.
            stacked: give the final states as (1, N, H_k), a stack of one layer.
            more: of ``Options``, what comes after ``save``.
        """
        if sizes is not None:
            sizes = tuple([int(n) for n in sizes])
        save = False
        # what backward would read is kept only if something will be recorded
        if is_grad_enabled():
            for a in args:
                if isinstance(a, Tensor) and a._node is not None:
                    save = True
                    break
        options = Options(sizes, reverse, save, *more)
        return self.fused(*args, options=options, segments=segments, stacked=stacked)

    def forward(
        self, x: Array, *others: Array, options: Options, segments: Segments = None, stacked: bool = False
    ) -> tuple[tuple[Array, ...], Any]:
        """The forward run of a kernel, for the tape."""
        states, weights = others[: self.count], self.weights(*others[self.count :])
        # checkpointing runs a kernel several times; the usual way is one run
        if segments is None:
            series, finals, residual = dispatch.forward(self.cell, x, states, weights, options)
        else:
            series, finals, residual = checkpointing.forward(self.cell, x, states, weights, options, segments)
        if stacked:
            finals = tuple([state[None] for state in finals])
        return (series[0], *finals, *series[1:]), residual

    def backward(
        self,
        gs: Sequence[Array | None],
        residual: Any,
        x: Array,
        *others: Array,
        needs: Sequence[bool],
        options: Options,
        segments: Segments = None,
        stacked: bool = False,
    ) -> list[Array | None]:
        """Its backward run: the gradients of ``x, *states, *weights``."""
        split = 1 + self.count
        finals, more = tuple(gs[1:split]), tuple(gs[split:])
        if stacked:
            finals = tuple([None if g is None else g[0] for g in finals])
        # the same two ways as forward; the residual knows which kernel ran
        run = dispatch.backward if segments is None else checkpointing.backward
        dx, d_states, d_weights = run(
            x,
            others[: self.count],
            self.weights(*others[self.count :]),
            options,
            residual,
            Cotangents((gs[0], *more), finals),
            Needs(needs[0], tuple(needs[1:split]), tuple(needs[split:])),
        )
        return [dx, *d_states, *d_weights]


def _in_a_tuple(*weights: Any) -> tuple[Any, ...]:
    return weights


class _Sequence:
    """A cell over a sequence, fused and composed.

    Args:
        cell: its kernels.
        equations: those of a step.
        kind: their gates and states.
    """

    def __init__(self, cell: dispatch.Standard, equations: Callable[..., Any], kind: conventions.CellKind) -> None:
        self.cell, self.equations, self.count = cell, equations, cell.states
        cell.generated = functools.partial(_generated, equations, kind)
        self.record = Record(cell, self.composed, Weights, formula=FORMULAS[cell.name], listed=True)

    def __call__(
        self,
        args: tuple[V | None, ...],
        impl: str,
        sizes: Sizes,
        reverse: bool,
        segments: Segments,
        stacked: bool,
        cells: bool = False,
        nonlinearity: str = "tanh",
    ) -> Any:
        if impl != "composed":
            return self.record(args, sizes, reverse, segments, stacked, cells, nonlinearity)
        # every step on the tape, for looking at it, or as the reference of the fused form
        sizes = None if sizes is None else tuple([int(n) for n in sizes])
        return self.composed(*args, options=Options(sizes, reverse, True, cells, nonlinearity), stacked=stacked)

    def composed(
        self, x: V, *others: V, options: Options, segments: Segments = None, stacked: bool = False
    ) -> tuple[V, ...]:
        """Every step on the tape; in one segment, whatever is asked for."""
        states, weights = others[: self.count], others[self.count :]
        params = {"nonlinearity": options.nonlinearity} if self.cell is dispatch.RNN else {}

        def step(x_t: V, states: tuple[V, ...]) -> tuple[V, ...]:
            new = self.equations(x_t, *states, *weights, **params)
            return new if isinstance(new, tuple) else (new,)

        emit = (0, 1) if options.cells else (0,)
        series, finals = unroll(step, x, states, sizes=options.sizes, reverse=options.reverse, emit=emit)
        if stacked:
            finals = tuple([unsqueeze(state, 0) for state in finals])
        return (series[0], *finals, *series[1:])


def _generated(equations: Callable[..., Any], kind: conventions.CellKind, backend: str) -> Any:
    """A kernel of a cell, generated from the equations; the compiler is imported when the first is asked for."""
    module = importlib.import_module("..compiler.text_kernel", __package__)
    return module.StandardKernel(equations, len(kind.states), len(kind.gates), backend)


_rnn = _Sequence(dispatch.RNN, rnn_cell, conventions.RNN_TANH)
_lstm = _Sequence(dispatch.LSTM, lstm_cell, conventions.LSTM)
_gru = _Sequence(dispatch.GRU, gru_cell, conventions.GRU)
reasons = dispatch.reasons  # of the cells as they are now


def rnn_sequence(
    x: V,
    h0: V,
    weight_ih: V,
    weight_hh: V,
    bias_ih: V | None = None,
    bias_hh: V | None = None,
    *,
    nonlinearity: str = "tanh",
    sizes: Sizes = None,
    reverse: bool = False,
    impl: str = "fused",
    segments: Segments = None,
    stacked: bool = False,
) -> tuple[V, V]:
    """:func:`~tinygrad_rnn.ops.recurrent.cells.rnn_cell` over a sequence: ``(y, h_n)``.

    Args:
        nonlinearity: ``"tanh"`` or ``"relu"``.
        sizes: batch sizes of packed input.
        reverse: read from the end.
        impl: ``"fused"`` or ``"composed"``.
        segments: fused alone: how many pieces of the sequence to compute again in the backward pass, from the
            states at their borders, which are all that is kept; ``"auto"``: about sqrt(T); None: none, everything is
            kept.  See :mod:`~tinygrad_rnn.kernels.recurrent.checkpointing`.
        stacked: give the final states as (1, N, R), a stack of one layer, without an operation of their own for it.

    >>> import tinygrad_rnn as tg
    >>> y, h = rnn_sequence(tg.ones(3, 1, 1), tg.zeros(1, 1), tg.ones(1, 1), tg.zeros(1, 1), nonlinearity="relu")
    >>> y.shape, h
    (torch.Size([3, 1, 1]), tensor([[1.]]))
    """
    args = (x, h0, weight_ih, weight_hh, bias_ih, bias_hh)
    y, h = _rnn(args, impl, sizes, reverse, segments, stacked, False, nonlinearity)
    return y, h


def lstm_sequence(
    x: V,
    h0: V,
    c0: V,
    weight_ih: V,
    weight_hh: V,
    bias_ih: V | None = None,
    bias_hh: V | None = None,
    weight_hr: V | None = None,
    *,
    sizes: Sizes = None,
    reverse: bool = False,
    cells: bool = False,
    impl: str = "fused",
    segments: Segments = None,
    stacked: bool = False,
) -> tuple[V, ...]:
    """:func:`~tinygrad_rnn.ops.recurrent.cells.lstm_cell` over a sequence: ``(y, h_n, c_n)``.

    Args:
        cells: give c after every step as a fourth result, in the layout of y.

    Others as above.
    """
    args = (x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)
    results: tuple[V, ...] = _lstm(args, impl, sizes, reverse, segments, stacked, cells)
    return results


def gru_sequence(
    x: V,
    h0: V,
    weight_ih: V,
    weight_hh: V,
    bias_ih: V | None = None,
    bias_hh: V | None = None,
    *,
    sizes: Sizes = None,
    reverse: bool = False,
    impl: str = "fused",
    segments: Segments = None,
    stacked: bool = False,
) -> tuple[V, V]:
    """:func:`~tinygrad_rnn.ops.recurrent.cells.gru_cell` over a sequence: ``(y, h_n)``; arguments as above."""
    args = (x, h0, weight_ih, weight_hh, bias_ih, bias_hh)
    y, h = _gru(args, impl, sizes, reverse, segments, stacked)
    return y, h

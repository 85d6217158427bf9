"""Recurrent layers as operations: one layer, one direction, the whole sequence.

Each exists twice: *fused*, one record on the tape with a hand-written kernel forward and back through time, and
*composed*, every step on the tape.  The two give the same numbers.  The composed form is also what defines the
fused one: its vjp is used where a backward pass is itself recorded (``create_graph=True``), so that fused layers
have every order.

Shapes: x (T, N, I) or packed (S, I), states (N, R) and (N, H), weights in PyTorch's layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...kernels.recurrent import checkpointing as kernel
from ...tape.modes import is_grad_enabled
from ...tape.multi_output import fused
from ...tape.tensor import Tensor
from ...typing import Value
from ..shape import unsqueeze
from .cells import gru_cell, lstm_cell, rnn_cell
from .unroll import unroll

__all__ = ["gru_sequence", "lstm_sequence", "rnn_sequence"]

Sizes = Sequence[int] | None
Segments = int | str | None

# composed ------------------------------------------------------------------------------------------------------------


def _rnn_composed(
    x: Value,
    h: Value,
    *weights: Value,
    nonlinearity: str,
    sizes: Sizes,
    reverse: bool,
    stacked: bool = False,
    **_: Any,
) -> tuple[Value, ...]:
    def step(x_t: Value, states: tuple[Value, ...]) -> tuple[Value, ...]:
        return (rnn_cell(x_t, *states, *weights, nonlinearity=nonlinearity),)

    (y,), states = unroll(step, x, (h,), sizes=sizes, reverse=reverse)
    return y, *_as_wished(states, stacked)


def _lstm_composed(
    x: Value,
    h: Value,
    c: Value,
    *weights: Value,
    sizes: Sizes,
    reverse: bool,
    cells: bool = False,
    stacked: bool = False,
    **_: Any,
) -> tuple[Value, ...]:
    def step(x_t: Value, states: tuple[Value, ...]) -> tuple[Value, ...]:
        return lstm_cell(x_t, *states, *weights)

    (y, *all_cells), states = unroll(step, x, (h, c), sizes=sizes, reverse=reverse, emit=(0, 1) if cells else (0,))
    return y, *_as_wished(states, stacked), *all_cells


def _gru_composed(
    x: Value, h: Value, *weights: Value, sizes: Sizes, reverse: bool, stacked: bool = False, **_: Any
) -> tuple[Value, ...]:
    def step(x_t: Value, states: tuple[Value, ...]) -> tuple[Value, ...]:
        return (gru_cell(x_t, *states, *weights),)

    (y,), states = unroll(step, x, (h,), sizes=sizes, reverse=reverse)
    return y, *_as_wished(states, stacked)


def _as_wished(states: Sequence[Value], stacked: bool) -> Sequence[Value]:
    return [unsqueeze(state, 0) for state in states] if stacked else states


# fused ---------------------------------------------------------------------------------------------------------------

_rnn_fused = fused("rnn", kernel.forward("rnn"), kernel.backward("rnn"), _rnn_composed, gives_new=True)
_lstm_fused = fused("lstm", kernel.forward("lstm"), kernel.backward("lstm"), _lstm_composed, gives_new=True)
_gru_fused = fused("gru", kernel.forward("gru"), kernel.backward("gru"), _gru_composed, gives_new=True)


def _apply(composed: Any, fused_form: Any, impl: str, args: tuple[Value, ...], params: dict[str, Any]) -> Any:
    if params["sizes"] is not None:
        params["sizes"] = tuple(int(n) for n in params["sizes"])
    if impl == "composed":
        return composed(*args, **params)
    params["save"] = is_grad_enabled() and any(isinstance(a, Tensor) and a._node is not None for a in args)
    return fused_form(*args, **params)


def rnn_sequence(
    x: Value,
    h0: Value,
    weight_ih: Value,
    weight_hh: Value,
    bias_ih: Value = None,
    bias_hh: Value = None,
    *,
    nonlinearity: str = "tanh",
    sizes: Sizes = None,
    reverse: bool = False,
    impl: str = "fused",
    segments: Segments = None,
    stacked: bool = False,
) -> tuple[Value, Value]:
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
    options = {"sizes": sizes, "reverse": reverse, "segments": segments, "stacked": stacked}
    params = {"nonlinearity": nonlinearity, **options}
    y, h = _apply(_rnn_composed, _rnn_fused, impl, (x, h0, weight_ih, weight_hh, bias_ih, bias_hh), params)
    return y, h


def lstm_sequence(
    x: Value,
    h0: Value,
    c0: Value,
    weight_ih: Value,
    weight_hh: Value,
    bias_ih: Value = None,
    bias_hh: Value = None,
    weight_hr: Value = None,
    *,
    sizes: Sizes = None,
    reverse: bool = False,
    cells: bool = False,
    impl: str = "fused",
    segments: Segments = None,
    stacked: bool = False,
) -> tuple[Value, ...]:
    """:func:`~tinygrad_rnn.ops.recurrent.cells.lstm_cell` over a sequence: ``(y, h_n, c_n)``.

    Args:
        cells: give c after every step as a fourth result, in the layout of y.

    Others as above.
    """
    args = (x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)
    params = {"sizes": sizes, "reverse": reverse, "cells": cells, "segments": segments, "stacked": stacked}
    results: tuple[Value, ...] = _apply(_lstm_composed, _lstm_fused, impl, args, params)
    return results


def gru_sequence(
    x: Value,
    h0: Value,
    weight_ih: Value,
    weight_hh: Value,
    bias_ih: Value = None,
    bias_hh: Value = None,
    *,
    sizes: Sizes = None,
    reverse: bool = False,
    impl: str = "fused",
    segments: Segments = None,
    stacked: bool = False,
) -> tuple[Value, Value]:
    """:func:`~tinygrad_rnn.ops.recurrent.cells.gru_cell` over a sequence: ``(y, h_n)``; arguments as above."""
    args = (x, h0, weight_ih, weight_hh, bias_ih, bias_hh)
    params = {"sizes": sizes, "reverse": reverse, "segments": segments, "stacked": stacked}
    y, h = _apply(_gru_composed, _gru_fused, impl, args, params)
    return y, h

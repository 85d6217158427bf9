"""One step of a cell as one record on the tape; on a GPU, or in half precision, as the operations it is made of.

The two give the same numbers.  The operations (:mod:`~tinygrad_rnn.ops.cells`) also define the step: its vjp is theirs
where a backward pass is itself recorded (``create_graph=True``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tape.fused import fused
from ..tape.tensor import Tensor
from ..typing import Value
from . import cells
from .kernels import steps as kernel

__all__ = ["gru_step", "lstm_step", "rnn_step"]


def _one(composed: Any) -> Any:
    return lambda *args, **params: (composed(*args, **params),)


_rnn = fused("rnn_cell", kernel.rnn_forward, kernel.rnn_backward, _one(cells.rnn_cell), fresh=True)
_lstm = fused("lstm_cell", kernel.lstm_forward, kernel.lstm_backward, cells.lstm_cell, fresh=True, kept=False)
_gru = fused("gru_cell", kernel.gru_forward, kernel.gru_backward, _one(cells.gru_cell), fresh=True, kept=False)

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


def _alike(values: tuple[Value, ...]) -> bool:
    """Whether all are on the host, in one dtype of full precision."""
    dtypes = set()
    for value in values:
        if value is not None:
            array = value._data if isinstance(value, Tensor) else value
            if type(array) is not np.ndarray:
                return False
            dtypes.add(array.dtype)
    return dtypes == {SINGLE} or dtypes == {DOUBLE}


def _step(fused_form: Any, composed: Any, values: tuple[Value, ...], **params: Any) -> Any:
    if _alike(values):
        try:
            return fused_form(*values, **params)
        except ValueError:  # shapes that do not fit: the operations say which
            pass
    results = composed(*values, **params)
    return results if isinstance(results, tuple) else (results,)


def rnn_step(
    x: Value,
    h: Value,
    weight_ih: Value,
    weight_hh: Value,
    bias_ih: Value = None,
    bias_hh: Value = None,
    *,
    nonlinearity: str = "tanh",
) -> Value:
    """:func:`~tinygrad_rnn.ops.cells.rnn_cell`, in one piece."""
    values = (x, h, weight_ih, weight_hh, bias_ih, bias_hh)
    return _step(_rnn, cells.rnn_cell, values, nonlinearity=nonlinearity)[0]


def lstm_step(
    x: Value,
    h: Value,
    c: Value,
    weight_ih: Value,
    weight_hh: Value,
    bias_ih: Value = None,
    bias_hh: Value = None,
) -> tuple[Value, Value]:
    """:func:`~tinygrad_rnn.ops.cells.lstm_cell`, in one piece: ``(h', c')``.

    >>> import tinygrad_rnn as tg
    >>> weight = tg.zeros(4, 1, requires_grad=True)
    >>> h, c = lstm_step(tg.ones(1, 1), tg.zeros(1, 1), tg.ones(1, 1), weight, weight)
    >>> c, h.grad_fn
    (tensor([[0.5000]], grad_fn=<LstmCellBackward0>), <LstmCellBackward0>)
    """
    new: tuple[Value, Value] = _step(_lstm, cells.lstm_cell, (x, h, c, weight_ih, weight_hh, bias_ih, bias_hh))
    return new


def gru_step(
    x: Value, h: Value, weight_ih: Value, weight_hh: Value, bias_ih: Value = None, bias_hh: Value = None
) -> Value:
    """:func:`~tinygrad_rnn.ops.cells.gru_cell`, in one piece."""
    return _step(_gru, cells.gru_cell, (x, h, weight_ih, weight_hh, bias_ih, bias_hh))[0]

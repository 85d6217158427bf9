"""Fused cells: one step as one record on the tape; on a GPU, or in half precision, as the operations it is made of.

The two give the same numbers.  The operations (``cells.py``, with the equations) also define the
step: its vjp is theirs where a backward pass is itself recorded (``create_graph=True``).  Arguments are theirs too, by
position.

>>> import tinygrad_rnn as tg
>>> weight = tg.zeros(4, 1, requires_grad=True)
>>> h, c = lstm_step(tg.ones(1, 1), tg.zeros(1, 1), tg.ones(1, 1), weight, weight)
>>> c
tensor([[0.5000]], grad_fn=<LstmCellBackward0>)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.recurrent.interface import DTYPES
from ...kernels.recurrent.numpy import cells as kernel
from ...tape.multi_output import fused
from ...tape.tensor import Tensor
from ...typing import Value
from . import cells
from .formulas import FORMULAS

__all__ = ["gru_step", "lstm_step", "rnn_step"]

FULL_PRECISION = frozenset(DTYPES)


def _alike(values: tuple[Value, ...]) -> bool:
    """Whether all are on the host, in one dtype of full precision."""
    dtypes = set()
    for value in values:
        if value is not None:
            array = value._data if isinstance(value, Tensor) else value
            if type(array) is not np.ndarray:
                return False
            dtypes.add(array.dtype)
    return len(dtypes) == 1 and dtypes <= FULL_PRECISION


def _step(composed: Callable[..., Any], forward: Any, backward: Any, kept: bool) -> Callable[..., Any]:
    """``composed`` in one piece; ``kept``: what is kept to go back shares memory with the outputs."""

    def reference(*values: Value, **params: Any) -> tuple[Value, ...]:
        results = composed(*values, **params)
        return results if isinstance(results, tuple) else (results,)

    name = composed.__name__
    in_one = fused(name, forward, backward, reference, formula=FORMULAS[name], gives_new=True, kept=kept)

    def step(*values: Value, **params: Any) -> Any:
        # one dtype of full precision on the host: half precision rounds after every operation, mixtures are promoted
        if _alike(values):
            try:
                results = in_one(*values, **params)
                return results if len(results) > 1 else results[0]
            except ValueError:  # shapes that do not fit: the operations say which
                pass
        return composed(*values, **params)

    return step


rnn_step = _step(cells.rnn_cell, kernel.rnn_forward, kernel.rnn_backward, kept=True)
lstm_step = _step(cells.lstm_cell, kernel.lstm_forward, kernel.lstm_backward, kept=False)
gru_step = _step(cells.gru_cell, kernel.gru_forward, kernel.gru_backward, kept=False)

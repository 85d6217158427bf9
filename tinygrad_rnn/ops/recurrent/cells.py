"""The recurrent cells as equations: one step each, in ordinary operations on arrays or Tensors.

Everything recurrent in this package is defined here.  Cell modules and composed layers apply these functions; a
fused layer has them as its reference, against which its kernels are tested, and from which it takes every higher
derivative.

Shapes: x (N, I) or (I,), states (N, H) or (H,), weight_ih (G*H, I), weight_hh (G*H, R), biases (G*H,) or None; the
order of the gates in the rows is PyTorch's and is read from ``ops/recurrent/conventions.py``.
"""

from __future__ import annotations

from ...typing import Value
from ..elementwise import relu, sigmoid, tanh
from ..linalg import linear
from . import conventions

__all__ = ["gates_of", "gru_cell", "lstm_cell", "rnn_cell"]


def gates_of(rows: Value, kind: conventions.CellKind) -> dict[str, Value]:
    """The blocks of ``rows`` (..., G*H) by name of gate, each (..., H).

    >>> import numpy as np
    >>> gates_of(np.arange(3.0), conventions.GRU)["z"]
    array([1.])
    """
    size = rows.shape[-1] // len(kind.gates)
    return {gate: rows[..., kind.rows(gate, size)] for gate in kind.gates}


def rnn_cell(
    x: Value,
    h: Value,
    weight_ih: Value,
    weight_hh: Value,
    bias_ih: Value = None,
    bias_hh: Value = None,
    *,
    nonlinearity: str = "tanh",
) -> Value:
    """``h' = act(W x + b_ih + U h + b_hh)``, act = tanh or relu (Elman 1990)."""
    a = linear(x, weight_ih, bias_ih) + linear(h, weight_hh, bias_hh)
    return tanh(a) if nonlinearity == "tanh" else relu(a)


def lstm_cell(
    x: Value,
    h: Value,
    c: Value,
    weight_ih: Value,
    weight_hh: Value,
    bias_ih: Value = None,
    bias_hh: Value = None,
    weight_hr: Value = None,
) -> tuple[Value, Value]:
    """One step of the LSTM (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000): ``(h', c')``.

        i, f, o = sigmoid(W x + b_ih + U h + b_hh), rows i, f, o        g = tanh(...), rows g
        c' = f * c + i * g              h' = o * tanh(c')

    With ``weight_hr`` (P, H), h' is projected (Sak et al. 2014): ``h' = weight_hr (o * tanh(c'))``.
    """
    a = gates_of(linear(x, weight_ih, bias_ih) + linear(h, weight_hh, bias_hh), conventions.LSTM)
    i, f, g, o = sigmoid(a["i"]), sigmoid(a["f"]), tanh(a["g"]), sigmoid(a["o"])
    c = f * c + i * g
    h = o * tanh(c)
    return (h if weight_hr is None else linear(h, weight_hr)), c


def gru_cell(
    x: Value, h: Value, weight_ih: Value, weight_hh: Value, bias_ih: Value = None, bias_hh: Value = None
) -> Value:
    """One step of the GRU (Cho et al. 2014), with the reset gate after the product as in PyTorch and cuDNN.

        r, z = sigmoid(W x + b_ih + U h + b_hh), rows r, z
        n = tanh(W_n x + b_in + r * (U_n h + b_hn))
        h' = (1 - z) * n + z * h
    """
    a = gates_of(linear(x, weight_ih, bias_ih), conventions.GRU)
    b = gates_of(linear(h, weight_hh, bias_hh), conventions.GRU)
    r, z = sigmoid(a["r"] + b["r"]), sigmoid(a["z"] + b["z"])
    n = tanh(a["n"] + r * b["n"])
    return (1 - z) * n + z * h

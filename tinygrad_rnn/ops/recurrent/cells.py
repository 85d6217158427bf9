"""Equations of the recurrent cells: one step each, in ordinary operations on arrays or Tensors.

Everything recurrent in this package is defined here.  Cell modules and composed layers apply these functions; a
fused layer has them as its reference, against which its kernels are tested, and from which it takes every higher
derivative.

Shapes: x (N, I) or (I,), states (N, H) or (H,), weight_ih (G*H, I), weight_hh (G*H, R), biases (G*H,) or None; the
order of the gates in the rows is PyTorch's and is read from ``ops/recurrent/conventions.py``.

Weights that PyTorch's cells do not have change the equations where they are given: ``norm_ih`` and ``norm_hh`` (G*H,)
are gains, and the two products are layer-normalised before their biases are added (J. L. Ba, J. R. Kiros and
G. E. Hinton, "Layer normalization", 2016).  With ``gates=True`` a cell gives its activated gates too, after the states,
in the order of the conventions.
"""

from __future__ import annotations

from typing import Any

from ...typing import V
from ..elementwise import relu, rsqrt, sigmoid, tanh
from ..linalg import linear
from ..reduce import mean
from . import conventions

__all__ = ["gates_of", "gru_cell", "lstm_cell", "normalised", "rnn_cell"]

EPSILON = 1e-5
"""What is added to a variance, so that a row of equal numbers can be normalised."""


def gates_of(rows: V, kind: conventions.CellKind) -> dict[str, V]:
    """The blocks of ``rows`` (..., G*H) by name of gate, each (..., H).

    >>> import numpy as np
    >>> gates_of(np.arange(3.0), conventions.GRU)["z"]
    array([1.])
    """
    size = rows.shape[-1] // len(kind.gates)
    return {gate: rows[..., kind.rows(gate, size)] for gate in kind.gates}


def normalised(a: V, gain: V, bias: V | None = None) -> V:
    """``gain * (a - mean) / sqrt(variance + 1e-5) + bias`` over the last axis (Ba et al. 2016, equation 4).

    >>> import tinygrad_rnn as tg
    >>> normalised(tg.tensor([1.0, 3.0]), tg.ones(2))
    tensor([-1.0000,  1.0000])
    """
    centred = a - mean(a, -1, True)
    y = centred * rsqrt(mean(centred * centred, -1, True) + EPSILON) * gain
    return y if bias is None else y + bias


def _affine(x: V, weight: V, bias: V | None, gain: V | None) -> V:
    """``weight x + bias``, the product normalised if there is a gain for it."""
    return linear(x, weight, bias) if gain is None else normalised(linear(x, weight), gain, bias)


def rnn_cell(
    x: V,
    h: V,
    weight_ih: V,
    weight_hh: V,
    bias_ih: V | None = None,
    bias_hh: V | None = None,
    *,
    nonlinearity: str = "tanh",
    norm_ih: V | None = None,
    norm_hh: V | None = None,
    gates: bool = False,
) -> Any:
    """``h' = act(W x + b_ih + U h + b_hh)``, act = tanh or relu (Elman 1990).

    With ``gates=True``: ``(h', h')``, since the only gate is the state.

    >>> import tinygrad_rnn as tg
    >>> cell, x = tg.nn.RNNCell(3, 4), tg.ones(2, 3)
    >>> h = tg.zeros(2, 4)
    >>> new = rnn_cell(x, h, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    >>> tg.allclose(new, cell(x, h))
    True
    """
    a = _affine(x, weight_ih, bias_ih, norm_ih) + _affine(h, weight_hh, bias_hh, norm_hh)
    h = tanh(a) if nonlinearity == "tanh" else relu(a)
    return (h, h) if gates else h


def lstm_cell(
    x: V,
    h: V,
    c: V,
    weight_ih: V,
    weight_hh: V,
    bias_ih: V | None = None,
    bias_hh: V | None = None,
    weight_hr: V | None = None,
    *,
    weight_peephole: V | None = None,
    norm_ih: V | None = None,
    norm_hh: V | None = None,
    norm_c: V | None = None,
    norm_c_bias: V | None = None,
    gates: bool = False,
) -> tuple[V, ...]:
    """One step of the LSTM (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000): ``(h', c')``.

        i, f, o = sigmoid(W x + b_ih + U h + b_hh), rows i, f, o        g = tanh(...), rows g
        c' = f * c + i * g              h' = o * tanh(c')

    With ``weight_hr`` (P, H), h' is projected (Sak et al. 2014): ``h' = weight_hr (o * tanh(c'))``.

    With ``weight_peephole`` (3H,), blocks p_i, p_f, p_o, the gates see the cell state (Gers and Schmidhuber 2000):

        i, f = sigmoid(... + p_i * c), sigmoid(... + p_f * c)           o = sigmoid(... + p_o * c')

    With ``norm_c`` and ``norm_c_bias`` (H,), the cell state is normalised on its way to the output (Ba et al. 2016,
    equations 20 to 22): ``h' = o * tanh(LN(c'))``.

    With ``gates=True``: ``(h', c', i, f, g, o)``.

    >>> import tinygrad_rnn as tg
    >>> cell, x = tg.nn.LSTMCell(3, 4), tg.ones(2, 3)
    >>> h, c = tg.zeros(2, 4), tg.zeros(2, 4)
    >>> new = lstm_cell(x, h, c, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    >>> tg.allclose(new[0], cell(x, (h, c))[0])
    True
    """
    a = gates_of(_affine(x, weight_ih, bias_ih, norm_ih) + _affine(h, weight_hh, bias_hh, norm_hh), conventions.LSTM)
    # diagonal weights: a gate sees its own unit's cell state alone
    if weight_peephole is not None:
        p, size = weight_peephole, c.shape[-1]
        a["i"] = a["i"] + p[:size] * c
        a["f"] = a["f"] + p[size : 2 * size] * c
    i, f, g = sigmoid(a["i"]), sigmoid(a["f"]), tanh(a["g"])
    c = f * c + i * g
    if weight_peephole is not None:  # the output gate sees the new cell state
        a["o"] = a["o"] + p[2 * size :] * c
    o = sigmoid(a["o"])
    h = o * tanh(c if norm_c is None else normalised(c, norm_c, norm_c_bias))
    if weight_hr is not None:
        h = linear(h, weight_hr)
    return (h, c, i, f, g, o) if gates else (h, c)


def gru_cell(
    x: V,
    h: V,
    weight_ih: V,
    weight_hh: V,
    bias_ih: V | None = None,
    bias_hh: V | None = None,
    *,
    reset_after: bool = True,
    norm_ih: V | None = None,
    norm_hh: V | None = None,
    gates: bool = False,
) -> Any:
    """One step of the GRU (Cho et al. 2014), with the reset gate after the product as in PyTorch and cuDNN.

        r, z = sigmoid(W x + b_ih + U h + b_hh), rows r, z
        n = tanh(W_n x + b_in + r * (U_n h + b_hn))
        h' = (1 - z) * n + z * h

    With ``reset_after=False`` the reset gate acts on h before the product, as in the paper (equation 8; ONNX:
    ``linear_before_reset=0``); products that are normalised are then those of 2H and of H rows.

        n = tanh(W_n x + b_in + U_n (r * h) + b_hn)

    With ``gates=True``: ``(h', r, z, n)``.

    >>> import tinygrad_rnn as tg
    >>> cell, x = tg.nn.GRUCell(3, 4), tg.ones(2, 3)
    >>> h = tg.zeros(2, 4)
    >>> new = gru_cell(x, h, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    >>> tg.allclose(new, cell(x, h))
    True
    """
    a = gates_of(_affine(x, weight_ih, bias_ih, norm_ih), conventions.GRU)
    # one product with h for all gates, as in cuDNN
    if reset_after:
        b = gates_of(_affine(h, weight_hh, bias_hh, norm_hh), conventions.GRU)
        r, z = sigmoid(a["r"] + b["r"]), sigmoid(a["z"] + b["z"])
        inner = r * b["n"]
    else:
        # the candidate needs r before its product, so there are two products with h
        size = h.shape[-1]
        of_gates, of_n = (_rows(rows, weight_hh, bias_hh, norm_hh) for rows in (slice(2 * size), slice(2 * size, None)))
        rz = _affine(h, *of_gates)
        r, z = sigmoid(a["r"] + rz[..., :size]), sigmoid(a["z"] + rz[..., size:])
        inner = _affine(r * h, *of_n)
    n = tanh(a["n"] + inner)
    h = (1 - z) * n + z * h
    return (h, r, z, n) if gates else h


def _rows(rows: slice, *weights: V | None) -> list[Any]:
    return [None if w is None else w[rows] for w in weights]

"""Variants of the cells that PyTorch does not have: peepholes, layer normalisation, the reset gate before the product.

Each function takes its weights by name and gives the new states followed by the activated gates, in the order of
``conventions``.  With no option on, the states are those of ``cells.py``.

Names of weights, besides PyTorch's: ``weight_peephole`` (3H), blocks for i, f, o; ``norm_ih`` and ``norm_hh`` (G*H),
the gains of the normalised products; ``norm_c`` and ``norm_c_bias`` (H), gain and bias of the normalised cell state.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...typing import Value
from ..elementwise import relu, rsqrt, sigmoid, tanh
from ..linalg import linear
from ..reduce import mean
from . import conventions
from .cells import gates_of

__all__ = ["gru_variant", "lstm_variant", "normalised", "rnn_variant"]

Weights = Mapping[str, Value]
EPSILON = 1e-5


def normalised(a: Value, gain: Value, bias: Value = None) -> Value:
    """``gain * (a - mean) / sqrt(variance + 1e-5) + bias`` over the last axis.

    Source: J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization" (2016), equation 4.
    """
    centred = a - mean(a, -1, True)
    y = centred * rsqrt(mean(centred * centred, -1, True) + EPSILON) * gain
    return y if bias is None else y + bias


def _product(x: Value, w: Weights, suffix: str) -> Value:
    """``W x + b``, the product normalised if there is a gain for it."""
    weight, bias, gain = w[f"weight_{suffix}"], w.get(f"bias_{suffix}"), w.get(f"norm_{suffix}")
    if gain is None:
        return linear(x, weight, bias)
    return normalised(linear(x, weight), gain, bias)


def rnn_variant(x: Value, h: Value, w: Weights, *, nonlinearity: str = "tanh") -> tuple[Value, ...]:
    """``(h', h')``: the plain cell, with the two products normalised where ``w`` has gains for them."""
    a = _product(x, w, "ih") + _product(h, w, "hh")
    h = tanh(a) if nonlinearity == "tanh" else relu(a)
    return h, h


def lstm_variant(x: Value, h: Value, c: Value, w: Weights) -> tuple[Value, ...]:
    """``(h', c', i, f, g, o)``.

    With peepholes p (Gers and Schmidhuber 2000) the gates see the cell state through diagonal weights:

        i, f = sigmoid(... + p_i * c), sigmoid(... + p_f * c)        o = sigmoid(... + p_o * c')

    With layer normalisation (Ba et al. 2016, equations 20 to 22) both products are normalised over all 4H rows,
    and so is c' on its way to the output: ``h' = o * tanh(LN(c'))``.
    """
    a = gates_of(_product(x, w, "ih") + _product(h, w, "hh"), conventions.LSTM)
    if "weight_peephole" in w:
        p, size = w["weight_peephole"], c.shape[-1]
        a["i"] = a["i"] + p[:size] * c
        a["f"] = a["f"] + p[size : 2 * size] * c
    i, f, g = sigmoid(a["i"]), sigmoid(a["f"]), tanh(a["g"])
    c = f * c + i * g
    if "weight_peephole" in w:
        a["o"] = a["o"] + p[2 * size :] * c
    o = sigmoid(a["o"])
    seen = normalised(c, w["norm_c"], w["norm_c_bias"]) if "norm_c" in w else c
    h = o * tanh(seen)
    if w.get("weight_hr") is not None:
        h = linear(h, w["weight_hr"])
    return h, c, i, f, g, o


def gru_variant(x: Value, h: Value, w: Weights, *, reset_after: bool = True) -> tuple[Value, ...]:
    """``(h', r, z, n)``.

    With ``reset_after=False`` the reset gate acts on h before the product, as Cho et al. (2014, equation 8) have it
    (ONNX: ``linear_before_reset=0``):

        n = tanh(W_n x + b_in + U_n (r * h) + b_hn)

    With layer normalisation the products are normalised over their 3H rows (over 2H and H in this second form).
    """
    a = gates_of(_product(x, w, "ih"), conventions.GRU)
    if reset_after:
        b = gates_of(_product(h, w, "hh"), conventions.GRU)
        r, z = sigmoid(a["r"] + b["r"]), sigmoid(a["z"] + b["z"])
        n = tanh(a["n"] + r * b["n"])
    else:
        size = 2 * h.shape[-1]
        gates, candidate = (
            {k: v[rows] for k, v in w.items() if k.endswith("_hh") and v is not None} for rows in _cut(size)
        )
        b = _product(h, gates, "hh")
        r, z = sigmoid(a["r"] + b[..., : size // 2]), sigmoid(a["z"] + b[..., size // 2 :])
        n = tanh(a["n"] + _product(r * h, candidate, "hh"))
    return (1 - z) * n + z * h, r, z, n


def _cut(size: int) -> tuple[slice, slice]:
    return slice(size), slice(size, None)

"""NumPy kernels of one step of each cell, forward and backward, for hand-written loops.

The equations are those of ``ops/recurrent/cells.py``.  Written in operations, a step of an LSTM is some twenty records
on the tape; here it is some fifteen calls into NumPy and one record.

Shapes: x (N, I) or (I,), states (N, H) or (H,), weights (G*H, I) and (G*H, H), biases (G*H,) or None.  Each
``*_forward`` gives its outputs and a residual, each ``*_backward`` the gradients of all arguments, None where ``needs``
says that it is not wanted.

Arguments come one after the other, as the tape passes them: in groups, as whole layers take them
(``kernels/recurrent/interface.py``), they would add 3 % to a step, which takes 22 us forward.

A sigmoid is ``0.5 * tanh(0.5 * z) + 0.5``, so that all gates, whose rows are G*H long, are activated by one tanh.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....typing import Array

__all__ = ["gru_backward", "gru_forward", "lstm_backward", "lstm_forward", "rnn_backward", "rnn_forward"]

Gradients = list[Array | None]


@functools.lru_cache(maxsize=64)
def _scales(size: int, gates: str, dtype: Any) -> tuple[Array, Array]:
    """Rows (G*H,) by which pre-activations and activations are multiplied, and what is added then."""
    scale = np.repeat([0.5 if gate == "s" else 1.0 for gate in gates], size).astype(dtype)
    return scale, 1 - scale


def _activate(z: Array, size: int, gates: str) -> None:
    """Blocks of ``z`` (..., G*H) become sigmoids ("s") or tanhs ("t")."""
    scale, shift = _scales(size, gates, z.dtype)
    np.multiply(z, scale, out=z)
    np.tanh(z, out=z)
    np.multiply(z, scale, out=z)
    np.add(z, shift, out=z)


def _affine(x: Array, weight: Array, bias: Array | None) -> Array:
    z: Array = x @ weight.T
    if bias is not None:
        z += bias
    return z


def _affine_gradients(
    dx: Array, dh: Array, x: Array, h: Array, w_ih: Array, w_hh: Array, needs: Sequence[bool]
) -> Gradients:
    """Those of x, h, w_ih, w_hh, b_ih, b_hh, from those of the two affine maps, which may be one array."""
    needs = (*needs, False, False)  # of biases that were not given
    rows_x, rows_h = dx.reshape(-1, dx.shape[-1]), dh.reshape(-1, dh.shape[-1])
    return [  # plain products: those of whole layers (products.py) took 1.06 to 1.24 of a loop's time
        dx @ w_ih if needs[0] else None,
        dh @ w_hh if needs[1] else None,
        rows_x.T @ x.reshape(-1, x.shape[-1]) if needs[2] else None,
        rows_h.T @ h.reshape(-1, h.shape[-1]) if needs[3] else None,
        rows_x.sum(axis=0) if needs[4] else None,
        rows_h.sum(axis=0) if needs[5] else None,
    ]


def rnn_forward(
    x: Array, h: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None, *,
    nonlinearity: str = "tanh",
) -> tuple[tuple[Array], Array]:  # fmt: skip
    """h'; it is all that is needed to go back."""
    a = _affine(x, w_ih, b_ih)
    a += _affine(h, w_hh, b_hh)
    y = np.tanh(a, out=a) if nonlinearity == "tanh" else np.maximum(a, 0, out=a)
    return (y,), y


def rnn_backward(
    gs: Sequence[Array], y: Array, x: Array, h: Array, w_ih: Array, w_hh: Array, *biases: Array | None,
    needs: Sequence[bool], nonlinearity: str = "tanh",
) -> Gradients:  # fmt: skip
    """dz = g (1 - h'^2), or g where h' > 0 or is nan."""
    dz = gs[0] * (1 - y * y) if nonlinearity == "tanh" else np.where(y <= 0, 0, gs[0])
    return _affine_gradients(dz, dz, x, h, w_ih, w_hh, needs)


def lstm_forward(
    x: Array, h: Array, c: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """(h', c'); what is kept are the gates (..., 4H) and tanh(c')."""
    size = c.shape[-1]
    z = _affine(x, w_ih, b_ih)
    z += _affine(h, w_hh, b_hh)
    _activate(z, size, "ssts")
    i, f, g, o = _blocks(z, size)
    c_new = f * c
    c_new += i * g
    t = np.tanh(c_new)
    return (o * t, c_new), (z, t)


def lstm_backward(
    gs: Sequence[Array | None], residual: tuple[Array, Array], x: Array, h: Array, c: Array, w_ih: Array, w_hh: Array,
    *biases: Array | None, needs: Sequence[bool],
) -> Gradients:  # fmt: skip
    """dc' += dh' o (1 - tanh(c')^2); each gate gets what it was multiplied by, times its own slope."""
    (dh, dc), (z, t) = gs, residual
    size = c.shape[-1]
    i, f, g, o = _blocks(z, size)
    dz = z * z
    np.subtract(z, dz, out=dz)  # the slope of a sigmoid
    d_i, d_f, d_g, d_o = _blocks(dz, size)
    # the candidate is a tanh: its slope replaces the sigmoid's
    np.subtract(1, g * g, out=d_g)
    # only c' was used: nothing goes through o
    if dh is None:
        d_o[...] = 0
        d_cell = dc
    else:
        d_o *= dh * t
        d_cell = dh * (o - o * t * t)
        if dc is not None:
            d_cell += dc
    d_i *= d_cell * g
    d_f *= d_cell * c
    d_g *= d_cell * i
    dx, dh, *others = _affine_gradients(dz, dz, x, h, w_ih, w_hh, (*needs[:2], *needs[3:]))
    return [dx, dh, d_cell * f if needs[2] else None, *others]


def gru_forward(
    x: Array, h: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None
) -> tuple[tuple[Array], tuple[Array, Array, Array]]:
    """h'; what is kept are r and z (..., 2H), n, and what r multiplies."""
    size = h.shape[-1]
    a, b = _affine(x, w_ih, b_ih), _affine(h, w_hh, b_hh)
    q = b[..., 2 * size :]
    rz = a[..., : 2 * size] + b[..., : 2 * size]
    _activate(rz, size, "ss")
    r, z = _blocks(rz, size)
    n = np.tanh(a[..., 2 * size :] + r * q)
    return (n + z * (h - n),), (rz, n, q)


def gru_backward(
    gs: Sequence[Array], residual: tuple[Array, Array, Array], x: Array, h: Array, w_ih: Array, w_hh: Array,
    *biases: Array | None, needs: Sequence[bool],
) -> Gradients:  # fmt: skip
    """h' = n + z (h - n): the last block of the map of h is r times that of the map of x."""
    (g,), (rz, n, q) = gs, residual
    size = h.shape[-1]
    r, z = _blocks(rz, size)
    da = np.empty((*g.shape[:-1], 3 * size), g.dtype)
    slopes = da[..., : 2 * size]
    np.subtract(rz, rz * rz, out=slopes)
    d_r, d_z, d_n = _blocks(da, size)
    through = g * z
    np.multiply(g - through, 1 - n * n, out=d_n)
    d_z *= g * (h - n)
    d_r *= d_n * q
    db = da.copy()
    db[..., 2 * size :] *= r
    dx, dh, *others = _affine_gradients(da, db, x, h, w_ih, w_hh, needs)
    if dh is not None:
        dh += through
    return [dx, dh, *others]


def _blocks(rows: Array, size: int) -> list[Array]:
    """The gates of ``rows`` (..., G*H): views (..., H)."""
    return [rows[..., start : start + size] for start in range(0, rows.shape[-1], size)]

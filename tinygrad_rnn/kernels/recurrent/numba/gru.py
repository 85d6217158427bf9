"""GRU over a whole sequence, compiled: the same function as ``numpy/gru.py``, which explains it.

Shapes: x (T, N, I) or packed (S, I), h0 (N, H), weights and biases as there.  A row of activations is q, r, z, n, one
block of H after the other, and so is a row of their gradients: the last three go back through w_ih, the first three
through w_hh, the rows of which are in the order n, r, z for that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....backend import aligned_empty
from ....typing import Array
from ..interface import Cotangents, Gradients, Needs, Options, Run, Weights
from .activations import sigmoid, tanh
from .jit import compiled
from .products import gemm_address, multiply, strips, times_weight, weight_gradients
from .schedule import AFTER, BEFORE, COUNT, OLD, ROW, Division, Visits, given, room

__all__ = ["Residual", "backward", "forward"]


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    visits: Visits
    division: Division
    gates: Array  # (S, 4H or more): q, and r, z, n after activation
    h: Array  # (S + N, H): the table of states


@compiled
def _forward(
    low: int,
    high: int,
    gemm: int,
    visits: Array,
    initial: int,
    x: Array,
    w_in: Array,
    w_n: Array,
    w_rz: Array,
    bias: Array,
    gates: Array,
    h: Array,
) -> None:
    """Take the sequences ``low`` to ``high`` through the time.

    Where there is ``w_in``, the rows of x are multiplied step by step; otherwise gates already has the products.
    """
    size = h.shape[1]
    for k in range(len(visits)):
        row, after, before = visits[k, ROW], visits[k, AFTER], visits[k, BEFORE]
        # of this thread's sequences, those that still run are low:stop; low:old of them ran at the visit before,
        # old:stop start from their initial states
        stop = min(high, visits[k, COUNT])
        old = max(min(stop, visits[k, OLD]), low)
        # the input's product here, while its rows and the weight are in the cache
        if len(w_in) and low < stop:
            multiply(gemm, x, row + low, 0, stop - low, w_in, 3 * size, gates, row + low, size, False)
        if low < old:
            multiply(gemm, h, before + low, 0, old - low, w_n, size, gates, row + low, 0, False)
            multiply(gemm, h, before + low, 0, old - low, w_rz, 2 * size, gates, row + low, size, True)
        if old < stop:
            multiply(gemm, h, initial + old, 0, stop - old, w_n, size, gates, row + old, 0, False)
            multiply(gemm, h, initial + old, 0, stop - old, w_rz, 2 * size, gates, row + old, size, True)
        for n in range(low, stop):
            a, h_old, h_new = gates[row + n], h[(before if n < old else initial) + n], h[after + n]
            for u in range(size):
                # U_n h + b_hn is kept apart from the rest of n's pre-activation: r multiplies it alone
                q = a[u] + bias[u]
                r = sigmoid(a[size + u] + bias[size + u])
                z = sigmoid(a[2 * size + u] + bias[2 * size + u])
                new = tanh(a[3 * size + u] + bias[3 * size + u] + r * q)
                a[u], a[size + u], a[2 * size + u], a[3 * size + u] = q, r, z, new
                # (1 - z) n + z h, with one multiplication
                h_new[u] = new + z * (h_old[u] - new)


@compiled
def _backward(
    low: int,
    high: int,
    number: int,
    gemm: int,
    visits: Array,
    initial: int,
    gates: Array,
    h: Array,
    w_in: Array,
    w_n: Array,
    w_rz: Array,
    dy: Array,
    dh: Array,
    da: Array,
    d_bias: Array,
    dx: Array,
) -> None:
    """Take the gradients of the sequences ``low`` to ``high`` back through the time.

    dh (N, H) is that of the state; da (S, 4H), and dx where there is ``w_in``, are filled; the sum of da goes to row
    ``number`` of d_bias.  A dy of one row stands for as many as there are.
    """
    size = h.shape[1]
    total = d_bias[number]
    one = h.dtype.type(1)
    for k in range(len(visits) - 1, -1, -1):
        row, before = visits[k, ROW], visits[k, BEFORE]
        stop = min(high, visits[k, COUNT])
        old = max(min(stop, visits[k, OLD]), low)
        for n in range(low, stop):
            a, d, dh_n, h_old = gates[row + n], da[row + n], dh[n], h[(before if n < old else initial) + n]
            # an empty array stands for None: Numba would compile the loop twice for an optional argument
            if len(dy):
                dy_n = dy[row + n if len(dy) > 1 else 0]
                for u in range(size):
                    dh_n[u] += dy_n[u]
            for u in range(size):
                q, r, z, new = a[u], a[size + u], a[2 * size + u], a[3 * size + u]
                d_new = dh_n[u] * (one - z) * (one - new * new)
                d[u] = d_new * r
                d[size + u] = d_new * q * (r - r * r)
                d[2 * size + u] = dh_n[u] * (h_old[u] - new) * (z - z * z)
                d[3 * size + u] = d_new
                # the direct way back to h; the products below add the way through the gates
                dh_n[u] = dh_n[u] * z
            for u in range(4 * size):
                total[u] += d[u]
        # through w_hh to the cotangent of the state before: no other product is waited for by the next visit
        if low < stop:
            multiply(gemm, da, row + low, 0, stop - low, w_n, size, dh, low, 0, True)
            multiply(gemm, da, row + low, size, stop - low, w_rz, size, dh, low, 0, True)
        if len(w_in) and low < stop:
            multiply(gemm, da, row + low, size, stop - low, w_in, dx.shape[1], dx, row + low, 0, False)


def forward(x: Array, states: tuple[Array, ...], weights: Weights, options: Options) -> Run:
    """One direction; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`."""
    (h0,) = states
    w_ih, w_hh, b_ih, b_hh, _ = weights
    size, dtype = h0.shape[1], x.dtype
    visits = Visits.of(x, len(h0), options.sizes, options.reverse)
    division = Division.of(visits, w_ih, w_hh)
    rows_x = visits.in_rows(x)
    h = visits.room(h0)
    gates = room(visits.rows, 4 * size, x)
    w_in = w_ih if division.step_by_step else None
    # two products with h: that for n goes to column q, those for r and z are added to the input's
    w_n, w_rz, w_in = strips(division, w_hh[2 * size :], w_hh[: 2 * size], w_in, transposed=True)
    # many rows per product: one large product before the loop is faster
    if w_in is None:
        times_weight(division, rows_x, 0, w_ih, gates, size, transposed=True)
    division.run(
        _forward,
        division.batch,
        gemm_address(dtype),
        visits.table,
        visits.initial,
        rows_x,
        given(w_in, 1, dtype),
        w_n,
        w_rz,
        _bias(b_ih, b_hh, size, dtype),
        gates,
        h,
    )
    y = visits.after(h).reshape(*x.shape[:-1], size)
    return Run((y,), (visits.final(h),), Residual(visits, division, gates, h) if options.save else None)


def _bias(b_ih: Array | None, b_hh: Array | None, size: int, dtype: np.dtype) -> Array:
    """What is added to q, r, z, n: (4H,)."""
    bias = np.zeros(4 * size, dtype)
    if b_ih is not None:
        bias[size:] = b_ih
    if b_hh is not None:
        bias[:size] = b_hh[2 * size :]
        bias[size : 3 * size] += b_hh[: 2 * size]
    return bias


def backward(
    x: Array,
    states: tuple[Array, ...],
    weights: Weights,
    options: Options,
    residual: Residual,
    cotangents: Cotangents,
    needs: Needs,
) -> Gradients:
    """Its gradients; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`."""
    (h0,), w_ih, w_hh = states, weights.w_ih, weights.w_hh
    (dy,), (dh_n,) = cotangents
    need_w_ih, need_w_hh, need_b_ih, need_b_hh, *_ = needs.weights
    visits, division, gates, h = residual
    size, dtype = h0.shape[1], x.dtype
    dh = np.zeros(h0.shape, dtype) if dh_n is None else dh_n.copy()
    da = room(visits.rows, 4 * size, x)
    # a row per thread, so that none waits for another; added up at the end
    d_bias = np.zeros((len(division.batch), 4 * size), dtype)
    dx = aligned_empty((visits.rows, x.shape[-1]), x) if needs.x else None
    w_in = w_ih if needs.x and division.step_by_step else None
    w_n, w_rz, w_in = strips(division, w_hh[2 * size :], w_hh[: 2 * size], w_in)
    division.run(
        _backward,
        division.numbered,
        gemm_address(dtype),
        visits.table,
        visits.initial,
        gates,
        h,
        given(w_in, 1, dtype),
        w_n,
        w_rz,
        given(None if dy is None else visits.in_rows_or_one(dy), 2, dtype),
        dh,
        da,
        d_bias,
        given(dx, 2, dtype),
    )
    if dx is not None and w_in is None:
        times_weight(division, da, size, w_ih, dx, 0)
    d_w_ih = aligned_empty(w_ih.shape, w_ih) if need_w_ih else None
    d_rz, d_n = None, None
    if need_w_hh:
        d_w_hh = aligned_empty(w_hh.shape, w_hh)
        d_rz, d_n = d_w_hh[: 2 * size], d_w_hh[2 * size :]
    earlier = visits.before(h)
    weight_gradients(division, (da, size, visits.in_rows(x), d_w_ih), (da, size, earlier, d_rz), (da, 0, earlier, d_n))
    total = d_bias[0] if len(d_bias) == 1 else d_bias.sum(axis=0)
    return Gradients(
        None if dx is None else dx.reshape(x.shape),
        (dh if needs.states[0] else None,),
        (
            d_w_ih,
            d_w_hh if need_w_hh else None,
            total[size:].copy() if need_b_ih else None,
            np.concatenate([total[size : 3 * size], total[:size]]) if need_b_hh else None,
        ),
    )

"""LSTM over a whole sequence, compiled: the same function as ``numpy/lstm.py``, which explains it.

Shapes: x (T, N, I) or packed (S, I), h0 and c0 (N, H), weights and biases as there.  Gates in PyTorch's order i, f,
g, o, those of a row one after the other (4H), so that products over all steps take and give whole rows.  Outputs
are not projected here.
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
from .schedule import AFTER, BEFORE, COUNT, OLD, ROW, Division, Visits, given, room, summed

__all__ = ["Residual", "backward", "forward"]


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    visits: Visits
    division: Division
    gates: Array  # (S, 4H or more): i, f, g, o after activation
    h: Array  # (S + N, H): the table of states
    c: Array  # (S + N, H)


@compiled
def _forward(
    low: int,
    high: int,
    gemm: int,
    visits: Array,
    initial: int,
    x: Array,
    w_in: Array,
    w: Array,
    bias: Array,
    gates: Array,
    h: Array,
    c: Array,
) -> None:
    """Take the sequences ``low`` to ``high`` through the time.

    Where there is ``w_in``, the rows of x are multiplied step by step; otherwise gates already has the products.
    """
    size = c.shape[1]
    for k in range(len(visits)):
        row, after, before = visits[k, ROW], visits[k, AFTER], visits[k, BEFORE]
        # of this thread's sequences, those that still run are low:stop; low:old of them ran at the visit before,
        # old:stop start from their initial states
        stop = min(high, visits[k, COUNT])
        old = max(min(stop, visits[k, OLD]), low)
        # the input's product here, while its rows and the weight are in the cache
        if len(w_in) and low < stop:
            multiply(gemm, x, row + low, 0, stop - low, w_in, 4 * size, gates, row + low, 0, False)
        if low < old:
            multiply(gemm, h, before + low, 0, old - low, w, 4 * size, gates, row + low, 0, True)
        if old < stop:
            multiply(gemm, h, initial + old, 0, stop - old, w, 4 * size, gates, row + old, 0, True)
        for n in range(low, stop):
            z, c_old = gates[row + n], c[(before if n < old else initial) + n]
            c_new, h_new = c[after + n], h[after + n]
            for u in range(size):
                # one loop over the units does all gates, so that z is read and written once
                i = sigmoid(z[u] + bias[u])
                f = sigmoid(z[size + u] + bias[size + u])
                g = tanh(z[2 * size + u] + bias[2 * size + u])
                o = sigmoid(z[3 * size + u] + bias[3 * size + u])
                cell = f * c_old[u] + i * g
                # the activations replace the pre-activations: what backward reads
                z[u], z[size + u], z[2 * size + u], z[3 * size + u] = i, f, g, o
                c_new[u] = cell
                h_new[u] = o * tanh(cell)


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
    c: Array,
    w_in: Array,
    w: Array,
    dy: Array,
    dc_all: Array,
    dh: Array,
    dc: Array,
    dz: Array,
    d_bias: Array,
    dx: Array,
) -> None:
    """Take the gradients of the sequences ``low`` to ``high`` back through the time.

    dh and dc (N, H) are those of the states; dz (S, 4H), and dx where there is ``w_in``, are filled; the sum
    of dz goes to row ``number`` of d_bias.  A dy of one row stands for as many as there are.
    """
    size = c.shape[1]
    least = c.dtype.type(1e-38)
    total = d_bias[number]
    for k in range(len(visits) - 1, -1, -1):
        row, after, before = visits[k, ROW], visits[k, AFTER], visits[k, BEFORE]
        stop = min(high, visits[k, COUNT])
        old = max(min(stop, visits[k, OLD]), low)
        for n in range(low, stop):
            z, c_old, h_new = gates[row + n], c[(before if n < old else initial) + n], h[after + n]
            d, dh_n, dc_n = dz[row + n], dh[n], dc[n]
            # an empty array stands for None: Numba would compile the loop twice for an optional argument
            if len(dy):
                dy_n = dy[row + n if len(dy) > 1 else 0]
                for u in range(size):
                    dh_n[u] += dy_n[u]
            if len(dc_all):
                for u in range(size):
                    dc_n[u] += dc_all[row + n, u]
            for u in range(size):
                i, f, g, o = z[u], z[size + u], z[2 * size + u], z[3 * size + u]
                t = h_new[u] / (o if o > least else least)  # tanh(c_new), 0 where o is; in a third of a tanh's time
                d_cell = dc_n[u] + dh_n[u] * (o - o * t * t)
                # each gate's cotangent is what it was multiplied by, times its own slope
                d[u] = d_cell * g * (i - i * i)
                d[size + u] = d_cell * c_old[u] * (f - f * f)
                d[2 * size + u] = d_cell * (i - i * g * g)
                d[3 * size + u] = dh_n[u] * t * (o - o * o)
                dc_n[u] = d_cell * f
            for u in range(4 * size):
                total[u] += d[u]
        # through w_hh to the cotangent of the state before: no other product is waited for by the next visit
        if low < stop:
            multiply(gemm, dz, row + low, 0, stop - low, w, size, dh, low, 0, False)
        if len(w_in) and low < stop:
            multiply(gemm, dz, row + low, 0, stop - low, w_in, dx.shape[1], dx, row + low, 0, False)


def forward(x: Array, states: tuple[Array, ...], weights: Weights, options: Options) -> Run:
    """One direction; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`."""
    h0, c0 = states
    w_ih, w_hh, b_ih, b_hh, _ = weights
    size, dtype = c0.shape[1], x.dtype
    visits = Visits.of(x, len(h0), options.sizes, options.reverse)
    division = Division.of(visits, w_ih, w_hh)
    rows_x = visits.in_rows(x)
    h, c = visits.room(h0), visits.room(c0)
    gates = room(visits.rows, 4 * size, x)
    w, w_in = strips(division, w_hh, w_ih if division.step_by_step else None, transposed=True)
    # many rows per product: one large product before the loop is faster
    if w_in is None:
        times_weight(division, rows_x, 0, w_ih, gates, 0, transposed=True)
    division.run(
        _forward,
        division.batch,
        gemm_address(dtype),
        visits.table,
        visits.initial,
        rows_x,
        given(w_in, 1, dtype),
        w,
        summed(b_ih, b_hh, 4 * size, dtype),
        gates,
        h,
        c,
    )
    series = tuple([visits.after(a).reshape(*x.shape[:-1], size) for a in ((h, c) if options.cells else (h,))])
    residual = Residual(visits, division, gates, h, c) if options.save else None
    return Run(series, (visits.final(h), visits.final(c)), residual)


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
    (h0, c0), w_ih, w_hh = states, weights.w_ih, weights.w_hh
    dy, dc_all = (*cotangents.series, None)[:2]
    dh_n, dc_n = cotangents.states
    need_w_ih, need_w_hh, need_b_ih, need_b_hh, _ = needs.weights
    visits, division, gates, h, c = residual
    size, dtype = c0.shape[1], x.dtype
    dh = np.zeros(h0.shape, dtype) if dh_n is None else dh_n.copy()
    dc = np.zeros(c0.shape, dtype) if dc_n is None else dc_n.copy()
    dz = aligned_empty(gates.shape, gates)
    # a row per thread, so that none waits for another; added up at the end
    d_bias = np.zeros((len(division.batch), 4 * size), dtype)
    dx = aligned_empty((visits.rows, x.shape[-1]), x) if needs.x else None
    w, w_in = strips(division, w_hh, w_ih if needs.x and division.step_by_step else None)
    division.run(
        _backward,
        division.numbered,
        gemm_address(dtype),
        visits.table,
        visits.initial,
        gates,
        h,
        c,
        given(w_in, 1, dtype),
        w,
        given(None if dy is None else visits.in_rows_or_one(dy), 2, dtype),
        given(None if dc_all is None else visits.in_rows(dc_all), 2, dtype),
        dh,
        dc,
        dz,
        d_bias,
        given(dx, 2, dtype),
    )
    if dx is not None and w_in is None:
        times_weight(division, dz, 0, w_ih, dx, 0)
    d_w_ih = aligned_empty(w_ih.shape, w_ih) if need_w_ih else None
    d_w_hh = aligned_empty(w_hh.shape, w_hh) if need_w_hh else None
    weight_gradients(division, (dz, 0, visits.in_rows(x), d_w_ih), (dz, 0, visits.before(h), d_w_hh))
    d_bias = d_bias[0] if len(d_bias) == 1 else d_bias.sum(axis=0)
    return Gradients(
        None if dx is None else dx.reshape(x.shape),
        (dh if needs.states[0] else None, dc if needs.states[1] else None),
        (d_w_ih, d_w_hh, d_bias if need_b_ih else None, d_bias.copy() if need_b_hh else None, None),
    )

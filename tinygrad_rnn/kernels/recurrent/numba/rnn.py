"""Plain RNN over a whole sequence, compiled: the same function as ``numpy/rnn.py``, which explains it.

Shapes: x (T, N, I) or packed (S, I), h0 (N, H), weights and biases as there.  The products are written where h will
be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....backend import aligned_empty
from ....typing import Array
from ..interface import Cotangents, Gradients, Needs, Options, Run, Weights
from .activations import tanh
from .jit import compiled
from .products import gemm_address, multiply, strips, times_weight, weight_gradients
from .schedule import AFTER, BEFORE, COUNT, OLD, ROW, Division, Visits, given, room, summed

__all__ = ["Residual", "backward", "forward", "restore"]


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    visits: Visits
    division: Division
    relu: bool
    h: Array  # (S + N, H): the table of states


@compiled
def _forward(
    low: int,
    high: int,
    gemm: int,
    visits: Array,
    initial: int,
    relu: bool,
    x: Array,
    w_in: Array,
    w: Array,
    bias: Array,
    h: Array,
) -> None:
    """Take the sequences ``low`` to ``high`` through the time.

    Where there is ``w_in``, the rows of x are multiplied step by step; otherwise h already has the products.
    """
    size = h.shape[1]
    zero = h.dtype.type(0)
    for k in range(len(visits)):
        row, after, before = visits[k, ROW], visits[k, AFTER], visits[k, BEFORE]
        # of this thread's sequences, those that still run are low:stop; low:old of them ran at the visit before,
        # old:stop start from their initial states
        stop = min(high, visits[k, COUNT])
        old = max(min(stop, visits[k, OLD]), low)
        # the input's product here, while its rows and the weight are in the cache
        if len(w_in) and low < stop:
            multiply(gemm, x, row + low, 0, stop - low, w_in, size, h, after + low, 0, False)
        if low < old:
            multiply(gemm, h, before + low, 0, old - low, w, size, h, after + low, 0, True)
        if old < stop:
            multiply(gemm, h, initial + old, 0, stop - old, w, size, h, after + old, 0, True)
        for n in range(low, stop):
            h_new = h[after + n]
            if relu:
                for u in range(size):
                    v = h_new[u] + bias[u]
                    h_new[u] = zero if v < zero else v  # nan stays
            else:
                for u in range(size):
                    h_new[u] = tanh(h_new[u] + bias[u])


@compiled
def _backward(
    low: int,
    high: int,
    number: int,
    gemm: int,
    visits: Array,
    relu: bool,
    h: Array,
    w_in: Array,
    w: Array,
    dy: Array,
    dh: Array,
    dz: Array,
    d_bias: Array,
    dx: Array,
) -> None:
    """Take the gradients of the sequences ``low`` to ``high`` back through the time.

    dh (N, H) is that of the state; dz (S, H), and dx where there is ``w_in``, are filled; the sum of dz goes to row
    ``number`` of d_bias.  A dy of one row stands for as many as there are.
    """
    size = h.shape[1]
    total = d_bias[number]
    zero, one = h.dtype.type(0), h.dtype.type(1)
    for k in range(len(visits) - 1, -1, -1):
        row, after = visits[k, ROW], visits[k, AFTER]
        stop = min(high, visits[k, COUNT])
        for n in range(low, stop):
            d, dh_n, h_new = dz[row + n], dh[n], h[after + n]
            # an empty array stands for None: Numba would compile the loop twice for an optional argument
            if len(dy):
                dy_n = dy[row + n if len(dy) > 1 else 0]
                for u in range(size):
                    dh_n[u] += dy_n[u]
            if relu:
                for u in range(size):
                    d[u] = zero if h_new[u] <= zero else dh_n[u]  # which passes nan on
            else:
                for u in range(size):
                    d[u] = dh_n[u] * (one - h_new[u] * h_new[u])
            for u in range(size):
                total[u] += d[u]
        # through w_hh to the cotangent of the state before: no other product is waited for by the next visit
        if low < stop:
            multiply(gemm, dz, row + low, 0, stop - low, w, size, dh, low, 0, False)
        if len(w_in) and low < stop:
            multiply(gemm, dz, row + low, 0, stop - low, w_in, dx.shape[1], dx, row + low, 0, False)


def forward(x: Array, states: tuple[Array, ...], weights: Weights, options: Options) -> Run:
    """One direction; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`."""
    (h0,) = states
    w_ih, w_hh, b_ih, b_hh, _ = weights
    size, dtype = h0.shape[1], x.dtype
    visits = Visits.of(x, len(h0), options.sizes, options.reverse)
    division = Division.of(visits, w_ih, w_hh)
    rows_x = visits.in_rows(x)
    h = visits.room(h0)
    w, w_in = strips(division, w_hh, w_ih if division.step_by_step else None, transposed=True)
    # many rows per product: one large product before the loop is faster
    if w_in is None:
        times_weight(division, rows_x, 0, w_ih, visits.after(h), 0, transposed=True)
    relu = options.nonlinearity == "relu"
    division.run(
        _forward,
        division.batch,
        gemm_address(dtype),
        visits.table,
        visits.initial,
        relu,
        rows_x,
        given(w_in, 1, dtype),
        w,
        summed(b_ih, b_hh, size, dtype),
        h,
    )
    y = visits.after(h).reshape(*x.shape[:-1], size)
    return Run((y,), (visits.final(h),), Residual(visits, division, relu, h) if options.save else None)


def restore(x: Array, states: tuple[Array, ...], weights: Weights, options: Options, y: Array) -> Residual:
    """The states are all that there is to a residual."""
    (h0,) = states
    visits = Visits.of(x, len(h0), options.sizes, options.reverse)
    h = visits.room(h0)
    visits.after(h)[:] = y.reshape(visits.rows, h0.shape[1])
    return Residual(visits, Division.of(visits, weights.w_ih, weights.w_hh), options.nonlinearity == "relu", h)


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
    visits, division, relu, h = residual
    size, dtype = h0.shape[1], x.dtype
    dh = np.zeros(h0.shape, dtype) if dh_n is None else dh_n.copy()
    dz = room(visits.rows, size, x)
    # a row per thread, so that none waits for another; added up at the end
    d_bias = np.zeros((len(division.batch), size), dtype)
    dx = aligned_empty((visits.rows, x.shape[-1]), x) if needs.x else None
    w, w_in = strips(division, w_hh, w_ih if needs.x and division.step_by_step else None)
    division.run(
        _backward,
        division.numbered,
        gemm_address(dtype),
        visits.table,
        relu,
        h,
        given(w_in, 1, dtype),
        w,
        given(None if dy is None else visits.in_rows_or_one(dy), 2, dtype),
        dh,
        dz,
        d_bias,
        given(dx, 2, dtype),
    )
    if dx is not None and w_in is None:
        times_weight(division, dz, 0, w_ih, dx, 0)
    d_w_ih = aligned_empty(w_ih.shape, w_ih) if need_w_ih else None
    d_w_hh = aligned_empty(w_hh.shape, w_hh) if need_w_hh else None
    weight_gradients(division, (dz, 0, visits.in_rows(x), d_w_ih), (dz, 0, visits.before(h), d_w_hh))
    total = d_bias[0] if len(d_bias) == 1 else d_bias.sum(axis=0)
    return Gradients(
        None if dx is None else dx.reshape(x.shape),
        (dh if needs.states[0] else None,),
        (d_w_ih, d_w_hh, total if need_b_ih else None, total.copy() if need_b_hh else None),
    )

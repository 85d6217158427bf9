"""LSTM over a whole sequence, forward and backward through time, one layer and one direction.

Equations (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), at every step:

    i, f, o = sigmoid(W_* x + b_* + U_* h + c_*)        g = tanh(W_g x + b_g + U_g h + c_g)
    c' = f * c + i * g                                  h' = o * tanh(c')     (W_hr (o * tanh(c')) if projected)

Shapes: x (T, N, I) or packed (S, I), h0 (N, R), c0 (N, H), w_ih (4H, I), w_hh (4H, R), b_ih and b_hh (4H),
w_hr (P, H); R = P with projection, else H.  Rows of the weights in PyTorch's order i, f, g, o; inside the loop
the blocks are i, f, o, g, so that the three sigmoids are one array.

What backward needs, and no more: the activated gates, c, and the earlier h.  Derivative factors are computed
for many steps at once, just ahead of the loop that uses them; only ``dz @ w_hh`` stays inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...backend import array_module
from ...typing import Array
from .plan import Plan, Trail
from .products import (
    bias_gradient,
    half,
    input_gradient,
    most_rows,
    one_minus_square,
    pack_bias,
    pack_weight,
    project,
    rows_of,
    scratch,
    weight_gradient,
)

__all__ = ["Residual", "backward", "forward"]

ORDER = (0, 1, 3, 2)  # blocks inside: i, f, o, g
SCALES = (0.5, 0.5, 0.5, 1.0)


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    plan: Plan
    gates: Array  # (4, S, H): i, f, o, g after activation
    cells: Array  # (S, H): c after each step
    earlier_cells: Array  # (S, H): c before each step
    earlier: Array  # (S, R): h before each step


def forward(
    x: Array,
    h0: Array,
    c0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    w_hr: Array | None = None,
    *,
    sizes: Sequence[int] | None = None,
    reverse: bool = False,
    save: bool = True,
    cells: bool = False,
) -> tuple[tuple[Array, ...], Residual | None]:
    """Run one direction.

    Args:
        sizes: batch sizes of packed input; None for (T, N, I).
        reverse: read the sequence from its end.
        save: leave a residual for ``backward``.
        cells: give the cell states of all steps as a fourth output.

    Returns:
        (y, h_n, c_n), residual: y (T, N, R) or (S, R), the states (N, R) and (N, H) after the last step read;
        with ``cells`` also c of every step, (T, N, H) or (S, H).
    """
    xp = array_module(x)
    size = c0.shape[1]
    plan = Plan.of(x, h0, sizes, reverse)
    rows_x = x.reshape(plan.rows, x.shape[-1])  # (S, I)
    w_in = pack_weight(w_ih, ORDER, SCALES, steps=1)  # (4, I, H)
    w_rec = pack_weight(w_hh, ORDER, SCALES, steps=plan.steps)  # (4, R, H)
    bias = pack_bias((b_ih, b_hh), ORDER, SCALES)  # (4, 1, H)
    hs = Trail(plan, h0, "both" if save else "after")
    cs = Trail(plan, c0, "both" if save else "after" if cells else "last")

    parts = plan.parts(plan.rows if save else most_rows(size))
    gates = xp.empty((4, max((part.size for part in parts), default=0), size), x.dtype)  # (4, S, H) if saved
    products = scratch(4, plan.heads(c0))  # (4, n, H)
    spare = [product[0] for product in products]  # (n, H): free once its product is added
    matmul, add, multiply, tanh, point5 = xp.matmul, xp.add, xp.multiply, xp.tanh, half(x)
    for part in parts:
        z_part = gates[:, : part.size]
        project(rows_x[part.rows], w_in, bias, out=z_part)
        for h, h_new, c, c_new, z, product, t in plan.walk(part, (hs, cs), (z_part,), (products, spare)):
            add(z, matmul(h, w_rec, out=product), out=z)  # (4, n, H)
            tanh(z, out=z)
            sigmoids = z[:3]
            multiply(sigmoids, point5, out=sigmoids)
            add(sigmoids, point5, out=sigmoids)
            i, f, o, g = z
            multiply(i, g, out=t)
            multiply(f, c, out=c_new)
            add(c_new, t, out=c_new)
            tanh(c_new, out=t)
            multiply(o, t, out=h_new if w_hr is None else t)
            if w_hr is not None:
                matmul(t, w_hr.T, out=h_new)
    y = hs.values.reshape(*x.shape[:-1], h0.shape[1])
    residual = Residual(plan, gates, cs.values, cs.earlier, hs.earlier) if save else None
    outputs = (y, hs.final(), cs.final())
    return ((*outputs, cs.values.reshape(*x.shape[:-1], size)) if cells else outputs), residual


def backward(
    gs: Sequence[Array | None],
    residual: Residual,
    x: Array,
    h0: Array,
    c0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    w_hr: Array | None = None,
    *,
    needs: Sequence[bool],
) -> list[Array | None]:
    """The gradients of x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr for those of (y, h_n, c_n) and, if given, all c.

    Args:
        gs: cotangents of the outputs; None where there is none.
        needs: which of the eight gradients are wanted; the others come back as None.
    """
    xp = array_module(x)
    plan, size = residual.plan, c0.shape[1]
    dy, dh_n, dc_n, dc_all = (*gs, None)[:4]
    dh0 = xp.zeros(h0.shape, x.dtype) if dh_n is None else dh_n.copy()  # (N, R), carried from step to step
    dc0 = xp.zeros(c0.shape, x.dtype) if dc_n is None else dc_n.copy()  # (N, H)
    dz = xp.empty((4, plan.rows, size), x.dtype)  # (4, S, H), blocks in the weights' order i, f, g, o
    dh_all = xp.empty((plan.rows, h0.shape[1]), x.dtype) if w_hr is not None else None  # (S, P)
    dy_rows = None if dy is None else dy.reshape(plan.rows, h0.shape[1])  # (S, R)
    dc_rows = None if dc_all is None else dc_all.reshape(plan.rows, size)  # (S, H)
    w_rec = w_hh.reshape(4, size, h0.shape[1])  # (4, H, R)
    dh_heads, dc_heads = plan.heads(dh0), plan.heads(dc0)
    lists = (dh_heads, dc_heads, scratch(4, dh_heads), scratch(1, dc_heads))
    matmul, add, multiply, total = xp.matmul, xp.add, xp.multiply, xp.sum

    for part in reversed(plan.parts(most_rows(size))):
        rows = part.rows
        dm_to_dc = _fill_factors(residual, rows, dz[:, rows])
        tables = (
            dz[:, rows],
            residual.gates[1, rows],
            dm_to_dc,
            *(rows_of(a, rows) for a in (dy_rows, dc_rows, dh_all)),
        )
        for dz_t, f, slope, dy_t, dc_t, dh_t, dh, dc, terms, t in plan.walk_back(part, tables, lists):
            if dy_t is not None:
                add(dh, dy_t, out=dh)
            if dc_t is not None:
                add(dc, dc_t, out=dc)
            dm = dh  # of o * tanh(c)
            if dh_t is not None:
                dh_t[...] = dh
                dm = matmul(dh, w_hr)
            add(dc, multiply(dm, slope, out=t[0]), out=dc)
            i_f_g = dz_t[:3]
            multiply(i_f_g, dc, out=i_f_g)
            o = dz_t[3]
            multiply(o, dm, out=o)
            multiply(dc, f, out=dc)
            total(matmul(dz_t, w_rec, out=terms), axis=0, out=dh)

    rows_x = x.reshape(plan.rows, x.shape[-1])
    d_bias = bias_gradient(dz) if needs[5] or needs[6] else None
    return [
        input_gradient(dz, w_ih).reshape(x.shape) if needs[0] else None,
        dh0 if needs[1] else None,
        dc0 if needs[2] else None,
        weight_gradient(dz, rows_x) if needs[3] else None,
        weight_gradient(dz, residual.earlier) if needs[4] else None,
        d_bias if needs[5] else None,
        d_bias.copy() if d_bias is not None and needs[6] else None,
        _projection_gradient(residual, dh_all) if dh_all is not None and needs[7] else None,
    ]


def _fill_factors(residual: Residual, rows: slice, dz: Array) -> Array:
    """Fill ``dz`` (4, n, H) with what each gate's cotangent is multiplied by, for many steps at once.

    That of o times the gradient of m = o * tanh(c), those of i, f, g times the gradient of c.  Returns dm/dc, (n, H).
    """
    xp = array_module(dz)
    gates = residual.gates[:, rows]
    i, _, o, g = gates
    slopes = xp.subtract(xp.ones((), dz.dtype), gates[:3])
    xp.multiply(slopes, gates[:3], out=slopes)  # (3, n, H): s (1 - s) of i, f, o
    tanh_c = xp.tanh(residual.cells[rows])
    xp.multiply(slopes[0], g, out=dz[0])
    xp.multiply(slopes[1], residual.earlier_cells[rows], out=dz[1])
    xp.multiply(one_minus_square(g, out=dz[2]), i, out=dz[2])
    xp.multiply(slopes[2], tanh_c, out=dz[3])
    return xp.multiply(one_minus_square(tanh_c, out=tanh_c), o, out=tanh_c)


def _projection_gradient(residual: Residual, dh_all: Array) -> Array:
    """The gradient of w_hr, (P, H): over all rows at once, from m = o * tanh(c) computed anew."""
    xp = array_module(dh_all)
    m = xp.tanh(residual.cells)
    xp.multiply(m, residual.gates[2], out=m)
    return xp.matmul(dh_all.T, m)

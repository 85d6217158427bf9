"""LSTM over a whole sequence, forward and backward through time, one layer and one direction.

Equations (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), at every step:

    i, f, o = sigmoid(W_* x + b_* + U_* h + c_*)        g = tanh(W_g x + b_g + U_g h + c_g)
    c' = f * c + i * g                                  h' = o * tanh(c')     (W_hr (o * tanh(c')) if projected)

Shapes: x (T, N, I) or packed (S, I), h0 (N, R), c0 (N, H), w_ih (4H, I), w_hh (4H, R), b_ih and b_hh (4H),
w_hr (P, H); R = P with projection, else H.  Rows of the weights in PyTorch's order i, f, g, o; inside the loop
the blocks are i, f, o, g, so that the three sigmoids are one array.

What backward needs, and no more: the activated gates, c, and the earlier h.  Derivative factors are computed
for many steps at once, just ahead of the loop that uses them; only ``dz @ w_hh`` stays inside.

What no step waits for is done by a second thread meanwhile (``threads.Helper``): x times its weights, a part ahead
of the steps that read it, and the gradients of the weights and of the input.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

from ....backend import aligned_empty, array_module
from ....typing import Array
from .. import threads
from ..interface import Cotangents, Gradients, Needs, Options, Run, Weights
from ..threads import helper_for
from .products import (
    PackedWeights,
    Projection,
    RowGradients,
    StateGradient,
    gate_blocks,
    half,
    most_rows,
    pack_bias,
    projections,
    scratch_for,
)
from .schedule import Blocks, Part, Plan, Trajectory

__all__ = ["Residual", "backward", "forward"]

ORDER = (0, 1, 3, 2)  # blocks inside: i, f, o, g
SCALES = (0.5, 0.5, 0.5, 1.0)


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    plan: Plan
    gates: Blocks  # 4 of H: i, f, o, g after activation
    cells: Array  # (S, H): c after each step
    earlier_cells: Array  # (S, H): c before each step
    earlier: Array  # (S, R): h before each step


def forward(x: Array, states: tuple[Array, ...], weights: Weights, options: Options) -> Run:
    """One direction; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`."""
    h0, c0 = states
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    save, cells = options.save, options.cells
    xp = array_module(x)
    size = c0.shape[1]
    plan = Plan.of(x, h0, options.sizes, options.reverse)
    rows_x = x.reshape(plan.rows, x.shape[-1])  # (S, I)
    work = rows_x.size * len(w_ih)
    helper = helper_for(work, x) if work >= 2 * threads.WORTHWHILE else None  # most layers are small
    project = Projection(rows_x, gate_blocks(w_ih, ORDER), SCALES, pack_bias((b_ih, b_hh), ORDER, SCALES))
    w_rec = PackedWeights(
        [block.T for block in gate_blocks(w_hh, ORDER)], plan.batch, SCALES, plan.steps
    )  # 4 of (R, H)
    hs = Trajectory(plan, h0, "both" if save else "after")
    cs = Trajectory(plan, c0, "both" if save else "after" if cells else "last")
    gates = Blocks(plan, 4, c0, keep=save)
    room = Blocks(plan, 4, c0, keep=False)
    matmul, add, multiply, tanh, point5 = xp.matmul, xp.add, xp.multiply, xp.tanh, half(x)
    main, rest = w_rec.main, w_rec.rest
    parts = plan.parts(most_rows(size, project.rows))
    most = max((part.size for part in parts), default=0)
    rooms = [scratch_for(x, 4, most, size) for _ in range(1 if helper is None else 2)]  # (4, rows of a part, H)
    with helper or nullcontext():
        for part, a_part in zip(parts, projections(helper, project, rows_x, parts, rooms), strict=False):
            views = [
                plan.split_part(a_part, part),
                *(gates.views(part, block) for block in (slice(None), slice(3), 0, 1, 2, 3)),
                *(room.views(part, seen=seen) for seen in (None, w_rec.seen, w_rec.rest_of)),
                room.views(part, 0),  # free once the products are added
            ]
            for h, h_new, c, c_new, a, z, sigmoids, i, f, o, g, product, into, into_rest, t in plan.walk(
                part, (hs, cs), views
            ):
                matmul(h, main, out=into)  # into the product (4, n, H)
                if rest is not None:
                    matmul(h, rest, out=into_rest)
                add(a, product, out=product)
                # all four gates at once; for the sigmoids, of half the pre-activation (folded into the weights)
                tanh(product, out=z)
                # sigmoid(a) = 0.5 * tanh(0.5 * a) + 0.5
                multiply(sigmoids, point5, out=sigmoids)
                add(sigmoids, point5, out=sigmoids)
                multiply(i, g, out=t)
                # out= everywhere: a step allocates nothing
                multiply(f, c, out=c_new)
                add(c_new, t, out=c_new)
                tanh(c_new, out=t)
                multiply(o, t, out=h_new if w_hr is None else t)
                if w_hr is not None:
                    matmul(t, w_hr.T, out=h_new)
    y = hs.values.reshape(*x.shape[:-1], h0.shape[1])
    residual = Residual(plan, gates, cs.values, cs.earlier, hs.earlier) if save else None
    series = (y, cs.values.reshape(*x.shape[:-1], size)) if cells else (y,)
    return Run(series, (hs.final(), cs.final()), residual)


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
    (h0, c0), w_ih, w_hh, w_hr = states, weights.w_ih, weights.w_hh, weights.w_hr
    dy, dc_all = (*cotangents.series, None)[:2]
    dh_n, dc_n = cotangents.states
    need_w_ih, need_w_hh, need_b_ih, need_b_hh, need_w_hr = needs.weights
    xp = array_module(x)
    plan, size = residual.plan, c0.shape[1]
    dh0 = xp.zeros(h0.shape, x.dtype) if dh_n is None else dh_n.copy()  # (N, R), carried from step to step
    dc0 = xp.zeros(c0.shape, x.dtype) if dc_n is None else dc_n.copy()  # (N, H)
    dz = aligned_empty((plan.rows, 4 * size), x)  # (S, 4H), gates in the weights' order i, f, g, o
    dz_gates = dz.reshape(plan.rows, 4, size).swapaxes(0, 1)  # (4, S, H), a view
    dh_all = aligned_empty((plan.rows, h0.shape[1]), x) if w_hr is not None else None  # (S, P)
    into_state = StateGradient(plan, gate_blocks(w_hh, (0, 1, 2, 3)))
    parts = plan.parts(most_rows(size))
    factors = scratch_for(x, 5, max((part.size for part in parts), default=0), size)
    heads = plan.heads(dh0)
    lists = (heads, plan.heads(dc0), plan.terms(dy), plan.terms(dc_all))
    room = Blocks(plan, 1, c0, keep=False)
    matmul, add, multiply = xp.matmul, xp.add, xp.multiply
    main, rest = into_state.main, into_state.rest

    rows_x = x.reshape(plan.rows, x.shape[-1])
    tables = [rows_x if need_w_ih else None, residual.earlier if need_w_hh else None]
    work = dz.size * (x.shape[-1] + h0.shape[1])
    helper = helper_for(work, x) if work >= 2 * threads.WORTHWHILE else None
    with helper or nullcontext():
        large = RowGradients(helper, dz, tables, need_b_ih or need_b_hh, w_ih if needs.x else None)
        for part in reversed(parts):
            here = factors[:, : part.size]
            _fill_factors(residual, part, here)
            views = [
                *(plan.split_part(here[block], part) for block in (slice(3), 3, 4)),
                *into_state.views(part, here[:4]),
                residual.gates.views(part, 1),
                room.views(part, 0),
                None if dh_all is None else plan.split_part(dh_all[part.rows], part),
            ]
            for (
                d_ifg, d_o, slope, dz_t, into, into_rest, (t_i, t_f, t_g, t_o), f, t, dh_t, dh, dc, dy_t, dc_t,
            ) in plan.walk_back(part, views, lists):  # fmt: skip
                # y may be unused while the final state is not
                if dy_t is not None:
                    add(dh, dy_t, out=dh)
                if dc_t is not None:
                    add(dc, dc_t, out=dc)
                dm = dh  # of m = o * tanh(c)
                # projected: the cotangent of h is kept for w_hr's gradient, and goes back through w_hr
                if dh_t is not None:
                    dh_t[...] = dh
                    dm = matmul(dh, w_hr)
                add(dc, multiply(dm, slope, out=t), out=dc)
                multiply(d_ifg, dc, out=d_ifg)
                multiply(d_o, dm, out=d_o)
                multiply(dc, f, out=dc)
                matmul(dz_t, main, out=into)
                if rest is not None:
                    matmul(dz_t, rest, out=into_rest)
                add(t_i, t_f, out=dh)  # in less time than a sum over an axis
                add(dh, t_g, out=dh)
                add(dh, t_o, out=dh)
            # from gate-major to rows of the weights, once per part and not once per step
            dz_gates[:, part.rows] = here[:4]
            large.ready(part.rows)

    d_w_ih, d_w_hh = large.weights
    d_bias = large.bias
    return Gradients(
        large.x.reshape(x.shape) if large.x is not None else None,
        (dh0 if needs.states[0] else None, dc0 if needs.states[1] else None),
        (
            d_w_ih if need_w_ih else None,
            d_w_hh if need_w_hh else None,
            d_bias if need_b_ih else None,
            d_bias.copy() if d_bias is not None and need_b_hh else None,
            _projection_gradient(residual, dh_all) if dh_all is not None and need_w_hr else None,
        ),
    )


def _fill_factors(residual: Residual, part: Part, factors: Array) -> None:
    """Fill ``factors`` (5, n, H) for many steps at once.

    What the cotangents of i, f, g are times that of c; that of o times that of m = o * tanh(c); and dm/dc.
    """
    xp, plan = array_module(factors), residual.plan
    gates = residual.gates.table(part)  # as all tables here: (4, steps, N, H), or packed (4, n, H)
    d_i, d_f, d_g, d_o, tanh_c = plan.by_step(factors, part)
    i, f, o, g = gates
    multiply, subtract = xp.multiply, xp.subtract
    xp.tanh(plan.by_step(residual.cells[part.rows], part), out=tanh_c)
    multiply(i, g, out=d_g)
    multiply(i, d_g, out=d_i)
    subtract(d_g, d_i, out=d_i)  # i (1 - i) g
    multiply(g, d_g, out=d_g)
    subtract(i, d_g, out=d_g)  # i (1 - g^2)
    multiply(f, f, out=d_f)
    subtract(f, d_f, out=d_f)
    multiply(d_f, plan.by_step(residual.earlier_cells[part.rows], part), out=d_f)  # f (1 - f) c of before
    m = multiply(o, tanh_c)
    multiply(o, m, out=d_o)
    subtract(m, d_o, out=d_o)  # o (1 - o) tanh(c)
    multiply(tanh_c, m, out=tanh_c)
    subtract(o, tanh_c, out=tanh_c)  # o (1 - tanh(c)^2)


def _projection_gradient(residual: Residual, dh_all: Array) -> Array:
    """The gradient of w_hr, (P, H): over all rows at once, from m = o * tanh(c), which is computed again."""
    xp, plan = array_module(dh_all), residual.plan
    m = xp.tanh(residual.cells)
    whole = Part(0, plan.steps, slice(0, plan.rows))
    by_step = plan.by_step(m, whole)
    xp.multiply(by_step, residual.gates.table(whole)[2], out=by_step)
    gradient: Array = xp.matmul(dh_all.T, m)
    return gradient

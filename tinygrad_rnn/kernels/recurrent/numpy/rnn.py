"""Plain (Elman) RNN over a whole sequence, forward and backward through time, one layer and one direction.

Equation (Elman 1990), at every step:

    h' = act(W x + b_ih + U h + b_hh)          act = tanh or relu

Shapes: x (T, N, I) or packed (S, I), h0 (N, H), w_ih (H, I), w_hh (H, H), b_ih and b_hh (H).

What backward needs, and no more: h before and after each step.  The input projection is written where h will be.
"""

from __future__ import annotations

from typing import NamedTuple

from ....backend import aligned_empty, array_module
from ....typing import Array
from ..interface import Cotangents, Gradients, Needs, Options, Run, Weights
from .products import (
    PackedWeights,
    Projection,
    bias_gradient,
    gate_blocks,
    input_gradient,
    most_rows,
    one_minus_square,
    pack_bias,
    weight_gradient,
)
from .schedule import Blocks, Part, Plan, Trajectory

__all__ = ["Residual", "backward", "forward", "restore"]

ORDER = (0,)
SCALES = (1.0,)


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    plan: Plan
    nonlinearity: str
    values: Array  # (S, H): h after each step
    earlier: Array  # (S, H): h before each step


def forward(x: Array, states: tuple[Array, ...], weights: Weights, options: Options) -> Run:
    """One direction; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`."""
    (h0,) = states
    w_ih, w_hh, b_ih, b_hh, _ = weights
    xp = array_module(x)
    size = h0.shape[1]
    plan = Plan.of(x, h0, options.sizes, options.reverse)
    rows_x = x.reshape(plan.rows, x.shape[-1])  # (S, I)
    project = Projection(rows_x, gate_blocks(w_ih, ORDER), SCALES, pack_bias((b_ih, b_hh), ORDER, SCALES))
    w_rec = PackedWeights([w_hh.T], plan.batch, products=plan.steps)  # (H, H)
    hs = Trajectory(plan, h0, "both" if options.save else "after")
    room = Blocks(plan, 1, h0, keep=False)
    matmul, add, tanh, maximum, zero = xp.matmul, xp.add, xp.tanh, xp.maximum, xp.zeros((), x.dtype)
    main, rest = w_rec.main[0], None if w_rec.rest is None else w_rec.rest[0]
    for part in plan.parts(most_rows(size, project.rows)):
        # into the place of h itself, where the step adds its product and applies act
        project(rows_x[part.rows], out=hs.values[None, part.rows])
        views = [room.views(part, 0, seen) for seen in (w_rec.seen, w_rec.rest_of, None)]
        for h, h_new, into, into_rest, product in plan.walk(part, (hs,), views):
            matmul(h, main, out=into)  # into the product (n, H)
            if rest is not None:
                matmul(h, rest, out=into_rest)
            add(h_new, product, out=h_new)
            if options.nonlinearity == "tanh":
                tanh(h_new, out=h_new)
            else:
                maximum(h_new, zero, out=h_new)
    y = hs.values.reshape(*x.shape[:-1], size)
    residual = Residual(plan, options.nonlinearity, hs.values, hs.earlier) if options.save else None
    return Run((y,), (hs.final(),), residual)


def restore(x: Array, states: tuple[Array, ...], weights: Weights, options: Options, y: Array) -> Residual:
    """The states are all that there is to a residual."""
    (h0,) = states
    plan = Plan.of(x, h0, options.sizes, options.reverse)
    hs = Trajectory(plan, h0)
    hs.values[:] = y.reshape(plan.rows, h0.shape[1])
    if plan.packed:
        for _ in plan.walk(Part(0, plan.steps, slice(0, plan.rows)), (hs,), []):
            pass  # the walk itself notes what was before each visit
    return Residual(plan, options.nonlinearity, hs.values, hs.earlier)


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
    xp = array_module(x)
    plan, size = residual.plan, h0.shape[1]
    dh0 = xp.zeros(h0.shape, x.dtype) if dh_n is None else dh_n.copy()  # (N, H), carried from step to step
    dz = aligned_empty((plan.rows, size), x)  # (S, H): first the slopes, then times dh
    w_rec = PackedWeights([w_hh], plan.batch, products=plan.steps)
    heads = plan.heads(dh0)
    seen, rest_of = [w_rec.seen(head) for head in heads], [w_rec.rest_of(head) for head in heads]
    lists = (heads, seen, rest_of, plan.terms(dy))
    matmul, add, multiply, tanh = xp.matmul, xp.add, xp.multiply, residual.nonlinearity == "tanh"
    main, rest = w_rec.main[0], None if w_rec.rest is None else w_rec.rest[0]

    for part in reversed(plan.parts(most_rows(size))):
        rows = part.rows
        if tanh:
            one_minus_square(residual.values[rows], out=dz[rows])
        else:
            # relu's slope as a mask: h <= 0, so that nan passes on
            dz[rows] = residual.values[rows] <= 0  # 1 where nothing passes
        for dz_t, dh, into, into_rest, dy_t in plan.walk_back(part, [plan.split_part(dz[rows], part)], lists):
            if dy_t is not None:
                add(dh, dy_t, out=dh)
            if tanh:
                multiply(dz_t, dh, out=dz_t)
            else:
                xp.copyto(dz_t, xp.where(dz_t, 0, dh))  # not times 0: dh may be infinite
            matmul(dz_t, main, out=into)  # into dh
            if rest is not None:
                matmul(dz_t, rest, out=into_rest)

    rows_x = x.reshape(plan.rows, x.shape[-1])
    d_bias = bias_gradient(dz) if need_b_ih or need_b_hh else None
    return Gradients(
        input_gradient(dz, w_ih).reshape(x.shape) if needs.x else None,
        (dh0 if needs.states[0] else None,),
        (
            weight_gradient(dz, rows_x) if need_w_ih else None,
            weight_gradient(dz, residual.earlier) if need_w_hh else None,
            d_bias if need_b_ih else None,
            d_bias.copy() if d_bias is not None and need_b_hh else None,
        ),
    )

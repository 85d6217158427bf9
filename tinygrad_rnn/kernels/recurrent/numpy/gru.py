"""GRU over a whole sequence, forward and backward through time, one layer and one direction.

Equations (Cho et al. 2014, in the form of cuDNN and PyTorch: the reset gate applies after the product with h,
and the bias b_hn is inside of it), at every step:

    r, z = sigmoid(W_* x + b_i* + U_* h + b_h*)
    q = U_n h + b_hn          n = tanh(W_n x + b_in + r * q)          h' = (1 - z) * n + z * h

Shapes: x (T, N, I) or packed (S, I), h0 (N, H), w_ih (3H, I), w_hh (3H, H), b_ih and b_hh (3H).  Rows of the
weights in PyTorch's order r, z, n, and so are the blocks inside.

What backward needs, and no more: r, z, n, q and the earlier h.  In the backward loop everything is one factor
times dh: four blocks (q, r, z, n); the first three go back through w_hh, the last three through w_ih.
"""

from __future__ import annotations

from typing import NamedTuple

from ....backend import aligned_empty, array_module
from ....typing import Array
from ..interface import Cotangents, Gradients, Needs, Options, Run, Weights
from .products import (
    PackedWeights,
    Projection,
    StateGradient,
    bias_gradient,
    gate_blocks,
    half,
    input_gradient,
    most_rows,
    one_minus_square,
    pack_bias,
    scratch_for,
    weight_gradient,
)
from .schedule import Blocks, Part, Plan, Trajectory

__all__ = ["Residual", "backward", "forward"]

ORDER = (0, 1, 2)  # blocks inside: r, z, n
SCALES = (0.5, 0.5, 1.0)


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    plan: Plan
    gates: Blocks  # 4 of H: r, z, n after activation, and q, which the reset gate multiplies
    earlier: Array  # (S, H): h before each step


def forward(x: Array, states: tuple[Array, ...], weights: Weights, options: Options) -> Run:
    """One direction; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`."""
    (h0,) = states
    w_ih, w_hh, b_ih, b_hh, _ = weights
    xp = array_module(x)
    size = h0.shape[1]
    plan = Plan.of(x, h0, options.sizes, options.reverse)
    rows_x = x.reshape(plan.rows, x.shape[-1])  # (S, I)
    b_in = pack_bias((b_ih, _without_n(b_hh)), ORDER, SCALES)  # (3, 1, H)
    # b_hn is inside of the product with r, so it cannot be added to the projected input
    b_hn = xp.zeros(size, x.dtype) if b_hh is None else b_hh[2 * size :]  # (H,)
    project = Projection(rows_x, gate_blocks(w_ih, ORDER), SCALES, b_in)
    w_rec = PackedWeights(
        [block.T for block in gate_blocks(w_hh, ORDER)], plan.batch, SCALES, plan.steps
    )  # 3 of (H, H)
    hs = Trajectory(plan, h0, "both" if options.save else "after")

    parts = plan.parts(most_rows(size, project.rows))
    projected = scratch_for(x, 3, max((part.size for part in parts), default=0), size)  # (3, rows of a part, H)
    gates = Blocks(plan, 4, h0, keep=options.save)
    room = Blocks(plan, 3, h0, keep=False)
    matmul, add, subtract, multiply, tanh, point5 = xp.matmul, xp.add, xp.subtract, xp.multiply, xp.tanh, half(x)
    main, rest = w_rec.main, w_rec.rest
    for part in parts:
        a_part = projected[:, : part.size]
        project(rows_x[part.rows], out=a_part)
        views = [
            plan.split_part(a_part[:2], part),
            plan.split_part(a_part[2], part),
            *(gates.views(part, block) for block in (slice(2), 0, 1, 2, 3)),
            *(room.views(part, seen=seen) for seen in (w_rec.seen, w_rec.rest_of)),
            *(room.views(part, block) for block in (slice(2), 2)),
        ]
        for h, h_new, a_rz, a_n, rz, r, z, n, q, into, into_rest, product_rz, t in plan.walk(part, (hs,), views):
            matmul(h, main, out=into)  # into the product (3, n, H): product_rz and t
            if rest is not None:
                matmul(h, rest, out=into_rest)
            add(a_rz, product_rz, out=rz)  # (2, n, H)
            # r and z at once, as sigmoid(a) = 0.5 * tanh(0.5 * a) + 0.5
            tanh(rz, out=rz)
            multiply(rz, point5, out=rz)
            add(rz, point5, out=rz)
            add(t, b_hn, out=q)
            add(a_n, multiply(r, q, out=t), out=n)
            tanh(n, out=n)
            subtract(h, n, out=t)
            multiply(z, t, out=t)
            add(n, t, out=h_new)  # (1 - z) n + z h
    y = hs.values.reshape(*x.shape[:-1], size)
    return Run((y,), (hs.final(),), Residual(plan, gates, hs.earlier) if options.save else None)


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
    da = aligned_empty((plan.rows, 4 * size), x)  # (S, 4H): q, r, z, n
    da_gates = da.reshape(plan.rows, 4, size).swapaxes(0, 1)  # (4, S, H), a view
    into_state = StateGradient(plan, gate_blocks(w_hh, (2, 0, 1)))
    parts = plan.parts(most_rows(size))
    rooms = scratch_for(x, 4, max((part.size for part in parts), default=0), size)  # (4, rows of a part, H)
    lists = (plan.heads(dh0), plan.terms(dy))
    matmul, add, multiply = xp.matmul, xp.add, xp.multiply
    main, rest = into_state.main, into_state.rest

    for part in reversed(parts):
        da_part = rooms[:, : part.size]
        _fill_factors(residual, part, da_part)
        views = [
            plan.split_part(da_part, part),
            *into_state.views(part, da_part[:3]),
            residual.gates.views(part, 1),
        ]
        for da_t, into_h, into, into_rest, terms, z, dh, dy_t in plan.walk_back(part, views, lists):
            if dy_t is not None:
                add(dh, dy_t, out=dh)
            # all four cotangents are a factor that is known already, times dh
            multiply(da_t, dh, out=da_t)
            # the direct way back to h; the terms add the way through the gates
            multiply(dh, z, out=dh)
            matmul(into_h, main, out=into)  # into terms
            if rest is not None:
                matmul(into_h, rest, out=into_rest)
            for term in terms:
                add(dh, term, out=dh)
        da_gates[:, part.rows] = da_part

    rows_x = x.reshape(plan.rows, x.shape[-1])
    into_x, into_h = da[:, size:], da[:, : 3 * size]
    d_bias = bias_gradient(da) if need_b_ih or need_b_hh else None  # of both: (4H,)
    return Gradients(
        input_gradient(into_x, w_ih).reshape(x.shape) if needs.x else None,
        (dh0 if needs.states[0] else None,),
        (
            weight_gradient(into_x, rows_x) if need_w_ih else None,
            _n_last(weight_gradient(into_h, residual.earlier), size) if need_w_hh else None,
            d_bias[size:] if d_bias is not None and need_b_ih else None,
            _n_last(d_bias[: 3 * size], size) if d_bias is not None and need_b_hh else None,
        ),
    )


def _fill_factors(residual: Residual, part: Part, da: Array) -> None:
    """Fill ``da`` (4, n, H) with the derivatives of h' by the pre-activations q, r, z, n, for many steps at once."""
    xp, plan = array_module(da), residual.plan
    gates = residual.gates.table(part)  # as all tables here: (4, steps, N, H), or packed (4, n, H)
    d_q, d_r, d_z, d_n = plan.by_step(da, part)
    r, _, n, q = gates
    slopes = xp.subtract(1, gates[:2])  # 1 - r, 1 - z
    xp.multiply(one_minus_square(n, out=d_n), slopes[1], out=d_n)
    xp.multiply(slopes, gates[:2], out=slopes)  # s (1 - s) of r, z
    xp.multiply(d_n, r, out=d_q)
    xp.multiply(d_n, q, out=d_r)
    xp.multiply(d_r, slopes[0], out=d_r)
    xp.subtract(plan.by_step(residual.earlier[part.rows], part), n, out=d_z)
    xp.multiply(d_z, slopes[1], out=d_z)


def _without_n(b_hh: Array | None) -> Array | None:
    """``b_hh`` with its block n zero: that one belongs inside the product with r."""
    if b_hh is None:
        return None
    outside = b_hh.copy()
    outside[2 * len(outside) // 3 :] = 0
    return outside


def _n_last(gradient: Array, size: int) -> Array:
    """From the order n, r, z of a gradient's rows to the weights' r, z, n."""
    xp = array_module(gradient)
    moved: Array = xp.concatenate([gradient[size:], gradient[:size]])
    return moved

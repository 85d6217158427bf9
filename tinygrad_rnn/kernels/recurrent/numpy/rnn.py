"""The plain (Elman) RNN over a whole sequence, forward and backward through time, one layer and one direction.

Equation (Elman 1990), at every step:

    h' = act(W x + b_ih + U h + b_hh)          act = tanh or relu

Shapes: x (T, N, I) or packed (S, I), h0 (N, H), w_ih (H, I), w_hh (H, H), b_ih and b_hh (H).

What backward needs, and no more: h before and after each step.  The input projection is written where h will be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ....backend import aligned_empty, array_module
from ....typing import Array
from .gemm import bias_gradient, input_gradient, most_rows, one_minus_square, pack_bias, weight_gradient
from .packed_weights import Columns, Projection, gate_blocks
from .schedule import Blocks, Part, Plan, Trail

__all__ = ["Residual", "backward", "forward", "restore"]

ORDER = (0,)
SCALES = (1.0,)


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    plan: Plan
    nonlinearity: str
    values: Array  # (S, H): h after each step
    earlier: Array  # (S, H): h before each step


def forward(
    x: Array,
    h0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    nonlinearity: str = "tanh",
    sizes: Sequence[int] | None = None,
    reverse: bool = False,
    save: bool = True,
) -> tuple[tuple[Array, Array], Residual | None]:
    """Run one direction.

    Args:
        nonlinearity: ``"tanh"`` or ``"relu"``.
        sizes: batch sizes of packed input; None for (T, N, I).
        reverse: read the sequence from its end.
        save: leave a residual for ``backward``.

    Returns:
        (y, h_n), residual: y (T, N, H) or (S, H), the state (N, H) after the last step read.
    """
    xp = array_module(x)
    size = h0.shape[1]
    plan = Plan.of(x, h0, sizes, reverse)
    rows_x = x.reshape(plan.rows, x.shape[-1])  # (S, I)
    project = Projection(rows_x, gate_blocks(w_ih, ORDER), SCALES, pack_bias((b_ih, b_hh), ORDER, SCALES))
    w_rec = Columns([w_hh.T], plan.batch, products=plan.steps)  # (H, H)
    hs = Trail(plan, h0, "both" if save else "after")
    room = Blocks(plan, 1, h0, keep=False)
    matmul, add, tanh, maximum, zero = xp.matmul, xp.add, xp.tanh, xp.maximum, xp.zeros((), x.dtype)
    main, rest = w_rec.main[0], None if w_rec.rest is None else w_rec.rest[0]
    for part in plan.parts(most_rows(size, project.rows)):
        project(rows_x[part.rows], out=hs.values[None, part.rows])
        views = [room.views(part, 0, seen) for seen in (w_rec.seen, w_rec.rest_of, None)]
        for h, h_new, into, into_rest, product in plan.walk(part, (hs,), views):
            matmul(h, main, out=into)  # into the product (n, H)
            if rest is not None:
                matmul(h, rest, out=into_rest)
            add(h_new, product, out=h_new)
            if nonlinearity == "tanh":
                tanh(h_new, out=h_new)
            else:
                maximum(h_new, zero, out=h_new)
    y = hs.values.reshape(*x.shape[:-1], size)
    return (y, hs.final()), Residual(plan, nonlinearity, hs.values, hs.earlier) if save else None


def restore(
    y: Array,
    x: Array,
    h0: Array,
    *weights: Array | None,
    nonlinearity: str = "tanh",
    sizes: Sequence[int] | None = None,
    reverse: bool = False,
) -> Residual:
    """The residual of a run forward that gave ``y``: the states are all that there is to it."""
    plan = Plan.of(x, h0, sizes, reverse)
    hs = Trail(plan, h0)
    hs.values[:] = y.reshape(plan.rows, h0.shape[1])
    if plan.packed:
        for _ in plan.walk(Part(0, plan.steps, slice(0, plan.rows)), (hs,), []):
            pass  # the walk itself notes what was before each visit
    return Residual(plan, nonlinearity, hs.values, hs.earlier)


def backward(
    gs: Sequence[Array | None],
    residual: Residual,
    x: Array,
    h0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    needs: Sequence[bool],
) -> list[Array | None]:
    """The gradients of x, h0, w_ih, w_hh, b_ih, b_hh for those of (y, h_n).

    Args:
        gs: cotangents of the outputs; None where there is none.
        needs: which of the six gradients are wanted; the others come back as None.
    """
    xp = array_module(x)
    plan, size = residual.plan, h0.shape[1]
    dy, dh_n = gs
    dh0 = xp.zeros(h0.shape, x.dtype) if dh_n is None else dh_n.copy()  # (N, H), carried from step to step
    dz = aligned_empty((plan.rows, size), x)  # (S, H): first the slopes, then times dh
    w_rec = Columns([w_hh], plan.batch, products=plan.steps)
    heads = plan.heads(dh0)
    lists = (heads, *([seen(head) for head in heads] for seen in (w_rec.seen, w_rec.rest_of)), plan.terms(dy))
    matmul, add, multiply, tanh = xp.matmul, xp.add, xp.multiply, residual.nonlinearity == "tanh"
    main, rest = w_rec.main[0], None if w_rec.rest is None else w_rec.rest[0]

    for part in reversed(plan.parts(most_rows(size))):
        rows = part.rows
        if tanh:
            one_minus_square(residual.values[rows], out=dz[rows])
        else:
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
    d_bias = bias_gradient(dz) if needs[4] or needs[5] else None
    return [
        input_gradient(dz, w_ih).reshape(x.shape) if needs[0] else None,
        dh0 if needs[1] else None,
        weight_gradient(dz, rows_x) if needs[2] else None,
        weight_gradient(dz, residual.earlier) if needs[3] else None,
        d_bias if needs[4] else None,
        d_bias.copy() if d_bias is not None and needs[5] else None,
    ]

r"""Write the vjp of broadcasting.

In x + b with x of shape (3, 4) and b of shape (4,), NumPy uses each entry of b three times: once in
every row. The stretching alone is an operation of its own:

    y = np.broadcast_to(x, shape)

It lines both shapes up at their last axis. Axes that x lacks are put in front; axes of size 1 are
repeated. So one entry of x is used in many places of y. You are given g = dL/dy, whose shape is
that of y, and the shape that x had. Return dx, of exactly that shape.

What an entry of x gets is the sum of what its uses contribute. For example, x of shape (3,)
stretched to (2, 3):

    broadcast_vjp(g=[[1., 2., 3.], [10., 20., 30.]], shape=(3,))   gives   [11., 22., 33.]

and the same g with shape (2, 1) gives [[6.], [60.]]. The gradient of a bias is computed like this:
it is used once for every row of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    6,
    "The vjp of broadcasting",
    unit=1,
    returns=["dx"],
    hints=[
        "Which entries of y hold a copy of one entry of x? Those are its uses.",
        "Sum over the axes in front that x does not have, then over each axis where x has size 1 and g has more.",
        "g.sum(axis=k, keepdims=True) keeps an axis of size 1; in front, without keepdims, the axis is gone.",
    ],
)
def broadcast_vjp(g: Array, shape: tuple[int, ...]) -> Array:
    """Return dx of the given shape, where y = np.broadcast_to(x, g.shape) and g = dL/dy."""
    g = g.sum(tuple(range(g.ndim - len(shape))))
    for axis, size in enumerate(shape):
        if size == 1:
            g = g.sum(axis, keepdims=True)
    return np.asarray(g)


@broadcast_vjp.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Axes in front, axes of size 1, both, neither."""
    yield np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]), (3,)
    yield np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]), (2, 1)
    for large, small in [((2, 3), ()), ((2, 3), (1, 3)), ((2, 3), (2, 3)), ((4, 2, 3), (3,)), ((4, 2, 3), (2, 1))]:
        yield rng.normal(size=large), small
    yield rng.normal(size=(4, 2, 3)), (4, 1, 1)
    yield rng.normal(size=(2, 2, 2)), (1, 2)


@broadcast_vjp.mistake("it is not summed over the broadcast axes")
def not_summed(g: Array, shape: tuple[int, ...]) -> Array:
    """dx has an entry for every use of x, and x has one entry for all of them."""
    return g * 1


@broadcast_vjp.mistake("it is the mean over the uses, not the sum")
def mean(g: Array, shape: tuple[int, ...]) -> Array:
    """Every use contributes whole. Ten uses have ten times the effect of one."""
    return np.asarray(broadcast_vjp.solution(g, shape) / (g.size / max(1, int(np.prod(shape)))))


@broadcast_vjp.mistake("only one use is counted")
def first(g: Array, shape: tuple[int, ...]) -> Array:
    """One copy of each entry was taken, and the others contribute, too."""
    g = g[(0,) * (g.ndim - len(shape))]
    for axis, size in enumerate(shape):
        if size == 1:
            g = np.take(g, [0], axis)
    return np.asarray(g)


@broadcast_vjp.mistake("axes of size 1 are not summed")
def front_only(g: Array, shape: tuple[int, ...]) -> Array:
    """The axes in front are summed, but an axis of size 1 was stretched as well."""
    return np.asarray(g.sum(tuple(range(g.ndim - len(shape)))))


@broadcast_vjp.mistake("axes of size 1 are lost")
def not_kept(g: Array, shape: tuple[int, ...]) -> Array:
    """It is summed over an axis of size 1, and that axis has to stay, with size 1."""
    front = g.ndim - len(shape)
    return np.asarray(g.sum((*range(front), *(front + k for k, n in enumerate(shape) if n == 1))))


@broadcast_vjp.mistake("shapes are lined up at the first axis")
def at_the_first(g: Array, shape: tuple[int, ...]) -> Array:
    """NumPy lines shapes up at their last axis: what is missing is in front."""
    g = g.sum(tuple(range(len(shape), g.ndim)))
    for axis, size in enumerate(shape):
        if size == 1:
            g = g.sum(axis, keepdims=True)
    return np.asarray(g)


@broadcast_vjp.mistake("the first axis is summed, whatever the shape was")
def first_axis(g: Array, shape: tuple[int, ...]) -> Array:
    """Which axes are summed is told by the shape that x had: those that it lacked, and those where it had size 1."""
    return np.asarray(g.sum(0))

r"""Write the vjp of a sum along an axis.

    y = x.sum(axis)          axis is a number, or None for the sum of all entries

y has one axis less than x (or is a single number), and so has the cotangent g = dL/dy. Return dx =
dL/dx, which has the shape of x. Each entry of x is a term of exactly one sum; when it changes by a
little, that sum changes by the same.

For example, for x of shape (2, 3) and axis 0, y has three entries, and g = [1., 2., 3.] gives

    dx = [[1., 2., 3.],
          [1., 2., 3.]]

With axis 1 y has two entries, and g = [1., 2.] gives [[1., 1., 1.], [2., 2., 2.]].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    5,
    "The vjp of a sum",
    unit=1,
    returns=["dx"],
    hints=[
        "Nothing is computed here: each entry of dx is one of the entries of g. Which one?",
        "The axis that the sum removed has to come back: np.expand_dims puts in an axis of size 1.",
        "After np.expand_dims(g, axis) the rest is np.broadcast_to(..., x.shape); for axis None g is one number.",
    ],
)
def sum_vjp(g: Array, x: Array, axis: int | None) -> Array:
    """Return dx of the shape of x, where y = x.sum(axis) and g = dL/dy has the shape of y."""
    g = np.asarray(g)
    return np.broadcast_to(g if axis is None else np.expand_dims(g, axis), x.shape) * 1.0


@sum_vjp.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Squares first, where a wrong axis does not show in the shape; then all axes, and none."""
    yield np.array([1.0, 2.0]), np.zeros((2, 2)), 0
    yield np.array([1.0, 2.0]), np.zeros((2, 2)), 1
    for shape in [(3,), (3, 3), (2, 3), (2, 3, 2)]:
        x = rng.normal(size=shape)
        for axis in [None, *range(x.ndim)]:
            yield rng.normal(size=x.sum(axis).shape), x, axis


@sum_vjp.mistake("it is the vjp of the mean")
def of_mean(g: Array, x: Array, axis: int | None) -> Array:
    """g was divided by the number of terms. In a sum each term counts whole."""
    return sum_vjp.solution(g, x, axis) / (x.size if axis is None else x.shape[axis])  # type: ignore[no-any-return]


@sum_vjp.mistake("g is spread along the wrong axis")
def wrong_axis(g: Array, x: Array, axis: int | None) -> Array:
    """NumPy lines shapes up at their last axis; the axis that the sum removed may be another one."""
    return np.broadcast_to(g, x.shape) * 1.0


@sum_vjp.mistake("dx has the shape of y")
def not_spread(g: Array, x: Array, axis: int | None) -> Array:
    """dx needs an entry for each entry of x, and this has one for each sum."""
    return np.asarray(g) * 1.0


@sum_vjp.mistake("the cotangent is missing")
def ones(g: Array, x: Array, axis: int | None) -> Array:
    """All slopes are 1, but L changes with each of the sums as g says."""
    return np.ones(x.shape)


@sum_vjp.mistake("the terms are treated as factors")
def times_x(g: Array, x: Array, axis: int | None) -> Array:
    """What x is does not matter to how the sum changes."""
    return sum_vjp.solution(g, x, axis) * x  # type: ignore[no-any-return]


@sum_vjp.mistake("the cotangents are summed")
def summed(g: Array, x: Array, axis: int | None) -> Array:
    """Each entry of x is in one of the sums only, and gets the cotangent of that one."""
    return np.full(x.shape, np.sum(g))

r"""Write the vjp of softmax.

    y[i] = exp(x[i]) / sum over j of exp(x[j])

along the last axis of x: each row becomes positive numbers that add up to 1. Here, for the first
time, every entry of y depends on every entry of x in its row, so each x[i] is used in all of them:

    dy[j]/dx[i] = y[j] * (1 if i == j else 0) - y[j] * y[i]

Given g = dL/dy, return dx = dL/dx, of the same shape. The sum over the uses,

    dx[i] = sum over j of g[j] * dy[j]/dx[i]

becomes short when you put the derivative in: no matrix is needed. For example, for x = [0., 0.] we
have y = [.5, .5], and g = [4., 0.] gives [1., -1.].

Two things to see afterwards: if all entries of g in a row are equal, dx is 0 there, because the y
add up to 1 whatever x is. And exp(1000) overflows; softmax does not change when the same number is
subtracted from a whole row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    8,
    "The vjp of softmax",
    unit=1,
    returns=["dx"],
    hints=[
        "Put the derivative into the sum, and take apart the two terms: the first has only j = i left.",
        "The second term contains sum over j of g[j] * y[j]: one number for each row, the same for all i.",
        "dx = y * (g - s), with s = (g * y).sum(axis=-1, keepdims=True); subtract the largest x of a row before exp.",
    ],
)
def softmax_vjp(g: Array, x: Array) -> Array:
    """Return dx, where y = softmax(x) along the last axis and g = dL/dy; all of one shape."""
    e = np.exp(x - x.max(-1, keepdims=True))
    y = e / e.sum(-1, keepdims=True)
    return np.asarray(y * (g - (g * y).sum(-1, keepdims=True)))


def softmax(x: Array) -> Array:
    """What the mistakes below share."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


@softmax_vjp.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One row, several, one entry, and large numbers."""
    yield np.array([4.0, 0.0]), np.array([0.0, 0.0])
    for shape in [(2,), (3,), (3, 3), (2, 4), (2, 3, 2), (2, 1)]:
        yield rng.normal(size=shape), rng.normal(size=shape)
    yield rng.normal(size=(2, 3)), np.array([[1000.0, 999.0, 0.0], [-1000.0, -1000.5, -2000.0]])


@softmax_vjp.mistake("every entry is treated as if it stood alone")
def alone(g: Array, x: Array) -> Array:
    """Only y[i] was seen to depend on x[i]. The others of the row depend on it, too, because it is in their sum."""
    y = softmax(x)
    return np.asarray(g * y * (1 - y))


@softmax_vjp.mistake("the sum below the fraction is forgotten")
def no_sum(g: Array, x: Array) -> Array:
    """It is differentiated as if the sum did not change with x."""
    return np.asarray(g * softmax(x))


@softmax_vjp.mistake("the sum goes over all rows")
def all_rows(g: Array, x: Array) -> Array:
    """Rows have nothing to do with each other: the sum is one number for each row."""
    y = softmax(x)
    return np.asarray(y * (g - (g * y).sum()))


@softmax_vjp.mistake("g is summed without weights")
def unweighted(g: Array, x: Array) -> Array:
    """In the second term each g[j] comes with its y[j]."""
    y = softmax(x)
    return np.asarray(y * (g - g.sum(-1, keepdims=True)))


@softmax_vjp.mistake("the second term lacks its factor y[i]")
def no_factor(g: Array, x: Array) -> Array:
    """Both terms of the derivative contain the y of the entry itself."""
    y = softmax(x)
    return np.asarray(g * y - (g * y).sum(-1, keepdims=True))


@softmax_vjp.mistake("x stands where y belongs")
def of_x(g: Array, x: Array) -> Array:
    """The slopes are told by the results, not by what went in."""
    return np.asarray(x * (g - (g * x).sum(-1, keepdims=True)))


@softmax_vjp.mistake("it is the vjp of log softmax")
def of_log(g: Array, x: Array) -> Array:
    """This would be right if y were the logarithm of the softmax."""
    return np.asarray(g - softmax(x) * g.sum(-1, keepdims=True))


@softmax_vjp.mistake("the cotangent is missing")
def no_cotangent(g: Array, x: Array) -> Array:
    """How L changes with each y has to come in; with all entries of g equal to 1 nothing would be left."""
    y = softmax(x)
    return np.asarray(y * (1 - y))

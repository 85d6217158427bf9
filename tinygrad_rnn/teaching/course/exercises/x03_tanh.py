r"""Write the vjp of tanh.

A *vjp* (vector-Jacobian product) answers one question. The program went on with y = tanh(x) and in the end computed
one number L. You are told how L changes with y, entry by entry:

    g = dL/dy            of the shape of y

and you say how L changes with x:

    dx = dL/dx           of the shape of x

tanh works on each entry alone, so entry i of dx depends on entry i of g and of x alone.

For example, at x = 0 the slope of tanh is 1: what comes in goes out.

    tanh_vjp(np.array([5.0]), np.array([0.0]))   gives   [5.]

g is called the *cotangent* of y. Everything in this course, up to backpropagation through an LSTM, is made of functions
like this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    3,
    "The vjp of tanh",
    unit=1,
    returns=["dx"],
    hints=[
        "The derivative of tanh can be written with tanh itself. Differentiate sinh(x) / cosh(x) by the quotient rule.",
        "With y = tanh(x) the slope is one minus the square of something that you have.",
        "By the chain rule dL/dx = dL/dy * dy/dx, entry by entry; dL/dy is given to you as g.",
    ],
)
def tanh_vjp(g: Array, x: Array) -> Array:
    """Return dx, where y = tanh(x) and g = dL/dy; all three have one shape."""
    y = np.tanh(x)
    return np.asarray(g * (1 - y * y))


@tanh_vjp.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Numbers, vectors, matrices; entries where tanh is flat."""
    for shape in [(1,), (1,), (2,), (3,), (2, 3), (3, 2), (2, 3, 4), (0,)]:
        yield rng.normal(size=shape), rng.normal(size=shape)
    yield rng.normal(size=4), np.array([-30.0, 0.0, 5.0, 400.0])


@tanh_vjp.mistake("the cotangent is missing")
def no_cotangent(g: Array, x: Array) -> Array:
    """It is dy/dx alone. How L changes with y, which is g, has to come in."""
    return np.asarray(1 - np.tanh(x) ** 2)


@tanh_vjp.mistake("x stands where y belongs")
def of_x(g: Array, x: Array) -> Array:
    """The slope was computed from x as if it were y = tanh(x)."""
    return np.asarray(g * (1 - x * x))


@tanh_vjp.mistake("the square is missing")
def no_square(g: Array, x: Array) -> Array:
    """The slope contains y, and there it belongs to the power two."""
    return np.asarray(g * (1 - np.tanh(x)))


@tanh_vjp.mistake("it is the slope of the sigmoid")
def of_sigmoid(g: Array, x: Array) -> Array:
    """y (1 - y) is the slope of the sigmoid, whose values lie between 0 and 1; those of tanh do not."""
    y = np.tanh(x)
    return np.asarray(g * y * (1 - y))


@tanh_vjp.mistake("g is taken for x")
def swapped(g: Array, x: Array) -> Array:
    """The two arguments changed places: the first is the cotangent, the second is x."""
    return np.asarray(x * (1 - np.tanh(g) ** 2))


@tanh_vjp.mistake("it is the value, not the derivative")
def value(g: Array, x: Array) -> Array:
    """tanh(x) itself came in where its slope belongs."""
    return np.asarray(g * np.tanh(x))

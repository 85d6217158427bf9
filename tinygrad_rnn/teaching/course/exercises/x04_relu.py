r"""Write the vjp of relu.

    y = relu(x) = x where x > 0, and 0 elsewhere

With g = dL/dy given, return dx = dL/dx. All three have one shape, and as for tanh each entry stands
alone.

relu has a corner at x = 0: it has no derivative there. An engine has to return something all the
same, and everybody has agreed on

    the slope of relu at 0 is 0

For example, relu_vjp(g=[5., 5., 5.], x=[-2., 0., 3.]) gives [0., 0., 5.]. A function that is right
everywhere except at the corner looks right in every random test, because random numbers are never
exactly 0; values behind another relu often are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    4,
    "The vjp of relu",
    unit=1,
    returns=["dx"],
    hints=[
        "Where x is positive, y is x: what is its slope there? Where x is negative, y is always 0: what is its slope?",
        "x > 0 is an array of True and False, and multiplied by numbers these count as 1 and 0.",
        "Let g pass where x > 0, and nothing elsewhere; look at what your comparison says of 0.",
    ],
)
def relu_vjp(g: Array, x: Array) -> Array:
    """Return dx, where y = relu(x) and g = dL/dy; all three have one shape."""
    return np.asarray(g * (x > 0))


@relu_vjp.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Both sides, then the corner."""
    yield np.array([5.0, 7.0]), np.array([-2.0, 3.0])
    for shape in [(3,), (2, 3), (2, 3, 4), (0,)]:
        yield rng.normal(size=shape), rng.normal(size=shape)
    yield np.array([5.0, 5.0, 5.0]), np.array([-2.0, 0.0, 3.0])
    yield rng.normal(size=(3, 2)), np.maximum(rng.normal(size=(3, 2)), 0)


@relu_vjp.mistake("it is wrong at the corner only: there it passes g")
def passes_at_zero(g: Array, x: Array) -> Array:
    """At x = 0 exactly the slope was agreed to be 0, and yours is 1."""
    return np.asarray(g * (x >= 0))


@relu_vjp.mistake("it is wrong at the corner only: there it passes half of g")
def half_at_zero(g: Array, x: Array) -> Array:
    """At x = 0 exactly the slope was agreed to be 0. The mean of both sides is a choice, but not this one."""
    return np.asarray(g * (np.sign(x) + 1) / 2)


@relu_vjp.mistake("relu is applied to the cotangent")
def of_g(g: Array, x: Array) -> Array:
    """Whether g is positive does not matter: x decides what passes."""
    return np.maximum(g, 0)


@relu_vjp.mistake("it is the value, not the slope")
def value(g: Array, x: Array) -> Array:
    """relu(x) itself came in where its slope belongs."""
    return np.asarray(g * np.maximum(x, 0))


@relu_vjp.mistake("the cotangent is missing")
def no_cotangent(g: Array, x: Array) -> Array:
    """This is the slope of y alone; how L changes with y has to come in."""
    return np.asarray((x > 0) * 1.0)


@relu_vjp.mistake("the wrong side passes")
def other_side(g: Array, x: Array) -> Array:
    """Where x is negative y stays 0, so L cannot change through it."""
    return np.asarray(g * (x < 0))


@relu_vjp.mistake("everything passes")
def identity(g: Array, x: Array) -> Array:
    """Where relu cuts off, y stays 0 when x changes a little."""
    return g * 1


@relu_vjp.mistake("it is relu itself, not its vjp")
def relu_itself(g: Array, x: Array) -> Array:
    """That is how y is computed; asked for is how L changes with x, which is made of g."""
    return np.where(x > 0, x, 0.0)

r"""Write the vjp of y = a * b + c.

In exercise 1 you found how y changes with x. An engine asks a slightly different question, and asks
it of every operation. The program went on with y and in the end computed one number L. You are told
how L changes with y, entry by entry,

    g = dL/dy            of the shape of y, called the *cotangent* of y

and you say how L changes with what y was made from:

    da = dL/da,   db = dL/db,   dc = dL/dc

A function that does this is called a *vjp* (vector-Jacobian product). Note what it does not need:
it does not know L, nor what the program did after y. All of that is in g.

a, b, c and g are arrays of one shape, and everything is done entry by entry. For example, with one
entry each,

    add_mul_vjp(g=[10.], a=[2.], b=[3.], c=[4.])   gives   da = [30.], db = [20.], dc = [10.]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    2,
    "The vjp of a sum and a product",
    unit=1,
    returns=["da", "db", "dc"],
    hints=[
        "First without g: how does y change when only a changes a little? Only b? Only c?",
        "By the chain rule each of these slopes is multiplied by how L changes with y, which is g.",
        "y changes b times as much as a does, so L changes g * b times as much.",
    ],
)
def add_mul_vjp(g: Array, a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """Return (da, db, dc), where y = a * b + c and g = dL/dy; all of one shape."""
    return g * b, g * a, g * 1


@add_mul_vjp.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One number each, then arrays."""
    yield tuple(np.array([k]) for k in (10.0, 2.0, 3.0, 4.0))
    for shape in [(1,), (3,), (2, 3), (2, 1, 4), (0,)]:
        yield tuple(rng.normal(size=shape) for _ in range(4))


@add_mul_vjp.mistake("the cotangent is missing")
def no_cotangent(g: Array, a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """These are the slopes of y. How L changes with y, which is g, has to come in."""
    return b * 1, a * 1, np.ones_like(c)


@add_mul_vjp.mistake("a and b changed places")
def exchanged(g: Array, a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """When a changes by a little, y changes by that times something; it is not a itself."""
    return g * a, g * b, g * 1


@add_mul_vjp.mistake("c is treated as a factor")
def c_scales(g: Array, a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """c is a term of the sum: when it changes by a little, y changes by the same, whatever c is."""
    return g * b, g * a, g * c


@add_mul_vjp.mistake("the cotangent is added, not multiplied")
def added(g: Array, a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """Slopes along a way are multiplied: g says how much L changes for each little change of y."""
    return g + b, g + a, g + 1


@add_mul_vjp.mistake("the product's slope is that of a sum")
def all_sums(g: Array, a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """A change of a factor is not handed on as it is: the other factor says how much of it arrives."""
    return g * 1, g * 1, g * 1


@add_mul_vjp.mistake("c got no gradient")
def c_constant(g: Array, a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """c is added, and does not vanish for it: y changes when c does."""
    return g * b, g * a, np.zeros_like(g)

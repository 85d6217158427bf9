r"""Differentiate a small program by the chain rule.

The program has three steps, and x is used in two of them:

    u = x * x
    v = sin(u)
    y = x * v

For each step you know how its result changes with what it is made from, its *local slopes*:

    du/dx = 2 x          dv/du = cos(u)          dy/dx = v and dy/dv = x   (in the last step alone)

There are two ways from x to y. One goes through u and v, the other straight into the last step.
Along a way the local slopes are multiplied; then the ways are added:

    a value that is used in several places gets the sum of what its uses contribute

That sentence is the whole of this course. Here it has two terms.

Return y and the derivative of y with respect to x. x is an array; each entry is a program of its
own, so everything is done entry by entry with NumPy's functions (np.sin, np.cos). At x = 0 both are
0; at x = 2 they are -1.5136 and -5.9860.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    1,
    "The chain rule",
    unit=1,
    returns=["y", "slope"],
    hints=[
        "Compute u and v first, as the program does: the slopes need them.",
        "The way through u and v has three local slopes; the way straight into the last step has one.",
        "The one way contributes x * cos(u) * 2 x, the other v.",
    ],
)
def chain_rule(x: Array) -> tuple[Array, Array]:
    """Return (y, slope): y = x * sin(x * x), and its derivative with respect to x; both of the shape of x."""
    u = x * x
    v = np.sin(u)
    return x * v, v + x * np.cos(u) * 2 * x


@chain_rule.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Zero, one number, several."""
    yield (np.array([2.0]),)
    yield (np.array([0.0]),)
    for shape in [(1,), (3,), (2, 3), (0,)]:
        yield (rng.normal(size=shape),)


@chain_rule.mistake("one use of x is forgotten: the straight one")
def not_straight(x: Array) -> tuple[Array, Array]:
    """Only the way through u and v was counted, and x is also a factor of the last step."""
    u = x * x
    return x * np.sin(u), x * np.cos(u) * 2 * x


@chain_rule.mistake("one use of x is forgotten: the one in u")
def not_through_u(x: Array) -> tuple[Array, Array]:
    """Only the last step was differentiated, as if v did not depend on x."""
    v = np.sin(x * x)
    return x * v, v


@chain_rule.mistake("the inner slope is missing")
def no_inner(x: Array) -> tuple[Array, Array]:
    """On the way through u one local slope was left out: how u changes with x."""
    u = x * x
    return x * np.sin(u), np.sin(u) + x * np.cos(u)


@chain_rule.mistake("the inner slope is x, not that of x * x")
def half_inner(x: Array) -> tuple[Array, Array]:
    """In u = x * x the number x is used twice, and each use contributes."""
    u = x * x
    return x * np.sin(u), np.sin(u) + x * np.cos(u) * x


@chain_rule.mistake("the slope of the sine has a wrong sign")
def minus_cosine(x: Array) -> tuple[Array, Array]:
    """The derivative of the sine was taken for that of the cosine, which has a minus."""
    u = x * x
    return x * np.sin(u), np.sin(u) - x * np.cos(u) * 2 * x


@chain_rule.mistake("the ways are multiplied, not added")
def multiplied(x: Array) -> tuple[Array, Array]:
    """Slopes along one way are multiplied; what two ways contribute is not."""
    u = x * x
    return x * np.sin(u), np.sin(u) * x * np.cos(u) * 2 * x


@chain_rule.mistake("the cosine is taken at x, not at u")
def at_x(x: Array) -> tuple[Array, Array]:
    """A local slope is taken at what went into the step, and what went into the sine was u."""
    u = x * x
    return x * np.sin(u), np.sin(u) + x * np.cos(x) * 2 * x


@chain_rule.mistake("the slopes of the two factors are multiplied")
def of_factors(x: Array) -> tuple[Array, Array]:
    """y is a product of x and v: there are two ways to it, and each has the other factor as its slope."""
    return x * np.sin(x * x), 2 * x * np.cos(x * x)


@chain_rule.mistake("the way through v lacks the last slope, dy/dv = x")
def no_last_slope(x: Array) -> tuple[Array, Array]:
    """v is multiplied by x in the last step, so what comes by this way is multiplied by x."""
    return x * np.sin(x * x), np.sin(x * x) + 2 * x * np.cos(x * x)

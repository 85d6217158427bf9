r"""Put the values of a program in the order in which a sweep visits them.

From here on the program is not known when you write the code: you get its result, and find your way
back. Every number that a program computes is a `Value`, an object with

    node.data       the number
    node.parents    a tuple of the values that it was computed from; empty for a value that was given, a *leaf*
    node.index      a whole number: each new Value gets the next one, so it is larger than those of its parents

Return a list of all values that y was computed from, y itself and the leaves among them, each one
once, *youngest first*: by falling index. Then every value stands before everything that it was
computed from. A sweep needs exactly that: when it comes to a value, all contributions to its
gradient have arrived.

For example, the program

    a = Value(2.0); b = mul(a, a); y = add(b, a)

has the order [y, b, a]. Note that a is a parent of both, and stands at the end, once. The first
element of the list is always y. A program may have thousands of steps, one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ...engine import Value
from ..exercise import exercise
from ..graphs import CHAIN, SMALL, ran


@exercise(
    10,
    "The order of visits",
    unit=2,
    returns=["indices"],
    hints=[
        "First collect, then sort. To collect: keep a list of values that wait to be looked at; it begins with y.",
        "Take one from the waiting list; if you have not met it, note it down and let its parents wait.",
        "Note values down in a dictionary by their index, and return those of sorted(dictionary, reverse=True).",
    ],
)
def order(y: Value) -> list[Value]:
    """Return all values that y was computed from, itself and leaves too, each once, by falling index."""
    met: dict[int, Value] = {}
    waiting = [y]
    while waiting:
        node = waiting.pop()
        if node.index not in met:
            met[node.index] = node
            waiting += node.parents
    return [met[index] for index in sorted(met, reverse=True)]


@order.observed
def numbered(answer: Callable[[Value], list[Value]], program: str) -> Array:
    """The places of the values that are returned, counted from the oldest value of the program."""
    y, values = ran(program)
    places = {value.index: place for place, value in enumerate(values)}
    return np.array([places[value.index] for value in answer(y)], int)


@order.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Leaves, diamonds, what is not on the way, and a chain that is too long for recursion."""
    for program in SMALL:
        yield (program,)
    yield ("a = Value(1.0); b = tanh(a); c = tanh(a); other = mul(b, c); d = mul(c, b); y = add(d, a)",)
    yield (CHAIN,)


def walked(y: Value, take: int) -> list[Value]:
    """What is waiting is taken from one end of the list."""
    found: list[Value] = []
    waiting = [y]
    while waiting:
        node = waiting.pop(take)
        if node not in found:
            found.append(node)
            waiting += node.parents
    return found


@order.mistake("values stand in the order in which they are reached, level by level")
def breadth_first(y: Value) -> list[Value]:
    """A value that is used late and early is reached by its late use, before others that it contributes through."""
    return walked(y, 0)


@order.mistake("the value that was reached last is visited next")
def depth_first(y: Value) -> list[Value]:
    """One branch is followed to the leaves while a value on it still waits for contributions from another."""
    return walked(y, -1)


@order.mistake("it is the order of computing, oldest first")
def oldest_first(y: Value) -> list[Value]:
    """The way back begins at the result."""
    return order.solution(y)[::-1]  # type: ignore[no-any-return]


@order.mistake("values that are used twice stand there twice")
def repeated(y: Value) -> list[Value]:
    """A value was noted down for each of its uses."""
    if y.index > 2000 + min(v.index for v in order.solution(y)):
        raise RecursionError
    found, waiting = [y], [y]
    while waiting:
        parents = waiting.pop().parents
        found += parents
        waiting += parents
    return sorted(found, key=lambda value: -value.index)


@order.mistake("y itself is missing")
def without_y(y: Value) -> list[Value]:
    """The result is a value as well: the sweep begins there."""
    return order.solution(y)[1:]  # type: ignore[no-any-return]


@order.mistake("the leaves are missing")
def without_leaves(y: Value) -> list[Value]:
    """Leaves have no parents to go on to, but it is their gradient that is wanted."""
    return [value for value in order.solution(y) if value.parents]


@order.mistake("it calls itself for every value")
def recursive(y: Value) -> list[Value]:
    """Python allows some thousand calls inside each other, and a program has more steps."""

    def reached(node: Value) -> set[Value]:
        return {node}.union(*map(reached, node.parents))

    return sorted(reached(y), key=lambda value: -value.index)

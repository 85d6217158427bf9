r"""Write the whole sweep: every value visited once, however the program looks.

Now without `order`: `backward(y)` as in exercise 11, from nothing. Two things are watched besides
the gradients.

*How often vjps are called.* In

    a = Value(1.1)
    for _ in range(20):
        a = mul(a, a)

there are a million ways from the last value to the first, and twenty steps. Who goes each way by
itself gets the right number after a million visits. A sweep waits until everything has arrived at a
value and then visits it once: two calls of vjps for each step, one for each parent.

*Long programs.* A chain of some thousand steps must not be too much.

A second backward from the same y gives every leaf the same once more: after two of them .grad is
twice the gradient. What the first one noted down in between must be gone by then.

Values are as before: .data, .parents, .vjps, .grad, .index, and all numbers are floats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ...engine import Value
from ..exercise import exercise
from ..graphs import CHAIN, SMALL, counted_after


@exercise(
    12,
    "The sweep",
    unit=2,
    returns=["grads", "calls"],
    hints=[
        "Exercise 10 collects and sorts, exercise 11 adds up. Put them together.",
        "What has arrived at inner values belongs in a dictionary inside the function, not into .grad.",
        "By falling index: g = totals[node.index]; a leaf adds g to .grad; else each parent's total grows.",
    ],
)
def backward(y: Value) -> None:
    """Add to the .grad of every leaf the derivative of the number y with respect to it; call every vjp once."""
    met, waiting = {y.index: y}, [y]
    while waiting:
        for parent in waiting.pop().parents:
            if parent.index not in met:
                met[parent.index] = parent
                waiting.append(parent)
    totals = {y.index: 1.0}
    for index in sorted(met, reverse=True):
        node, g = met[index], totals[index]
        if not node.parents:
            node.grad = g if node.grad is None else node.grad + g
        for parent, vjp in zip(node.parents, node.vjps or (), strict=True):
            totals[parent.index] = totals.get(parent.index, 0.0) + vjp(g)


@backward.observed
def counted(answer: Callable[[Value], None], program: str, times: int) -> tuple[Array, int]:
    """The gradients of the leaves after some backwards, and how often vjps were called."""
    return counted_after(answer, program, times)


@backward.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Small programs, once and twice; a ladder of squares; a chain too long for recursion."""
    for program in SMALL:
        yield program, 1
    yield "a = Value(3.0); b = mul(a, a); y = mul(b, a)", 2
    yield "a = Value(1.1); y = a\nfor _ in range(8):\n    y = mul(y, y)", 1
    yield "a = Value(0.5); b = tanh(a); c = mul(b, a); d = mul(c, b); y = add(d, b)", 2
    yield CHAIN, 1


@backward.mistake("every way is gone by itself")
def every_way(y: Value) -> None:
    """The gradients are right and the calls are far too many: a value is visited once for each way to it."""
    waiting = [(y, 1.0)]
    while waiting:
        node, g = waiting.pop()
        if not node.parents:
            node.grad = g + (node.grad or 0.0)
        waiting += [(p, vjp(g)) for p, vjp in zip(node.parents, node.vjps or (), strict=True)]


@backward.mistake("it calls itself for every value")
def recursive(y: Value) -> None:
    """Python allows some thousand calls inside each other, and a program has more steps."""
    topological: list[Value] = []

    def visit(node: Value) -> None:
        if node not in topological:
            for parent in node.parents:
                visit(parent)
            topological.append(node)

    visit(y)
    totals = {y.index: 1.0}
    for node in reversed(topological):
        if not node.parents:
            node.grad = totals[node.index] + (node.grad or 0.0)
        for parent, vjp in zip(node.parents, node.vjps or (), strict=True):
            totals[parent.index] = totals.get(parent.index, 0.0) + vjp(totals[node.index])


def as_reached(y: Value, take: int) -> None:
    """A sweep that visits a value as soon as it is reached, and once."""
    totals, waiting, done = {y.index: 1.0}, [y], set()
    while waiting:
        node = waiting.pop(take)
        if node.index in done:
            continue
        done.add(node.index)
        g = totals[node.index]
        if not node.parents:
            node.grad = g + (node.grad or 0.0)
        for parent, vjp in zip(node.parents, node.vjps or (), strict=True):
            totals[parent.index] = totals.get(parent.index, 0.0) + vjp(g)
            waiting.append(parent)


@backward.mistake("values are visited before everything has arrived, level by level")
def level_by_level(y: Value) -> None:
    """A value with a short and a long way to it was visited when the short one had arrived."""
    as_reached(y, 0)


@backward.mistake("values are visited before everything has arrived, one branch after the other")
def branch_by_branch(y: Value) -> None:
    """A branch was followed to its end, and what another branch contributes came too late."""
    as_reached(y, -1)


def kept(y: Value, add: bool) -> None:
    """The totals are kept in .grad, of inner values too."""
    values = {y.index: y}
    waiting = [y]
    while waiting:
        for parent in waiting.pop().parents:
            if parent.index not in values:
                values[parent.index] = parent
                waiting.append(parent)
    y.grad = 1.0 + (y.grad or 0.0) * add
    for index in sorted(values, reverse=True):
        node = values[index]
        for parent, vjp in zip(node.parents, node.vjps or (), strict=True):
            parent.grad = (parent.grad or 0.0) + vjp(node.grad)


@backward.mistake("what inner values got is still there at the second backward")
def keeps_totals(y: Value) -> None:
    """The first backward left sums at inner values, and the second one added to them: 18 where 12 is right, say."""
    kept(y, True)


@backward.mistake("a contribution overwrites what arrived before")
def overwrites(y: Value) -> None:
    """A value that is used twice keeps the contribution of one use."""
    values, waiting = {y.index: y}, [y]
    while waiting:
        for parent in waiting.pop().parents:
            if parent.index not in values:
                values[parent.index] = parent
                waiting.append(parent)
    totals = {y.index: 1.0}
    for index in sorted(values, reverse=True):
        node = values[index]
        if not node.parents:
            node.grad = totals[index] + (node.grad or 0.0)
        for parent, vjp in zip(node.parents, node.vjps or (), strict=True):
            totals[parent.index] = vjp(totals[index])

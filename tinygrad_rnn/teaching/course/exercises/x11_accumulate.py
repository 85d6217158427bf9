r"""Walk back through a program and add up what arrives.

You have the order of visits from exercise 10, as the function `order`. A Value has one thing more
that you need:

    node.vjps       one function for each parent: vjp(g) is what this use of the parent contributes to the parent's
                    gradient, if g is the gradient of the node
    node.grad       None in the beginning

The numbers are plain floats here. Write `backward(y)`, which gives every leaf its gradient:

- The gradient of y with respect to itself is 1.
- Visit the values in order. At each, what has arrived is complete: it is the gradient of the node.
- Every parent gets a contribution: the vjp applied to the gradient of the node. Contributions to one value are *added*.
- At a leaf, add the gradient to what .grad holds already: it may hold that of an earlier backward, of another result.
  None counts as nothing.

It returns nothing. For example, after

    a = Value(3.0); y = mul(a, a); backward(y)

a.grad is 6.0: the value is used twice, and each use contributes 3.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ...engine import Value
from ..exercise import exercise
from ..graphs import SMALL, gradients_after


def order(y: Value) -> list[Value]:
    """All values that y was computed from, itself and leaves too, each once, by falling index."""
    met = {}
    waiting = [y]
    while waiting:
        node = waiting.pop()
        if node.index not in met:
            met[node.index] = node
            waiting += node.parents
    return [met[index] for index in sorted(met, reverse=True)]


@exercise(
    11,
    "The sum of contributions",
    unit=2,
    returns=["grads"],
    hints=[
        "Keep a dictionary of what has arrived so far at each value, by index; it begins with 1.0 for y.",
        "zip(node.parents, node.vjps) gives each parent with its vjp; a parent may come twice in it.",
        "totals[p.index] = totals.get(p.index, 0.0) + vjp(g); at a leaf: None or a number in .grad, and add g.",
    ],
    given=[order],
)
def backward(y: Value) -> None:
    """Add to the .grad of every leaf the derivative of the number y with respect to it."""
    totals = {y.index: 1.0}
    for node in order(y):
        g = totals[node.index]
        if not node.parents:
            node.grad = g if node.grad is None else node.grad + g
        for parent, vjp in zip(node.parents, node.vjps or (), strict=True):
            totals[parent.index] = totals.get(parent.index, 0.0) + vjp(g)


@backward.observed
def gradients(answer: Callable[[Value], None], program: str) -> Array:
    """The gradients of the leaves, in the order in which they were made; nan where there is none."""
    return gradients_after(answer, program)


@backward.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Small programs, diamonds, and two results that are gone back from, one after the other."""
    for program in SMALL:
        yield (program,)
    yield ("a = Value(2.0); b = mul(a, a); c = mul(b, b); d = mul(b, c); y = mul(d, a)",)
    yield ("a = Value(3.0); b = Value(2.0); z = mul(a, b); y = mul(a, a)",)
    yield ("w = Value(0.5); h = Value(1.0); x = h\nfor _ in range(3):\n    h = tanh(add(mul(w, h), x))\ny = mul(h, h)",)


def swept(y: Value, add: bool = True, chain: bool = True, keep: bool = True, start: float = 1.0) -> None:
    """The sweep, with one thing done otherwise."""
    totals = {y.index: start}
    for node in order(y):
        g = totals[node.index]
        if not node.parents:
            node.grad = g + (node.grad or 0.0) * keep
        for parent, vjp in zip(node.parents, node.vjps or (), strict=True):
            contribution = vjp(g if chain else 1.0)
            totals[parent.index] = totals.get(parent.index, 0.0) * add + contribution


@backward.mistake("a contribution overwrites what arrived before")
def overwrites(y: Value) -> None:
    """A value that is used twice keeps the contribution of one use."""
    swept(y, add=False)


@backward.mistake("the vjps are not given the gradient of the node")
def slopes_alone(y: Value) -> None:
    """Slopes along a way are multiplied: a vjp is applied to what has arrived at the node."""
    swept(y, chain=False)


@backward.mistake("an earlier gradient is overwritten")
def forgets(y: Value) -> None:
    """The second result's backward replaced what the first had left in .grad."""
    swept(y, keep=False)


@backward.mistake("the sweep begins with 0")
def begins_with_zero(y: Value) -> None:
    """y changes by 1 when y changes by 1. From 0 nothing can come."""
    swept(y, start=0.0)


@backward.mistake("the sweep begins with the value of y")
def begins_with_y(y: Value) -> None:
    """The derivative of y with respect to itself does not depend on how large y is."""
    swept(y, start=y.data)


@backward.mistake("a parent that is used twice by one step gets one contribution")
def once_per_step(y: Value) -> None:
    """In mul(a, a) the value a is a parent twice, with a vjp for each."""
    totals = {y.index: 1.0}
    for node in order(y):
        g = totals[node.index]
        if not node.parents:
            node.grad = g + (node.grad or 0.0)
        for parent, vjp in dict(zip(node.parents, node.vjps or (), strict=True)).items():
            totals[parent.index] = totals.get(parent.index, 0.0) + vjp(g)


@backward.mistake("only the first parent gets a contribution")
def first_parent(y: Value) -> None:
    """A step has as many vjps as parents."""
    totals = {y.index: 1.0}
    for node in order(y):
        g = totals.get(node.index, 0.0)
        if not node.parents:
            node.grad = g + (node.grad or 0.0)
        else:
            parent, vjp = node.parents[0], (node.vjps or ())[0]
            totals[parent.index] = totals.get(parent.index, 0.0) + vjp(g)

"""The engine in a hundred lines: reverse-mode differentiation of numbers, vectors and matrices, in plain Python.

What ``tape/`` does for arrays, with nothing left out that decides whether a gradient is right, and everything left out
that makes it fast.  To be read from top to bottom.

>>> W, h = Value([[0.5, -1.0], [0.0, 2.0]]), Value([1.0, 0.5])
>>> for _ in range(3):
...     h = tanh(matvec(W, h))                  # one weight, used three times
>>> backward(total(h))
>>> [[round(g, 4) for g in row] for row in W.grad]          # the sum of the gradients of its three uses
[[-0.1435, 0.3498], [-0.1131, 0.0546]]
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

__all__ = ["Value", "add", "backward", "exp", "log", "matvec", "mul", "sigmoid", "tanh", "total"]

Data = Any  # a number, a list of numbers (a vector) or a list of lists (a matrix)
Vjp = Callable[[Data], Data]  # from the gradient of a result to what that contributes to the gradient of one argument
now = itertools.count().__next__


class Value:
    """A number, vector or matrix, and how it was computed: from which values, and the vjp of each."""

    def __init__(self, data: Data, parents: tuple[Value, ...] = (), vjps: tuple[Vjp, ...] = ()) -> None:
        self.data, self.parents = data, parents
        self.vjps: tuple[Vjp, ...] | None = vjps  # None once they are freed
        self.grad: Data = None  # of a leaf, which was given and not computed: the sum that backward finds
        self.index = now()  # a result is younger than what it is computed from


def each(f: Callable[..., float], *arguments: Data) -> Data:
    """``f`` of every entry; the arguments have one shape."""
    if not isinstance(arguments[0], list):
        return f(*arguments)
    return [each(f, *entries) for entries in zip(*arguments, strict=True)]


def plus(a: Data, b: Data) -> Data:
    """A new sum: what it is made of may be in use elsewhere, and stays as it is."""
    return each(lambda x, y: x + y, a, b)


def times(a: Data, b: Data) -> Data:
    """The product of each entry with its partner."""
    return each(lambda x, y: x * y, a, b)


def product(rows: Data, v: Data) -> Data:
    """The vector of the products of each row with ``v``."""
    return [sum(w * entry for w, entry in zip(row, v, strict=True)) for row in rows]


def summed(a: Data) -> float:
    """The sum of all entries."""
    return sum(map(summed, a)) if isinstance(a, list) else a


def add(a: Value, b: Value) -> Value:
    """a + b: a change of either is a change of the sum, so both get its gradient as it is."""
    return Value(plus(a.data, b.data), (a, b), (lambda g: g, lambda g: g))


def mul(a: Value, b: Value) -> Value:
    """a * b, entry by entry.  The factors are those of now: until the sweep somebody may give a and b other ones."""
    x, y = a.data, b.data
    return Value(times(x, y), (a, b), (lambda g: times(g, y), lambda g: times(g, x)))


def matvec(W: Value, x: Value) -> Value:
    """W x: the gradient of W is the outer product g x^T, that of x is W^T g."""
    rows, v = W.data, x.data
    columns = list(zip(*rows, strict=True))
    vjps = (lambda g: [[s * entry for entry in v] for s in g], lambda g: product(columns, g))
    return Value(product(rows, v), (W, x), vjps)


def elementwise(f: Callable[[float], float], slope: Callable[[float, float], float]) -> Callable[[Value], Value]:
    """The operation y = f(x) on every entry, where dy/dx = slope(x, y)."""

    def apply(a: Value) -> Value:
        x, y = a.data, each(f, a.data)
        return Value(y, (a,), (lambda g: times(g, each(slope, x, y)),))

    return apply


tanh = elementwise(math.tanh, lambda x, y: 1 - y * y)
exp = elementwise(math.exp, lambda x, y: y)
log = elementwise(math.log, lambda x, y: 1 / x)
sigmoid = elementwise(lambda x: (1 + math.tanh(x / 2)) / 2, lambda x, y: y * (1 - y))


def total(a: Value) -> Value:
    """The sum of all entries: each of them gets its gradient."""
    x = a.data
    return Value(summed(x), (a,), (lambda g: each(lambda entry: g, x),))


def backward(y: Value, retain: bool = False) -> None:
    """Add dy/dx to the gradient of every leaf x that the number ``y`` was computed from.

    Args:
        y: one number.
        retain: whether the way there may be gone again; otherwise what the vjps hold is freed.
    """
    totals: dict[int, tuple[Value, Data]] = {y.index: (y, 1.0)}
    heap = [-y.index]
    while heap:
        node, g = totals.pop(-heappop(heap))  # the youngest: every contribution to it has arrived
        if not node.parents:
            node.grad = g if node.grad is None else plus(node.grad, g)
            continue
        if node.vjps is None:
            raise RuntimeError("this way was gone before, and freed; the first time say backward(y, retain=True)")
        for parent, vjp in zip(node.parents, node.vjps, strict=True):
            contribution = vjp(g)
            if parent.index in totals:  # used more than once: its gradient is the sum over its uses
                totals[parent.index] = parent, plus(totals[parent.index][1], contribution)
            else:
                totals[parent.index] = parent, contribution
                heappush(heap, -parent.index)
        if not retain:
            node.vjps = None

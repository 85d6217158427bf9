"""Eight engines that are wrong, each by one classical mistake, and the smallest program that each gets wrong.

A mutant is ``engine.py`` with one function exchanged.

>>> for mutant in MUTANTS:
...     print(f"{mutant.name}: {mutant.mistake}")
assigns: what arrives at a value replaces what was there
depth first: the value that was reached last is visited next
visits early: values are visited in the order in which they are reached
keeps totals: sums are kept at the values, and not taken away as these are visited
adds in place: a contribution is added into the list that arrived first
reads late: the vjps of the product look at the factors when they run
recursive: a value pulls its gradient back by a call of the function itself
cuts the carry: tanh takes the numbers and leaves the history
>>> gradients(MUTANTS[0].smallest, MUTANTS[0].engine), gradients(MUTANTS[0].smallest)
({'a': 1.0}, {'a': 2.0})
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import engine
from .engine import Data, Value, plus, times

__all__ = ["MUTANTS", "Mutant", "gradients"]


class Mutant(NamedTuple):
    """An engine with one mistake.

    Attributes:
        name: in a few words.
        mistake: what is done.
        effect: what comes of it, and when.
        smallest: the smallest program of which it gets a gradient wrong, for :func:`gradients`.
        exchanged: the name of a function of the engine, and the function that stands there instead.
    """

    name: str
    mistake: str
    effect: str
    smallest: str
    exchanged: tuple[str, Callable[..., Any]]

    @property
    def engine(self) -> types.SimpleNamespace:
        """The functions of the engine, one of them exchanged."""
        functions = {name: getattr(engine, name) for name in engine.__all__}
        return types.SimpleNamespace(**(functions | dict([self.exchanged])))


def gradients(program: str, functions: Any = engine) -> dict[str, Data]:
    """What a program finds as gradients.

    Args:
        program: Python, in which the functions of the engine are known by name; it calls ``backward``.
        functions: an engine.

    Returns:
        the gradient of each leaf that has a name in it; instead, under "error", the name of an exception.

    >>> gradients("a = Value(3.0); y = mul(a, a); backward(y)")
    {'a': 6.0}
    """
    names = {name: getattr(functions, name) for name in engine.__all__}
    known = dict(names)
    try:
        exec(program, known)
    except (RuntimeError, RecursionError) as error:
        return {"error": type(error).__name__}
    values = {name: value for name, value in known.items() if isinstance(value, Value) and name not in names}
    return {name: value.grad for name, value in values.items() if not value.parents}


def pulled(node: Value, g: Data, retain: bool) -> Iterator[tuple[Value, Data]]:
    """What a visit of a node gives: to a leaf its gradient, to the parents of another node their contributions."""
    if not node.parents:
        node.grad = g if node.grad is None else plus(node.grad, g)
        return
    if node.vjps is None:
        raise RuntimeError("this way was gone before, and freed; the first time say backward(y, retain=True)")
    for parent, vjp in zip(node.parents, node.vjps, strict=True):
        yield parent, vjp(g)
    if not retain:
        node.vjps = None


def assigns(y: Value, retain: bool = False) -> None:
    """Where two contributions meet, the second takes the place of the first."""
    totals = {y.index: (y, 1.0)}
    while totals:
        node, g = totals.pop(max(totals))
        for parent, contribution in pulled(node, g, retain):
            totals[parent.index] = parent, contribution


def _as_reached(y: Value, retain: bool, which: int) -> None:
    """Visit each value once, in an order that knows nothing of who else will contribute to it."""
    waiting, totals, visited = [y], {y.index: 1.0}, set()
    while waiting:
        node = waiting.pop(which)
        if node.index not in visited:
            visited.add(node.index)
            for parent, contribution in pulled(node, totals[node.index], retain):
                known = parent.index in totals
                totals[parent.index] = plus(totals[parent.index], contribution) if known else contribution
                waiting.append(parent)


def depth_first(y: Value, retain: bool = False) -> None:
    """The last one reached comes next, while other ways to it are not yet gone."""
    _as_reached(y, retain, -1)


def visits_early(y: Value, retain: bool = False) -> None:
    """The first one reached comes next: by the shortest way to it, while longer ones are not yet gone."""
    _as_reached(y, retain, 0)


def keeps_totals(y: Value, retain: bool = False) -> None:
    """Every value has its sum in ``grad``, as a leaf has, and the next sweep finds it there."""
    found, waiting = {y.index: y}, [y]
    while waiting:
        for parent in waiting.pop().parents:
            if parent.index not in found:
                found[parent.index] = parent
                waiting.append(parent)
    y.grad = 1.0 if y.parents or y.grad is None else y.grad + 1.0
    for index in sorted(found, reverse=True):
        node = found[index]
        if node.parents:
            for parent, contribution in pulled(node, node.grad, retain):
                parent.grad = contribution if parent.grad is None else plus(parent.grad, contribution)


def adds_in_place(y: Value, retain: bool = False) -> None:
    """The list that came first is the total: but it is also what another value was given."""

    def into(total: Data, more: Data) -> Data:
        if not isinstance(total, list):
            return total + more
        for k, entry in enumerate(more):
            total[k] = into(total[k], entry)
        return total

    totals: dict[int, tuple[Value, Data]] = {y.index: (y, 1.0)}
    while totals:
        node, g = totals.pop(max(totals))
        for parent, contribution in pulled(node, g, retain):
            known = parent.index in totals
            totals[parent.index] = parent, into(totals[parent.index][1], contribution) if known else contribution


def reads_late(a: Value, b: Value) -> Value:
    """a * b, with vjps that read the factors of the time of the sweep."""
    return Value(times(a.data, b.data), (a, b), (lambda g: times(g, b.data), lambda g: times(g, a.data)))


def recursive(y: Value, retain: bool = False) -> None:
    """Right on small graphs; each step of a chain is a call inside a call."""

    def visit(node: Value, g: Data) -> None:
        for parent, contribution in list(pulled(node, g, True)):
            visit(parent, contribution)

    visit(y, 1.0)


def cuts_the_carry(a: Value) -> Value:
    """tanh of what the argument holds, as if it had been given and not computed."""
    return engine.tanh(Value(a.data) if a.parents else a)


MUTANTS = (
    Mutant(
        "assigns",
        "what arrives at a value replaces what was there",
        "of a value that is used more than once, one use counts",
        "a = Value(1.0)\nbackward(add(a, a))",
        ("backward", assigns),
    ),
    Mutant(
        "depth first",
        "the value that was reached last is visited next",
        "what comes to a value after its visit is lost",
        "a = Value(1.0)\nb = add(a, a)\nbackward(add(b, a))",
        ("backward", depth_first),
    ),
    Mutant(
        "visits early",
        "values are visited in the order in which they are reached",
        "where one way to a value is shorter than another, what comes by the longer one is lost",
        "a = Value(1.0)\nb = add(a, a)\nbackward(add(a, b))",
        ("backward", visits_early),
    ),
    Mutant(
        "keeps totals",
        "sums are kept at the values, and not taken away as these are visited",
        "a second sweep pulls back again what the first one left: where the two add up to 8, it finds 12",
        "a = Value(1.0)\nb = add(a, a)\ny = add(b, b)\nbackward(y, retain=True)\nbackward(y)",
        ("backward", keeps_totals),
    ),
    Mutant(
        "adds in place",
        "a contribution is added into the list that arrived first",
        "that list may be the gradient of another value, too, which changes with it",
        "a, b = Value([1.0]), Value([1.0])\nbackward(total(add(add(a, b), a)))",
        ("backward", adds_in_place),
    ),
    Mutant(
        "reads late",
        "the vjps of the product look at the factors when they run",
        "if a factor was given another value since, as an optimiser does, the gradient is that of another product",
        "a = Value(1.0)\ny = mul(a, a)\na.data = 2.0\nbackward(y)",
        ("mul", reads_late),
    ),
    Mutant(
        "recursive",
        "a value pulls its gradient back by a call of the function itself",
        "Python ends a chain of a thousand calls; and a value is visited once for every way to it",
        "h = a = Value(1.0)\nfor _ in range(1000):\n    h = total(h)\nbackward(h)",
        ("backward", recursive),
    ),
    Mutant(
        "cuts the carry",
        "tanh takes the numbers and leaves the history",
        "a weight that is used at every step gets the gradient of its last use alone",
        "a = Value(0.0)\nbackward(tanh(tanh(a)))",
        ("tanh", cuts_the_carry),
    ),
)
"""In the order of the course."""

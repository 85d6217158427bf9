r"""Free what the vjps hold, unless it is wanted again.

A vjp remembers numbers of the way there: that of mul(a, b) holds a and b. In a large network this
is most of the memory, and after backward nobody needs it. So an engine throws it away:

- `backward(y)` sets .vjps of every value *that has parents* to None when it has been visited.
  Leaves keep theirs (an empty tuple): they belong to the next program as well.
- `backward(y, retain=True)` leaves everything, so that the same way can be gone again.
- When the sweep meets a value with parents whose .vjps is None, this way was gone before. It
  raises RuntimeError, with a sentence that tells what to do.

You have `order` again. Gradients are added to .grad as before. For example, with

    a = Value(3.0); y = mul(a, a)

backward(y, retain=True) followed by backward(y) leaves a.grad = 12.0 and y.vjps = None, and a third
backward raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ...engine import Value
from ..exercise import exercise
from ..graphs import freed_after


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
    13,
    "Freeing",
    unit=2,
    returns=["grads", "freed", "refused"],
    hints=[
        "Begin with backward of exercise 11. At a value with parents two things are new: look before, free after.",
        "if node.parents and node.vjps is None: raise RuntimeError(...), before the vjps are used.",
        "After the loop over the parents: if node.parents and not retain, node.vjps = None.",
    ],
    given=[order],
)
def backward(y: Value, retain: bool = False) -> None:
    """As before, and free the vjps of what was visited unless retain; RuntimeError if they are freed already."""
    totals = {y.index: 1.0}
    for node in order(y):
        g = totals[node.index]
        if not node.parents:
            node.grad = g if node.grad is None else node.grad + g
            continue
        if node.vjps is None:
            raise RuntimeError("this way was gone before: say retain=True the first time")
        for parent, vjp in zip(node.parents, node.vjps, strict=True):
            totals[parent.index] = totals.get(parent.index, 0.0) + vjp(g)
        if not retain:
            node.vjps = None


@backward.observed
def afterwards(answer: Callable[..., None], program: str, retains: list[bool]) -> tuple[Array, Array, Array]:
    """Gradients, which values are freed, and which of the calls were refused."""
    return freed_after(answer, program, retains)


@backward.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One call, two, three, with and without keeping."""
    square = "a = Value(3.0); y = mul(a, a)"
    for retains in ([False], [True], [True, False], [False, False], [True, False, True], [True, True]):
        yield square, retains
    yield "a = Value(2.0); b = Value(5.0); c = mul(a, b); d = tanh(c); y = add(d, a)", [False]
    yield "a = Value(2.0); b = mul(a, a); y = mul(b, a)", [True, False, False]
    yield "a = Value(2.0); b = mul(a, a); z = mul(b, a); y = mul(b, b)", [True]


def swept(y: Value, frees: str, refuses: bool = True) -> None:
    """The sweep, with freeing done otherwise.

    Args:
        y: the result.
        frees: which values: "inner", "all", "none", "result".
        refuses: whether a freed value is met with an error; otherwise it is passed over.
    """
    totals = {y.index: 1.0}
    for node in order(y):
        g = totals.get(node.index, 0.0)
        if not node.parents:
            if node.index in totals:
                node.grad = g + (node.grad or 0.0)
        elif node.vjps is None and refuses:
            raise RuntimeError
        for parent, vjp in zip(node.parents, node.vjps or (), strict=False):
            totals[parent.index] = totals.get(parent.index, 0.0) + vjp(g)
        if frees == "all" or (frees == "inner" and node.parents) or (frees == "result" and node is y):
            node.vjps = None


@backward.mistake("nothing is freed")
def frees_nothing(y: Value, retain: bool = False) -> None:
    """After backward(y) the vjps are still there, with all the numbers that they hold."""
    swept(y, "none")


@backward.mistake("it frees although retain=True")
def ignores_retain(y: Value, retain: bool = False) -> None:
    """With retain=True the way is to be gone again."""
    swept(y, "inner")


@backward.mistake("retain means the opposite")
def turned_round(y: Value, retain: bool = False) -> None:
    """It keeps where nothing was said, and frees where keeping was asked for."""
    swept(y, "inner" if retain else "none")


@backward.mistake("leaves are freed, too")
def leaves_too(y: Value, retain: bool = False) -> None:
    """A leaf has no way behind it; it belongs to whoever gave it, and to the next program."""
    swept(y, "none" if retain else "all")


@backward.mistake("only the result is freed")
def only_the_result(y: Value, retain: bool = False) -> None:
    """Every value that was visited holds numbers, and not the last one alone."""
    swept(y, "none" if retain else "result")


@backward.mistake("a freed way is passed over in silence")
def silent(y: Value, retain: bool = False) -> None:
    """The second backward did nothing and said nothing: a gradient is missing and nobody knows."""
    swept(y, "none" if retain else "inner", refuses=False)


@backward.mistake("an earlier gradient is overwritten")
def forgets(y: Value, retain: bool = False) -> None:
    """The second backward replaced what the first had left in .grad."""
    for node in order(y):
        if not node.parents and all(n.vjps is not None for n in order(y)):
            node.grad = None
    swept(y, "none" if retain else "inner")

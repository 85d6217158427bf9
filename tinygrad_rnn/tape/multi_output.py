"""Fused primitives: a whole recurrent layer as one node with several outputs and one backward pass of its own.

The node's cotangent is a list with one entry per output.  Each output tensor has a small node of its own that
puts its cotangent into that list, so to the sweep a fused primitive looks like any other.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..typing import Array, Params, Value
from .apply import named, primitive
from .formula import Formula
from .grad import cotangents
from .modes import quietly, state
from .node import Leaf, Node
from .partial_gradient import Part
from .primitive import Primitive
from .tensor import Tensor, as_array, wrap

__all__ = ["fused", "outputs_of"]


class OutputPart(Part):
    """The cotangent of one output of a fused primitive."""

    __slots__ = ("count", "g", "number")

    def __init__(self, number: int, count: int, g: Value) -> None:
        self.number, self.count, self.g = number, count, g

    def start(self) -> list[Value | None]:
        # None, not zeros: the kernel skips an output without a cotangent
        total: list[Value | None] = [None] * self.count
        total[self.number] = self.g
        return total

    def add_to(self, total: list[Value | None]) -> None:
        before = total[self.number]  # an output may have two nodes: its own, and that of its saved value
        total[self.number] = self.g if before is None else before + self.g


OUTPUT = Primitive(
    "output", lambda a: a, (lambda g, y, a, number, count: OutputPart(number, count, g),), ("",), arity=1
)
OUTPUT.formula = Formula(r"a_{m}", a=r"\bar{a}_{m} = \bar{y}")


@functools.lru_cache(maxsize=1024)
def outputs_of(name: str) -> Primitive:
    """The primitive of the outputs of an operation with several, under the operation's own name."""
    p = copy.copy(OUTPUT)  # only its name differs; a copy shares the vjp and its raw form
    p.backward_name = name
    return p


alias = primitive(
    "alias",
    lambda a: a.view(),
    lambda g, y, a: g,
    formula=Formula("a", a=r"\bar{y}"),
    view=True,
    doc="The same values, in the same memory, under a node of their own.",
)


def fused(
    name: str,
    forward: Callable[..., tuple[tuple[Array, ...], Any]],
    vjp: Callable[..., Sequence[Array | None]],
    reference: Callable[..., tuple[Any, ...]],
    *,
    formula: Formula | None = None,
    gives_new: bool = False,
    kept: bool = True,
    listed: bool = True,
    doc: str | None = None,
) -> Callable[..., tuple[Any, ...]]:
    """Declare a primitive with several outputs and one backward pass for all of its arguments.

    Args:
        name: shown on the tape.
        forward: ``(*arrays, **params) -> (outputs, residual)``, the residual being what the backward pass needs.
        vjp: ``(gs, residual, *arrays, needs, **params) -> cotangents``, on raw arrays only.  ``gs`` holds None
            for an output that no gradient reached, ``needs`` says for each argument whether its cotangent is wanted.
        reference: the same computation in ordinary operations.  Its own vjp is used where the backward pass is
            itself recorded (``create_graph=True``), which gives every higher order.
        formula: ``forward`` and ``vjp`` as equations.
        gives_new: the cotangents that ``vjp`` gives are new arrays, none of which shares memory with another or with an
            argument: a leaf keeps them as its gradient, without a copy.
        kept: the residual may share memory with the outputs, which then must not be written to before the backward
            pass.
        listed: it is a row of the table of primitives; one that is made of a user's cell is none.

    An argument may be None (absent).  Returns a function that gives a tuple of outputs.
    """

    def recorded_vjp(
        gs: list[Tensor | None], residual: Any, *args: Any, needs: Sequence[bool], **params: Any
    ) -> list[Value | None]:
        # An alias per argument: a tensor given twice must get two cotangents, not twice their sum.
        inputs = [alias(a) if need else a for a, need in zip(args, needs, strict=True)]
        outputs = reference(*inputs, **params)
        seeds = [(y._node, g) for y, g in zip(outputs, gs, strict=True) if g is not None and y._node is not None]
        wanted = [a._node for a, need in zip(inputs, needs, strict=True) if need]
        found = iter(cotangents(seeds, wanted, record=True))
        return [next(found) if need else None for need in needs]

    p = Primitive(name, forward, (), (), vjp_all=recorded_vjp, residual=True, listed=listed, gives_new=gives_new)
    p.add_raw_form(None, vjp)
    p.reference, p.formula = reference, formula

    def apply(*args: Any, **params: Any) -> tuple[Any, ...]:
        values: list[Any] = []
        parents: list[Leaf | Node | None] = []
        tensors = needed = False
        for a in args:
            if isinstance(a, Tensor):
                tensors = True
                needed = needed or a._node is not None
                values.append(a._data)
                parents.append(a._node)
            else:
                values.append(a)
                parents.append(None)
        here = state.here
        if tensors and here.spelled_out:  # before the kernel runs: the watcher sees ordinary operations instead
            return reference(*args, **params)
        outputs, residual = quietly(forward, *values, **params)
        if not tensors:  # raw arrays in, raw arrays out, as of every primitive
            return tuple(outputs)
        results = tuple([wrap(as_array(y)) for y in outputs])
        if needed and here.recording:
            y = results[0]._data  # a node has one shape and dtype; those of the outputs are at their own nodes
            watched = (*args, *results) if kept else args  # an output that the kernel does not read may be written to
            versions = tuple([(t._versions or t._own_versions()) if isinstance(t, Tensor) else None for t in watched])
            node = Node(p, tuple(parents), tuple(values), params, residual, versions, y.shape, y.dtype)
            for watcher in here.watchers:
                watcher.recorded(node, outputs)
            output = outputs_of(p.backward_name)
            for number, t in enumerate(results):
                place: Params = {"number": number, "count": len(results)}
                # its params alone say where the cotangent goes: nothing is saved
                t._node = Node(output, (node,), (node,), place, None, (), t._data.shape, t._data.dtype)
        for watcher in here.watchers:
            watcher.applied(p, args, params, results)
        return results

    return named(p, apply, doc)

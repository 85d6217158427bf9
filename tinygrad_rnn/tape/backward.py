"""``backward``: what a sweep starts from, and where its results go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..backend import check_numbers
from ..errors import GraphError
from ..typing import Value
from . import refusals
from .node import Leaf, Node
from .observe.leaks import EVERY, note_backward, past
from .pruning import way_to
from .sums import accumulate
from .sweep import AnyNode, sweep
from .tensor import Tensor, wrap

__all__ = ["Tensors", "as_tuple", "backward", "node_of", "seeds_of", "tensor_backward"]

Tensors = Tensor | Sequence[Tensor]


def tensor_backward(
    self: Tensor,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Add the gradient of this tensor with respect to every leaf to the leaf's ``.grad``.

    Args:
        gradient: the cotangent to start with, of this tensor's shape; may be left out for one entry (then 1).
        retain_graph: keep saved values, so that the graph can be swept again; by default as ``create_graph``.
        create_graph: record the sweep itself, so that the gradients can be differentiated.
        inputs: accumulate into these tensors only.

    Raises:
        GraphError: nothing was recorded, ``gradient`` is missing or of a wrong shape, or the graph was freed.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor(3.0, requires_grad=True)
    >>> (w * w).backward()
    >>> w.grad
    tensor(6.)
    """
    backward(self, gradient, retain_graph, create_graph, inputs=inputs)


tensor_backward.__name__ = tensor_backward.__qualname__ = "backward"


def backward(
    tensors: Tensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Tensors | None = None,
) -> None:
    """Sum the gradients of several outputs into the leaves' ``.grad``; ``grad_variables`` was ``grad_tensors``."""
    outputs = as_tuple(tensors)
    if grad_tensors is not None and grad_variables is not None:
        raise refusals.given_twice()
    if not outputs:
        raise GraphError("grad requires non-empty outputs: backward() was given no tensors")
    seeds = seeds_of(outputs, grad_tensors if grad_tensors is not None else grad_variables, create_graph)
    keep = create_graph if retain_graph is None else retain_graph  # a recorded gradient is a function of this graph
    start = seeds[0][0]
    if isinstance(start, Node):  # a leaf as the output has no graph to leak
        past.calls += 1
        if keep or past.calls % EVERY == 0:  # now and then see whether graphs pile up
            note_backward(start, keep)
    receivers: dict[int, Tensor] = {}
    way: dict[str, set[int]] = {}
    if inputs is not None:
        given = as_tuple(inputs)
        if not given:
            raise refusals.empty_inputs("backward")
        wanted = [node_of(t, position) for position, t in enumerate(given)]
        receivers = {node.index: t for node, t in zip(wanted, given, strict=True)}
        way = way_to(wanted, seeds)

    def on_result(node: AnyNode, total: Value, may_write: bool) -> None:
        t = receivers[node.index] if receivers else node.tensor()  # type: ignore[union-attr]
        if t is None or (t._node is None and not receivers):
            return  # the leaf itself is gone, or needs no gradient any more
        accumulate(t, total, may_write, create_graph)
        if isinstance(node, Leaf) and node.post_hooks:
            for hook in list(node.post_hooks.values()):
                hook(t)

    sweep(seeds, on_result, keep=keep, record=create_graph, **way)


def as_tuple(tensors: Tensors) -> tuple[Tensor, ...]:
    """One tensor or several, as a tuple; anything else is refused."""
    if isinstance(tensors, Tensor):
        return (tensors,)
    if not isinstance(tensors, Iterable):
        raise refusals.no_tensors(tensors)
    items = tuple(tensors)  # once: it may be a generator
    for position, t in enumerate(items):
        if not isinstance(t, Tensor):
            raise refusals.no_tensor(position, t)
    return items


def node_of(t: Tensor, position: int) -> Leaf | Node:
    """The node of an input that a gradient is asked for; one without is refused."""
    if t._node is None:
        raise refusals.input_not_recorded(position, t.shape)
    return t._node


def seeds_of(outputs: tuple[Tensor, ...], gradients: Any, record: bool) -> list[tuple[AnyNode, Value]]:
    """Pair each output's node with the cotangent that it starts with."""
    if gradients is None:
        given: tuple[Any, ...] = (None,) * len(outputs)
    else:
        given = tuple(gradients) if isinstance(gradients, (list, tuple)) else (gradients,)
    if len(given) != len(outputs):
        raise GraphError(f"got {len(outputs)} tensors and {len(given)} gradients")
    seeds: list[tuple[AnyNode, Value]] = []
    for position, (t, g) in enumerate(zip(outputs, given, strict=True)):
        if t._node is None:
            raise refusals.not_recorded(position)
        if g is None:
            if t._data.size != 1:
                raise refusals.not_scalar(t.shape)
            ones = np.empty_like(t._data)  # on its device; ones_like is Python code, and slower
            ones.fill(1)
            g = wrap(ones)
        elif not isinstance(g, Tensor):
            values = np.asarray(g)
            check_numbers(values.dtype)
            g = wrap(values.astype(t._data.dtype, copy=False) if values.dtype.kind != "c" else values)
        if g._data.shape != t._data.shape:
            raise refusals.wrong_seed(position, g.shape, t.shape)
        if g._data.dtype != t._data.dtype:
            g = wrap(g._data.astype(t._data.dtype))
        seeds.append((t._node, g if record else g._data))  # a recorded sweep differentiates the seed too
    return seeds

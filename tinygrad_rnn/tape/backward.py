"""``backward`` and ``grad``: where a sweep starts, and where its results go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..backend import array_module, check_numbers
from ..errors import ArgumentError, ArgumentTypeError, GraphError, ShapeRuntimeError
from ..typing import Value
from .node import Leaf, Node
from .observe.leaks import note_backward
from .sums import accumulate
from .sweep import AnyNode, sweep
from .tensor import Tensor, as_array, wrap

__all__ = ["backward", "grad"]

Tensors = Tensor | Sequence[Tensor]


def backward(
    tensors: Tensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Tensors | None = None,
) -> None:
    """Sum the gradients of several outputs into the leaves' ``.grad``; see :meth:`Tensor.backward`."""
    outputs = _as_tuple(tensors)
    if grad_tensors is not None and grad_variables is not None:
        raise GraphError(
            "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only use "
            "`grad_tensors`."
        )
    if not outputs:
        raise GraphError("grad requires non-empty outputs: backward() was given no tensors")
    seeds = _seeds(outputs, grad_tensors if grad_tensors is not None else grad_variables, create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    note_backward(seeds[0][0], keep)
    receivers: dict[int, Tensor] = {}
    wanted: list[AnyNode] | None = None
    if inputs is not None:
        given = _as_tuple(inputs)
        if not given:
            raise GraphError("`inputs` argument to `backward()` cannot be empty.")
        wanted = [_node_of(t, position) for position, t in enumerate(given)]
        receivers = {node.index: t for node, t in zip(wanted, given, strict=True)}

    def deliver(node: AnyNode, total: Value, owned: bool) -> None:
        t = receivers[node.index] if receivers else node.tensor()  # type: ignore[union-attr]
        if t is None or (t._node is None and not receivers):
            return  # the leaf itself is gone, or needs no gradient any more
        accumulate(t, total, owned, create_graph)
        if isinstance(node, Leaf) and node.post_hooks:
            for hook in list(node.post_hooks.values()):
                hook(t)

    sweep(seeds, deliver, keep=keep, record=create_graph, wanted=wanted)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the sum of ``outputs`` (weighted by ``grad_outputs``) with respect to ``inputs``.

    Nothing is accumulated into ``.grad``; only what lies between outputs and inputs is swept.

    Returns:
        A tuple with one tensor per input, of its shape; None for an input that no output depends on, if
        ``allow_unused``, or zeros if ``materialize_grads``.

    Raises:
        GraphError: an input does not require grad, or was not used and ``allow_unused`` is not set.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> (dy,) = tg.autograd.grad(x**3, x, create_graph=True)
    >>> tg.autograd.grad(dy, x)
    (tensor(12.),)
    """
    if not only_inputs:
        raise ArgumentError("grad(): only_inputs=False is no longer supported; use backward() to fill .grad")
    if is_grads_batched:
        raise ArgumentError("grad(): is_grads_batched is not supported; call grad once per row of grad_outputs")
    given = _as_tuple(inputs)
    if not given:
        raise GraphError("`inputs` argument to `grad()` cannot be empty.")
    seeds = _seeds(_as_tuple(outputs), grad_outputs, create_graph)
    if materialize_grads:
        if allow_unused is False:
            raise ArgumentError(
                "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
                "allow_unused=False."
            )
        allow_unused = True
    wanted = [_node_of(t, position) for position, t in enumerate(given)]
    keep = create_graph if retain_graph is None else retain_graph
    found: dict[int, tuple[Value, bool]] = {}

    def deliver(node: AnyNode, total: Value, owned: bool) -> None:
        found[node.index] = total, owned

    sweep(seeds, deliver, keep=keep, record=create_graph, wanted=wanted)
    results: list[Tensor | None] = []
    for position, (t, node) in enumerate(zip(given, wanted, strict=True)):
        total, owned = found.get(node.index, (None, False))
        if total is not None:
            results.append(total if isinstance(total, Tensor) else _private(total, owned))
            found[node.index] = total, False  # an input that is given twice gets two results
        elif materialize_grads:
            results.append(wrap(array_module(t._data).zeros_like(t._data)))
        elif allow_unused:
            results.append(None)
        else:
            raise GraphError(
                f"The differentiated Tensor at index {position} appears to not have been used in the graph. "
                "Set allow_unused=True if this is the desired behavior."
            )
    return tuple(results)


def _private(total: Value, owned: bool) -> Tensor:
    """A result that shares no memory with a seed, a saved value or another result."""
    array = as_array(total)
    if not owned or not array.flags.c_contiguous:
        array = array_module(array).array(array, order="C")
    return wrap(array)


def _as_tuple(tensors: Tensors) -> tuple[Tensor, ...]:
    if isinstance(tensors, Tensor):
        return (tensors,)
    if not isinstance(tensors, Iterable):
        raise ArgumentTypeError(f"autograd: expected a Tensor or a sequence of Tensors, got {type(tensors).__name__}")
    items = tuple(tensors)
    for position, t in enumerate(items):
        if not isinstance(t, Tensor):
            raise ArgumentTypeError(f"autograd: element {position} must be a Tensor, got {type(t).__name__}")
    return items


def _node_of(t: Tensor, position: int) -> Leaf | Node:
    if t._node is None:
        raise GraphError(
            "One of the differentiated Tensors does not require grad: "
            f"input {position}, of shape {t.shape}. Call requires_grad_() on it before it is used"
        )
    return t._node


def _seeds(outputs: tuple[Tensor, ...], gradients: Any, record: bool) -> list[tuple[AnyNode, Value]]:
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
            raise GraphError(
                f"element {position} of tensors does not require grad and does not have a grad_fn. Nothing was "
                "recorded: no input had requires_grad=True, or it ran under no_grad() or on detached values"
            )
        if g is None:
            if t._data.size != 1:
                raise GraphError(
                    f"grad can be implicitly created only for scalar outputs, and this one has shape {t.shape}. "
                    "Reduce it first (loss.sum(), loss.mean()) or pass gradient="
                )
            ones = array_module(t._data).empty_like(t._data)  # ones_like is a function of Python
            ones.fill(1)
            g = wrap(ones)
        elif not isinstance(g, Tensor):
            values = np.asarray(g)
            check_numbers(values.dtype)
            g = wrap(values.astype(t._data.dtype, copy=False) if values.dtype.kind != "c" else values)
        if g._data.shape != t._data.shape:
            raise ShapeRuntimeError(
                f"Mismatch in shape: grad_output[{position}] has a shape of {g.shape} and output[{position}] has a "
                f"shape of {t.shape}."
            )
        if g._data.dtype != t._data.dtype:
            g = wrap(g._data.astype(t._data.dtype))
        seeds.append((t._node, g if record else g._data))
    return seeds

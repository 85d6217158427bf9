"""``grad``: gradients with respect to chosen tensors, returned and not accumulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..typing import Value
from . import refusals
from .backward import Tensors, as_tuple, node_of, seeds_of
from .pruning import way_to
from .sums import private
from .sweep import AnyNode, Seeds, sweep
from .tensor import Tensor, wrap

__all__ = ["cotangents", "grad"]


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

    Nothing is accumulated into ``.grad``; only the nodes between outputs and inputs are visited.

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
    refusals.check_options(only_inputs, is_grads_batched, allow_unused, materialize_grads)
    given = as_tuple(inputs)
    if not given:
        raise refusals.empty_inputs("grad")
    seeds = seeds_of(as_tuple(outputs), grad_outputs, create_graph)
    wanted = [node_of(t, position) for position, t in enumerate(given)]
    keep = create_graph if retain_graph is None else retain_graph  # a recorded gradient is a function of this graph
    found: dict[int, tuple[Value, bool]] = {}

    def on_result(node: AnyNode, total: Value, may_write: bool) -> None:
        found[node.index] = total, may_write

    sweep(seeds, on_result, keep=keep, record=create_graph, **way_to(wanted, seeds))
    results: list[Tensor | None] = []
    for position, (t, node) in enumerate(zip(given, wanted, strict=True)):
        total, may_write = found.get(node.index, (None, False))
        if total is not None:
            # a Tensor has its history; an array may be shared
            results.append(total if isinstance(total, Tensor) else private(total, may_write))
            found[node.index] = total, False  # an input that is given twice gets two results
        elif materialize_grads:  # which implies allow_unused
            results.append(wrap(np.zeros_like(t._data)))
        elif allow_unused:
            results.append(None)
        else:
            raise refusals.unused_input(position)
    return tuple(results)


def cotangents(
    seeds: Seeds, wanted: Sequence[AnyNode], *, keep: bool = True, record: bool = False
) -> list[Value | None]:
    """The total cotangent of each ``wanted`` node, None where no seed reaches it.  Nothing is accumulated."""
    found: dict[int, Value] = {}

    def on_result(node: AnyNode, total: Value, is_new: bool) -> None:
        found[node.index] = total

    sweep(seeds, on_result, keep=keep, record=record, **way_to(wanted, seeds))
    return [found.get(node.index) for node in wanted]

"""The reverse sweep: cotangents flow from outputs to leaves, and what arrives at a node by several ways is summed.

That sum is the whole idea: if a value is used many times, a change of it acts through each use, so its gradient
is the sum of the contributions of its uses.  A weight of an RNN is used once per time step; its gradient is the
sum over time, with nothing recurrent about it.

Rules:

* Nodes are visited in falling index.  A child's index is always greater than its parents', so when a node is
  visited every contribution to it has arrived.  A heap of indices gives the next one; nothing is recursive, and
  only nodes that a cotangent reaches are ever looked at.
* A total is taken out of the table when its node is visited; saved values are freed then, too, unless ``keep``.
* A contribution is never changed: it may be another node's cotangent, or a user's array.  See ``sums.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop

from ..backend.quiet import QUIET, numpy_errors
from ..typing import Cotangent, Value
from . import refusals
from .modes import Watcher, state
from .node import Leaf, Node, last_write
from .partial_gradient import Contributions
from .primitive import Primitive
from .recorded_sums import Parts, adding_tensors, node_inputs
from .sums import Totals, adding_arrays

__all__ = ["Seeds", "contributions", "sweep"]

AnyNode = Leaf | Node
Seeds = Sequence[tuple[AnyNode, Value]]
OnResult = Callable[[AnyNode, Value, bool], None]
Indices = set[int] | None
Watchers = tuple[Watcher, ...]


def sweep(
    seeds: Seeds,
    on_result: OnResult,
    *,
    keep: bool = False,
    record: bool = False,
    goals: Indices = None,
    on_way: Indices = None,
) -> None:
    """Pull cotangents back from ``seeds`` to the leaves, or to other ``goals``.

    Args:
        seeds: pairs of a node and the cotangent to start it with.
        on_result: called as ``on_result(node, total, may_write)`` with each complete sum; ``may_write`` says that it
            is an array made here, which the receiver may keep without a copy.
        keep: do not free saved values (``retain_graph``).
        record: run the vjps on Tensors and record them (``create_graph``).
        goals, on_way: indices of the nodes whose results are wanted, leaves or not, and of all nodes on a way to them.

    Raises:
        GraphError: saved values were freed by an earlier sweep.
        InplaceError: a saved value was written in place after it was saved.
    """
    here = state.here
    watchers = here.watchers
    for watcher in watchers:
        watcher.sweep_begins(seeds)
    before, errors, failure = (here.recording, here.memo), numpy_errors.get(), None
    try:
        numpy_errors.set(QUIET)  # an overflow in a vjp is a result, as in PyTorch, and no warning
        here.recording, here.memo = record, {}  # nothing is recorded unless the sweep is; vjps have a memo of their own
        _visit(seeds, on_result, keep, record, goals, on_way, watchers)
    except BaseException as error:
        failure = error
        raise
    finally:
        here.recording, here.memo = before  # first, and without a call before it: see modes.py
        numpy_errors.set(errors)
        try:
            for watcher in watchers:
                watcher.sweep_ends(failure)
        finally:
            del failure  # which holds this frame


def _visit(
    seeds: Seeds, on_result: OnResult, keep: bool, record: bool, goals: Indices, on_way: Indices, watchers: Watchers
) -> None:
    """Visit the nodes that cotangents reach: see ``sweep``."""
    heap: list[int] = []
    totals: Totals = {}
    add = (adding_tensors if record else adding_arrays)(heap, totals)
    unseen = not record and not watchers  # nothing but this loop sees the arrays that vjps give
    unrolled = unseen and on_way is None  # nothing to prune, nothing to tell
    for node, g in seeds:
        add(node, g, False)
    while heap:
        index = -heappop(heap)
        node, g, may_write = totals.pop(index)  # every contribution has arrived
        if record and type(g) is Parts:  # they waited to be one operation; the last one has come
            g = g.sum()
        if node.hooks:
            g, may_write = node.hooks.run(g, record), False  # a hook may have kept what it saw
        if watchers:  # an empty loop would cost 20 ns
            for watcher in watchers:
                watcher.reached(node, g)
        is_leaf = type(node) is Leaf
        if is_leaf if goals is None else index in goals:
            on_result(node, g, may_write)
            may_write = False  # the receiver may have kept g
        if is_leaf or (on_way is not None and not any(p is not None and p.index in on_way for p in node.parents)):
            continue  # no goal is an ancestor: its vjps are not run, and its saved values may be gone
        primitive, args, parents = node.primitive, node.args, node.parents
        if args is None:  # an earlier sweep without retain_graph freed them
            raise refusals.freed(node)
        if index < last_write[0]:
            node.check_saved()  # only a node older than the last write, of any memory, can hold a stale value
        arity = primitive.arity if unrolled else 0
        # Arity 2 and 1 unroll the last case: without them an update of a loop over small arrays takes 4 to 13 % longer.
        if arity == 2:
            (vjp_a, vjp_b), (a, b), (parent_a, parent_b), ans = primitive.raw_vjps, args, parents, node.ans
            if parent_a is not None:  # a constant operand has no node
                add(parent_a, vjp_a(g, ans, a, b), may_write)
            if parent_b is not None:
                add(parent_b, vjp_b(g, ans, a, b), may_write)
        elif arity == 1:
            vjp, params = primitive.raw_vjps[0], node.params
            contribution = vjp(g, node.ans, args[0], **params) if params else vjp(g, node.ans, args[0])
            add(parents[0], contribution, may_write, may_write and primitive.reshapes_only)
        else:
            needs = tuple([p is not None and (on_way is None or p.index in on_way) for p in parents])
            is_new = unseen and (primitive.gives_new or (may_write and primitive.reshapes_only))
            may_write = may_write and unseen  # a record or a watcher may hold these arrays too
            for position, contribution in enumerate(contributions(node, primitive, g, needs, record)):
                if contribution is not None and needs[position]:  # vjp_all may give what was not asked for
                    for watcher in watchers:
                        watcher.contributed(node, position, parents[position], contribution)
                    add(parents[position], contribution, may_write, is_new)
        if not keep and primitive.saves_anything:  # what saved nothing can be swept again, as in PyTorch
            node.args = node.ans = None  # now, not at the end: memory falls as the sweep proceeds


def contributions(
    node: Node, primitive: Primitive, g: Cotangent, needs: tuple[bool, ...], record: bool
) -> Contributions:
    """What vjps give to each parent that needs it; ``primitive`` is the node's, or what it was before a hook on it."""
    args, ans = node_inputs(node, primitive) if record else (node.args, node.ans)
    assert args is not None
    vjp_all = primitive.vjp_all if record else primitive.raw_vjp_all
    if vjp_all is not None:
        return vjp_all(g, ans, *args, needs=needs, **node.params)
    return [
        vjp(g, ans, *args, **node.params) if need and vjp is not None else None
        for vjp, need in zip(primitive.vjps if record else primitive.raw_vjps, needs, strict=False)
    ]

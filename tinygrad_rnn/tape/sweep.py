"""The reverse sweep: cotangents flow from outputs to leaves, and what arrives at a node by several ways is summed.

That sum is the whole idea: if a value is used many times, a change of it acts through each use, so its gradient
is the sum of the contributions of its uses.  A weight of an RNN is used once per time step; its gradient is the
sum over time, with nothing recurrent about it.

Rules:

* Nodes are visited in falling index.  A child's index is always greater than its parents', so when a node is
  visited every contribution to it has arrived.  A heap of indices gives the next one; nothing is recursive, and
  only nodes that a cotangent reaches are ever looked at.
* A total is taken out of the table when its node is visited; saved values go at the same time unless ``keep``.
* A contribution is never changed: it may be another node's cotangent, or a user's array.  The first sum of two
  makes a new array, which the sweep owns and adds into from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from ..errors import GraphError
from ..typing import Value
from .hooks import run_hooks
from .modes import state, sweeping
from .node import Leaf, Node, writes
from .part import Part
from .primitive import Primitive
from .tensor import as_array, wrap
from .watcher import Watcher, told

__all__ = ["Seeds", "cotangents", "sweep"]

ndarray = np.ndarray
AnyNode = Leaf | Node
Seeds = Iterable[tuple[AnyNode, Value]]
Deliver = Callable[[AnyNode, Value, bool], None]

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
    "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
    "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
    "saved tensors after calling backward. A state carried over from the step before brings that step's graph along: "
    "h = h.detach()."
)


def sweep(
    seeds: Seeds,
    deliver: Deliver,
    *,
    keep: bool = False,
    record: bool = False,
    wanted: Sequence[AnyNode] | None = None,
) -> None:
    """Pull cotangents back from ``seeds`` to the leaves, or to the ``wanted`` nodes alone.

    Args:
        seeds: pairs of a node and the cotangent to start it with.
        deliver: called as ``deliver(node, total, owned)`` with each complete sum; ``owned`` says that the
            total is an array made here, so that the receiver may keep it without a copy.
        keep: do not free saved values (``retain_graph``).
        record: run the vjps on Tensors and record them (``create_graph``).
        wanted: deliver at these nodes, leaves or not, and visit only what lies on a way to them.

    Raises:
        GraphError: saved values were freed by an earlier sweep.
        InplaceError: a saved value was written in place after it was saved.
    """
    watchers = state.watchers
    with told(watchers), sweeping(record), np.errstate(all="ignore"):
        if wanted is None and not record and not watchers:
            _to_leaves(seeds, deliver, keep)
        else:
            _to_any(seeds, deliver, keep, record, wanted, watchers)


def _to_leaves(seeds: Seeds, deliver: Deliver, keep: bool) -> None:
    """The sweep as it mostly is: to all leaves, not recorded, unwatched."""
    heap: list[int] = []
    totals: dict[int, list[Any]] = {}  # by index: the node, the sum so far, whether that is an array made here

    def give(parent: AnyNode, share: Any, owned: bool, fresh: bool = False) -> None:
        """Add a share to what has arrived at ``parent``.

        Args:
            owned: nobody else needs what the share, if it is a part, was made from.
            fresh: nobody else has the share.
        """
        total = totals.get(parent.index)
        if type(share) is not ndarray:
            if share is None:
                return
            if isinstance(share, Part):
                if total is not None:
                    if not total[2] or isinstance(total[1], np.generic):  # 0-d sums are numbers, not memory
                        total[1:] = as_array(total[1]).copy(), True
                    share.add_to(total[1])
                    return
                share = share.take() if owned else share.start()
                heappush(heap, -parent.index)
                totals[parent.index] = [parent, share, True]
                return
        if total is None:
            heappush(heap, -parent.index)
            totals[parent.index] = [parent, share, fresh]
        elif total[2]:
            total[1] += share
        else:
            total[1:] = total[1] + share, True

    for node, g in seeds:
        give(node, g, False)
    while heap:
        index = -heappop(heap)
        node, g, owned = totals.pop(index)
        if node.hooks:
            g, owned = run_hooks(node, g, False), False
        if type(node) is Leaf:
            deliver(node, g, owned)
            continue
        args = node.args
        if args is None:
            raise _freed(node)
        if index < writes.latest:
            node.check_fresh()
        primitive = node.primitive
        ans = node.ans
        parents = node.parents
        arity = primitive.arity
        if arity == 2:
            (vjp_a, vjp_b), (a, b), (parent_a, parent_b) = primitive.vjps, args, parents
            if parent_a is not None:
                give(parent_a, vjp_a(g, ans, a, b), owned)
            if parent_b is not None:
                give(parent_b, vjp_b(g, ans, a, b), owned)
        elif arity == 1:
            vjp, params = primitive.vjps[0], node.params
            share = vjp(g, ans, args[0], **params) if params else vjp(g, ans, args[0])
            give(parents[0], share, owned, owned and primitive.passes)
        else:
            for parent, share in zip(parents, _shares(node, primitive, g), strict=False):
                if parent is not None:
                    give(parent, share, owned, primitive.fresh or (owned and primitive.passes))
        if not keep and primitive.frees:
            node.args = node.ans = None


def _shares(node: Node, primitive: Primitive, g: Value) -> Sequence[Value]:
    """What each parent of a node gets, from a primitive of any form."""
    assert node.args is not None
    if primitive.joint is not None:
        needs = tuple([parent is not None for parent in node.parents])
        return primitive.joint(g, node.ans, *node.args, needs=needs, **node.params)
    pairs = zip(node.parents, primitive.vjps, strict=False)
    return [
        None if parent is None or vjp is None else vjp(g, node.ans, *node.args, **node.params) for parent, vjp in pairs
    ]


def _to_any(
    seeds: Seeds,
    deliver: Deliver,
    keep: bool,
    record: bool,
    wanted: Sequence[AnyNode] | None,
    watchers: tuple[Watcher, ...],
) -> None:
    """The same with all that may be asked of it: goals on the way, a sweep that is recorded, watchers."""
    heap: list[int] = []
    nodes: dict[int, Any] = {}
    totals: dict[int, Any] = {}
    parts: dict[int, list[Part]] = {}
    owned: set[int] = set()
    goals = None if wanted is None else {node.index for node in wanted}
    seeds = list(seeds)
    on_way = None if goals is None else _on_the_way([node for node, _ in seeds], goals)

    def add(node: AnyNode, contribution: Any, child: int = 0, fresh: bool = False) -> None:
        """Sum what arrives at a node by several ways, here from ``child``; ``fresh``: nobody else has it."""
        index = node.index
        part = isinstance(contribution, Part)
        if part and record and contribution.together is not None:  # put together when all are there: T reads cost T
            parts.setdefault(index, []).append(contribution)
            part, contribution = False, None
        if index not in totals:
            nodes[index] = node
            heappush(heap, -index)
            if part:
                contribution = contribution.take() if child in owned and not watchers else contribution.start()
            if part or fresh:
                owned.add(index)
            totals[index] = contribution
        elif part:
            if index not in owned or isinstance(totals[index], np.generic):
                totals[index] = as_array(totals[index]).copy()
                owned.add(index)
            contribution.add_to(totals[index])
        elif record:
            before = totals[index]
            if before is not None and contribution is not None:
                owned.add(index)
                totals[index] = before + contribution
            elif before is None:
                totals[index] = contribution
        elif index in owned:
            totals[index] += contribution
        else:
            totals[index] = totals[index] + contribution
            owned.add(index)

    for node, g in seeds:
        add(node, g)
    while heap:
        index = -heappop(heap)
        node = nodes.pop(index)
        g = totals.pop(index)
        if parts and index in parts:
            g = _completed(g, parts.pop(index))
        is_leaf = type(node) is Leaf
        if node.hooks:
            g = run_hooks(node, g, record)
            owned.discard(index)
        if watchers:
            for watcher in watchers:
                watcher.reached(node, g)
        if is_leaf if goals is None else index in goals:
            deliver(node, g, index in owned)
            owned.discard(index)
        if is_leaf or (on_way is not None and not _goes_on(node, on_way)):
            continue
        primitive, args, ans, params = node.primitive, node.args, node.ans, node.params
        if args is None:
            raise _freed(node)
        if index < writes.latest:
            node.check_fresh()
        if record:
            args, ans = node_inputs(node)
        joint = None
        if primitive.joint is not None:
            pull = primitive.recorded_joint if record else primitive.joint
            needs = [p is not None and (on_way is None or p.index in on_way) for p in node.parents]
            joint = pull(g, ans, *args, needs=tuple(needs), **params)
        vjps, fresh = primitive.vjps, primitive.fresh or (primitive.passes and index in owned)
        fresh = fresh and not record and not watchers
        for position, parent in enumerate(node.parents):
            if parent is None or (on_way is not None and parent.index not in on_way):
                continue
            if joint is not None:
                contribution = joint[position]
            elif params:
                contribution = vjps[position](g, ans, *args, **params)
            else:
                contribution = vjps[position](g, ans, *args)
            if contribution is not None:
                if watchers:
                    for watcher in watchers:
                        watcher.contributed(node, position, parent, contribution)
                add(parent, contribution, index, fresh)
        if not keep and primitive.frees:
            node.args = node.ans = None


def cotangents(seeds: Seeds, wanted: Sequence[AnyNode], *, keep: bool = True, record: bool = False) -> list[Value]:
    """The total cotangent of each ``wanted`` node, None where no seed reaches it.  Nothing is accumulated."""
    found: dict[int, Value] = {}

    def deliver(node: AnyNode, total: Value, owned: bool) -> None:
        found[node.index] = total

    sweep(seeds, deliver, keep=keep, record=record, wanted=wanted)
    return [found.get(node.index) for node in wanted]


def node_inputs(node: Node) -> tuple[Sequence[Value], Value]:
    """The saved arguments and output of a node as Tensors with their history, for a vjp that is recorded."""
    assert node.args is not None
    args = list(node.args)
    for position, (value, parent) in enumerate(zip(args, node.parents, strict=True)):
        clock = node.clocks[position] if node.clocks else None
        if value is not parent and (parent is not None or clock is not None):
            args[position] = t = wrap(value, parent)
            t._clock = clock
    ans = node.ans
    if ans is not None and node.primitive.joint is None:
        ans = wrap(ans, node)
        ans._clock = node.clocks[-1]
    return args, ans


def _on_the_way(starts: Sequence[AnyNode], goals: set[int]) -> set[int]:
    """The indices of the nodes from which a goal can be reached, the goals included."""
    reached: dict[int, AnyNode] = {}
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node.index not in reached:
            reached[node.index] = node
            if isinstance(node, Node):
                stack.extend([parent for parent in node.parents if parent is not None])
    on_way = set()
    for index in sorted(reached):
        node = reached[index]
        if index in goals or (
            isinstance(node, Node) and any(p is not None and p.index in on_way for p in node.parents)
        ):
            on_way.add(index)
    return on_way


def _completed(total: Value, parts: list[Any]) -> Value:
    """A recorded cotangent, of whole contributions (None for none) and of parts."""
    whole = parts[0].together(parts)
    return whole if total is None else total + whole


def _goes_on(node: Node, on_way: set[int]) -> bool:
    """Whether a goal lies beyond this node: if not, its vjps are not run, and its saved values may be gone."""
    return any(parent is not None and parent.index in on_way for parent in node.parents)


def _freed(node: Node) -> GraphError:
    when = f"at {node.info}" if node.info else f"as number {node.index}"
    return GraphError(f"{FREED} ({node.name()}, recorded {when})")

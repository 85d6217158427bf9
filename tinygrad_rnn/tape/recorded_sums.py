"""Sums of a sweep that is recorded (``create_graph=True``), on Tensors, from which every higher order follows.

Nothing is added in place here.  The contributions to parts of a value, as from ``x[i]``, wait until the value is
visited, and are then put together by one recorded operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappush
from typing import Any

from ..typing import Value
from .node import Leaf, Node
from .partial_gradient import Part
from .primitive import Primitive
from .sums import Add, Totals
from .tensor import wrap

__all__ = ["Parts", "adding_tensors", "node_inputs"]


class Parts(list[Any]):
    """The parts of one value in a recorded sweep, beside the sum of its whole contributions, if it has any."""

    whole: Value | None = None

    def sum(self) -> Value:
        """All of them, by one recorded operation."""
        together: Value = self[0].together(self)
        return together if self.whole is None else self.whole + together


def adding_tensors(heap: list[int], totals: Totals) -> Add:
    """Sums of Tensors, recorded; the parts of a value wait in :class:`Parts` until it is visited."""

    def add(node: Leaf | Node, contribution: Any, may_write: bool, is_new: bool = False) -> None:
        total = totals.get(node.index)
        if total is None:
            heappush(heap, -node.index)  # at once, also for a first part, which is summed only when the node is visited
            total = totals[node.index] = [node, None, False]
        before = total[1]
        if isinstance(contribution, Part) and contribution.together is not None:
            if type(before) is not Parts:
                total[1] = Parts()
                total[1].whole = before  # what came before the first part
            total[1].append(contribution)
        elif type(before) is Parts:
            before.whole = contribution if before.whole is None else before.whole + contribution
        elif before is None:
            total[1] = contribution.start() if isinstance(contribution, Part) else contribution
        elif isinstance(contribution, Part):  # of a fused primitive: into the list of its outputs' cotangents
            contribution.add_to(before)
        else:
            total[1:] = before + contribution, True

    return add


def node_inputs(node: Node, primitive: Primitive) -> tuple[Sequence[Value], Value]:
    """The saved arguments and output of a node as Tensors with their history, for a vjp that is recorded."""
    assert node.args is not None
    args = list(node.args)
    for position, (value, parent) in enumerate(zip(args, node.parents, strict=True)):
        versions = node.versions[position] if node.versions else None
        # not saved, or a number: the vjp takes it as it is
        if value is not parent and (parent is not None or versions is not None):
            args[position] = t = wrap(value, parent)
            t._versions = versions
    ans = node.ans
    if ans is not None and primitive.vjp_all is None:  # of a fused primitive it is the kernel's residual, no output
        ans = wrap(ans, node)
        ans._versions = node.versions[-1]
    return args, ans

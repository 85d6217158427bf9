"""Pruning: which nodes lie on a way from the seeds of a sweep to the tensors whose gradients are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .node import Leaf, Node

__all__ = ["way_to"]


def way_to(wanted: Sequence[Leaf | Node], seeds: Iterable[tuple[Leaf | Node, Any]]) -> dict[str, set[int]]:
    """What ``sweep`` needs to know to visit only what the ``wanted`` nodes need: ``goals`` and ``on_way``."""
    reached: dict[int, Leaf | Node] = {}
    stack = [node for node, _ in seeds]  # explicit: a loop over time is deeper than Python may recurse
    while stack:
        node = stack.pop()
        if node.index not in reached:
            reached[node.index] = node
            if isinstance(node, Node):
                stack.extend([parent for parent in node.parents if parent is not None])
    goals = {node.index for node in wanted}
    on_way = set(goals)
    for index in sorted(reached):  # parents before their children
        node = reached[index]
        if isinstance(node, Node) and any(p is not None and p.index in on_way for p in node.parents):
            on_way.add(index)
    return {"goals": goals, "on_way": on_way}

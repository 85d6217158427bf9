"""Stand-ins: a node whose primitive is replaced by one that does more when the sweep comes to it.

Hooks of a node, checkpointing and hooks on saved values all need to act when one node is swept.  Each gives that
node a copy of its primitive whose joint vjp is its own, and which ends in the original's.  The sweep stays as it is,
and nodes without such wishes pay nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

from ..typing import Value
from .modes import state
from .node import Node
from .primitive import Primitive
from .sweep import node_inputs
from .tensor import wrap

__all__ = ["Pull", "contributions", "replace_primitive", "stand_in"]

Pull = Callable[[Node, Primitive, Value, "tuple[bool, ...]", bool], "Sequence[Value]"]


def contributions(node: Node, primitive: Primitive, g: Value, needs: Sequence[bool], record: bool) -> list[Value]:
    """What ``primitive``'s vjps contribute to each parent of ``node``: what the sweep would do there."""
    assert node.args is not None
    args, ans = node_inputs(node)[0] if record else node.args, node.ans
    if primitive.joint is not None:
        pull = primitive.recorded_joint if record else primitive.joint
        assert pull is not None
        return list(pull(g, ans, *args, needs=tuple(needs), **node.params))
    if record and ans is not None:
        ans = wrap(ans, node)
        ans._clock = node.clocks[-1]
    found: list[Value] = []
    for position, need in enumerate(needs):
        vjp = primitive.vjps[position] if need else None
        found.append(None if vjp is None else vjp(g, ans, *args, **node.params))
    return found


def stand_in(node: Node, pull: Pull) -> None:
    """From now on, ``pull(node, original, g, needs, record)`` gives what ``node`` contributes to its parents."""
    reference = weakref.ref(node)  # the node owns this primitive
    originals = [node.primitive]

    def joint(g: Value, ans: Value, *args: Value, needs: tuple[bool, ...], **params: object) -> Sequence[Value]:
        swept = reference()
        assert swept is not None
        return pull(swept, originals[0], g, needs, state.recording)

    before: Callable[[Primitive], None] | None = vars(node).get("replace")
    node.primitive = node.primitive.with_joint(joint)

    def replace(primitive: Primitive) -> None:
        originals[0] = primitive

    node.replace = before or replace  # type: ignore[attr-defined]


def replace_primitive(node: Node, primitive: Primitive) -> None:
    """Give a node another primitive, beneath what stands in for it."""
    replace = vars(node).get("replace")
    if replace is None:
        node.primitive = primitive
    else:
        replace(primitive)

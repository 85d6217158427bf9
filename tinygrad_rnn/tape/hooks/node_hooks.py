"""Stand-ins: a node whose primitive is replaced by one that does more when the sweep comes to it.

Hooks of a node, checkpointing and hooks on saved values all need to act when one node is swept.  Each gives that
node a copy of its primitive whose ``vjp_all`` is its own, and which ends in the original's.  The sweep stays as it is,
and nodes without hooks pay nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from ...typing import Cotangent
from ..modes import state
from ..node import Node
from ..partial_gradient import Contributions
from ..primitive import Primitive

__all__ = ["Pull", "replace_primitive", "stand_in"]

Pull = Callable[[Node, Primitive, Cotangent, "tuple[bool, ...]", bool], Contributions]


def stand_in(node: Node, pull: Pull) -> None:
    """From now on, ``pull(node, original, g, needs, record)`` gives what ``node`` contributes to its parents."""
    reference = weakref.ref(node)  # the node owns this primitive
    originals = [node.primitive]

    def vjp_all(g: Cotangent, ans: Any, *args: Any, needs: tuple[bool, ...], **params: object) -> Contributions:
        swept = reference()
        assert swept is not None
        return pull(swept, originals[0], g, needs, state.recording)

    # of a stand-in below this one, which holds the original
    before: Callable[[Primitive], None] | None = vars(node).get("replace")
    node.primitive = node.primitive.with_vjp_all(vjp_all)

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

"""Noticing a graph that grows from one training step to the next, which is how training runs out of memory.

Two mistakes make a graph grow in training, and each shows in what successive calls of ``backward`` start from:

* the losses themselves are kept, as tensors (``running += loss``, ``losses.append(loss)``): the nodes near where the
  last calls started are all still alive, although their graphs were freed;
* a state is carried from step to step without ``detach()``, and swept again with ``retain_graph=True``: each graph
  reaches back to the same old nodes, and has more of them than the one before.

A third grows where no ``backward`` is called at all, as in a validation loop that adds up losses and runs without
``no_grad``.  It shows in the losses: very many are alive that have nothing in common but leaves.  Steps of one long
sequence have their states in common, and are left alone.

The cost is a weak reference for some calls of ``backward`` and for some losses; graphs are counted only where many are
retained.
"""

from __future__ import annotations

import weakref
from _thread import _local as local  # without the rest of threading, which takes 0.5 ms to load
from collections import deque

from ...source_line import warn_user
from ..node import Leaf, Node, now

__all__ = ["EVERY", "GrowingGraph", "note_backward", "note_loss", "past"]

EVERY = 8  # one call in so many is looked at
KEPT = 16  # if the graphs of so many of these in a row are alive, they are kept
DEPTH = 4  # so far inside: what is kept may be the loss before it was scaled, or its mean was taken
UNSWEPT = 128  # so many of these losses in a row, with no backward() among them
SWEPT = 32  # graphs that are retained are counted at every so many calls


class GrowingGraph(UserWarning):
    """A graph that is never let go."""


class _Past(local):
    """What happened in this thread.

    Attributes:
        calls: of ``backward``, which counts them itself.
    """

    def __init__(self) -> None:
        self.inside: deque[weakref.ref[Node]] = deque(maxlen=KEPT)
        self.losses: deque[weakref.ref[Node]] = deque(maxlen=UNSWEPT)
        self.computed = 0
        self.computed_at = 0
        self.calls = 0
        self.retained = 0
        self.retained_at = 0
        self.tick = 0
        self.begin = 0
        self.size = 0
        self.warned: set[str] = set()


past = _Past()


def note_backward(node: Node, keep: bool) -> None:
    """``backward`` is about to start from ``node``; of calls that free their graph, one in ``EVERY`` comes here."""
    if keep:
        _note_retained(node)
        return
    past.inside.append(weakref.ref(_a_little_inside(node)))
    if past.calls % (EVERY * KEPT) or "kept" in past.warned:
        return
    # distinct ones: backward() may have started from one loss again and again
    if len({id(inside) for inside in [reference() for reference in past.inside] if inside is not None}) == KEPT:
        _warn(
            "kept",
            f"the graphs of the last {EVERY * KEPT} calls of backward() are still held: a tensor of each is kept, as "
            "by `running += loss` or `losses.append(loss)`, so memory grows with every step. Keep the number: "
            "loss.item(), or loss.detach()",
        )


def note_loss(node: Leaf | Node | None) -> None:
    """A loss was computed at ``node`` (None: unrecorded), which may or may not be swept some day."""
    if not isinstance(node, Node):
        return
    if past.computed_at != past.calls:
        past.computed, past.computed_at = 0, past.calls  # those before will have left the queue when it is full again
    past.computed += 1
    if past.computed % EVERY:
        return
    past.losses.append(weakref.ref(node))
    if past.computed % (EVERY * UNSWEPT) or "unswept" in past.warned:
        return
    alive = [loss for loss in [reference() for reference in past.losses] if loss is not None]
    if len(alive) == UNSWEPT and _reaches_back_to(alive[-1]) > alive[-2].index:
        _warn(
            "unswept",
            f"the graphs of the last {EVERY * UNSWEPT} losses are held, and backward() was called for none of them: a "
            "tensor of each is kept, as by `total += loss`, so memory grows with every batch. To evaluate, compute "
            "under no_grad(), or add up loss.item(); to train, call backward() for each: gradients add up",
        )


def _reaches_back_to(node: Node) -> int:
    """The tick of the oldest node that a graph needs, leaves apart."""
    oldest, seen = node.index, {node.index}
    stack: list[Node] = [node]
    while stack:
        for parent in stack.pop().parents:
            if isinstance(parent, Node) and parent.index not in seen:
                seen.add(parent.index)
                oldest = min(oldest, parent.index)
                stack.append(parent)
    return oldest


def _a_little_inside(node: Node) -> Node:
    """A node of this step that is alive as long as the loss or what it was made from is (``(loss / n).backward()``)."""
    for _ in range(DEPTH):
        # the latest parent: other ways may lead out of this step
        latest = max([p for p in node.parents if isinstance(p, Node)], key=lambda p: p.index, default=None)
        if latest is None:
            break
        node = latest
    return node


def _note_retained(node: Node) -> None:
    """Of many sweeps in a row that retain their graphs: do these have more and more nodes made since the first?"""
    if past.calls != past.retained_at + 1:  # a call that freed its graph came between
        past.retained = 0
    past.retained_at = past.calls
    made_before = node.index < past.tick
    past.tick = now()  # later than every node of this step
    if made_before:  # not a new step, but another part of what was there
        past.retained = 0
        return
    if past.retained == 0:
        past.begin, past.size = node.index, 0
    past.retained += 1
    if past.retained % SWEPT or "swept" in past.warned:
        return
    size = _nodes_since(past.begin, node)
    if past.size and size >= past.size + SWEPT:  # a node for each call at least; a graph of one size is in order
        _warn(
            "swept",
            f"backward(retain_graph=True) goes back through {size} nodes, and {SWEPT} calls ago it was {past.size}: "
            "the graph grows with every step. A state carried to the next step brings its whole past along: "
            "h = h.detach()",
        )
    past.size = size


def _nodes_since(begin: int, node: Node) -> int:
    """How many nodes of a graph were made at ``begin`` or later."""
    seen = {node.index}
    stack: list[Node] = [node]
    while stack:
        for parent in stack.pop().parents:
            if isinstance(parent, Node) and parent.index >= begin and parent.index not in seen:
                seen.add(parent.index)
                stack.append(parent)
    return len(seen)


def _warn(kind: str, message: str) -> None:
    """Warn once, at the user's line."""
    past.warned.add(kind)
    warn_user(message, GrowingGraph)

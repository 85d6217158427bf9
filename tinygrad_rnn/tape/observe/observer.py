"""The seam through which recording and the sweep are watched, by the Tape and by anomaly detection.

A watcher only looks: it gets the engine's own objects and changes none of them.  When nobody watches, the
engine pays for one test of an empty tuple.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from ...typing import Value
from ..modes import state

if TYPE_CHECKING:
    from ..node import Leaf, Node

__all__ = ["EndWatcher", "Watcher", "Watching"]

W = TypeVar("W", bound="Watching")


class Watcher(Protocol):
    """What can be seen: each node as it is recorded, and each move of a backward sweep."""

    def recorded(self, node: Node, output: Value) -> None:
        """A node was just recorded, with its output as a raw array (a tuple of them for a fused primitive)."""

    def sweep_begins(self) -> None:
        """A backward sweep starts."""

    def reached(self, node: Node | Leaf, cotangent: Value) -> None:
        """The sweep reached a node: ``cotangent`` is the complete sum of its uses' contributions."""

    def contributed(self, node: Node, position: int, parent: Node | Leaf, contribution: Value) -> None:
        """The vjp of ``node`` for its argument ``position`` gave ``contribution`` to ``parent``."""


class Watching:
    """A watcher that is switched on by ``with``: it sees what this thread records and sweeps."""

    def __enter__(self: W) -> W:
        here, me = state.here, cast("Watcher", self)
        here.watchers = (*here.watchers, me)
        return self

    def __exit__(self, *exc: Any) -> None:
        here = state.here
        me: Any = self
        if here.watchers and here.watchers[-1] is me:  # without a call, before which a signal could come
            here.watchers = here.watchers[:-1]
        else:
            others = list(here.watchers)
            places = [k for k, watcher in enumerate(others) if watcher is me]
            if places:  # left out of turn, or by another thread than the one that entered
                del others[places[-1]]
            here.watchers = tuple(others)


class EndWatcher(Watcher, Protocol):
    """A watcher that also wants to know how a sweep ends."""

    def sweep_ends(self, error: BaseException | None) -> None:
        """The sweep that began last is over, or failed with ``error``.  (A vjp may itself sweep: they nest.)"""

"""The seam through which recording and the sweep are watched, by the Tape and by anomaly detection.

A watcher only looks: it gets the engine's own objects and changes none of them.  When nobody watches, the
engine pays for one test of an empty tuple.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..typing import Value
from .modes import state

if TYPE_CHECKING:
    from .node import Leaf, Node

__all__ = ["EndWatcher", "Watcher", "told", "watching"]


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


class watching:
    """``with watching(watcher):`` lets a watcher see what this thread records and sweeps."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def __enter__(self) -> None:
        state.watchers = (*state.watchers, self._watcher)

    def __exit__(self, *exc: Any) -> None:
        remaining = list(state.watchers)
        remaining.reverse()  # the innermost one of equal watchers goes
        remaining.remove(self._watcher)
        state.watchers = tuple(reversed(remaining))


class EndWatcher(Watcher, Protocol):
    """A watcher that also wants to know how a sweep ends."""

    def sweep_ends(self, error: BaseException | None) -> None:
        """The sweep that began last is over, or failed with ``error``.  (A vjp may itself sweep: they nest.)"""


class told:
    """``with told(watchers):`` around a sweep tells them when it begins and how it ends."""

    def __init__(self, watchers: tuple[Watcher, ...]) -> None:
        self._watchers = watchers

    def __enter__(self) -> None:
        for watcher in self._watchers:
            watcher.sweep_begins()

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        for watcher in self._watchers:
            if hasattr(watcher, "sweep_ends"):
                watcher.sweep_ends(error)

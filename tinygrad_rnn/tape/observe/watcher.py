"""Watchers that ``with`` switches on: the Tape, anomaly detection, hooks on saved tensors."""

from __future__ import annotations

from typing import Any, TypeVar

from ..modes import Watcher, state

__all__ = ["Watching"]

W = TypeVar("W", bound="Watching")


class Watching(Watcher):
    """A watcher that is switched on by ``with``: it sees what this thread records and sweeps."""

    def __enter__(self: W) -> W:
        here = state.here
        here.watchers = (*here.watchers, self)
        return self

    def __exit__(self, *exc: Any) -> None:
        here = state.here
        if here.watchers and here.watchers[-1] is self:  # without a call, before which a signal could come
            here.watchers = here.watchers[:-1]
        else:
            others = list(here.watchers)
            places = [k for k, watcher in enumerate(others) if watcher is self]
            if places:  # left out of turn, or by another thread than the one that entered
                del others[places[-1]]
            here.watchers = tuple(others)

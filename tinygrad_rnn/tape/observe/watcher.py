"""Watchers that ``with`` switches on: the Tape, anomaly detection, hooks on saved tensors, and those of users."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from ...errors import ArgumentTypeError
from ..modes import Here, Watcher, state

__all__ = ["Watching", "out_of_turn", "watching"]

W = TypeVar("W", bound=Watcher)
Self = TypeVar("Self", bound="Watching")


class Watching(Watcher):
    """A watcher that is switched on by ``with``: it sees what this thread records and sweeps."""

    def __enter__(self: Self) -> Self:
        here = state.here
        here.watchers = (*here.watchers, self)
        return self

    def __exit__(self, *exc: Any) -> None:
        here = state.here
        if here.watchers and here.watchers[-1] is self:  # without a call, before which a signal could come
            here.watchers = here.watchers[:-1]
        else:
            out_of_turn(here, self)


class watching(Generic[W]):
    """Inside ``with``, a watcher sees what this thread records, and each move of its backward sweeps.

    >>> import tinygrad_rnn as tg
    >>> class Names(tg.autograd.graph.Watcher):
    ...     def applied(self, operation, inputs, params, output):
    ...         print(operation.name)
    >>> with tg.autograd.graph.watching(Names()):
    ...     _ = tg.tanh(tg.ones(2) * 3)
    mul
    tanh
    """

    def __init__(self, watcher: W) -> None:
        if not isinstance(watcher, Watcher):
            raise ArgumentTypeError(f"watching(): expected a Watcher, got {type(watcher).__name__}")
        self.watcher = watcher

    def __enter__(self) -> W:
        here = state.here
        here.watchers = (*here.watchers, self.watcher)
        return self.watcher

    def __exit__(self, *exc: Any) -> None:
        here, watcher = state.here, self.watcher
        if here.watchers and here.watchers[-1] is watcher:
            here.watchers = here.watchers[:-1]
        else:
            out_of_turn(here, watcher)


def out_of_turn(here: Here, watcher: Watcher) -> None:
    """Switch off a watcher that is left out of turn, or by another thread than the one that entered."""
    others = list(here.watchers)
    places = [k for k, other in enumerate(others) if other is watcher]
    if places:
        del others[places[-1]]
    here.watchers = tuple(others)

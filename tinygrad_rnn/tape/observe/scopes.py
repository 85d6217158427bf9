"""Where in a program an operation is applied: module, layer, direction and time step, for whoever watches.

The engine knows nothing of time or of modules.  Code that does, such as the loop of a composed recurrent layer, says so
here, and a Tape notes it beside each record.  It is said only where something watches: without, a loop over time costs
nothing more, and a sequence or a layer one test.

A scope belongs to a thread, like the modes beside it, and ends as they do: by plain assignments in a ``finally``.
"""

from __future__ import annotations

import functools
import operator
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from ...errors import ArgumentError, ArgumentTypeError
from ..modes import state

__all__ = ["CALLS", "NOWHERE", "Scope", "at", "inside", "restored", "timed"]

F = TypeVar("F", bound=Callable[..., Any])

CALLS: OrderedDict[int, Any] = OrderedDict()
"""Why a call of a module does more than to run ``forward``: hooks of all modules, and tapes that are open.

One table for both, so that a call of a module asks once."""


class Scope(NamedTuple):
    """A place in a program.

    Attributes:
        module: the path of the module whose ``forward`` runs, as ``model.encoder``; None outside of modules.
        layer, direction: of a stack of recurrent layers, from 0; direction 1 reads from the end.
        time: the time step, from 0.
        origin: what the loop over time that comes next counts from: a piece of a sequence begins in the middle.
        owner: the module itself.
    """

    module: str | None = None
    layer: int | None = None
    direction: int | None = None
    time: int | None = None
    origin: int = 0
    owner: Any = None

    def __str__(self) -> str:
        """``lstm layer 1 reverse t=3``, without what is not known."""
        parts = [self.module or ""]
        if self.layer is not None:
            parts.append(f"layer {self.layer}")
        if self.direction:
            parts.append("reverse")
        if self.time is not None:
            parts.append(f"t={self.time}")
        return " ".join(part for part in parts if part)


NOWHERE = Scope()


def inside(function: Callable[..., Any], /, *args: Any, scope: dict[str, Any]) -> Any:
    """``function(*args)`` in the present scope with some of its fields changed."""
    here = state.here
    before = here.scope
    try:
        here.scope = (before or NOWHERE)._replace(**scope)
        result = function(*args)
    finally:
        here.scope = before
    return result


def restored(function: F) -> F:
    """The function, after which the scope is as it was before: of a loop whose steps are :func:`timed`."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        here = state.here
        if not here.watchers:
            return function(*args, **kwargs)
        before = here.scope
        try:
            result = function(*args, **kwargs)
        finally:
            here.scope = before
        return result

    return run  # type: ignore[return-value]


def timed(steps: Iterable[int]) -> Iterable[int]:
    """The same numbers, each of them the time step until the next is asked for; the caller is ``restored``.

    >>> from tinygrad_rnn.tape.modes import Watcher, watched
    >>> def times():
    ...     return [state.here.scope and state.here.scope.time for _ in timed(range(2))]
    >>> times(), watched(Watcher(), restored(times))
    ([None, None], [0, 1])
    """
    return _timed(steps) if state.here.watchers else steps


def _timed(steps: Iterable[int]) -> Iterable[int]:
    here = state.here
    before = here.scope
    scope = (before or NOWHERE)._replace(origin=0)
    origin = 0 if before is None else before.origin
    for t in steps:
        here.scope = scope._replace(time=origin + t)
        yield t
    here.scope = before


class at:
    """What is recorded inside ``with`` is at this place: ``with tape.at(t=3)``.  See :meth:`Tape.at`."""

    def __init__(self, t: int | None, layer: int | None, direction: int | None) -> None:
        given = {"time": _index("t", t), "layer": _index("layer", layer), "direction": _index("direction", direction)}
        if given["direction"] not in (None, 0, 1):
            raise ArgumentError(f"Tape.at(): direction is 0 (from the beginning) or 1 (from the end), not {direction}")
        self._given: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._before: list[tuple[Any, Scope | None]] = []  # of each entry its thread's modes, and what was there

    def __enter__(self) -> None:
        here = state.here
        self._before.append((here, here.scope))
        here.scope = (here.scope or NOWHERE)._replace(**self._given)

    def __exit__(self, *exc: Any) -> None:
        here, before = self._before.pop()
        here.scope = before


def _index(name: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ArgumentTypeError(f"Tape.at(): {name} must be an integer, not {type(value).__name__}") from None
    return number

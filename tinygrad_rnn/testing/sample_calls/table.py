"""The table of sample calls: primitive name -> strategy of calls, filled by decorators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

__all__ = ["INEXACT", "SAMPLES", "Call", "Calls", "add_samples", "inexact"]

Calls = st.SearchStrategy["Call"]


class Call(NamedTuple):
    """One application of a primitive.

    Attributes:
        args: raw arrays, or None, or numbers.
        params: keyword parameters.
        function: called instead of the primitive itself, where a function of the library computes its parameters.
    """

    args: tuple[Any, ...]
    params: dict[str, Any] = {}  # noqa: RUF012 (the default of a named tuple, which is not written to)
    function: Callable[..., Any] | None = None


SAMPLES: dict[str, Callable[[], Calls]] = {}
"""Primitive name -> function that gives its strategy of calls."""


INEXACT: dict[str, str] = {}
"""Primitives whose vjp is not the derivative of their forward, on purpose, and why."""


def inexact(name: str, reason: str) -> None:
    """Declare that the gradient of a primitive is meant to differ from the derivative of its value."""
    INEXACT[name] = reason


def add_samples(*names: str) -> Callable[[Callable[[], Calls]], Callable[[], Calls]]:
    """Decorator: register a function that returns the strategy of calls for the primitives of these names."""

    def add(row: Callable[[], Calls]) -> Callable[[], Calls]:
        for name in names:
            SAMPLES[name] = row
        return row

    return add

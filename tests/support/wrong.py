"""Wrong vjps made from right ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tinygrad_rnn.tape.partial_gradient import Part

__all__ = ["mapped", "times"]


def mapped(contribution: Any, change: Callable[[Any], Any]) -> Any:
    """A contribution with its values changed; a Part is a contribution that holds them inside."""
    if contribution is None:
        return None
    if isinstance(contribution, Part):
        part = copy.copy(contribution)
        part.g = change(part.g)
        return part
    return change(contribution)


def times(vjp: Callable[..., Any], factor: float) -> Callable[..., Any]:
    """A vjp whose result is multiplied by a factor."""
    return lambda *args, **params: mapped(vjp(*args, **params), lambda g: g * factor)

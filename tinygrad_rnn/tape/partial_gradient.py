"""A contribution to a gradient that knows how to add itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..typing import Value

__all__ = ["Contribution", "Contributions", "Part"]

Contribution: TypeAlias = "Value | Part | None"
"""What a vjp gives for one argument; None where there is no gradient."""
Contributions: TypeAlias = "Sequence[Contribution]"
"""What it gives for all arguments."""


class Part:
    """A contribution that covers only part of its parent: it adds itself to a total, instead of being added.

    The vjp of ``x[i]`` would otherwise fill a whole array with zeros for every use of ``x``.
    """

    __slots__ = ()

    def start(self) -> Any:
        """A new total holding this part alone."""
        raise AssertionError("a Part says how it starts a total")

    def take(self) -> Any:
        """As ``start``, but into the cotangent that the part was made from, which nothing else needs any more."""
        return self.start()

    def add_to(self, total: Any) -> None:
        """Add this part to a total that the sweep owns."""
        raise AssertionError("a Part says how it is added")

    together: Callable[[list[Any]], Any] | None = None
    """In a sweep that is recorded, where nothing is added into: the sum of several parts as one operation."""

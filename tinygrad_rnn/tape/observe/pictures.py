"""The way from what is shown to what draws it, which stands above the engine and is loaded when something is drawn.

The engine imports nothing of ``viz``.  Who puts the package together says how a module there is loaded; a method such
as ``Tape.to_svg`` asks for it by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["draw_with", "drawn_by"]

_loader: list[Callable[[str], Any]] = []


def draw_with(load: Callable[[str], Any]) -> None:
    """Take modules that draw from ``load``, which is called with a name in ``viz``, such as ``"still"``."""
    _loader[:] = [load]


def drawn_by(name: str) -> Any:
    """The module of ``viz`` with that name.

    >>> drawn_by("layout").__name__
    'tinygrad_rnn.viz.layout'
    """
    return _loader[0](name)

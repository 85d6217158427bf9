"""The way from what is shown to what draws it, which stands above the engine and is loaded when something is drawn.

The engine imports nothing of ``viz``.  Who puts the package together says how a module there is loaded; a method such
as ``Tape.to_svg`` asks for it by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..node import Node

__all__ = ["draw_with", "drawn_by", "html_of", "notebooks"]

_loader: list[Callable[[str], Any]] = []


class _Notebooks:
    """What notebooks are given.

    Attributes:
        html: whether it is HTML, or text alone: see ``set_printoptions``.
    """

    html = True


notebooks = _Notebooks()


def draw_with(load: Callable[[str], Any]) -> None:
    """Take modules that draw from ``load``, which is called with a name in ``viz``, such as ``"still"``."""
    _loader[:] = [load]


def drawn_by(name: str) -> Any:
    """The module of ``viz`` with that name.

    >>> drawn_by("layout").__name__
    'tinygrad_rnn.viz.layout'
    """
    return _loader[0](name)


def html_of(module: str, function: str, *given: Any) -> str | None:
    """What a notebook shows of something, by a function of a module of ``viz``; None if it is to show text."""
    if not notebooks.html:
        return None
    text: str = getattr(drawn_by(module), function)(*given)
    return text


def _node_html(self: Node) -> str | None:
    """What a notebook shows of a node: its formula, its parents and what it saved."""
    return html_of("notebook", "node", self)


Node._repr_html_ = _node_html  # type: ignore[attr-defined]

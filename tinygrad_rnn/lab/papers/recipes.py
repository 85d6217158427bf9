"""All recipes, and how one is found by its name."""

from __future__ import annotations

import difflib

from ...errors import UsageError
from .clipping import CLIFF, CLIPPING
from .forgetting import CONTINUAL
from .guessing import LATCH, PARITY
from .long_lags import LONG_LAGS
from .others import AGREEMENT, CHUNKER, COPY
from .recipe import Recipe

__all__ = ["RECIPES", "find"]

RECIPES: tuple[Recipe, ...] = (
    *LONG_LAGS,
    CONTINUAL,
    LATCH,
    PARITY,
    CHUNKER,
    CLIFF,
    CLIPPING,
    COPY,
    AGREEMENT,
)
"""In the order of the table."""


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UsageError: there is none.

    >>> find("latch").title
    'Latch II: one bit held for 500 steps, by guessing'
    """
    names = [recipe.name for recipe in RECIPES]
    if name in names:
        return RECIPES[names.index(name)]
    close = difflib.get_close_matches(name, names, 1)
    raise UsageError(
        f"there is no recipe {name!r}; " + (f"is it {close[0]!r}?" if close else f"there are {', '.join(names)}")
    )

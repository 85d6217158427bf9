"""Warnings that point at the user's line, however many of our own calls lie between."""

from __future__ import annotations

import sys
import warnings

__all__ = ["caution"]

OURS = __name__.partition(".")[0] + "."


def caution(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, at the innermost line that is not of this package.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warnings.simplefilter("always")
    ...     caution("mind the gap")
    >>> str(seen[0].message)
    'mind the gap'
    """
    level = 2
    frame = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(OURS):
        level += 1
        frame = frame.f_back  # type: ignore[assignment]
    warnings.warn(message, category, stacklevel=level)

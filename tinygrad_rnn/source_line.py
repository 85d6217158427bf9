"""The line of the user's program that is running, and warnings that point at it.

It is the line of the innermost frame outside this package.  The number of our frames between it and a warning depends
on the entry point, so that a fixed ``stacklevel`` would often point at a line of ours.
"""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType
from typing import NamedTuple

__all__ = ["Line", "in_package", "user_frame", "user_line", "warn_user"]

_PACKAGE = os.path.dirname(os.path.abspath(sys.modules[__name__.partition(".")[0]].__file__ or "")) + os.sep
_PROGRAMS = os.path.join(_PACKAGE, "lab", "items", "")
"""Programs that use the package as its users do, and are shown as theirs."""


class Line(NamedTuple):
    """A line of source: its file, number and text."""

    file: str
    number: int
    function: str

    @property
    def text(self) -> str:
        """The source itself, if it can be read."""
        import linecache

        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        folder, name = os.path.split(self.file)
        if os.path.basename(folder).startswith("ipykernel_"):  # a cell of a notebook, whose file has a long number
            name = "cell"
        return f"{name}:{self.number}"


def in_package(frame: FrameType) -> bool:
    """Whether a frame runs code of this package, which the experiments of the laboratory are not."""
    file = frame.f_code.co_filename
    return file.startswith(_PACKAGE) and not file.startswith(_PROGRAMS)


def user_frame() -> FrameType | None:
    """The innermost frame that is not code of this package; None if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and in_package(frame):
        frame = frame.f_back
    return frame


def user_line() -> Line | None:
    """The line of the user's program that is running."""
    frame = user_frame()
    return None if frame is None else Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, at the user's line.

    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warnings.simplefilter("always")
    ...     warn_user("mind the gap")
    >>> str(seen[0].message), seen[0].lineno
    ('mind the gap', 3)
    """
    frame = user_frame()
    if frame is None:  # a thread of ours
        warnings.warn(message, category, stacklevel=2)
        return
    known = frame.f_globals
    registry = known.setdefault("__warningregistry__", {})  # where Python notes what it has shown once
    name = known.get("__name__", "<string>")
    warnings.warn_explicit(message, category, frame.f_code.co_filename, frame.f_lineno, name, registry)

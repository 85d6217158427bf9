"""Which line of the user's program is running: the innermost frame outside this package."""

from __future__ import annotations

import linecache
import os
import sys
from types import FrameType
from typing import NamedTuple

__all__ = ["Line", "user_frame", "user_line"]

_PACKAGE = os.path.dirname(os.path.abspath(sys.modules[__name__.partition(".")[0]].__file__ or "")) + os.sep


class Line(NamedTuple):
    """A line of source: its file, number and text."""

    file: str
    number: int
    function: str

    @property
    def text(self) -> str:
        """The source itself, if it can be read."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.number}"


def user_frame() -> FrameType | None:
    """The innermost frame that is not code of this package; None if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return frame


def user_line() -> Line | None:
    """The line of the user's program that is running."""
    frame = user_frame()
    return None if frame is None else Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)

"""The files of the package that a call runs through."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable
from types import FrameType

import tinygrad_rnn as tg

__all__ = ["PACKAGE", "visited"]

PACKAGE = pathlib.Path(tg.__file__).parent


def visited(call: Callable[[], object]) -> dict[str, list[str]]:
    """The files in the order in which ``call`` comes to them, with the names of the functions that it enters there."""
    found: dict[str, list[str]] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        file = pathlib.Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(PACKAGE):
            found.setdefault(file.relative_to(PACKAGE).as_posix(), []).append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return found

"""What a program has to do with its terminal: streams that must not end it, text that is safe to show, Ctrl-C.

A terminal is closed, a disk that a log goes to is full, ``| head`` has had enough: training goes on and saves.

Python turns SIGINT into KeyboardInterrupt, which a program can answer in a line of its own; but only while its own code
runs.  Before that, some tenths of a second of imports, and after it, the operating system's answer is the better one:
the program is over at once, and without a traceback.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import IO, Any

__all__ = ["Outlet", "ctrl_c_ends", "has_output", "heeding_ctrl_c", "open_missing_streams", "patient_streams"]
__all__ += ["printable", "say", "settle", "told"]

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but newline and tab; and those that turn the direction of what follows."""


def printable(text: str) -> str:
    r"""``text`` with its control characters as escapes, for a terminal obeys them wherever they come from.

    >>> printable("a file\x1b]0;called so\a, café\r\n")
    'a file\\x1b]0;called so\\x07, café\n'
    """
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def told(error: OSError) -> str:
    """An error of the operating system in a few words: what, and with which file."""
    return f"{error.strerror or error}{f': {os.fsdecode(error.filename)}' if error.filename else ''}"


def say(message: object) -> None:
    """One line of the program's own on standard error, if it can be written."""
    stream = Outlet(sys.stderr)
    print(f"tinygrad-rnn: {printable(' '.join(str(message).splitlines()))}", file=stream)
    stream.flush()


class Outlet:
    """A stream that is written to as long as that works; ``stream`` may be None, as it is where it was closed.

    Attributes:
        error: what came when it did not work; from then on all that is written is dropped.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self.error: OSError | ValueError | None = None
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text`` or drop it; its length."""
        if self._stream is not None:
            with self._looking():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write out what waits, or drop it."""
        if self._stream is not None:
            with self._looking():
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal that works."""
        with contextlib.suppress(ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: somebody closed the stream itself
            if isinstance(error, UnicodeError):
                raise
            self.error = error
            _silence(self._stream)
            self._stream = None


@contextlib.contextmanager
def patient_streams() -> Iterator[Outlet]:
    """Within it, what cannot be written to standard output and standard error is dropped.

    Returns:
        What stands for standard output.
    """
    before = sys.stdout, sys.stderr
    output = Outlet(sys.stdout)
    sys.stdout, sys.stderr = output, Outlet(sys.stderr)
    try:
        yield output
        output.flush()
    finally:
        sys.stdout, sys.stderr = before


def has_output() -> bool:
    """Whether there is a standard output to write to."""
    return sys.stdout is not None and not sys.stdout.closed


def settle(stream: IO[str] | None) -> None:
    """Write out what ``stream`` holds; if that fails, let it go nowhere, for Python tries again at its end."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        _silence(stream)


def _silence(stream: Any) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def open_missing_streams() -> None:
    """Give the numbers 0, 1 and 2 to the null device where they are closed.

    Else the next file that is opened gets one of them, and what a library prints is written into a checkpoint.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def ctrl_c_ends() -> None:
    """Leave Ctrl-C to the operating system, which ends the program; a parent that ignores it is obeyed."""
    _change_ctrl_c(signal.default_int_handler, signal.SIG_DFL)


@contextlib.contextmanager
def heeding_ctrl_c() -> Iterator[None]:
    """Within it Ctrl-C raises KeyboardInterrupt; afterwards it ends the program."""
    _change_ctrl_c(signal.SIG_DFL, signal.default_int_handler)
    try:
        yield
    finally:
        ctrl_c_ends()


def _change_ctrl_c(before: object, after: signal.Handlers | object) -> None:
    if signal.getsignal(signal.SIGINT) is before:
        signal.signal(signal.SIGINT, after)  # type: ignore[arg-type]

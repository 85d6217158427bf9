"""Terminal handling of the command line: output streams that may fail, escaped control characters, Ctrl-C.

If the terminal is closed, the disk of a log is full or ``| head`` has ended, training continues and saves.

Python turns SIGINT into KeyboardInterrupt, which a program can report in one line, but only while its own code runs.
During the imports before that, some tenths of a second, and after it, the operating system's default is better: the
program ends at once and without a traceback.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import IO, Any

__all__ = ["TolerantStream", "ctrl_c_ends", "ctrl_c_raises", "has_output", "open_missing_streams", "tolerant_streams"]
__all__ += ["describe_error", "flush_or_silence", "printable", "say"]

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but newline and tab, and characters that change the direction of text."""


def printable(text: str) -> str:
    r"""``text`` with its control characters as escapes, because a terminal would execute them.

    >>> printable("a file\x1b]0;called so\a, café\r\n")
    'a file\\x1b]0;called so\\x07, café\n'
    """
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def describe_error(error: OSError) -> str:
    """An error of the operating system in a few words: the error and the file."""
    return f"{error.strerror or error}{f': {os.fsdecode(error.filename)}' if error.filename else ''}"


def say(message: object) -> None:
    """Print one line, prefixed by the program's name, on standard error, if it can be written."""
    stream = TolerantStream(sys.stderr)
    print(f"tinygrad-rnn: {printable(' '.join(str(message).splitlines()))}", file=stream)
    stream.flush()


class TolerantStream:
    """An output stream whose failure does not end the program; ``stream`` is None if it was closed before the start.

    Attributes:
        error: the first error; all later output is dropped.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self.error: OSError | ValueError | None = None
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text`` or drop it; return its length."""
        if self._stream is not None:
            with self._tolerating():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, or drop what it holds."""
        if self._stream is not None:
            with self._tolerating():
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a working terminal."""
        with contextlib.suppress(ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _tolerating(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: the stream object was closed
            if isinstance(error, UnicodeError):
                raise
            self.error = error
            _silence(self._stream)
            self._stream = None


@contextlib.contextmanager
def tolerant_streams() -> Iterator[TolerantStream]:
    """Drop what cannot be written to standard output and standard error inside the ``with``.

    Returns:
        The replacement of standard output.
    """
    before = sys.stdout, sys.stderr
    output = TolerantStream(sys.stdout)
    sys.stdout, sys.stderr = output, TolerantStream(sys.stderr)
    try:
        yield output
        output.flush()
    finally:
        sys.stdout, sys.stderr = before


def has_output() -> bool:
    """Whether there is a standard output to write to."""
    return sys.stdout is not None and not sys.stdout.closed


def flush_or_silence(stream: IO[str] | None) -> None:
    """Flush ``stream``; if that fails, redirect it to the null device, because Python flushes again at its exit."""
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
    """Open the null device on those of the file descriptors 0, 1 and 2 that are closed.

    Otherwise the next file to be opened gets one of them, and output of a library would be written into a checkpoint.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, which is number


def ctrl_c_ends() -> None:
    """Let Ctrl-C end the program, by the system's default, unless the parent process ignores it."""
    _change_ctrl_c(signal.default_int_handler, signal.SIG_DFL)


@contextlib.contextmanager
def ctrl_c_raises() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt inside the ``with``, and ends the program afterwards."""
    _change_ctrl_c(signal.SIG_DFL, signal.default_int_handler)
    try:
        yield
        # CPython notes that a KeyboardInterrupt has passed an exec or eval of a text, of which compilers do many, and
        # ends the process by SIGINT at its exit although it was caught, whatever the status.  The next text forgets it.
        exec("")
    finally:
        ctrl_c_ends()


def _change_ctrl_c(before: object, after: signal.Handlers | object) -> None:
    if signal.getsignal(signal.SIGINT) is before:
        signal.signal(signal.SIGINT, after)  # type: ignore[arg-type]

"""Ctrl-C while the program ``tinygrad-rnn`` is loaded or ends: it is over at once, and without a traceback.

Python turns SIGINT into KeyboardInterrupt, which a program can answer in a line of its own; but only while its own code
runs.  Before that, some tenths of a second of imports, and after it, the operating system's answer is the better one.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

__all__ = ["heeded", "end_until_heeded"]


def end_until_heeded() -> None:
    """Leave Ctrl-C to the operating system, which ends the program; a parent that ignores it is obeyed."""
    _change(signal.default_int_handler, signal.SIG_DFL)


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Within it Ctrl-C raises KeyboardInterrupt; afterwards it ends the program."""
    _change(signal.SIG_DFL, signal.default_int_handler)
    try:
        yield
    finally:
        end_until_heeded()


def _change(before: object, after: signal.Handlers | object) -> None:
    if signal.getsignal(signal.SIGINT) is before:
        signal.signal(signal.SIGINT, after)  # type: ignore[arg-type]

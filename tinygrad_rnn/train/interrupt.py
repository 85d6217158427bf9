"""Ctrl-C: the first asks the loop to stop when its update is done, the second stops at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupted", "StopRequest"]


class Interrupted(Exception):
    """The run was asked to stop, and has saved its state.

    Attributes:
        status: the exit status that tells a shell which signal it was, 128 + its number.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.status = 128 + number


class StopRequest:
    """Within ``with StopRequest() as stop:``, SIGINT and SIGTERM only set ``stop.signal`` to their number.

    A second one raises KeyboardInterrupt, wherever the program is.  The handlers that were there before come back
    at the end.  In a thread other than the main one signals are left alone: Python delivers them elsewhere.

    >>> with StopRequest() as stop:
    ...     signal.raise_signal(signal.SIGINT)
    ...     print("the update goes on")
    the update goes on
    >>> stop.signal == signal.SIGINT
    True
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number

"""Stop requests by Ctrl-C, ``kill`` or a closed terminal, which the training loop obeys once it has saved.

The first request takes effect at the end of the update and of an evaluation that is due.  A second Ctrl-C abandons that
evaluation, which the resumed run does instead.  A third stops at once, and the work since the last checkpoint is lost.
Repeated SIGTERM and SIGHUP count once, because ``timeout`` and closed terminals send them twice.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupted", "StopRequest"]

# SIGINT last: its own handler stays in place while the others are restored, so that Ctrl-C cannot leave some of them.
SIGNALS = [getattr(signal, name) for name in ("SIGHUP", "SIGTERM", "SIGINT") if hasattr(signal, name)]


class Interrupted(Exception):
    """The run was stopped by a signal; the message says what is saved.

    Attributes:
        status: the exit status by shell convention, 128 + the number of the signal.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.status = 128 + number


class StopRequest:
    """Within ``with StopRequest() as stop:``, SIGINT, SIGTERM and SIGHUP only set ``stop.signal`` to their number.

    The third SIGINT raises KeyboardInterrupt at once; see ``patience``.  A signal that was ignored before, as SIGHUP is
    under ``nohup``, stays ignored.  The previous handlers are restored at the end.  In a thread other than the main one
    signals are left alone, because Python delivers them to the main thread.

    >>> with StopRequest() as stop:
    ...     signal.raise_signal(signal.SIGINT)
    ...     print("the update goes on")
    the update goes on
    >>> stop.signal == signal.SIGINT
    True
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._presses = 0
        self._patience: float = 3
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            try:
                for number in SIGNALS:
                    if signal.getsignal(number) is not signal.SIG_IGN:
                        # Remembered first: a Ctrl-C between these two lines finds what to restore.
                        self._before[number] = signal.getsignal(number)
                        signal.signal(number, self._request)
            except BaseException:  # Ctrl-C before its handler was installed
                self._restore()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    @contextlib.contextmanager
    def patience(self, presses: float) -> Iterator[None]:
        """Inside, the ``presses``-th Ctrl-C raises KeyboardInterrupt; with ``math.inf`` none does."""
        before, self._patience = self._patience, presses
        try:
            # Presses before the block count too: there may be enough of them already.
            self._hurry()
            yield
        finally:
            self._patience = before

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
        if number == signal.SIGINT:
            self._presses += 1
            self._hurry()

    def _hurry(self) -> None:
        if self._presses >= self._patience:
            raise KeyboardInterrupt

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

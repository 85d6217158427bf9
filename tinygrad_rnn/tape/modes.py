"""What is switched on in this thread: whether operations are recorded, and who watches them being recorded.

Each mode is a context manager, a decorator and safe against exceptions; each thread starts with recording on.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from .watcher import Watcher

__all__ = ["enable_grad", "inference_mode", "is_grad_enabled", "nested", "no_grad", "quietly", "set_grad_enabled", "state"]

F = TypeVar("F", bound=Callable[..., Any])


class _State(threading.local):
    recording: bool = True
    watchers: tuple[Watcher, ...] = ()

    def __init__(self) -> None:
        context = contextvars.Context()
        context.run(np.seterr, all="ignore")
        self.quiet = context.run


state = _State()
"""What is switched on in this thread.  ``state.quiet(f, x)`` is ``f(x)`` where an overflow or a nan is a result, as in
PyTorch, and no warning of NumPy's.  It enters a context made once, which costs a twentieth of ``np.errstate``.
"""


def nested(error: RuntimeError, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``f(...)`` again, if ``state.quiet(f, ...)`` failed because this thread was inside it already."""
    if "cannot enter context" not in str(error):
        raise error
    with np.errstate(all="ignore"):
        return f(*args, **kwargs)


def quietly(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``f(...)`` without warnings of NumPy's; ``f`` may itself apply operations."""
    try:
        return state.quiet(f, *args, **kwargs)
    except RuntimeError as error:
        return nested(error, f, *args, **kwargs)


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded now."""
    return state.recording


class _RecordingMode:
    """Sets recording inside ``with`` (or inside a decorated function) and puts back what was before."""

    def __init__(self, recording: bool) -> None:
        self._recording = recording
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(state.recording)
        state.recording = self._recording

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        state.recording = self._before.pop()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with _RecordingMode(self._recording):
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]


class no_grad(_RecordingMode):
    """Nothing is recorded inside: results do not require grad.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> with tg.no_grad():
    ...     (w * 2).requires_grad
    False
    """

    def __new__(cls, function: Any = None) -> Any:
        mode = super().__new__(cls)
        if function is None:
            return mode
        mode.__init__()  # type: ignore[misc]
        return mode(function)

    def __init__(self) -> None:
        super().__init__(False)


class inference_mode(_RecordingMode):
    """As ``no_grad`` (``inference_mode(False)`` as ``enable_grad``)."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode)


class enable_grad(_RecordingMode):
    """Recording on inside, also within a ``no_grad``."""

    def __init__(self) -> None:
        super().__init__(True)


class set_grad_enabled(_RecordingMode):
    """Recording as ``mode`` says from now on; used in ``with``, until its end."""

    def __init__(self, mode: bool) -> None:
        super().__init__(mode)
        self._before.append(state.recording)
        state.recording = mode

    def __enter__(self) -> None:
        """The switch was thrown when the object was made."""
        if not self._before:
            super().__enter__()

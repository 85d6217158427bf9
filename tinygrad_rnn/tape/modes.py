"""What is switched on in this thread: whether operations are recorded, and who watches them being recorded.

Each mode is a context manager, a decorator and safe against exceptions; each thread starts with recording on.  One
mode object may be used by several threads at once, within itself, and by generators that are resumed out of order.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
from _thread import _local as local  # threading's own, without the 0.5 ms that the rest of it takes to load
from _thread import get_ident
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import ArgumentTypeError

if TYPE_CHECKING:
    from .watcher import Watcher

__all__ = ["enable_grad", "inference_mode", "is_grad_enabled", "nested", "no_grad", "quietly", "set_grad_enabled"]
__all__ += ["state", "sweeping"]

F = TypeVar("F", bound=Callable[..., Any])


class Here:
    """What is switched on in one thread.

    Attributes:
        recording: whether operations are recorded.
        watchers: who is told of every record and sweep.
        memo: what vjps remember until the end of the sweep that runs them; None outside of one.
        quiet: ``quiet(f, x)`` is ``f(x)`` where an overflow or a nan is a result, as in PyTorch, and no warning of
            NumPy's.  It enters a context made once, which costs a twentieth of ``np.errstate``.
    """

    __slots__ = ("memo", "quiet", "recording", "watchers")

    def __init__(self) -> None:
        context = contextvars.Context()
        context.run(np.seterr, all="ignore")
        self.quiet = context.run
        self.memo: dict[Any, Any] | None = None
        self.recording = True
        self.watchers: tuple[Watcher, ...] = ()


class _State(local):
    """Each thread's ``Here``.  An operation asks for it once: an attribute of a thread is slow to find."""

    def __init__(self) -> None:
        self.here = Here()

    @property
    def recording(self) -> bool:
        return self.here.recording

    @recording.setter
    def recording(self, value: bool) -> None:
        self.here.recording = value

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        return self.here.watchers

    @watchers.setter
    def watchers(self, value: tuple[Watcher, ...]) -> None:
        self.here.watchers = value


state = _State()


def nested(error: RuntimeError, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``f(...)`` again, if ``here.quiet(f, ...)`` failed because this thread was inside it already."""
    if "cannot enter context" not in str(error):
        try:
            raise error
        finally:
            del error  # which holds this frame
    with np.errstate(all="ignore"):
        return f(*args, **kwargs)


def quietly(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``f(...)`` without warnings of NumPy's; ``f`` may itself apply operations."""
    try:
        return state.here.quiet(f, *args, **kwargs)
    except RuntimeError as error:
        return nested(error, f, *args, **kwargs)


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded now."""
    return state.recording


class _RecordingMode:
    """Sets recording inside ``with`` (or inside a decorated function) and puts back what was before."""

    def __init__(self, recording: bool) -> None:
        self._recording = recording
        self._before: dict[int, list[bool]] = {}  # by thread: an object may be shared

    def __enter__(self) -> None:
        self._before.setdefault(get_ident(), []).append(state.recording)
        state.recording = self._recording

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        state.recording = self._before[get_ident()].pop()

    def __call__(self, function: F) -> F:
        """The function with this mode inside; of a generator or coroutine, only while its own body runs."""
        mode = _RecordingMode(self._recording)

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with mode:
                return function(*args, **kwargs)

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Any:
            return (yield from _driven(mode, function(*args, **kwargs)))

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return await _Awaited(mode, function(*args, **kwargs))

        if inspect.isgeneratorfunction(function):
            return generator  # type: ignore[return-value]
        if inspect.iscoroutinefunction(function):
            return coroutine  # type: ignore[return-value]
        return inside  # type: ignore[return-value]


def _driven(mode: _RecordingMode, body: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Hand everything through to ``body`` and back, with ``mode`` on whenever ``body`` itself runs."""
    resume: Callable[..., Any] = body.send
    values: tuple[Any, ...] = (None,)
    while True:
        try:
            with mode:
                out = resume(*values)
        except StopIteration as end:
            return end.value
        finally:
            values = ()  # an error that was thrown in holds this frame
        try:
            resume, values = body.send, ((yield out),)
        except GeneratorExit:
            with mode:
                body.close()
            raise
        except BaseException as error:  # thrown in by the caller: the body decides what it means
            resume, values = body.throw, (error,)


class _Awaited:
    """A coroutine whose steps run in a mode, which does not leak to what runs while it waits."""

    def __init__(self, mode: _RecordingMode, body: Any) -> None:
        self._mode, self._body = mode, body

    def __await__(self) -> Generator[Any, Any, Any]:
        return _driven(self._mode, self._body.__await__())


class sweeping:
    """Around a sweep: nothing is recorded unless the sweep is, and its vjps have a memo of their own."""

    def __init__(self, record: bool) -> None:
        self._record = record

    def __enter__(self) -> None:
        here = state.here
        self._before = here.recording, here.memo
        here.recording, here.memo = self._record, {}

    def __exit__(self, *exc: Any) -> None:
        here = state.here
        here.recording, here.memo = self._before


class no_grad(_RecordingMode):
    """Nothing is recorded inside: results do not require grad.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> with tg.no_grad():
    ...     (w * 2).requires_grad
    False
    """

    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_RecordingMode):
    """Recording on inside, also within a ``no_grad``."""

    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(True)


class inference_mode(_RecordingMode):
    """As ``no_grad`` (``inference_mode(False)`` as ``enable_grad``).

    Tensors made inside are ordinary tensors: nothing of what PyTorch forbids to do with them later is wrong here.
    """

    def __new__(cls, mode: Any = True) -> Any:
        return super().__new__(cls) if isinstance(mode, bool) else cls()(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode)


class set_grad_enabled(_RecordingMode):
    """Recording as ``mode`` says from now on; used in ``with``, until its end; as a decorator, in the function.

    Raises:
        ArgumentTypeError: ``mode`` is not a bool.
    """

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise ArgumentTypeError(
                f"set_grad_enabled(): argument 'enabled' (position 1) must be bool, not {type(mode).__name__}"
            )
        super().__init__(mode)
        self._replaced = state.recording
        state.recording = mode

    def __enter__(self) -> None:
        """The switch was thrown when the object was made."""
        state.recording = self._recording

    def __exit__(self, *exc: Any) -> None:
        state.recording = self._replaced

    def __call__(self, function: F) -> F:
        state.recording = self._replaced
        return super().__call__(function)

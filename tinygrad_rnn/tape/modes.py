"""Modes of a thread: whether operations are recorded, and who watches them; and defaults of the process.

Each mode is a context manager, a decorator and safe against exceptions; each thread starts with recording on.  One
mode object may be used by several threads at once, nested, and by generators that are resumed out of order.

An interrupt (Ctrl-C) may come at any moment, and must not leave a mode on.  Python looks for signals when a function
of Python is entered, when a loop goes round, and after a call.  Hence, here and wherever state is put back:

* it is put back by plain assignments in a ``finally``, before which nothing is called: no signal can come between.
  (The last call in the ``try`` is an assignment, too, not a ``return``, whose value waits outside of the ``try``);
* functions and decorators do so; a ``with`` of ours does so too, but for the one moment at which its ``__exit__`` is
  entered, which no class of Python can close.  A decorator, ``@no_grad()``, has no such moment;
  ``set_grad_enabled(...)``, which switches at once, has more until the block begins.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
from _thread import _local as local  # threading's own, without the 0.5 ms that the rest of it takes to load
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from ..backend.quiet import QUIET, numpy_errors
from ..errors import ArgumentTypeError
from ..typing import Array, Cotangent, Params, Value
from .node import Leaf, Node
from .partial_gradient import Part
from .primitive import Primitive
from .tensor import Tensor

__all__ = ["Watcher", "defaults", "enable_grad", "inference_mode", "is_grad_enabled", "nested", "no_grad", "quietly"]
__all__ += ["set_grad_enabled", "spelled_out", "state", "tell", "unwatched", "watched", "within"]

F = TypeVar("F", bound=Callable[..., Any])
Operation = Primitive | Callable[..., Any]


class _Defaults:
    """Process-wide defaults.

    Attributes:
        dtype: the float type of Python floats, and of integers that enter a function such as ``exp``.
        warned_of_float: whether the one warning about ``float(t)`` where ``t`` requires grad was given.
    """

    dtype: np.dtype[Any] = np.dtype(np.float32)
    warned_of_float = False


defaults = _Defaults()


class Watcher:
    """Sees each node as it is recorded, and each move of a backward sweep; a subclass overrides what it wants to see.

    It gets the engine's own objects and changes none of them.  Where nothing watches, the engine pays for one test of
    an empty tuple.
    """

    def applied(self, operation: Operation, inputs: Sequence[Any], params: Params, output: Any) -> None:
        """An operation was applied to Tensors, recorded or not.

        Args:
            operation: the primitive; of what has no gradient, such as a comparison, the function of arrays.
            inputs: as they were given, numbers and raw arrays among them.
            params: its keywords.
            output: the Tensor, or a tuple of them.
        """

    def recorded(self, node: Node, output: Array | tuple[Array, ...]) -> None:
        """A node was just recorded, with its output as a raw array (a tuple of them for a fused primitive)."""

    def written(self, t: Tensor, op: str) -> None:
        """The memory of the Tensor ``t`` was just written in place by the operation ``op``."""

    def taken(self, name: str) -> None:
        """The function ``name`` is about to say something about the values of Tensors in a bool, as ``equal`` does."""

    def hooked(self, owner: str) -> None:
        """A hook was just put on ``owner``, a tensor or a node, or those of a module are about to run."""

    def unrolls(self, loop: Any) -> None:
        """A step is about to run over a sequence, one by one: a ``Loop`` of ``ops/recurrent/unroll.py``."""

    def sweep_begins(self, seeds: Sequence[tuple[Node | Leaf, Value]]) -> None:
        """A backward sweep starts from these pairs of a node and its cotangent."""

    def reached(self, node: Node | Leaf, cotangent: Cotangent) -> None:
        """The sweep reached a node: ``cotangent`` is the complete sum of its uses' contributions."""

    def contributed(self, node: Node, position: int, parent: Node | Leaf, contribution: Value | Part) -> None:
        """The vjp of ``node`` for its argument ``position`` gave ``contribution`` to ``parent``."""

    def sweep_ends(self, error: BaseException | None) -> None:
        """The sweep that began last is over, or failed with ``error``.  Sweeps nest: a vjp may itself sweep."""


class Here:
    """What is switched on in one thread.

    Attributes:
        recording: whether operations are recorded.
        scope: in which module, layer and time step of a program it is, if something watches: see ``observe/scopes.py``.
        watchers: who is told of every record and sweep.
        spelled_out: whether fused operations are applied as the ordinary ones of their reference.
        memo: what vjps remember until the end of the sweep that runs them; None outside of one.
        quiet: ``quiet(f, x)`` is ``f(x)`` where an overflow or a nan is a result, as in PyTorch, and no warning of
            NumPy's.  It enters a context made once, which costs a twentieth of ``np.errstate``.
    """

    __slots__ = ("memo", "quiet", "recording", "scope", "spelled_out", "watchers")

    def __init__(self) -> None:
        context = contextvars.Context()
        context.run(numpy_errors.set, QUIET)
        self.quiet = context.run
        self.memo: dict[Any, Any] | None = None
        self.recording = True
        self.scope: Any = None
        self.spelled_out = False
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


def nested(error: RuntimeError, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """``f(...)`` again, if ``here.quiet(f, ...)`` failed because this thread was inside it already."""
    if "cannot enter context" not in str(error):  # CPython has no class for it, and forward may raise its own
        try:
            raise error
        finally:
            del error  # which holds this frame
    before = numpy_errors.get()  # a context cannot be entered twice: a forward that applies operations needs this
    try:
        numpy_errors.set(QUIET)
        result = f(*args, **kwargs)
    finally:
        numpy_errors.set(before)
    return result


def quietly(f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """``f(...)`` without warnings of NumPy's; ``f`` may itself apply operations."""
    try:
        return state.here.quiet(f, *args, **kwargs)
    except RuntimeError as error:
        return nested(error, f, *args, **kwargs)


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded now.

    >>> import tinygrad_rnn as tg
    >>> with tg.no_grad():
    ...     print(tg.is_grad_enabled())
    False
    """
    return state.recording


def within(recording: bool, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """``function(...)`` with recording on or off."""
    here = state.here
    before = here.recording
    try:
        here.recording = recording
        result = function(*args, **kwargs)
    finally:
        here.recording = before
    return result


def watched(watcher: Watcher, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """``function(...)`` while ``watcher`` sees what this thread records and sweeps."""
    here = state.here
    before = here.watchers
    try:
        # a new tuple: a sweep under way goes on with the watchers that it began with
        here.watchers = (*before, watcher)
        result = function(*args, **kwargs)
    finally:
        here.watchers = before
    return result


def unwatched(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """``function(...)`` while nobody sees what this thread records and sweeps."""
    here = state.here
    before = here.watchers
    try:
        here.watchers = ()
        result = function(*args, **kwargs)
    finally:
        here.watchers = before
    return result


def spelled_out(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """``function(...)`` with every fused operation applied as the ordinary ones of its reference."""
    here = state.here
    before = here.spelled_out
    try:
        here.spelled_out = True
        result = function(*args, **kwargs)
    finally:
        here.spelled_out = before
    return result


def tell(operation: Operation, inputs: Sequence[Any], params: Params, output: Any) -> None:
    """Tell the watchers of an operation that was just applied: of its record, if it has one, and of itself."""
    for watcher in state.here.watchers:
        if output._node is not None:
            watcher.recorded(output._node, output._data)
        watcher.applied(operation, inputs, params, output)


class _RecordingMode:
    """Sets recording inside ``with`` (or inside a decorated function) and puts back what was before."""

    def __init__(self, recording: bool) -> None:
        self._recording = recording
        self._before: dict[Here, tuple[bool, Any]] = {}  # by thread: what was before, and the same of the outer use

    def __enter__(self) -> None:
        here = state.here
        outer = self._before.get(here)
        self._before[here] = here.recording, outer
        here.recording = self._recording

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        here = state.here
        if here not in self._before:
            if not self._before:  # left without having been entered: there is nothing to put back
                return
            here = next(iter(self._before))  # of a generator that another thread finishes: the thread that entered
        here.recording, outer = self._before[here]
        if outer is None:
            del self._before[here]
        else:
            self._before[here] = outer

    def __call__(self, function: F) -> F:
        """The function with this mode inside; of a generator or coroutine, only while its own body runs."""
        recording = self._recording

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            return within(recording, function, *args, **kwargs)

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Any:
            return (yield from _driven(recording, function(*args, **kwargs)))

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return await _Awaited(recording, function(*args, **kwargs))

        # a call of it only makes the generator: the body runs later, in pieces
        if inspect.isgeneratorfunction(function):
            return generator  # type: ignore[return-value]
        if inspect.iscoroutinefunction(function):
            return coroutine  # type: ignore[return-value]
        return inside  # type: ignore[return-value]


def _driven(recording: bool, body: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Hand everything through to ``body`` and back, with recording on or off whenever ``body`` itself runs."""
    resume: Callable[..., Any] = body.send
    values: tuple[Any, ...] = (None,)
    while True:
        here = state.here  # of the thread that resumes
        before = here.recording
        try:
            here.recording = recording
            out = resume(*values)
        except StopIteration as end:
            return end.value
        finally:
            here.recording = before
            values = ()  # an error that was thrown in holds this frame
        try:
            resume, values = body.send, ((yield out),)  # suspended here, in the mode of the caller
        except GeneratorExit:
            within(recording, body.close)  # its finally blocks are its own body, too
            raise
        except BaseException as error:  # thrown in by the caller: the body decides what it means
            resume, values = body.throw, (error,)


class _Awaited:
    """A coroutine whose steps run in a mode, which does not leak to what runs while it waits."""

    def __init__(self, recording: bool, body: Any) -> None:
        self._recording, self._body = recording, body

    def __await__(self) -> Generator[Any, Any, Any]:
        return _driven(self._recording, self._body.__await__())


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
    """Recording on inside, also within a ``no_grad``.

    >>> import tinygrad_rnn as tg
    >>> x = tg.ones(1, requires_grad=True)
    >>> with tg.no_grad(), tg.enable_grad():
    ...     y = 2 * x
    >>> y.requires_grad
    True
    """

    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(True)


class inference_mode(_RecordingMode):
    """As ``no_grad`` (``inference_mode(False)`` as ``enable_grad``).

    Tensors made inside are ordinary tensors: nothing of what PyTorch forbids to do with them later is wrong here.

    >>> import tinygrad_rnn as tg
    >>> x = tg.ones(1, requires_grad=True)
    >>> with tg.inference_mode():
    ...     y = 2 * x
    >>> y.requires_grad
    False
    """

    def __new__(cls, mode: Any = True) -> Any:
        return super().__new__(cls) if isinstance(mode, bool) else cls()(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode)


class set_grad_enabled(_RecordingMode):
    """Recording as ``mode`` says from now on; used in ``with``, until its end; as a decorator, in the function.

    Raises:
        ArgumentTypeError: ``mode`` is not a bool.

    >>> import tinygrad_rnn as tg
    >>> x = tg.ones(1, requires_grad=True)
    >>> with tg.set_grad_enabled(False):
    ...     y = 2 * x
    >>> y.requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise ArgumentTypeError(
                f"set_grad_enabled(): argument 'enabled' (position 1) must be bool, not {type(mode).__name__}"
            )
        super().__init__(mode)
        here = state.here
        self._replaced = here.recording
        here.recording = mode

    def __enter__(self) -> None:
        """The switch was thrown when the object was made."""
        state.here.recording = self._recording

    def __exit__(self, *exc: Any) -> None:
        state.here.recording = self._replaced

    def __call__(self, function: F) -> F:
        state.here.recording = self._replaced  # as a decorator it must not switch here, as the constructor did
        return super().__call__(function)

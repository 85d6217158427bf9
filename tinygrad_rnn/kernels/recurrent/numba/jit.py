"""Compilation by Numba: ``@compiled`` on a plain function of arrays and numbers, with a checked cache on disk."""

from __future__ import annotations

import _weakrefset
import contextlib
import functools
import hashlib
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar, cast

from ..interface import KernelUnavailable
from . import stamp

__all__ = ["compiled", "compiled_apart", "compiled_with", "intrinsic", "ir", "overload", "types"]

F = TypeVar("F", bound=Callable[..., Any])

try:
    numba: Any = import_module("numba")
    types: Any = import_module("numba.core.types")
    ir: Any = import_module("llvmlite.ir")
    extending: Any = import_module("numba.extending")
    caching: Any = import_module("numba.core.caching")
    passes: Any = import_module("numba.core.compiler")
    intrinsic: Callable[[F], F] = extending.intrinsic
    overload: Callable[[Any], Callable[[F], F]] = extending.overload
    lock: Any = import_module("numba.core.compiler_lock").global_compiler_lock
except ImportError as error:  # such as a Numba that is too old for this NumPy
    raise KernelUnavailable(f"Numba cannot be imported: {error}") from error

if hasattr(os, "register_at_fork"):  # a child of a process that compiles in another thread would wait for ever
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)

DIGEST = 32  # bytes

OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


def compiled(function: F) -> F:
    """``function``, compiled when it is first called with arguments of new types.

    The machine code is kept on disk, beside the source or, where that cannot be written to, in the user's cache, so
    that the next process loads it in milliseconds.  It runs without Python's lock.  A product and a sum may become
    one instruction, with one rounding; nothing else of arithmetic is relaxed: infinities and nan go as in NumPy.

    An interrupt (Ctrl-C) while it is compiled is not lost: see :func:`interruptible`.

    What is kept is renewed when any file of this package changes, and when a file of it is damaged, as after a power
    cut; where it cannot be written, as on a full disk, the function is compiled again in the next process.
    """
    return _compiled(function, OPTIONS)


def compiled_with(*flags: str) -> Callable[[F], F]:
    """The same, with all freedom of arithmetic that LLVM's ``flags`` give, in this function alone."""
    return lambda function: _compiled(function, {**OPTIONS, "fastmath": set(flags)})


def compiled_apart(function: F) -> F:
    """``compiled``, of a function that writes to no array whose memory is another argument's too.

    So a loop over several arrays needs no form, and no test, for the case that they overlap: such tests, thirty for
    some loops, took 4 % of the time of a layer norm LSTM's backward loops with 64 units.
    """
    return _compiled(function, {**OPTIONS, "pipeline_class": _Apart})


def _compiled(function: F, options: dict[str, Any]) -> F:
    try:
        result: F = numba.njit(function, cache=True, **options)
    except RuntimeError:  # there is no place to keep it
        return interruptible(cast(F, numba.njit(function, **options)))
    cache: Any = getattr(result, "_cache", None)
    kept: Any = getattr(cache, "_cache_file", None)
    if type(kept) is caching.IndexDataCacheFile:
        kept.__class__, cache.__class__ = CheckedFiles, CacheThatMayFail
        kept._source_stamp = stamp()  # Numba's own stamp is of the file of ``function``, not of those it calls
    return interruptible(result)


class _Apart(passes.CompilerBase):  # type: ignore[misc]
    """Numba's own compiler, which is told that arguments share no memory; it has no option for that."""

    def define_pipelines(self) -> list[Any]:
        """Its usual passes."""
        self.state.flags.noalias = True
        return [passes.DefaultPassBuilder.define_nopython_pipeline(self.state)]


CALLBACKS = frozenset({"_raw_object_cache_notify", "_raw_object_cache_getbuffer", "__del__", "finalize_object"})
"""Where an exception is lost, or leaves half a thing: functions of llvmlite around LLVM's calls, and finalisers."""

WEAK_CALLBACKS = frozenset({(weakref.__file__, "remove"), (_weakrefset.__file__, "_remove")})
"""Where it is lost, too: what takes a key that has died out of a weak dictionary or set; Numba drops many at a time."""


def interruptible(dispatcher: F) -> F:
    """A function of Numba's whose compilation a signal's handler can end at any moment, as other code.

    LLVM hands each piece of machine code to a callback, and Python drops what is raised there, as in callbacks of weak
    references.  An interrupt at such a moment, one in five, was lost, or ended in "no compiled object yet".  There it
    waits for the end of compilation.
    So it does in ``finalize_object``, which calls these: what LLVM was asked for and has not given, it gives at the
    next compilation, to an object that is gone, and Python prints a traceback that nobody can do anything about.
    """
    compile_for: Callable[..., Any] = dispatcher._compile_for_args  # type: ignore[attr-defined]

    @functools.wraps(compile_for)
    def compiling(*args: Any, **options: Any) -> Any:
        before = signal.getsignal(signal.SIGINT)
        # Python runs handlers in the main thread, wherever that is
        if not callable(before) or threading.current_thread() is not threading.main_thread():
            return compile_for(*args, **options)
        late: list[tuple[int, FrameType | None]] = []

        def handle(number: int, frame: FrameType | None) -> None:
            here = frame
            while here is not None:
                code = here.f_code
                if code.co_name in CALLBACKS or (code.co_filename, code.co_name) in WEAK_CALLBACKS:
                    late.append((number, frame))
                    return
                here = here.f_back
            before(number, frame)

        signal.signal(signal.SIGINT, handle)
        try:
            result = compile_for(*args, **options)
        finally:
            if signal.getsignal(signal.SIGINT) is handle:
                signal.signal(signal.SIGINT, before)
            if late:
                before(*late[0])
        return result

    dispatcher._compile_for_args = compiling  # type: ignore[attr-defined]
    return dispatcher


class CheckedFiles(caching.IndexDataCacheFile):  # type: ignore[misc]
    """Numba's files of machine code, with a digest in front: what is damaged counts as absent, and is written again.

    Numba writes no digest.  A file cut short would raise EOFError at every first call in every process until it is
    deleted, and one with zeros in it, as a power cut leaves them, would be run.
    """

    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except Exception:  # unpickling raises anything
            return {}

    def _load_data(self, name: str) -> Any:
        stored = Path(self._data_path(name)).read_bytes()
        if stored[:DIGEST] != _digest(stored[DIGEST:]):
            raise OSError(f"{self._data_path(name)} is damaged")  # which Numba takes for a file that is not there
        return pickle.loads(stored[DIGEST:])

    def _save_data(self, name: str, data: Any) -> None:
        code = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(_digest(code) + code)


class CacheThatMayFail(caching.FunctionCache):  # type: ignore[misc]
    """Numba's cache, where a disk that is full, or cannot be read, is no reason not to compute."""

    @contextlib.contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        with contextlib.suppress(OSError):
            yield


def _digest(code: bytes) -> bytes:
    return hashlib.blake2b(code, digest_size=DIGEST).digest()

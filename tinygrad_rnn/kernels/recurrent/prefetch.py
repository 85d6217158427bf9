"""Prefetching: a background thread computes the next result while the present one is used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np

from ...backend.cpu.threads import one_blas_thread

__all__ = ["Prefetch"]


class Prefetch:
    """``function(*arguments)`` for one tuple of arguments after the other, one ahead of the caller.

    There are two results at a time: the one in use, and the next.  What the function raises, ``next`` raises.  Used as
    a context, which the thread does not outlive; without ``threaded`` each result is computed when it is asked for.

    >>> with Prefetch(pow, [(2, 3), (2, 4)], threaded=True) as prefetch:
    ...     prefetch.next(), prefetch.next()
    (8, 16)
    """

    def __init__(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], threaded: bool) -> None:
        self._function = function
        self._arguments = iter(arguments)
        self._thread = (
            threading.Thread(target=self._run, name="tinygrad_rnn prefetch", daemon=True) if threaded else None
        )
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._results: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._state = np.geterr()  # errstate is thread-local: pass it on

    def __enter__(self) -> Prefetch:
        if self._thread is not None:
            one_blas_thread.__enter__()
            self._wanted.put(True)
            self._thread.start()
        return self

    def next(self) -> Any:
        """The next result."""
        if self._thread is None:
            return self._function(*next(self._arguments))
        result, error = self._results.get()
        try:
            if error is not None:
                raise error
        finally:
            del error  # which holds this frame
        self._wanted.put(True)
        return result

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._thread is not None:
            self._wanted.put(False)
            self._thread.join()
            one_blas_thread.__exit__()
            self._results = SimpleQueue()  # an error that was not fetched refers to this object through its frames

    def _run(self) -> None:
        with np.errstate(**self._state):
            while self._wanted.get():
                self._results.put(self._one())

    def _one(self) -> tuple[Any, BaseException | None]:
        try:
            return self._function(*next(self._arguments)), None
        except BaseException as error:
            return None, error

"""Threads that share the work of a kernel: each takes a range of sequences, or of rows, and waits for no other.

They are Python's, and run code that lets go of Python's lock: compiled loops, and products.  They sleep between two
pieces of work, so they take nothing from others; to wake one and to hear of its end costs about 50 us, which is why
small pieces stay with the caller.  BLAS meanwhile uses one thread, that of its caller.

A thread that is woken may begin on the core of who wakes it, and take turns with it while another core is idle: a
virtual machine of two cores did so for milliseconds, and moved one that ran on to the core of the other.  So, as long
as they work, workers keep off the core of their caller and the caller stays there; without that the time of a LSTM
(64, 32, 64), whose gradients grow in a second thread, is 1.1 times as long.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any

from ....backend.threads import get_num_threads, one_blas_thread
from ....backend.unpacked import multiplies_unpacked

__all__ = ["evenly", "lent", "share", "threads_for"]

WORTHWHILE = 10_000_000
"""Multiplications and additions that one thread does in about 120 us; with fewer, a second one hardly helps."""

Ends = SimpleQueue["BaseException | None"]
Work = tuple[Callable[..., object], tuple[Any, ...], Ends]


class _Worker:
    """A thread, and the work that it is given."""

    def __init__(self) -> None:
        self.work: SimpleQueue[Work] = SimpleQueue()
        thread = threading.Thread(target=_serve, args=(self.work,), name="tinygrad_rnn kernel", daemon=True)
        thread.start()
        self.number = thread.native_id


_workers: list[_Worker] = []
os.register_at_fork(after_in_child=_workers.clear)  # threads do not come along into a child process


def threads_for(products: int) -> int:
    """How many threads to use for so many multiplications and additions."""
    worthwhile = products // WORTHWHILE
    return min(get_num_threads(), worthwhile) if worthwhile > 1 else 1


def evenly(count: int, parts: int) -> list[tuple[int, int]]:
    """``range(count)`` in ``parts`` ranges of about the same length, none of them empty.

    >>> evenly(5, 2)
    [(0, 2), (2, 5)]
    """
    cuts = [count * k // parts for k in range(parts + 1)]
    return [(low, high) for low, high in zip(cuts, cuts[1:], strict=False) if low < high]


def share(function: Callable[..., object], ranges: Sequence[tuple[int, ...]], *arguments: Any) -> None:
    """Call ``function(*range, *arguments)`` for every range, each in a thread of its own, the first in this one."""
    if len(ranges) <= 1:
        for only in ranges:
            if multiplies_unpacked():  # small products are computed by their caller, whatever BLAS's number of threads
                function(*only, *arguments)
            else:
                with one_blas_thread:
                    function(*only, *arguments)
        return
    ends: Ends = SimpleQueue()
    with one_blas_thread, lent([(function, (*numbers, *arguments), ends) for numbers in ranges[1:]]):
        try:
            function(*ranges[0], *arguments)
        finally:
            errors = [ends.get() for _ in ranges[1:]]
    for error in errors:
        if error is not None:
            raise error


@contextlib.contextmanager
def lent(works: Sequence[Work]) -> Iterator[None]:
    """Have each of ``works`` done by a thread of its own: a function, its arguments, and who is told of its end.

    Within, the caller stays on its core and the others keep off it.
    """
    while len(_workers) < len(works):
        _workers.append(_Worker())
    core = _core()
    allowed = set() if core is None else os.sched_getaffinity(0)
    here = set() if core is None else {core()}
    apart = len(allowed) > 1 and here < allowed
    if apart:
        _move(0, here)
    try:
        for worker, work in zip(_workers, works, strict=False):
            if apart and worker.number is not None:
                _move(worker.number, allowed - here)
            worker.work.put(work)
        yield
    finally:
        if apart:
            _move(0, allowed)


def _move(thread: int, cores: set[int]) -> None:
    """Let a thread, 0 for this one, run on ``cores``, if we are permitted to say so."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(thread, cores)


@functools.cache
def _core() -> Any:
    """The function that tells on which core its caller runs; None where there is none, or threads cannot be moved."""
    return getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


def _serve(work: SimpleQueue[Work]) -> None:
    while True:
        function, arguments, ends = work.get()
        try:
            function(*arguments)
        except BaseException as error:
            ends.put(error)
        else:
            ends.put(None)
        del function, arguments, ends  # keep nothing alive while asleep

"""Threads that share the work of a kernel: each takes a range of sequences, or of rows, and waits for no other.

They are Python's, and run code that lets go of Python's lock: compiled loops, and products.  They sleep between two
pieces of work, so they take nothing from others; to wake one and to hear of its end costs about 50 us, which is why
small pieces stay with the caller.  BLAS meanwhile uses one thread, that of its caller.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from ....backend.cpu.blas import multiplies_unpacked
from ....backend.cpu.threads import get_num_threads, one_blas_thread

__all__ = ["evenly", "lend", "share", "threads_for"]

WORTHWHILE = 10_000_000
"""Multiplications and additions that one thread does in about 120 us; with fewer, a second one hardly helps."""

Ends = SimpleQueue["BaseException | None"]
Work = tuple[Callable[..., object], tuple[Any, ...], Ends]

_workers: list[SimpleQueue[Work]] = []
if hasattr(os, "register_at_fork"):
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
    return [(low, high) for low, high in itertools.pairwise(cuts) if low < high]


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
    with one_blas_thread:
        lend([(function, (*numbers, *arguments), ends) for numbers in ranges[1:]])
        try:
            function(*ranges[0], *arguments)
        finally:
            errors = [ends.get() for _ in ranges[1:]]
    error = next(filter(None, errors), None)
    try:
        if error is not None:
            raise error
    finally:
        del error, errors  # which hold this frame


def lend(works: Sequence[Work]) -> None:
    """Have each of ``works`` done by a thread of its own: a function, its arguments, and who is told of its end."""
    while len(_workers) < len(works):
        _workers.append(_start())
    for worker, work in zip(_workers, works, strict=False):
        worker.put(work)


def _start() -> SimpleQueue[Work]:
    work: SimpleQueue[Work] = SimpleQueue()
    threading.Thread(target=_serve, args=(work,), name="tinygrad_rnn kernel", daemon=True).start()
    return work


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

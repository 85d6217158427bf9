"""The number of threads of the BLAS and of compiled kernels, which divide a batch among them.

There is one number for both.  OpenBLAS stores it, and initialises it from ``OPENBLAS_NUM_THREADS``, ``OMP_NUM_THREADS``
or the number of cores.  Another BLAS offers no access to its own; the number is then stored here.
"""

from __future__ import annotations

import os
import threading

from ...errors import ArgumentError
from .blas import blas_threads, set_blas_threads

__all__ = ["get_num_threads", "one_blas_thread", "set_num_threads"]


def _initial_count() -> int:
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "")
        if text.isdigit() and int(text) > 0:
            return int(text)
    # The cores that this process may run on: under taskset or in a cpuset fewer than cpu_count().
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _OneBlasThread:
    """See :func:`one_blas_thread`.  Several threads may be inside at a time; the last one to leave restores the number.

    The BLAS has one thread exactly while ``inside`` is positive, because a process may fork at any moment.  It forks
    with the lock held: OpenBLAS hangs if its number of threads is set during a fork.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # reentrant: a signal handler may fork while its thread holds the lock
        self.inside = 0
        self.count = 0  # threads of the BLAS outside

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.count = blas_threads() or _initial_count()
            self.inside += 1
            if self.inside == 1:
                set_blas_threads(1)

    def __exit__(self, *error: object) -> None:
        with self.lock:
            if self.inside == 1:
                set_blas_threads(self.count)
            if self.inside:  # 0 in a child process that was forked inside
                self.inside -= 1

    def forget(self) -> None:
        """Reset in a child process: the threads that were inside exist in the parent alone."""
        self.lock = threading.RLock()
        if self.inside:
            self.inside = 0
            set_blas_threads(self.count)


one_blas_thread = _OneBlasThread()
"""A context in which the BLAS uses one thread, for callers that run several threads themselves.  Costs about 1 us."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: one_blas_thread.lock.acquire(),
        after_in_parent=lambda: one_blas_thread.lock.release(),
        after_in_child=one_blas_thread.forget,
    )

_others = 0  # the number of threads where the BLAS does not report its own


def get_num_threads() -> int:
    """The number of threads that products and compiled kernels may use.

    >>> get_num_threads() >= 1
    True
    """
    with one_blas_thread.lock:
        # The BLAS itself would answer 1 here; callers ask for the number that holds outside.
        if one_blas_thread.inside:
            return one_blas_thread.count
        return blas_threads() or _others or _initial_count()


def set_num_threads(count: int) -> None:
    """Use at most ``count`` threads from now on, in products and in compiled kernels.

    Raises:
        ArgumentError: ``count`` is not a positive whole number.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    global _others
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ArgumentError(f"set_num_threads expects a positive integer, got {count!r}")
    with one_blas_thread.lock:
        _others = count
        # Inside, a change of the BLAS would break the promise of one thread: it takes effect when the last one leaves.
        if one_blas_thread.inside:
            one_blas_thread.count = count
        else:
            set_blas_threads(count)

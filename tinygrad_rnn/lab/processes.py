"""Pieces of work one after another or side by side in processes, with a bar on a terminal."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from ..errors import UsageError

__all__ = ["be_ready", "performed"]

Order = TypeVar("Order")
Outcome = TypeVar("Outcome")


def be_ready(jobs: int, out: Path) -> None:
    """Look at what was asked for, and make the folder.

    Raises:
        UsageError: no jobs, or ``out`` is a file.
    """
    if jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {jobs}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out: {out} is not a folder")
    out.mkdir(parents=True, exist_ok=True)


def performed(perform: Callable[[Order], Outcome], orders: Sequence[Order], jobs: int, unit: str) -> Iterator[Outcome]:
    """The outcomes of ``perform`` in order; Ctrl-C ends the processes, and those before it have been given.

    Args:
        perform: a function of a module, if there is more than one job.
        orders: what it is called with.
        jobs: processes; 1: this one.
        unit: what the bar counts.

    Raises:
        UsageError: a process was killed.
    """
    from tqdm import tqdm

    if jobs == 1 or len(orders) == 1:
        with tqdm(total=len(orders), unit=unit, leave=False, disable=None) as bar:
            for outcome in map(perform, orders):
                bar.clear()
                yield outcome
                bar.update()
        return
    # spawned, as threads of BLAS and Numba do not survive a fork
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(orders)), mp_context=context, initializer=_end_by_ctrl_c)
    try:
        with tqdm(total=len(orders), unit=unit, leave=False, disable=None) as bar:
            for outcome in pool.map(perform, orders):
                bar.clear()
                yield outcome
                bar.update()
    except BrokenProcessPool as error:
        raise UsageError("a process of the laboratory was killed; with fewer --jobs it may have enough") from error
    finally:
        for child in multiprocessing.active_children():
            child.terminate()
        pool.shutdown(cancel_futures=True)


def _end_by_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

"""Milliseconds on a device: the median over events before and after a job."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

__all__ = ["milliseconds", "synchronize"]


class _ProcessorEvent:
    """The clock of the processor with the interface of an event."""

    time = 0.0

    def record(self) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: _ProcessorEvent) -> float:
        return (end.time - self.time) * 1e3


def synchronize(lib: Any, device: str) -> None:
    """Wait until the device has done all that ``lib`` asked of it."""
    if device != "cpu":
        lib.cuda.synchronize()


def milliseconds(
    lib: Any, device: str, job: Callable[[], object], *, repetitions: int = 11, budget: float = 0.25
) -> float:
    """The median time of ``job``, which uses ``lib`` on ``device``.

    The first two runs, in which things are compiled and memory is taken, are not counted.

    Args:
        repetitions: at most so many, fewer (at least 3) where they take more than ``budget`` seconds.
    """
    job()
    synchronize(lib, device)
    begin = time.perf_counter()
    job()
    synchronize(lib, device)
    one = time.perf_counter() - begin
    found = []
    for _ in range(max(3, min(repetitions, int(budget / max(one, 1e-6))))):
        start, end = [_ProcessorEvent() if device == "cpu" else lib.cuda.Event(enable_timing=True) for _ in range(2)]
        start.record()
        job()
        end.record()
        end.synchronize()
        found.append(float(start.elapsed_time(end)))
    return statistics.median(found)

"""Measuring by turns: every round runs each competitor once, and the ratios are taken within rounds."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Result", "measure"]

OURS = "tinygrad_rnn"
Job = Callable[[], object]


@dataclass
class Result:
    """The times of one piece of work.

    Attributes:
        work: what was done.
        unit: what one time is a time of, e.g. ``us per step``.
        scale: seconds times ``scale`` is that unit.
        times: seconds per run of each competitor, round by round.
        limits: for a peer, the ratio that we mean to stay under.
    """

    work: str
    unit: str
    scale: float
    times: dict[str, list[float]]
    limits: dict[str, float] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """The median time of a competitor, in ``unit``."""
        return statistics.median(self.times[name]) * self.scale

    def ratio(self, peer: str) -> tuple[float, float, float]:
        """Our time over the peer's: lower quartile, median and upper quartile over the rounds."""
        ratios = sorted(ours / theirs for ours, theirs in zip(self.times[OURS], self.times[peer], strict=True))
        lower, middle, upper = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        return lower, middle, upper

    def peers(self) -> list[str]:
        """Everybody but us."""
        return [name for name in self.times if name != OURS]


def measure(
    work: str,
    jobs: dict[str, Job],
    *,
    unit: str = "ms",
    scale: float = 1e3,
    rounds: int = 15,
    seconds: float = 4.0,
    limits: dict[str, float] | None = None,
) -> Result:
    """Time the jobs by turns, after two runs of each that are not counted.

    Args:
        jobs: by competitor; ours is named ``tinygrad_rnn``.
        rounds: at most so many; fewer (but at least 5) if ``seconds`` are over.
    """
    batch = {name: _batch(job) for name, job in jobs.items()}
    times: dict[str, list[float]] = {name: [] for name in jobs}
    end = time.perf_counter() + seconds
    for number in range(rounds):
        if number >= 5 and time.perf_counter() > end:
            break
        order = list(jobs) if number % 2 == 0 else list(jobs)[::-1]
        for name in order:
            times[name].append(_time(jobs[name], batch[name]))
    return Result(work, unit, scale, times, limits or {})


def _batch(job: Job) -> int:
    """How many runs make a time of about 5 ms, which a clock can tell."""
    job()
    start = time.perf_counter()
    job()
    return max(1, int(0.005 / max(time.perf_counter() - start, 1e-9)))


def _time(job: Job, runs: int) -> float:
    gc.collect()
    start = time.perf_counter()
    for _ in range(runs):
        job()
    return (time.perf_counter() - start) / runs

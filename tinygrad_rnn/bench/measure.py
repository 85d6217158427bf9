"""Measurements by turns: every round runs each competitor once, and the ratios are taken within rounds.

Rules of a measurement:

* A timing takes about 5 ms or more: short jobs run several times in a row.
* Each competitor has two warm-up runs; the time of the first, which includes compilation, is reported separately.
* The order of the competitors is reversed in every second round, so that none always follows the same one.
* Before each timing the garbage collector runs, and a pause lets the threads of the previous competitor fall asleep: in
  a busy wait they would take the cores from the next.  One more warm-up run follows, so that the timed loop finds its
  own data in the caches, not those of the collector and of the others.
* On a GPU, ``synchronize`` is called before each reading of the clock.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..tape.observe.text_table import table

__all__ = ["COMPOSED", "NUMPY_KERNELS", "OURS", "PRODUCTS", "Goals", "Job", "Result", "describe", "measure"]
__all__ += ["summary", "write_json"]

OURS = "tinygrad_rnn"
NUMPY_KERNELS = "numpy kernels"
"""This package again, its recurrent layers computed by NumPy alone, as without the extra ``fast``."""

COMPOSED = "composed"
"""This package again, every step on the tape: a peer of what is compiled."""

PRODUCTS = "products alone"
"""Not a competitor but the work that all of them share: its ratio to a peer is about the lowest that is possible."""

OWN = (OURS, NUMPY_KERNELS, PRODUCTS)
SHORTEST = 0.005
"""Seconds: in a shorter timing the clock and interrupts weigh too much."""

PAUSE = 0.02
"""Seconds between two timings; OpenBLAS's threads wait busily for about as long, OpenMP's for less."""

Job = Callable[[], object]
Goals = Mapping[str, Mapping[str, float]]
"""By our competitor and by peer: the upper bound of the ratio that we aim at."""


@dataclass
class Result:
    """The measurement of one piece of work: a number for each competitor and round.

    Attributes:
        work: the name of the work.
        unit: the unit of a number times ``scale``, e.g. ``us/step``.
        scale: from seconds (or bytes) to that unit.
        values: seconds per run (or bytes) of each competitor, round by round.
        goals: see :data:`Goals`.
        quantity: ``"seconds"`` or ``"bytes"``.
        first: seconds of each competitor's first run, which is not counted.
    """

    work: str
    unit: str
    scale: float
    values: dict[str, list[float]]
    goals: Goals = field(default_factory=dict)
    quantity: str = "seconds"
    first: dict[str, float] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """The median of a competitor, in ``unit``."""
        return statistics.median(self.values[name]) * self.scale

    def ratio(self, peer: str, ours: str = OURS) -> tuple[float, float, float]:
        """Ours over the peer's: lower quartile, median and upper quartile over the rounds."""
        pairs = zip(self.values[ours], self.values[peer], strict=True)
        ratios = sorted(left / right for left, right in pairs)
        # A single round has no quartiles.
        lower, middle, upper = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        return lower, middle, upper

    def pairs(self) -> list[tuple[str, str]]:
        """The pairs to compare: each of our competitors with each peer."""
        peers = [name for name in self.values if name not in OWN]
        return [(ours, peer) for ours in OWN if ours in self.values for peer in peers]


def measure(
    work: str,
    jobs: Mapping[str, Job],
    *,
    unit: str = "ms",
    scale: float = 1e3,
    rounds: int = 15,
    seconds: float = 4.0,
    goals: Goals | None = None,
    synchronize: Callable[[], object] | None = None,
    tell: Callable[[str], object] | None = None,
) -> Result:
    """Time the jobs by turns, after two warm-up runs of each.

    Args:
        jobs: by competitor.
        rounds: the maximum; fewer (but at least 5) if ``seconds`` have passed.
        goals: upper bounds of the ratios.
        synchronize: waits until a device has finished its work.
        tell: receives messages about the progress.
    """
    wait = synchronize or _nothing
    tell = tell or _nothing
    first, batch = {}, {}
    for name, job in jobs.items():
        tell(f"{work}: {name}, warm-up")
        first[name] = _time(job, 1, wait)
        # From the second run: the first includes compilation and the loading of libraries.
        batch[name] = max(1, int(SHORTEST / max(_time(job, 1, wait), 1e-9)))
    values: dict[str, list[float]] = {name: [] for name in jobs}
    end = time.perf_counter() + seconds
    for number in range(rounds):
        if number >= 5 and time.perf_counter() > end:  # quartiles need a few rounds, however long they take
            break
        tell(f"{work}: round {number + 1} of {rounds}")
        order = list(jobs) if number % 2 == 0 else list(jobs)[::-1]
        for name in order:
            gc.collect()
            time.sleep(PAUSE)  # the threads of the previous competitor fall asleep
            _time(jobs[name], 1, wait)  # fills the caches again
            values[name].append(_time(jobs[name], batch[name], wait))
    return Result(work, unit, scale, values, goals or {}, first=first)


def _time(job: Job, runs: int, wait: Callable[[], object]) -> float:
    wait()
    start = time.perf_counter()
    for _ in range(runs):
        job()
    wait()
    return (time.perf_counter() - start) / runs


def _nothing(*unused: object) -> None: ...


def describe(result: Result) -> str:
    """The medians of all competitors, in one line."""
    medians = "  ".join(f"{name} {result.median(name):.4g}" for name in result.values)
    return f"  {result.work}  [{result.unit}]  {medians}"


def summary(results: Sequence[Result]) -> str:
    """A table with a line for each work and pair: the ratio, its quartiles, and whether the goal was met."""
    rows = []
    for result in results:
        for ours, peer in result.pairs():
            lower, middle, upper = result.ratio(peer, ours)
            goal = result.goals.get(ours, {}).get(peer)
            verdict = "" if goal is None else f"<= {goal:g}  {'yes' if middle <= goal else 'NO'}"
            rows.append((result.work, ours, peer, f"{middle:.2f}", f"{lower:.2f} .. {upper:.2f}", verdict))
    return table(("work", "ours", "against", "ratio", "quartiles", "goal"), rows, right=(3,))


def write_json(path: Path, facts: dict[str, Any], results: Sequence[Result], complete: bool) -> None:
    """Write every measured number as JSON; ``complete`` is false after an interruption."""
    content = {"machine": facts, "complete": complete, "results": [_plain(result) for result in results]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _plain(result: Result) -> dict[str, Any]:
    ratios = []
    for ours, peer in result.pairs():
        quartiles = dict(zip(("lower", "median", "upper"), result.ratio(peer, ours), strict=True))
        ratios.append({"ours": ours, "peer": peer, **quartiles, "goal": result.goals.get(ours, {}).get(peer)})
    return {"work": result.work, result.quantity: result.values, "first run": result.first, "ratios": ratios}

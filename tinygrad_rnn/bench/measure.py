"""Measurements by turns: every round runs each competitor once, and the ratios are taken within rounds.

Rules of a measurement:

* What is timed takes about 5 ms or more: short jobs run several times in a row.
* Two runs of each competitor come first and are not counted; the first of them, in which things are compiled and
  caches filled, is reported apart.
* Rounds go through the competitors forth and back in turn, so that nobody always follows the same one.
* Before each timing the garbage collector runs, and a pause lets the threads of the one before fall asleep: waiting
  in a busy loop they would take the cores from the next.  Then follows one run that is not counted: what is timed
  is a loop in its stride, with its own data in the caches, and not what the collector and the others left there.
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

__all__ = ["NUMPY_KERNELS", "OURS", "PRODUCTS", "Goals", "Job", "Result", "describe", "measure", "summary"]
__all__ += ["write_json"]

OURS = "tinygrad_rnn"
NUMPY_KERNELS = "numpy kernels"
"""This package again, its recurrent layers computed by NumPy alone, as without the extra ``fast``."""

PRODUCTS = "products alone"
"""Not a competitor, but what every one has to do: its ratio to a peer is about the least that can be reached."""

OWN = (OURS, NUMPY_KERNELS, PRODUCTS)
SHORTEST = 0.005
"""Seconds: below this a clock and an interrupt weigh too much."""

PAUSE = 0.02
"""Seconds between two timings; OpenBLAS's threads wait busily for about as long, OpenMP's for less."""

Job = Callable[[], object]
Goals = Mapping[str, Mapping[str, float]]
"""By competitor of our own, and by peer: the ratio that we mean to stay under."""


@dataclass
class Result:
    """What one piece of work took: a number for each competitor and round.

    Attributes:
        work: what was done.
        unit: what one number, times ``scale``, is in, e.g. ``us/step``.
        scale: of seconds (or bytes) to that unit.
        values: seconds per run (or bytes) of each competitor, round by round.
        goals: see :data:`Goals`.
        quantity: ``"seconds"`` or ``"bytes"``.
        first: of each competitor, what the first run took, which is not counted.
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
        lower, middle, upper = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        return lower, middle, upper

    def pairs(self) -> list[tuple[str, str]]:
        """Those that are compared: each competitor of our own with each peer."""
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
    """Time the jobs by turns, after two runs of each that are not counted.

    Args:
        jobs: by competitor.
        rounds: at most so many; fewer (but at least 5) if ``seconds`` are over.
        goals: ratios to stay under.
        synchronize: waits until a device has done what was asked of it.
        tell: is told how far the measurement has come.
    """
    wait = synchronize or _nothing
    tell = tell or _nothing
    first, batch = {}, {}
    for name, job in jobs.items():
        tell(f"{work}: {name}, warm-up")
        first[name] = _time(job, 1, wait)
        batch[name] = max(1, int(SHORTEST / max(_time(job, 1, wait), 1e-9)))
    values: dict[str, list[float]] = {name: [] for name in jobs}
    end = time.perf_counter() + seconds
    for number in range(rounds):
        if number >= 5 and time.perf_counter() > end:
            break
        tell(f"{work}: round {number + 1} of {rounds}")
        order = list(jobs) if number % 2 == 0 else list(jobs)[::-1]
        for name in order:
            gc.collect()
            time.sleep(PAUSE)
            _time(jobs[name], 1, wait)
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
    """The medians of everybody, in one line."""
    medians = "  ".join(f"{name} {result.median(name):.4g}" for name in result.values)
    return f"  {result.work}  [{result.unit}]  {medians}"


def summary(results: Sequence[Result]) -> str:
    """One line for each work and pair: the ratio, its quartiles, and whether the goal was met."""
    rows = []
    for result in results:
        for ours, peer in result.pairs():
            lower, middle, upper = result.ratio(peer, ours)
            goal = result.goals.get(ours, {}).get(peer)
            verdict = "" if goal is None else f"<= {goal:g}  {'yes' if middle <= goal else 'NO'}"
            rows.append((result.work, ours, peer, f"{middle:.2f}", f"{lower:.2f} .. {upper:.2f}", verdict))
    return table(("work", "ours", "against", "ratio", "quartiles", "goal"), rows, right=(3,))


def write_json(path: Path, facts: dict[str, Any], results: Sequence[Result], complete: bool) -> None:
    """Everything that was measured, every single number; ``complete`` is false after an interruption."""
    content = {"machine": facts, "complete": complete, "results": [_plain(result) for result in results]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _plain(result: Result) -> dict[str, Any]:
    ratios = []
    for ours, peer in result.pairs():
        quartiles = dict(zip(("lower", "median", "upper"), result.ratio(peer, ours), strict=True))
        ratios.append({"ours": ours, "peer": peer, **quartiles, "goal": result.goals.get(ours, {}).get(peer)})
    return {"work": result.work, result.quantity: result.values, "first run": result.first, "ratios": ratios}

"""Family ``host``: what it costs the host to issue a layer, forward and back, and a step of the main job.

Short sequences take as long as that.  ``us to issue`` is the time until calls return, from an idle device on; the
profiles, the functions with most time of their own, are in the family's log.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import tinygrad_rnn as tg

from .clock import synchronize
from .job import program_of
from .places import Places
from .reference import Work, prepared
from .rows import Rows

__all__ = ["host"]

FUNCTIONS = 40
STACKED = {"num_layers": 2, "bidirectional": True}


def host(rows: Rows, places: Places) -> None:
    """Times to issue of all, ours and PyTorch's; then the profiles of ours."""
    H, N, T = (4, 2, 3) if places.dry else (128, 16, 64)
    jobs: dict[str, Callable[[], object]] = {}
    for kind in ("LSTM", "GRU", "RNN"):
        for options in ({}, STACKED) if kind == "LSTM" else ({},):
            work = Work(kind, H, N, T, options=options)
            for name, run in _layer(tg, places.ours, work).items():
                jobs[f"{work.key}: {name}"] = run
                rows.attempt(f"{work.key}: {name}", partial(_both, rows, places, work, name, run))
    jobs["main job"] = step = program_of(tg, places.ours, "LSTM", (H, N, T)).step
    rows.attempt("main job", lambda: rows.add("main job", **{"us to issue": _issue(tg, places.ours, step)}))
    for key, run in jobs.items():
        if "GRU" not in key and "RNN" not in key:  # they differ from the LSTM in their kernels alone
            rows.attempt(key, partial(_profile, places, key, run))


def _layer(lib: Any, device: str, work: Work) -> dict[str, Callable[[], object]]:
    run = prepared(lib, device, work, work.numbers())
    return {"forward": run.forward, "both": run.both}


def _both(rows: Rows, places: Places, work: Work, name: str, run: Callable[[], object]) -> None:
    key, torch = f"{work.key}: {name}", places.torch()
    mine = _issue(tg, places.ours, run)
    rows.add(key, **{"us to issue": mine})
    if torch is not None:
        theirs = _issue(torch, places.theirs, _layer(torch, places.theirs, work)[name])
        rows.add(key, **{"torch us to issue": theirs, "ratio": mine / theirs})


def _issue(lib: Any, device: str, run: Callable[[], object], count: int = 100) -> float:
    """The median time until ``run`` returns, in microseconds, with nothing to do on the device before."""
    found = []
    for _ in range(count if device != "cpu" else 5):
        synchronize(lib, device)
        begin = time.perf_counter()
        run()
        found.append(time.perf_counter() - begin)
    return statistics.median(found) * 1e6


def _profile(places: Places, key: str, run: Callable[[], object]) -> None:
    count = 3 if places.dry else 200
    profile = cProfile.Profile()
    synchronize(tg, places.ours)
    profile.enable()
    for _ in range(count):
        run()
    profile.disable()
    print(f"\n{key}, {count} times")
    pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(FUNCTIONS)

"""Family ``tilings``: each way to cut a persistent kernel that this GPU can run, to replace estimates by numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tinygrad_rnn as tg

from ...backend.kernels import gpu
from ...ops.kernels.cuda.cells import CELLS
from ...ops.kernels.cuda.tilings import BARRIER, COUNTER, MESSAGES, Tiling, candidates, step_time, using
from .clock import milliseconds
from .places import Places
from .reference import Work, distance, prepared, reference
from .rows import Rows

__all__ = ["tilings"]

SIGNALS = {COUNTER: "counter", BARRIER: "barrier", MESSAGES: "messages"}


def tilings(rows: Rows, places: Places) -> None:
    """Microseconds per step of LSTM, then of the others, for each tiling."""
    if places.ours == "cpu":
        rows.add("none", note="there is no GPU")
        return
    T = 4 if places.dry else 256
    for kind in ("LSTM", "GRU", "RNN"):
        for H in places.sizes((64, 128, 256, 512), (256,), (32,)):
            found = candidates(CELLS["tanh" if kind == "RNN" else kind.lower()], H, gpu())
            for N in places.sizes((1, 16, 64), (16,), (2,)):
                work = Work(kind, H, N, T)
                numbers = work.numbers()
                expected = reference(places, work, numbers)
                for tiling in found:
                    _attempt(rows, places, work, numbers, expected, tiling)
                if found and kind == "LSTM" and N == 16 and found[0].sync == MESSAGES and found[0].ctas > 1:
                    for sync in (BARRIER, COUNTER):
                        _attempt(rows, places, work, numbers, expected, replace(found[0], sync=sync))


def _attempt(rows: Rows, places: Places, work: Work, numbers: Any, expected: Any, tiling: Tiling) -> None:
    key = f"{work.key}: {tiling.ctas} blocks, {tiling.samples} samples, {SIGNALS[tiling.sync]}"

    def one() -> None:
        with using(tiling), tg.backends.recurrent.only("cuda"):
            run = prepared(tg, places.ours, work, numbers)
            error, where = distance(run.results(), expected)
            rows.add(key, error=error, worst=where, expected=step_time(tiling, work.N, gpu()))
            if error < 1e-3:
                forward = milliseconds(tg, places.ours, run.forward, repetitions=7)
                both = milliseconds(tg, places.ours, run.both, repetitions=7)
                per = {"us per step forward": forward * 1e3 / work.T, "us per step": both * 1e3 / work.T}
                rows.add(key, forward=forward, both=both, **per)

    rows.attempt(key, one)

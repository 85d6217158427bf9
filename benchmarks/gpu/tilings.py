"""Family ``tilings``: the ways to cut a persistent kernel that this GPU can run, to replace estimates by numbers.

Kernels take a second or two to be compiled, and there are more ways than fit into a minute: so all cores compile, and
the shapes come in the order in which numbers are wanted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.backend.gpu.clusters import clusters_at_once
from tinygrad_rnn.backend.gpu.kernels import KernelError, gpu
from tinygrad_rnn.kernels.recurrent.cuda.cells import CELLS, Cell
from tinygrad_rnn.kernels.recurrent.cuda.layer import BEFORE_CLUSTERS
from tinygrad_rnn.kernels.recurrent.cuda.persistent import compiled
from tinygrad_rnn.kernels.recurrent.cuda.tilings import (
    BARRIER,
    COUNTER,
    MESSAGES,
    Tiling,
    block_counts,
    candidates,
    choose,
    step_time,
    using,
)

from .clock import milliseconds
from .places import Places
from .reference import Work, distance, prepared, reference
from .rows import Rows

__all__ = ["tilings"]

SIGNALS = {COUNTER: "counter", BARRIER: "barrier", MESSAGES: "messages"}
FIRST = [("LSTM", 512, 64), ("RNN", 256, 64), ("GRU", 512, 64), ("RNN", 256, 16), ("LSTM", 512, 16), ("LSTM", 256, 64)]
"""Kind, H, N: where a better cut may meet a goal that was missed."""


def tilings(rows: Rows, places: Places) -> None:
    """Microseconds per step for each tiling of each shape."""
    if places.ours == "cpu":
        rows.add("none", note="there is no GPU")
        return
    for blocks in (2, 4, 8, 16):
        rows.add(f"clusters of {blocks} blocks", **{"at the same time": clusters_at_once(blocks) or 0})
    T = 4 if places.dry else 512
    others = [(kind, H, N) for kind in ("LSTM", "GRU", "RNN") for H in (512, 256, 128, 64) for N in (64, 16, 1)]
    shapes = places.sizes(list(dict.fromkeys([*FIRST, *others])), FIRST[:2], [("LSTM", 32, 2)])
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for kind, H, N in shapes:
            cell = CELLS["tanh" if kind == "RNN" else kind.lower()]
            ways = list(_ways(cell, H, N))
            compiling = pool.map(lambda way, cell=cell: _compiled(cell, way), ways)  # beside the reference
            work = Work(kind, H, N, T)
            numbers = work.numbers()
            expected = reference(places, work, numbers)
            list(compiling)
            for tiling in ways:
                _attempt(rows, places, work, numbers, expected, tiling)


def _ways(cell: Cell, H: int, N: int) -> Iterator[Tiling]:
    """The tilings that are chosen from; with twice the most samples; with other numbers of blocks; other signals."""
    found = [t for t in candidates(cell, H, gpu()) if t.samples < 2 * N]
    yield from found
    if not found:
        return
    more = replace(found[-1], samples=2 * found[-1].samples)
    if more.samples <= N and max(more.forward().shared, more.backward().shared) <= gpu().shared_memory:
        yield more
    for ctas in block_counts(cell, H):
        if ctas != found[0].ctas:
            yield from [t for t in candidates(cell, H, gpu(), ctas) if t.samples < 2 * N][-2:]
    if found[0].ctas == 16:  # more blocks than a cluster has meet in global memory
        without = candidates(cell, H, gpu()._replace(capability=BEFORE_CLUSTERS))
        yield from [t for t in without if t.samples < 2 * N][-2:]
    if N == 16 and found[0].sync == MESSAGES:
        yield from [replace(found[0], sync=sync) for sync in (BARRIER, COUNTER)]


def _compiled(cell: Cell, tiling: Tiling) -> None:
    try:
        for name in ("persistent_forward", "persistent_backward"):
            compiled(cell, tiling, name)
    except KernelError:
        pass  # said when it is run


def _attempt(rows: Rows, places: Places, work: Work, numbers: Any, expected: Any, tiling: Tiling) -> None:
    key = f"{work.key}: {tiling.ctas} blocks, {tiling.samples} samples, {SIGNALS[tiling.sync]}"
    cell = CELLS["tanh" if work.kind == "RNN" else work.kind.lower()]
    own = choose(cell, work.H, work.N, np.dtype("float32"), gpu())

    def one() -> None:
        with using(tiling), tg.backends.recurrent.only("cuda"):
            run = prepared(tg, places.ours, work, numbers)
            error, where = distance(run.results(), expected)
            rows.add(key, error=error, worst=where, expected=step_time(tiling, work.N, gpu()), chosen=own == tiling)
            if error < 1e-3:
                forward = milliseconds(tg, places.ours, run.forward, repetitions=7)
                both = milliseconds(tg, places.ours, run.both, repetitions=7)
                per = {"us per step forward": forward * 1e3 / work.T, "us per step": both * 1e3 / work.T}
                rows.add(key, forward=forward, both=both, **per)

    rows.attempt(key, one)

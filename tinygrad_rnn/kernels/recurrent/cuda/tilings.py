"""Tilings of the persistent kernels: how their work is cut, chosen by a table and a small model of a step's time.

A group of ``ctas`` blocks holds w_hh and runs ``samples`` samples; see ``sources/group.cu``.  More blocks per group
make a step's product shorter and its exchange wider; more samples per group make fewer groups, of which only so many
fit on the GPU at a time.

The model is of a step forward.  Its constants are estimates for a GPU of the H200's kind, fitted to the times of whole
layers there, which it gives within some 20 % where a step is work; the latencies of exchange were not measured.  The
benchmark's family ``tilings`` measures each way by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ....backend.gpu.clusters import clusters_at_once
from ....backend.gpu.kernels import Gpu, Launch
from .cells import Cell

__all__ = [
    "BARRIER",
    "COUNTER",
    "MESSAGES",
    "Tiling",
    "block_counts",
    "candidates",
    "choose",
    "step_time",
    "stepwise_time",
    "using",
]

COUNTER, BARRIER, MESSAGES = 0, 1, 2
"""How a group's blocks signal: a counter in global memory, the cluster's barrier, messages within the cluster."""

SIZES = (32, 64, 128, 256, 512)
SAMPLES = (1, 2, 4, 8)
HEADER = 4  # floats

# The model of a step.  Instructions beside multiplications: counted in the machine code of the loops.
CYCLES_PER_MICROSECOND = 1980
SCHEDULERS = 4  # of a multiprocessor; each issues one instruction of 32 threads per cycle
READ = 4  # cycles of a multiprocessor in which the threads of a warp read four floats each from shared memory
PER_STEP, PER_SAMPLE = 100, 100  # instructions of a thread
LATENCY = {COUNTER: 1.5, BARRIER: 0.4, MESSAGES: 0.25}  # microseconds until the others know
LATENCY_ALONE = 0.1  # a group of one block
STEPWISE_LAUNCHES = 12.0  # microseconds per step for a product and a kernel, called from Python
STEPWISE_PRODUCTS = 20e6  # multiplications per microsecond that a large product reaches


@dataclass(frozen=True)
class Tiling:
    """One way to cut the work; what is compiled in.

    Attributes:
        rows: of each weight per unit.
        hidden: the padded size.
        ctas: blocks per group.
        threads: per block.
        held_forward: of the k of a lane, how many have their weights in registers; the rest in shared memory.
        held_backward: the same of the rows of a lane on the way back.
        sync: how blocks signal.
        samples: per group.
    """

    rows: int
    hidden: int
    ctas: int
    threads: int
    held_forward: int
    held_backward: int
    sync: int
    samples: int = 1

    @property
    def units(self) -> int:
        """Units of one block."""
        return self.hidden // self.ctas

    @property
    def k_each(self) -> int:
        """k of one lane, forward."""
        return self.hidden * self.units // self.threads

    @property
    def rows_each(self) -> int:
        """Rows of one lane, backward."""
        block_rows = self.rows * self.units
        return block_rows // (8 if block_rows % 32 == 0 else 4)

    @property
    def weights_each(self) -> int:
        """Weights of one thread."""
        return self.rows * self.k_each

    @property
    def cooperative(self) -> bool:
        """All blocks of a launch must run at the same time."""
        return self.sync == COUNTER and self.ctas > 1

    def options(self) -> tuple[str, ...]:
        """For the compiler."""
        return (
            "-DREAL=float",
            f"-DHIDDEN={self.hidden}",
            f"-DCTAS={self.ctas}",
            f"-DSAMPLES={self.samples}",
            f"-DTHREADS={self.threads}",
            f"-DSYNC={self.sync}",
            f"-DHELD_FORWARD={self.held_forward}",
            f"-DHELD_BACKWARD={self.held_backward}",
        )

    def forward(self) -> Launch:
        """The launch of ``persistent_forward``: h twice, and the weights that registers do not hold."""
        floats = HEADER + 2 * self.samples * self.hidden
        return self._launch(floats + (self.k_each - self.held_forward) * self.rows * self.threads)

    def backward(self) -> Launch:
        """The launch of ``persistent_backward``: parts and dz, both twice, and weights."""
        line = self.rows * self.units + 8
        floats = HEADER + 2 * self.samples * (self.hidden + line)
        outputs = self.weights_each // self.rows_each
        return self._launch(floats + (self.rows_each - self.held_backward) * outputs * self.threads)

    def _launch(self, floats: int) -> Launch:
        cluster = self.ctas if self.sync != COUNTER else 1
        return Launch(self.threads, 4 * floats, cluster, self.cooperative)


class _Shape(NamedTuple):
    ctas: int
    threads: int = 256
    held: float = 1.0  # the part of the weights that registers hold


# By rows per unit and padded size: first with clusters, then with a counter, for which more blocks are no harder.
CLUSTERS: dict[int, dict[int, _Shape]] = {
    4: {32: _Shape(1), 64: _Shape(1), 128: _Shape(4), 256: _Shape(8), 512: _Shape(16, held=0.5)},
    3: {32: _Shape(1), 64: _Shape(1), 128: _Shape(4), 256: _Shape(8), 512: _Shape(16, held=0.67)},
    2: {32: _Shape(1), 64: _Shape(1), 128: _Shape(2), 256: _Shape(4), 512: _Shape(16)},
    1: {32: _Shape(1), 64: _Shape(1), 128: _Shape(1), 256: _Shape(4), 512: _Shape(8)},
}
COUNTERS: dict[int, dict[int, _Shape]] = {
    4: {**CLUSTERS[4], 512: _Shape(32)},
    3: {**CLUSTERS[3], 512: _Shape(32)},
    2: CLUSTERS[2],
    1: CLUSTERS[1],
}


def _shapes(table: dict[int, dict[int, _Shape]], cell: Cell) -> dict[int, _Shape]:
    """Those for a cell: four slots take four lanes for each unit, even of a product with one row per unit."""
    return table[max(cell.rows, 2) if cell.slots > 1 else cell.rows]


def candidates(cell: Cell, size: int, gpu: Gpu, ctas: int | None = None) -> list[Tiling]:
    """The tilings that this GPU can run for a hidden size, by samples per group; none beyond the largest size.

    Args:
        ctas: blocks per group, if not those of the table: one of :func:`block_counts`.
    """
    hidden = _padded(size)
    if hidden is None or gpu.capability < 70:
        return []
    clusters = gpu.capability >= 90 and (_shapes(CLUSTERS, cell)[hidden].ctas <= 8 or gpu.capability < 120)
    shape = _shapes(CLUSTERS if clusters else COUNTERS, cell)[hidden]
    if ctas is not None and ctas != shape.ctas:
        shape = _Shape(ctas)
    sync = MESSAGES if clusters and shape.ctas > 1 else COUNTER
    whole = Tiling(cell.rows, hidden, shape.ctas, shape.threads, 0, 0, sync)
    whole = replace(
        whole,
        held_forward=int(whole.k_each * shape.held) // 4 * 4,
        held_backward=int(whole.rows_each * shape.held) // 4 * 4,
    )
    found = [replace(whole, samples=samples) for samples in SAMPLES]
    return [t for t in found if max(t.forward().shared, t.backward().shared) <= gpu.shared_memory]


def block_counts(cell: Cell, size: int) -> list[int]:
    """Numbers of blocks per group to measure: that of the table, and all with which registers hold all weights."""
    hidden = _padded(size)
    if hidden is None:
        return []
    found = {_shapes(CLUSTERS, cell)[hidden].ctas}
    for ctas in (1, 2, 4, 8, 16):
        tiling = Tiling(cell.rows, hidden, ctas, 256, 0, 0, COUNTER)
        lanes, team = 256 // tiling.units, 8 if cell.rows * tiling.units % 32 == 0 else 4
        tiles = (
            cell.slots <= lanes <= 16 and tiling.k_each % 4 == 0 and tiling.rows_each % 4 == 0 and hidden * team >= 256
        )
        if tiles and tiling.weights_each <= 128:
            found.add(ctas)
    return sorted(found)


def _padded(size: int) -> int | None:
    return next((known for known in SIZES if size <= known), None)


def step_time(tiling: Tiling, batch: int, gpu: Gpu) -> float:
    """Microseconds that a step of the whole batch may take."""
    together = gpu.multiprocessors // tiling.ctas  # groups that run at the same time
    if tiling.ctas > 1 and tiling.sync != COUNTER:
        together = clusters_at_once(tiling.ctas) or together
    groups = -(-batch // tiling.samples)
    waves = -(-groups // max(together, 1))
    warps = tiling.threads / 32
    instructions = PER_STEP + tiling.samples * (tiling.weights_each + PER_SAMPLE)
    cycles = instructions * warps / SCHEDULERS
    reads = tiling.samples * tiling.k_each + (tiling.k_each - tiling.held_forward) * tiling.rows  # h, and weights
    cycles += reads / 4 * READ * warps
    latency = LATENCY_ALONE if tiling.ctas == 1 else LATENCY[tiling.sync]
    return waves * (latency + cycles / CYCLES_PER_MICROSECOND)


def stepwise_time(cell: Cell, size: int, batch: int) -> float:
    """The same for a product and a kernel per step."""
    return STEPWISE_LAUNCHES + cell.rows * size * size * batch / STEPWISE_PRODUCTS


_forced: list[Tiling] = []


@contextmanager
def using(tiling: Tiling) -> Iterator[None]:
    """Within, every persistent run uses ``tiling``: to measure one, or to test it."""
    _forced.append(tiling)
    try:
        yield
    finally:
        _forced.pop()


def choose(cell: Cell, size: int, batch: int, dtype: Any, gpu: Gpu) -> Tiling | str:
    """The tiling for a layer, or why there should be none."""
    if dtype.char != "f":
        return f"persistent kernels compute in float32, not in {dtype}"
    return _forced[-1] if _forced else _chosen(cell, size, batch, gpu)


@functools.lru_cache(maxsize=256)
def _chosen(cell: Cell, size: int, batch: int, gpu: Gpu) -> Tiling | str:
    if size > SIZES[-1]:
        return f"persistent kernels hold w_hh on the chip up to a hidden size of {SIZES[-1]}, not {size}"
    found = candidates(cell, size, gpu)
    if not found:
        return f"no persistent kernel fits a GPU of compute capability {gpu.capability / 10}"
    best = min(found, key=lambda t: step_time(t, batch, gpu))
    if step_time(best, batch, gpu) > stepwise_time(cell, size, batch):
        return f"a batch of {batch} at hidden size {size} is expected to be faster step by step"
    return best

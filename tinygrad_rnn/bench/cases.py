"""Benchmarks by name, each a generator of results."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from . import gpu, user_cells
from .cells import cell_jobs
from .layers import GRID, layer_goals, layer_jobs, products_alone, two_of_ours
from .loops import loop_jobs
from .measure import NUMPY_KERNELS, OURS, Goals, Job, Result, measure
from .memory import can_measure, peak_bytes
from .overhead import chain_memory, chain_result, import_result, tiny_jobs
from .training_steps import UNWATCHED, diagnosed_jobs, optimiser_jobs, update_jobs

__all__ = ["BENCHMARKS", "CUDA_BENCHMARKS", "PEERS", "Session", "present"]

PEERS = ("torch", "autograd", "mygrad", "jax")
KINDS = ("RNN", "GRU", "LSTM")
COMMON = (
    *("m @ m", "m[0]", "a[1:3]", "a.detach()", "a.sum()", "m.T", "lib.stack([a] * 16)", "lib.cat([a] * 16)"),
    *("lib.softmax(a, 0)", "F.log_softmax(a, 0)", "F.cross_entropy(m, t)", "lib.einsum('ij,jk->ik', m, m)"),
    *("c.zero_()", "c.mul_(0.5)", "c.add_(c, alpha=0.5)", "a.sum().backward()"),
)
"""Operations whose Python-side costs are shown against PyTorch's; see :func:`tiny_jobs` for the names."""

DEEP: dict[str, Any] = {"num_layers": 2, "bidirectional": True}


def present(*names: str) -> list[str]:
    """Those of the packages that can be imported."""
    return [name for name in names if importlib.util.find_spec(name)]


@dataclass
class Session:
    """The settings of one run of benchmarks.

    Attributes:
        quick: smaller sizes, less time.
        tell: receives messages about the progress.
        synchronize: waits for the device.
    """

    quick: bool = False
    tell: Callable[[str], object] | None = None
    synchronize: Callable[[], object] | None = None

    def measure(self, work: str, jobs: Mapping[str, Job], *, seconds: float = 4.0, **more: Any) -> Result:
        """:func:`measure` with the settings of this run."""
        seconds = min(seconds, 1.0) if self.quick else seconds
        return measure(work, jobs, seconds=seconds, tell=self.tell, synchronize=self.synchronize, **more)


Benchmark = Callable[[Session], Iterator[Result]]


def loops(session: Session) -> Iterator[Result]:
    """The composed tanh-RNN loop, every step on the tape, against all who record such loops."""
    goals = {(64, 1, 8): 0.6, (64, 32, 64): 0.6, (200, 32, 128): 1.0}
    for (T, N, H), goal in list(goals.items())[: 2 if session.quick else 3]:
        limits: Goals = {OURS: {"torch": goal, "mygrad": 0.45, "autograd": 0.2} | ({"numpy": 1.4} if H == 64 else {})}
        jobs = loop_jobs(T, N, H, [*present(*PEERS), "numpy"])
        work = f"composed RNN loop T={T} N={N} H={H}"
        yield session.measure(work, jobs, unit="us/step", scale=1e6 / T, seconds=6, goals=limits)


def cells(session: Session) -> Iterator[Result]:
    """Layers of any cell, compiled, against step by step and PyTorch's loop; loops over RNNCell, GRUCell, LSTMCell."""
    for T, N, H in user_cells.GRID[: 1 if session.quick else 3]:
        for name in user_cells.USER_CELLS:
            jobs = user_cells.user_cell_jobs(name, T, N, H, torch="torch" in present("torch"))
            goals = user_cells.user_cell_goals(T, N, H)
            yield session.measure(f"{name} T={T} N={N} H={H}", jobs, goals=goals)
    for kind in KINDS:
        for T, N, H in ((64, 8, 32), (64, 32, 128))[: 1 if session.quick else 2]:
            work = f"loop of {kind}Cell T={T} N={N} H={H}"
            yield session.measure(work, cell_jobs(kind, T, N, H), unit="us/step", scale=1e6 / T)


def layers(session: Session) -> Iterator[Result]:
    """Fused layers, and the products in them alone, against torch.nn; packed, and two layers in both directions."""
    for kind in KINDS:
        for T, N, H in GRID[:3] if session.quick else GRID:
            jobs = layer_jobs(kind, T, N, H) | products_alone(kind, T, N, H)
            yield session.measure(f"{kind} T={T} N={N} H={H}", jobs, goals=layer_goals(kind, T, N, H))
    T, N, H = 64, 32, 64
    for kind in KINDS:
        goals = layer_goals(kind, T, N, H)
        yield session.measure(f"{kind} packed T={T} N={N} H={H}", layer_jobs(kind, T, N, H, packed=True), goals=goals)
        jobs = layer_jobs(kind, T, N, H, **DEEP)
        yield session.measure(f"{kind} 2 layers, both ways, T={T} N={N} H={H}", jobs, goals=goals)


def memory(session: Session) -> Iterator[Result]:
    """Peak memory of fused layers per step, each in a separate process; 100,000 steps with and without segments."""
    if not can_measure():
        return
    shapes = [("RNN", 64, 32, 256), ("GRU", 64, 32, 256), ("LSTM", 64, 32, 256), ("LSTM", 64, 32, 512)]
    names = [OURS, *([NUMPY_KERNELS] if two_of_ours() else []), *present("torch")]
    for kind, T, N, H in shapes[:3] if session.quick else shapes:
        goals = {name: {"torch": 1.2} for name in (OURS, NUMPY_KERNELS)} if kind == "LSTM" else {}
        yield _peaks(session, f"peak of {kind} T={T} N={N} H={H}", T, {n: (n, kind, T, N, H) for n in names}, goals)
    kind, T, N, H = "LSTM", 2_000 if session.quick else 100_000, 1, 128
    runs: dict[str, tuple[Any, ...]] = {
        OURS: (OURS, kind, T, N, H, "auto"),
        "without segments": (OURS, kind, T, N, H),
        **{name: (name, kind, T, N, H) for name in present("torch")},
    }
    work = f"peak of {kind} T={T} N={N} H={H}, segments"
    yield _peaks(session, work, T, runs, {OURS: {"without segments": 0.2}}, rounds=1)


def _peaks(
    session: Session, work: str, T: int, runs: Mapping[str, tuple[Any, ...]], goals: Goals, rounds: int = 3
) -> Result:
    values: dict[str, list[float]] = {name: [] for name in runs}
    # By turns, as the timings: a change in the machine's load meets all alike.
    for number in range(1 if session.quick else rounds):
        for name, run in runs.items():
            if session.tell:
                session.tell(f"{work}: {name}, process {number + 1} of {rounds}")
            values[name].append(peak_bytes(*run))
    return Result(work, "kB/step", 1e-3 / T, values, goals, quantity="bytes")


def segments(session: Session) -> Iterator[Result]:
    """Time of 100,000 steps that are computed again in segments, against a layer that keeps everything."""
    T, N, H = 5_000 if session.quick else 100_000, 1, 128
    x = tg.tensor(np.random.default_rng(0).standard_normal((T, N, H), dtype=np.float32))

    def job(kind: str, segments: str | None) -> Job:
        layer = getattr(tg.nn, kind)(H, H, checkpoint_segments=segments)

        def run() -> None:
            layer.zero_grad()
            layer(x)[0].sum().backward()

        return run

    for kind in KINDS:
        jobs = {OURS: job(kind, "auto"), "without segments": job(kind, None)}
        goals = {OURS: {"without segments": 1.4}}
        yield session.measure(f"{kind} in segments T={T} N={N} H={H}", jobs, goals=goals)


def update(session: Session) -> Iterator[Result]:
    """A whole update of a language model, from embedding to optimiser step; with train --diagnose 100."""
    names = (OURS, NUMPY_KERNELS) if two_of_ours() else (OURS,)
    goals = {name: {"torch": 1.1} for name in names}
    yield session.measure("language-model update", update_jobs(present("torch")), seconds=8, goals=goals)
    yield _diagnosed(session, 100)


def _diagnosed(session: Session, every: int) -> Result:
    """The mean update where each ``every``-th is watched, from the times of one that is and one that is not."""
    result = session.measure(f"language-model update, --diagnose {every}", diagnosed_jobs(), seconds=8)
    plain = result.values[UNWATCHED]
    watched = [p + (w - p) / every for w, p in zip(result.values[OURS], plain, strict=True)]
    return replace(result, values={OURS: watched, UNWATCHED: plain}, goals={OURS: {UNWATCHED: 1.02}})


def optimisers(session: Session) -> Iterator[Result]:
    """Clipping the gradient and an optimiser step over 100 small parameters."""
    peers = present("torch")
    jobs = optimiser_jobs("SGD", peers, lr=0.1, momentum=0.9, nesterov=True)
    yield session.measure("clip + SGD nesterov, 100 x (32, 32)", jobs)
    yield session.measure("clip + Adam, 100 x (32, 32)", optimiser_jobs("Adam", peers, lr=1e-3))


def overhead(session: Session) -> Iterator[Result]:
    """What recording one operation on 4 numbers costs, and the common operations on as few."""
    for expression in ("a + a", "a * 2.0", "-a"):
        jobs = tiny_jobs(expression, present("torch", "mygrad"))
        yield session.measure(f"recording {expression}, 4 numbers", jobs, unit="us", scale=1e4)
    for expression in COMMON:
        jobs = tiny_jobs(expression, present("torch"))
        yield session.measure(f"{expression}, 4 numbers", jobs, unit="us", scale=1e4, seconds=2)


def imports(session: Session) -> Iterator[Result]:
    """The import of the package in a new interpreter, against that of NumPy alone."""
    yield import_result(3 if session.quick else 11)


def chain(session: Session) -> Iterator[Result]:
    """A chain of 10^5 and of 10^6 nodes, recorded, swept and released: the same per node if linear; its memory."""
    for n in (10**4, 10**5) if session.quick else (10**5, 10**6):
        yield chain_result(n, present("torch"))
    yield chain_memory(10**4)


BENCHMARKS: dict[str, Benchmark] = {
    benchmark.__name__: benchmark
    for benchmark in (loops, cells, layers, memory, segments, update, optimisers, overhead, imports, chain)
}


def cuda_layers(session: Session) -> Iterator[Result]:
    """Layers on the GPU, against cuDNN's in full float32; and a loop of LSTM cells."""
    for kind in KINDS:
        for T, N, H in GRID[:3] if session.quick else GRID:
            yield session.measure(f"{kind} T={T} N={N} H={H} on the GPU", gpu.cuda_layer_jobs(kind, T, N, H))
    T, N, H = 64, 32, 256
    yield session.measure(f"LSTMCell loop T={T} N={N} H={H} on the GPU", gpu.cell_jobs(T, N, H))


CUDA_BENCHMARKS: dict[str, Benchmark] = {"layers": cuda_layers}

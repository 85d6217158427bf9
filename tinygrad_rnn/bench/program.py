"""``tinygrad-rnn bench``: run the works, show a table, write JSON.

    python -m tinygrad_rnn.bench.program [--only loops,layers,...] [--threads 2] [--json FILE]

BLAS reads its number of threads when NumPy is first imported, so the program starts itself again in a new process
with the environment set.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..tape.table import table
from .chain import chain_seconds, import_result, tiny_jobs
from .layers import GRID, layer_jobs
from .loops import loop_jobs
from .measure import OURS, Result, measure
from .steps import optimiser_jobs, update_jobs

__all__ = ["add_arguments", "main", "run"]

PEERS = ("torch", "autograd", "mygrad", "jax")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
MARK = "TINYGRAD_RNN_BENCH_CHILD"

Show = Callable[[Result], None]


def present(*names: str) -> list[str]:
    """Those of the peers that can be imported."""
    return [name for name in names if importlib.util.find_spec(name)]


def loops(show: Show, quick: bool) -> None:
    """The composed tanh-RNN loop."""
    goals = {(64, 1, 8): 0.6, (64, 32, 64): 0.6, (200, 32, 128): 1.0}
    for (T, N, H), goal in list(goals.items())[: 2 if quick else 3]:
        limits = {"torch": goal, "mygrad": 0.45, "autograd": 0.2} | ({"numpy": 1.4} if H == 64 else {})
        jobs = loop_jobs(T, N, H, [*present(*PEERS), "numpy"])
        work = f"composed RNN loop T={T} N={N} H={H}"
        show(measure(work, jobs, unit="us/step", scale=1e6 / T, seconds=1 if quick else 6, limits=limits))


def layers(show: Show, quick: bool) -> None:
    """Fused layers against torch.nn."""
    if not present("torch"):
        return
    for kind in ("RNN", "GRU", "LSTM"):
        for T, N, H in GRID[:3] if quick else GRID:
            goal = 0.5 if kind != "LSTM" or (T, H) in ((32, 32), (1000, 32)) else 1.2 if H == 128 else 1.0
            show(measure(f"{kind} layer T={T} N={N} H={H}", layer_jobs(kind, T, N, H), limits={"torch": goal}))
    deep = {"num_layers": 2, "bidirectional": True}
    for kind in ("GRU", "LSTM"):
        show(measure(f"{kind} 2 layers bidirectional T=64 N=32 H=64", layer_jobs(kind, 64, 32, 64, **deep)))


def update(show: Show, quick: bool) -> None:
    """A language-model update from embedding to optimiser step."""
    if present("torch"):
        show(measure("language-model update", update_jobs(), seconds=8, limits={"torch": 1.1}))


def optimisers(show: Show, quick: bool) -> None:
    """Clipping and a step over 100 small parameters."""
    if present("torch"):
        jobs = optimiser_jobs("SGD", lr=0.1, momentum=0.9, nesterov=True)
        show(measure("clip + SGD nesterov, 100 x (32, 32)", jobs))
        show(measure("clip + Adam, 100 x (32, 32)", optimiser_jobs("Adam", lr=1e-3)))


def overhead(show: Show, quick: bool) -> None:
    """Recorded operations on 4 numbers, and the import."""
    for expression in ("a + a", "a * 2.0", "-a"):
        jobs = tiny_jobs(expression, present("torch", "mygrad"))
        show(measure(f"recording {expression}, 4 numbers", jobs, unit="us", scale=1e4))
    show(import_result(3 if quick else 7))


def chain(show: Show, quick: bool) -> None:
    """A chain of 10^5 and 10^6 nodes: printed as it is, without a peer."""
    sizes = (10**4, 10**5) if quick else (10**5, 10**6)
    spent = {n: chain_seconds(n) for n in sizes}
    print(f"\nchain of {sizes[1]} nodes: record, sweep, release: " + ", ".join(f"{s:.2f} s" for s in spent[sizes[1]]))
    print(f"time for ten times the nodes: {sum(spent[sizes[1]]) / sum(spent[sizes[0]]):.1f} times")


WORKS: dict[str, Callable[[Show, bool], None]] = {
    "loops": loops,
    "layers": layers,
    "update": update,
    "optimisers": optimisers,
    "overhead": overhead,
    "chain": chain,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the program, for its own parser and for the command line's."""
    parser.add_argument("--only", default=",".join(WORKS), help="which works, of %(default)s", metavar="WORK,...")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of everybody (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, less time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every time to FILE")


def run(only: str, threads: int, quick: bool, json: Path | None) -> int:
    """Run the works named in ``only`` in a new process with ``threads`` threads for everybody.

    Raises:
        UsageError: an unknown work, no threads, or a file that cannot be written.
    """
    unknown = [name for name in only.split(",") if name not in WORKS]
    if unknown:
        raise UsageError(f"--only: there is no work {unknown[0]!r}; choose from {', '.join(WORKS)}")
    if threads < 1:
        raise UsageError(f"--threads must be at least 1, got {threads}")
    if json is not None and not json.parent.is_dir():
        raise UsageError(f"--json: no such folder: {json.parent}")
    command = [sys.executable, "-m", f"{__package__}.program", "--only", only, "--threads", str(threads)]
    command += ["--quick"] * quick + (["--json", str(json)] if json else [])
    environment = os.environ | dict.fromkeys(THREADS, str(threads)) | {MARK: "1"}
    return subprocess.run(command, env=environment).returncode


def _child(only: str, threads: int, quick: bool, json_file: Path | None) -> None:
    if present("torch"):
        importlib.import_module("torch").set_num_threads(threads)
    absent = [name for name in PEERS if name not in present(*PEERS)]
    machine = platform.processor() or platform.machine()
    print(f"{machine}, Python {platform.python_version()}, {threads} thread(s)", end="")
    print(f"; not installed: {', '.join(absent)}" if absent else "")
    results: list[Result] = []

    def show(result: Result) -> None:
        results.append(result)
        print(describe(result), flush=True)

    for name in only.split(","):
        print(f"\n{(WORKS[name].__doc__ or name).splitlines()[0]}")
        WORKS[name](show, quick)
    print("\nRatios (ours / theirs: median, quartiles over rounds; goal where there is one)")
    print(summary(results))
    if json_file is not None:
        json_file.write_text(json.dumps([_plain(result) for result in results], indent=1) + "\n", encoding="utf-8")
        print(f"\nwritten: {json_file}")


def describe(result: Result) -> str:
    """The median times of everybody, in one line."""
    times = "  ".join(f"{name} {result.median(name):.4g}" for name in result.times)
    return f"  {result.work}  [{result.unit}]  {times}"


def summary(results: Sequence[Result]) -> str:
    """One line per work and peer: the ratio, its quartiles, and whether the goal was met."""
    rows = []
    for result in results:
        for peer in result.peers():
            lower, middle, upper = result.ratio(peer)
            goal = result.limits.get(peer)
            verdict = "" if goal is None else f"<= {goal:g}  {'yes' if middle <= goal else 'NO'}"
            rows.append((result.work, peer, f"{middle:.2f}", f"{lower:.2f} .. {upper:.2f}", verdict))
    return table(("work", "against", "ratio", "quartiles", "goal"), rows, right=(2,))


def _plain(result: Result) -> dict[str, Any]:
    ratios = {peer: result.ratio(peer)[1] for peer in result.peers()}
    return {"work": result.work, "seconds": result.times, "ratio": ratios, "goal": result.limits, "ours": OURS}


def main(arguments: Sequence[str] | None = None) -> int:
    """The program by itself: ``python -m tinygrad_rnn.bench.program``."""
    parser = argparse.ArgumentParser(prog="tinygrad-rnn bench", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    if MARK in os.environ:
        _child(options.only, options.threads, options.quick, options.json)
        return 0
    try:
        return run(**vars(options))
    except UsageError as error:
        print(f"tinygrad-rnn bench: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

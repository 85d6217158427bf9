"""Overhead beside arithmetic: operations on tiny arrays, long chains, the import of the package."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
import tracemalloc
from typing import Any

from .. import tensor
from .measure import OURS, Job, Result

__all__ = ["chain_memory", "chain_result", "import_result", "tiny_jobs"]


def tiny_jobs(expression: str, peers: list[str]) -> dict[str, Job]:
    """One operation on few numbers, 100 times.

    The expression may use ``a``, 4 numbers that require grad, and, if the peers have PyTorch's interface, ``c``, 4 that
    do not, ``m``, (2, 2) that require it, two class numbers ``t``, ``lib`` and its functions ``F``.
    """

    def job(name: str) -> Job:
        lib = importlib.import_module(name)
        # Compiled once: eval() of a text would time the parser.
        numbers, code = [0.1, 0.2, 0.3, 0.4], compile(expression, expression, "eval")
        scope: dict[str, Any] = {"lib": lib}
        # mygrad's tensors require grad by default.
        if name == "mygrad":
            scope["a"] = lib.tensor(numbers)
        else:
            scope |= {"a": lib.tensor(numbers, requires_grad=True), "c": lib.tensor(numbers), "F": lib.nn.functional}
            scope |= {"m": lib.tensor([numbers[:2], numbers[2:]], requires_grad=True), "t": lib.tensor([1, 0])}

        def run() -> None:
            for _ in range(100):
                eval(code, scope)

        return run

    return {name: job(name) for name in [OURS, *peers]}


def chain_result(n: int, peers: list[str], rounds: int = 3) -> Result:
    """Record a chain of ``n`` nodes, sweep it, and release it."""
    values: dict[str, list[float]] = {name: [] for name in [OURS, *peers]}
    for _ in range(rounds):
        for name, spent in values.items():
            spent.append(_chain(importlib.import_module(name), n))
    return Result(f"chain of {n} additions: record, sweep, release", "us/node", 1e6 / n, values)


def chain_memory(n: int) -> Result:
    """The memory of a recorded chain of ``n`` nodes until it is swept: arrays, nodes and version counters."""
    x = tensor(1.0, requires_grad=True)
    # After the leaf, which is no part of the chain.
    tracemalloc.start()
    y = x
    for _ in range(n):
        y = y * 1.0
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Result(f"chain of {n} products: memory held", "bytes/node", 1 / n, {OURS: [held]}, quantity="bytes")


def _chain(lib: Any, n: int) -> float:
    x = lib.tensor(1.0, requires_grad=True)
    start = time.perf_counter()
    y = x
    for _ in range(n):
        y = y + 1.0
    y.backward()
    # The release of the graph belongs to the cost of recording it.
    del y
    return time.perf_counter() - start


def import_result(rounds: int = 7) -> Result:
    """A new interpreter that imports this package, against one that imports numpy alone."""
    times: dict[str, list[float]] = {OURS: [], "numpy": []}
    # With it, no interpreter would find compiled files: the time of compilation would be measured.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for name in times:
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True, env=environment)  # compiled and cached
    for _ in range(rounds):
        for name, spent in times.items():
            # Timed from inside: the start of the interpreter is the same for both.
            code = f"import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
            command = [sys.executable, "-c", code]
            options: dict[str, Any] = {"text": True, "env": environment, "start_new_session": True}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, **options)
            spent.append(float(done.stdout))
    return Result("import in a new interpreter", "ms", 1e3, times, {OURS: {"numpy": 1.3}})

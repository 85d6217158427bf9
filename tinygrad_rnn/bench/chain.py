"""What an operation costs beside its arithmetic: tiny arrays, long chains, and the import of the package."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from typing import Any

from .measure import Job, Result

__all__ = ["chain_seconds", "import_result", "tiny_jobs"]


def tiny_jobs(expression: str, peers: list[str]) -> dict[str, Job]:
    """One recorded operation on arrays of 4 numbers, 100 times."""

    def job(name: str) -> Job:
        lib = importlib.import_module(name)
        make = lib.tensor
        a = make([0.1, 0.2, 0.3, 0.4]) if name == "mygrad" else make([0.1, 0.2, 0.3, 0.4], requires_grad=True)
        code = compile(expression, expression, "eval")
        scope: dict[str, Any] = {"a": a, "lib": lib}

        def run() -> None:
            for _ in range(100):
                eval(code, scope)

        return run

    return {name: job(name) for name in ["tinygrad_rnn", *peers]}


def chain_seconds(n: int) -> tuple[float, float, float]:
    """Seconds to record a chain of ``n`` nodes, to sweep it, and to release it."""
    import tinygrad_rnn as tg

    x = tg.tensor(1.0, requires_grad=True)
    moments = [time.perf_counter()]
    y = x
    for _ in range(n):
        y = y + 1.0
    moments.append(time.perf_counter())
    y.backward()
    moments.append(time.perf_counter())
    del y
    moments.append(time.perf_counter())
    record, sweep, release = [after - before for before, after in zip(moments, moments[1:], strict=False)]
    return record, sweep, release


def import_result(rounds: int = 7) -> Result:
    """A new interpreter that imports this package, against one that imports numpy alone."""
    times: dict[str, list[float]] = {"tinygrad_rnn": [], "numpy": []}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for name in times:
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True, env=environment)  # compiled and cached
    for _ in range(rounds):
        for name, spent in times.items():
            code = f"import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            spent.append(float(done.stdout))
    return Result("import", "ms", 1e3, times, {"numpy": 1.3})

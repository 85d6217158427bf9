"""Family ``micro``: what one call costs on the host, and how fast memory is copied."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.backend.gpu import cupy_access
from tinygrad_rnn.backend.gpu.gemm import multiply
from tinygrad_rnn.backend.gpu.kernels import gpu

from .clock import milliseconds, synchronize
from .places import Places
from .rows import Rows

__all__ = ["micro"]

NOTHING = f"""
extern "C" __global__ void nothing() {{}}
extern "C" __global__ void many({", ".join([f"float* a{k}" for k in range(12)] + [f"int n{k}" for k in range(6)])}) {{}}
"""


def micro(rows: Rows, places: Places) -> None:
    """Microseconds per call until it returns, and until the device is done with all of them."""
    count = 20 if places.dry else 2000
    rows.add("device", **_facts(places))
    libs: list[tuple[str, Any, str]] = [("ours", tg, places.ours), ("torch", places.torch(), places.theirs)]
    for name, lib, device in libs:
        if lib is None:
            continue
        a, b = [lib.ones(64, 64).to(device) for _ in range(2)]
        w = lib.ones(64, 64).to(device).requires_grad_()
        calls: dict[str, Callable[[], Any]] = {
            "a + b": partial(operator.add, a, b),
            "recorded w + b": partial(operator.add, w, b),
            "a @ b": partial(operator.matmul, a, b),
            "tanh": partial(lib.tanh, a),
            "a[3]": partial(operator.getitem, a, 3),
            "a.sum()": a.sum,
        }
        for call, run in calls.items():
            rows.attempt(f"{name} {call}", partial(_call, rows, f"{name} {call}", lib, device, run, count))
    if places.ours != "cpu":
        rows.attempt("kernel", lambda: _kernels(rows, places, count))
    n = 1 << (8 if places.dry else 28)
    x, y = tg.ones(n, device=places.ours), tg.empty(n, device=places.ours)
    copy = milliseconds(tg, places.ours, lambda: y.copy_(x), budget=0.5)
    rows.add("copy", **{"GB per second, read and written": 8 * n / copy / 1e6})


def _facts(places: Places) -> dict[str, Any]:
    if places.ours == "cpu":
        return {"name": "CPU"}
    p, runtime = tg.cuda.get_device_properties(), cupy_access.require().cuda.runtime
    return {
        "name": p.name,
        "compute capability": f"{p.major}.{p.minor}",
        "multiprocessors": p.multi_processor_count,
        "clock in MHz": p.clock_rate // 1000,
        "memory in GB": p.total_memory / 1e9,
        "CuPy": cupy_access.require().__version__,
        "driver": runtime.driverGetVersion(),
        "runtime": runtime.runtimeGetVersion(),
    }


def _call(rows: Rows, key: str, lib: Any, device: str, run: Callable[[], Any], count: int) -> None:
    for _ in range(10):
        run()
    synchronize(lib, device)
    begin = time.perf_counter()
    for _ in range(count):
        run()
    issued = time.perf_counter() - begin
    synchronize(lib, device)
    done = time.perf_counter() - begin
    rows.add(key, **{"us to issue": issued / count * 1e6, "us until done": done / count * 1e6})


def _kernels(rows: Rows, places: Places, count: int) -> None:
    """Launches of a kernel that does nothing, and CuPy's own calls."""
    cupy = cupy_access.require()
    nothing, many = [cupy.RawModule(code=NOTHING).get_function(name) for name in ("nothing", "many")]
    a, b, out = [cupy.ones((64, 64), "float32") for _ in range(3)]
    five, arrays = np.int32(5), (a,) * 12
    calls: dict[str, Callable[[], Any]] = {
        "kernel, no arguments": lambda: nothing((1,), (32,), ()),
        "kernel, 12 arrays and 6 numbers": lambda: many((1,), (32,), (*arrays, five, five, five, five, five, five)),
        "cupy.add(out=)": lambda: cupy.add(a, b, out=out),
        "np.add of cupy's": lambda: np.add(a, b),
        "cupy a + b": lambda: a + b,
        "cupy a += b": lambda: a.__iadd__(b),
        "cupy.matmul(out=)": lambda: cupy.matmul(a, b, out=out),
        "cupy a.dot(b, out)": lambda: a.dot(b, out),
        "cuBLAS alone": lambda: multiply(out, a, b, (64, 64, 64)),
        "cupy a[3]": lambda: a[3],
        "cupy a.T": lambda: a.T,
        "cupy a.reshape": lambda: a.reshape(32, 128),
        "cupy a.copy()": a.copy,
        "cupy.array(a)": lambda: cupy.array(a),
        "cupy.empty": lambda: cupy.empty((64, 64), a.dtype),
        "cupy.empty_like": lambda: cupy.empty_like(a),
        "cupy.zeros": lambda: cupy.zeros((64, 64), a.dtype),
        "cupy.ascontiguousarray": lambda: cupy.ascontiguousarray(a),
        "cupy.cuda.Device()": lambda: cupy.cuda.Device(),
        "which GPU this is": gpu,
    }
    for name, run in calls.items():
        rows.attempt(name, partial(_call, rows, name, tg, places.ours, run, count))

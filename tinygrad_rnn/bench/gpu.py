"""Benchmarks on a GPU: our layers on CuPy arrays against torch.nn's cuDNN layers, in full float32.

The timed code reads nothing back; both libraries are synchronised before the clock is read.  TF32 is switched off in
PyTorch: it rounds to 10 bits of mantissa and would be another computation.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend.gpu import cupy_access
from .cells import cell_loop
from .measure import OURS, Job

__all__ = ["cell_jobs", "cuda_layer_jobs", "unavailable", "waiting"]


def unavailable() -> str | None:
    """Why there is nothing to measure here; None if there is a GPU."""
    return cupy_access.unavailable_reason()


def waiting() -> Callable[[], object]:
    """A function that waits until the GPU has finished the work of both libraries."""
    waits: list[Callable[[], object]] = [cupy_access.require().cuda.Device().synchronize]
    if _torch() is not None:
        waits.append(_torch().cuda.synchronize)
    return lambda: [wait() for wait in waits]


def _torch() -> Any:
    """PyTorch, if it is installed and sees a GPU, in full float32."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch: Any = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch


def cuda_layer_jobs(kind: str, T: int, N: int, H: int, **options: Any) -> dict[str, Job]:
    """One forward and backward pass through ``nn.<kind>`` on the GPU, for us and for torch."""
    x = np.random.default_rng(0).standard_normal((T, N, H)).astype(np.float32)
    libs, layers = _pair(lambda lib: getattr(lib.nn, kind)(H, H, **options))

    def job(lib: Any, layer: Any) -> Job:
        given = lib.tensor(x).to("cuda").requires_grad_()

        def run() -> Any:
            # Both gradients: accumulation would be timed from the second run on.
            layer.zero_grad()
            given.grad = None
            output, _ = layer(given)
            output.sum().backward()
            return layer.weight_hh_l0.grad

        return run

    return _checked({name: job(lib, layer) for (name, lib), layer in zip(libs.items(), layers, strict=True)})


def cell_jobs(T: int, N: int, H: int) -> dict[str, Job]:
    """A loop of LSTMCell over T steps on the GPU, the cost of many small operations, for us and for torch."""
    x = np.random.default_rng(0).standard_normal((T, N, H)).astype(np.float32)
    libs, cells = _pair(lambda lib: lib.nn.LSTMCell(H, H))
    given = {name: lib.tensor(x).to("cuda") for name, lib in libs.items()}
    return _checked({name: cell_loop(cell, given[name]) for name, cell in zip(libs, cells, strict=True)})


def _pair(make: Callable[[Any], Any]) -> tuple[dict[str, Any], list[Any]]:
    """The libraries, and the module that ``make`` returns for each, on the GPU and with the same weights."""
    libs = {OURS: importlib.import_module(OURS)} | ({} if _torch() is None else {"torch": _torch()})
    made = [make(lib) for lib in libs.values()]
    # Copied, not drawn from one seed: nothing is assumed about the order of draws.
    values = {name: value.numpy() for name, value in made[0].state_dict().items()}
    for lib, module in zip(libs.values(), made, strict=True):
        module.load_state_dict({name: lib.tensor(value) for name, value in values.items()})
        module.to("cuda")
    return libs, made


def _gradient(job: Any) -> Any:
    # Each library's own way to the host ends in the same array.
    return job().cpu().numpy()


def _checked(jobs: dict[str, Job]) -> dict[str, Job]:
    found: list[Any] = [np.asarray(_gradient(job)) for job in jobs.values()]
    error = max(np.abs(value - found[0]).max() for value in found) / np.abs(found[0]).max()
    assert error < 1e-3, f"the gradients on the GPU differ by {error:.1e}"
    return jobs

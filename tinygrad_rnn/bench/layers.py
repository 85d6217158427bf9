"""Whole layers: ours (fused) against torch.nn's, forward and backward, from the same weights."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from ..compat.backends.recurrent import only
from ..ops.recurrent.conventions import CELLS
from .agreement import agree, twin
from .measure import NUMPY_KERNELS, OURS, PRODUCTS, Goals, Job

__all__ = ["GRID", "layer_goals", "layer_jobs", "lengths", "products_alone", "two_of_ours", "with_numpy_kernels"]

GRID = [(32, 8, 32), (64, 32, 64), (64, 32, 128), (64, 32, 256), (64, 32, 512), (1000, 1, 32)]
"""(T, N, H): steps, batch, hidden units; the input has H features too."""


def two_of_ours() -> bool:
    """Whether the automatic choice may be other kernels than NumPy's, so that both are measured."""
    return importlib.util.find_spec("numba") is not None and not os.environ.get("TINYGRAD_RNN_KERNELS")


def layer_goals(kind: str, T: int, N: int, H: int) -> Goals:
    """The upper bounds of the ratio to torch.nn that we aim at, with the extra ``fast`` and with NumPy alone."""
    if kind != "LSTM":
        fast, numpy = 0.5, 0.8
    elif (T, N, H) in ((32, 8, 32), (1000, 1, 32)):
        fast, numpy = 0.5, 1.5
    else:
        fast, numpy = (1.2 if H == 128 else 1.0), 1.5
    without = {} if (kind, T, N, H) == ("LSTM", 1000, 1, 32) else {"torch": numpy}
    return {OURS: {"torch": fast}, NUMPY_KERNELS: without} if two_of_ours() else {OURS: without}


def lengths(T: int, N: int) -> list[int]:
    """The lengths of a packed batch: from T down to a quarter of it."""
    return [int(n) for n in np.linspace(T, max(1, T // 4), N)]


def layer_jobs(kind: str, T: int, N: int, H: int, *, packed: bool = False, **options: Any) -> dict[str, Job]:
    """One forward and backward pass through ``nn.<kind>`` for us and, if it is there, for torch, checked to agree.

    Args:
        packed: the sequences have different ``lengths``, and are packed outside the timed code.
        options: of both constructors.

    Raises:
        AssertionError: the gradients of weight_hh_l0 differ by more than rounding explains.
    """
    x = np.random.default_rng(0).standard_normal((T, N, H)).astype(np.float32)
    sizes = lengths(T, N) if packed else None
    tg.manual_seed(0)
    ours = getattr(tg.nn, kind)(H, H, **options)
    jobs = {OURS: _job(tg, ours, x, sizes)}
    if two_of_ours():
        # The same layer with the same weights: only the kernels differ.
        jobs[NUMPY_KERNELS] = with_numpy_kernels(jobs[OURS])
    if (found := twin(ours, H, H, **options)) is not None:
        jobs["torch"] = _job(*found, x, sizes)
    agree(kind, jobs, 1e-3)
    return jobs


def _job(lib: Any, layer: Any, values: Any, sizes: Sequence[int] | None) -> Job:
    x = given = lib.tensor(values, requires_grad=sizes is None)
    if sizes is not None:
        packed = lib.nn.utils.rnn.pack_padded_sequence(x, list(sizes))
        x = packed.data.detach().requires_grad_()
        # Packed again around a leaf, so that the backward pass ends there, and does not go through the packing.
        given = type(packed)(x, packed.batch_sizes)

    def run() -> Any:
        layer.zero_grad()
        x.grad = None
        output, _ = layer(given)
        (output if sizes is None else output.data).sum().backward()
        return layer.weight_hh_l0.grad.numpy()

    return run


def products_alone(kind: str, T: int, N: int, H: int) -> dict[str, Job]:
    """The matrix products of a forward and backward pass and nothing else, each over all steps at once.

    They are six of equal size: x and h by their weights, the gradient of the gates by both weights and by x and h.  The
    BLAS is NumPy's, with its own threads.  The rest of a layer's time is for the sequential order of the steps, for
    everything but products, and for the tape.  A layer can be faster if parts of a product are faster than the whole.
    """
    # RNN has two modes, with one gate each.
    gates = max(len(cell.gates) for mode, cell in CELLS.items() if mode.startswith(kind))
    rng = np.random.default_rng(0)
    x, dz, w = (
        rng.standard_normal(shape, dtype=np.float32) for shape in ((T * N, H), (T * N, gates * H), (gates * H, H))
    )
    # Into arrays made once: allocation is not a product.
    z, dx, dw = np.empty_like(dz), np.empty_like(x), np.empty_like(w)

    def run() -> None:
        for _ in ("input", "state"):
            np.matmul(x, w.T, out=z)
            np.matmul(dz, w, out=dx)
            np.matmul(dz.T, x, out=dw)

    return {PRODUCTS: run}


def with_numpy_kernels(job: Job) -> Job:
    """``job`` with recurrent layers computed by NumPy alone."""

    def run() -> Any:
        with only("numpy"):
            return job()

    return run

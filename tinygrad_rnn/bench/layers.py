"""Whole layers: ours (fused) against torch.nn's, forward and backward, from the same weights."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .measure import Job

__all__ = ["GRID", "layer_jobs"]

GRID = [(32, 8, 32), (64, 32, 64), (64, 32, 128), (64, 32, 256), (64, 32, 512), (1000, 1, 32)]
"""(T, N, H): steps, batch, hidden units; the input has H features too."""


def layer_jobs(kind: str, T: int, N: int, H: int, **options: Any) -> dict[str, Job]:
    """One forward and backward pass through ``nn.<kind>`` for us and for torch, checked to agree."""
    import tinygrad_rnn as tg

    torch: Any = importlib.import_module("torch")
    x = np.random.default_rng(0).standard_normal((T, N, H)).astype(np.float32)
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(H, H, **options)
    ours = getattr(tg.nn, kind)(H, H, **options)
    ours.load_state_dict({name: tg.tensor(value.detach().numpy()) for name, value in theirs.state_dict().items()})
    jobs: dict[str, Job] = {
        "tinygrad_rnn": _job(ours, tg.tensor(x, requires_grad=True)),
        "torch": _job(theirs, torch.tensor(x, requires_grad=True)),
    }
    left, right = [np.asarray(job()) for job in jobs.values()]
    error = np.abs(left - right).max() / np.abs(right).max()
    assert error < 1e-3, f"our {kind} and torch's do not compute the same: relative difference {error:.1e}"
    return jobs


def _job(layer: Any, x: Any) -> Job:
    def run() -> Any:
        layer.zero_grad()
        x.grad = None
        output, _ = layer(x)
        output.sum().backward()
        return layer.weight_hh_l0.grad.numpy()

    return run

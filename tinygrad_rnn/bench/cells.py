"""Hand-written loops over a cell: ours against torch.nn's, forward and backward, from the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg

from .agreement import agree, twin
from .measure import OURS, Job

__all__ = ["cell_jobs", "cell_loop"]


def cell_loop(cell: Any, x: Any) -> Job:
    """A job: carry a state through the steps of ``x`` (T, N, I) and back; it returns the gradient of weight_hh."""

    def run() -> Any:
        cell.zero_grad()
        state: Any = None
        for x_t in x:
            state = cell(x_t, state)
        (state[0] if isinstance(state, tuple) else state).sum().backward()
        return cell.weight_hh.grad

    return run


def cell_jobs(kind: str, T: int, N: int, H: int) -> dict[str, Job]:
    """The loop over ``nn.<kind>Cell`` for us and, if it is there, for torch, checked to agree.

    Raises:
        AssertionError: the gradients of weight_hh differ by more than rounding explains.
    """
    x = np.random.default_rng(0).standard_normal((T, N, H)).astype(np.float32)
    tg.manual_seed(0)
    ours = getattr(tg.nn, f"{kind}Cell")(H, H)
    jobs = {OURS: cell_loop(ours, tg.tensor(x))}
    if (found := twin(ours, H, H)) is not None:
        torch, theirs = found
        jobs["torch"] = cell_loop(theirs, torch.tensor(x))
    agree(f"{kind}Cell", jobs, 1e-4)
    return jobs

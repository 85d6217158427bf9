"""Agreement of the competitors before they are timed: the same weights, and the same gradients."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np

from .measure import OURS, Job

__all__ = ["agree", "twin"]


def agree(work: str, jobs: Mapping[str, Job], bound: float) -> None:
    """Run every job once, and compare their gradients.

    Raises:
        AssertionError: one differs from ours by more than ``bound``, relative to the largest entry.
    """
    expected = np.array(jobs[OURS]())
    for name, job in jobs.items():
        # By the largest entry: entries near zero may differ by more than their own size from rounding alone.
        error = np.abs(np.asarray(job()) - expected).max() / np.abs(expected).max()
        assert error < bound, f"{work}: {name} does not compute the same: relative difference {error:.1e}"


def twin(ours: Any, *sizes: int, **options: Any) -> tuple[Any, Any] | None:
    """torch, and its module of the class, sizes and weights of ``ours``; None if there is no torch."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch: Any = importlib.import_module("torch")
    theirs = getattr(torch.nn, type(ours).__name__)(*sizes, **options)
    theirs.load_state_dict({name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()})
    return torch, theirs

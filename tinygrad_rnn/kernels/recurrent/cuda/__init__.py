"""Recurrent layers as CUDA kernels, for arrays on a GPU.

Two kinds, with the same results: *persistent*, one launch for a whole sequence with w_hh on the chip (float32,
hidden sizes up to 512), and *stepwise*, a product and a kernel per step (any size, float32 and float64).
:func:`explain` tells which one a layer gets, and why.
"""

from __future__ import annotations

from ....backend.gpu import cupy_access
from ....backend.gpu.kernels import gpu
from ....typing import Array
from ..dispatch import OLDEST, Standard, refusal
from ..interface import Options, Weights
from .layer import KERNELS, plan

__all__ = ["describe", "explain"]


def explain(
    cell: Standard, x: Array, states: tuple[Array, ...], weights: Weights, options: Options | None = None
) -> str:
    """How the recurrence of this work would be computed, in one line; arguments as for the kernels."""
    options = options or Options()
    refused = refusal("cuda", cell, x, states, weights, options)
    if refused is not None:
        return f"without CUDA kernels: {refused}"
    batch, size = states[0].shape
    found = plan(KERNELS[cell.name].cell(options), size, batch, x.dtype)
    if isinstance(found, str):
        return f"stepwise: {found}"
    signals = ("a counter in global memory", "the cluster's barrier", "messages within the cluster")[found.sync]
    groups = -(-batch // found.samples)
    between = f", which signal by {signals}" if found.ctas > 1 else ""
    return (
        f"persistent: {groups} groups of {found.ctas} blocks x {found.threads} threads{between}; {found.samples} "
        f"samples per group, size padded to {found.hidden}"
    )


def describe() -> str:
    """One line: which kernels recurrent layers use on this GPU."""
    reason = cupy_access.unavailable_reason()
    if reason is not None:
        return f"none: {reason}"
    device = gpu()
    if device.capability < OLDEST:
        return f"none: compute capability {device.capability / 10} is below {OLDEST / 10}"
    kind = "clusters and messages" if device.capability >= 90 else "a cooperative launch"
    return (
        f"persistent kernels by {kind} (float32, hidden sizes to 512), stepwise kernels otherwise; compute "
        f"capability {device.capability / 10}, {device.multiprocessors} multiprocessors"
    )

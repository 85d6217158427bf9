"""The large products of a recurrent layer, each one over all rows at once, and what the kernels have in common.

Inside the kernels the gates are contiguous blocks: an element-wise operation on one gate of a row (4H) of all takes
several times as long.  Weights and biases come and go in PyTorch's layout (G*H, K).

A sigmoid is computed as ``0.5 * tanh(0.5 * z) + 0.5``, which cannot overflow and is one fast function for all
gates; the inner factor is folded into the rows of its weights (a power of two: nothing is lost).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....backend import aligned_empty, array_module
from ....backend.cpu.threads import one_blas_thread
from ....typing import Array
from .packed_weights import UNPACKED

__all__ = [
    "bias_gradient",
    "half",
    "input_gradient",
    "most_rows",
    "one_minus_square",
    "pack_bias",
    "scratch_for",
    "weight_gradient",
]

ELEMENTS_IN_CACHE = 1 << 16
"""Elements of one table in float32 or float64 of which a handful stay in the nearer caches.  On a Zen 4 with 1 MiB of
second-level cache, half as many took 1.07 (RNN) and 1.05 (GRU) of the time at (T, N, H) = (64, 32, 256), and as long in
an LSTM; half as many again took it 1.05 to 1.07 of its time."""


WORTH_WAKING = 10_000_000
"""Multiplications that one thread does in about 200 us."""


def pack_bias(biases: Sequence[Array | None], order: Sequence[int], scales: Sequence[float]) -> Array | None:
    """The sum of ``biases`` (G*H), scaled as the weights are: (G', 1, H); None if there are none."""
    present = [bias for bias in biases if bias is not None]
    if not present:
        return None
    total = present[0] if len(present) == 1 else present[0] + present[1]
    xp = array_module(total)
    blocks = total.reshape(max(order) + 1, 1, -1)
    packed = xp.empty((len(order), *blocks.shape[1:]), total.dtype)
    for out, gate, scale in zip(packed, order, scales, strict=True):
        xp.multiply(blocks[gate], scale, out=out)
    return packed


def most_rows(size: int, least: int = 1) -> int:
    """How many rows of ``size`` elements to treat at a time, so that a handful of such tables stay in cache."""
    return max(ELEMENTS_IN_CACHE // max(size, 1), least)


def scratch_for(x: Array, gates: int, rows: int, size: int) -> Array:
    """Room (G, rows, H) for pre-activations of the dtype of ``x``.

    One more row lies between the gates: pieces that are a power of two apart share places in the caches, and
    reading all gates of a step then takes twice as long.
    """
    return aligned_empty((gates, rows + 1, size), x)[:, :rows]


def one_minus_square(y: Array, out: Array) -> Array:
    """``1 - y * y``, the slope of tanh at a point where its value is y."""
    xp = array_module(y)
    xp.multiply(y, y, out=out)
    return xp.subtract(1, out, out=out)


def half(like: Array) -> Array:
    """0.5 as an array of no dimensions: cheaper in a loop than a Python number, which is converted anew."""
    return array_module(like).full((), 0.5, like.dtype)


def weight_gradient(dz: Array, x: Array) -> Array:
    """``sum_s dz[s, :]^T x[s, :]``: (S, G*H), (S, K) -> (G*H, K)."""
    return _product(dz.T, x, aligned_empty((dz.shape[1], x.shape[1]), dz))


def bias_gradient(dz: Array) -> Array:
    """``sum_s dz[s, :]``: (S, G*H) -> (G*H)."""
    return dz.sum(axis=0)


def input_gradient(dz: Array, w: Array, out: Array | None = None) -> Array:
    """``dz @ w``: (S, G*H), (G*H, I) -> (S, I)."""
    return _product(dz, w, aligned_empty((dz.shape[0], w.shape[1]), dz) if out is None else out)


def _product(left: Array, right: Array, out: Array) -> Array:
    """``left @ right``; by one thread where to wake a second takes longer than the product.

    For that OpenBLAS took 100 us instead of 20 at (256, 128) @ (128, 32), its threads being asleep; smaller ones it
    gives to one thread itself.
    """
    if type(left) is np.ndarray and UNPACKED < left.size * right.shape[1] < WORTH_WAKING:
        with one_blas_thread:
            return np.matmul(left, right, out=out)
    return array_module(left).matmul(left, right, out=out)

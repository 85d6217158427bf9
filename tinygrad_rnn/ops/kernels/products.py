"""The large products of a recurrent layer, each one over all rows at once, and the packing of weights.

Inside the kernels the gates are contiguous blocks: an element-wise operation on one gate of a row (4H) of all takes
several times as long.  Weights and biases come and go in PyTorch's layout (G*H, K).

A sigmoid is computed as ``0.5 * tanh(0.5 * z) + 0.5``, which cannot overflow and is one fast function for all
gates; the inner factor is folded into the rows of its weights (a power of two: nothing is lost).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...backend import array_module
from ...typing import Array

__all__ = [
    "ROWS_OF_A_PRODUCT",
    "bias_gradient",
    "half",
    "input_gradient",
    "most_rows",
    "one_minus_square",
    "pack_bias",
    "pack_weight",
    "project",
    "scratch_for",
    "sum_of_blocks",
    "weight_gradient",
]

FEW_STEPS = 4
"""Below this number of steps, copying the recurrent weight to a faster layout costs more than it saves."""

ROWS_OF_A_PRODUCT = 512
"""Input projections of fewer rows lose speed; of many more, their results leave the cache before they are used."""

ELEMENTS_IN_CACHE = 1 << 15
"""Elements of one table in float32 or float64 of which about ten stay in a second-level cache of a few MiB."""


def pack_weight(w: Array, order: Sequence[int], scales: Sequence[float], steps: int) -> Array:
    """The gates of a weight (G*H, K) as right-hand operands (G', K, H): block j is ``scales[j] * w[order[j]].T``.

    With few ``steps`` to be used for, the blocks are transposed views of one scaled copy; otherwise each is
    contiguous.
    """
    xp = array_module(w)
    gates = max(order) + 1
    blocks = w.reshape(gates, w.shape[0] // gates, w.shape[1])  # (G, H, K)
    height, width = blocks.shape[1:]
    if steps < FEW_STEPS:
        packed = xp.empty((len(order), height, width), w.dtype).swapaxes(1, 2)
    else:
        packed = xp.empty((len(order), width, height), w.dtype)
    for out, gate, scale in zip(packed, order, scales, strict=True):
        xp.multiply(blocks[gate].T, scale, out=out)
    return packed


def pack_bias(biases: Sequence[Array | None], order: Sequence[int], scales: Sequence[float]) -> Array | None:
    """The sum of ``biases`` (G*H), scaled as the weights are: (G', 1, H); None if there are none."""
    present = [bias for bias in biases if bias is not None]
    if not present:
        return None
    total = sum(present[1:], start=present[0])
    xp = array_module(total)
    blocks = total.reshape(max(order) + 1, 1, -1)
    return xp.stack([blocks[gate] * scale for gate, scale in zip(order, scales, strict=True)])


def most_rows(size: int, least: int = 1) -> int:
    """How many rows of ``size`` elements to treat at a time, so that a handful of such tables stay in cache."""
    return max(ELEMENTS_IN_CACHE // max(size, 1), least)


def scratch_for(x: Array, gates: int, rows: int, size: int) -> Array:
    """Room (G, rows, H) for pre-activations of the dtype of ``x``.

    One more row lies between the gates: pieces that are a power of two apart share places in the caches, and
    reading all gates of a step then takes twice as long.
    """
    return array_module(x).empty((gates, rows + 1, size), x.dtype)[:, :rows]


def sum_of_blocks(xp: Any) -> Callable[..., Array]:
    """``f(terms, axis=0, out=...)``: the sum over blocks, by the shortest way that the array module has."""
    return np.add.reduce if xp is np else xp.sum


def one_minus_square(y: Array, out: Array) -> Array:
    """``1 - y * y``, the slope of tanh at a point where its value is y."""
    xp = array_module(y)
    xp.multiply(y, y, out=out)
    return xp.subtract(xp.ones((), y.dtype), out, out=out)


def project(x: Array, weights: Array, bias: Array | None, out: Array) -> None:
    """``out[j] = x @ weights[j] + bias[j]`` for each gate j: (S, I), (G, I, H), (G, 1, H) -> (G, S, H)."""
    xp = array_module(x)
    for j, z in enumerate(out):
        xp.matmul(x, weights[j], out=z)
        if bias is not None:
            xp.add(z, bias[j], out=z)


def half(like: Array) -> Array:
    """0.5 as an array of no dimensions: cheaper in a loop than a Python number, which is converted anew."""
    return array_module(like).full((), 0.5, like.dtype)


def weight_gradient(dz: Array, x: Array) -> Array:
    """``sum_s dz[g, s, :] x[s, :]^T``: (G, S, H), (S, K) -> (G*H, K)."""
    xp = array_module(dz)
    out = xp.empty((dz.shape[0], dz.shape[2], x.shape[1]), dz.dtype)
    for block, result in zip(dz, out, strict=True):
        xp.matmul(block.T, x, out=result)
    return out.reshape(-1, x.shape[1])


def bias_gradient(dz: Array) -> Array:
    """``sum_s dz[g, s, :]``: (G, S, H) -> (G*H)."""
    return dz.sum(axis=1).reshape(-1)


def input_gradient(dz: Array, w: Array) -> Array:
    """``sum_g dz[g] @ w[g]``: (G, S, H), (G*H, I) -> (S, I)."""
    xp = array_module(dz)
    blocks = w.reshape(dz.shape[0], dz.shape[2], w.shape[1])
    total = xp.matmul(dz[0], blocks[0])
    if len(blocks) > 1:
        term = xp.empty_like(total)
        for block, weight in zip(dz[1:], blocks[1:], strict=True):
            xp.add(total, xp.matmul(block, weight, out=term), out=total)
    return total

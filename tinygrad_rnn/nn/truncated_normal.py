"""The truncated normal distribution, by rejection, with PyTorch's order of draws.

If the interval has more than 0.3 of the probability, normal numbers are drawn until all are in it.  Otherwise uniform
numbers on the interval are accepted with probability density(x) / density(mode).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend.quiet import unreported
from ..backend.random.draws import Generator, normal, rand, uniform
from ..backend.random.inplace import in_memory_order, memory_order
from ..typing import Array, DType, Shape

__all__ = ["truncated_normal"]

ENOUGH = 0.3


def truncated_normal(
    like: Array, mean: float, std: float, low: float, high: float, generator: Generator | None
) -> Array:
    """Normal numbers conditioned on [low, high], for the entries of an array.

    They fill the array in memory order, and normal ones are drawn in blocks if it is contiguous; those that replace
    rejected ones are drawn as for a contiguous array.

    >>> x = truncated_normal(np.empty(1000), 0.0, 1.0, 3.0, 4.0, None)
    >>> bool((x >= 3).all() and (x <= 4).all())
    True
    """
    dtype = like.dtype
    if _below(high, mean, std) - _below(low, mean, std) > ENOUGH:
        straight = memory_order(like) == tuple(range(like.ndim))
        first = bool(like.flags.c_contiguous)
        return in_memory_order(
            lambda shape: _from_normal(shape, dtype, mean, std, low, high, generator, first, straight), like
        )
    return in_memory_order(lambda shape: _from_uniform(shape, dtype, mean, std, low, high, generator), like)


def _below(x: float, mean: float, std: float) -> float:
    return (1.0 + math.erf((x - mean) / std / math.sqrt(2.0))) / 2.0


def _from_normal(
    shape: Shape, dtype: DType, mean: float, std: float, low: Any, high: Any, generator: Any, first: bool, again: bool
) -> Array:
    low, high = dtype.type(low), dtype.type(high)
    values = normal(shape, mean, std, dtype, generator, blocks=first)
    while ((values < low) | (values > high)).any():
        # PyTorch draws the whole array again; only rejected places take their new values.
        outside = (values < low) | (values > high)
        values = np.where(outside, normal(shape, mean, std, dtype, generator, blocks=again), values)
    return values


@unreported
def _from_uniform(shape: Shape, dtype: DType, mean: float, std: float, low: Any, high: Any, generator: Any) -> Array:
    log_peak = -0.5 * ((max(low, min(mean, high)) - mean) / std) ** 2
    values = np.zeros(shape, dtype)
    pending = np.ones(shape, bool)
    while pending.any():
        candidates = uniform(shape, low, high, dtype, generator)
        values = np.where(pending, candidates, values)
        log_ratio = ((candidates - dtype.type(mean)) / dtype.type(std)) ** 2 * dtype.type(-0.5) - dtype.type(log_peak)
        pending &= np.log(rand(shape, dtype, generator)) > log_ratio
    return values

"""In-place filling of arrays with random numbers, as by PyTorch's in-place methods.

In PyTorch, and so here, two things depend on the memory layout of the array.  Numbers are written in the order of
memory, not of indices: a transposed matrix gets the numbers of the matrix that it is a view of.  And normal numbers are
made in blocks only where memory has no gaps.  Arrays on a GPU get the numbers that the host draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...typing import Array, Shape
from ..arrays import array_module
from ..quiet import unreported
from .continuous import exponential, in_memory_order, memory_order, normal, uniform
from .discrete import bernoulli, dropout_mask, random_
from .generator import Generator

__all__ = ["dropout_like", "fill_bernoulli", "fill_exponential", "fill_normal", "fill_random", "fill_uniform"]
__all__ += ["in_memory_order", "memory_order", "put"]


@unreported
def put(array: Array, values: Any) -> None:
    """Write host values into an array on any device."""
    array[...] = array_module(array).asarray(values)


def fill_uniform(array: Array, low: float = 0.0, high: float = 1.0, generator: Generator | None = None) -> None:
    """Uniform on [low, high); see ``uniform``."""
    put(array, in_memory_order(lambda shape: uniform(shape, low, high, array.dtype, generator), array))


def fill_normal(array: Array, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> None:
    """Normal; see ``normal``.

    >>> square, again = np.zeros((5, 4), "float32"), np.zeros((4, 5), "float32")
    >>> fill_normal(square, generator=Generator().manual_seed(1))
    >>> fill_normal(again.T, generator=Generator().manual_seed(1))
    >>> bool((square == again.T).all())  # a view with gaps or transposed axes is drawn one by one
    False
    """
    dense = bool(array.flags.c_contiguous)
    put(array, in_memory_order(lambda shape: normal(shape, mean, std, array.dtype, generator, blocks=dense), array))


def fill_bernoulli(array: Array, p: Any = 0.5, generator: Generator | None = None) -> None:
    """1 with probability p (a number, or an array that broadcasts), else 0; see ``bernoulli``."""
    order = memory_order(array)

    def draw(shape: Shape) -> Array:
        odds = np.broadcast_to(p, array.shape).transpose(order) if isinstance(p, np.ndarray) else p
        return bernoulli(odds, shape, array.dtype, generator)

    put(array, in_memory_order(draw, array))


def fill_exponential(array: Array, rate: float = 1.0, generator: Generator | None = None) -> None:
    """Exponential; see ``exponential``."""
    put(array, in_memory_order(lambda shape: exponential(shape, rate, array.dtype, generator), array))


def fill_random(
    array: Array, low: int | None = None, high: int | None = None, generator: Generator | None = None
) -> None:
    """Whole numbers; see ``random_``."""
    put(array, in_memory_order(lambda shape: random_(shape, low, high, array.dtype, generator), array))


def dropout_like(array: Array, p: float, generator: Generator | None = None) -> Array:
    """The mask by which dropout multiplies ``array``: same shape, dtype and device; see ``dropout_mask``."""
    mask = in_memory_order(lambda shape: dropout_mask(shape, p, array.dtype, generator), array)
    here: Array = array_module(array).asarray(mask)
    return here

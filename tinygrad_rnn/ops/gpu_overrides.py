"""What one use of a weight or of a bias contributes to its gradient.

On a GPU that is a part, which cuBLAS adds to what the uses before gave: no new memory, and one launch instead of two.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..backend import on_gpu
from ..tape.partial_gradient import Part
from ..tape.tensor import Tensor
from ..typing import Array, Shape, Value
from .shape import sum_to

__all__ = ["gemm", "share_of_bias", "share_of_weight"]

ndarray, dot = np.ndarray, np.ndarray.dot


@functools.cache
def gemm() -> Any:
    """The module of products on a GPU, loaded where there is one."""
    from ..backend.gpu import gemm

    return gemm


class ProductPart(Part):
    """``a^T @ g``."""

    __slots__ = ("a", "g")

    def __init__(self, a: Array, g: Array) -> None:
        self.a, self.g = a, g

    def start(self) -> Array:
        found: Array = gemm().product(self.a.T, self.g)
        return found

    def add_to(self, total: Array) -> None:
        gemm().product(self.a.T, self.g, onto=total)


class SumPart(Part):
    """The sum of the rows of ``g``."""

    __slots__ = ("g", "shape")

    def __init__(self, g: Array, shape: Shape) -> None:
        self.g, self.shape = g, shape

    def start(self) -> Array:
        found: Array = gemm().sum_of_rows(self.g, self.shape)
        return found

    def add_to(self, total: Array) -> None:
        if total.flags.c_contiguous and total.dtype == self.g.dtype:
            gemm().sum_of_rows(self.g, self.shape, onto=total)
        else:
            total += self.start()


def share_of_weight(g: Value, a: Value) -> Any:
    """``a^T @ g`` of two matrices, for a vjp."""
    if type(g) is ndarray and type(a) is ndarray:
        return dot(a.T, g)
    return ProductPart(a, g) if on_gpu(g) and on_gpu(a) else a.T @ g


def share_of_bias(g: Value, shape: Shape) -> Any:
    """:func:`.shape.sum_to`, for the vjp of an argument of ``shape`` that was broadcast to that of ``g``."""
    if type(g) is not ndarray and len(shape) == 1 and g.shape[-1:] == shape and not isinstance(g, Tensor):
        if g.ndim > 1 and on_gpu(g) and gemm().readable(g):
            return SumPart(g, shape)
    return sum_to(g, shape)

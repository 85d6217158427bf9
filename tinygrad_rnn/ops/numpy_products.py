"""NumPy's products of Tensors, sums of products by letters, norms and traces."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentTypeError, ShapeRuntimeError
from . import contraction, diagonals, elementwise, linalg, rearrange, reduce, shape, statistics
from .numpy_operands import alike, flat, tensor_of
from .numpy_ufuncs import UFUNCS
from .shape import reshape

__all__ = ["PRODUCTS"]

Form = Callable[..., Any]


def _dot(a: Any, b: Any, out: None = None) -> Any:
    a, b = alike(tensor_of(a), tensor_of(b))
    if a.ndim == 0 or b.ndim == 0:
        return elementwise.mul(a, b)
    # np.dot sums over the last axis but one of b, where matmul broadcasts
    return contraction.tensordot(a, b, ([-1], [-2])) if b.ndim > 2 else linalg.matmul(a, b)


def _flat_dot(a: Any, b: Any) -> Any:
    return linalg.dot(*[reshape(x, (-1,)) for x in alike(tensor_of(a), tensor_of(b))])


def _outer(a: Any, b: Any, out: None = None) -> Any:
    return linalg.outer(*[reshape(x, (-1,)) for x in alike(tensor_of(a), tensor_of(b))])


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    a, b = alike(tensor_of(a), tensor_of(b))
    if axes in (0, ([], []), [[], []], ((), ())):
        return reshape(linalg.outer(reshape(a, (-1,)), reshape(b, (-1,))), (*a.shape, *b.shape))
    return contraction.tensordot(a, b, axes)


def _einsum(*operands: Any, out: None = None, optimize: Any = False, dtype: Any = None, order: str = "K",
            casting: str = "safe") -> Any:  # fmt: skip
    if isinstance(operands[0], str):
        return contraction.einsum(operands[0], *alike(*[tensor_of(x) for x in operands[1:]], dtype=dtype))
    arrays = alike(*[tensor_of(x) for x in operands[: len(operands) // 2 * 2 : 2]], dtype=dtype)
    result = operands[len(operands) // 2 * 2 :]
    return contraction.einsum(*[x for pair in zip(arrays, operands[1::2], strict=True) for x in pair], *result)


def _kron(a: Any, b: Any) -> Any:
    a, b = alike(tensor_of(a), tensor_of(b))
    rank = max(a.ndim, b.ndim)
    of_a, of_b = [(1,) * (rank - x.ndim) + tuple(x.shape) for x in (a, b)]
    # (m, 1) and (1, n) for each axis: their product has all pairs
    left = reshape(a, [n for size in of_a for n in (size, 1)])
    right = reshape(b, [n for size in of_b for n in (1, size)])
    return reshape(left * right, [m * n for m, n in zip(of_a, of_b, strict=True)])


def _cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    a, b = alike(tensor_of(a), tensor_of(b))
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = rearrange.movedim(a, axisa, -1), rearrange.movedim(b, axisb, -1)
    if (a.shape[-1], b.shape[-1]) != (3, 3):  # NumPy 2 deprecates vectors of 2 entries
        raise ShapeRuntimeError(
            f"np.cross(): vectors of 3 entries have a form here that records, not {a.shape[-1]} and {b.shape[-1]}. "
            "Append a zero: np.append(a, 0)"
        )
    (a0, a1, a2), (b0, b1, b2) = [[x[..., k] for k in range(3)] for x in (a, b)]
    return shape.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axisc)


def _multi_dot(arrays: Any, *, out: None = None) -> Any:
    return functools.reduce(linalg.matmul, alike(*arrays))


def _matrix_power(a: Any, n: int) -> Any:
    a = tensor_of(a)
    if n < 0:
        raise ArgumentTypeError("np.linalg.matrix_power(): a negative power needs the inverse, which does not record")
    if n == 0:
        # the identity, but a function of a, with derivative 0
        return flat(np.linalg.matrix_power(a._data, 0), reduce.sum_over(a))
    half = a if n == 1 else _matrix_power(a, n // 2)  # by squares: log2(n) records, not n
    return a if n == 1 else linalg.matmul(linalg.matmul(half, half), a) if n % 2 else linalg.matmul(half, half)


# norms, traces -------------------------------------------------------------------------------------------------------


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = tensor_of(x)
    if ord is None and axis is None:  # of any number of axes, all entries as one vector
        return statistics.norm(x, 2, None, bool(keepdims))
    axes = shape.axes_of(axis, x.ndim)
    return _vector_norm(x, axes, keepdims, ord) if len(axes) == 1 else _matrix_norm(x, axes, keepdims, ord)


def _vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    if isinstance(ord, str):
        raise ArgumentTypeError(f"np.linalg.norm(): Invalid norm order {ord!r} for vectors")
    return statistics.norm(tensor_of(x), 2 if ord is None else ord, axis, bool(keepdims))


def _matrix_norm(x: Any, axes: tuple[int, ...], keepdims: bool, ord: Any, name: str = "norm") -> Any:
    if ord in ("fro", None):
        return statistics.norm(x, 2, axes, bool(keepdims))
    if ord not in (1, -1, math.inf, -math.inf):
        raise ArgumentTypeError(
            f"np.linalg.{name}(ord={ord!r}): the norms of matrices by singular values have no form here that records. "
            "Use ord='fro', 1 or inf, or give the axis of vectors"
        )
    rows, columns = axes
    # the norm 1 sums down columns, inf along rows
    added, compared = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = reduce.sum_over(elementwise.absolute(x), added, True)
    found = (reduce.amax if ord > 0 else reduce.amin)(sums, compared, True)
    return found if keepdims else shape.squeeze(found, axes)


def _trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None) -> Any:
    return reduce.sum_over(diagonals.diagonal(tensor_of(a), offset, axis1, axis2), -1, dtype=dtype)


def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return diagonals.diagonal(tensor_of(a), offset, axis1, axis2)


# table ---------------------------------------------------------------------------------------------------------------

PRODUCTS: dict[Any, Form] = {
    np.dot: _dot,
    np.inner: lambda a, b: linalg.inner(*alike(tensor_of(a), tensor_of(b))),
    np.outer: _outer,
    np.vdot: _flat_dot,
    np.tensordot: _tensordot,
    np.einsum: _einsum,
    np.kron: _kron,
    np.cross: _cross,
    np.trace: _trace,
    np.diagonal: _diagonal,
    np.linalg.norm: _norm,
    np.linalg.multi_dot: _multi_dot,
    np.linalg.matrix_power: _matrix_power,
    np.linalg.vector_norm: lambda x, /, *, axis=None, keepdims=False, ord=2: _vector_norm(x, axis, keepdims, ord),
    np.linalg.matrix_norm: lambda x, /, *, keepdims=False, ord="fro": _matrix_norm(
        tensor_of(x), (tensor_of(x).ndim - 2, tensor_of(x).ndim - 1), keepdims, ord, "matrix_norm"
    ),
    np.linalg.cross: lambda x1, x2, /, *, axis=-1: _cross(x1, x2, axis=axis),
    np.linalg.diagonal: lambda x, /, *, offset=0: _diagonal(x, offset, -2, -1),
    np.linalg.matmul: lambda x1, x2, /: UFUNCS[np.matmul](tensor_of(x1), tensor_of(x2)),
    np.linalg.outer: lambda x1, x2, /: _outer(x1, x2),
    np.linalg.tensordot: lambda x1, x2, /, *, axes=2: _tensordot(x1, x2, axes),
    np.linalg.trace: lambda x, /, *, offset=0, dtype=None: _trace(x, offset, -2, -1, dtype),
    np.linalg.vecdot: lambda x1, x2, /, *, axis=-1: UFUNCS[np.vecdot](x1, x2, axis),
}

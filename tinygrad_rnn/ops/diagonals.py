"""Diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import array_module, as_dtype, not_implemented
from ..errors import ShapeRuntimeError
from ..tape.apply import Applied, primitive
from ..tape.formula import Formula
from ..tape.tensor import Tensor, wrap
from ..typing import Array, Shape, V, Value
from .elementwise import clone, where
from .reduce import sum_over
from .shape import axis_of

__all__ = ["diag", "diag_embed", "diagonal", "trace", "tril", "tril_indices", "triu", "triu_indices"]


def _on_diagonal(a: Array, shape: Shape, offset: int, dim1: int, dim2: int) -> Array:
    out: Array = array_module(a).zeros(shape, a.dtype)
    line = out.diagonal(offset, dim1, dim2)
    if isinstance(line, np.ndarray):
        line.flags.writeable = True  # NumPy returns a read-only view
    line[...] = a
    return out


_diagonal: Applied = primitive(
    "diagonal",
    lambda a, offset, dim1, dim2: a.diagonal(offset, dim1, dim2),
    lambda g, y, a, offset, dim1, dim2: _embed(g, shape=tuple(a.shape), offset=offset, dim1=dim1, dim2=dim2),
    formula=Formula(
        r"y_{ik} = a_{i,k+\max(-o,0),k+\max(o,0)}",
        a=r"\bar{a}_{ijl} = \sum_{k} \bar{y}_{ik} [j = k + \max(-o, 0) \land l = k + \max(o, 0)]",
    ),
    view=True,
)
_embed: Applied = primitive(
    "diag_embed",
    _on_diagonal,
    lambda g, y, a, shape, offset, dim1, dim2: _diagonal(g, offset=offset, dim1=dim1, dim2=dim2),
    formula=Formula(
        r"y_{ijl} = \sum_{k} a_{ik} [j = k + \max(-o, 0) \land l = k + \max(o, 0)]",
        a=r"\bar{a}_{ik} = \bar{y}_{i,k+\max(-o,0),k+\max(o,0)}",
    ),
    doc="Zeros with ``a`` on a diagonal: the adjoint of ``diagonal``.",
)


def diagonal(a: V, offset: int = 0, dim1: int = 0, dim2: int = 1) -> V:
    """The entries on a diagonal over two axes, as a view; they are the last axis."""
    first, second = axis_of(dim1, a.ndim), axis_of(dim2, a.ndim)
    if first == second:  # checked after axis_of: 0 and -1 may be one axis
        raise ShapeRuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return _diagonal(a, offset=offset, dim1=first, dim2=second)


def diag_embed(a: V, offset: int = 0, dim1: int = -2, dim2: int = -1) -> V:
    """Zeros with the last axis of ``a`` on a diagonal over two new axes."""
    ndim = a.ndim + 1
    first, second = axis_of(dim1, ndim), axis_of(dim2, ndim)
    if first == second:
        raise ShapeRuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    side = a.shape[-1] + (offset if offset > 0 else -offset)
    rest = iter(a.shape[:-1])
    shape = tuple([side if k in (first, second) else next(rest) for k in range(ndim)])
    return _embed(a, shape=shape, offset=offset, dim1=first, dim2=second)


def diag(a: V, diagonal: int = 0) -> V:
    """A matrix with the vector ``a`` on its diagonal; or the diagonal of the matrix ``a``, as a copy.

    >>> import tinygrad_rnn as tg
    >>> tg.diag(tg.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    if a.ndim == 1:
        return diag_embed(a, diagonal)
    if a.ndim != 2:
        raise ShapeRuntimeError(f"diag(): Supports 1D or 2D tensors. Got {a.ndim}D")
    line = _diagonal(a, offset=diagonal, dim1=0, dim2=1)
    return clone(line)  # unlike diagonal(), PyTorch's diag() is no view


def trace(a: V) -> V:
    """The sum of the diagonal of a matrix."""
    if a.ndim != 2:
        raise ShapeRuntimeError(f"trace: expected a matrix, but got tensor with dim {a.ndim}")
    return sum_over(_diagonal(a, offset=0, dim1=0, dim2=1))


def _lower(a: Value, diagonal: int) -> Array:
    """True on and below a diagonal."""
    if a.ndim < 2:
        raise ShapeRuntimeError(f"tril/triu: input tensor must have at least 2 dimensions, got shape {list(a.shape)}")
    raw = a._data if isinstance(a, Tensor) else a
    lower: Array = array_module(raw).tri(a.shape[-2], a.shape[-1], diagonal, dtype=np.bool_)
    return lower


def tril(a: V, diagonal: int = 0) -> V:
    """``a`` with zeros above a diagonal."""
    return where(_lower(a, diagonal), a, False)  # False is of the lowest kind, so a keeps its dtype


def triu(a: V, diagonal: int = 0) -> V:
    """``a`` with zeros below a diagonal."""
    return where(_lower(a, diagonal - 1), False, a)  # what is on or above this diagonal is not below it


def _index_type(row: int, col: int, dtype: Any, op: str) -> np.dtype[Any]:
    """The dtype of the coordinates; a matrix of negative sizes is refused."""
    for word, n in (("row", row), ("col", col)):
        if n < 0:
            raise ShapeRuntimeError(f"{word} must be non-negative, got{n}: {op}()")
    chosen = np.dtype(np.int64) if dtype is None else as_dtype(dtype, op)
    if chosen not in (np.int32, np.int64):  # what PyTorch's kernels take
        raise not_implemented(op, chosen)
    return chosen


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None) -> Tensor:
    """The coordinates on and below a diagonal, in row order: (2, n)."""
    chosen = _index_type(row, col, dtype, "tril_indices")
    return wrap(np.stack(np.nonzero(np.tri(row, col, offset, dtype=np.bool_))).astype(chosen))


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None) -> Tensor:
    """The coordinates on and above a diagonal, in row order: (2, n)."""
    chosen = _index_type(row, col, dtype, "triu_indices")
    return wrap(np.stack(np.nonzero(~np.tri(row, col, offset - 1, dtype=np.bool_))).astype(chosen))

"""Indexing: ``x[i]`` in all NumPy forms, ``gather``, embedding look-up, and their adjoints that add into places.

The adjoint of reading places is adding to them: an entry that was read twice gets the sum of both cotangents.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentTypeError, IndexOutOfRange, ShapeRuntimeError
from ..tape.primitive import Part, primitive
from ..tape.tensor import Tensor
from ..typing import Array, DType, Shape, Value
from .dtypes import as_dtype
from .kernels.scatter import add_at
from .shape import axis_of

__all__ = ["embedding", "gather", "getitem", "index_select", "scatter_add"]


class IndexPart(Part):
    """The cotangent of ``x[index]``: it touches only the entries of x that were read."""

    __slots__ = ("dtype", "g", "index", "shape")

    def __init__(self, g: Array, index: Any, shape: Shape, dtype: DType) -> None:
        self.g, self.index, self.shape, self.dtype = g, index, shape, dtype

    def start(self) -> Array:
        return _place(self.g, index=self.index, shape=self.shape)

    def add_to(self, total: Array) -> None:
        add_at(total, self.index, self.g)


def _zeros_with(g: Array, index: Any, shape: Shape) -> Array:
    total = np.zeros_like(g, shape=shape)
    add_at(total, index, g)
    return total


_place = primitive(
    "place",
    _zeros_with,
    (lambda g, y, a, index, shape: g[index],),
    ("",),
    doc="Zeros of ``shape`` with ``a`` added at ``index``: the adjoint of reading there.",
)


def read_vjp(g: Value, y: Any, a: Any, index: Any) -> Value:
    """The vjp of ``a[index]``, as a part where nothing is recorded."""
    if isinstance(g, Tensor):
        return _place(g, index=index, shape=tuple(a.shape))
    return IndexPart(g, index, a.shape, a.dtype)


_getitem = primitive("getitem", lambda a, index: a[index], (read_vjp,), ("",), view=True)


def raw_index(index: Any) -> Any:
    """An index with raw arrays in place of tensors and lists; float tensors are refused."""
    if isinstance(index, tuple):
        return tuple([raw_index(i) for i in index])
    if isinstance(index, Tensor):
        index = index._data
        if index.dtype.kind not in "iub":
            raise ArgumentTypeError(
                f"tensors used as indices must be long, int, byte or bool tensors, and this one is {index.dtype}. "
                "Convert it: index.long()"
            )
        return index.copy() if index.ndim else index[()]
    if isinstance(index, list):
        return np.array([i._data if isinstance(i, Tensor) else i for i in index]) if index else np.array([], np.int64)
    return index


def getitem(a: Value, index: Any) -> Value:
    """``a[index]`` with integers, slices, None, Ellipsis, masks and index arrays, as in NumPy.

    Raises:
        IndexOutOfRange: an index outside its axis, or more indices than axes.
    """
    if type(index) is not int and type(index) is not slice:
        index = raw_index(index)
    try:
        return _getitem(a, index=index)
    except IndexError as error:
        raise _index_error(a, index, error) from error


def _index_error(a: Value, index: Any, error: IndexError) -> Exception:
    shape = tuple(a.shape)
    if isinstance(index, int):
        if not shape:
            return IndexOutOfRange("invalid index of a 0-dim tensor. Use `tensor.item()` to get its value")
        return IndexOutOfRange(f"index {index} is out of bounds for dimension 0 with size {shape[0]}")
    if isinstance(index, tuple) and len([i for i in index if i is not None and i is not Ellipsis]) > len(shape):
        return IndexOutOfRange(f"too many indices for tensor of dimension {len(shape)}: {error}")
    return IndexOutOfRange(f"{error} (indexing a tensor of shape {list(shape)})")


# along one axis ----------------------------------------------------------------------------------------------------


def places(index: Array, dim: int) -> tuple[Array, ...]:
    """For an index array along ``dim``, the coordinates of every place that it names, one array per axis."""
    ndim = index.ndim
    grid = [np.arange(n).reshape((1,) * k + (n,) + (1,) * (ndim - k - 1)) for k, n in enumerate(index.shape)]
    return (*grid[:dim], index, *grid[dim + 1 :])


_gather = primitive(
    "gather",
    lambda a, index: a[index],
    (read_vjp,),
    ("",),
)


def gather(a: Value, dim: int, index: Value) -> Value:
    """``out[i][j] = a[i][index[i][j]]`` for ``dim=1``: entries of ``a`` picked along an axis.

    Shapes:
        ``index`` has as many axes as ``a`` and is nowhere longer, except along ``dim``; the result has its shape.

    Raises:
        IndexOutOfRange: an index outside the axis.
        ShapeRuntimeError: the numbers of axes differ, or ``index`` is longer than ``a`` along another axis.
    """
    dim = axis_of(dim, a.ndim)
    raw = index._data if isinstance(index, Tensor) else index
    if raw.ndim != a.ndim:
        raise ShapeRuntimeError(
            f"Index tensor must have the same number of dimensions as input tensor: {raw.ndim} and {a.ndim}"
        )
    for k, (n, limit) in enumerate(zip(raw.shape, a.shape, strict=True)):
        if k != dim and n > limit:
            raise ShapeRuntimeError(
                f"Size does not match at dimension {k} expected index {list(raw.shape)} to be no larger than self "
                f"{list(a.shape)} apart from dimension {dim}"
            )
    if a.ndim == 0:
        return getitem(a, ())
    _check_range(raw, a.shape[dim], "gather", dim)
    return _gather(a, index=places(raw, dim))


def _check_range(index: Array, size: int, op: str, dim: int) -> None:
    if isinstance(index, np.ndarray) and index.size and (index.min() < 0 or index.max() >= size):
        wrong = index[(index < 0) | (index >= size)].reshape(-1)[0]
        raise IndexOutOfRange(f"{op}(): index {wrong} is out of bounds for dimension {dim} with size {size}")


def index_select(a: Value, dim: int, index: Value) -> Value:
    """The slices of ``a`` along ``dim`` that a 1-D ``index`` names, in its order, repetitions included."""
    dim = axis_of(dim, a.ndim)
    raw = index._data if isinstance(index, Tensor) else np.asarray(index)
    if raw.ndim > 1:
        raise IndexOutOfRange(f"index_select(): Index is supposed to be a vector, but got dim: {raw.ndim}")
    _check_range(raw, a.shape[dim] if a.ndim else 1, "index_select", dim)
    return getitem(a, (slice(None),) * dim + (raw.reshape(-1),)) if a.ndim else a


_scatter_add = primitive(
    "scatter_add",
    lambda a, source, index: _added(a, source, index),
    (lambda g, y, a, source, index: g, lambda g, y, a, source, index: g[index]),
    ("", ""),
)


def _added(a: Array, source: Array, index: Any) -> Array:
    out = a.copy()
    add_at(out, index, source)
    return out


def scatter_add(a: Value, dim: int, index: Value, source: Value) -> Value:
    """``a`` with ``a[index[i][j]][j] += source[i][j]`` for ``dim=0``; several entries may go to one place."""
    dim = axis_of(dim, a.ndim)
    raw = index._data if isinstance(index, Tensor) else index
    _check_range(raw, a.shape[dim], "scatter_add", dim)
    source = source[tuple(slice(n) for n in raw.shape)] if tuple(source.shape) != raw.shape else source
    return _scatter_add(a, source, index=places(raw, dim))


# embedding ---------------------------------------------------------------------------------------------------------


def _embedding_vjp(g: Value, y: Any, weight: Any, index: Array, padding_idx: int | None) -> Value:
    if padding_idx is not None:
        g = g * (index != padding_idx)[..., None].astype(as_dtype(g.dtype))
    return read_vjp(g, None, weight, index)


_embedding = primitive("embedding", lambda weight, index, padding_idx: weight[index], (_embedding_vjp,), ("",))


def embedding(index: Value, weight: Value, padding_idx: int | None = None) -> Value:
    """Rows of ``weight`` by number: ``out[...] = weight[index[...]]``.

    Shapes:
        index ``(...)`` of integers, weight ``(V, E)``; result ``(..., E)``.  The gradient of a row is the sum over
        all the places where it was looked up; the row ``padding_idx`` gets none.

    Raises:
        IndexOutOfRange: a number outside ``0 .. V-1`` (checked on the host only).
        ArgumentTypeError: the index is not of an integer type.
    """
    raw = index._data if isinstance(index, Tensor) else np.asarray(index)
    if raw.dtype.kind not in "iu":
        raise ArgumentTypeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; "
            f"but got {raw.dtype} instead (while checking arguments for embedding)"
        )
    rows = weight.shape[0]
    if isinstance(raw, np.ndarray) and raw.size and (raw.min() < 0 or raw.max() >= rows):
        wrong = raw[(raw < 0) | (raw >= rows)].reshape(-1)[0]
        raise IndexOutOfRange(f"index out of range in self: embedding() looked up row {wrong} of {rows}")
    return _embedding(weight, index=raw, padding_idx=padding_idx)

"""Scattering, out of place: values put, added or filled in along an axis, or where a mask holds.

The adjoint of adding to entries is reading them.  Putting is copying and assigning: where an index names an entry
twice, the last value stays and it alone gets the gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import scalar_name
from ..errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeRuntimeError
from ..kernels.scatter_add import add_at
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..tape.tensor import Tensor, wrap
from ..typing import Array, V, Value
from .assign import setitem
from .creation import full_like
from .dtypes import cast, fitting
from .elementwise import clone, where
from .index import check_range, getitem, places, raw_index, whole_numbers
from .nondifferentiable import raw
from .shape import axis_of, broadcast_to, reshape

__all__ = ["index_add", "index_copy", "index_fill", "index_put", "masked_fill", "masked_scatter", "scatter"]
__all__ += ["scatter_add"]


def _added(a: Array, source: Array, index: Any) -> Array:
    out = a.copy()
    add_at(out, index, source)
    return out


_add_at = primitive(
    "scatter_add",
    _added,
    # g passes through: what was there before is a term of the sum
    (lambda g, y, a, source, index: g, lambda g, y, a, source, index: g[index]),
    formula=Formula(
        r"y_{j} = a_{j} + \sum_{i} s_{i} [\iota(i) = j]", a=r"\bar{y}", source=r"\bar{s}_{i} = \bar{y}_{\iota(i)}"
    ),
)


def _places_and_source(op: str, a: V, dim: int, index: Value, src: V) -> tuple[Any, V]:
    """The coordinates that ``index`` names in ``a``, and the part of ``src`` that goes there."""
    dim = axis_of(dim, a.ndim)
    raw = whole_numbers(index, op)
    if not raw.ndim == a.ndim == src.ndim:
        raise ShapeRuntimeError(
            f"Index tensor must have the same number of dimensions as self tensor: {op}() got an index of shape "
            f"{list(raw.shape)} for a tensor of shape {list(a.shape)}"
        )
    for k, n in enumerate(raw.shape):
        if (k != dim and n > a.shape[k]) or n > src.shape[k]:
            raise ShapeRuntimeError(
                f"Expected index {list(raw.shape)} to be no larger than self {list(a.shape)} apart from dimension "
                f"{dim} and to be no larger size than src {list(src.shape)}"
            )
    check_range(raw, a.shape[dim], op, dim)
    if tuple(src.shape) != raw.shape:  # PyTorch reads a corner of src as large as the index
        src = src[tuple(slice(n) for n in raw.shape)]
    return places(raw, dim), src


def vector(a: V) -> V:
    """A 0-d value as one entry of a vector; PyTorch lets either stand for the other here."""
    return reshape(a, (1,))


def _same_type(op: str, a: Value, source: Value) -> None:
    if a.dtype != source.dtype:
        raise DtypeError(f"{op}(): Expected self.dtype to be equal to src.dtype, but got {a.dtype} and {source.dtype}")


def scatter_add(a: V, dim: int, index: Value, src: V) -> V:
    """``a`` with ``a[index[i][j]][j] += src[i][j]`` for ``dim=0``; several entries may go to one place.

    Raises:
        IndexOutOfRange: an index outside the axis.
        ShapeRuntimeError: ``index`` is longer than ``src``, or than ``a`` along another axis.
    """
    if a.ndim == 0:  # PyTorch lets a number stand for a vector of one entry
        return reshape(scatter_add(vector(a), dim, vector(index), vector(src)), ())
    _same_type("scatter_add", a, src)
    where_to, source = _places_and_source("scatter_add", a, dim, index, src)
    return _add_at(a, source, index=where_to)


def scatter(
    a: Tensor, dim: int, index: Value, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """``a`` with ``a[index[i][j]][j] = src[i][j]`` for ``dim=0``, ``src`` being a tensor or one number.

    Args:
        reduce: ``"add"`` to add instead.
    """
    source = value if src is None else src
    if reduce is not None and reduce != "add":
        raise ArgumentError(f"reduce argument must be 'add' or None in scatter(), got {reduce!r}")
    if a.ndim == 0:
        source = vector(source) if isinstance(source, Tensor) else source
        return reshape(scatter(vector(a), dim, vector(index), source, reduce=reduce), ())
    number = not isinstance(source, Tensor)
    filled = full_like(index, source, dtype=a.dtype) if number else source
    if reduce == "add":
        return scatter_add(a, dim, index, filled)
    _same_type("scatter", a, filled)  # PyTorch promotes nothing here: src is written into a's memory
    where_to, filled = _places_and_source("scatter", a, dim, index, filled)
    out = clone(a)  # the write below is recorded, and setitem knows which of the values written twice stays
    setitem(out, where_to, source if number else filled)
    return out


# whole slices along an axis ------------------------------------------------------------------------------------------


def _slices(op: str, a: Value, dim: int, index: Value) -> tuple[Any, ...]:
    raw = whole_numbers(index, op)
    if raw.ndim > 1:
        raise ShapeRuntimeError(f"{op}(): Index is supposed to be a vector, but got dim: {raw.ndim}")
    raw = raw.reshape(-1)
    check_range(raw, a.shape[dim], op, dim)
    return (*(slice(None),) * dim, raw)


def _check_source(op: str, a: Value, dim: int, index: Any, source: Value) -> None:
    # PyTorch's index_add and index_copy do not broadcast
    expected = (*a.shape[:dim], len(index[-1]), *a.shape[dim + 1 :])
    if source.ndim == a.ndim and source.shape[dim] != expected[dim]:
        raise ShapeRuntimeError(
            f"{op}_(): Number of indices ({expected[dim]}) should be equal to source.size(dim): ({source.shape[dim]}), "
            f"for dim: {dim}"
        )
    if tuple(source.shape) != expected:
        raise ShapeRuntimeError(
            f"{op}(): Source/destination tensor must have same slice shapes. Expected a source of shape "
            f"{list(expected)}, got {list(source.shape)}"
        )
    _same_type(op, a, source)


def index_add(a: V, dim: int, index: Value, source: V, *, alpha: float = 1) -> V:
    """``a`` with ``a[index[k]] += alpha * source[k]`` for ``dim=0``; several slices may go to one place."""
    if a.ndim == 0:
        return reshape(index_add(vector(a), dim, index, vector(source), alpha=alpha), ())
    dim = axis_of(dim, a.ndim)
    where_to = _slices("index_add", a, dim, index)
    _check_source("index_add", a, dim, where_to, source)
    return _add_at(a, source if alpha == 1 else source * alpha, index=where_to)  # no record for a product by 1


def index_copy(a: Tensor, dim: int, index: Value, source: Tensor) -> Tensor:
    """``a`` with ``a[index[k]] = source[k]`` for ``dim=0``."""
    if a.ndim == 0:
        return reshape(index_copy(vector(a), dim, index, vector(source)), ())
    dim = axis_of(dim, a.ndim)
    where_to = _slices("index_copy", a, dim, index)
    _check_source("index_copy", a, dim, where_to, source)
    out = clone(a)
    setitem(out, where_to, source)
    return out


def index_fill(a: Tensor, dim: int, index: Value, value: Any) -> Tensor:
    """``a`` with the slices ``a[index[k]]`` (for ``dim=0``) filled with one value."""
    if a.ndim == 0:
        return reshape(index_fill(vector(a), dim, index, value), ())
    out = clone(a)
    setitem(out, _slices("index_fill", a, axis_of(dim, a.ndim), index), value)
    return out


def index_put(a: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """``a`` with ``a[indices] = values``, or ``+=``, where several values for one place are all added.

    Args:
        a: the tensor that is copied.
        indices: tensors of whole numbers that are broadcast to one shape, one for each of the first axes, or masks.
        values: of the dtype of ``a``; broadcast to the shape of ``a[indices]``.
        accumulate: add, and do not replace.

    Raises:
        ArgumentTypeError: an index that is no tensor.
        DtypeError: ``values`` has another dtype.
        IndexOutOfRange: an index outside its axis, or more indices than axes.
        ShapeRuntimeError: the values do not broadcast.

    >>> import tinygrad_rnn as tg
    >>> tg.zeros(3).index_put_((tg.tensor([1, 1, 2]),), tg.ones(3), accumulate=True)
    tensor([0., 2., 1.])
    """
    if a.dtype != values.dtype:
        raise DtypeError(
            "Index put requires the source and destination dtypes match, got "
            f"{scalar_name(a.dtype)} for the destination and {scalar_name(values.dtype)} for the source."
        )
    for place, entry in enumerate(indices):
        if not isinstance(entry, Tensor):
            kind = type(entry).__name__
            raise ArgumentTypeError(f"index_put(): expected Tensor as element {place} of the indices, but got {kind}")
    index = raw_index(tuple(indices))
    shape = getitem(wrap(raw(a)), index).shape
    try:
        spread = np.broadcast_shapes(tuple(values.shape), tuple(shape))
    except ValueError:
        spread = None
    if spread != tuple(shape):
        raise ShapeRuntimeError(
            f"shape mismatch: value tensor of shape {list(values.shape)} cannot be broadcast to indexing result of "
            f"shape {list(shape)}"
        )
    if accumulate:
        return _add_at(a, broadcast_to(values, tuple(shape)), index=index)
    out = clone(a)
    setitem(out, index, values)
    return out


# by a mask ---------------------------------------------------------------------------------------------------------


def _check_mask(op: str, mask: Value) -> None:
    if mask.dtype != np.bool_:
        raise DtypeError(f"{op} only supports boolean masks, but got mask with dtype {mask.dtype}: use mask != 0")


def masked_fill(a: V, mask: Value, value: Any) -> V:
    """``value`` (a number or a 0-d tensor) where the mask holds, else ``a``, in the dtype of ``a``."""
    _check_mask("masked_fill", mask)
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeRuntimeError(
                "masked_fill only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s). For a tensor of values use where()"
            )
        # a recorded cast: a 0-d tensor gets the gradient of all that it filled
        value = value if value.dtype == a.dtype else cast(value, dtype=a.dtype)
    else:
        value = fitting(value, a.dtype, "masked_fill")
    filled: V = where(mask, value, a)
    return filled


def masked_scatter(a: Tensor, mask: Value, source: Tensor) -> Tensor:
    """``a`` with the entries where the mask holds replaced by the first entries of ``source``, in row order."""
    if a.ndim == mask.ndim == 0:
        return reshape(masked_scatter(vector(a), mask, source), ())
    _check_mask("masked_scatter", mask)
    _same_type("masked_scatter", a, source)
    shape = np.broadcast_shapes(tuple(a.shape), tuple(mask.shape))  # a is broadcast as well, out of place
    chosen = np.broadcast_to(raw(mask), shape)
    count = int(chosen.sum())
    values = reshape(source, (-1,))
    if values.shape[0] < count:
        raise ShapeRuntimeError(
            f"masked_scatter: expected self and source to have same dtypes and the number of elements of source "
            f"({values.shape[0]}) to be at least that of ones in the mask ({count})"
        )
    out = clone(broadcast_to(a, shape))  # in expanded memory a write would repeat itself
    setitem(out, chosen, values[:count])
    return out

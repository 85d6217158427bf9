"""Sorting along an axis: sorted values with their indices, the k largest, the median, the distinct values.

Values are gathered from the input by their indices, so each chosen entry gets the gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import array_module, not_implemented, only
from ..errors import DtypeError, IndexOutOfRange, ShapeRuntimeError
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..tape.tensor import Tensor, as_array, wrap
from ..typing import Array, V, Value
from .dtypes import cast
from .index import gather, getitem
from .named_results import results
from .nondifferentiable import raw, without_derivative
from .reduce import spread, sum_over
from .shape import axis_of

__all__ = ["argsort", "kthvalue", "median", "msort", "sort", "topk", "unique"]


def _order(a: Value, dim: int, descending: bool) -> Tensor:
    """The places in order of their values; equal ones keep theirs, nan counts as the largest."""
    x: Array = raw(a)
    if x.dtype.kind == "c":
        raise DtypeError(" Sort does not support complex dtypes on CPU")
    if x.ndim == 0:
        return wrap(array_module(x).zeros((), np.int64))
    dim = axis_of(dim, x.ndim)
    if not descending:
        # stable, although not asked for: equal entries are where PyTorch's CPU has them
        return wrap(as_array(np.argsort(x, axis=dim, kind="stable")))
    places = np.argsort(np.flip(x, dim), axis=dim, kind="stable")  # from the end, so that equals come out in order
    return wrap(as_array(np.flip(x.shape[dim] - 1 - places, dim).copy()))


def _picked(a: Value, dim: int, places: Tensor) -> Value:
    return gather(a, axis_of(dim, a.ndim), places)


def argsort(a: Value, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The places along an axis in the order of their values; equal ones keep their order."""
    return _order(a, dim, descending)


def sort(a: Value, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """``(values, indices)`` along an axis, in order; equal values keep their order, nan counts as the largest."""
    places = _order(a, dim, descending)
    return results("sort", "values", "indices")(_picked(a, dim, places), places)


def msort(a: V) -> V:
    """The values along the first axis, in order."""
    values: V = sort(a, 0)[0]
    return values


def topk(a: Value, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """``(values, indices)`` of the k largest (or smallest) entries along an axis, in order.

    >>> import tinygrad_rnn as tg
    >>> tg.topk(tg.tensor([1.0, 5.0, 2.0]), 2).indices
    tensor([1, 2])
    """
    if a.dtype.kind in "cb":
        raise DtypeError(f"topk does not support {'complex' if a.dtype.kind == 'c' else 'bool'} dtypes on CPU")
    size = a.shape[axis_of(dim, a.ndim)] if a.ndim else 1
    if not 0 <= k <= size:
        raise ShapeRuntimeError(f"selected index k out of range: topk of {k} along an axis of size {size}")
    places = _order(a, dim, largest)  # of all, also for sorted=False, which promises no order
    if a.ndim:
        places = places[(slice(None),) * axis_of(dim, a.ndim) + (slice(0, k),)]
    return results("topk", "values", "indices")(_picked(a, dim, places), places)


def _nth(a: Value, number: Any, dim: int, keepdim: bool, name: str) -> Any:
    """The entry at a given rank (one number for each line)."""
    result = results(name, "values", "indices")
    if a.dtype.kind in "cb":
        raise not_implemented("median_out" if name == "median" else f"{name}_cpu", a.dtype)
    if a.ndim == 0:
        places = wrap(array_module(raw(a)).zeros((), np.int64))
        return result(gather(a, dim, places), places)
    dim = axis_of(dim, a.ndim)
    if a.shape[dim] == 0:
        raise IndexOutOfRange(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
    places = gather(_order(a, dim, False), dim, number(raw(a), dim))
    values = gather(a, dim, places)
    if not keepdim:
        first = (*(slice(None),) * dim, 0)
        values, places = getitem(values, first), getitem(places, first)
    return result(values, places)


def kthvalue(a: Value, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """``(values, indices)``: the k-th smallest entry along an axis, counted from 1."""
    size = a.shape[axis_of(dim, a.ndim)] if a.ndim else 1
    if not 1 <= k <= size:
        raise ShapeRuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}")
    return _nth(a, lambda x, d: np.full_like(x.take([0], d), k - 1, dtype=np.int64), dim, keepdim, "kthvalue")


def _middle(x: Array, dim: int) -> Array:
    """The rank of the lower median; that of a nan, which sorts last, if there is one."""
    size = x.shape[dim]
    has_nan = (x != x).any(axis=dim, keepdims=True)
    place: Array = np.where(has_nan, size - (x != x).sum(axis=dim, keepdims=True), (size - 1) // 2)
    return place


def _median_vjp(g: Value, y: Value, a: Value) -> Value:
    """Equal entries share the gradient evenly."""
    ties: Value = cast((a == y) | ((a != a) & (y != y)), dtype=g.dtype)
    return spread(g, a.shape, tuple(range(a.ndim))) * (ties / sum_over(ties))


def _median(a: Array) -> Array:
    line = np.sort(a.reshape(-1))
    if line.size == 0:
        # of nothing: nan, and what PyTorch's cast of it to an integer gives
        found: Array = array_module(a).asarray(np.nan if a.dtype.kind == "f" else np.iinfo(a.dtype).min, a.dtype)
    else:
        found = line[-1] if bool(line[-1] != line[-1]) else line[(line.size - 1) // 2]  # nan sorts last
    return found


_median_of_all = primitive(
    "median",
    only("fiu", "median_cpu", _median),
    _median_vjp,
    "ya",
    formula=Formula(
        r"\operatorname{median}_{k}(a_{k})", a=r"\bar{a}_{k} = \bar{y} \frac{[a_{k} = y]}{\sum_{l} [a_{l} = y]}"
    ),
)


def median(a: Value, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median: of all entries; or ``(values, indices)`` along an axis.  nan if there is one."""
    return _median_of_all(a) if dim is None else _nth(a, _middle, dim, keepdim, "median")


# distinct values ---------------------------------------------------------------------------------------------------


_unique = without_derivative("unique2", "the derivative for '_unique2' is not implemented. Call unique() on x.detach()")
_unique_slices = without_derivative(
    "unique_dim", "the derivative for 'unique_dim' is not implemented. Call unique() on x.detach()"
)


def unique(
    a: Value, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The distinct entries (or slices along ``dim``) in order; with where each entry went, and how often each came.

    >>> import tinygrad_rnn as tg
    >>> tg.unique(tg.tensor([3, 1, 1]), return_counts=True)
    (tensor([1, 3]), tensor([2, 1]))
    """
    x = raw(a)
    if x.dtype.kind == "c":
        raise not_implemented("unique" if dim is None else "unique_dim", x.dtype)
    if dim is not None:
        dim = axis_of(dim, x.ndim)
    values, inverse, counts = array_module(x).unique(x, return_inverse=True, return_counts=True, axis=dim)
    given = [values]
    if return_inverse:
        # NumPy 2.0 and 2.1 give it in different shapes
        given.append(inverse.reshape(x.shape if dim is None else (-1,)))
    if return_counts:
        given.append(counts)
    tensors = tuple([wrap(as_array(x)) for x in given])
    if isinstance(a, Tensor):  # the result requires grad, and backward() says that there is no derivative
        (_unique if dim is None else _unique_slices)(tensors[0], a)
    return tensors if len(tensors) > 1 else tensors[0]

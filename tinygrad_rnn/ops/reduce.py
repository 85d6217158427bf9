"""Reductions over axes: sum, mean, and the extrema with their ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import array_module, as_dtype, not_implemented, scalar_name
from ..errors import DtypeError, IndexOutOfRange, ShapeRuntimeError
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..tape.tensor import Tensor
from ..typing import Array, Shape, V, Value
from .dtypes import cast, in_single
from .elementwise import clone, maximum, minimum, where
from .index import pick
from .named_results import results
from .nondifferentiable import plain, raw
from .shape import ALL_AXES, axes_of, axis_of, broadcast_to, no_axis, reshape

__all__ = ["amax", "amin", "aminmax", "argmax", "argmin", "count_nonzero", "mean", "nansum"]

Dim = int | Sequence[int] | None


def kept_shape(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """``shape`` with the reduced axes left in place at size 1."""
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def spread(g: V, shape: Shape, axes: tuple[int, ...]) -> V:
    """The cotangent of a reduction, repeated over the reduced axes."""
    return broadcast_to(reshape(g, kept_shape(shape, axes)), shape)


_add: Any = np.add.reduce  # whose declared types want to know keepdims beforehand


def _sum_of(a: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    if a.itemsize == 2:  # float16, of which NumPy keeps the running sums along an outer axis
        return _sum_of(a.astype(np.float32), axes, keepdims).astype(a.dtype)
    total: Array
    if type(a) is np.ndarray:  # without NumPy's Python layer, in half of the time
        total = _add(a, axis=axes, keepdims=keepdims)
    else:
        total = a.sum(axis=axes, keepdims=keepdims)
    return total


_sum = primitive(
    "sum",
    _sum_of,
    lambda g, y, a, axes, keepdims: spread(g, a.shape, axes),
    formula=Formula(r"y_{i} = \sum_{k} a_{ik}", a=r"\bar{a}_{ik} = \bar{y}_{i}"),
)


def sum_over(a: V, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> V:
    """The sum over ``dim`` (an axis, several, or all); of whole numbers in int64, or in ``dtype``."""
    x = a._data if isinstance(a, Tensor) else a
    if dtype is not None:
        chosen = as_dtype(dtype, "sum")
        return narrowed(_sum(cast(a, dtype=chosen), axes=axes_of(dim, x.ndim), keepdims=keepdim), chosen)
    if x.dtype.kind in "biu" and x.dtype.itemsize < 8:  # NumPy sums bytes in uint64, PyTorch in int64
        a = cast(a, dtype="int64")
    axes = ALL_AXES[x.ndim] if dim is None else axes_of(dim, x.ndim)
    return _sum(a, axes=axes, keepdims=keepdim)


def narrowed(y: V, dtype: np.dtype[Any]) -> V:
    """A sum or product in the requested dtype: of short integers NumPy forms them in 64 bits."""
    return y if dtype.itemsize == 8 or dtype.kind in "fc" else cast(y, dtype=dtype)


@in_single
def _mean_vjp(g: Value, y: Any, a: Any, axes: tuple[int, ...], keepdims: bool) -> Value:
    return spread(g * (1.0 / count(a.shape, axes)), a.shape, axes)


def count(shape: Shape, axes: tuple[int, ...]) -> float:
    """How many entries are reduced to one; nan for none, so that an empty mean is nan and not an error."""
    n = 1
    for k in axes:
        n *= shape[k]
    return n or float("nan")


def _mean_of(a: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    if a.dtype.itemsize == 2:  # a sum of float16 may be too large for it where the mean is not
        return _mean_of(a.astype(np.float32), axes, keepdims).astype(a.dtype)
    average: Array = a.sum(axis=axes, keepdims=keepdims) / a.dtype.type(count(a.shape, axes))
    return average


_mean = primitive(
    "mean",
    _mean_of,
    _mean_vjp,
    formula=Formula(r"y_{i} = \frac{1}{n} \sum_{k} a_{ik}", a=r"\bar{a}_{ik} = \frac{1}{n} \bar{y}_{i}"),
)


def mean(a: V, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> V:
    """The mean over ``dim`` (an axis, several, or all); nan over no entries."""
    if dtype is not None:
        a = cast(a, dtype=as_dtype(dtype, "mean"))
    if a.dtype.kind not in "fc":
        raise DtypeError(
            f"mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {scalar_name(a.dtype)}. Convert it: x.float()"
        )
    return _mean(a, axes=axes_of(dim, a.ndim), keepdims=keepdim)


# extrema -----------------------------------------------------------------------------------------------------------


def check_not_empty(name: str, shape: Shape, axes: tuple[int, ...] | None) -> None:
    """Refuse to reduce no entries to one.

    Raises:
        IndexOutOfRange: an axis has no entries.
        ShapeRuntimeError: over all axes, where there is no entry at all.
    """
    if axes is None:
        raise ShapeRuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with "
            f"the 'dim' argument. The shape is {list(shape)}"
        )
    for axis in axes:
        if shape[axis] == 0:
            raise IndexOutOfRange(f"{name}(): Expected reduction dim {axis} to have non-zero size.")


def _extremum_vjp(g: Value, y: Value, a: Value, axes: tuple[int, ...], keepdims: bool, nans: bool = False) -> Value:
    """Ties share the gradient evenly; so do nans if they count as equal."""
    top = reshape(y, kept_shape(a.shape, axes))  # broadcasts against a
    ties: Value = cast((a == top) | ((a != a) & (top != top)) if nans else a == top, dtype=g.dtype)
    return spread(g, a.shape, axes) * (ties / sum_over(ties, axes, keepdim=True))


def _extremum(name: str, method: str) -> Any:
    extremum = primitive(
        name,
        lambda a, axes, keepdims, nans=False: getattr(a, method)(axis=axes, keepdims=keepdims),
        _extremum_vjp,
        "ya",
        formula=Formula(
            rf"y_{{i}} = \{method}_{{k}} a_{{ik}}",
            a=r"\bar{a}_{ik} = \bar{y}_{i} \frac{[a_{ik} = y_{i}]}{\sum_{l} [a_{il} = y_{i}]}",
        ),
    )

    def reduce(a: Value, dim: Dim = None, keepdim: bool = False) -> Value:
        axes = axes_of(dim, a.ndim)
        if 0 in a.shape:
            # PyTorch's default dim=() means all axes, as None does
            check_not_empty(name, a.shape, None if dim is None or dim == () else axes)
        if a.dtype.kind == "c":
            raise not_implemented(f"{method}_values_cpu", a.dtype)
        return extremum(a, axes=axes, keepdims=keepdim)

    def of_all(a: Value) -> Value:
        if 0 in a.shape:
            check_not_empty(method, a.shape, None)
        if a.dtype.kind == "c":
            raise not_implemented(f"{method}_all", a.dtype)
        # the gradient of a nan: max() gives it to the nans, of amax() it is nan, as in PyTorch
        return extremum(a, axes=tuple(range(a.ndim)), keepdims=False, nans=True)

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = f"The {method} over ``dim`` (an axis, several, or all); ties share the gradient evenly."
    return reduce, of_all


amax, _max_of_all = _extremum("amax", "max")
amin, _min_of_all = _extremum("amin", "min")


@plain
def _places(a: Array, name: str, axis: int | None, keepdims: bool) -> Any:
    return getattr(array_module(a), name)(a, axis=axis, keepdims=keepdims)


def _arg(name: str) -> Any:
    def locate(a: Value, dim: int | None = None, keepdim: bool = False) -> Any:
        axis = None if dim is None else axis_of(dim, a.ndim)
        if a.dtype.kind in "cb":
            raise DtypeError(f"{name}(): does not support {'complex' if a.dtype.kind == 'c' else 'bool'} input")
        if 0 in a.shape:
            if dim is None:
                raise IndexOutOfRange(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
            check_not_empty(name, a.shape, (axis_of(dim, a.ndim),))
        return _places(a, name, axis if a.ndim else None, keepdim)

    locate.__name__ = locate.__qualname__ = name
    locate.__doc__ = f"The index of the first {name[3:]}imum along ``dim``, or in the flattened tensor."
    return locate


argmax = _arg("argmax")
argmin = _arg("argmin")


def _pick(a: Value, dim: int, keepdim: bool, name: str) -> Any:
    """``max`` or ``min`` along an axis: the entry and where it is; only that entry gets the gradient."""
    axis, shape = axis_of(dim, a.ndim), a.shape
    if 0 in shape:
        check_not_empty(name, shape, (axis,))
    if a.dtype.kind == "c":
        raise DtypeError(f"{name}(): does not support complex input")
    indices = _places(a, "argmax" if name == "max" else "argmin", axis if shape else None, False)
    values = pick(a, axis, raw(indices).copy()) if shape else clone(a)  # the user gets indices, and may write to them
    if keepdim and shape:
        kept = kept_shape(shape, (axis,))
        values, indices = reshape(values, kept), reshape(indices, kept)
    return results(name, "values", "indices")(values, indices)


def max_over(a: Value, dim: Any = None, keepdim: bool = False) -> Any:
    """Over all entries: the maximum, ties sharing the gradient.  Along ``dim``: ``(values, indices)``.

    With a tensor in place of ``dim``: the entry-wise maximum of the two.

    >>> import tinygrad_rnn as tg
    >>> tg.max(tg.tensor([[1.0, 3.0], [4.0, 2.0]]), 1).indices
    tensor([1, 0])
    """
    if dim is None:
        return _max_of_all(a)
    if isinstance(dim, Tensor):
        return maximum(a, dim)
    return _pick(a, dim, keepdim, "max")


def min_over(a: Value, dim: Any = None, keepdim: bool = False) -> Any:
    """Over all entries: the minimum, ties sharing the gradient.  Along ``dim``: ``(values, indices)``."""
    if dim is None:
        return _min_of_all(a)
    if isinstance(dim, Tensor):
        return minimum(a, dim)
    return _pick(a, dim, keepdim, "min")


def aminmax(a: Value, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """``(min, max)`` of all entries or along an axis; ties share the gradient evenly."""
    if a.dtype.kind == "c":
        raise not_implemented("aminmax_cpu", a.dtype)
    return results("aminmax", "min", "max")(amin(a, dim, keepdim), amax(a, dim, keepdim))


# logic and counts --------------------------------------------------------------------------------------------------


def _logic(name: str, doc: str) -> Any:
    @plain
    def decide(a: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        decided: Array = getattr(array_module(a), name)(a, axis=axes, keepdims=keepdims)
        return decided.astype(np.uint8) if a.dtype == np.uint8 else decided  # as in PyTorch, from before it had bools

    def reduce(a: Value, dim: Dim = None, keepdim: bool = False) -> Any:
        return decide(a, () if no_axis(dim) else axes_of(dim, a.ndim), keepdim)

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = doc
    return reduce


all_over = _logic("all", "Whether every entry over ``dim`` holds (is not 0); True over none.")
any_over = _logic("any", "Whether some entry over ``dim`` holds (is not 0); False over none.")


@plain
def _count_nonzero(a: Array, axes: tuple[int, ...]) -> Array:
    counted: Array = (a != 0).sum(axis=axes)
    return counted


def count_nonzero(a: V, dim: Dim = None) -> V:
    """How many entries over ``dim`` are not 0."""
    counted: V = _count_nonzero(a, axes_of(dim, a.ndim))
    return counted


def nansum(a: V, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> V:
    """The sum over ``dim``, nan counting as 0.

    Raises:
        DtypeError: of complex numbers.
    """
    if a.dtype.kind in "biu":
        return sum_over(a, dim, keepdim, dtype=dtype)  # whole numbers have no nan
    if a.dtype.kind == "c" or (dtype is not None and as_dtype(dtype, "nansum").kind == "c"):
        raise DtypeError("nansum on CPU does not support complex inputs")
    return sum_over(where(a == a, a, 0), dim, keepdim, dtype=dtype)

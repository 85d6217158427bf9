"""Reductions over axes: sum, mean, and the extrema with their ties."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from ..backend import array_module
from ..errors import ArgumentError
from ..tape.primitive import primitive
from ..tape.tensor import Tensor
from ..typing import Array, Shape, Value
from .dtypes import as_dtype, cast
from .shape import axes_of, axis_of, broadcast_to, reshape

__all__ = ["amax", "amin", "argmax", "argmin", "max", "mean", "min", "sum"]

Dim = int | Sequence[int] | None


def kept_shape(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """``shape`` with the reduced axes left in place at size 1."""
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def spread(g: Value, shape: Shape, axes: tuple[int, ...]) -> Value:
    """A reduced cotangent repeated over the axes that were reduced."""
    return broadcast_to(reshape(g, kept_shape(shape, axes)), shape)


_sum = primitive(
    "sum",
    lambda a, axes, keepdims: a.sum(axis=axes, keepdims=keepdims),
    (lambda g, y, a, axes, keepdims: spread(g, a.shape, axes),),
    ("",),
)


def sum(a: Value, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """The sum over ``dim`` (an axis, several, or all)."""
    if dtype is not None:
        a = cast(a, dtype=as_dtype(dtype))
    elif a.dtype.kind in "biu" and a.dtype.itemsize < 8:
        a = cast(a, dtype="int64")
    return _sum(a, axes=axes_of(dim, a.ndim), keepdims=keepdim)


def _mean_vjp(g: Value, y: Any, a: Any, axes: tuple[int, ...], keepdims: bool) -> Value:
    return spread(g * (1.0 / count(a.shape, axes)), a.shape, axes)


def count(shape: Shape, axes: tuple[int, ...]) -> float:
    """How many entries are reduced to one; nan for none, so that an empty mean is nan and not an error."""
    n = 1
    for k in axes:
        n *= shape[k]
    return n or float("nan")


_mean = primitive(
    "mean",
    lambda a, axes, keepdims: a.sum(axis=axes, keepdims=keepdims) / a.dtype.type(count(a.shape, axes)),
    (_mean_vjp,),
    ("",),
)


def mean(a: Value, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """The mean over ``dim`` (an axis, several, or all); nan over no entries."""
    if dtype is not None:
        a = cast(a, dtype=as_dtype(dtype))
    if a.dtype.kind not in "fc":
        raise ArgumentError(
            f"mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {a.dtype}"
        )
    return _mean(a, axes=axes_of(dim, a.ndim), keepdims=keepdim)


# extrema -----------------------------------------------------------------------------------------------------------


def _extremum_vjp(g: Value, y: Value, a: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    """Ties share the gradient evenly."""
    ties = cast(a == reshape(y, kept_shape(a.shape, axes)), dtype=g.dtype)
    return spread(g, a.shape, axes) * (ties / sum(ties, axes, keepdim=True))


def _extremum(name: str, method: str) -> Any:
    raw = primitive(
        name,
        lambda a, axes, keepdims: getattr(a, method)(axis=axes, keepdims=keepdims),
        (_extremum_vjp,),
        ("ya",),
    )

    def reduce(a: Value, dim: Dim = None, keepdim: bool = False) -> Value:
        axes = axes_of(dim, a.ndim)
        if 0 in [a.shape[k] for k in axes]:
            raise ArgumentError(f"{name}(): Expected reduction dim {axes} to have non-zero size, got shape {a.shape}")
        return raw(a, axes=axes, keepdims=keepdim)

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = f"The {method} over ``dim`` (an axis, several, or all); ties share the gradient evenly."
    return reduce


amax = _extremum("amax", "max")
amin = _extremum("amin", "min")


def _arg(name: str) -> Any:
    def forward(a: Array, axis: int | None, keepdims: bool) -> Array:
        return getattr(array_module(a), name)(a, axis=axis, keepdims=keepdims)

    raw = primitive(name, forward)

    def locate(a: Value, dim: int | None = None, keepdim: bool = False) -> Value:
        if 0 in a.shape:
            raise ArgumentError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
        axis = None if dim is None else axis_of(dim, a.ndim)
        return raw(a, axis=axis if a.ndim else None, keepdims=keepdim)

    locate.__name__ = locate.__qualname__ = name
    locate.__doc__ = f"The index of the first {name[3:]}imum along ``dim``, or in the flattened tensor."
    return locate


argmax = _arg("argmax")
argmin = _arg("argmin")

max_result = namedtuple("max_result", ["values", "indices"])
min_result = namedtuple("min_result", ["values", "indices"])


def _pick(a: Value, dim: int, keepdim: bool, locate: Any, result: Any) -> Any:
    """The extreme entry along an axis and where it is; only that entry gets the gradient."""
    from .index import gather

    indices = locate(a, dim, keepdim=True)
    values = gather(a, axis_of(dim, a.ndim), indices)
    if not keepdim and a.ndim:
        place = axis_of(dim, a.ndim)
        shape = (*a.shape[:place], *a.shape[place + 1 :])
        values, indices = reshape(values, shape), reshape(indices, shape)
    return result(values, indices)


def max(a: Value, dim: Any = None, keepdim: bool = False) -> Any:
    """Over all entries: the maximum, ties sharing the gradient.  Along ``dim``: ``(values, indices)``.

    With a tensor in place of ``dim``: the entry-wise maximum of the two.

    >>> import tinygrad_rnn as tg
    >>> tg.max(tg.tensor([[1.0, 3.0], [4.0, 2.0]]), 1).indices
    tensor([1, 0])
    """
    if dim is None:
        return amax(a)
    if isinstance(dim, Tensor):
        from .elementwise import maximum

        return maximum(a, dim)
    return _pick(a, dim, keepdim, argmax, max_result)


def min(a: Value, dim: Any = None, keepdim: bool = False) -> Any:
    """Over all entries: the minimum, ties sharing the gradient.  Along ``dim``: ``(values, indices)``."""
    if dim is None:
        return amin(a)
    if isinstance(dim, Tensor):
        from .elementwise import minimum

        return minimum(a, dim)
    return _pick(a, dim, keepdim, argmin, min_result)

"""NumPy's functions of Tensors: for each that a gradient can flow through, the form that records.

A form has NumPy's names of arguments; a keyword that it does not name is refused by name.  Most are in
separate files: what moves entries (``numpy_moves``), reductions (``numpy_statistics``), products, calculus.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import as_dtype
from ..errors import ArgumentTypeError
from ..tape.tensor import Tensor, wrap
from ..typing import Value
from . import diagonals, elementwise, rearrange, rounding, shape, splitting, transcendental
from .dtypes import cast
from .numpy_calculus import CALCULUS
from .numpy_moves import FILLED, MOVED, PERMUTED, RESHAPED, SPLIT, VALUES, WRITTEN, moved
from .numpy_operands import alike, flat, raw, tensor_of
from .numpy_products import PRODUCTS
from .numpy_statistics import STATISTICS
from .numpy_ufuncs import UFUNCS
from .shape import expand, reshape

__all__ = ["BINNED", "FUNCTIONS", "IN_PLACE", "REASONS", "WITHOUT_GRADIENT"]

Form = Callable[..., Any]
where = elementwise.where

# shapes --------------------------------------------------------------------------------------------------------------


def _reshape(a: Any, shape: Any, order: str = "C", *, copy: bool | None = None) -> Any:
    a = tensor_of(a)
    # the entries in another order: no view, so they are moved
    if order == "F" or (order == "A" and not a.is_contiguous()):
        return moved(np.reshape, "a")(a, shape, order)
    shaped = reshape(a, raw(shape))
    return elementwise.clone(shaped) if copy else shaped


def _ravel(a: Any, order: str = "C") -> Any:
    a = tensor_of(a)
    plain = order == "C" or (order in "AK" and a.is_contiguous())
    return reshape(a, (-1,)) if plain else moved(np.ravel, "a")(a, order)


def _broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    a = tensor_of(array)
    # NumPy's own check of the shape, on an array without memory
    return expand(a, np.broadcast_to(np.broadcast_to(0, a.shape), raw(shape)).shape)


def _parts(arrays: Any, dtype: Any, casting: str) -> list[Any]:
    """The arrays to be joined, in NumPy's dtype for them or the requested one."""
    given = [tensor_of(a) for a in (arrays if not isinstance(arrays, Tensor) else splitting.unbind(arrays))]
    for a in given:
        if dtype is not None and not np.can_cast(a.dtype, dtype, casting):  # type: ignore[arg-type]
            raise ArgumentTypeError(f"Cannot cast array data from {a.dtype} to {np.dtype(dtype)} by rule {casting!r}")
    return alike(*given, dtype=dtype)


def _concatenate(arrays: Any, axis: int | None = 0, out: None = None, *, dtype: Any = None,
                 casting: str = "same_kind") -> Any:  # fmt: skip
    parts = _parts(arrays, dtype, casting)
    return shape.cat([reshape(x, (-1,)) for x in parts] if axis is None else parts, axis or 0)


def _stack(arrays: Any, axis: int = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    return shape.stack(_parts(arrays, dtype, casting), axis)


def _joined(f: Any) -> Form:
    return lambda tup, *, dtype=None, casting="same_kind": f(_parts(tup, dtype, casting))


def _unstack(x: Any, /, *, axis: int = 0) -> tuple[Value, ...]:
    return splitting.unbind(tensor_of(x), axis)


def _triangle(own: Form, function: Any) -> Form:
    # of a vector NumPy makes a matrix, and PyTorch refuses
    return lambda m, k=0: own(m, k) if tensor_of(m).ndim > 1 else FILLED[function](m, k)


def _as_array(a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None,
              requirements: Any = None) -> Any:  # fmt: skip
    x = tensor_of(a)
    if dtype is not None and x.dtype != dtype:
        return cast(x, dtype=as_dtype(dtype))
    return elementwise.clone(x) if copy else x


def _array(object: Any, dtype: Any = None, *, copy: Any = True, order: Any = None, ndmin: int = 0) -> Any:
    x = _as_array(object, dtype, copy=copy)
    return reshape(x, (*(1,) * (ndmin - x.ndim), *x.shape))


# conversions ---------------------------------------------------------------------------------------------------------


def _astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return _as_array(x, dtype, copy=copy)


def _full_like(a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None,
               *, device: Any = None) -> Any:  # fmt: skip
    like = np.empty_like(raw(a), dtype=dtype, shape=shape)
    return expand(cast(tensor_of(fill_value), dtype=like.dtype), like.shape)


def _of_reals(f: Form, own: Form) -> Form:
    """The functions of ``np.emath``, whose result is complex outside of the domain on the reals."""

    def real(*args: Any) -> Any:
        if np.iscomplexobj(f(*raw(args))):
            raise ArgumentTypeError(f"np.emath.{f.__name__}(): the result is complex, and no gradient flows there")
        return own(*alike(*[tensor_of(x) for x in args]))

    return real


def _real(x: Any) -> Any:
    """A tensor of real numbers, of which alone gradients are known here."""
    x = tensor_of(x)
    if x.dtype.kind == "c":
        raise ArgumentTypeError("no gradient flows through complex numbers here")
    return x


# choice, limits ------------------------------------------------------------------------------------------------------


def _where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    mask = wrap(raw(tensor_of(condition)) != 0)
    if (x is None) != (y is None):
        raise ArgumentTypeError("np.where(): give both values, or the condition alone")
    if x is None:
        return where(mask)
    # a Python number does not widen the tensor beside it
    weak = {type(x), type(y)} & {int, float} and (isinstance(x, Tensor) or isinstance(y, Tensor))
    return where(mask, x, y) if weak else where(mask, *alike(x, y))


def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: None = None, *, min: Any = None, max: Any = None,
          dtype: Any = None) -> Any:  # fmt: skip
    low, high = min if a_min is None else a_min, max if a_max is None else a_max
    x, *bounds = alike(a, *[bound for bound in (low, high) if bound is not None], dtype=dtype)
    if not bounds:
        return elementwise.clone(x)
    return rounding.clamp(x, None if low is None else bounds[0], None if high is None else bounds[-1])


def _nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    a = tensor_of(x)
    top = float(np.finfo(a.dtype).max)
    y = where(a != a, nan, where(a == math.inf, top if posinf is None else posinf, a))
    y = where(a == -math.inf, -top if neginf is None else neginf, y)
    return y if copy or a is not x else a.copy_(y)


# functions of functions ----------------------------------------------------------------------------------------------


def _apply_along_axis(func1d: Form, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    a = rearrange.movedim(tensor_of(arr), axis, -1)
    around = a.shape[:-1]
    results = [tensor_of(func1d(a[place], *args, **kwargs)) for place in np.ndindex(*around)]
    rank = results[0].ndim
    stacked = reshape(shape.stack(alike(*results)), (*around, *results[0].shape))
    axis = shape.axis_of(axis, a.ndim)
    return rearrange.movedim(stacked, tuple(range(-rank, 0)), tuple(range(axis, axis + rank))) if rank else stacked


def _apply_over_axes(func: Form, a: Any, axes: Any) -> Any:
    x = tensor_of(a)
    for axis in np.atleast_1d(axes).tolist():
        y = tensor_of(func(x, axis))
        x = y if y.ndim == x.ndim else shape.unsqueeze(y, shape.axis_of(axis, x.ndim))
    return x


def _piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    a = tensor_of(x)
    places = np.arange(1, len(funclist) + 1)
    which = np.piecewise(np.zeros(a.shape), raw(condlist), list(places)).astype(int) - 1  # -1: none of them
    out = wrap(np.zeros(a.shape, a.dtype))
    for k, f in enumerate(funclist):
        mask = which == k
        if callable(f) and mask.any():
            out[wrap(mask)] = cast(tensor_of(f(a[wrap(mask)], *args, **kw)), dtype=a.dtype)
        elif not callable(f):
            out = where(wrap(mask), f, out)
    return out


# tables --------------------------------------------------------------------------------------------------------------

FUNCTIONS: dict[Any, Form] = {
    **PERMUTED,
    **RESHAPED,
    **MOVED,
    **SPLIT,
    **FILLED,
    **VALUES,
    **WRITTEN,
    **STATISTICS,
    **PRODUCTS,
    **CALCULUS,
    # shapes, joins
    np.reshape: _reshape,
    np.ravel: _ravel,
    np.broadcast_to: _broadcast_to,
    np.concatenate: _concatenate,
    np.stack: _stack,
    np.hstack: _joined(rearrange.hstack),
    np.vstack: _joined(rearrange.vstack),
    np.dstack: lambda tup: rearrange.dstack(_parts(tup, None, "same_kind")),
    np.column_stack: lambda tup: rearrange.column_stack(_parts(tup, None, "same_kind")),
    np.tril: _triangle(diagonals.tril, np.tril),
    np.triu: _triangle(diagonals.triu, np.triu),
    # conversions
    np.array: _array,
    **dict.fromkeys((np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray), _as_array),
    np.require: lambda a, dtype=None, requirements=None: _as_array(a, dtype),
    np.copy: lambda a, order="K": elementwise.clone(tensor_of(a)),
    np.real: lambda val: _real(val),
    np.real_if_close: lambda a, tol=100: _real(a),
    np.imag: lambda val: flat(np.imag(_real(val)._data), val),
    np.angle: lambda z, deg=False: flat(np.asarray(np.angle(_real(z)._data, deg)), z),
    np.full_like: _full_like,
    # choice, rounding
    np.where: _where,
    np.clip: _clip,
    np.round: lambda a, decimals=0, out=None: rounding.rounded(tensor_of(a), decimals=decimals),
    np.around: lambda a, decimals=0, out=None: rounding.rounded(tensor_of(a), decimals=decimals),
    np.fix: lambda x, out=None: rounding.trunc(tensor_of(x)),
    np.nan_to_num: _nan_to_num,
    np.emath.logn: _of_reals(np.emath.logn, lambda n, x: transcendental.log2(x) / transcendental.log2(n)),
    # functions of functions
    np.apply_along_axis: _apply_along_axis,
    np.apply_over_axes: _apply_over_axes,
    np.piecewise: _piecewise,
}
FUNCTIONS |= {
    getattr(np, name): form
    for name, form in {"astype": _astype, "unstack": _unstack}.items()
    if hasattr(np, name)  # since NumPy 2.1
}
FUNCTIONS |= {
    getattr(np.emath, name): _of_reals(getattr(np.emath, name), UFUNCS[getattr(np, name)])
    for name in ("sqrt", "log", "log2", "log10", "arccos", "arcsin", "arctanh", "power")
}

IN_PLACE = frozenset({*WRITTEN, np.nan_to_num})
"""Those that write to their argument: never by NumPy, whose writes no version counter sees."""

WITHOUT_GRADIENT = frozenset(
    f
    for module, names in {
        np: "all any allclose argmax argmin argpartition argsort argwhere array2string array_equal array_equiv "
        "array_repr array_str can_cast common_type count_nonzero diag_indices_from digitize einsum_path empty_like "
        "flatnonzero histogram_bin_edges isclose iscomplex iscomplexobj isin isneginf isposinf isreal isrealobj ix_ "
        "lexsort may_share_memory min_scalar_type nanargmax nanargmin ndim nonzero ones_like ravel_multi_index "
        "result_type save savetxt savez savez_compressed searchsorted shape shares_memory size tril_indices_from "
        "triu_indices_from unravel_index zeros_like",
        np.linalg: "matrix_rank",
    }.items()
    for f in [getattr(module, name, None) for name in names.split()]
    if f is not None
)
"""Their results do not depend on the values, or only in steps: NumPy computes them even where gradients are wanted."""

BINNED = frozenset({np.histogram, np.histogram2d, np.histogramdd})
"""The same, but for the weights of what they count."""

REASONS: dict[str, str] = {
    "numpy.linalg": "is a decomposition or a solver, of which there is none here that records",
    "numpy.fft": "computes with complex numbers, through which no gradient flows here",
}
"""By module, why its functions are refused where a gradient is wanted."""

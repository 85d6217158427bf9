"""NumPy's functions applied to Tensors: ``np.tanh(t)``, ``array @ t``, ``np.concatenate([t, u])``.

By the protocols of NEP 13 (ufuncs) and NEP 18 (functions) NumPy asks us, and we answer by our own operation of the
same meaning, which records.  What we have no operation for is computed by NumPy if no gradient is wanted, and
refused if one is: nothing ever leaves the tape silently.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import is_array
from ..errors import ArgumentTypeError, GraphError
from ..tape.modes import quietly
from ..tape.tensor import Tensor, wrap
from ..typing import Value
from . import (
    comparison,
    contraction,
    conversion,
    creation,
    cumulative,
    diagonals,
    elementwise,
    index,
    linalg,
    pieces,
    products,
    rearrange,
    reduce,
    rounding,
    shape,
    sorting,
    statistics,
    transcendental,
)

__all__ = ["FUNCTIONS", "UFUNCS", "array_function", "array_ufunc"]

NOT_GIVEN: Any = inspect.signature(np.sum).parameters["initial"].default
"""NumPy's own mark of a keyword that was left out."""
NUMPYS_OWN = ("out", "where", "initial")
"""Keywords for which we have no form: with them NumPy computes."""

UFUNCS: dict[Any, Callable[..., Any]] = {
    np.absolute: elementwise.abs,
    np.add: elementwise.add,
    np.arctan2: transcendental.atan2,
    np.divide: elementwise.div,
    np.fabs: elementwise.abs,
    np.floor_divide: rounding.floor_divide,
    np.float_power: elementwise.pow,
    np.invert: comparison.bitwise_not,
    np.left_shift: comparison.bitwise_left_shift,
    np.matmul: linalg.matmul,
    np.multiply: elementwise.mul,
    np.negative: elementwise.neg,
    np.power: elementwise.pow,
    np.right_shift: comparison.bitwise_right_shift,
    np.rint: rounding.round,
    np.subtract: elementwise.sub,
}
_SAME_NAME = {
    elementwise: "exp log maximum minimum positive reciprocal sign sqrt square tanh",
    transcendental: "sin cos tan arcsin arccos arctan sinh cosh arcsinh arccosh arctanh exp2 expm1 log1p log2 log10 "
    "logaddexp hypot",
    rounding: "floor ceil trunc remainder fmod",
    comparison: "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor logical_not "
    "isnan isfinite isinf signbit bitwise_and bitwise_or bitwise_xor",
}
for _module, _names in _SAME_NAME.items():
    UFUNCS.update({getattr(np, _name): getattr(_module, _name) for _name in _names.split()})
UFUNCS[np.equal] = comparison.eq  # equal() compares whole tensors

REDUCTIONS = {np.add: reduce.sum, np.multiply: cumulative.prod, np.maximum: reduce.amax, np.minimum: reduce.amin}
REDUCTIONS |= {np.logical_and: reduce.all, np.logical_or: reduce.any}
ACCUMULATIONS = {np.add: cumulative.cumsum, np.multiply: cumulative.cumprod}


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
    """NEP 13: a ufunc, or a method of one, applied to arguments of which one is a Tensor."""
    if not all(isinstance(x, (Tensor, int, float, complex, list)) or is_array(x) for x in inputs):
        return NotImplemented
    name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    outputs = tuple(y for y in out or () if y is not None)
    if any(isinstance(y, Tensor) for y in outputs):
        raise ArgumentTypeError(
            f"{name}(out=): NumPy cannot write into a Tensor, whose history would be lost. Use the in-place form "
            f"(x.add_(y), x += y), or assign: x[...] = {name}(...)"
        )
    known = _method(ufunc, method)
    kwargs = {key: v for key, v in kwargs.items() if v is not NOT_GIVEN and not (key == "where" and v is True)}
    if not kwargs.keys().isdisjoint(NUMPYS_OWN) or (method == "__call__" and kwargs):
        known = None
    if known is None:
        return _by_numpy(name, getattr(ufunc, method), inputs, {**kwargs, **({"out": out} if out else {})})
    result = known(*[_operand(x) for x in inputs], **kwargs)
    if not outputs:
        return result
    _refuse_if_wanted(name, [result], "would write a result with a history into an array")
    np.copyto(outputs[0], result._data)
    return outputs[0]


def _operand(x: Any) -> Any:
    """Tensors and numbers as they are; arrays and lists as tensors of their own memory, which nobody else writes to."""
    if isinstance(x, (Tensor, int, float, complex, np.generic)):
        return x
    return creation.tensor(x) if isinstance(x, list) else wrap(x.copy())


def _method(ufunc: Any, method: str) -> Callable[..., Any] | None:
    if method == "__call__":
        return UFUNCS.get(ufunc)
    if method == "reduce" and ufunc in REDUCTIONS:
        return lambda a, axis=0, keepdims=False, **rest: _plain_axes(REDUCTIONS[ufunc], a, axis, keepdims, **rest)
    if method == "accumulate" and ufunc in ACCUMULATIONS:
        return lambda a, axis=0, dtype=None: ACCUMULATIONS[ufunc](a, axis, dtype=dtype)
    if method == "outer" and ufunc in UFUNCS:
        return lambda a, b: UFUNCS[ufunc](shape.reshape(a, (*a.shape, *(1,) * np.ndim(_raw(b)))), b)
    return None


def _raw(x: Any) -> Any:
    return x._data if isinstance(x, Tensor) else x


def _tensors(value: Any) -> list[Tensor]:
    """The Tensors among arguments, also inside lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [t for item in items for t in _tensors(item)]


def _refuse_if_wanted(name: str, values: Any, why: str) -> None:
    if any(t.requires_grad for t in _tensors(values)):
        raise GraphError(
            f"Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead: {name} {why}. "
            "Detach, or use an operation of tinygrad_rnn"
        )


def _by_numpy(name: str, f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What NumPy makes of the values, where no gradient is wanted."""
    _refuse_if_wanted(name, [args, kwargs], "has no form here that records")
    return quietly(f, *_unwrapped(args), **_unwrapped(kwargs))


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return {key: _unwrapped(item) for key, item in value.items()}
    return type(value)([_unwrapped(item) for item in value]) if type(value) in (list, tuple) else value


# functions ---------------------------------------------------------------------------------------------------------


def _plain_axes(f: Any, a: Any, axis: Any, keepdims: Any = False, **kwargs: Any) -> Any:
    """A reduction in NumPy's words: ``axis``, ``keepdims``, and nothing for "not given"."""
    given = {key: value for key, value in kwargs.items() if value is not None and value is not NOT_GIVEN}
    return f(a, axis, bool(keepdims), **given)


def _reduction(f: Any) -> Callable[..., Any]:
    def reduced(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: Any = False, **rest: Any) -> Any:
        return _plain_axes(f, a, axis, False if keepdims is NOT_GIVEN else keepdims, dtype=dtype, **rest)

    return reduced


def _moment(f: Any) -> Callable[..., Any]:
    def moment(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: Any = False) -> Any:
        return f(a, axis, None, keepdims is True, correction=ddof)

    return moment


def _located(f: Any) -> Callable[..., Any]:
    return lambda a, axis=None, *, keepdims=False: f(a, axis, keepdims is True)


def _running(f: Any) -> Callable[..., Any]:
    def running(a: Any, axis: Any = None, dtype: Any = None) -> Any:
        return f(shape.reshape(a, (-1,)), 0, dtype=dtype) if axis is None else f(a, axis, dtype=dtype)

    return running


def _joined(f: Any) -> Callable[..., Any]:
    return lambda arrays, **kwargs: f([_operand(x) for x in arrays], **kwargs)


def _concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Value:
    parts = [_operand(x) for x in arrays]
    return shape.cat([shape.reshape(x, (-1,)) for x in parts] if axis is None else parts, axis or 0)


def _dot(a: Any, b: Any) -> Value:
    a, b = _operand(a), _operand(b)
    if np.ndim(_raw(a)) == 0 or np.ndim(_raw(b)) == 0:
        return elementwise.mul(a, b)
    return contraction.tensordot(a, b, ([-1], [-2])) if b.ndim > 2 else linalg.matmul(a, b)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Value:
    if axis is None and x.ndim > 1 and ord not in (None, "fro"):
        raise ArgumentTypeError(f"np.linalg.norm(): the matrix norm {ord!r} is not supported; give the axis of vectors")
    return statistics.norm(x, 2 if ord is None else ord, axis, keepdims)


def _repeat(a: Any, repeats: Any, axis: int | None = None) -> Value:
    return rearrange.repeat_interleave(a, repeats, axis)


def _split(a: Any, indices_or_sections: Any, axis: int = 0) -> list[Value]:
    if isinstance(indices_or_sections, int) and a.shape[axis] % indices_or_sections:
        raise ArgumentTypeError("array split does not result in an equal division: use np.array_split")
    return list(pieces.tensor_split(a, indices_or_sections, axis))


def _ordered(a: Any, axis: int | None = -1) -> Value:
    return sorting.sort(shape.reshape(a, (-1,)) if axis is None else a, -1 if axis is None else axis)[0]


def _like(f: Any) -> Callable[..., Any]:
    return lambda a, dtype=None: f(a, dtype=dtype)


def _take(a: Any, indices: Any, axis: int | None = None) -> Value:
    if axis is None:
        return index.take(a, indices)
    axis = shape.axis_of(axis, a.ndim)
    return index.getitem(a, (*(slice(None),) * axis, indices))


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    # reductions
    **{getattr(np, n): _reduction(getattr(reduce, n)) for n in ("sum", "mean", "all", "any", "nansum")},
    **{getattr(np, n): _reduction(f) for n, f in {"max": reduce.amax, "min": reduce.amin}.items()},
    np.prod: _reduction(cumulative.prod),
    np.var: _moment(statistics.var),
    np.std: _moment(statistics.std),
    np.argmax: _located(reduce.argmax),
    np.argmin: _located(reduce.argmin),
    np.count_nonzero: lambda a, axis=None: reduce.count_nonzero(a, axis),
    np.cumsum: _running(cumulative.cumsum),
    np.cumprod: _running(cumulative.cumprod),
    np.diff: lambda a, n=1, axis=-1: cumulative.diff(a, n, axis),
    np.linalg.norm: _norm,
    # shapes
    np.reshape: lambda a, shape, order="C": _reshape(a, shape, order),
    np.ravel: lambda a: shape.reshape(a, (-1,)),
    np.transpose: lambda a, axes=None: shape.permute(a, tuple(range(a.ndim))[::-1] if axes is None else axes),
    np.swapaxes: shape.swapaxes,
    np.moveaxis: rearrange.movedim,
    np.squeeze: shape.squeeze,
    np.expand_dims: lambda a, axis: shape.unsqueeze(a, axis),
    np.broadcast_to: lambda array, shape: _broadcast(array, shape),
    np.flip: lambda m, axis=None: rearrange.flip(m, axis if axis is not None else tuple(range(m.ndim))),
    np.fliplr: rearrange.fliplr,
    np.flipud: rearrange.flipud,
    np.roll: lambda a, shift, axis=None: rearrange.roll(a, shift, axis),
    np.rot90: lambda m, k=1, axes=(0, 1): rearrange.rot90(m, k, axes),
    np.tile: lambda A, reps: rearrange.tile(A, (reps,) if isinstance(reps, int) else reps),
    np.repeat: _repeat,
    np.split: _split,
    np.array_split: lambda ary, indices_or_sections, axis=0: list(pieces.tensor_split(ary, indices_or_sections, axis)),
    np.concatenate: _concatenate,
    np.stack: lambda arrays, axis=0: shape.stack([_operand(x) for x in arrays], axis),
    np.hstack: _joined(rearrange.hstack),
    np.vstack: _joined(rearrange.vstack),
    np.dstack: _joined(rearrange.dstack),
    np.column_stack: _joined(rearrange.column_stack),
    np.diag: lambda v, k=0: diagonals.diag(v, k),
    np.diagonal: lambda a, offset=0, axis1=0, axis2=1: diagonals.diagonal(a, offset, axis1, axis2),
    np.trace: lambda a, offset=0, axis1=0, axis2=1: reduce.sum(diagonals.diagonal(a, offset, axis1, axis2), -1),
    np.tril: lambda m, k=0: diagonals.tril(m, k),
    np.triu: lambda m, k=0: diagonals.triu(m, k),
    # places and choice
    np.where: lambda condition, *xy: elementwise.where(_operand(condition), *[_operand(x) for x in xy]),
    np.clip: lambda a, a_min=None, a_max=None, *, min=None, max=None: rounding.clamp(
        a, min if a_min is None else a_min, max if a_max is None else a_max
    ),
    np.round: lambda a, decimals=0: rounding.round(a, decimals=decimals),
    np.take: _take,
    np.take_along_axis: lambda arr, indices, axis: index.take_along_dim(arr, indices, axis),
    np.sort: _ordered,
    np.argsort: lambda a, axis=-1: sorting.argsort(a, axis),
    np.nonzero: lambda a: index.nonzero(a, as_tuple=True),
    np.argwhere: index.argwhere,
    # products
    np.dot: _dot,
    np.inner: lambda a, b: products.inner(_operand(a), _operand(b)),
    np.outer: lambda a, b: products.outer(*[shape.reshape(_operand(x), (-1,)) for x in (a, b)]),
    np.tensordot: lambda a, b, axes=2: contraction.tensordot(_operand(a), _operand(b), axes),
    np.einsum: lambda subscripts, *operands: contraction.einsum(subscripts, *[_operand(x) for x in operands]),
    # of the same size; questions
    np.zeros_like: _like(creation.zeros_like),
    np.ones_like: _like(creation.ones_like),
    np.empty_like: _like(creation.empty_like),
    np.full_like: lambda a, fill_value, dtype=None: creation.full_like(a, fill_value, dtype=dtype),
    np.copy: lambda a: elementwise.clone(a),
    np.isclose: lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: comparison.isclose(
        _operand(a), _operand(b), rtol, atol, equal_nan
    ),
    np.allclose: lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: comparison.allclose(
        _operand(a), _operand(b), rtol, atol, equal_nan
    ),
    np.array_equal: lambda a1, a2: comparison.equal(_operand(a1), _operand(a2)),
    np.shape: lambda a: tuple(a.shape),
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: conversion.numel(a) if axis is None else a.shape[axis],
}


def _reshape(a: Any, shape_: Any, order: str) -> Value:
    if order != "C":
        raise ArgumentTypeError(f"np.reshape(order={order!r}): tensors are reshaped in row order; permute first")
    return shape.reshape(a, shape_)


def _broadcast(a: Any, shape_: Any) -> Value:
    return shape.expand(a, shape_)


def array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NEP 18: a function of NumPy's with a Tensor among its arguments."""
    name = f"np.{func.__name__}"
    if isinstance(kwargs.get("out"), Tensor):
        raise ArgumentTypeError(f"{name}(out=): NumPy cannot write into a Tensor, whose history would be lost: assign")
    given = {key: value for key, value in kwargs.items() if value is not NOT_GIVEN}
    if given.get("out", 0) is None:
        del given["out"]
    known = FUNCTIONS.get(func)
    if known is None or not given.keys().isdisjoint(NUMPYS_OWN):
        return _by_numpy(name, func, args, kwargs)
    return known(*args, **given)

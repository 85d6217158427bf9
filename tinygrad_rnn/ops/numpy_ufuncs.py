"""NumPy's ufuncs of Tensors, and their methods: the operation for each of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import as_dtype
from ..errors import ArgumentTypeError
from ..tape.tensor import wrap
from ..typing import V, Value
from . import comparison, cumulative, elementwise, linalg, reduce, rounding, shape, softmaxes, transcendental
from .dtypes import cast
from .numpy_operands import alike, flat, raw, tensor_of
from .numpy_statistics import STATISTICS

__all__ = ["METHODS", "OPERATORS", "UFUNCS", "WITHOUT_GRADIENT"]

where = elementwise.where
RADIANS, DEGREES = math.pi / 180, 180 / math.pi
LN2 = math.log(2)


def _cbrt(a: Value) -> Any:
    """By powers of positive numbers; its derivative at 0 is infinite."""
    below = a < 0
    # the inner where: the power of a negative number is nan, and so would its gradient be
    return where(below, -(where(below, -a, 1) ** (1 / 3)), where(below, 1, a) ** (1 / 3))


def _of_numbers(f: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    """``f``, but where one of the two is nan the other counts."""

    def choose(a: Value, b: Value) -> Any:
        a, b = tensor_of(a), tensor_of(b)
        return where(b != b, a, where(a != a, b, f(a, b)))  # f gives nan if one of them is

    return choose


def _heaviside(a: Value, b: Value) -> Any:
    a, b = alike(a, b)
    return where(a == 0, b, where(a != a, a, (elementwise.sign(a) + 1) / 2))


def _copysign(a: Value, b: Value) -> Any:
    a, b = alike(a, b)
    direction = np.where(np.signbit(raw(b)), -1, 1).astype(a.dtype)
    return elementwise.absolute(a) * flat(direction, b)  # signbit, not sign: -0.0 counts


def _ldexp(a: Value, exponent: Any) -> Any:
    a = tensor_of(a)
    one: Any = np.ones((), a.dtype)
    return a * wrap(np.asarray(np.ldexp(one, raw(exponent))))


def _frexp(a: Any) -> tuple[Any, Any]:
    exponent = np.asarray(np.frexp(raw(a))[1])
    half = exponent // 2  # in two steps, since 2 to the power of the whole may be too small for a number
    return _ldexp(_ldexp(a, -half), half - exponent), wrap(exponent)


def _modf(a: V) -> tuple[V, V]:
    infinite = comparison.isinf(a)
    # inf - trunc(inf) is nan, and NumPy gives 0
    return where(infinite, 0.0, rounding.frac(where(infinite, 0.0, a))), rounding.trunc(a)


def _float_power(a: Value, b: Value) -> Any:
    a, b = tensor_of(a), tensor_of(b)
    return elementwise.power(*alike(a, b, dtype=np.result_type(a.dtype, b.dtype, np.float64)))


def _logaddexp2(a: Value, b: Value) -> Any:
    a, b = alike(a, b)
    return transcendental.logaddexp(a * LN2, b * LN2) / LN2


def _vecdot(a: Value, b: Value, axis: int = -1, keepdims: bool = False) -> Any:
    a, b = alike(a, b)
    if axis != -1:
        a, b = shape.swapaxes(a, axis, -1), shape.swapaxes(b, axis, -1)
    dots = reduce.sum_over(a * b, -1)
    return shape.unsqueeze(dots, shape.axis_of(axis, dots.ndim + 1)) if keepdims else dots


def _matvec(a: Value, b: Value) -> Any:
    a, b = alike(a, b)
    return linalg.matmul(a, shape.unsqueeze(b, -1))[..., 0]


def _vecmat(a: Value, b: Value) -> Any:
    a, b = alike(a, b)
    return linalg.matmul(shape.unsqueeze(a, -2), b)[..., 0, :]


OPERATORS: dict[Any, Callable[..., Any]] = {
    np.add: elementwise.add,
    np.divide: elementwise.div,
    np.floor_divide: rounding.floor_divide,
    np.left_shift: comparison.bitwise_left_shift,
    np.matmul: linalg.matmul,
    np.multiply: elementwise.mul,
    np.power: elementwise.power,
    np.remainder: rounding.remainder,
    np.right_shift: comparison.bitwise_right_shift,
    np.subtract: elementwise.sub,
    np.divmod: lambda a, b: (rounding.floor_divide(a, b), rounding.remainder(a, b)),
}
"""Those that Python's operators call: whole numbers promote as they do in ``tensor + array``."""

UFUNCS: dict[Any, Callable[..., Any]] = {
    **OPERATORS,
    np.absolute: elementwise.absolute,
    np.arctan2: transcendental.atan2,
    np.cbrt: _cbrt,
    # our forms are for real numbers; a clone, as NumPy's result is no view
    np.conjugate: lambda a: elementwise.clone(a),
    np.copysign: _copysign,
    np.deg2rad: lambda a: a * RADIANS,
    np.degrees: lambda a: a * DEGREES,
    np.fabs: elementwise.absolute,
    np.float_power: _float_power,
    np.fmax: _of_numbers(elementwise.maximum),
    np.fmin: _of_numbers(elementwise.minimum),
    np.frexp: _frexp,
    np.heaviside: _heaviside,
    np.invert: comparison.bitwise_not,
    np.ldexp: _ldexp,
    np.logaddexp2: _logaddexp2,
    np.modf: _modf,
    np.negative: elementwise.neg,
    np.positive: lambda a: elementwise.clone(a),
    np.rad2deg: lambda a: a * DEGREES,
    np.radians: lambda a: a * RADIANS,
    np.rint: rounding.rounded,
    np.vecdot: _vecdot,
}
_SAME_NAME = {
    elementwise: "exp log maximum minimum reciprocal sign sqrt square tanh",
    transcendental: "sin cos tan arcsin arccos arctan sinh cosh arcsinh arccosh arctanh exp2 expm1 log1p log2 log10 "
    "logaddexp hypot",
    rounding: "floor ceil trunc fmod",
    comparison: "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor logical_not "
    "isnan isfinite isinf signbit bitwise_and bitwise_or bitwise_xor",
}
for _module, _names in _SAME_NAME.items():
    UFUNCS.update({getattr(np, _name): getattr(_module, _name) for _name in _names.split()})
UFUNCS[np.equal] = comparison.eq  # equal() compares whole tensors
for _name, _f in {"matvec": _matvec, "vecmat": _vecmat}.items():
    if hasattr(np, _name):  # since NumPy 2.2
        UFUNCS[getattr(np, _name)] = _f

WITHOUT_GRADIENT = {getattr(np, name) for name in _SAME_NAME[comparison].split()}
"""Their results are no numbers that a gradient could flow through."""

# methods -----------------------------------------------------------------------------------------------------------

REDUCTIONS = {np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min}
"""The functions that are a ufunc's ``reduce``, but for the default axis."""
ACCUMULATIONS: dict[Any, Callable[..., Any]] = {
    np.add: cumulative.cumsum,
    np.multiply: cumulative.cumprod,
    np.maximum: lambda a, axis, dtype=None: cumulative.cummax(_typed(a, dtype), axis)[0],
    np.minimum: lambda a, axis, dtype=None: cumulative.cummin(_typed(a, dtype), axis)[0],
}


def _typed(a: Value, dtype: Any) -> Any:
    return a if dtype is None else cast(a, dtype=as_dtype(dtype))


def _reduce(ufunc: Any) -> Callable[..., Any] | None:
    if ufunc is np.logaddexp:
        return _logsumexp
    if ufunc not in REDUCTIONS:
        return None
    reduction, takes_dtype = STATISTICS[REDUCTIONS[ufunc]], ufunc in (np.add, np.multiply)

    def reduce_by(a: Any, axis: Any = 0, dtype: Any = None, out: None = None, keepdims: Any = False,
                  **rest: Any) -> Any:  # fmt: skip
        a = tensor_of(a)
        if takes_dtype:
            return reduction(a, axis, dtype, keepdims=keepdims, **rest)
        return reduction(_typed(a, dtype), axis, keepdims=keepdims, **rest)

    return reduce_by


def _logsumexp(a: Any, axis: Any = 0, dtype: Any = None, out: None = None, keepdims: Any = False) -> Any:
    a = _typed(tensor_of(a), dtype)
    # over no axis; to logsumexp () means all
    return elementwise.clone(a) if axis == () else softmaxes.logsumexp(a, axis, bool(keepdims))


def _accumulate(ufunc: Any) -> Callable[..., Any] | None:
    if ufunc not in ACCUMULATIONS:
        return None
    return lambda a, axis=0, dtype=None, out=None: ACCUMULATIONS[ufunc](tensor_of(a), axis, dtype=dtype)


def _outer(ufunc: Any) -> Callable[..., Any] | None:
    if ufunc not in UFUNCS or ufunc.nin != 2 or ufunc.signature:  # matmul and the like have a signature, and no outer
        return None

    def outer(a: Any, b: Any) -> Any:
        a, b = tensor_of(a), tensor_of(b)
        return UFUNCS[ufunc](shape.reshape(a, (*a.shape, *(1,) * b.ndim)), b)

    return outer


def _at(ufunc: Any) -> Callable[..., Any] | None:
    def at(a: Any, *rest: Any) -> None:
        raise ArgumentTypeError(
            f"np.{ufunc.__name__}.at(): NumPy cannot write into a Tensor, whose history would be lost. Use "
            "x.index_add_(), x.scatter_add_(), or assign: x[index] = ..."
        )

    return at


METHODS: dict[str, Callable[[Any], Callable[..., Any] | None]] = {
    "__call__": UFUNCS.get,
    "reduce": _reduce,
    "accumulate": _accumulate,
    "outer": _outer,
    "at": _at,
}
"""By the name of a method what gives its form for a ufunc, or None where there is none."""

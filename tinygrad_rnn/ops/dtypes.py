"""Element types: names, the default float, conversion, and which type a mixture of types has.

Promotion follows PyTorch: a mixture takes the highest *kind* (bool < integer < float < complex) present; within
that kind only tensors with axes decide the width if there are any of that kind, else 0-d tensors, else Python
numbers.  So ``float32[3] * 2.0`` and ``float32[3] * float64[]`` are float32.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import array_module
from ..errors import ArgumentTypeError, DtypeError, NumberTooLarge
from ..tape.defaults import defaults
from ..tape.primitive import primitive
from ..tape.tensor import Tensor, wrap
from ..typing import DType, Value

__all__ = ["as_dtype", "cast", "fitting", "get_default_dtype", "promote", "promote_types", "result_type"]
__all__ += ["set_default_dtype"]

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def get_default_dtype() -> DType:
    """The float type of ``tensor(1.0)``, ``zeros(3)``, and of integers that meet a float number."""
    return defaults.dtype


def set_default_dtype(dtype: Any) -> None:
    """Set the default float type.

    Raises:
        ArgumentTypeError: not a floating-point type.
    """
    dtype = as_dtype(dtype)
    if dtype.kind != "f":
        raise ArgumentTypeError(f"only floating-point types are supported as the default type, got {dtype}")
    defaults.dtype = dtype


def as_dtype(dtype: Any) -> DType:
    """A NumPy dtype from a dtype, a NumPy scalar type, a name: Python's ``float`` is float64, ``int`` int64."""
    try:
        found: DType = np.dtype(dtype)
    except TypeError as error:
        raise ArgumentTypeError(f"{dtype!r} is not a dtype. Use tinygrad_rnn.float32, int64, bool ...") from error
    return found


def fitting(value: Any, dtype: DType, op: str) -> Any:
    """A number as an entry of ``dtype``: a fraction is cut off, and a negative number wraps in an unsigned type.

    Raises:
        DtypeError: there is no such entry.

    >>> fitting(2.5, np.dtype(np.int64), "fill_"), fitting(-1, np.dtype(np.uint8), "fill_")
    (2, 255)
    """
    if isinstance(value, np.generic):
        value = value.item()
    kind = dtype.kind
    if kind == "b":
        return bool(value)
    try:
        if kind in "iu":
            whole, bounds = int(value), np.iinfo(dtype)
            if (bounds.min if kind == "i" else -bounds.max) <= whole <= bounds.max:
                return whole if whole >= bounds.min else whole + bounds.max + 1
        elif kind == "c" or not abs(float(value)) > float(np.finfo(dtype).max) or abs(value) == np.inf:
            return value
    except (OverflowError, TypeError, ValueError):
        pass
    raise DtypeError(f"value cannot be converted to type {dtype} without overflow: {op}() got {value}")


def _cast_vjp(g: Value, y: Value, a: Value, dtype: DType) -> Value:
    if g.dtype.kind == "c" and a.dtype.kind != "c":  # where the rules for complex gradients would begin
        raise DtypeError(
            f"backward(): a {a.dtype} tensor that requires grad was converted to {dtype}, and gradients of complex "
            "numbers are not supported. Compute with the real and the imaginary part, or detach() what is converted"
        )
    return cast(g, dtype=a.dtype)


cast: Callable[..., Value] = primitive(
    "cast",
    lambda a, dtype: a.astype(dtype),
    (_cast_vjp,),
    ("",),
    doc="The same values in another dtype.",
)


def promote_types(type1: Any, type2: Any) -> DType:
    """The type of a mixture of two tensors of these types."""
    a, b = as_dtype(type1), as_dtype(type2)
    if _RANK[a.kind] == _RANK[b.kind]:
        return np.promote_types(a, b)
    high, low = (a, b) if _RANK[a.kind] > _RANK[b.kind] else (b, a)
    return np.dtype(np.complex128) if high.kind == "c" and low == np.float64 else high


def _combine(higher: DType | None, lower: DType | None) -> DType | None:
    """Priority first, kind second: ``lower`` matters only where its kind is higher."""
    if higher is None or lower is None:
        return lower if higher is None else higher
    return higher if _RANK[higher.kind] >= _RANK[lower.kind] else promote_types(higher, lower)


def result_type(*values: Any) -> DType:
    """The dtype of an operation on these tensors and Python numbers.

    >>> import tinygrad_rnn as tg
    >>> result_type(tg.ones(3), 2.5), result_type(tg.arange(3), 2.5), result_type(tg.arange(3), tg.tensor(True))
    (dtype('float32'), dtype('float32'), dtype('int64'))
    """
    ranked: list[DType | None] = [None, None, None]  # tensors with axes, 0-d tensors, numbers
    for value in values:
        if isinstance(value, np.generic):
            value = value.item()  # NumPy's scalars count as Python numbers
        if isinstance(value, Tensor) or hasattr(value, "dtype"):
            dtype, place = value.dtype, 0 if value.ndim else 1
            if dtype.kind not in _RANK:
                raise ArgumentTypeError(f"new(): invalid data type '{dtype}': a tensor holds numbers")
        else:
            dtype, place = number_type(value), 2
        before = ranked[place]
        ranked[place] = dtype if before is None or before == dtype else promote_types(before, dtype)
    result = _combine(_combine(ranked[0], ranked[1]), ranked[2])
    assert result is not None
    return result


def number_type(value: Any) -> DType:
    """The type that a Python number counts as."""
    if isinstance(value, bool):
        return np.dtype(bool)
    if isinstance(value, int):
        return np.dtype(np.int64)
    if isinstance(value, complex):
        return np.result_type(defaults.dtype, np.complex64)
    return defaults.dtype


def promote(a: Any, b: Any) -> tuple[Value, Value]:
    """Both operands as tensors of their common dtype, converted by recorded casts."""
    dtype = result_type(a, b)
    return _to(a, dtype, b), _to(b, dtype, a)


def _to(value: Any, dtype: DType, like: Any) -> Value:
    if isinstance(value, Tensor):
        return value if value._data.dtype == dtype else cast(value, dtype=dtype)
    if dtype.kind in "iu" and isinstance(value, int):
        value = _low_bits(value, dtype)
    try:
        return wrap(array_module(like._data if isinstance(like, Tensor) else like).asarray(value, dtype))
    except OverflowError as error:
        raise NumberTooLarge(f"Overflow when unpacking long long: {dtype} cannot hold {value}") from error


def _low_bits(number: int, dtype: DType) -> int:
    """A number among the integers of ``dtype``: of one outside them the low bits count, as in arithmetic."""
    bounds = np.iinfo(dtype)
    if bounds.min <= number <= bounds.max or not -(1 << 63) <= number < 1 << 63:  # NumPy refuses such a number
        return number
    low = number & (1 << bounds.bits) - 1
    return low if low <= bounds.max else low - (1 << bounds.bits)


def whole(n: Any) -> int:
    """A size: an int, or what is one by itself, such as a 0-d tensor of integers."""
    try:
        return operator.index(n)
    except TypeError as error:
        raise ArgumentTypeError(f"argument 'size' must be tuple of ints, not {type(n).__name__}: got {n!r}") from error

"""Element types: names, the default float, conversion, and promotion of mixed types.

Promotion follows PyTorch: a mixture takes the highest *kind* (bool < integer < float < complex) present; within
that kind only tensors with axes decide the width if there are any of that kind, else 0-d tensors, else Python
numbers.  So ``float32[3] * 2.0`` and ``float32[3] * float64[]`` are float32.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..backend import NUMBERS, as_dtype, check_numbers, dtype, is_array
from ..backend.quiet import converted
from ..errors import ArgumentTypeError, DtypeError, NumberTooLarge
from ..tape.apply import Applied, primitive
from ..tape.formula import Formula
from ..tape.modes import defaults
from ..tape.tensor import Tensor, wrap
from ..typing import DType, Value

__all__ = ["as_dtype", "can_cast", "cast", "finfo", "fitting", "get_default_dtype", "iinfo", "in_single"]
__all__ += ["promote", "promote_types", "result_type", "set_default_dtype", "single"]

F = TypeVar("F", bound=Callable[..., Any])

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def get_default_dtype() -> dtype:
    """The float type of ``tensor(1.0)``, ``zeros(3)``, and of integers that meet a float number.

    >>> import tinygrad_rnn as tg
    >>> tg.get_default_dtype()
    torch.float32
    """
    return dtype(defaults.dtype)


def set_default_dtype(d: Any) -> None:
    """Set the default float type.

    Raises:
        ArgumentTypeError: not a floating-point type.

    >>> import tinygrad_rnn as tg
    >>> tg.set_default_dtype(tg.float64)
    >>> tg.ones(1).dtype
    torch.float64
    >>> tg.set_default_dtype(tg.float32)
    """
    chosen = as_dtype(d)
    if chosen.kind != "f":
        raise ArgumentTypeError(f"only floating-point types are supported as the default type, got {dtype(chosen)}")
    defaults.dtype = chosen


_NOT_GIVEN: Any = object()


class _Limits:
    """The common base of ``finfo`` and ``iinfo``: facts about one type, printed as PyTorch prints them."""

    __slots__ = ("bits", "dtype", "max", "min")
    dtype: str
    _shown: tuple[str, ...]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.dtype == other.dtype

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = [f"{name}={getattr(self, name):.6g}" for name in self._shown]
        return f"{type(self).__name__}({', '.join(values)}, dtype={self.dtype})"


class finfo(_Limits):
    """The limits of a floating-point type, by default the default type; of a complex type those of its parts.

    Attributes:
        bits: of one number. dtype: the name of the type.
        min, max: the least and the largest finite number.
        eps: the distance from 1 to the next number.
        tiny, smallest_normal: the smallest positive number of full precision.
        resolution: the decimal resolution, ``10 ** -digits``.

    Raises:
        ArgumentTypeError: no floating-point type.

    >>> import tinygrad_rnn as tg
    >>> tg.finfo(tg.float16).max, tg.finfo().dtype, tg.finfo(tg.float64).resolution
    (65504.0, 'float32', 1e-15)
    """

    __slots__ = ("eps", "resolution", "smallest_normal", "tiny")
    _shown = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")

    def __init__(self, type: Any = _NOT_GIVEN) -> None:
        of_numpy = defaults.dtype if type is _NOT_GIVEN else _of_argument(type, "finfo")
        if of_numpy.kind not in "fc":
            raise ArgumentTypeError(
                f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{dtype(of_numpy)}'"
            )
        facts = np.finfo(of_numpy)
        self.bits, self.dtype = facts.bits, facts.dtype.name
        self.min, self.max, self.eps = float(facts.min), float(facts.max), float(facts.eps)
        self.tiny = self.smallest_normal = float(facts.smallest_normal)
        self.resolution = float(f"1e-{facts.precision}")  # float() of NumPy's would show the rounding of the type


class iinfo(_Limits):
    """The limits of an integer type.

    Attributes:
        bits: of one number. dtype: the name of the type. min, max: the least and the largest number.

    Raises:
        ArgumentTypeError: no integer type.

    >>> import tinygrad_rnn as tg
    >>> tg.iinfo(tg.int8)
    iinfo(min=-128, max=127, dtype=int8)
    """

    __slots__ = ()
    _shown = ("min", "max")

    def __init__(self, type: Any) -> None:
        of_numpy = _of_argument(type, "iinfo")
        if of_numpy.kind == "b":
            raise ArgumentTypeError("torch.bool is not supported by torch.iinfo")
        if of_numpy.kind not in "iu":
            raise ArgumentTypeError(
                f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{dtype(of_numpy)}'"
            )
        facts = np.iinfo(of_numpy)
        self.bits, self.dtype, self.min, self.max = facts.bits, of_numpy.name, int(facts.min), int(facts.max)


def _of_argument(value: Any, op: str) -> np.dtype[Any]:
    try:
        return as_dtype(value)
    except ArgumentTypeError:
        kind = type(value).__name__
        raise ArgumentTypeError(f"{op}(): argument 'type' (position 1) must be torch.dtype, not {kind}") from None


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
    if isinstance(value, complex) and kind != "c" and not value.imag:  # PyTorch takes 1 + 0j for 1
        value = value.real
    try:
        if kind in "iu":
            whole, bounds = int(value), np.iinfo(dtype)
            if (bounds.min if kind == "i" else -bounds.max) <= whole <= bounds.max:
                return whole if whole >= bounds.min else whole + bounds.max + 1
        # not abs(...) > max: so a nan passes
        elif kind == "c" or not abs(float(value)) > float(np.finfo(dtype).max) or abs(value) == np.inf:
            return value
    except (OverflowError, TypeError, ValueError):
        pass
    raise DtypeError(f"value cannot be converted to type {dtype.name} without overflow: {op}() got {value}")


def _cast_vjp(g: Value, y: Value, a: Value, dtype: DType) -> Value:
    if g.dtype.kind == "c" and a.dtype.kind != "c":  # complex gradients would begin here
        raise DtypeError(
            f"backward(): a {a.dtype} tensor that requires grad was converted to {dtype}, and gradients of complex "
            "numbers are not supported. Compute with the real and the imaginary part, or detach() what is converted"
        )
    return cast(g, dtype=a.dtype)


cast: Applied = primitive(
    "cast",
    # .real, because NumPy warns of the imaginary part that it drops
    lambda a, dtype: (a if a.dtype.kind != "c" or dtype.kind in "cb" else a.real).astype(dtype),
    _cast_vjp,
    formula=Formula("a", a=r"\bar{y}"),
    doc="The same values in another dtype.",
)


def single(x: Any) -> Any:
    """A tensor or array of float16 in float32; anything else as it is."""
    array = x._data if isinstance(x, Tensor) else x
    if isinstance(array, (np.generic, np.ndarray)) or is_array(array):
        return cast(x, dtype=np.dtype(np.float32)) if array.dtype.char == "e" else x
    return x


def _wider(x: Any) -> bool:
    """Whether it is of a type that float16 is promoted to."""
    array = x._data if isinstance(x, Tensor) else x
    return isinstance(array, np.ndarray) and array.dtype.char in "fdFD"


def in_single(f: F) -> F:
    """``f``, computed in float32 where its first argument is of float16, and the result rounded once.

    float16 has 11 bits and ends at 65504: squares overflow from 256 on and vanish below 2e-4, and a sum of a
    thousand terms loses its digits.  PyTorch, too, computes in float32 what takes more than one operation.
    """

    @functools.wraps(f)
    def apply(a: Any, *args: Any, **params: Any) -> Any:
        if type(a) is np.ndarray and a.itemsize != 2:  # the usual case, in a third of the time
            return f(a, *args, **params)
        dtype = getattr(a._data if isinstance(a, Tensor) else a, "dtype", None)
        # beside a wider operand the result is not float16
        if dtype is None or dtype.char != "e" or any(map(_wider, args)):
            return f(a, *args, **params)
        named = {name: single(x) for name, x in params.items()}
        found = f(single(a), *map(single, args), **named)
        return None if found is None else cast(found, dtype=np.dtype(np.float16))  # a vjp may have no gradient to give

    return apply  # type: ignore[return-value]


def promote_types(type1: Any, type2: Any) -> dtype:
    """The type of a mixture of two tensors of these types.

    >>> import tinygrad_rnn as tg
    >>> tg.promote_types(tg.float16, tg.int64), tg.promote_types(tg.int8, tg.uint8)
    (torch.float16, torch.int16)
    """
    return dtype(common_type(as_dtype(type1, "promote_types"), as_dtype(type2, "promote_types")))


def can_cast(from_: Any, to: Any) -> bool:
    """Whether a result of the first type may be written to a tensor of the second: its kind is not higher.

    >>> import tinygrad_rnn as tg
    >>> tg.can_cast(tg.float64, tg.float16), tg.can_cast(tg.float32, tg.int64), tg.can_cast(tg.int8, tg.uint8)
    (True, False, True)
    """
    return _RANK[as_dtype(from_, "can_cast").kind] <= _RANK[as_dtype(to, "can_cast").kind]


def common_type(a: DType, b: DType) -> np.dtype[Any]:
    """``promote_types`` of NumPy's dtypes, as a NumPy dtype."""
    if _RANK[a.kind] == _RANK[b.kind]:  # within a kind NumPy and PyTorch agree
        return np.promote_types(a, b)
    # NumPy would widen: int32 and float32 to float64, int64 and complex64 to complex128
    high, low = (a, b) if _RANK[a.kind] > _RANK[b.kind] else (b, a)
    return np.dtype(np.complex128) if high.kind == "c" and low == np.float64 else np.dtype(high)


def _combine(higher: np.dtype[Any] | None, lower: np.dtype[Any] | None) -> np.dtype[Any] | None:
    """Priority first, kind second: ``lower`` matters only where its kind is higher."""
    if higher is None or lower is None:
        return lower if higher is None else higher
    return higher if _RANK[higher.kind] >= _RANK[lower.kind] else common_type(higher, lower)


def result_type(*values: Any) -> dtype:
    """The dtype of an operation on these tensors and Python numbers.

    >>> import tinygrad_rnn as tg
    >>> result_type(tg.ones(3), 2.5), result_type(tg.arange(3), 2.5), result_type(tg.arange(3), tg.tensor(True))
    (torch.float32, torch.float32, torch.int64)
    """
    return dtype(mixed_type(*values))


def mixed_type(*values: Any) -> np.dtype[Any]:
    """``result_type`` as a NumPy dtype."""
    ranked: list[np.dtype[Any] | None] = [None, None, None]  # tensors with axes, 0-d tensors, numbers
    for value in values:
        raw = value._data if isinstance(value, Tensor) else value
        if isinstance(raw, np.generic):  # counts as a Python number
            found, place = number_type(raw.item()), 2
        elif hasattr(raw, "ndim"):
            found, place = raw.dtype, 0 if raw.ndim else 1
            if found not in NUMBERS:
                found = found.newbyteorder("=")  # another byte order is fine: the cast converts it
                check_numbers(found)
        else:
            found, place = number_type(value), 2
        before = ranked[place]
        ranked[place] = found if before is None or before == found else common_type(before, found)
    result = _combine(_combine(ranked[0], ranked[1]), ranked[2])
    assert result is not None
    return result


def number_type(value: Any) -> np.dtype[Any]:
    """The type that a Python number counts as."""
    if isinstance(value, bool):
        return np.dtype(bool)
    if isinstance(value, int):
        return np.dtype(np.int64)
    if isinstance(value, (complex, np.complexfloating)):  # a long double stays one as an item
        return np.result_type(defaults.dtype, np.complex64)
    return defaults.dtype


def promote(a: Any, b: Any) -> tuple[Value, Value]:
    """Both operands as tensors of their common dtype, converted by recorded casts."""
    found = mixed_type(a, b)
    return _to(a, found, b), _to(b, found, a)


def _to(value: Any, dtype: DType, like: Any) -> Value:
    if isinstance(value, Tensor):
        return value if value._data.dtype == dtype else cast(value, dtype=dtype)
    if dtype.kind in "iu" and isinstance(value, int):
        value = _low_bits(value, dtype)
    try:
        return wrap(converted(value, dtype, like._data if isinstance(like, Tensor) else like))
    except OverflowError as error:
        raise NumberTooLarge(f"Overflow when unpacking long long: {dtype} cannot hold {value}") from error


def _low_bits(number: int, dtype: DType) -> int:
    """A number as an integer of ``dtype``: outside its range the low bits count, as in arithmetic."""
    bounds = np.iinfo(dtype)
    if bounds.min <= number <= bounds.max or not -(1 << 63) <= number < 1 << 63:  # NumPy refuses such a number
        return number
    low = number & (1 << bounds.bits) - 1
    return low if low <= bounds.max else low - (1 << bounds.bits)


def whole(n: Any) -> int:
    """A size: an int, or a value that converts to one without loss, such as a 0-d tensor of integers."""
    try:
        return operator.index(n)
    except TypeError as error:
        raise ArgumentTypeError(f"argument 'size' must be tuple of ints, not {type(n).__name__}: got {n!r}") from error

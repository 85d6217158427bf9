"""Plain data that JSON lacks: each kind as a tag, its parts (plain data again), and how it is made of them.

The makers are given whatever a file holds.  They take parts of the right types only, make nothing that is larger than
its parts, and may raise anything: the reader says what it was.
"""

from __future__ import annotations

import datetime
import pathlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

__all__ = ["KINDS", "MAKERS", "NAMES_OF_TYPES", "TYPES", "scalar_of", "scalar_parts"]

LONGEST_FRACTION = 1 << 14  # bits: a fraction is reduced when it is made, in quadratic time


class Kind(NamedTuple):
    """One kind of plain data."""

    tag: str
    apart: Callable[[Any], Sequence[Any]]
    make: Callable[..., Any]


def _need(what: type | tuple[type, ...], *parts: Any) -> None:
    for part in parts:
        # isinstance() counts bool as an int; True would come back as another value than it was.
        if not isinstance(part, what) or (isinstance(part, bool) and what is not bool):
            raise TypeError(f"a {type(part).__name__} where another type belongs")


def _complex(re: Any, im: Any) -> complex:
    _need((int, float), re, im)
    return complex(re, im)


def _deque(values: Any, longest: Any) -> deque[Any]:
    _need(list, values)
    return deque(values, longest)


def _decimal(text: Any) -> Decimal:
    _need(str, text)
    return Decimal(text)


def _fraction(numerator: Any, denominator: Any) -> Fraction:
    _need(int, numerator, denominator)
    if max(numerator.bit_length(), denominator.bit_length()) > LONGEST_FRACTION:
        raise ValueError("a fraction of more than 16,384 bits")
    return Fraction(numerator, denominator)


def _fraction_parts(value: Fraction) -> Sequence[Any]:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > LONGEST_FRACTION:
        raise ValueError("is a fraction of more than 16,384 bits")
    return value.numerator, value.denominator


def _zone(zone: Any) -> Any:
    if zone is not None:
        _need(datetime.timezone, zone)
    return zone


def _time(hour: Any, minute: Any, second: Any, microsecond: Any, fold: Any, zone: Any) -> datetime.time:
    return datetime.time(hour, minute, second, microsecond, _zone(zone), fold=fold)


def _datetime(*parts: Any) -> datetime.datetime:
    *numbers, fold, zone = parts
    _need(int, *numbers)  # a byte string would be taken for a pickled state
    made: Any = datetime.datetime(*numbers, fold=fold)
    return made.replace(tzinfo=_zone(zone))  # type: ignore[no-any-return]


def _date(year: Any, month: Any, day: Any) -> datetime.date:
    _need(int, year, month, day)
    return datetime.date(year, month, day)


def _clock(value: datetime.time | datetime.datetime) -> Sequence[Any]:
    return value.hour, value.minute, value.second, value.microsecond, value.fold, value.tzinfo


def _path(kind: type[pathlib.PurePath]) -> Callable[[Any], pathlib.PurePath]:
    def make(text: Any) -> pathlib.PurePath:
        _need(str, text)
        return kind(text)

    return make


def _parts_of_path(value: pathlib.PurePath) -> Sequence[Any]:
    return (value.as_posix(),)


KINDS: dict[type, Kind] = {
    complex: Kind("complex", lambda value: (value.real, value.imag), _complex),
    range: Kind("range", lambda value: (value.start, value.stop, value.step), range),
    type(...): Kind("ellipsis", lambda value: (), lambda: ...),
    slice: Kind("slice", lambda value: (value.start, value.stop, value.step), slice),
    deque: Kind("deque", lambda value: (list(value), value.maxlen), _deque),
    Decimal: Kind("decimal", lambda value: (str(value),), _decimal),
    Fraction: Kind("fraction", _fraction_parts, _fraction),
    datetime.date: Kind("date", lambda value: (value.year, value.month, value.day), _date),
    datetime.time: Kind("time", _clock, _time),
    datetime.datetime: Kind("datetime", lambda value: (value.year, value.month, value.day, *_clock(value)), _datetime),
    datetime.timedelta: Kind(
        "timedelta", lambda value: (value.days, value.seconds, value.microseconds), datetime.timedelta
    ),
    datetime.timezone: Kind("timezone", lambda value: value.__getinitargs__(), datetime.timezone),
    type(pathlib.Path()): Kind("path", _parts_of_path, _path(pathlib.Path)),
    pathlib.PurePosixPath: Kind("posix_path", _parts_of_path, _path(pathlib.PurePosixPath)),
    pathlib.PureWindowsPath: Kind("windows_path", _parts_of_path, _path(pathlib.PureWindowsPath)),
}
"""By the type of the value, exactly."""

MAKERS = {kind.tag: kind.make for kind in KINDS.values()}

SCALARS = (
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
    + ["float16", "float32", "float64", "complex64", "complex128"]
)  # fmt: skip
"""NumPy's types of numbers that are the same on every machine."""

TYPES: dict[str, type] = {f"numpy.{name}": np.dtype(name).type for name in SCALARS}
TYPES |= {f"numpy.{kind.__name__}": kind for kind in (np.str_, np.bytes_, np.datetime64, np.timedelta64)}
TYPES |= {
    kind.__name__: kind
    for kind in (bool, bytearray, bytes, complex, deque, dict, float, int, list, set, str, tuple, Counter, OrderedDict)
}
"""Classes that a file refers to by name, such as the factory of a defaultdict."""

NAMES_OF_TYPES = {kind: name for name, kind in TYPES.items()}


def scalar_parts(value: np.generic) -> tuple[str, Any] | None:
    """The dtype of a NumPy scalar and its value as plain data; None for one that has no such form.

    >>> scalar_parts(np.float16(0.5)), scalar_parts(np.datetime64("1970-01-02"))
    (('float16', 0.5), ('datetime64[D]', 1))
    """
    dtype = value.dtype
    if dtype.kind in "mM":
        return dtype.name, int(value.view(np.int64))
    if dtype.kind in "US":
        return dtype.str, value.item()
    return (dtype.name, value.item()) if dtype.name in SCALARS else None


def scalar_of(name: Any, value: Any) -> np.generic:
    """The NumPy scalar of that dtype and value.

    Raises:
        Exception: of any kind, if they do not fit.
    """
    _need(str, name)
    dtype = np.dtype(name)
    made: Any
    if dtype.kind in "mM":
        made = np.array(value, np.int64).view(dtype)[()]
    elif dtype.kind in "US":
        # np.str_ derives from str, np.bytes_ from bytes.
        _need(dtype.type.__base__, value)
        made = dtype.type(value)
    else:
        if dtype.name not in SCALARS:
            raise ValueError("no scalars have this dtype")
        wanted: Any = {"b": bool, "i": int, "u": int, "f": (int, float), "c": (int, float, complex)}[dtype.kind]
        _need(wanted, value)
        # A number beyond the range of float16 becomes an infinity, and is no fault of the program that reads it.
        with np.errstate(all="ignore"):
            made = dtype.type(value)
    # NumPy makes an array out of a list that stands where the number belongs.
    _need(np.generic, made)
    scalar: np.generic = made
    return scalar

"""``assert_close``: equality up to rounding of two values or nested structures of values.

Signature, default tolerances and messages are those of ``torch.testing.assert_close``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..backend import is_array, to_numpy
from ..errors import ArgumentError, ArgumentTypeError, TinygradRnnError
from ..ops.dtypes import promote_types
from ..tape.tensor import Tensor, as_array, wrap
from ..typing import Size

__all__ = ["CheckFailed", "assert_close"]

__tracebackhide__ = True  # pytest shows the line that called us, not ours

TOLERANCES = {  # dtype: (rtol, atol); all other types must be equal
    "float16": (1e-3, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}
Message = str | Callable[[str], str] | None


class CheckFailed(TinygradRnnError, AssertionError):
    """An assertion of this package does not hold.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn import testing
    >>> issubclass(testing.CheckFailed, AssertionError)
    True
    """


class _Options:
    """The keyword arguments of one call."""

    def __init__(self, rtol: float | None, atol: float | None, equal_nan: bool, msg: Message, **checks: bool) -> None:
        self.rtol, self.atol, self.equal_nan, self.msg, self.checks = rtol, atol, equal_nan, msg, checks

    def tolerances(self, where: tuple[Any, ...], *dtypes: str) -> tuple[float, float]:
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        if self.rtol is not None or self.atol is not None:
            missing = "rtol" if self.rtol is None else "atol"
            raise ArgumentError(
                self.text(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}.", where)
            )
        pairs = [TOLERANCES.get(name, (0.0, 0.0)) for name in dtypes]
        return max(rtol for rtol, _ in pairs), max(atol for _, atol in pairs)

    def text(self, generated: str, where: tuple[Any, ...]) -> str:
        if isinstance(self.msg, str):
            return self.msg
        if where:
            generated += f"\n\nThe failure occurred for item {''.join(str([k]) for k in where)}"
        return generated if self.msg is None else self.msg(generated)

    def fail(self, generated: str, where: tuple[Any, ...]) -> CheckFailed:
        return CheckFailed(self.text(generated, where))


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Message = None,
) -> None:
    """Assert ``|actual - expected| <= atol + rtol * |expected|`` for every entry.

    Args:
        actual, expected: tensors, arrays, numbers, bools, None, or sequences and mappings of these.
        allow_subclasses: tensors of related types may be compared.
        rtol, atol: both or neither; by default they follow the dtype: float32 (1.3e-6, 1e-5), float64 (1e-7, 1e-7),
            float16 (1e-3, 1e-5), integers and bools must be equal.
        equal_nan: nan equals nan.
        check_device, check_dtype, check_stride: what else must agree.
        check_layout: accepted for PyTorch's signature; tensors here are dense.
        msg: replaces the message; or a function of the message that returns another one.

    Raises:
        CheckFailed: an AssertionError that says how many entries differ, by how much at most, and where.
        ArgumentError: only one of ``rtol`` and ``atol`` was given.

    >>> import tinygrad_rnn as tg
    >>> tg.testing.assert_close(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.1]))
    Traceback (most recent call last):
    tinygrad_rnn.testing.close.CheckFailed: Tensor-likes are not close!
    <BLANKLINE>
    Mismatched elements: 1 / 2 (50.0%)
    Greatest absolute difference: 0.09999990463256836 at index (1,) (up to 1e-05 allowed)
    Greatest relative difference: 0.04761900380253792 at index (1,) (up to 1.3e-06 allowed)
    """
    options = _Options(
        rtol,
        atol,
        equal_nan,
        msg,
        device=check_device,
        dtype=check_dtype,
        stride=check_stride,
        strict=not allow_subclasses,
    )
    _compare(actual, expected, (), options)


def _compare(actual: Any, expected: Any, where: tuple[Any, ...], options: _Options) -> None:
    """Compare two values, walking into sequences and mappings."""
    both = actual, expected
    # A string is a sequence of strings, without end.
    if all(isinstance(x, Sequence) and not isinstance(x, str) for x in both):
        if len(actual) != len(expected):
            raise options.fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", where)
        for k, (a, b) in enumerate(zip(actual, expected, strict=True)):
            _compare(a, b, (*where, k), options)
    elif all(isinstance(x, Mapping) for x in both):
        _compare_mappings(actual, expected, where, options)
    elif actual is None or expected is None:
        if actual is not expected:
            raise options.fail(f"None mismatch: {actual} is not {expected}", where)
    elif all(isinstance(x, (bool, np.bool_)) for x in both):
        if bool(actual) is not bool(expected):
            raise options.fail(f"Booleans mismatch: {bool(actual)} is not {bool(expected)}", where)
    # After bools, which are ints.
    elif all(isinstance(x, (int, float, complex, np.number)) for x in both):
        _compare_numbers(_python(actual), _python(expected), where, options)
    elif all(isinstance(x, Tensor) or is_array(x) for x in both) and _related(actual, expected, options):
        _compare_tensors(actual, expected, where, options)
    else:
        raise ArgumentTypeError(
            options.text(
                f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.", where
            )
        )


def _compare_mappings(actual: Any, expected: Any, where: tuple[Any, ...], options: _Options) -> None:
    if set(actual) != set(expected):
        missing, additional = set(expected) - set(actual), set(actual) - set(expected)
        raise options.fail(
            "The keys of the mappings do not match:\n"
            f"Missing keys in the actual mapping: {sorted(missing)}\n"
            f"Additional keys in the actual mapping: {sorted(additional)}",
            where,
        )
    for key in expected:
        _compare(actual[key], expected[key], (*where, key), options)


def _related(actual: Any, expected: Any, options: _Options) -> bool:
    if options.checks["strict"] and type(actual) is not type(expected):
        return False
    return isinstance(actual, type(expected)) or isinstance(expected, type(actual))


def _python(x: Any) -> Any:
    return x.item() if isinstance(x, np.number) else x


def _compare_numbers(actual: Any, expected: Any, where: tuple[Any, ...], options: _Options) -> None:
    names = {int: "int64", float: "float64", complex: "complex128", bool: "bool"}
    rtol, atol = options.tolerances(where, names[type(actual)], names[type(expected)])
    if options.checks["dtype"] and type(actual) is not type(expected):
        raise options.fail(f"The (d)types do not match: {type(actual)} != {type(expected)}.", where)
    # First of all: equal infinities have a gap of nan.
    if actual == expected or (options.equal_nan and actual != actual and expected != expected):
        return
    gap = abs(actual - expected)
    # An infinite gap is refused although rtol times an infinite ``expected`` would allow it.
    if not (math.isfinite(gap) and gap <= atol + rtol * abs(expected)):
        raise options.fail(_scalars(actual, expected, rtol, atol), where)


def _compare_tensors(actual: Any, expected: Any, where: tuple[Any, ...], options: _Options) -> None:
    first, second = (x if isinstance(x, Tensor) else wrap(as_array(x)) for x in (actual, expected))
    rtol, atol = options.tolerances(where, first.dtype.name, second.dtype.name)
    for name, checked, get in ATTRIBUTES:
        if (checked is None or options.checks[checked]) and get(first) != get(second):
            raise options.fail(
                f"The values for attribute '{name}' do not match: {_show(get(first))} != {_show(get(second))}.", where
            )
    a, b = to_numpy(first._data), to_numpy(second._data)
    # Types that differ were allowed above; compared in the wider one, nothing is rounded.
    if a.dtype != b.dtype:
        dtype = promote_types(a.dtype, b.dtype)
        a, b = a.astype(dtype), b.astype(dtype)
    with np.errstate(all="ignore"):
        matches = np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=options.equal_nan)
    if matches.all():
        return
    if a.ndim == 0:
        raise options.fail(_scalars(a.item(), b.item(), rtol, atol), where)
    raise options.fail(_statistics(a, b, matches, rtol, atol), where)


ATTRIBUTES: list[tuple[str, str | None, Callable[[Tensor], Any]]] = [
    ("shape", None, lambda t: t.shape),
    ("stride()", "stride", lambda t: tuple(s // t.itemsize for s in t._data.strides)),
    ("device", "device", lambda t: t.device),
    ("dtype", "dtype", lambda t: t.dtype),
]


def _show(value: Any) -> str:
    return repr(value) if isinstance(value, Size) else str(value)


def _scalars(actual: Any, expected: Any, rtol: float, atol: float) -> str:
    gap = abs(actual - expected)
    relative = float("inf") if expected == 0 else gap / abs(expected)
    head = f"Expected {expected} but got {actual}."
    lines = [
        head,
        *(
            f"{kind} difference: {value}{_allowed(tol, rtol, atol)}"
            for kind, value, tol in (
                ("Absolute", gap, atol),
                ("Relative", relative, rtol),
            )
        ),
    ]
    return f"Scalars are not {_word(rtol, atol)}!\n\n" + "\n".join(lines)


def _statistics(a: Any, b: Any, matches: Any, rtol: float, atol: float) -> str:
    """The number of entries that differ, and the places of the largest differences."""
    if a.dtype.kind in "biu":  # differences of bools are undefined, those of unsigned integers wrap around
        a, b = a.astype(np.int64), b.astype(np.int64)
    wrong, total = int((~matches).sum()), matches.size
    with np.errstate(all="ignore"):
        absolute = np.where(matches, 0, np.abs(a - b))
        relative = np.where(matches, 0, absolute / np.abs(b))
    lines = [f"Mismatched elements: {wrong} / {total} ({wrong / total:.1%})"]
    for kind, gaps, tol in (("absolute", absolute, atol), ("relative", relative, rtol)):
        place = tuple(int(k) for k in np.unravel_index(int(np.argmax(gaps)), gaps.shape))
        value = gaps[place].item()
        lines.append(f"Greatest {kind} difference: {value} at index {place}{_allowed(tol, rtol, atol)}")
    return f"Tensor-likes are not {_word(rtol, atol)}!\n\n" + "\n".join(lines)


def _word(rtol: float, atol: float) -> str:
    return "equal" if rtol == 0 and atol == 0 else "close"


def _allowed(tolerance: float, rtol: float, atol: float) -> str:
    return "" if rtol == 0 and atol == 0 else f" (up to {tolerance} allowed)"

"""Rounding, integer division, remainders, and clamping to a range."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import not_implemented, only
from ..errors import ArgumentRuntimeError, UnsupportedDtype
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..tape.tensor import Tensor
from ..typing import Array, V, Value
from .dtypes import cast, mixed_type, promote
from .elementwise import _typed, div, where, zeros_of
from .shape import sum_to

__all__ = ["ceil", "clamp", "clamp_max", "clamp_min", "clip", "divide_rounded", "fix", "floor", "floor_divide", "fmod"]
__all__ += ["frac", "remainder", "trunc"]


def _unrounded(name: str, a: Array) -> UnsupportedDtype:
    if a.dtype.kind == "c":
        return UnsupportedDtype(f"{name} is not supported for complex inputs")
    return not_implemented(f"{name}_vml_cpu", a.dtype)


def _whole(name: str, ufunc: Any, formula: str, doc: str) -> Any:
    """A rounding function: whole numbers stay as they are, and the derivative is 0."""

    def forward(a: Array) -> Array:
        if a.dtype.kind == "f":
            found: Array = ufunc(a)
            return found
        if a.dtype.kind in "iu":
            return a.copy()  # a result of its own, no view
        raise _unrounded(name, a)

    return primitive(
        name, forward, lambda g, y, a: zeros_of(g), formula=Formula(formula, a="0"), doc=f"{doc}  Its derivative is 0."
    )


floor = _whole("floor", np.floor, r"\lfloor a \rfloor", "The largest whole number not above a.")
ceil = _whole("ceil", np.ceil, r"\lceil a \rceil", "The smallest whole number not below a.")
trunc = _whole("trunc", np.trunc, r"\operatorname{trunc}(a)", "a without its fraction, rounded towards 0.")
fix = trunc
frac = primitive(
    "frac",
    only("f", "frac_cpu", lambda a: a - np.trunc(a)),
    lambda g, y, a: g,
    formula=Formula(r"a - \operatorname{trunc}(a)", a=r"\bar{y}"),
    doc="a - trunc(a)",
)

_round = primitive(
    "round",
    only("fiu", "round_vml_cpu", lambda a, decimals: np.round(a, decimals) if a.dtype.kind == "f" else a.copy()),
    lambda g, y, a, decimals: zeros_of(g),
    formula=Formula(r"10^{-d} \operatorname{round}(10^{d} a)", a="0"),
)


def rounded(a: V, *, decimals: int = 0) -> V:
    """The nearest multiple of ``10**-decimals``, the even one at a tie.  Its derivative is 0."""
    return _round(a, decimals=decimals)


# quotients and remainders ------------------------------------------------------------------------------------------


def _checked(ufunc: Any) -> Any:
    """Whole numbers divided by zero are an error, as in Python and PyTorch; NumPy would give 0."""

    def forward(a: Array, b: Array) -> Array:
        result: Array = ufunc(a, b)
        if result.dtype.kind in "biu" and not np.all(b):  # of floats the quotient is infinite, which is a result
            raise ArgumentRuntimeError("ZeroDivisionError: an integer was divided by 0. Divide floating-point tensors")
        return result

    return forward


def _truncated(a: Array, b: Array) -> Array:
    # exact: a / b of large integers is rounded in float64
    return np.trunc(a / b) if a.dtype.kind == "f" else (a - np.fmod(a, b)) // b


floor_divide = primitive(
    "floor_divide",
    _checked(np.floor_divide),
    (lambda g, y, a, b: sum_to(zeros_of(g), a.shape), lambda g, y, a, b: sum_to(zeros_of(g), b.shape)),
    formula=Formula(r"\lfloor \frac{a}{b} \rfloor", a="0", b="0"),
    promote=promote,
    scales=True,
    doc="The largest whole number not above a / b.  Its derivative is 0.",
)
remainder = primitive(
    "remainder",
    _checked(np.remainder),
    (lambda g, y, a, b: sum_to(g, a.shape), lambda g, y, a, b: sum_to(-g * floor_divide(a, b), b.shape)),
    ("", "ab"),
    formula=Formula(
        r"a - b \odot \lfloor \frac{a}{b} \rfloor",
        a=r"\operatorname{sum}_{a}(\bar{y})",
        b=r"-\operatorname{sum}_{b}(\bar{y} \odot \lfloor \frac{a}{b} \rfloor)",
    ),
    promote=promote,
    doc="a - b * floor(a / b), of the sign of b.",
)
_truncated_divide = primitive(
    "truncated_divide",
    _checked(_truncated),
    (lambda g, y, a, b: sum_to(zeros_of(g), a.shape), lambda g, y, a, b: sum_to(zeros_of(g), b.shape)),
    formula=Formula(r"\operatorname{trunc}(\frac{a}{b})", a="0", b="0"),
    promote=promote,
    scales=True,
)
fmod = primitive(
    "fmod",
    _checked(np.fmod),
    (lambda g, y, a, b: sum_to(g, a.shape), lambda g, y, a, b: sum_to(-g * _truncated_divide(a, b), b.shape)),
    ("", "ab"),
    formula=Formula(
        r"a - b \odot \operatorname{trunc}(\frac{a}{b})",
        a=r"\operatorname{sum}_{a}(\bar{y})",
        b=r"-\operatorname{sum}_{b}(\bar{y} \odot \operatorname{trunc}(\frac{a}{b}))",
    ),
    promote=promote,
    binds=False,
    doc="a - b * trunc(a / b), of the sign of a.",
)


def divide_rounded(a: V, b: V, rounding_mode: str | None) -> V:
    """a / b, its whole part towards 0 (``"trunc"``), or the whole number below (``"floor"``)."""
    if rounding_mode is None:
        return div(a, b)
    if rounding_mode not in ("trunc", "floor"):
        raise ArgumentRuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    return floor_divide(a, b) if rounding_mode == "floor" else _truncated_divide(a, b)


# ranges ------------------------------------------------------------------------------------------------------------


def _inside(g: Value, y: Any, a: Value, low: Any, high: Any) -> Value:
    """The gradient where ``a`` is inside the bounds or at one; 0 outside."""
    inside = (a >= low) if high is None else (a <= high) if low is None else (a >= low) & (a <= high)
    return where(inside, g, 0)  # and not g * inside, which is nan for an infinite g


_clamp_number = primitive(
    "clamp_number",
    lambda a, low, high: np.clip(a, low, high),
    _inside,
    "a",
    formula=Formula(r"\min(\max(a, l), u)", a=r"\bar{y} \odot [l \le a \le u]"),
)


def _below(g: Value, y: Any, a: Value, low: Value, high: Any) -> Value:
    # where the bounds cross, high wins, and low gets nothing
    return sum_to(where(a < low if high is None else (a < low) & (low < high), g, 0), low.shape)


def _above(g: Value, y: Any, a: Value, low: Any, high: Value) -> Value:
    # where they cross, high is the result everywhere
    return sum_to(where(a > high if low is None else (a > high) | (low > high), g, 0), high.shape)


_clamp = primitive(
    "clamp",
    lambda a, low, high: np.clip(a, low, high),
    (lambda g, y, a, low, high: sum_to(_inside(g, y, a, low, high), a.shape), _below, _above),
    ("abc", "abc", "abc"),
    formula=Formula(
        r"\min(\max(a, l), u)",
        a=r"\operatorname{sum}_{a}(\bar{y} \odot [l \le a \le u])",
        low=r"\operatorname{sum}_{l}(\bar{y} \odot [a < l < u])",
        high=r"\operatorname{sum}_{u}(\bar{y} \odot [a > u \lor l > u])",
    ),
    doc="a, kept between two tensors, one of which may be None; nan if one of the three is nan.",
)


def clamp(a: V, min: Any = None, max: Any = None) -> V:
    """``a`` limited to the range from ``min`` to ``max``: numbers, tensors, or None for no limit.

    The derivative is 1 inside and at a bound, 0 outside; a bound that is a tensor gets the gradient of the entries
    that it replaced.
    """
    if min is None and max is None:
        raise ArgumentRuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    bounds = [bound for bound in (min, max) if bound is not None]
    dtype = mixed_type(a, *bounds)
    if dtype.kind == "c":
        raise UnsupportedDtype("clamp is not supported for complex types")
    a = a if a.dtype == dtype else cast(a, dtype=dtype)
    # numbers get no gradient, and need no casts
    if not any(isinstance(bound, Tensor) or hasattr(bound, "shape") for bound in bounds):
        return _clamp_number(a, low=min, high=max)
    min, max = [b if b is None else _typed(b, dtype, a) for b in (min, max)]
    clamped: V = _clamp(a, min, max)
    return clamped


clip = clamp


def clamp_min(a: V, min: Any) -> V:
    """``a`` limited from below."""
    return clamp(a, min)


def clamp_max(a: V, max: Any) -> V:
    """``a`` limited from above."""
    return clamp(a, None, max)

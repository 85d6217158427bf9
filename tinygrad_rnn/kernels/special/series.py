"""What special functions are made of: sums of Chebyshev polynomials, quotients of polynomials, float64 inside."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...backend.quiet import unreported
from ...typing import Array

__all__ = ["chebyshev", "in_double", "polynomial", "ratio"]


def in_double(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` in float64, and its result in the dtype of the first array of floats."""

    @functools.wraps(f)
    @unreported
    def apply(*arrays: Any, **params: Any) -> Any:
        dtype = next((a.dtype for a in arrays if hasattr(a, "dtype") and a.dtype.kind == "f"), np.float64)
        wide = [a.astype(np.float64) if hasattr(a, "dtype") else np.float64(a) for a in arrays]
        return f(*wide, **params).astype(dtype)

    return apply


def polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """The polynomial at x by Horner's rule; the coefficient of the highest power first."""
    total = np.zeros_like(x)
    for c in coefficients:
        total = total * x + c
    return total


def ratio(tables: tuple[Sequence[float], Sequence[float]], x: Array) -> Array:
    """The quotient of two polynomials."""
    return polynomial(tables[0], x) / polynomial(tables[1], x)


def chebyshev(coefficients: Sequence[float], x: Array) -> Array:
    """sum_k c_k T_k(x), |x| <= 1, by Clenshaw's recurrence.

    Source: C. Clenshaw, "A note on the summation of Chebyshev series" (1955).
    """
    twice = 2 * x
    last, before = np.zeros_like(x), np.zeros_like(x)
    for c in coefficients[:0:-1]:
        last, before = twice * last - before + c, last
    value: Array = x * last - before + coefficients[0]
    return value

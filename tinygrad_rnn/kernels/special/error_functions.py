"""The error function, its complements and inverses, by the rational approximations of Cody, and Newton's steps.

    erf(x) = 2/sqrt(pi) int_0^x exp(-t^2) dt        erfc(x) = 1 - erf(x)        erfcx(x) = exp(x^2) erfc(x)

Cody's quotients have a relative error of 6e-19 in exact arithmetic.  erfc keeps its digits far out: exp(-x^2) is taken
of the two parts of a square that is exact.  The inverses begin with Giles's polynomials, good to 1e-7, or with the
asymptotic form where these end, and take steps of Newton's and Halley's.

Sources: W. Cody, "Rational Chebyshev approximations for the error function" (1969), tables I to III; M. Giles,
"Approximating the erfinv function" (2010), table 5.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...typing import Array
from .series import in_double, polynomial, ratio

__all__ = ["erf", "erfc", "erfcx", "erfinv", "ndtri"]

NEAR = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
MIDDLE = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e0,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0,
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)
FAR = (
    (
        1.63153871373020978e-2,
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
    ),
    (
        1.0,
        2.56852019228982242e0,
        1.87295284992346725e0,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)


CENTRE = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503),
    *(-0.00417768164, 0.246640727, 1.50140941),
)
TAIL = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613),
    *(0.00943887047, 1.00167406, 2.83297682),
)
GILES = 4.0
"""Where his approximation ends, in the root of -log(1 - x^2)."""
SPLIT = 0.46875
"""Where Cody's first approximation, of erf, ends."""
ROOT_PI = math.sqrt(math.pi)


def _bell(x: Array) -> Any:
    """exp(-x^2): x^2 in two parts, since its rounding would be x^2 times as large in the result."""
    high = np.trunc(x * 16) / 16  # few digits, so that their square is exact
    return np.exp(-high * high) * np.exp((high - x) * (high + x))


def _scaled(x: Array) -> Array:
    """exp(x^2) erfc(x) for x >= SPLIT."""
    inverse = 1 / np.maximum(x * x, 1)
    far = (1 / ROOT_PI - inverse * ratio(FAR, inverse)) / np.maximum(x, 1)
    return np.where(x <= 4, ratio(MIDDLE, np.minimum(x, 4)), far)


def _near(x: Array) -> Any:
    """erf(x) for |x| <= SPLIT."""
    inside = np.clip(x, -SPLIT, SPLIT)
    return inside * ratio(NEAR, inside * inside)


def _erf(x: Array) -> Array:
    size = np.minimum(np.abs(x), 6.0)  # beyond 6, erf is 1 to all digits
    value = np.where(size <= SPLIT, _near(size), 1 - np.exp(-size * size) * _scaled(size))
    # erf is odd; copysign keeps -0.0 as well
    return np.copysign(np.where(np.isnan(x), x, value), x)


def _erfc(x: Array) -> Array:
    size = np.minimum(np.abs(x), 28.0)  # beyond 27.3 it is 0
    tail = _bell(size) * _scaled(size)
    value = np.where(np.abs(x) <= SPLIT, 1 - _near(x), np.where(x < 0, 2 - tail, tail))
    return np.where(np.isnan(x), x, value)


def _erfcx(x: Array) -> Array:
    size = np.abs(x)
    bell = 1 / _bell(np.clip(x, -27.0, SPLIT))
    near = bell * (1 - _near(x))
    mirrored = np.where(x < -26.7, math.inf, 2 * bell - _scaled(size))  # exp(x^2) overflows there
    value = np.where(size <= SPLIT, near, np.where(x < 0, mirrored, _scaled(size)))
    return np.where(np.isnan(x), x, value)


def _erfcinv(c: Array) -> Any:
    """x where erfc(x) = c, 0 < c <= 1/2 or so: log erfc(x) = log erfcx(x) - x^2, by Newton's steps."""
    logarithm = -np.log(c)
    w = -np.log(c * (2 - c))
    root = np.sqrt(w)
    guess = (1 - c) * np.where(w < 5, polynomial(CENTRE, w - 2.5), polynomial(TAIL, np.minimum(root, GILES) - 3))
    far = np.sqrt(np.maximum(logarithm - 0.5 * np.log(math.pi * np.maximum(logarithm, 1)), 1))
    x = np.where(root < GILES, guess, far)
    for _ in range(4):
        scaled = np.where(x <= SPLIT, _erfcx(x), _scaled(x))
        x = x + (np.log(scaled) - x * x + logarithm) * scaled * (ROOT_PI / 2)
    return x


def _erfinv(x: Array) -> Any:
    size = np.abs(x)
    inside = np.where(size < 0.5, size, 0.0)
    y = inside * polynomial(CENTRE, -np.log((1 - inside) * (1 + inside)) - 2.5)
    step = (_erf(y) - inside) / (2 / ROOT_PI * np.exp(-y * y))
    near = y - step / (1 + y * step)  # Halley's
    far = _erfcinv(np.where((size >= 0.5) & (size < 1), 1 - size, 0.5))
    y = np.where(size < 0.5, near, np.where(size < 1, far, np.where(size == 1, math.inf, math.nan)))
    return np.copysign(y, x)


def _ndtri(p: Array) -> Array:
    half = np.where(p < 0.5, p, 1 - p)
    tail = _erfcinv(2 * np.where((half > 0) & (half < 0.25), half, 0.25))
    centre = _erfinv(np.where(half < 0.25, 0.0, 2 * p - 1))  # which has the digits of p - 1/2
    y = np.where(half < 0.25, np.where(p < 0.5, -tail, tail), centre) * math.sqrt(2)
    y = np.where(p == 0, -math.inf, np.where(p == 1, math.inf, y))
    return np.where((p >= 0) & (p <= 1), y, math.nan)


erf: Any = in_double(_erf)
erfc: Any = in_double(_erfc)
erfcx: Any = in_double(_erfcx)
erfinv: Any = in_double(_erfinv)
ndtri: Any = in_double(_ndtri)

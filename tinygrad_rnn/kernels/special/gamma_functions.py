"""log |Gamma|, its derivatives, Hurwitz's zeta function and the incomplete gamma functions.

Small arguments are moved to where an asymptotic series converges, negative ones are reflected.

Source: NIST Digital Library of Mathematical Functions, sections 5.5 (recurrence, reflection), 5.11 (Stirling), 5.15
(polygamma functions), 25.11 (zeta, 25.11.5 with Euler and Maclaurin's sum), 8.2, 8.7 and 8.11 (incomplete functions).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...typing import Array
from .series import chebyshev, in_double, polynomial

__all__ = ["digamma", "gamma_gradient", "gammainc", "gammaincc", "lgamma", "polygamma", "zeta"]

LOG_GAMMA = (
    0.44148902545501423,
    -0.11119580321752523,
    0.01951044826068884,
    -0.003922461463025264,
    0.0008478989895953857,
    -0.00019153855341365593,
    4.454470184975607e-05,
    -1.05728743735943e-05,
    2.5474336873408417e-06,
    -6.208535880776316e-07,
    1.5268677399071546e-07,
    -3.782637660291326e-08,
    9.428100823624284e-09,
    -2.361999702184645e-09,
    5.943541905817546e-10,
    -1.501312977072867e-10,
    3.8050196458110534e-11,
    -9.672485299656325e-12,
    2.465348198355661e-12,
    -6.298868140791711e-13,
    1.6128460030283787e-13,
    -4.137949206814042e-14,
    1.0635701227757898e-14,
    -2.7382420786652826e-15,
    7.060670507214892e-16,
    -1.8232177141662118e-16,
    4.714169006756272e-17,
    -1.2204107319639856e-17,
)
"""Of log(Gamma(x)) / ((x - 1) (x - 2)) on [1, 3], in Chebyshev polynomials of x - 2."""

STIRLING = (1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
"""log Gamma(x) - (x - 1/2) log(x) + x - log(2 pi)/2, times x, in powers of 1/x^2."""
DIGAMMA = (-1 / 12, 691 / 32760, -1 / 132, 1 / 240, -1 / 252, 1 / 120, -1 / 12)
"""The derivative: digamma(x) - log(x) + 1/(2x), over 1/x^2, in powers of 1/x^2."""
MACLAURIN = (
    *(1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600),
    *(-3617 / 10670622842880000, 43867 / 5109094217170944000, -174611 / 802857662698291200000),
)
"""B_2j / (2j)!, from j = 1."""
SHIFT = 10
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _stirling(x: Array) -> Array:
    return polynomial(STIRLING, 1 / (x * x)) / x


def _lgamma_above(x: Array) -> Array:
    """log Gamma(x) for x > 0."""
    small = np.where(x < 1, x + 1, np.minimum(x, 8.0))
    product = np.ones_like(x)
    for _ in range(5):  # to below 3
        above = small >= 3
        product = np.where(above, product * (small - 1), product)
        small = np.where(above, small - 1, small)
    near = (small - 1) * (small - 2) * chebyshev(LOG_GAMMA, small - 2) + np.log(product)
    near = np.where(x < 1, near - np.log(x), near)
    large = np.maximum(x, 8.0)
    far = (large - 0.5) * np.log(large) - large + HALF_LOG_2PI + _stirling(large)
    return np.where(x < 8, near, far)


def _sine(x: Array) -> Any:
    """|sin(pi x)|, exact where x is whole."""
    return np.abs(np.sin(math.pi * (x - np.rint(x))))


def _lgamma(x: Array) -> Array:
    positive = x > 0
    value = _lgamma_above(np.where(positive, x, 1 - x))
    reflected = math.log(math.pi) - np.log(_sine(x)) - value
    value = np.where(positive, value, reflected)
    return np.where(np.isinf(x), math.inf, value)


def _digamma_above(x: Array) -> Array:
    """digamma(x) for x > 0: moved to x + 10 where it is small, then by its asymptotic series."""
    small = x < SHIFT
    part = np.where(small, x, 1.0)
    moved = 1 / part
    for k in range(1, SHIFT):
        moved = moved + 1 / (part + k)
    large = np.where(small, x + SHIFT, x)
    squared = 1 / (large * large)
    value = np.log(large) - 0.5 / large + squared * polynomial(DIGAMMA, squared)
    return np.where(small, value - moved, value)


def _digamma(x: Array) -> Array:
    positive = x > 0
    value = _digamma_above(np.where(positive, x, 1 - x))
    part = x - np.rint(x)
    reflected = value - math.pi / np.tan(math.pi * part)
    value = np.where(positive, value, np.where(part == 0, math.nan, reflected))
    value = np.where(x == 0, np.copysign(math.inf, -x), value)
    return np.where(x == math.inf, math.inf, value)


def _zeta_above(s: Any, q: Array) -> Any:
    """sum_k (q + k)^-s for s > 1, q > 0: ten terms, an integral, and Euler and Maclaurin's corrections."""
    total = q**-s
    for k in range(1, SHIFT):
        total = total + (q + k) ** -s
    w = q + SHIFT
    power = w**-s
    total = total + power * (w / (s - 1) + 0.5)
    factor, squared = s * power / w, 1 / (w * w)
    for j, c in enumerate(MACLAURIN):
        total = total + c * factor
        factor = factor * ((s + 2 * j + 1) * (s + 2 * j + 2)) * squared
    return total


def _zeta(s: Array, q: Array) -> Array:
    s, q = s + np.zeros_like(q), q + np.zeros_like(s)
    good = (s > 1) & (q > 0)
    value = np.where(q == math.inf, 0.0, _zeta_above(np.where(good, s, 2.0), np.where(good & (q < math.inf), q, 1.0)))
    below = np.where(q == np.floor(q), math.inf, np.where(s == np.floor(s), _zeta_below(s, q), math.nan))
    value = np.where(q <= 0, below, value)
    value = np.where(s == 1, math.inf, np.where(s < 1, math.nan, value))
    return np.where(np.isnan(s) | np.isnan(q), math.nan, value)


def _zeta_below(s: Array, q: Array) -> Array:
    """zeta(s, q) for whole s and -10 < q < 0, by terms to above 0; further down, nan."""
    inside = (q < 0) & (q > -SHIFT) & (s > 1)
    s, q = np.where(inside, s, 2.0), np.where(inside, q, -0.5)
    total = _zeta_above(s, q + SHIFT)
    for k in range(SHIFT):
        total = total + (q + k) ** -s
    return np.where(inside, total, math.nan)


def _cotangents(n: int) -> tuple[float, ...]:
    """The polynomial p with d^n/dx^n cot(pi x) = pi^n p(cot(pi x)); the highest power first.

    From cot' = -pi (1 + cot^2): each derivative of p(c) is -pi (1 + c^2) p'(c).
    """
    p = [0, 1]  # by rising powers, in whole numbers
    for _ in range(n):
        slope = [k * c for k, c in enumerate(p)][1:]
        p = [-(a + b) for a, b in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    return tuple(float(c) for c in reversed(p))


def _polygamma(x: Array, n: int) -> Array:
    if n == 0:
        return _digamma(x)
    try:
        factorial = float(math.factorial(n))
    except OverflowError:
        factorial = math.inf
    sign = 1.0 if n % 2 else -1.0
    positive = x > 0
    above = np.where(positive, x, 1 - x)
    value = sign * factorial * _zeta_above(float(n + 1), np.where(above < math.inf, above, 1.0))
    value = np.where(above == math.inf, 0.0, value)
    part = x - np.rint(x)
    slope = polynomial(_cotangents(n), 1 / np.tan(math.pi * part)) * math.pi ** (n + 1)
    reflected = np.where(part == 0, sign * math.inf, -sign * value - slope)  # at poles as at 0 from above
    value = np.where(positive, value, reflected)
    return np.where((x == -math.inf) | np.isnan(x), math.nan, value)


# incomplete ----------------------------------------------------------------------------------------------------------

TERMS = 64
SERIES = 15.0
"""Up to this a, the power series converges within TERMS terms for all x <= a."""


NODES = 48
CUT = 40.0
"""exp(-CUT) is nothing beside 1."""


def _density(a: Array, x: Array) -> Any:
    """x^a exp(-x) / Gamma(a), without the rounding of large powers."""
    small = np.exp(a * np.log(x) - x - _lgamma_above(a))
    large = np.maximum(a, 8.0)
    u = (x - large) / large
    return np.where(a < 8, small, np.sqrt(large / (2 * math.pi)) * np.exp(large * _log1pmx(u) - _stirling(large)))


def _log1pmx(u: Array) -> Any:
    """log(1 + u) - u: near 0 with r = u / (2 + u), log(1 + u) = 2 artanh(r)."""
    near = np.where(np.abs(u) < 0.3, u, 0.0)
    r = near / (2 + near)
    series = polynomial([2 / (2 * k + 1) for k in range(12, 0, -1)], r * r) * r**3
    # 2 r - u = -u^2 / (2 + u)
    return np.where(np.abs(u) < 0.3, series - near * near / (2 + near), np.log1p(u) - u)


def _integrals(a: Array, x: Array) -> tuple[Array, Array]:
    r"""The tail of t^(a-1) exp(-t) on the side of x away from a, over x^a exp(-x), and its logarithmic moment.

    With t = x exp(-s) below a, and t = x exp(s) above, that is int_0^inf exp(-f(s)) ds with
    f(s) = a s - x (1 - exp(-s)) or x (exp(s) - 1) - a s, which rises from 0; the moment has a factor s.  By Gauss and
    Legendre's rule to where f(s) = CUT.
    """
    below = x <= a

    def f(s: Array) -> Any:
        return np.where(below, a * s + x * np.expm1(-s), x * np.expm1(np.minimum(s, 700.0)) - a * s)

    slope = np.abs(a - x)
    end = 2 * CUT / (slope + np.sqrt(slope * slope + 2 * CUT * x))  # of the parabola
    end = np.where(below, end, np.minimum(end, np.log1p((CUT + a) / x) + 1))
    for _ in range(12):  # Newton's steps
        speed = np.where(below, a - x * np.exp(-end), x * np.exp(np.minimum(end, 700.0)) - a)
        end = np.maximum(end - (f(end) - CUT) / speed, end / 4)
    whole, moment = np.zeros_like(x), np.zeros_like(x)
    for place, weight in zip(*_gauss(), strict=True):
        part = weight * np.exp(-f(end * place))
        whole, moment = whole + part, moment + part * place
    return whole * end, moment * end * end


@functools.cache
def _gauss() -> tuple[list[float], list[float]]:
    """Places and weights of Gauss and Legendre's rule on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    return ((x + 1) / 2).tolist(), (w / 2).tolist()


def _series(a: Array, x: Array) -> tuple[Array, Array]:
    """sum_n t_n and sum_n t_n h_n with t_n = x^n / ((a) (a + 1) ... (a + n)), h_n = 1/(a + 1) + ... + 1/(a + n)."""
    term = 1 / a
    total, weighted, harmonic = term, np.zeros_like(x), np.zeros_like(x)
    for n in range(1, TERMS):
        term = term * (x / (a + n))
        harmonic = harmonic + 1 / (a + n)
        total, weighted = total + term, weighted + term * harmonic
    return total, weighted


def _tail(a: Array, x: Array) -> tuple[Array, Array]:
    """int t^(a-1) exp(-t) dt over x^a exp(-x), from 0 to x if x <= a, else from x on; d x / d a of a fixed integral.

    The second is -(dP/da) / (dP/dx) of P(a, x): how a draw moves with a if its random number stays.
    """
    below, few = x <= a, (x <= a) & (a <= SERIES)
    total, weighted = _series(np.where(few, a, 1.0), np.where(few, x, 0.5))
    whole, moment = _integrals(np.where(few, 20.0, a), np.where(few, 10.0, x))
    log, centre = np.log(x), _digamma_above(np.where(few, a + 1, a))  # h_n does not have its term 1/a
    centre = np.where(below, centre - log, log - centre)
    gradient = x * np.where(few, centre * total + weighted, centre * whole + moment)
    return np.where(few, total, whole), gradient


def _proper(a: Any, x: Any) -> tuple[Array, Array, Array]:
    """Both broadcast, harmless where they are outside of 0 < a, x < inf; and where they are inside."""
    a, x = a + np.zeros_like(x), x + np.zeros_like(a)
    inside = (a > 0) & (a < math.inf) & (x > 0) & (x < math.inf)
    return np.where(inside, a, 1.0), np.where(inside, x, 1.0), inside


def _gammainc(a: Array, x: Array, upper: bool = False) -> Array:
    b, y, inside = _proper(a, x)
    part = _density(b, y) * _tail(b, y)[0]
    value = np.where((y > b) == upper, part, 1 - part)
    # at the ends: all below x, all above it, or no such integral
    all_below = ((a == 0) & (x > 0)) | ((a >= 0) & (a < math.inf) & (x == math.inf))
    all_above = ((a > 0) & (x == 0)) | ((a == math.inf) & (x >= 0) & (x < math.inf))
    value = np.where(inside, value, np.where((all_above if upper else all_below), 1.0, 0.0))
    return np.where(inside | all_below | all_above, value, math.nan)


def _gamma_gradient(a: Array, x: Array) -> Array:
    b, y, inside = _proper(a, x)
    return np.where(inside, _tail(b, y)[1], 0.0)


lgamma: Any = in_double(_lgamma)
digamma: Any = in_double(_digamma)
polygamma: Any = in_double(_polygamma)
zeta: Any = in_double(_zeta)
gammainc: Any = in_double(_gammainc)
gammaincc: Any = in_double(functools.partial(_gammainc, upper=True))
gamma_gradient: Any = in_double(_gamma_gradient)

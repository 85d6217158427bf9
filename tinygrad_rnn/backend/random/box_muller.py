"""The Box-Muller transform, in the arithmetic of PyTorch's CPU kernels: uniform pairs to normal pairs.

    radius = sqrt(-2 log(1 - u)),  angle = 2 pi v;   (radius cos(angle), radius sin(angle))

Equal formulas do not give equal bits, because libraries differ in the last place of log, sin and cos.  Therefore

* float32 evaluates the Cephes single-precision polynomials, each step a fused multiply-add where PyTorch's
  compiled kernel has one (done in float64, where the product of two float32 is exact, and rounded back);
* float64 calls the C library, as PyTorch does, unless NumPy's vector loops give the same bits.

Blocks are small enough to stay in the processor's cache.

Source: G. Box and M. Muller, "A note on the generation of random normal deviates" (1958), equation 1;
S. Moshier, "Methods and Programs for Mathematical Functions" (Cephes, 1989): logf, sinf, cosf.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    F32 = npt.NDArray[np.float32]
    F64 = npt.NDArray[np.float64]

__all__ = ["fma", "libm", "normal_pair32", "normal_pair64"]

BLOCK = 8192

LOG = [np.float32(c) for c in (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)]  # fmt: skip
SIN = [np.float32(c) for c in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)]
COS = [np.float32(c) for c in (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)]
LN2 = (np.float32(-2.12194440e-4), np.float32(0.693359375))  # log 2 = their sum; the second has few bits
QUARTER_PI = [np.float32(c) for c in (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)]
SQRT_HALF = np.float32(0.707106781186547524)
FOUR_OVER_PI = np.float32(1.27323954473516)
TWO_PI = np.float32(2 * np.pi)


def fma(a: Any, b: Any, c: Any, dtype: Any) -> Any:
    """a * b + c rounded once, elementwise, as a fused multiply-add rounds.

    float32 goes through float64; float64 adds the rounding errors of the product and of the sum back (both
    are exact numbers: Dekker 1971, Knuth).  Either is off by one unit for about one input in 2**29.

    >>> float(fma(np.float32(1 / 3), np.float32(3), np.float32(-1), np.float32))
    2.9802322387695312e-08
    """
    # In float64 the product of two float32 is exact, so only the sum rounds.
    if dtype != np.float64:
        return (np.asarray(a, np.float64) * np.asarray(b, np.float64) + np.asarray(c, np.float64)).astype(np.float32)
    a, b, c = np.asarray(a, np.float64), np.asarray(b, np.float64), np.asarray(c, np.float64)
    (a_hi, a_lo), (b_hi, b_lo) = _split(a), _split(b)
    product = a * b
    below = ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo
    total = product + c
    part = total - product
    return total + (((product - (total - part)) + (c - part)) + below)


def _split(x: Any) -> tuple[Any, Any]:
    """x = high + low with 26 bits in each, so that products of parts are exact."""
    shifted = x * 134217729.0  # 2**27 + 1
    high = shifted - (shifted - x)
    return high, x - high


def libm(name: str, x: F64) -> F64:
    """A float64 function as the C library computes it, bit for bit: name is "log", "log1p", "cos" or "sin"."""
    if x.size >= 256 and _numpy_agrees(name):
        result: F64 = getattr(np, name)(x)
        return result
    values = map(getattr(math, name), x.ravel().tolist())
    return np.fromiter(values, np.float64, x.size).reshape(x.shape)


@functools.cache
def _numpy_agrees(name: str) -> bool:
    """Whether NumPy's vector loop equals the C library bit for bit at 8191 points of the range that draws use."""
    points = np.arange(1, 8192) / 8192.0  # for log1p its negative, for the circle a full turn
    points = {"log": points, "log1p": -points}.get(name, points * (2 * np.pi))
    expected = np.fromiter(map(getattr(math, name), points.tolist()), np.float64, points.size)
    return bool((getattr(np, name)(points) == expected).all())


def normal_pair64(u: F64, v: F64) -> tuple[F64, F64]:
    """Box-Muller in float64: u, v in [0, 1) of one shape -> two arrays of that shape."""
    # u may be 0 but not 1, and 1 - u the reverse: log never sees a zero.
    radius = np.sqrt(-2.0 * libm("log", 1.0 - u))
    angle = (2.0 * np.pi) * v
    return radius * libm("cos", angle), radius * libm("sin", angle)


def normal_pair32(u: F32, v: F32) -> tuple[F32, F32]:
    """Box-Muller in float32: u, v in [0, 1), (n, 8) each -> two arrays (n, 8)."""
    first, second = np.empty_like(u), np.empty_like(v)
    rows = BLOCK // 8
    for start in range(0, len(u), rows):
        part = slice(start, start + rows)
        # As above, 1 - u is never 0.
        radius = np.sqrt(np.float32(-2) * _log(np.float32(1) - u[part]))
        sine, cosine = _sincos(TWO_PI * v[part])
        first[part], second[part] = radius * cosine, radius * sine
    return first, second


def _fma32(a: F32, b: Any, c: Any) -> F32:
    result: F32 = (np.multiply(a, b, dtype=np.float64) + c).astype(np.float32)
    return result


def _polynomial(coefficients: list[np.float32], x: F32) -> F32:
    y = _fma32(x, coefficients[0], coefficients[1])
    for c in coefficients[2:]:
        y = _fma32(y, x, c)
    return y


def _log(x: F32) -> F32:
    """log x for x in (0, 1]: x = m 2**e with m in [sqrt(1/2), sqrt 2), a polynomial in m - 1, plus e log 2."""
    bits = x.view(np.int32)
    mantissa = ((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)  # in [1/2, 1)
    exponent = ((bits >> 23) - np.int32(126)).astype(np.float32)
    low = mantissa < SQRT_HALF
    exponent -= low
    # A mantissa below sqrt(1/2) is doubled (the exponent went down by one), to keep m - 1 small and the polynomial
    # short.
    m = mantissa - np.float32(1) + np.where(low, mantissa, np.float32(0))
    square = m * m
    y = _polynomial(LOG, m) * m
    # From the smallest term to the largest, as in Cephes: bits depend on the order.
    y = _fma32(y, square, exponent * LN2[0])
    y = _fma32(square, np.float32(-0.5), y)
    return _fma32(exponent, LN2[1], m + y)


def _sincos(x: F32) -> tuple[F32, F32]:
    """(sin x, cos x) for x in [0, 2 pi]: the nearest multiple of pi/2 taken off in three parts, two polynomials."""
    # Odd octants round up, as in Cephes: what is left is within pi/4 of zero.
    octant = ((x * FOUR_OVER_PI).astype(np.int32) + 1) & ~1
    turns = octant.astype(np.float32)
    for part in QUARTER_PI:
        x = _fma32(turns, part, x)
    square = x * x
    cosine = _fma32(_polynomial(COS, square) * square, square, -(square * np.float32(0.5))) + np.float32(1)
    sine = _fma32(_polynomial(SIN, square) * square, x, x)
    # In octants 2 and 6 sine and cosine change places. A shift by 29 brings the bit of value 4 to the place of the
    # sign.
    straight = (octant & 2) == 0
    sin_sign = (octant & 4) << 29
    cos_sign = (~(octant - 2) & 4) << 29
    swapped = np.where(straight, sine, cosine), np.where(straight, cosine, sine)
    return _flip(swapped[0], sin_sign), _flip(swapped[1], cos_sign)


def _flip(x: F32, sign_bit: npt.NDArray[np.int32]) -> F32:
    return (x.view(np.int32) ^ sign_bit).view(np.float32)

"""Samples of elementwise operations: arithmetic, transcendental functions, rounding and quotients."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from ..strategies import arrays
from .building_blocks import apart, broadcast_arrays, elementwise, pairs, values
from .table import Call, Calls, add_samples, inexact

__all__: list[str] = []

POSITIVE = {"low": 0.3, "high": 4.0}
NOT_ZERO = {"away_from": (0.0,), "gap": 0.3}
INSIDE = {"low": -0.9, "high": 0.9}

# arithmetic -----------------------------------------------------------------------------------------------------------

add_samples("neg", "exp", "tanh", "sigmoid", "square", "clone", "contiguous", "alias", "forget")(elementwise())
inexact("forget", "its value is a copy, its gradient 0: a tensor that was overwritten in place")
add_samples("log", "sqrt", "rsqrt")(elementwise(**POSITIVE))
add_samples("abs", "sign", "relu")(elementwise(**NOT_ZERO))
add_samples("reciprocal")(elementwise(away_from=(0.0,), gap=0.4))
add_samples("add", "sub", "mul")(pairs())
add_samples("div")(pairs(second={"away_from": (0.0,), "gap": 0.4}))
add_samples("pow")(pairs(first=POSITIVE))
add_samples("constant_in")(lambda: broadcast_arrays().map(lambda found: Call(tuple(found))))
add_samples("maximum", "minimum")(lambda: apart().map(lambda found: Call(tuple(found))))


@add_samples("pow_number")
@st.composite
def _pow_number(draw: Any, /) -> Call:
    exponent = draw(st.sampled_from([0, 1, 2, 3, -1, -2, 0.5, -0.5, 2.0, 2.5]))
    # Negative numbers have real powers for whole exponents alone.
    whole = float(exponent).is_integer()
    return Call((draw(values(**({"away_from": (0.0,), "gap": 0.4} if whole else POSITIVE))),), {"exponent": exponent})


@add_samples("where")
@st.composite
def _where(draw: Any, /) -> Call:
    condition, a, b = draw(broadcast_arrays(3, each=({"dtype": bool}, {}, {})))
    return Call((condition, a, b))


@add_samples("cast")
def _cast() -> Calls:
    return values().map(lambda a: Call((a,), {"dtype": np.dtype(np.float64)}))


@add_samples("move")
def _move() -> Calls:
    return values().map(lambda a: Call((a,), {"device": "cpu"}))


# transcendental -------------------------------------------------------------------------------------------------------

add_samples("sin", "cos", "atan", "sinh", "cosh", "asinh", "exp2", "expm1")(elementwise())
add_samples("log1p", "log2", "log10", "root")(elementwise(**POSITIVE))
add_samples("asin", "acos", "atanh")(elementwise(**INSIDE))
add_samples("acosh")(elementwise(low=1.3, high=4.0))
add_samples("tan")(elementwise(low=-1.2, high=1.2))
add_samples("atan2", "hypot")(pairs(second=POSITIVE))
add_samples("logaddexp")(pairs())


# special functions ----------------------------------------------------------------------------------------------------

add_samples("erfc", "i0", "i0e", "i1", "i1e")(elementwise(**NOT_ZERO))
add_samples("erfcx")(elementwise(low=-1.5, high=4.0))
add_samples("erfinv")(elementwise(**INSIDE))
add_samples("ndtri")(elementwise(low=0.05, high=0.95))
add_samples("lgamma", "digamma")(elementwise(**POSITIVE))
add_samples("xlogy", "xlog1py")(pairs(second=POSITIVE))


@add_samples("polygamma")
@st.composite
def _polygamma(draw: Any, /) -> Call:
    return Call((draw(values(low=0.5, high=4.0)),), {"n": draw(st.sampled_from([0, 1, 2, 3]))})


@add_samples("zeta", "igamma", "igammac")
@st.composite
def _of_whole(draw: Any, /) -> Call:
    """The first argument has no derivative: whole numbers ask for none."""
    x = draw(values(low=0.3, high=4.0))
    return Call((draw(arrays(x.shape, low=2, high=5, step=1)).astype(np.int64), x))


@add_samples("lerp_number")
@st.composite
def _lerp_number(draw: Any, /) -> Call:
    return Call(tuple(draw(broadcast_arrays(2))), {"w": draw(st.sampled_from([-0.5, 0.25, 0.75, 1.0]))})


@add_samples("lerp")
@st.composite
def _lerp(draw: Any, /) -> Call:
    return Call(tuple(draw(broadcast_arrays(3))))


# rounding and quotients -----------------------------------------------------------------------------------------------

WHOLE, HALVES = (-2.0, -1.0, 0.0, 1.0, 2.0), (-1.5, -0.5, 0.5, 1.5)

add_samples("floor", "ceil", "trunc", "frac")(elementwise(away_from=WHOLE))


@add_samples("round")
@st.composite
def _round(draw: Any, /) -> Call:
    return Call((draw(values(away_from=HALVES)),), {"decimals": 0})


@add_samples("floor_divide", "remainder", "fmod", "truncated_divide")
@st.composite
def _quotients(draw: Any, /) -> Call:
    """Quotients at least 0.1 away from whole numbers: 0.5 * (n + 0.2 ... n + 0.8) over 0.5, or over 1."""
    whole = draw(values(low=-3, high=3, step=1))
    part = draw(arrays(whole.shape, low=0.2, high=0.8))
    divisor = draw(st.sampled_from([0.5, 1.0, -1.0]))
    return Call((np.asarray((whole + part) * divisor), np.full(draw(st.sampled_from([(), (1,)])), divisor)))


@add_samples("clamp_number")
@st.composite
def _clamp_number(draw: Any, /) -> Call:
    low, high = draw(st.sampled_from([(-1.0, 0.5), (None, 0.5), (-1.0, None)]))
    return Call((draw(values(away_from=(-1.0, 0.5))),), {"low": low, "high": high})


@add_samples("clamp")
@st.composite
def _clamp(draw: Any, /) -> Call:
    a, low, width = draw(broadcast_arrays(3, each=({}, {}, {"low": 0.5})))
    high = np.asarray(low + width)
    # The bounds are kinks, and are drawn themselves: an example with an entry near one is rejected.
    assume(all(np.abs(np.subtract(*np.broadcast_arrays(a, bound))).min(initial=1) > 0.1 for bound in (low, high)))
    kept = draw(st.sampled_from(["both", "low", "high"]))
    return Call((a, None if kept == "high" else low, None if kept == "low" else high))

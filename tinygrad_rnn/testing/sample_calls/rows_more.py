"""The rows of the table of samples for the wider set of operations: transcendental, cumulative, diagonals, windows."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from ..strategies import arrays, shapes
from .sampling import Call, add_samples, any_axes, broadcast_arrays, elementwise, pairs, values, with_axis

__all__: list[str] = []

POSITIVE = {"low": 0.3, "high": 4.0}
INSIDE = {"low": -0.9, "high": 0.9}

# transcendental -----------------------------------------------------------------------------------------------------

add_samples("sin", "cos", "atan", "sinh", "cosh", "asinh", "exp2", "expm1")(elementwise())
add_samples("log1p", "log2", "log10", "root")(elementwise(**POSITIVE))
add_samples("asin", "acos", "atanh")(elementwise(**INSIDE))
add_samples("acosh")(elementwise(low=1.3, high=4.0))
add_samples("tan")(elementwise(low=-1.2, high=1.2))
add_samples("atan2", "hypot")(pairs(second=POSITIVE))
add_samples("logaddexp")(pairs())



@add_samples("lerp_number")
@st.composite
def _lerp_number(draw: Any, /) -> Call:
    return Call(tuple(draw(broadcast_arrays(2))), {"weight": draw(st.sampled_from([-0.5, 0.25, 0.75, 1.0]))})


@add_samples("lerp")
@st.composite
def _lerp(draw: Any, /) -> Call:
    return Call(tuple(draw(broadcast_arrays(3))))


# rounding -----------------------------------------------------------------------------------------------------------

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
    assume(all(np.abs(np.subtract(*np.broadcast_arrays(a, bound))).min(initial=1) > 0.1 for bound in (low, high)))
    kept = draw(st.sampled_from(["both", "low", "high"]))
    return Call((a, None if kept == "high" else low, None if kept == "low" else high))


# along an axis ------------------------------------------------------------------------------------------------------


@add_samples("cumsum", "cumprod")
@st.composite
def _cumulative(draw: Any, /) -> Call:
    a, dim = draw(with_axis(min_side=0))
    return Call((a,), {"dim": dim, "reverse": draw(st.booleans())})


@add_samples("linear_recurrence")
@st.composite
def _recurrence(draw: Any, /) -> Call:
    (a,), params, _ = draw(_cumulative())
    return Call((a, draw(arrays(a.shape, layout=None))), params)


@add_samples("prod")
@st.composite
def _prod(draw: Any, /) -> Call:
    a, dim = draw(with_axis(min_side=0))
    return Call((a,), {"dim": dim, "keepdims": draw(st.booleans())})


@add_samples("logsumexp")
@st.composite
def _logsumexp(draw: Any, /) -> Call:
    a = draw(values(min_side=1))
    return Call((a,), {"axes": draw(any_axes(a.ndim)), "keepdims": draw(st.booleans())})


@add_samples("median")
def _median() -> Any:
    return values(min_side=1, distinct=True).map(lambda a: Call((a,)))


# rearrangement ------------------------------------------------------------------------------------------------------


@add_samples("roll")
@st.composite
def _roll(draw: Any, /) -> Call:
    a = draw(values(min_dims=1))
    dims = draw(any_axes(a.ndim, 1))
    return Call((a,), {"shifts": tuple(draw(st.integers(-4, 4)) for _ in dims), "dims": dims})


@add_samples("flip")
@st.composite
def _flip(draw: Any, /) -> Call:
    a = draw(values())
    return Call((a,), {"dims": draw(any_axes(a.ndim))})


@add_samples("repeat")
@st.composite
def _repeat(draw: Any, /) -> Call:
    a = draw(values(max_dims=2))
    new = draw(st.integers(0, 1))
    return Call((a,), {"repeats": tuple(draw(st.integers(0, 3)) for _ in range(a.ndim + new))})


@add_samples("unfold")
@st.composite
def _unfold(draw: Any, /) -> Call:
    a, dim = draw(with_axis())
    return Call((a,), {"dim": dim, "size": draw(st.integers(1, a.shape[dim])), "step": draw(st.integers(1, 2))})


@add_samples("fold")
@st.composite
def _fold(draw: Any, /) -> Call:
    (a,), params, _ = draw(_unfold())
    dim, size, step = params["dim"], params["size"], params["step"]
    windows = (a.shape[dim] - size) // step + 1
    shape = (*a.shape[:dim], windows, *a.shape[dim + 1 :], size)
    return Call((draw(arrays(shape, layout=None)),), {"shape": a.shape, **params})


@add_samples("diagonal")
@st.composite
def _diagonal(draw: Any, /) -> Call:
    a = draw(values(min_dims=2))
    dim1, dim2 = draw(st.permutations(range(a.ndim)))[:2]
    return Call((a,), {"offset": draw(st.integers(-2, 2)), "dim1": dim1, "dim2": dim2})


@add_samples("diag_embed")
@st.composite
def _diag_embed(draw: Any, /) -> Call:
    (whole,), params, _ = draw(_diagonal())
    line = np.diagonal(whole, params["offset"], params["dim1"], params["dim2"])
    return Call((draw(arrays(line.shape, layout=None)),), {"shape": whole.shape, **params})


@add_samples("contract")
@st.composite
def _contract(draw: Any, /) -> Call:
    """Two operands whose axes are letters; a letter of one operand alone, or of both, may be in the result."""
    size = dict(zip(string.ascii_lowercase[:4], draw(shapes(4, 4, 0, 3)), strict=True))
    some = st.lists(st.sampled_from(sorted(size)), unique=True, max_size=3)
    left, right = "".join(draw(some)), "".join(draw(some))
    both = [x for x in left if x in right]
    summed = draw(st.lists(st.sampled_from(both), unique=True)) if both else []
    out = draw(st.permutations(sorted(set(left + right) - set(summed))))
    args = [draw(arrays(tuple(size[x] for x in letters), layout=None)) for letters in (left, right)]
    return Call(tuple(args), {"left": left, "right": right, "out": "".join(out)})

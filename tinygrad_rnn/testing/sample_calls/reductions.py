"""Samples of reductions, softmax, running sums and recurrences, products of matrices and contractions."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from ..strategies import arrays, broadcastable_shapes, laid_out, layouts, shapes
from .building_blocks import any_axes, values, with_axis
from .table import Call, Calls, add_samples

__all__: list[str] = []

# reductions -----------------------------------------------------------------------------------------------------------


@st.composite
def _reduction(draw: Any, /, min_side: int = 0, min_axes: int = 0, **kwargs: Any) -> Call:
    a = draw(values(min_side=min_side, **kwargs))
    return Call((a,), {"axes": draw(any_axes(a.ndim, min(min_axes, a.ndim))), "keepdims": draw(st.booleans())})


def _corrected(call: Call) -> Call:
    return Call(call.args, {**call.params, "correction": 1})


add_samples("sum")(lambda: _reduction())
add_samples("mean")(lambda: _reduction(min_side=1))


@add_samples("norm")
@st.composite
def _norm(draw: Any, /) -> Call:
    (a,), params, _ = draw(_reduction(min_side=1, distinct=True, away_from=(0.0,), gap=0.3))
    return Call((a,), {**params, "p": draw(st.sampled_from([1.0, 2.0, 3.0, 0.5, 1.5, -1.0, -2.0]))})


add_samples("amax", "amin")(lambda: _reduction(min_side=1, min_axes=1, distinct=True))
# At least two entries: the correction divides by their number less one.
add_samples("var")(lambda: _reduction(min_side=2, min_axes=1, min_dims=1).map(_corrected))


@add_samples("softmax", "log_softmax")
def _softmax() -> Calls:
    return with_axis().map(lambda found: Call((found[0],), {"dim": found[1]}))


# along an axis --------------------------------------------------------------------------------------------------------


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
    # Without ties, between which the gradient would be a matter of choice.
    return values(min_side=1, distinct=True).map(lambda a: Call((a,)))


# products -------------------------------------------------------------------------------------------------------------


@add_samples("matmul")
@st.composite
def _matmul(draw: Any, /) -> Call:
    m, n, p = (draw(st.integers(0, 3)) for _ in range(3))
    left, right = draw(broadcastable_shapes(2, max_dims=1, min_side=0, max_side=2))
    form = draw(st.sampled_from(["vv", "mv", "vm", "mm", "batched"]))
    shape_a = {"vv": (n,), "vm": (n,), "batched": (*left, m, n)}.get(form, (m, n))
    shape_b = {"vv": (n,), "mv": (n,), "batched": (*right, n, p)}.get(form, (n, p))
    return Call(tuple(laid_out(draw(arrays(s)), draw(layouts())) for s in (shape_a, shape_b)))


@add_samples("linear")
@st.composite
def _linear(draw: Any, /) -> Call:
    size_in, size_out = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    x = draw(arrays((*draw(shapes(0, 2, 0, 3)), size_in), layout=None))
    weight = draw(arrays((size_out, size_in), layout=None))
    return Call((x, weight, draw(arrays((size_out,))) if draw(st.booleans()) else None))


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

"""The rows of the table of samples: arithmetic, reductions, shapes, indexing, products."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ...ops.index import places
from ...tape.primitive import REGISTRY
from ..strategies import arrays, broadcastable_shapes, laid_out, layouts, shapes
from . import rows_more, rows_nn  # noqa: F401
from .sampling import (
    Call,
    Calls,
    add_samples,
    along_axis,
    any_axes,
    apart,
    broadcast_arrays,
    elementwise,
    inexact,
    pairs,
    values,
    with_axis,
)

__all__: list[str] = []

POSITIVE = {"low": 0.3, "high": 4.0}
NOT_ZERO = {"away_from": (0.0,), "gap": 0.3}

# element-wise ------------------------------------------------------------------------------------------------------

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


# reductions --------------------------------------------------------------------------------------------------------


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
add_samples("var")(lambda: _reduction(min_side=2, min_axes=1, min_dims=1).map(_corrected))


@add_samples("softmax", "log_softmax")
def _softmax() -> Calls:
    return with_axis().map(lambda found: Call((found[0],), {"dim": found[1]}))


# shapes ------------------------------------------------------------------------------------------------------------


@add_samples("broadcast_to")
@st.composite
def _broadcasting(draw: Any, /) -> Call:
    small, big = draw(
        broadcastable_shapes(2, min_side=0, max_side=3).map(lambda two: (two[0], np.broadcast_shapes(*two)))
    )
    return Call((draw(arrays(small, layout=None)),), {"shape": tuple(big)})


@add_samples("sum_to")
@st.composite
def _sum_to(draw: Any, /) -> Call:
    call = draw(_broadcasting())
    return Call((draw(arrays(call.params["shape"], layout=None)),), {"shape": call.args[0].shape})


@add_samples("reshape")
@st.composite
def _reshape(draw: Any, /) -> Call:
    a = draw(values(min_side=1))
    target = draw(
        st.sampled_from([(a.size,), (-1,), (1, a.size), (*a.shape, 1), a.shape[::-1], *([()] if a.size == 1 else [])])
    )
    return Call((a,), {"shape": target})


@add_samples("transpose")
@st.composite
def _transpose(draw: Any, /) -> Call:
    a, axis = draw(with_axis(min_side=0))
    return Call((a,), {"axis1": axis, "axis2": draw(st.integers(0, a.ndim - 1))})


@add_samples("permute")
@st.composite
def _permute(draw: Any, /) -> Call:
    a = draw(values())
    return Call((a,), {"dims": tuple(draw(st.permutations(range(a.ndim))))})


@add_samples("cat")
@st.composite
def _cat(draw: Any, /) -> Call:
    shape = draw(shapes(1, 3, 0, 3))
    dim = draw(st.integers(0, len(shape) - 1))
    sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    parts = [draw(arrays((*shape[:dim], n, *shape[dim + 1 :]), layout=None)) for n in sizes]
    return Call(tuple(parts), {"dim": dim, "sizes": tuple(sizes)})


@add_samples("stack")
@st.composite
def _stack(draw: Any, /) -> Call:
    shape = draw(shapes(0, 2, 0, 3))
    parts = [draw(arrays(shape, layout=None)) for _ in range(draw(st.integers(1, 3)))]
    return Call(tuple(parts), {"dim": draw(st.integers(0, len(shape)))})


# indexing ----------------------------------------------------------------------------------------------------------


@st.composite
def indices(draw: Any, /, shape: tuple[int, ...], repeats: bool = True) -> Any:
    """An index of any NumPy form: numbers, slices, None, Ellipsis, masks, index arrays."""
    kind = draw(st.sampled_from(["basic", "array", "mask", "mixed"]))
    if kind == "mask" or 0 in shape or not shape:
        return draw(st.sampled_from([..., (), (None, ...)])) if kind != "mask" else draw(arrays(shape, dtype=bool))
    length = draw(st.integers(0, 3 if repeats else min(3, shape[0])))
    lowest = -shape[0] if repeats else 0  # -n and 0 are one place
    rows = arrays((length,), dtype=np.int64, low=lowest, high=shape[0] - 1, distinct=not repeats)
    if kind == "array":
        return draw(rows)
    basic = [draw(_basic_item(n)) for n in shape[: draw(st.integers(0, len(shape)))]]
    if kind == "mixed" and repeats:
        last = shape[-1]
        return (..., draw(arrays((2,), dtype=np.int64, low=-last, high=last - 1)))
    if draw(st.booleans()):
        basic.insert(draw(st.integers(0, len(basic))), None)
    return tuple(basic)


@st.composite
def _basic_item(draw: Any, /, n: int) -> Any:
    if draw(st.booleans()):
        return draw(st.integers(-n, n - 1))
    edge = st.none() | st.integers(-n, n)
    return slice(draw(edge), draw(edge), draw(st.sampled_from([None, 1, 2, -1])))


@add_samples("entries")
@st.composite
def _entries(draw: Any, /) -> Call:
    return Call((draw(arrays(draw(shapes(min_dims=2, min_side=1)))),))


@add_samples("getitem")
@st.composite
def _getitem(draw: Any, /) -> Call:
    a = draw(values())
    return Call((a,), {"index": draw(indices(a.shape))})


@add_samples("place")
@st.composite
def _place(draw: Any, /) -> Call:
    shape = draw(shapes(0, 3, 0, 3))
    index = draw(indices(shape))
    return Call((draw(arrays(np.zeros(shape)[index].shape, layout=None)),), {"index": index, "shape": shape})


@add_samples("place_all")
@st.composite
def _place_all(draw: Any, /) -> Call:
    shape = draw(shapes(1, 3, 1, 3))
    chosen = tuple([draw(indices(shape)) for _ in range(draw(st.integers(1, 3)))])
    parts = [draw(arrays(np.zeros(shape)[index].shape, layout=None)) for index in chosen]
    return Call(tuple(parts), {"indices": chosen, "shape": shape})


@add_samples("setitem")
@st.composite
def _setitem(draw: Any, /) -> Call:
    a = draw(values())
    index = draw(indices(a.shape, repeats=False))
    place = a[index].shape
    small = draw(st.sampled_from([place, (), tuple(1 for _ in place)]))
    return Call((a, draw(arrays(small, layout=None))), {"index": index, "last": None})


@add_samples("view_write")
@st.composite
def _view_write(draw: Any, /) -> Call:
    a, axis = draw(with_axis(min_side=1))
    index = (slice(None),) * axis + (draw(_basic_item(a.shape[axis])),)
    value = draw(arrays(a[index].shape, layout=None))
    return Call((a, value), {"view": REGISTRY["getitem"], "how": {"index": index}})


@add_samples("gather")
@st.composite
def _gather(draw: Any, /) -> Call:
    a, dim, index = draw(along_axis(draw(with_axis())))
    return Call((a,), {"index": places(index, dim)})


@add_samples("scatter_add")
@st.composite
def _scatter_add(draw: Any, /) -> Call:
    a, dim, index = draw(along_axis(draw(with_axis())))
    return Call((a, draw(arrays(index.shape, layout=None))), {"index": places(index, dim)})


@add_samples("embedding")
@st.composite
def _embedding(draw: Any, /) -> Call:
    weight = draw(arrays((draw(st.integers(1, 4)), draw(st.integers(0, 3)))))
    index = draw(arrays(shapes(0, 2, 0, 3), dtype=np.int64, low=0, high=len(weight) - 1))
    rows = st.integers(0, len(weight) - 1).filter(lambda row: row not in index)  # its gradient is 0, not a derivative
    padding = draw(rows) if draw(st.booleans()) and len(set(index.ravel().tolist())) < len(weight) else None
    return Call((weight,), {"index": index, "padding_idx": padding})


@add_samples("gather_rows")
@st.composite
def _gather_rows(draw: Any, /) -> Call:
    a = draw(values(min_dims=2, min_side=1))
    place = draw(st.lists(st.integers(0, a.shape[0] * a.shape[1] - 1), unique=True))
    steps, rows = np.divmod(np.array(place, np.int64), a.shape[1])
    return Call((a,), {"index": (steps, rows)})


@add_samples("scatter_rows")
@st.composite
def _scatter_rows(draw: Any, /) -> Call:
    whole, params, _ = draw(_gather_rows())
    rows = whole[0][params["index"]]
    return Call((rows,), {"index": params["index"], "shape": whole[0].shape, "fill": draw(st.sampled_from([0.0, 2.5]))})


# products ----------------------------------------------------------------------------------------------------------


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

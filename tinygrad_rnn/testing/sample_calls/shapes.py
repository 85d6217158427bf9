"""Samples of operations on shapes: broadcasting, joining, permuting axes, repeats, windows and diagonals."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..strategies import arrays, shapes
from .building_blocks import any_axes, values, with_axis
from .table import Call, add_samples

__all__: list[str] = []

# shapes ---------------------------------------------------------------------------------------------------------------


@add_samples("broadcast_to")
@st.composite
def _broadcasting(draw: Any, /) -> Call:
    big = draw(shapes(max_dims=3, min_side=0, max_side=3))
    first = draw(st.integers(0, len(big)))  # the axes before it are new: two broadcastable shapes seldom differ so
    small = tuple([1 if draw(st.booleans()) else n for n in big[first:]])
    return Call((draw(arrays(small, layout=None)),), {"shape": big})


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


# rearrangement --------------------------------------------------------------------------------------------------------


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

"""Samples of indexing: reading and writing by any index, gather, scatter, embeddings, packed rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ...ops.index import places
from ...tape.primitive import REGISTRY
from ..strategies import arrays, shapes
from .building_blocks import along_axis, values, with_axis
from .table import Call, add_samples

__all__: list[str] = []


@st.composite
def indices(draw: Any, /, shape: tuple[int, ...], repeats: bool = True) -> Any:
    """An index of any NumPy form: numbers, slices, None, Ellipsis, masks, index arrays."""
    kind = draw(st.sampled_from(["basic", "array", "mask", "mixed"]))
    # An empty or a 0-d array has no rows to choose from.
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
    # What is written may broadcast.
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

"""Strategies shared by the samples: arrays of any shape and layout, pairs that broadcast, axes and indices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..strategies import arrays, broadcastable_shapes, laid_out, layouts, shapes
from .table import Call, Calls

__all__ = ["along_axis", "any_axes", "apart", "broadcast_arrays", "elementwise", "pairs", "values", "with_axis"]


def values(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, **kwargs: Any) -> st.SearchStrategy[Any]:
    """Arrays of any shape and layout."""
    return arrays(shapes(min_dims, max_dims, min_side, 3), layout=None, **kwargs)


def elementwise(**kwargs: Any) -> Callable[[], Calls]:
    """A row of calls with one array of any shape."""
    return lambda: values(**kwargs).map(lambda a: Call((a,)))


@st.composite
def broadcast_arrays(
    draw: Any, /, count: int = 2, *, each: tuple[dict[str, Any], ...] = (), **kwargs: Any
) -> list[Any]:
    """Arrays that broadcast against each other; ``each`` holds further options for each of them."""
    found = draw(broadcastable_shapes(count, min_side=0, max_side=3))
    options = each or ({},) * count
    return [draw(arrays(s, layout=draw(layouts()), **{**kwargs, **o})) for s, o in zip(found, options, strict=True)]


def pairs(first: dict[str, Any] | None = None, second: dict[str, Any] | None = None) -> Callable[[], Calls]:
    """A row of calls with two arrays that broadcast."""
    return lambda: broadcast_arrays(each=(first or {}, second or {})).map(lambda found: Call(tuple(found)))


@st.composite
def apart(draw: Any, /) -> list[Any]:
    """Two arrays that broadcast and of which no two entries are close."""
    a, b = draw(broadcast_arrays(step=0.25))
    b = laid_out(np.asarray(b + 0.125), draw(layouts()))
    return [a, b]


@st.composite
def any_axes(draw: Any, /, ndim: int, min_size: int = 0) -> tuple[int, ...]:
    """Some of the axes, ascending."""
    chosen = draw(st.lists(st.integers(0, ndim - 1), unique=True, min_size=min_size)) if ndim else []
    return tuple(sorted(chosen))


@st.composite
def with_axis(draw: Any, /, min_side: int = 1, **kwargs: Any) -> tuple[Any, int]:
    """An array and one of its axes."""
    a = draw(values(min_dims=1, min_side=min_side, **kwargs))
    return a, draw(st.integers(0, a.ndim - 1))


@st.composite
def along_axis(draw: Any, /, source_of: Any, max_length: int = 3) -> tuple[Any, int, Any]:
    """An array, an axis, and an index array of legal size for ``gather`` and ``scatter`` along it."""
    a, dim = source_of
    length = draw(st.integers(0, max_length))
    sizes = [draw(st.integers(0, n)) if k != dim else length for k, n in enumerate(a.shape)]
    index = draw(arrays(tuple(sizes), dtype=np.int64, low=0, high=a.shape[dim] - 1))
    return a, dim, index

"""For every primitive, arguments to try it with: what the property tests of the registry draw from.

A row is a strategy of calls.  Arguments stay away from kinks, poles and ties, where no gradient can be checked; the
rules for those points (``relu'(0) = 0`` and so on) are tested one by one.  Shapes include 0-d, size-1 and empty ones,
layouts include transposed, strided and reversed memory.

Add a row for a primitive of your own with :func:`add_samples`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from ...errors import ArgumentError
from ...tape.primitive import REGISTRY
from ..strategies import arrays, broadcastable_shapes, laid_out, layouts, shapes

__all__ = ["INEXACT", "SAMPLES", "Call", "add_samples", "inexact", "samples"]

Calls = st.SearchStrategy["Call"]


class Call(NamedTuple):
    """How to apply a primitive once.

    Attributes:
        args: raw arrays, or None, or numbers.
        params: keyword parameters.
        function: what to call instead of the primitive itself, if its parameters are made by a function of the library.
    """

    args: tuple[Any, ...]
    params: dict[str, Any] = {}
    function: Callable[..., Any] | None = None


SAMPLES: dict[str, Callable[[], Calls]] = {}
"""Primitive name -> function that gives its strategy of calls."""


INEXACT: dict[str, str] = {}
"""Primitives whose vjp is not the derivative of their forward, on purpose, and why."""


def inexact(name: str, reason: str) -> None:
    """Declare that the gradient of a primitive is meant to differ from the derivative of its value."""
    INEXACT[name] = reason


def add_samples(*names: str) -> Callable[[Callable[[], Calls]], Callable[[], Calls]]:
    """Decorator: this function gives the strategy of calls for the primitives of these names."""

    def add(row: Callable[[], Calls]) -> Callable[[], Calls]:
        for name in names:
            SAMPLES[name] = row
        return row

    return add


def samples(name: str) -> Calls:
    """The strategy of calls of one primitive.

    Raises:
        ArgumentError: it has no row.
    """
    from . import rows  # noqa: F401  (fills the table)

    if name not in SAMPLES:
        known = "is not registered" if name not in REGISTRY else "has no samples: declare some with add_samples"
        raise ArgumentError(f"samples(): primitive {name!r} {known}")
    return SAMPLES[name]()


# building blocks ---------------------------------------------------------------------------------------------------


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
    """Two arrays that broadcast and are nowhere close to equal."""
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

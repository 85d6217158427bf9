"""Where arrays lie in memory: what the checks of writes in place build on, against counting address by address."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.profiles import examples
from tinygrad_rnn.tape.clock import _bounds
from tinygrad_rnn.tape.rewrite import _repeats
from tinygrad_rnn.testing import shapes


def addresses(a: np.ndarray) -> list[int]:
    """The address of every entry."""
    start = a.__array_interface__["data"][0]
    places = product(*map(range, a.shape))
    return [start + sum(i * step for i, step in zip(place, a.strides, strict=True)) for place in places]


@st.composite
def views(draw: Any) -> np.ndarray:
    """Parts of one array: cut, reversed, with steps, transposed, broadcast."""
    a = np.zeros(draw(shapes(1, 3, 1, 4)))
    steps = st.sampled_from([None, 2, -1, -2])
    a = a[tuple(slice(draw(st.sampled_from([None, 1])), None, draw(steps)) for _ in a.shape)]
    a = a.transpose(draw(st.permutations(range(a.ndim))))
    if draw(st.booleans()):
        a = np.broadcast_to(a, (draw(st.integers(1, 3)), *a.shape))
    return a[:1] if draw(st.booleans()) else a


@settings(max_examples=examples(150, 3000))
@given(views())
def test_bounds_are_the_first_byte_and_the_byte_after_the_last(a: np.ndarray) -> None:
    found = addresses(a)
    low, high = _bounds(a)
    if found:
        assert (low, high) == (min(found), max(found) + a.itemsize)
    else:
        assert low == high, "an empty array lies nowhere"


@settings(max_examples=examples(150, 3000))
@given(views())
def test_memory_repeats_where_two_entries_have_one_address(a: np.ndarray) -> None:
    found = addresses(a)
    assert _repeats(a) == (len(set(found)) < len(found))

"""Where arrays lie in memory: what the checks of writes in place build on, against counting address by address."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.profiles import examples
from tinygrad_rnn.tape.inplace.versions import _bounds, shared
from tinygrad_rnn.tape.inplace.writes import _repeats
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


@settings(max_examples=examples(150, 3000))
@given(views(), st.data())
def test_two_arrays_share_memory_where_they_have_an_address_in_common(a: np.ndarray, data: st.DataObject) -> None:
    parts = [a[data.draw(st.sampled_from([slice(None), slice(1), slice(1, None), slice(None, None, 2)]))] for _ in "xy"]
    x, y = parts
    assert shared(x, y) == bool(set(addresses(x)) & set(addresses(y)))


def test_two_arrays_of_which_it_is_too_hard_to_tell_share_memory() -> None:
    memory = np.zeros(192163377, np.int8)  # the example of np.shares_memory: a problem of whole numbers
    x = np.lib.stride_tricks.as_strided(memory, (1049, 1049, 1049), (36674, 61119, 85569))
    y = np.lib.stride_tricks.as_strided(memory[64023025:], (1049, 1049, 1), (12223, 12224, 1))
    with pytest.raises(np.exceptions.TooHardError):
        np.shares_memory(x, y, max_work=10_000)
    assert shared(x, y) is True


def test_memory_repeats_where_two_entries_have_one_address_also_if_axes_interleave() -> None:
    memory = np.zeros(100)
    told = []
    for shape in ((3, 2), (2, 2, 2), (1, 3)):
        for steps in product((-3, -2, 0, 1, 2, 3, 5), repeat=len(shape)):
            a = np.lib.stride_tricks.as_strided(memory[50:], shape, [8 * step for step in steps])
            found = addresses(a)
            told.append(_repeats(a))
            assert told[-1] == (len(set(found)) < len(found)), (shape, steps)
    assert 50 < sum(told) < len(told) - 50

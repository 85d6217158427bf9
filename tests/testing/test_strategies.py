"""The strategies keep their promises: ranges, distances, layouts, shapes that fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.testing import (
    RecurrentCase,
    Sequences,
    add_samples,
    arrays,
    assert_gradients,
    broadcastable_shapes,
    inexact,
    layouts,
    recurrent_layers,
    samples,
    sequences,
    shapes,
    tensors,
)
from tinygrad_rnn.testing.sampling import INEXACT, SAMPLES

SMALLEST = settings(max_examples=500, database=None, derandomize=True)


@given(shapes(1, 2, 0, 3))
def test_shapes_stay_in_their_bounds(shape: tuple[int, ...]) -> None:
    assert 1 <= len(shape) <= 2 and all(0 <= n <= 3 for n in shape)


def test_shapes_include_empty_and_0d_ones() -> None:
    assert find(shapes(min_side=0), lambda s: 0 in s, settings=SMALLEST) == (0,)
    assert find(shapes(), lambda s: s == (), settings=SMALLEST) == ()


@given(broadcastable_shapes(3))
def test_broadcastable_shapes_broadcast(found: tuple[tuple[int, ...], ...]) -> None:
    assert len(found) == 3 and np.broadcast_shapes(*found) is not None


@given(arrays(low=-1.0, high=3.0, away_from=(0.0, 1.0), gap=0.2))
def test_values_keep_to_the_range_and_away_from_kinks(a: np.ndarray) -> None:
    assert a.dtype == np.float64 and ((a >= -1) & (a <= 3)).all()
    assert (np.abs(a) >= 0.2).all() and (np.abs(a - 1) >= 0.2).all()


@given(arrays(distinct=True))
def test_distinct_values_are_apart(a: np.ndarray) -> None:
    assert (np.diff(np.sort(a, axis=None)) >= 1 / 32).all()


@given(arrays(dtype=np.int64, low=-3, high=3), arrays(dtype=bool), arrays(dtype=np.float32))
def test_dtypes(whole: np.ndarray, truth: np.ndarray, single: np.ndarray) -> None:
    assert whole.dtype == np.int64 and ((whole >= -3) & (whole <= 3)).all()
    assert truth.dtype == bool and single.dtype == np.float32


@given(arrays(shapes(2, 3, 2, 4), layout=None), layouts())
def test_layouts_are_writable_arrays(a: np.ndarray, layout: str) -> None:
    assert a.flags.writeable and isinstance(layout, str)


def test_layouts_include_non_contiguous_memory() -> None:
    found = find(
        arrays((2, 3), layout=None),
        lambda a: not a.flags.c_contiguous and not a.flags.f_contiguous and a.strides[0] > 0,
        settings=SMALLEST,
    )
    assert not found.any()  # and the values shrink all the same


@given(tensors(), tensors(dtype=np.int64, low=0, high=5), tensors(requires_grad=False))
def test_floating_tensors_require_grad_unless_told_otherwise(x: tg.Tensor, n: tg.Tensor, c: tg.Tensor) -> None:
    assert x.requires_grad and x.is_leaf and not n.requires_grad and not c.requires_grad


def test_a_failing_tensor_shrinks_to_readable_numbers() -> None:
    found = find(tensors(), lambda x: bool((x._data > 0.3).any()), settings=SMALLEST)
    assert found.shape == () and found.item() == pytest.approx(154 / 512)


@given(sequences(), sequences(batch_first=True, sorted_lengths=True, min_length=2))
def test_sequences_are_padded_batches(plain: Sequences, other: Sequences) -> None:
    for case, (steps, batch) in ((plain, (0, 1)), (other, (1, 0))):
        assert case.values.requires_grad and case.values.ndim == 3
        assert case.values.shape[steps] == max(case.lengths) and case.values.shape[batch] == len(case.lengths)
    for n, length in enumerate(plain.lengths):
        assert length >= 1 and not plain.values.numpy(force=True)[length:, n].any()
    assert other.lengths == sorted(other.lengths, reverse=True) and min(other.lengths) >= 2


@settings(max_examples=8)
@given(recurrent_layers(layers=2, hidden=2, steps=3, batch=2))
def test_recurrent_layers_have_right_gradients(case: RecurrentCase) -> None:
    """Away from relu's kink: with it a step of 2e-3 may cross one."""
    if "relu" in str(getattr(case.layer, "nonlinearity", "")):
        assert all(y.ndim == 3 for y in case())
        return
    assert_gradients(lambda *_: case(), case.inputs(), order=1, rtol=1e-6)


@given(recurrent_layers(kinds=("LSTM",), num_layers=1, bidirectional=True, batch_first=False))
def test_options_that_are_given_are_not_drawn(case: RecurrentCase) -> None:
    assert (case.layer.num_layers, case.layer.bidirectional, case.layer.batch_first) == (1, True, False)
    assert {str(t.dtype) for t in case.inputs()} == {"torch.float64"}


def test_samples_can_be_added() -> None:
    with pytest.raises(ValueError, match="primitive 'no_such_thing' is not registered"):
        samples("no_such_thing")
    try:

        @add_samples("mine")
        def row() -> Any:
            return st.just(1)

        inexact("mine", "a test")
        assert SAMPLES["mine"] is row and INEXACT["mine"] == "a test"
    finally:
        SAMPLES.pop("mine", None)
        INEXACT.pop("mine", None)


def test_a_registered_primitive_without_samples_is_named() -> None:
    with pytest.raises(ValueError, match="primitive 'output' has no samples: declare some with add_samples"):
        samples("output")

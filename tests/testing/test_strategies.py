"""The strategies keep their promises: ranges, distances, layouts, shapes that fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.vendor.pretty import pretty

import tinygrad_rnn as tg
from tinygrad_rnn.testing import (
    RecurrentCase,
    Sequences,
    add_samples,
    arrays,
    assert_gradients,
    broadcastable_shapes,
    inexact,
    laid_out,
    layouts,
    recurrent_layers,
    samples,
    sequences,
    shapes,
    tensors,
)
from tinygrad_rnn.testing.sample_calls import INEXACT, SAMPLES

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
        arrays((2, 2), layout=None),
        lambda a: not a.flags.c_contiguous and not a.flags.f_contiguous and a.strides[0] > 0,
        settings=SMALLEST,
    )
    assert (found == 1).all()  # and the values shrink all the same


@given(tensors(), tensors(dtype=np.int64, low=0, high=5), tensors(requires_grad=False))
def test_floating_tensors_require_grad_unless_told_otherwise(x: tg.Tensor, n: tg.Tensor, c: tg.Tensor) -> None:
    assert x.requires_grad and x.is_leaf and not n.requires_grad and not c.requires_grad


SHRUNK = [
    (lambda a: a.size > 0, {}, 1.0),
    (lambda a: (a > 0.3).any(), {}, 1.0),
    (lambda a: (a < -0.3).any(), {}, -1.0),
    (lambda a: (abs(a) > 1.9).any(), {}, 2.0),
    (lambda a: (a == 0).any(), {}, 0.0),
    (lambda a: ((a > 0.2) & (a < 0.3)).any(), {}, 0.25),
    (lambda a: (a > 300).any(), {"low": -1000, "high": 1000}, 301.0),
    (lambda a: a.size > 0, {"low": 0.1, "high": 0.9}, 0.5),
    (lambda a: a.size > 0, {"low": -5.5, "high": -0.3}, -1.0),
    (lambda a: a.size > 0, {"away_from": (1.0,)}, 2.0),
    (lambda a: a.size > 0, {"step": 0.1, "low": 3.7, "high": 4.4}, 4.0),
]


@pytest.mark.parametrize(("fails", "options", "simplest"), SHRUNK)
def test_a_failing_tensor_shrinks_to_readable_numbers(fails: Any, options: Any, simplest: float) -> None:
    found = find(tensors(**options), lambda x: bool(fails(x._data)), settings=SMALLEST)
    assert found.shape == () and found.item() == simplest


def test_values_differ_and_0_is_among_them() -> None:
    seen: list[float] = []

    @settings(max_examples=200, database=None, derandomize=True)
    @given(arrays((8,)))
    def look(a: np.ndarray) -> None:
        seen.extend(a.tolist())

    look()
    assert len(set(seen)) > 100 and 0.003 < seen.count(0.0) / len(seen) < 0.1
    assert min(seen) == -2 and max(seen) == 2 and 0.3 < sum(v > 0 for v in seen) / len(seen) < 0.8


def test_a_range_without_a_multiple_of_the_step_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"there is no multiple of 0.5 between 0.6 and 0.9"):
        find(arrays(low=0.6, high=0.9, step=0.5), lambda a: True)


# what is printed ---------------------------------------------------------------------------------------------------


def printed(value: Any) -> str:
    return str(pretty(value))


def again(text: str) -> Any:
    return eval(text, {"tg": tg, "laid_out": laid_out, "np": np})


@given(tensors(shapes(0, 3, 0, 3), requires_grad=True) | tensors(dtype=np.float32) | tensors(dtype=np.int64, low=-3))
def test_a_printed_example_makes_the_same_tensor_again(x: tg.Tensor) -> None:
    twin = again(printed(x))
    assert twin._data.tobytes() == x._data.tobytes() and twin.shape == x.shape and twin.dtype == x.dtype
    assert twin.requires_grad == x.requires_grad and twin.is_leaf
    moves = [k for k, n in enumerate(x.shape) if n > 1]
    assert 0 in x.shape or [twin._data.strides[k] for k in moves] == [x._data.strides[k] for k in moves]


def test_a_printed_example_is_exact_and_short() -> None:
    x = tg.tensor([[0.1, 1 / 3], [1e-300, 2.0]], dtype=tg.float64, requires_grad=True)
    assert printed(x) == "tg.tensor([[0.1, 0.3333333333333333], [1e-300, 2.0]], dtype=tg.float64, requires_grad=True)"
    assert again(printed(tg.tensor([float("nan"), float("-inf")])))._data.tolist()[1] == float("-inf")
    assert printed(laid_out(x.detach(), "reversed")).startswith("laid_out(tg.tensor([[0.1, ")
    assert printed([tg.tensor(True)]) == "[tg.tensor(True, dtype=tg.bool)]"
    assert "MulBackward0" in printed(x * 2)  # no line makes this one again


@pytest.mark.parametrize("layout", ["contiguous", "fortran", "strided", "reversed", "offset"])
def test_layouts_are_laid_out(layout: str) -> None:
    x = tg.tensor(np.arange(6.0).reshape(2, 3))
    found = laid_out(x, layout)
    assert isinstance(found, tg.Tensor) and found.tolist() == x.tolist()
    assert (found._data.strides == x._data.strides) is (layout == "contiguous")
    assert isinstance(laid_out(x._data, layout), np.ndarray)


def test_tensors_vary_in_layout_unless_told_otherwise() -> None:
    seen: set[tuple[int, ...]] = set()

    @settings(max_examples=400)
    @given(tensors((2, 3)))
    def look(x: tg.Tensor) -> None:
        seen.add(x._data.strides)

    look()
    assert seen == {(24, 8), (8, 16), (48, 16), (-24, 8), (32, 8)}

    @given(tensors(layout="contiguous"), arrays(layout="contiguous"))
    def contiguous(x: tg.Tensor, a: np.ndarray) -> None:
        assert x._data.flags.c_contiguous and a.flags.c_contiguous

    contiguous()


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

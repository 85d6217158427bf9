"""Clipping gives PyTorch's gradients and norms, names what is not finite, and looks at no value it need not."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
import tinygrad_rnn.nn.utils
from tests.golden import clip_cases as cases
from tests.golden import packed
from tests.support.profiles import examples
from tests.support.rows import together
from tinygrad_rnn.errors import TinygradRnnError
from tinygrad_rnn.nn.utils import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)

GOLDEN = packed.read(pathlib.Path(__file__).parents[2] / "golden" / "clip.npz")


def golden(prefix: str) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: array for name, array in GOLDEN.items() if name.startswith(prefix)}


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert sorted(ours) == sorted(theirs)
    for name, expected in theirs.items():
        assert ours[name].dtype == expected.dtype and ours[name].shape == expected.shape, name
        # a few units in the last place: sums of at most 22 squares in another order
        tolerance = 4 * np.finfo(expected.dtype).eps
        if expected.dtype == np.float64:  # of gradients of two dtypes: the norms of the others are float32
            tolerance = 4 * np.finfo(np.float32).eps
        np.testing.assert_allclose(ours[name], expected, rtol=tolerance, err_msg=name)


@together
@pytest.mark.parametrize("name", cases.BY_NORM)
def test_norms_and_gradients_are_those_of_pytorch(name: str) -> None:
    assert_same(cases.clipped(tg, cases.BY_NORM[name]), golden(f"norm/{name}/"))


@pytest.mark.parametrize("name", cases.BY_VALUE)
def test_clamped_gradients_are_those_of_pytorch(name: str) -> None:
    assert_same(cases.clamped(tg, cases.BY_VALUE[name]), golden(f"value/{name}/"))


@settings(max_examples=examples(60))
@given(
    st.lists(st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=6), max_size=4),
    st.floats(0, 20),
    st.sampled_from(cases.NORMS),
    st.sampled_from(["float32", "float64"]),
)
def test_random_gradients_follow_pytorch_where_it_is_installed(
    grads: list[list[float]], limit: float, p: Any, dtype: str
) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for lib in (tg, torch):
        params = cases.parameters(lib, [np.array(g, dtype) for g in grads])
        total = lib.nn.utils.clip_grad_norm_(params, limit, norm_type=p)
        results.append({"total": np.array(total.numpy()), **cases.values(params)})
    for name, expected in results[1].items():
        # powers of tiny entries (p = 0.5, -1) carry their rounding through another power
        tolerance = 100 * np.finfo(dtype).eps
        np.testing.assert_allclose(results[0][name], expected, rtol=tolerance, atol=1e-30, err_msg=name)


def leaf(*values: float) -> Any:
    p = tg.zeros(len(values), requires_grad=True)
    p.grad = tg.tensor(np.array(values, "float32"))
    return p


def test_clipping_keeps_the_direction_and_reaches_the_norm() -> None:
    p, q = leaf(3.0, -4.0), leaf(12.0)
    before = np.array([3.0, -4.0, 12.0])
    assert clip_grad_norm_([p, q], 2.0).item() == 13.0
    after = np.concatenate([p.grad.numpy(), q.grad.numpy()])
    np.testing.assert_allclose(after, before * 2 / 13, rtol=1e-6)
    assert get_total_norm([p.grad, q.grad]).item() == pytest.approx(2.0, rel=1e-6)


def test_a_tensor_a_list_and_a_generator_are_taken() -> None:
    for give in (lambda p: p, lambda p: [p], lambda p: (q for q in [p]), lambda p: iter([p])):
        p = leaf(3.0, 4.0)
        assert clip_grad_norm_(give(p), 1.0).item() == 5.0
        np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8], rtol=1e-6)
        clip_grad_value_(give(p), 0.5)
        assert p.grad.tolist() == [0.5, 0.5]


def test_nothing_to_clip_gives_zero_and_an_empty_generator_warns() -> None:
    for params in ([], [tg.zeros(2, requires_grad=True)]):
        total = clip_grad_norm_(params, 1.0)
        assert total.item() == 0.0 and total.shape == () and total.dtype == np.float32
    with pytest.warns(UserWarning, match="`parameters` is an empty generator, no gradient clipping will occur") as w:
        clip_grad_norm_((p for p in []), 1.0)
    assert w[0].filename == __file__
    clip_grad_value_([], 1.0)
    clip_grads_with_norm_([], 1.0, tg.tensor(1.0))
    assert get_total_norm([]).item() == 0.0


def test_memory_and_identity_of_the_gradient_stay() -> None:
    p = leaf(3.0, 4.0)
    grad, memory = p.grad, p.grad._data
    clip_grad_norm_(p, 1.0)
    clip_grad_value_(p, 0.1)
    assert p.grad is grad and grad._data is memory


def test_a_norm_computed_before_scales_as_clip_grad_norm_does() -> None:
    p, q = leaf(3.0, 4.0), leaf(3.0, 4.0)
    clip_grad_norm_(p, 1.0)
    assert clip_grads_with_norm_(q, 1.0, get_total_norm(q.grad)) is None
    assert p.grad.tolist() == q.grad.tolist()


def test_the_norm_stays_an_array() -> None:
    total = clip_grad_norm_(leaf(1.0), 1.0)
    assert isinstance(total, tg.Tensor) and type(total._data) is np.ndarray and not total.requires_grad


def test_clipping_is_not_recorded_and_is_noticed_as_a_write() -> None:
    w = tg.tensor([3.0, 4.0], requires_grad=True)
    (w * w).sum().backward(create_graph=True)
    assert w.grad is not None
    loss = (w.grad * w.grad).sum()
    clip_grad_norm_(w, 1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# What is not finite -------------------------------------------------------------------------------------------


def test_the_error_says_which_parameters_are_not_finite_and_nothing_is_changed() -> None:
    params = [leaf(1.0, 2.0), tg.zeros(2, requires_grad=True), leaf(np.nan, np.inf, 0.0), leaf(1.0), leaf(-np.inf)]
    with pytest.raises(RuntimeError) as caught:
        clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    message = str(caught.value)
    assert isinstance(caught.value, TinygradRnnError)
    assert message.startswith(
        "The total norm of order 2.0 for gradients from `parameters` is non-finite, so it cannot be clipped. "
        "To disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
    )
    assert (
        "parameters[2] of shape (3,): 1 nan, 1 inf among 3 entries; parameters[4] of shape (1,): 0 nan, 1 inf"
        in message
    )
    assert "parameters[0]" not in message
    assert params[0].grad.tolist() == [1.0, 2.0]


def test_pytorch_opens_its_error_with_the_same_words() -> None:
    torch = pytest.importorskip("torch")
    messages = []
    for lib in (tg, torch):
        params = cases.parameters(lib, cases.gradients("nan"))
        with pytest.raises(RuntimeError) as caught:
            lib.nn.utils.clip_grad_norm_(params, 1.0, norm_type=1.0, error_if_nonfinite=True)
        messages.append(str(caught.value))
    assert messages[0].startswith(messages[1])


def test_an_overflowing_norm_is_told_from_infinite_entries() -> None:
    with pytest.raises(RuntimeError, match="Every entry is finite: the norm itself overflows its dtype"):
        clip_grad_norm_(leaf(3e19, 4e19), 1.0, error_if_nonfinite=True)
    with pytest.raises(RuntimeError, match=re.escape("tensors[1] of shape (1,): 1 nan, 0 inf among 1 entries")):
        get_total_norm([tg.tensor([1.0]), tg.tensor([np.nan])], error_if_nonfinite=True)


def test_many_bad_gradients_make_a_short_message() -> None:
    with pytest.raises(RuntimeError, match="and 12 more"):
        clip_grad_norm_([leaf(np.nan) for _ in range(20)], 1.0, error_if_nonfinite=True)


def test_by_default_an_infinite_norm_leaves_zeros_and_nans() -> None:
    p = leaf(1.0, np.inf)
    assert clip_grad_norm_(p, 1.0).item() == np.inf  # and NumPy says nothing of inf * 0
    np.testing.assert_array_equal(p.grad.numpy(), [0.0, np.nan])


# Mistakes -----------------------------------------------------------------------------------------------------


def test_integers_and_empty_extremes_are_refused_in_the_words_of_pytorch() -> None:
    with pytest.raises(RuntimeError, match="Expected a floating point or complex tensor as input. Got"):
        get_total_norm([tg.tensor([1, 2])])
    message = "linalg.vector_norm cannot compute the inf norm on an empty tensor because the operation does not have"
    with pytest.raises(RuntimeError, match=message):
        get_total_norm([tg.zeros(0)], np.inf)
    assert get_total_norm([tg.zeros(0)]).item() == 0.0


def test_the_old_name_warns() -> None:
    p = leaf(3.0, 4.0)
    with pytest.warns(FutureWarning, match="clip_grad_norm` is now deprecated") as w:
        assert clip_grad_norm(p, 1.0).item() == 5.0
    assert w[0].filename == __file__


def test_more_axes_and_strides_make_no_difference() -> None:
    values = np.arange(24, dtype="float64").reshape(2, 3, 4) - 7
    p = tg.tensor(np.zeros((4, 2, 3)), requires_grad=True)
    p.grad = tg.as_tensor(values.copy().transpose(2, 0, 1))
    for norm in cases.NORMS:
        assert get_total_norm(p.grad, norm).item() == pytest.approx(get_total_norm(tg.tensor(values), norm).item())
    clip_grad_norm_(p, 1.0)
    np.testing.assert_allclose(p.grad.numpy().transpose(1, 2, 0), values / (np.sqrt((values**2).sum()) + 1e-6))

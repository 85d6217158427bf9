"""Each law holds for right gradients, and is broken by a wrong one made for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import tinygrad_rnn as tg
from tests.support.wrong import times
from tinygrad_rnn.autograd import GradcheckError
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.tape.apply import primitive
from tinygrad_rnn.tape.primitive import REGISTRY
from tinygrad_rnn.testing import (
    CheckFailed,
    Program,
    assert_adjoint,
    assert_batch_permutes,
    assert_deterministic,
    assert_gradient_of_sum,
    assert_gradients,
    assert_laws,
    assert_primitive,
    assert_tied_is_sum_of_untied,
    assert_unmutated,
    assert_vjp_linear,
    programs,
)


@pytest.fixture(autouse=True)
def scrap() -> Iterator[None]:
    """Primitives declared in a test leave the registry with it."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def leaf(*values: Any) -> tg.Tensor:
    return tg.tensor(np.array(values), dtype=tg.float64, requires_grad=True)


def doubling(vjp: Any, name: str = "wrong") -> Any:
    return primitive(name, lambda a: a * 2.0, vjp)


@given(programs(max_steps=8))
def test_laws_hold_for_random_programs(program: Program) -> None:
    assert_laws(program, program.tensors())


@given(programs(max_steps=6), programs(max_steps=6))
def test_the_gradient_of_a_sum_of_programs_is_the_sum_of_their_gradients(one: Program, other: Program) -> None:
    """The second program runs on the first one's inputs as far as there are enough of them."""
    leaves = one.tensors()
    assert_gradient_of_sum([one, lambda *xs: tuple(tg.tanh(y) for y in one(*xs)), lambda *xs: xs[0] * xs[0]], leaves)


def test_linear() -> None:
    assert_vjp_linear(tg.exp, [leaf(1.0, 2.0)])
    with pytest.raises(CheckFailed, match="the vjp is not linear in its cotangent, for input 0"):
        assert_vjp_linear(doubling(lambda g, y, a: 2 * g + 1e-6), [leaf(1.0, 2.0)])


def test_adjoint() -> None:
    assert_adjoint(tg.exp, [leaf(1.0, 2.0)])

    def one_way(g: Any, y: Any, a: Any) -> Any:
        return g * 3.0 if isinstance(g, tg.Tensor) else g * 2.0

    with pytest.raises(CheckFailed, match="vjp and jvp are not adjoint"):
        assert_adjoint(doubling(one_way), [leaf(1.0, 2.0)])


def test_gradient_of_sum() -> None:
    assert_gradient_of_sum([tg.exp, tg.tanh], [leaf(1.0, 2.0)])
    bad = doubling(lambda g, y, a: g * (2 if g.strides[0] else 3))  # the cotangent of a sum is one number, repeated
    with pytest.raises(CheckFailed, match="the gradient of a sum is not the sum of gradients, for input 0"):
        assert_gradient_of_sum([bad, tg.tanh], [leaf(1.0, 2.0)])
    calls = iter(range(100))
    drifts = doubling(lambda g, y, a: g * 2 + next(calls) * 1e-6, "drifts")
    with pytest.raises(CheckFailed, match="Backward is not reentrant"):
        assert_gradient_of_sum([drifts, tg.tanh], [leaf(1.0, 2.0)])


def test_tied() -> None:
    def chain(a: tg.Tensor, b: tg.Tensor, c: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        return c @ tg.tanh(b @ tg.tanh(a @ x))

    w, x = tg.tensor([[0.5, -1.0], [2.0, 0.3]], dtype=tg.float64, requires_grad=True), leaf(1.0, -1.0)
    assert_tied_is_sum_of_untied(chain, w, 3, x)
    with pytest.raises(CheckFailed, match="a tensor used 3 times did not get the sum of its uses' gradients"):
        assert_tied_is_sum_of_untied(lambda a, b, c, x: chain(a, b, c, x) if a is b else chain(a, b, c, 2 * x), w, 3, x)


def test_batch() -> None:
    x, w = tg.tensor(np.arange(12.0).reshape(4, 3) / 5, dtype=tg.float64, requires_grad=True), leaf(1.0, -1.0, 0.5)
    assert_batch_permutes(lambda x, w: tg.tanh(x * w), [x, w], [0, None], [0])
    with pytest.raises(CheckFailed, match="output 0 does not follow its batch"):
        assert_batch_permutes(lambda x, w: x * w + x[0], [x, w], [0, None], [0])
    bad = doubling(lambda g, y, a: 2 * g + g[:1])
    with pytest.raises(CheckFailed, match="the gradient of input 0 does not follow the batch"):
        assert_batch_permutes(lambda x, w: bad(x) * w, [x, w], [0, None], [0])


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_laws_of_values_hold_layers_whose_input_needs_no_gradient(dtype: Any) -> None:
    """The output requires grad by the layer's parameters alone."""
    layer, x = tg.nn.Linear(3, 2, dtype=dtype), tg.randn(4, 3, dtype=dtype)
    assert_batch_permutes(layer, [x], [0], [0])
    assert_deterministic(layer, [x])
    with pytest.raises(CheckFailed, match="does not follow its batch"):
        assert_batch_permutes(lambda x: layer(x) - layer(x)[0], [x], [0], [0])


def test_a_batch_without_gradients_is_compared_by_its_values_in_their_own_precision() -> None:
    """A law over values alone: there is nothing to pull back, and rounding is that of the outputs' dtype."""
    for dtype in (tg.float64, tg.float32):
        x = tg.tensor(np.linspace(-1.0, 1.0, 12).reshape(4, 3), dtype=dtype)
        w = tg.tensor(np.linspace(0.1, 0.7, 9).reshape(3, 3), dtype=dtype)
        assert_batch_permutes(
            lambda x, w: x @ w * (1 + 4 * float(np.finfo(x.dtype).eps) * float(x[0, 0] > 0)), [x, w], [0, None], [0]
        )
        with pytest.raises(CheckFailed, match="output 0 does not follow its batch"):
            assert_batch_permutes(lambda x: x - x[0], [x], [0], [0])


@pytest.mark.parametrize(
    "law",
    [
        lambda x: assert_gradient_of_sum([tg.tanh, tg.exp], [x]),
        lambda x: assert_tied_is_sum_of_untied(lambda a, b: a * b, x, 2),
    ],
)
def test_a_law_of_gradients_needs_an_input_that_has_one(law: Any) -> None:
    with pytest.raises(ArgumentError, match="no input requires grad, so that no law can be tested"):
        law(tg.ones(2, dtype=tg.float64))


def test_unmutated() -> None:
    assert_unmutated(lambda x: x.reshape(2, 1), [leaf(1.0, 2.0)])

    def writes(x: tg.Tensor) -> tg.Tensor:
        x._data[0] = 7.0
        return x * 2

    with pytest.raises(CheckFailed, match="tensor input 0 was written to"):
        assert_unmutated(writes, [leaf(1.0, 2.0)])

    def greedy(g: Any, y: Any, a: Any) -> Any:
        g *= 2.0
        return g

    with pytest.raises(CheckFailed, match="the cotangent of output 0 was written to"):
        assert_unmutated(doubling(greedy), [leaf(1.0, 2.0)])


def test_deterministic() -> None:
    assert_deterministic(tg.exp, [leaf(1.0, 2.0)])
    rng = np.random.default_rng(0)
    with pytest.raises(CheckFailed, match="two runs gave different values of output 0: they differ by up to"):
        assert_deterministic(lambda x: x * float(rng.random()), [leaf(1.0)])
    bad = doubling(lambda g, y, a: g * 2 * (1 + 1e-14 * rng.random()))
    with pytest.raises(CheckFailed, match="two runs gave different gradients of input 0"):
        assert_deterministic(bad, [leaf(*np.linspace(1, 2, 50))])


# assert_gradients --------------------------------------------------------------------------------------------------


def test_a_factor_too_small_for_gradcheck_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = REGISTRY["tanh"].vjps[0]
    monkeypatch.setattr(REGISTRY["tanh"], "vjps", (times(right, 1 + 1e-6),))  # type: ignore[arg-type]
    x = leaf(0.3, 0.4)
    assert tg.autograd.gradcheck(tg.tanh, x)
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        assert_gradients(tg.tanh, [x], rtol=1e-7)


def test_it_reports_what_it_saw() -> None:
    report = assert_gradients(lambda x: x * x, [leaf(0.3, 0.4)], order=2)
    assert report.worst < 1e-10 and report.signal > 0.1


def test_kinks_are_refused() -> None:
    with pytest.raises(CheckFailed, match="the inputs are at a kink or an edge"):
        assert_gradients(tg.relu, [leaf(0.0, 1.0)])
    with pytest.raises(CheckFailed, match="the inputs are at a kink or an edge"):
        assert_gradients(tg.maximum, [leaf(1.0), leaf(1.0 + 1e-4)])


def test_a_test_of_nothing_is_refused() -> None:
    with pytest.raises(CheckFailed, match="nothing is tested"):
        assert_gradients(lambda x: x * 1e-9, [leaf(1.0)], min_signal=1e-3)


def test_second_order_mistakes_are_seen_at_order_two_alone() -> None:
    def detached(g: Any, y: Any, a: Any) -> Any:
        return g * (1 - (y.detach() if isinstance(y, tg.Tensor) else y) ** 2)

    bad = primitive("half_done", np.tanh, detached, "y")
    assert_gradients(bad, [leaf(0.3)])
    with pytest.raises(GradcheckError):
        assert_gradients(bad, [leaf(0.3)], order=2)


def test_a_primitive_is_checked_by_name() -> None:
    assert assert_primitive("mul", [np.array([1.0, 2.0]), np.array(3.0)]).worst < 1e-9
    doubling(lambda g, y, a: g * 2.002, "nearly")
    with pytest.raises(GradcheckError):
        assert_primitive("nearly", [np.array([1.0, 2.0])])


def test_the_laws_hold_in_single_precision_to_its_own_rounding() -> None:
    x = tg.tensor([0.3, -1.0, 2.0], requires_grad=True)
    tg.testing.assert_laws(lambda x: (x.sin(), tg.softmax(x, 0)), [x])
    tg.testing.assert_gradient_of_sum([tg.tanh, tg.exp], [x])
    tg.testing.assert_tied_is_sum_of_untied(lambda a, b: (a * b).exp(), x, 2)
    bad = primitive("nearly_linear", np.sin, lambda g, y, a: g * np.cos(a) + 1e-2 * g * abs(g), "a")
    with pytest.raises(CheckFailed, match="the vjp is not linear"):
        tg.testing.assert_vjp_linear(bad, [x])


def test_laws_of_nothing_and_axes_of_nothing_are_refused_in_words() -> None:
    x = tg.ones(3, dtype=tg.float64)
    for law in (tg.testing.assert_laws, tg.testing.assert_vjp_linear, tg.testing.assert_adjoint):
        with pytest.raises(tg.errors.ArgumentError, match="no input requires grad, so that no law can be tested"):
            law(tg.sin, [x])
    x.requires_grad_()
    with pytest.raises(tg.errors.ArgumentError, match="axes must name the batch axis, or None, of each of 1, got"):
        tg.testing.assert_batch_permutes(tg.sin, [x], axes=[0, None], output_axes=[0])
    with pytest.raises(tg.errors.ArgumentError, match="output_axes must name the batch axis, or None, of each of 1"):
        tg.testing.assert_batch_permutes(tg.sin, [x], axes=[0], output_axes=[])
    with pytest.raises(tg.errors.ArgumentError, match="no input has a batch axis"):
        tg.testing.assert_batch_permutes(tg.sin, [x], axes=[None], output_axes=[None])
    with pytest.raises(tg.errors.ArgumentError, match="primitive 'nope' is not registered"):
        assert_primitive("nope", [np.ones(2)])


def test_a_mismatch_of_single_precision_says_so() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.warns(UserWarning), pytest.raises(GradcheckError, match="precision: the input is float32") as caught:
        tg.autograd.gradcheck(lambda x: (x * 2).sin(), [x])
    assert caught.value.mismatch is not None and caught.value.mismatch.coarse == "float32"
    with pytest.raises(GradcheckError) as caught:
        tg.autograd.gradcheck(lambda x: x * x.detach(), [x.detach().double().requires_grad_()])
    assert caught.value.mismatch is not None and caught.value.mismatch.coarse is None

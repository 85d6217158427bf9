"""What vjps remember within one sweep: the transposed copy of a weight that is used at every step."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.tape.modes import state

STEPS = 5


def unrolled(h: tg.Tensor, weights: list[tg.Tensor]) -> tg.Tensor:
    for w in weights:
        h = tg.tanh(h @ w)
    return (h * h).sum()


def test_a_weight_that_is_used_again_has_the_sum_of_the_gradients_of_its_uses() -> None:
    tg.manual_seed(0)
    w = tg.randn(32, 32, dtype=tg.float64) / 6  # large enough to be copied
    h = tg.randn(4, 32, dtype=tg.float64)
    tied = w.clone().requires_grad_()
    unrolled(h, [tied] * STEPS).backward()
    untied = [w.clone().requires_grad_() for _ in range(STEPS)]
    unrolled(h, untied).backward()
    total = np.sum([u.grad.numpy() for u in untied], axis=0)
    np.testing.assert_allclose(tied.grad.numpy(), total, rtol=1e-12, atol=1e-14)  # rounding of float64


def test_a_weight_that_was_changed_between_two_sweeps_is_not_taken_for_what_it_was() -> None:
    tg.manual_seed(0)
    h, w = tg.randn(4, 32, dtype=tg.float64), (tg.randn(32, 32, dtype=tg.float64) / 6).requires_grad_()
    unrolled(h, [w] * STEPS).backward()
    with tg.no_grad():
        w.neg_()
    w.grad = None
    unrolled(h, [w] * STEPS).backward()
    fresh = w.detach().clone().requires_grad_()
    unrolled(h, [fresh] * STEPS).backward()
    np.testing.assert_array_equal(w.grad.numpy(), fresh.grad.numpy())


def test_the_memo_lives_as_long_as_its_sweep_and_sweeps_within_sweeps_have_their_own() -> None:
    seen: list[object] = []
    x = tg.ones(2, requires_grad=True)
    inner = tg.ones(2, requires_grad=True)

    def hook(g: tg.Tensor) -> None:
        before = state.here.memo
        with tg.enable_grad():
            (inner * 2).sum().backward()
        seen.extend([before, state.here.memo])

    y = x * 2
    y.register_hook(hook)
    y.sum().backward()
    assert seen[0] is not None
    assert seen[0] is seen[1]
    assert state.here.memo is None

    def fail(g: tg.Tensor) -> None:
        raise KeyError("stop")

    y = x * 2
    y.register_hook(fail)
    with pytest.raises(KeyError):
        y.sum().backward()
    assert state.here.memo is None


@pytest.mark.parametrize("dtype", [tg.float16, tg.float32, tg.float64])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_the_gradient_of_a_bias_is_the_sum_over_rows(dtype: np.dtype, rows: int) -> None:
    bias = tg.zeros(4, dtype=dtype, requires_grad=True)
    seed = tg.arange(rows * 4).reshape(rows, 4).to(dtype)
    (tg.zeros(rows, 4, dtype=dtype) + bias).backward(seed)
    assert bias.grad.dtype == dtype
    assert bias.grad.tolist() == seed.numpy().sum(axis=0).tolist()

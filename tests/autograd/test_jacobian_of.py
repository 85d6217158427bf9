"""The Jacobian between tensors that are there already: against ``jacobian``, through layers and time, and its cost."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.autograd.functional import hessian, jacobian, jacobian_of

STEPS, BATCH, SIZE, HIDDEN = 5, 3, 2, 4
EXACT = {"rtol": 1e-12, "atol": 1e-14}
"""Of numbers near 1 in float64: sums of some twenty products, in another order."""


def drawn(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


def close(a: Any, b: Any) -> None:
    a, b = a.detach().numpy(), b.detach().numpy() if isinstance(b, tg.Tensor) else b
    np.testing.assert_allclose(a, b, **EXACT)
    assert np.abs(a).max() > 1e-3


def mixture(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
    return tg.tanh(x @ w).cumsum(0) * x.sum(1, keepdim=True)


# against jacobian() --------------------------------------------------------------------------------------------------


def test_it_is_the_jacobian_of_the_function_that_was_applied() -> None:
    x, w = drawn(3, 2), drawn(2, 4, seed=1)
    found = jacobian_of(mixture(x, w), (x, w))
    assert isinstance(found, tuple) and [tuple(j.shape) for j in found] == [(3, 4, 3, 2), (3, 4, 2, 4)]
    for j, expected in zip(found, jacobian(mixture, (x, w)), strict=True):
        close(j, expected)


def test_x_may_be_any_tensor_on_the_way() -> None:
    x, w = drawn(3, 2), drawn(2, 4, seed=1)
    h = x * x
    close(jacobian_of(mixture(h, w), h), jacobian(lambda h: mixture(h, w), h.detach()))


def test_of_a_tensor_by_itself_it_is_the_unit_matrix() -> None:
    x = drawn(2, 2)
    assert jacobian_of(x, x).reshape(4, 4).tolist() == np.eye(4).tolist()
    assert jacobian_of(x[0], x).reshape(2, 4).tolist() == np.eye(4)[:2].tolist()


def test_of_a_number_it_is_the_gradient() -> None:
    x = drawn(3)
    close(jacobian_of((x**3).sum(), x), 3 * x.detach().numpy() ** 2)


def test_samples_of_a_batch_are_the_diagonal_blocks_of_the_whole() -> None:
    x, w = drawn(BATCH, 2), drawn(2, 4, seed=1)
    y = tg.tanh(x @ w) * x.sum(1, keepdim=True)
    whole, blocks = jacobian_of(y, x), jacobian_of(y, x, batched=True)
    assert blocks.shape == (BATCH, 4, 2)
    close(blocks, np.stack([whole.numpy()[n, :, n] for n in range(BATCH)]))


@pytest.mark.parametrize("create_graph", [False, True])
def test_axes_of_samples_may_be_any_and_differ(create_graph: bool) -> None:
    x = drawn(2, BATCH, 3)  # samples along axis 1
    y = (x.exp() * x).sum(2).T  # (BATCH, 2)
    z = x.permute(0, 2, 1).tanh()  # along the last
    whole = jacobian_of(y, x).numpy()
    close(
        jacobian_of(y, x, batched=(0, 1), create_graph=create_graph),
        np.stack([whole[n, :, :, n] for n in range(BATCH)]),
    )
    whole = jacobian_of(z, x).numpy()
    close(
        jacobian_of(z, x, batched=(-1, -2), create_graph=create_graph),
        np.stack([whole[:, :, n, :, n] for n in range(BATCH)]),
    )


# through layers and time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("impl", ["fused", "composed"])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_of_a_final_state_by_inputs_and_initial_states(kind: str, impl: str) -> None:
    layer = getattr(tg.nn, kind)(SIZE, HIDDEN, num_layers=2, impl=impl, dtype=tg.float64)
    x = drawn(STEPS, BATCH, SIZE)
    states = tuple(drawn(2, BATCH, HIDDEN, seed=k) for k in range(1, 3 if kind == "LSTM" else 2))

    def last(x: Any, *states: Any) -> Any:
        return layer(x, states if kind == "LSTM" else states[0])[0][-1]

    y = last(x, *states)
    found = jacobian_of(y, (x, *states), batched=(0, 1))
    for n in range(BATCH):
        alone = jacobian(last, tuple(t.detach()[:, n : n + 1] for t in (x, *states)))
        for j, expected in zip(found, alone, strict=True):
            close(j[n], expected[0, :, :, 0])
    whole = jacobian_of(y, x)
    close(found[0], np.stack([whole.numpy()[n, :, :, n] for n in range(BATCH)]))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_of_a_fused_layer_by_its_weights_it_is_that_of_the_composed_one(kind: str) -> None:
    layers = [getattr(tg.nn, kind)(SIZE, HIDDEN, impl=impl, dtype=tg.float64) for impl in ("fused", "composed")]
    layers[1].load_state_dict(layers[0].state_dict())
    x = drawn(STEPS, BATCH, SIZE)
    for fused, composed in zip(*[jacobian_of(layer(x)[0], tuple(layer.parameters())) for layer in layers], strict=True):
        close(fused, composed)


def test_through_time_it_is_the_product_of_the_steps() -> None:
    cell = tg.nn.RNNCell(SIZE, HIDDEN, dtype=tg.float64)
    x, h = drawn(STEPS, BATCH, SIZE), [drawn(BATCH, HIDDEN, seed=1)]
    for t in range(STEPS):
        h.append(cell(x[t], h[-1]))
    steps = [jacobian_of(after, before, batched=True).numpy() for before, after in itertools.pairwise(h)]
    product = np.eye(HIDDEN)
    for step in steps:
        product = step @ product
    close(jacobian_of(h[-1], h[0], batched=True), product)
    slopes = 1 - h[1].detach().numpy() ** 2
    close(tg.tensor(steps[0]), slopes[:, :, None] * cell.weight_hh.detach().numpy())


# orders, graphs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batched", [False, True])
def test_with_create_graph_it_can_be_differentiated(batched: bool) -> None:
    x = drawn(BATCH, 2)
    y = (x**3).sum(1) if batched else (x**3).sum()
    j = jacobian_of(y, x, batched=batched, create_graph=True)
    close(j, 3 * x.detach().numpy() ** 2)
    close(jacobian_of(j, x), hessian(lambda x: (x**3).sum(), x.detach()))
    assert jacobian_of(y, x, batched=batched).requires_grad is False


def test_the_graph_is_kept_and_no_gradient_is_accumulated() -> None:
    x = drawn(3)
    y = x.exp()
    jacobian_of(y, x)
    assert x.grad is None
    y.sum().backward()
    close(x.grad, y)


def test_it_works_within_no_grad() -> None:
    x = drawn(3)
    y = x.exp()
    with tg.no_grad():
        close(jacobian_of(y, x), np.diag(y.numpy()))


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64, tg.float16])
def test_it_has_the_dtype_of_x(dtype: Any) -> None:
    x = tg.tensor([[0.5, 1.0]] * 3, dtype=dtype, requires_grad=True)
    assert jacobian_of(x.exp().double(), x).dtype == dtype
    assert jacobian_of(x.exp().double().sum(1), x, batched=True).dtype == dtype


def test_empty_tensors_have_empty_jacobians() -> None:
    x, e = drawn(2, 3), drawn(2, 0)
    assert jacobian_of(x[:0], x).shape == (0, 3, 2, 3)
    assert jacobian_of(x * e.sum(), e).shape == (2, 3, 2, 0)
    assert jacobian_of(x[:, :0], x, batched=True).shape == (2, 0, 3)
    assert jacobian_of(x * e.sum(1, keepdim=True), e, batched=True).shape == (2, 3, 0)
    assert jacobian_of(x[:, :0], x, create_graph=True).shape == (2, 0, 2, 3)
    none = drawn(0, 3)
    assert jacobian_of(none * 2, none, batched=True).shape == (0, 3, 3)


# cost ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batched", "sweeps"), [(False, 3 * BATCH), (True, 3 + 1)])
def test_the_number_of_sweeps(batched: bool, sweeps: int) -> None:
    x = drawn(BATCH, 3)
    h = x.tanh()
    seen = []
    h.register_hook(lambda g: seen.append(g))
    jacobian_of(h * h, x, batched=batched)
    assert len(seen) == sweeps


def test_beside_the_result_there_is_no_second_one() -> None:
    x = drawn(400)
    y = x.exp()
    jacobian_of(y, x)
    gc.collect()
    tracemalloc.start()
    try:
        found = jacobian_of(y, x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found._data.nbytes <= peak < 1.1 * found._data.nbytes


# mistakes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [1.0, 1e-3, 1e-6])
@pytest.mark.parametrize("create_graph", [False, True])
def test_samples_that_depend_on_each_other_are_found(strength: float, create_graph: bool) -> None:
    x = drawn(6, 2)
    for other in (x.mean(0), x.roll(1, 0), x.flip(0), x.cumsum(0)):
        with pytest.raises(ValueError, match=r"batched=\(0, 0\), but samples of y depend on other samples of x"):
            jacobian_of(x * x + strength * other, x, batched=True, create_graph=create_graph)


def test_of_independent_samples_no_rounding_is_taken_for_a_dependence() -> None:
    """In float32, over long sequences, with large and with small derivatives side by side."""
    layer = tg.nn.LSTM(3, 8)
    x = tg.tensor(np.random.default_rng(0).standard_normal((60, 16, 3)), dtype=tg.float32, requires_grad=True)
    for scale in (1.0, 1e-6, 1e6):
        found = jacobian_of(layer(x)[0][-1] * scale, x, batched=(0, 1))
        assert found.shape == (16, 8, 60, 3) and bool(found.isfinite().all())


def test_what_does_not_depend_on_x_is_an_error_or_zeros() -> None:
    x, other = drawn(2, 3), drawn(2, 3)
    with pytest.raises(RuntimeError, match="The differentiated Tensor at index 0 appears to not have been used"):
        jacobian_of(x * 2, other)
    for batched, shape in ((False, (2, 3, 2, 3)), (True, (2, 3, 3))):
        zeros = jacobian_of(x * 2, other, allow_unused=True, batched=batched)
        assert zeros.shape == shape and zeros.abs().max().item() == 0
    twice, zeros = jacobian_of(x * 2, (x, other), allow_unused=True)
    assert twice.abs().sum().item() == 12 and zeros.abs().max().item() == 0


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda x: jacobian_of(x.detach(), x), RuntimeError, "element 0 of tensors does not require grad"),
        (lambda x: jacobian_of(x * 2, x.detach()), RuntimeError, "One of the differentiated Tensors does not require"),
        (lambda x: jacobian_of([x], x), TypeError, "y given to jacobian_of must be either a Tensor"),
        (lambda x: jacobian_of((x, x), x), TypeError, "y must be one tensor"),
        (lambda x: jacobian_of(x, x.detach().numpy()), TypeError, "x given to jacobian_of must be either a Tensor"),
        (lambda x: jacobian_of(x.sum(), x, batched=True), RuntimeError, "a tensor without axes is no batch"),
        (
            lambda x: jacobian_of(x.sum(0), x, batched=True),
            RuntimeError,
            "y has 3 samples along axis 0 of .3., and x 2",
        ),
        (lambda x: jacobian_of(x, x, batched=(0, 2)), IndexError, "Dimension out of range"),
    ],
)
def test_mistakes_are_named(call: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call(drawn(2, 3))

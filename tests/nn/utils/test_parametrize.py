"""Parametrised weights: computed where they are read, trained through, and PyTorch's in names and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, ShapeError
from tinygrad_rnn.nn.utils import parametrize
from tinygrad_rnn.nn.utils.parametrizations import weight_norm


class Doubled(tg.nn.Module):
    def forward(self, x: Any) -> Any:
        return 2 * x

    def right_inverse(self, x: Any) -> Any:
        return x / 2


class Flat(tg.nn.Module):
    def forward(self, x: Any) -> Any:
        return x.reshape(-1)


def test_the_gradient_reaches_the_original_through_the_parametrisation() -> None:
    layer = tg.nn.Linear(3, 2, bias=False)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert bool((layer.weight == before).all())  # by right_inverse
    x = tg.randn(4, 3)
    layer(x).sum().backward()
    original = layer.parametrizations.weight.original
    np.testing.assert_allclose(original.grad.numpy(), 2 * np.broadcast_to(x.numpy().sum(0), (2, 3)), rtol=1e-5)


def test_a_parametrised_recurrent_weight_is_tied_over_time() -> None:
    tg.manual_seed(0)
    lstm = weight_norm(tg.nn.LSTM(2, 3), "weight_hh_l0").double()
    x = tg.randn(5, 2, 2, dtype=tg.float64)
    g, v = lstm.parametrizations.weight_hh_l0.original0, lstm.parametrizations.weight_hh_l0.original1

    def loss() -> Any:
        return (lstm(x)[0] ** 2).sum()

    loss().backward()
    for p in (g, v):
        index = (4, 0)
        with tg.no_grad():
            p[index] += 1e-6
            above = loss().item()
            p[index] -= 2e-6
            below = loss().item()
            p[index] += 1e-6
        slope = (above - below) / 2e-6
        assert abs(slope) > 1e-4
        assert abs(p.grad[index].item() - slope) < 1e-7 * max(1, abs(slope)) + 1e-8  # central difference, step 1e-6


def test_removing_leaves_the_value_and_the_class() -> None:
    layer = tg.nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is tg.nn.Linear and not parametrize.is_parametrized(layer)
    assert isinstance(layer.weight, tg.nn.Parameter) and bool((layer.weight == before).all())


def test_assigning_a_value_sets_the_original() -> None:
    layer = parametrize.register_parametrization(tg.nn.Linear(2, 2, bias=False), "weight", Doubled())
    layer.weight = tg.ones(2, 2)
    assert layer.parametrizations.weight.original.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_mistakes_are_named() -> None:
    layer = tg.nn.Linear(2, 2)
    with pytest.raises(ArgumentError, match="does not have a parameter.*'wieght'"):
        parametrize.register_parametrization(layer, "wieght", Doubled())
    with pytest.raises(ShapeError, match="may not change the shape"):
        parametrize.register_parametrization(layer, "weight", Flat())
    with pytest.raises(ArgumentError, match="does not have a parametrization on weight"):
        parametrize.remove_parametrizations(layer, "weight")


def test_states_and_numbers_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 4))
    ours = weight_norm(tg.nn.Linear(3, 4))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    left, right = ours(tg.tensor(x)), theirs(torch.tensor(x))
    left.sum().backward(), right.sum().backward()
    np.testing.assert_allclose(left.detach().numpy(), right.detach().numpy(), rtol=1e-5)  # float32 rounding
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-4, atol=1e-6)  # float32 rounding

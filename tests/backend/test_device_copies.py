"""Joining by copies of memory gives what the array module's own functions give, and is used where it should be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support import arrays
from tinygrad_rnn.backend.gpu import device_copies


@pytest.fixture
def double() -> Any:
    with arrays.module("double") as xp:
        yield xp


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    copy = device_copies._copy
    monkeypatch.setattr(device_copies, "_copy", lambda *args: (found.append(args[-1]), copy(*args)))
    return found


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parts_of_several_widths(double: Any, copies: list[int], axis: int) -> None:
    parts = []
    for k in (1, 3, 2):
        shape = [2, 4, 3]
        shape[axis] = k
        parts.append(np.random.default_rng(k).normal(size=shape))
    found = device_copies.joined(double, [double.asarray(p) for p in parts], axis)
    np.testing.assert_array_equal(found.get(), np.concatenate(parts, axis))
    assert len(copies) == 3


def test_parts_that_do_not_lie_together_are_left_to_the_module(double: Any, copies: list[int]) -> None:
    a = double.asarray(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(device_copies.joined(double, [a.T, a.T], 1).get(), np.concatenate([a.get().T] * 2, 1))
    with pytest.raises(TypeError):
        device_copies.joined(double, [a, np.ones((2, 3))], 0)
    assert not copies


@pytest.mark.parametrize(
    ("cut", "copied"),
    [
        (np.s_[..., 1:3], 1),
        (np.s_[:, :, ::2], 0),
        (np.s_[:, 1:], 0),
        (np.s_[::-1], 0),
        (np.s_[1:], 0),
        (np.s_[0, :, 1:], 1),
    ],
)
def test_halves_become_dense(double: Any, copies: list[int], cut: Any, copied: int) -> None:
    a = np.arange(24.0).reshape(2, 3, 4)
    found = device_copies.dense(double, double.asarray(a)[cut])
    np.testing.assert_array_equal(found.get(), a[cut])
    assert found.flags.c_contiguous and len(copies) == copied


def test_a_stack_of_layers_joins_by_copies(double: Any, copies: list[int]) -> None:
    layer = tg.nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    x, h, c = (np.random.default_rng(1).normal(size=s).astype("f") for s in [(5, 2, 3), (4, 2, 4), (4, 2, 4)])
    found = []
    for device in ("cpu", "cuda"):
        leaves = [tg.tensor(a, device=device, requires_grad=True) for a in (x, h, c)]
        y, (h_n, c_n) = layer.to(device)(leaves[0], (leaves[1], leaves[2]))
        loss = (y**2).sum() + (h_n**3).sum() + (c_n[1:] ** 2).sum()
        found.append([g.cpu().numpy() for g in tg.autograd.grad(loss, leaves)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        assert np.abs(one).max() > 1e-2
    assert len(copies) >= 2 * 2 + 2 * 4 + 2 * 4  # outputs, final states, gradients of initial ones


def test_a_write_to_the_initial_states_is_found() -> None:
    layer = tg.nn.GRU(2, 3, num_layers=2)
    h = tg.ones(2, 1, 3, requires_grad=True) * 1.0
    y, _ = layer(tg.ones(4, 1, 2), h)
    h[0] = 0.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        tg.autograd.grad(y.sum(), [layer.weight_hh_l0])

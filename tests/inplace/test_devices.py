"""Writes in place on arrays of a GPU, or of a strict double of CuPy: the numbers and gradients of the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support import arrays
from tinygrad_rnn.errors import InplaceError

MODULES = ["numpy", "double", pytest.param("cupy", marks=pytest.mark.gpu)]


def program(make: Any) -> list[Any]:
    """Every kind of write once; the tensors to look at."""
    x = make(np.arange(1.0, 13).reshape(3, 4)).requires_grad_()
    w = make(np.linspace(-1, 1, 4)).requires_grad_()
    y = x * 1
    row, turned, entry = y[0], y.T, y[1, 2]
    row += w
    turned[1] *= 2
    entry.mul_(3)
    y[2] = w * w
    y[..., 3] = y[:, 0]
    y[[0, 2]] = y[:2] * 0.5
    y[make(np.array([True, False, True])), 1] = w[:2]
    y[make(np.array([1])), 2:] -= w[0]
    flat = y.reshape(-1)
    flat[5:7].tanh_()
    y.masked_fill_(y > 8, 0.25)
    y.clamp_(-2, 6)
    z = make(np.zeros((3, 4)))
    z.copy_(y)
    z.unsqueeze_(0)
    z[0, 0].exp_()
    z.detach()[0, 1].zero_()
    gradients = tg.autograd.grad((z * z * make(np.arange(12.0).reshape(1, 3, 4))).sum() + y.sum(), [x, w])
    return [y.detach(), z.detach(), row.detach(), turned.detach(), entry.detach(), *gradients]


@pytest.mark.parametrize("name", MODULES[1:])
def test_writes_have_the_numbers_and_gradients_of_the_host(name: str) -> None:
    expected = program(tg.tensor)
    with arrays.module(name) as xp:
        found = program(lambda values: tg.as_tensor(xp.asarray(values)))
        for ours, host in zip(found, expected, strict=True):
            assert isinstance(ours._data, xp.ndarray)
            np.testing.assert_allclose(xp.asnumpy(ours._data), host._data, rtol=1e-12, atol=1e-12)
            assert np.abs(host._data).max() > 0


@pytest.mark.parametrize("name", MODULES)
def test_stale_values_are_found_by_their_own_entries(name: str) -> None:
    with arrays.module(name) as xp:
        w = tg.as_tensor(xp.asarray([2.0])).requires_grad_()
        h = tg.as_tensor(xp.asarray(np.ones((4, 1))))
        for t in range(1, 4):
            h[t] = h[t - 1] * w
        (g,) = tg.autograd.grad(h[3].sum(), w, retain_graph=True)
        assert g.item() == 12.0
        h[1] = 0
        with pytest.raises(InplaceError, match="modified by an inplace operation"):
            h[3].sum().backward()


@pytest.mark.parametrize("name", MODULES[1:])
def test_a_place_named_twice_is_refused_on_a_gpu(name: str) -> None:
    with arrays.module(name) as xp:
        x = tg.as_tensor(xp.asarray(np.zeros(3)))
        v = tg.as_tensor(xp.asarray(np.ones(2))).requires_grad_()
        with pytest.raises(InplaceError, match="names a place twice, and on a GPU it is not defined which value stays"):
            x[[1, 1]] = v
        assert x._version == 0
        x[[1, 2]] = v
        x.sum().backward()
        assert v.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", MODULES[1:])
def test_a_value_from_the_host_is_moved(name: str) -> None:
    with arrays.module(name) as xp:
        x = tg.as_tensor(xp.asarray(np.zeros((2, 2))))
        v = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
        x[1] = v
        x[0] = tg.tensor([3.0, 4.0], dtype=tg.float64)
        x.sum().backward()
        assert isinstance(x._data, xp.ndarray) and x.tolist() == [[3.0, 4.0], [1.0, 2.0]]
        assert v.grad.device.type == "cpu" and v.grad.tolist() == [1.0, 1.0]

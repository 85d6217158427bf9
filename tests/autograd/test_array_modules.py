"""The tools of autograd on every array module: nothing leaves the device behind the user's back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.autograd.graph import save_on_cpu, saved_tensors_hooks
from tinygrad_rnn.backend import to_numpy


class Pair(tg.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y, z = x * x, x.exp()
        ctx.save_for_backward(x, z)
        return y, z

    @staticmethod
    def backward(ctx: Any, g: Any, h: Any) -> Any:
        x, z = ctx.saved_tensors
        return g * 2 * x + h * z


@pytest.fixture
def x(xp: Any) -> Any:
    return tg.as_tensor(xp.asarray([0.5, 1.0, 2.0])).requires_grad_()


def same(t: Any, expected: Any) -> bool:
    return bool(np.allclose(to_numpy(t.detach()._data), expected, rtol=1e-12))  # float64, a few roundings


V = np.array([0.5, 1.0, 2.0])


def test_custom_functions(x: Any) -> None:
    y, _z = Pair.apply(x)
    assert type(y._data) is type(x._data)
    (g,) = tg.autograd.grad(y.sum(), x, create_graph=True)  # the gradient of z is zeros, of this module
    assert same(g, 2 * V)
    (g,) = tg.autograd.grad((Pair.apply(x)[1] * x).sum(), x, create_graph=True)
    assert same(g, np.exp(V) * (V + 1)) and same(tg.autograd.grad(g.sum(), x)[0], np.exp(V) * (V + 2))


def test_own_primitives(x: Any) -> None:
    from tinygrad_rnn.autograd import extension
    from tinygrad_rnn.tape.primitive import REGISTRY

    square = tg.autograd.primitive(lambda g, y, a: g * 2 * a, saves=("a",), name="square_of_a_test")(lambda a: a * a)
    try:
        (g,) = tg.autograd.grad(square(x).sum(), x, create_graph=True)
        assert same(g, 2 * V) and same(tg.autograd.grad(g.sum(), x)[0], 2 + 0 * V)
    finally:
        del REGISTRY["square_of_a_test"]
        extension._own.discard("square_of_a_test")


def test_hooks(x: Any) -> None:
    h = x * 2
    h.retain_grad()
    h.register_hook(lambda g: g * 3)
    h.grad_fn.register_hook(lambda gi, go: tuple(None if g is None else g + 1 for g in gi))
    (h * h).sum().backward()
    assert same(h.grad, 12 * V) and same(x.grad, 24 * V + 1)


def test_functional(x: Any) -> None:
    v = tg.as_tensor(x._data * 0 + 1)
    f = lambda x: (x**3).sum()  # noqa: E731
    assert same(tg.autograd.functional.hessian(f, x), np.diag(6 * V))
    assert same(tg.autograd.functional.hvp(f, x, v)[1], 6 * V)
    assert same(tg.autograd.functional.jvp(lambda x: x**3, x, v)[1], 3 * V**2)
    assert same(tg.autograd.functional.jacobian(lambda x: x**3, x, strategy="forward-mode"), np.diag(3 * V**2))
    y = x**3
    assert same(tg.autograd.functional.jacobian_of(y, x), np.diag(3 * V**2))
    assert same(tg.autograd.functional.jacobian_of(y, x, batched=True), 3 * V**2)
    assert same(tg.autograd.functional.jacobian_of(y, x, create_graph=True), np.diag(3 * V**2))


def test_checkpoint(x: Any) -> None:
    (g,) = tg.autograd.grad(tg.utils.checkpoint.checkpoint(lambda x: x.exp() * x, x).sum(), x, create_graph=True)
    assert same(g, np.exp(V) * (V + 1)) and same(tg.autograd.grad(g.sum(), x)[0], np.exp(V) * (V + 2))


def test_anomaly_mode(x: Any) -> None:
    expected = pytest.raises(tg.autograd.AnomalyError, match="3 of 3 entries, the first at .0.")
    with expected as caught, tg.autograd.detect_anomaly():
        (tg.sqrt(x * 0) * 0).sum().backward()
    assert "Values saved for it: float64[3] from 0 to 0" in str(caught.value)


def test_hooks_on_saved_values(x: Any) -> None:
    for hooks in (save_on_cpu(), saved_tensors_hooks(lambda t: t * 2, lambda t: t / 2)):
        with hooks:
            y = (x * x).exp()
        assert same(tg.autograd.grad(y.sum(), x)[0], 2 * V * np.exp(V * V))


def test_the_tape_shows_and_keeps_arrays_of_the_module(x: Any) -> None:
    with tg.Tape() as tape:
        y = (x * x).sum() * 2
    steps = tape.backward(y)
    assert [step.name for step in steps] == ["%2", "%1", "%0", "x"]
    assert all(type(c.value) is type(x._data) for step in steps[2:] for c in step.contributions)
    assert same(tg.as_tensor(steps[-1].cotangent), 4 * V) and same(x.grad, 4 * V)
    shares = tape.shares(x)
    x.grad.zero_()
    assert [same(tg.as_tensor(share.value), 2 * V) for share in shares] == [True, True]
    assert tape.table("value").split("\n")[1:] == ["[0.25, 1.  , 4.  ]", "5.25", "10.5"]

"""Recurrent layers at saturated gates, nan and infinities: every kernel as the composed layer, which is PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tinygrad_rnn.backends.recurrent import only

LAYERS: list[tuple[str, dict[str, Any]]] = [("LSTM", {}), ("GRU", {}), ("RNN", {}), ("RNN", {"nonlinearity": "relu"})]
SHAPE = (4, 2, 2)

layers = pytest.mark.parametrize(
    ("kind", "options"), LAYERS, ids=lambda v: v if isinstance(v, str) else str(*v.values())
)
kernels = pytest.mark.parametrize("kernel", ["numpy", "numba"])


def gradients(t: Any, kind: str, options: dict[str, Any], x: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """The output, then the gradients of its sum by the input and by the parameters, in float32."""
    rng = np.random.default_rng(seed)
    layer = getattr(t.nn, kind)(2, 3, **options)
    with t.no_grad():
        for p in layer.parameters():
            p.copy_(t.tensor(0.7 * rng.standard_normal(tuple(p.shape)).astype(np.float32)))
    leaf = t.tensor(x.astype(np.float32), requires_grad=True)
    y = layer(leaf)[0]
    y.sum().backward()
    return [y.detach().numpy(), leaf.grad.numpy(), *(p.grad.numpy() for p in layer.parameters())]


def with_kernel(kernel: str, *args: Any) -> list[np.ndarray]:
    if kernel == "numba":
        pytest.importorskip("numba")
    with only(kernel):
        return gradients(tg, *args)


def inputs(what: str) -> np.ndarray:
    rng = np.random.default_rng(1)
    if what == "saturated":
        return rng.choice([-1e30, 1e30], SHAPE)
    return np.where(rng.random(SHAPE) < 0.2, {"nan": np.nan, "infinite": np.inf}[what], 1.0)


@pytest.mark.parametrize("what", ["saturated", "nan", "infinite"])
@kernels
@layers
def test_a_kernel_does_as_the_composed_layer(kind: str, options: dict[str, Any], kernel: str, what: str) -> None:
    x = inputs(what)
    found = with_kernel(kernel, kind, options, x)
    for got, expected in zip(found, gradients(tg, kind, {**options, "impl": "composed"}, x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)  # float32, sums of a dozen terms


@pytest.mark.parametrize("what", ["saturated", "nan", "infinite"])
@layers
def test_the_composed_layer_does_as_pytorchs(kind: str, options: dict[str, Any], what: str) -> None:
    torch = pytest.importorskip("torch")
    x = inputs(what)
    found, theirs = gradients(tg, kind, {**options, "impl": "composed"}, x), gradients(torch, kind, options, x)
    for got, expected in zip(found, theirs, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@kernels
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_saturated_gate_has_no_slope(kind: str, kernel: str) -> None:
    """However large the input is that its slope is multiplied by."""
    layer = getattr(tg.nn, kind)(1, 3)
    with tg.no_grad():
        layer.weight_ih_l0.copy_(tg.tensor(np.resize([[1.0], [-1.0], [0.5]], layer.weight_ih_l0.shape)))
    if kernel == "numba":
        pytest.importorskip("numba")
    with only(kernel):
        layer(tg.tensor([[[1e38]], [[-1e38]], [[3e38]]]))[0].sum().backward()
    assert layer.weight_ih_l0.grad.tolist() == tg.zeros_like(layer.weight_ih_l0).tolist()


@kernels
def test_a_relu_layer_stops_what_does_not_pass_and_lets_nan_through(kernel: str) -> None:
    layer = tg.nn.RNN(1, 2, nonlinearity="relu")
    with tg.no_grad():
        for p in layer.parameters():
            p.fill_(0.0)
        layer.weight_ih_l0.copy_(tg.tensor([[1.0], [-1.0]]))
    if kernel == "numba":
        pytest.importorskip("numba")
    for x, seed, expected in (
        (np.nan, [2.0, 3.0], 2.0 - 3.0),
        (np.inf, [2.0, 3.0], 2.0),
        (1.0, [2.0, np.inf], 2.0),
        (-1.0, [np.nan, 3.0], -3.0),
    ):
        leaf = tg.tensor([[[x]]], requires_grad=True)
        with only(kernel):
            layer(leaf)[0].backward(tg.tensor([[seed]]))
        assert leaf.grad is not None and leaf.grad.item() == expected

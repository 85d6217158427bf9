"""Complex numbers are values and no more: operations compute with them, and gradients of them are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import DtypeError

Z = np.array([[0.5 - 1.0j, -2.0 + 0.3j, 1.5 + 0.0j], [0.1 + 2.0j, -0.7 - 0.2j, 3.0 - 1.0j]])

VALUES: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], Any]]] = {
    "arithmetic": (lambda z: (z * z - 2j) / z + 1, lambda z: (z * z - 2j) / z + 1),
    "pow": (lambda z: z**2.5, lambda z: z**2.5),
    "exp": (tg.exp, np.exp),
    "log": (tg.log, np.log),
    "sqrt": (tg.sqrt, np.sqrt),
    "tanh": (tg.tanh, np.tanh),
    "sigmoid": (tg.sigmoid, lambda z: 1 / (1 + np.exp(-z))),
    "sin": (tg.sin, np.sin),
    "abs": (tg.abs, np.abs),
    "matmul": (lambda z: z @ z.T, lambda z: z @ z.T),
    "sum": (lambda z: z.sum(0), lambda z: z.sum(0)),
    "mean": (lambda z: z.mean(1), lambda z: z.mean(1)),
    "prod": (lambda z: z.prod(1), lambda z: z.prod(1)),
    "cumsum": (lambda z: z.cumsum(1), lambda z: z.cumsum(1)),
    "einsum": (lambda z: tg.einsum("ij,kj->ik", z, z), lambda z: np.einsum("ij,kj->ik", z, z)),
    "norm": (lambda z: z.norm(), np.linalg.norm),
    "cat": (lambda z: tg.cat([z, z]), lambda z: np.concatenate([z, z])),
    "index": (lambda z: z[:, [0, 2]], lambda z: z[:, [0, 2]]),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_values_are_those_of_numpy(name: str, dtype: Any) -> None:
    ours, theirs = VALUES[name]
    z = Z.astype(dtype)
    found, expected = ours(tg.tensor(z)).numpy(), theirs(z)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype is np.complex64 else 1e-13)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tg.tensor([1j], requires_grad=True),
        lambda: tg.tensor([1j]).requires_grad_(),
        lambda: tg.nn.Parameter(tg.tensor([1j])),
        lambda: tg.nn.Linear(2, 2).to(tg.complex64),
        lambda: setattr(tg.ones(1, requires_grad=True), "data", tg.tensor([1j])),
    ],
)
def test_no_leaf_is_complex(make: Callable[[], Any]) -> None:
    sentence = "only Tensors of floating point dtype can require gradients, and this one is complex64. Instead keep the"
    with pytest.raises(DtypeError, match=sentence):
        make()


W = tg.tensor([1j, 2.0])


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x * 1j, lambda x: 1j - x, lambda x: x / W, lambda x: W**x, lambda x: x.to(tg.complex64),
        lambda x: tg.cat([x, W]), lambda x: tg.stack([W, x]), lambda x: tg.where(x > 0, x, W),
        lambda x: x.sum(dtype=W.dtype),
        lambda x: tg.einsum("i,i->", x, W), lambda x: np.multiply(x, W.numpy()),
        lambda x: tg.lerp(x, W, 0.5),
    ],
)  # fmt: skip
def test_gradients_do_not_pass_where_real_numbers_become_complex(compute: Callable[[Any], Any]) -> None:
    """A rule that is right for real numbers lacks a conjugate there: it would be wrong in silence."""
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = compute(x)
    assert y.is_complex() and y.requires_grad
    with pytest.raises(
        DtypeError, match="a float32 tensor that requires grad was converted to complex64, and gradients"
    ):
        y.abs().sum().backward()
    assert x.grad is None


def test_a_real_tensor_is_not_filled_with_complex_numbers() -> None:
    """It keeps its dtype, as PyTorch's: so there is nowhere for the imaginary part to go."""
    x = tg.tensor([1.0, 2.0])
    for fill in (lambda: x.masked_fill(x > 1, 1j), lambda: x.fill_(1j)):
        with pytest.raises(DtypeError, match="value cannot be converted to type float32 without overflow"):
            fill()
    assert W.masked_fill(x > 1, 3j).tolist() == [1j, 3j]

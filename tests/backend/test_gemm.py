"""Products on a GPU by one call of cuBLAS: those of the host, for every layout, and what cuBLAS does not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support import arrays
from tests.support.rows import together
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.backend.gpu import gemm

LAYOUTS = {
    "rows": lambda xp, a: xp.asarray(a),
    "columns": lambda xp, a: xp.asarray(np.ascontiguousarray(a.T)).T,
    "gaps": lambda xp, a: xp.asarray(np.repeat(a, 2, 1))[:, ::2],
}


@pytest.fixture(params=["double", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest) -> Iterator[Any]:
    with arrays.module(request.param) as found:
        yield found


@together
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("sizes", [(3, 4, 5), (1, 1, 1), (1, 6, 2), (5, 1, 3), (0, 2, 3), (2, 3, 0)])
@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_products_are_those_of_the_host_in_every_layout(left: str, right: str, sizes: Any, dtype: str, xp: Any) -> None:
    m, n, k = sizes
    rng = np.random.default_rng(0)
    a, b, c = [rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n), (m, n))]
    x, z = LAYOUTS[left](xp, a), LAYOUTS[right](xp, b)
    near = {"rtol": 1e-2, "atol": 1e-2} if dtype == "float16" else {"rtol": 1e-5, "atol": 1e-6}
    found = gemm.product(x, z)
    assert found.dtype == dtype and found.shape == (m, n)
    np.testing.assert_allclose(to_numpy(found), a @ b, **near)
    for layout in LAYOUTS:
        onto = LAYOUTS[layout](xp, c)
        assert gemm.product(x, z, onto) is onto
        np.testing.assert_allclose(to_numpy(onto), c + a @ b, **near)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(7, 3), (2, 5, 3), (1, 3), (4, 1)])
def test_sums_of_rows_are_those_of_the_host(shape: Any, dtype: str, xp: Any) -> None:
    a = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    expected = a.reshape(-1, shape[-1]).sum(0)
    for given in (shape[-1:], (2, shape[-1])):
        found = gemm.sum_of_rows(xp.asarray(a), given)
        assert found.shape == given and found.dtype == dtype
        np.testing.assert_allclose(to_numpy(found), np.broadcast_to(expected, given), rtol=1e-5, atol=1e-6)
        assert gemm.sum_of_rows(xp.asarray(a), given, onto=found) is found
        np.testing.assert_allclose(to_numpy(found), np.broadcast_to(2 * expected, given), rtol=1e-5, atol=1e-6)


def gradients(xp: Any, build: Any) -> list[Any]:
    rng = np.random.default_rng(0)
    leaves = [tg.as_tensor(xp.asarray(rng.standard_normal(s))).requires_grad_() for s in [(4, 4), (4,), (3, 4)]]
    build(*leaves).backward()
    return [to_numpy(leaf.grad._data) for leaf in leaves]


def _loop(W: Any, b: Any, x: Any) -> Any:
    h = x
    for _ in range(3):
        h = tg.tanh(h @ W + b)
    return h.sum()


BUILDS = {
    "a loop": _loop,
    "layers": lambda W, b, x: tg.nn.functional.linear(tg.tanh(tg.nn.functional.linear(x, W, b)), W, b).sum(),
    "of three axes": lambda W, b, x: tg.nn.functional.linear(tg.stack([x, 2 * x]), W, b).square().sum(),
    "one row": lambda W, b, x: tg.nn.functional.linear(x[:1], W, b).square().sum() + x.sum(),
    "a vector": lambda W, b, x: tg.nn.functional.linear(x[0], W, b).square().sum() + x.sum(),
    "first read as a whole": lambda W, b, x: (x @ W).square().sum() + (W * W).sum() + b.sum(),
    "a bias alone": lambda W, b, x: ((x + b) * (b + x)).sum() + (W + b).exp().sum(),
    "a bias read in another way first": lambda W, b, x: (b.flip(0) * b).sum() + (x + b).square().sum() + W.sum(),
    "transposed": lambda W, b, x: (x @ W.T + x @ W + b).square().sum(),
}


@pytest.mark.parametrize("name", BUILDS)
def test_gradients_of_weights_are_those_of_the_host(name: str, xp: Any) -> None:
    for here, there in zip(gradients(np, BUILDS[name]), gradients(xp, BUILDS[name]), strict=True):
        assert np.abs(here).max() > 0.1
        np.testing.assert_allclose(there, here, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 4), (4,), (1, 1, 4)])
def test_the_gradient_of_a_bias_shares_no_memory_with_the_cotangent(shape: Any) -> None:
    """Of one row the sum is that row: it must not be added to."""
    b = tg.zeros(4, requires_grad=True)
    g = tg.ones(shape)
    y = tg.nn.functional.linear(tg.ones(*shape[:-1], 2), tg.ones(4, 2), b)
    y.backward(g, retain_graph=True)
    assert b.grad.tolist() == [1, 1, 1, 1]
    y.backward(g)
    assert b.grad.tolist() == [2, 2, 2, 2] and bool((g == 1).all())
    (tg.nn.functional.linear(tg.ones(*shape[:-1], 2), tg.ones(4, 2), b) + b).backward(g)
    assert b.grad.tolist() == [4, 4, 4, 4] and bool((g == 1).all())


def test_uses_of_a_weight_are_added_by_cublas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three uses of a weight and a bias the first makes the array, and the others are products onto it."""
    onto = []
    original = gemm.multiply

    def multiply(*args: Any, add: bool = False, **options: Any) -> Any:
        onto.append(add)
        return original(*args, add=add, **options)

    monkeypatch.setattr(gemm, "multiply", multiply)
    with arrays.module("double") as double:
        gradients(double, _loop)
    assert onto.count(True) == 4

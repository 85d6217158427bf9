"""Weights cut into blocks of columns give the products of the whole weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.flat_kernels import flat
from tinygrad_rnn.kernels.recurrent.numpy import products
from tinygrad_rnn.kernels.recurrent.numpy.products import PackedWeights, Projection

TOLERANCE = 1e-12
"""Sums of at most 300 products of numbers of order 1, in float64, in another order."""


@pytest.fixture(params=[False, True], ids=["packed", "unpacked"])
def blas(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A BLAS that multiplies small products unpacked, up to 1000 multiplications, or one that does not."""
    monkeypatch.setattr(products, "multiplies_unpacked", lambda: request.param)
    monkeypatch.setattr(products, "blas_threads", lambda: 1)
    monkeypatch.setattr(products, "UNPACKED", 1000)
    monkeypatch.setattr(products, "WIDTHS", (8, 4))
    monkeypatch.setattr(products, "ROWS", 3)
    return bool(request.param)


def random(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


@pytest.mark.parametrize("size", [1, 4, 8, 16, 19, 22])
@pytest.mark.parametrize("height", [1, 15, 40, 300])
@pytest.mark.parametrize("products", [1, 100])
def test_blocks_and_rest_give_the_product_of_the_whole(blas: bool, size: int, height: int, products: int) -> None:
    w, scales = random(3, size, height), (0.5, 2.0, 1.0)
    right = PackedWeights([block.T for block in w], 5, scales, products)
    expected_width = 8 if height == 15 and size > 13 else 4 if height == 40 and size > 4 else size
    width = right.main.shape[-1] if blas and products > 1 else size
    assert width == (expected_width if blas and products > 1 else size)
    one, many = random(5, height), random(3, 5, height)
    for left, each in ((one, False), (many, True)):
        out = np.full((3, 5, size), np.nan)
        multiply, main, into, rest, into_rest = right.operands(out, each)
        (operand,) = right.lefts([left]) if each else [left]
        multiply(operand, main, out=into)
        if rest is not None:
            np.matmul(operand, rest, out=into_rest)
        expected = np.matmul(left, w.swapaxes(1, 2)) * np.array(scales)[:, None, None]
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(out, expected, rtol=0, atol=TOLERANCE * height)


@pytest.mark.parametrize("rows", [0, 1, 5, 6, 7, 31])
@pytest.mark.parametrize(("inputs", "size"), [(7, 5), (30, 19), (90, 6)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_projection_of_any_number_of_rows(blas: bool, rows: int, inputs: int, size: int, with_bias: bool) -> None:
    x, w, bias = random(rows, inputs), random(2 * size, inputs), random(2, 1, size) if with_bias else None
    scales = (0.5, 1.0)
    project = Projection(x, [w[size:], w[:size]], scales, bias)
    out = np.full((2, rows + 1, size), np.nan)[:, :rows]
    project(x, out)
    expected = np.stack([0.5 * x @ w[size:].T, x @ w[:size].T]) + (0 if bias is None else bias)
    np.testing.assert_allclose(out, expected, rtol=0, atol=TOLERANCE * inputs)


@pytest.mark.parametrize("kernel", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("size", [19, 24])  # with and without columns that fill no block
@pytest.mark.parametrize("sizes", [None, (5, 5, 4, 4, 2, 1)])
def test_a_layer_whose_weight_is_cut_is_the_layer_whose_weight_is_not(
    monkeypatch: pytest.MonkeyPatch, kernel: str, size: int, sizes: tuple[int, ...] | None
) -> None:
    gates, states = {"lstm": (4, 2), "gru": (3, 1), "rnn": (1, 1)}[kernel]
    arrays = [random(6, 5, 3) if sizes is None else random(sum(sizes), 3), *(random(5, size) for _ in range(states))]
    arrays += [random(*shape) / 3 for shape in ((gates * size, 3), (gates * size, size), (gates * size,))]
    arrays.append(arrays[-1] + 1)
    results = []
    for cut in (False, True):
        monkeypatch.setattr(products, "multiplies_unpacked", lambda cut=cut: cut)
        monkeypatch.setattr(products, "blas_threads", lambda: 1)
        monkeypatch.setattr(products, "UNPACKED", 1000)
        monkeypatch.setattr(products, "WIDTHS", (8, 4))
        outputs, residual = flat(kernel).forward(*arrays, sizes=sizes)
        gs = [np.cos(y) for y in outputs]
        results.append([*outputs, *flat(kernel).backward(gs, residual, *arrays, needs=[True] * 8)])
    assert len(PackedWeights([arrays[-3][:size].T], 5, products=6).main.shape) == 4  # it was cut
    for whole, pieces in zip(*results, strict=True):
        if whole is not None:
            np.testing.assert_allclose(pieces, whole, rtol=0, atol=TOLERANCE)

"""Rows of a table on a GPU, read and added to by a kernel: those of the host, where it is used and where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support import arrays, emulated, fakecupy, nvrtc
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.kernels.cuda_elementwise import embedding

needs_compiler = pytest.mark.skipif(emulated.COMPILER is None, reason="g++ is not installed")
KERNELS = ["rows_of_table", "add_rows"]


@pytest.fixture(params=[pytest.param("emulated", marks=needs_compiler), pytest.param("cupy", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    with emulated.device() if request.param == "emulated" else arrays.module("cupy") as found:
        yield found
    assert not embedding._broken


def looked_up(xp: Any, table: Any, index: Any, g: Any, **options: Any) -> list[Any]:
    """The rows and the gradient of the table."""
    weight = tg.as_tensor(xp.asarray(table)).requires_grad_()
    y = tg.nn.functional.embedding(tg.as_tensor(xp.asarray(index)), weight, **options)
    y.backward(tg.as_tensor(xp.asarray(g)))
    return [to_numpy(a._data) for a in (y.detach(), weight.grad)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (), (300,), (7, 5)])
@pytest.mark.parametrize("width", [1, 3, 64])
def test_rows_and_gradients_are_those_of_the_host(width: int, shape: Any, dtype: str, gpu: Any) -> None:
    rng = np.random.default_rng(0)
    table, index = rng.standard_normal((11, width)).astype(dtype), rng.integers(0, 11, shape)
    g = rng.standard_normal((*shape, width)).astype(dtype)
    here, there = looked_up(np, table, index, g), looked_up(gpu, table, index, g)
    np.testing.assert_array_equal(there[0], here[0])
    assert np.abs(here[1]).max() > 0.01
    np.testing.assert_allclose(there[1], here[1], rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-5)
    if gpu is fakecupy:
        assert emulated.launches == KERNELS


def test_a_row_that_pads_gets_no_gradient(gpu: Any) -> None:
    table, index = np.ones((4, 2), np.float32), np.array([1, 2, 1, 3])
    _, grad = looked_up(gpu, table, index, np.ones((4, 2), np.float32), padding_idx=1)
    assert grad.tolist() == [[0, 0], [0, 0], [1, 1], [1, 1]]


def test_gradients_of_several_uses_are_added(gpu: Any) -> None:
    weight = tg.as_tensor(gpu.asarray(np.ones((3, 2), np.float32))).requires_grad_()
    index = tg.as_tensor(gpu.asarray(np.array([0, 0, 2])))
    y = tg.nn.functional.embedding(index, weight)
    (y.sum() + 10 * weight[index].sum() + 100 * weight.sum()).backward()
    assert to_numpy(weight.grad._data).tolist() == [[122, 122], [100, 100], [111, 111]]


def test_numbers_wrap_around_as_in_cupy(gpu: Any) -> None:
    table = gpu.asarray(np.arange(6, dtype=np.float32).reshape(3, 2))
    found = embedding.rows_of_table(table, gpu.asarray(np.array([-1, 1, -3])))
    assert to_numpy(found).tolist() == [[4, 5], [2, 3], [0, 1]]


@needs_compiler
@pytest.mark.parametrize("why", ["float16", "int32 numbers", "a transposed table", "nothing", "deterministic"])
def test_what_the_kernels_do_not_take_is_done_by_cupy(why: str) -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((4, 4)).astype("float16" if why == "float16" else "float32")
    index = np.array([] if why == "nothing" else [3, 1, 1], "int32" if why == "int32 numbers" else "int64")
    g = rng.standard_normal((len(index), 4)).astype(table.dtype)
    found = []
    with emulated.device() as double:
        tg.use_deterministic_algorithms(why == "deterministic")
        try:
            for xp in (np, double):
                weight = tg.as_tensor(xp.asarray(table)).requires_grad_()
                read = weight.T if "transposed" in why else weight
                y = tg.nn.functional.embedding(tg.as_tensor(xp.asarray(index)), read)
                y.backward(tg.as_tensor(xp.asarray(g)))
                found.append([to_numpy(a._data) for a in (y.detach(), weight.grad)])
        finally:
            tg.use_deterministic_algorithms(False)
        assert emulated.launches == {"deterministic": KERNELS[:1], "a transposed table": KERNELS[1:]}.get(why, [])
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-2 if why == "float16" else 1e-5)


@needs_compiler
def test_kernels_that_do_not_compile_are_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "SOURCE", 'extern "C" __global__ void rows_of_table() { nonsense }')
    monkeypatch.setattr(embedding, "_broken", False)
    table, index, g = np.ones((3, 2), np.float32), np.array([0, 2]), np.ones((2, 2), np.float32)
    with emulated.device() as double:
        with pytest.warns(RuntimeWarning, match="rows are read on the GPU by CuPy from now on: rows_of_table"):
            _, first = looked_up(double, table, index, g)
        assert first.tolist() == looked_up(double, table, index, g)[1].tolist() == [[1, 1], [0, 0], [1, 1]]


@nvrtc.needs_nvrtc
@pytest.mark.parametrize("architecture", [75, 80, 90])
@pytest.mark.parametrize("real", ["float", "double"])
def test_the_compiler_takes_the_sources_and_nothing_spills(real: str, architecture: int) -> None:
    for found in nvrtc.compile_cuda(embedding.SOURCE, [f"-DREAL={real}"], architecture).values():
        assert found.spilled == found.stack == 0

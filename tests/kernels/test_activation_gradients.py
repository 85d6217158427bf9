"""Gradients of activations on a GPU by one kernel: those of the host, where the kernel is used and where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support import arrays, emulated, fakecupy, nvrtc
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.kernels.cuda_elementwise import activation_gradients

needs_compiler = pytest.mark.skipif(emulated.COMPILER is None, reason="g++ is not installed")
NAMES = list(activation_gradients.SOURCES)


@pytest.fixture(params=[pytest.param("emulated", marks=needs_compiler), pytest.param("cupy", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    with emulated.device() if request.param == "emulated" else arrays.module("cupy") as found:
        yield found
    assert not activation_gradients._broken


def gradient(xp: Any, name: str, a: Any, g: Any) -> Any:
    x = tg.as_tensor(xp.asarray(a)).requires_grad_()
    getattr(tg, name)(x).backward(tg.as_tensor(g))
    return to_numpy(x.grad._data)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 3, 200)])
def test_gradients_are_those_of_the_host(shape: Any, dtype: str, name: str, gpu: Any) -> None:
    rng = np.random.default_rng(0)
    a, g = (2 * rng.standard_normal(shape)).astype(dtype), rng.standard_normal(shape).astype(dtype)
    here, there = gradient(np, name, a, g.copy()), gradient(gpu, name, a, gpu.asarray(g))
    assert here.dtype == there.dtype and here.shape == there.shape and np.abs(here).max() > 1e-3
    # another tanh or exp, and products that are added unrounded: 1 - y^2 loses digits
    np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6 if dtype == "float32" else 1e-15)
    if gpu is fakecupy:
        assert emulated.launches == [f"{name}_slope"]


@pytest.mark.parametrize("name", NAMES)
def test_far_out_and_no_numbers(name: str, gpu: Any) -> None:
    a, g = np.array([800, -800, np.nan, 0, np.inf], np.float32), np.array([1, 1, 1, np.inf, 1], np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(gradient(gpu, name, a, gpu.asarray(g)), gradient(np, name, a, g))


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("why", ["float16", "a transposed gradient", "nothing", "a recorded sweep"])
def test_what_the_kernel_does_not_take_is_done_op_by_op(why: str, name: str) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((0, 2) if why == "nothing" else (3, 3)).astype("float16" if why == "float16" else "float32")
    found = []
    with emulated.device() as double:
        for xp in (np, double):
            x = tg.as_tensor(xp.asarray(a)).requires_grad_()
            y = getattr(tg, name)(x)
            g = tg.as_tensor(xp.asarray(a + 1))
            recorded = why == "a recorded sweep"
            (slope,) = tg.autograd.grad(y, x, g.T if "transposed" in why else g, create_graph=recorded)
            found.append(to_numpy(slope.detach()._data))
        assert emulated.launches == []
    np.testing.assert_allclose(*found, rtol=1e-2 if why == "float16" else 1e-5)


@needs_compiler
def test_a_kernel_that_does_not_compile_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(activation_gradients.SOURCES, "tanh", 'extern "C" __global__ void tanh_slope() { nonsense }')
    monkeypatch.setattr(activation_gradients, "_broken", False)
    a = np.array([0.5], np.float32)
    with emulated.device() as double:
        with pytest.warns(RuntimeWarning, match="activations on the GPU go op by op from now on: tanh_slope"):
            first = gradient(double, "tanh", a, double.ones(1, np.float32))
        assert (
            first == gradient(double, "tanh", a, double.ones(1, np.float32)) == gradient(np, "tanh", a, np.ones_like(a))
        )


@nvrtc.needs_nvrtc
@pytest.mark.parametrize("architecture", [75, 80, 90])
@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("name", NAMES)
def test_the_compiler_takes_the_sources_and_nothing_spills(name: str, real: str, architecture: int) -> None:
    (found,) = nvrtc.compile_cuda(activation_gradients.SOURCES[name], [f"-DREAL={real}"], architecture).values()
    assert found.spilled == found.stack == 0

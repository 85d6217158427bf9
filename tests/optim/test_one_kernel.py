"""One CUDA kernel updates, or clips, all parameters: run on the host from the sources that a GPU gets, and on a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.golden import optim_cases as cases
from tests.optim.test_device import train
from tests.support import arrays, emulated, fakecupy, nvrtc
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.kernels.cuda_elementwise import multi_tensor
from tinygrad_rnn.nn.utils import clip_grad, clip_grad_norm_, clip_grad_value_
from tinygrad_rnn.optim import adagrad, adam, rmsprop, sgd

KERNELS = [sgd.KERNEL, adam.KERNEL, rmsprop.KERNEL, adagrad.KERNEL, multi_tensor.norm, clip_grad.SCALE, clip_grad.CLAMP]
WITH_KERNEL = {"SGD": "sgd", "Adam": "adam", "AdamW": "adam", "RMSprop": "rmsprop", "Adagrad": "adagrad"}
SIZES = [(3,), (1,), (0,), (4, 5), (2000,), (), *[(2, 2)] * 70]  # more than one launch takes

needs_compiler = pytest.mark.skipif(emulated.COMPILER is None, reason="g++ is not installed")


@pytest.fixture(params=[pytest.param("emulated", marks=needs_compiler), pytest.param("cupy", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    for kernel in KERNELS:
        kernel._broken = False
    with emulated.device() if request.param == "emulated" else arrays.module("cupy") as found:
        yield found
    assert not any(kernel._broken for kernel in KERNELS)


def launched() -> list[str]:
    found = list(emulated.launches)
    emulated.launches.clear()
    return found


@pytest.mark.parametrize("name", [name for name, case in cases.CASES.items() if case[0] in WITH_KERNEL])
def test_trajectories_are_those_of_the_host(name: str, gpu: Any) -> None:
    expected = train(np, name)
    for ours, theirs in zip(train(gpu, name), expected, strict=True):
        # float32: sums of the norm in another order, fused multiply-adds, 20 steps
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    if gpu is fakecupy:
        kinds = launched()
        assert {WITH_KERNEL[cases.CASES[name][0]], "squares", "root_of_sum", "scale", "clamp"} == set(kinds)
        assert len(kinds) >= 80


def some(xp: Any, dtype: str = "float32", shapes: Any = SIZES) -> list[Any]:
    rng = np.random.default_rng(1)
    params = []
    for shape in shapes:
        p = tg.as_tensor(xp.asarray(rng.standard_normal(shape).astype(dtype))).requires_grad_()
        p.grad = tg.as_tensor(xp.asarray(rng.standard_normal(shape).astype(dtype)))
        params.append(p)
    return params


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", [3.0, 1e9])
def test_many_parameters_of_many_shapes(dtype: str, norm: float, gpu: Any) -> None:
    there, here = some(gpu, dtype), some(np, dtype)
    totals = [clip_grad_norm_(params, norm) for params in (there, here)]
    assert isinstance(totals[0]._data, gpu.ndarray) and totals[0].shape == () and totals[0].dtype == dtype
    np.testing.assert_allclose(totals[0].item(), totals[1].item(), rtol=1e-6)
    optimizers = [tg.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1) for p in (there, here)]
    for _ in range(2):
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(there, here, strict=True):
        np.testing.assert_allclose(to_numpy(a.grad._data), b.grad.numpy(), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(to_numpy(a._data), b.detach().numpy(), rtol=1e-5, atol=1e-6)
    if gpu is fakecupy:
        assert launched() == ["squares", "squares", "root_of_sum", "scale", "scale", *["sgd"] * 4]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_spread_as_on_the_host(bad: float, gpu: Any) -> None:
    results = []
    for xp in (gpu, np):
        params = some(xp, shapes=[(3,), (2,)])
        params[0].grad._data[1] = bad
        total = clip_grad_norm_(params, 1.0)
        optimizer = tg.optim.Adam(params, amsgrad=True)
        optimizer.step()
        optimizer.step()
        results.append([total.item(), *[to_numpy(p.grad._data) for p in params], *[to_numpy(p._data) for p in params]])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_clamping_keeps_nan_and_takes_both_signs(gpu: Any) -> None:
    values = np.array([np.nan, -3, -0.5, 0, 0.5, 3, np.inf, -np.inf], np.float32)
    p = tg.zeros(8, device="cuda").requires_grad_()
    p.grad = tg.as_tensor(gpu.asarray(values))
    clip_grad_value_([p], 0.5)
    np.testing.assert_array_equal(to_numpy(p.grad._data), np.clip(values, -0.5, 0.5))
    p.grad = tg.as_tensor(gpu.asarray(values))
    clip_grad_value_(p, 1.0, foreach=False)
    np.testing.assert_array_equal(to_numpy(p.grad._data), np.clip(values, -1.0, 1.0))
    if gpu is fakecupy:
        assert launched() == ["clamp"]


@needs_compiler
def test_memory_stays_where_it_is() -> None:
    with emulated.device() as double:
        params = some(double)
        arrays_before = [p._data for p in params]
        first_row = params[3].data[0]
        before, version = first_row.tolist(), params[3]._version
        optimizer = tg.optim.SGD(params, lr=1.0, momentum=0.5)
        optimizer.step()
        optimizer.step()
        assert all(p._data is a for p, a in zip(params, arrays_before, strict=True))
        assert first_row.tolist() != before and first_row.tolist() == params[3][0].tolist()
        assert params[3]._version > version
        assert set(optimizer.state_dict()["state"]) == set(range(len(params)))
        assert launched() == ["sgd"] * 4


@needs_compiler
@pytest.mark.parametrize("why", ["fused=False", "foreach=False", "a rate on the device", "float16", "a view twice"])
def test_what_a_kernel_may_not_do_is_done_array_by_array(why: str) -> None:
    with emulated.device() as double:
        params = some(double, "float16" if why == "float16" else "float32", [(4, 2), (3,)])
        options: dict[str, Any] = {}
        if "=False" in why:
            options[why.partition("=")[0]] = False
        lr: Any = tg.as_tensor(double.asarray(np.float32(0.5))) if "rate" in why else 0.5
        if why == "a view twice":
            params.append(params[0].data[1:3].requires_grad_())
            params[2].grad = params[0].grad[1:3]
        start, gradient = to_numpy(params[0]._data).copy(), to_numpy(params[0].grad._data)
        tg.optim.SGD(params, lr=lr, **options).step()
        expected = start - 0.5 * gradient
        if why == "a view twice":
            expected[1:3] -= 0.5 * gradient[1:3]
        np.testing.assert_allclose(to_numpy(params[0]._data), expected, rtol=1e-3)
        assert launched() == []


@needs_compiler
def test_neighbours_in_one_piece_of_memory_are_updated_by_one_kernel() -> None:
    with emulated.device() as double:
        whole = some(double, shapes=[(4, 2)])[0]
        params = [whole.data[:1].requires_grad_(), whole.data[3:].requires_grad_(), whole.data[1:3].requires_grad_()]
        for p in params:
            p.grad = tg.as_tensor(double.asarray(np.ones(p.shape, np.float32)))
        expected = to_numpy(whole._data) - 0.5
        tg.optim.SGD(params, lr=0.5).step()
        np.testing.assert_allclose(to_numpy(whole._data), expected, rtol=1e-6)
        assert launched() == ["sgd"]


@needs_compiler
def test_a_kernel_that_does_not_compile_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sgd.KERNEL, "source", 'extern "C" __global__ void sgd() { nonsense }')
    monkeypatch.setattr(sgd.KERNEL, "_broken", False)
    with emulated.device() as double:
        params = some(double, shapes=[(2,)])
        optimizer = tg.optim.SGD(params, lr=0.5)
        expected = to_numpy(params[0]._data) - 0.5 * 2 * to_numpy(params[0].grad._data)
        with pytest.warns(RuntimeWarning, match="array by array from now on: sgd does not compile or load: .*nonsense"):
            optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            optimizer.step()
        np.testing.assert_allclose(to_numpy(params[0]._data), expected, rtol=1e-6)


def test_a_launch_has_room_for_its_arguments() -> None:
    assert all(kernel._kind.itemsize + 200 <= 4096 for kernel in KERNELS)
    assert all(len(kernel.columns) <= 6 for kernel in KERNELS)


@nvrtc.needs_nvrtc
@pytest.mark.parametrize("architecture", [75, 80, 90])
@pytest.mark.parametrize("real", ["float", "double"])
def test_the_compiler_takes_the_sources_and_nothing_spills(real: str, architecture: int) -> None:
    for kernel in KERNELS:
        for found in nvrtc.compile_cuda(kernel.source, [f"-DREAL={real}"], architecture).values():
            assert found.spilled == found.stack == 0 and found.registers <= 64


def test_rows_that_do_not_suit(double: Any) -> None:
    assert multi_tensor.placed([]) is None and multi_tensor.placed([[np.ones(2)]]) is None
    assert multi_tensor.placed([[double.ones(2)]]) is None  # a GPU that no kernel is made for

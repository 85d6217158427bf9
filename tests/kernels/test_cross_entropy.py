"""Cross entropy on a GPU by kernels: what the arrays' own operations give, for logits and classes of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support import arrays, emulated, fakecupy, nvrtc
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.kernels.cuda_elementwise import cross_entropy
from tinygrad_rnn.nn import functional as F

needs_compiler = pytest.mark.skipif(emulated.COMPILER is None, reason="g++ is not installed")


@pytest.fixture(params=[pytest.param("emulated", marks=needs_compiler), pytest.param("cupy", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    with emulated.device() if request.param == "emulated" else arrays.module("cupy") as found:
        yield found
    assert not cross_entropy._broken


def both_ways(xp: Any, x: Any, y: Any, **options: Any) -> tuple[Any, Any]:
    logits = tg.as_tensor(xp.asarray(x)).requires_grad_()
    loss = F.cross_entropy(logits, tg.as_tensor(xp.asarray(y)), **options)
    (
        loss * tg.as_tensor(xp.asarray(np.linspace(1, 2, loss.numel()).reshape(loss.shape).astype(x.dtype)))
    ).sum().backward()
    return to_numpy(loss._data), to_numpy(logits.grad._data)


def close(here: tuple[Any, Any], there: tuple[Any, Any], dtype: str) -> None:
    for a, b in zip(there, here, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        # sums of up to 300 terms in another order, and another exp
        np.testing.assert_allclose(
            a, b, rtol=2e-5 if dtype == "float32" else 1e-12, atol=1e-6 if dtype == "float32" else 1e-14
        )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (700, 5), (4, 32), (6, 33), (2, 300)])
def test_losses_and_gradients_are_those_of_the_host(shape: Any, dtype: str, reduction: str, gpu: Any) -> None:
    rng = np.random.default_rng(0)
    x = (4 * rng.standard_normal(shape)).astype(dtype)
    y = rng.integers(0, shape[1], shape[0])
    y[1::3] = -100
    close(both_ways(np, x, y, reduction=reduction), both_ways(gpu, x, y, reduction=reduction), dtype)
    if gpu is fakecupy:
        assert emulated.launches[:1] == ["row_losses"] and emulated.launches[-1] == "logit_gradients"
        assert ("all_losses" in emulated.launches) == (reduction != "none")


@pytest.mark.parametrize("row", [[800, -800, 0], [-np.inf, 0, 1], [0, 1, -np.inf], [np.nan, 0, 1], [np.inf, 0, 1]])
def test_extreme_logits(row: Any, gpu: Any) -> None:
    x, y = np.array([row, [1, 2, 3]], np.float32), np.array([1, 2])
    close(both_ways(np, x, y, reduction="none"), both_ways(gpu, x, y, reduction="none"), "float32")


def test_nothing_to_average_over_is_nan_and_a_class_of_ones_own_may_be_ignored(gpu: Any) -> None:
    x = np.ones((2, 3), np.float64)
    for y, ignored in (([-100, -100], -100), ([1, 2], 1)):
        host, device = [both_ways(xp, x, np.array(y), ignore_index=ignored) for xp in (np, gpu)]
        close(host, device, "float64")


def test_a_class_that_is_not_there_gives_nan_without_waiting(gpu: Any) -> None:
    loss, _ = both_ways(gpu, np.ones((2, 3), np.float32), np.array([1, 3]))
    assert np.isnan(loss)


def test_targets_may_be_written_to_before_the_way_back_and_second_orders_are_those_of_the_reference(gpu: Any) -> None:
    found = []
    for xp in (np, gpu):
        x = tg.as_tensor(xp.asarray(np.array([[1.0, 2.0, 0.5], [0.0, 1.0, 3.0]]))).requires_grad_()
        y = tg.as_tensor(xp.asarray(np.array([1, 0])))
        loss = F.cross_entropy(x, y)
        y._data[...] = 2
        (g,) = tg.autograd.grad(loss, x, create_graph=True)
        (h,) = tg.autograd.grad((g * g).sum(), x)
        found.append([to_numpy(g.detach()._data), to_numpy(h._data)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)
        assert abs(a).max() > 1e-3


@needs_compiler
@pytest.mark.parametrize("why", ["weights", "smoothing", "bytes", "more axes", "not contiguous", "float16"])
def test_what_the_kernels_do_not_take_is_done_array_by_array(why: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 2) if why == "more axes" else (4, 3)).astype(
        "float16" if why == "float16" else "float32"
    )
    y = rng.integers(0, 3, (4, 2) if why == "more axes" else 4).astype(np.uint8 if why == "bytes" else np.int64)
    found = []
    with emulated.device() as double:
        for xp in (np, double):
            options: dict[str, Any] = {"label_smoothing": 0.1} if why == "smoothing" else {}
            if why == "weights":
                options["weight"] = tg.as_tensor(xp.asarray(np.array([1, 2, 3], np.float32)))
            logits = tg.as_tensor(xp.asarray(x)).requires_grad_()
            given = logits.T.contiguous().T if why == "not contiguous" else logits
            F.cross_entropy(given, tg.as_tensor(xp.asarray(y)), **options).backward()
            found.append(to_numpy(logits.grad._data))
        assert emulated.launches == []
    np.testing.assert_allclose(*found, rtol=1e-3 if why == "float16" else 1e-5, atol=1e-4 if why == "float16" else 1e-7)


@needs_compiler
def test_kernels_that_do_not_compile_are_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "SOURCE", 'extern "C" __global__ void row_losses() { nonsense }')
    monkeypatch.setattr(cross_entropy, "_broken", False)
    x, y = np.ones((2, 3), np.float32), np.array([1, 0])
    with emulated.device() as double:
        with pytest.warns(RuntimeWarning, match="cross_entropy on the GPU goes array by array from now on"):
            first = both_ways(double, x, y)
        close(both_ways(np, x, y), first, "float32")
        close(first, both_ways(double, x, y), "float32")


@nvrtc.needs_nvrtc
@pytest.mark.parametrize("architecture", [75, 80, 90])
@pytest.mark.parametrize("real", ["float", "double"])
def test_the_compiler_takes_the_sources_and_nothing_spills(real: str, architecture: int) -> None:
    found = nvrtc.compile_cuda(cross_entropy.SOURCE, [f"-DREAL={real}"], architecture)
    assert {"row_losses", "all_losses", "logit_gradients"} <= set(found)
    assert all(one.spilled == one.stack == 0 for one in found.values())

"""Every primitive on device arrays: the values and gradients of NumPy, and no wait for the device.

The double of CuPy refuses what CuPy refuses and counts transfers; where there is a GPU, CuPy itself runs too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad_rnn as tg
from tests.support.primitives import SAMPLED, reached
from tests.support.profiles import examples
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.tape.tensor import Tensor, wrap
from tinygrad_rnn.testing import Call, samples
from tinygrad_rnn.testing.gradients import application

WAITS = {
    "cross_entropy": "the classes are checked, and their number is an index",
    "ctc_loss": "labels and lengths are checked, and what a path may be follows from them",
    "cumprod": "whether there is a zero decides the formula",
    "prod": "whether there is a zero decides the formula",
    "median": "whether there is a nan decides the value",
}
"""Primitives that must look at a value on the host, and why."""

SLACK = {"rnn": 1e-12, "lstm": 1e-12, "gru": 1e-12}


def moved(value: Any, xp: Any) -> Any:
    """Arrays, tensors, and arrays inside tuples, lists and dicts, on the device."""
    if isinstance(value, Tensor):
        return wrap(xp.asarray(value._data)).requires_grad_(value.requires_grad)
    if isinstance(value, np.ndarray):
        return xp.asarray(value)
    if isinstance(value, (tuple, list)):
        items = [moved(item, xp) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return {key: moved(item, xp) for key, item in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("name", SAMPLED)
def test_device_arrays_give_the_same_numbers_without_waiting(name: str, device_xp: Any) -> None:
    xp = device_xp

    @settings(max_examples=examples(4, 200))
    @given(samples(name))
    def check(call: Call) -> None:
        apply, inputs = application(name, *call)
        there, _ = application(name, call.args, moved(call.params, xp), call.function)
        device = [moved(a, xp) for a in inputs]
        expected = reached(apply(*inputs))
        rng = np.random.default_rng(0)
        seeds = [rng.standard_normal(y.shape) for y in expected]
        device_seeds = [wrap(xp.asarray(s)) for s in seeds]
        before = getattr(xp, "syncs", 0)
        found = reached(there(*device))
        grads = gradients(found, device, device_seeds)
        waited = getattr(xp, "syncs", 0) - before
        assert waited == 0 or name in WAITS, f"{name} waited for the device {waited} times"
        tolerance = SLACK.get(name, 1e-13)
        for y, z in zip(expected, found, strict=True):
            assert isinstance(z._data, xp.ndarray) and z.dtype == y.dtype and z.requires_grad == y.requires_grad
            np.testing.assert_allclose(to_numpy(z._data), y._data, rtol=tolerance, atol=tolerance)
        for g, h in zip(gradients(expected, inputs, [wrap(s) for s in seeds]), grads, strict=True):
            assert (g is None) == (h is None)
            if g is not None and h is not None:
                assert isinstance(h._data, xp.ndarray) and h.dtype == g.dtype
                np.testing.assert_allclose(to_numpy(h._data), g._data, rtol=tolerance, atol=tolerance)

    check()


def gradients(outputs: tuple[Tensor, ...], inputs: list[Any], seeds: list[Tensor]) -> list[Tensor | None]:
    live = [(y, s) for y, s in zip(outputs, seeds, strict=True) if y.requires_grad]
    leaves = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    if not live or not leaves:
        return []
    return list(tg.autograd.grad([y for y, _ in live], leaves, [s for _, s in live], allow_unused=True))


def test_values_move_between_devices_and_gradients_move_back(device_xp: Any) -> None:
    x = tg.tensor([1.0, -2.0], dtype=tg.float64, requires_grad=True)
    y = tg.tanh(x.to("cuda") * 2).to("cpu")
    assert y.device.type == "cpu"
    y.sum().backward()
    assert x.grad is not None and x.grad.device.type == "cpu"
    np.testing.assert_allclose(x.grad.numpy(), 2 / np.cosh(2 * x.numpy(force=True)) ** 2, rtol=1e-12)


@pytest.mark.parametrize("chosen", [False, True])
def test_the_gradient_of_a_masked_number_is_a_number(chosen: bool, device_xp: Any) -> None:
    """CuPy's ``zeros_like(g, shape=())`` has the shape of ``g``."""
    x = wrap(device_xp.asarray(2.0)).requires_grad_()
    y = x[wrap(device_xp.asarray(chosen))]
    assert y.shape == (int(chosen),)
    (dx,) = tg.autograd.grad(y, x, wrap(device_xp.full((int(chosen),), 3.0)))
    assert dx.shape == () and to_numpy(dx._data) == 3.0 * chosen


@pytest.mark.parametrize("op", [tg.add, tg.mul, tg.maximum, tg.matmul])
def test_two_devices_in_one_operation_are_refused_by_name(op: Any, double: Any) -> None:
    here = tg.ones(2, 2)
    there = wrap(double.ones((2, 2), np.float32))
    for a, b in ((here, there), (there, here)):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device, but found at least two"):
            op(a, b)

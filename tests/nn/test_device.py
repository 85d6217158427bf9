"""The same functions and layers on a GPU: values, gradients, and no waiting for the device in a training step.

They run on a strict double of CuPy everywhere, and on CuPy where there is a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.golden import function_cases as cases
from tests.golden import init_cases
from tests.support import arrays
from tinygrad_rnn import nn

# Another library's exp, log and sums: a few last places of float64, more where many terms are added.
TOLERANCE = 1e-11


class OnDevice:
    """The package, with tensors made on the GPU."""

    nn, autograd = tg.nn, tg.autograd

    @staticmethod
    def tensor(values: Any, **options: Any) -> Any:
        return tg.tensor(values, device="cuda", **options)


@pytest.fixture(params=["double", pytest.param("cupy", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[Any]:
    with arrays.module(request.param) as found:
        yield found


def test_functions_give_on_the_device_what_they_give_on_the_host(device: Any) -> None:
    for name in cases.CASES:
        there, here = cases.evaluated(OnDevice, name), cases.evaluated(tg, name)
        assert there.keys() == here.keys()
        for key, expected in here.items():
            scale, place = max(1.0, float(np.abs(np.nan_to_num(expected)).max(initial=0))), f"{name}: {key}"
            np.testing.assert_allclose(there[key], expected, rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=place)


def model() -> Any:
    return nn.Sequential(
        nn.Embedding(7, 4), nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.Dropout(0.3), nn.Linear(6, 5)
    )


def step(net: Any, numbers: Any, target: Any) -> Any:
    loss = nn.functional.cross_entropy(net(numbers), target, ignore_index=2)
    loss.backward()
    return loss


def test_a_model_that_was_moved_trains_to_the_same_numbers(device: Any) -> None:
    results = []
    for place in ("cpu", "cuda"):
        tg.manual_seed(5)
        net = model().double().to(place)
        assert {p.device.type for p in net.parameters()} == {place}
        numbers = tg.tensor([1, 6, 0, 3, 3], device=place)
        target = tg.tensor([0, 4, 2, 2, 1], device=place)
        loss = step(net, numbers, target)
        results.append([loss.item()] + [p.grad.cpu().numpy() for p in net.parameters()])
        assert {p.grad.device.type for p in net.parameters()} == {place}
    for here, there in zip(*results, strict=True):
        np.testing.assert_allclose(there, here, rtol=TOLERANCE, atol=TOLERANCE)


def test_a_training_step_never_waits_for_the_device(double: Any) -> None:
    net = model().to("cuda")
    numbers, target = tg.tensor([1, 6, 0], device="cuda"), tg.tensor([0, 4, 2], device="cuda")
    step(net, numbers, target)
    before = double.syncs
    step(net, numbers, target)
    assert double.syncs == before


def test_states_go_from_device_to_host_and_back(device: Any) -> None:
    here, there = model(), model().to("cuda")
    there.load_state_dict(here.state_dict())
    assert {p.device.type for p in there.parameters()} == {"cuda"}
    fresh = model()
    fresh.load_state_dict(there.state_dict())
    for a, b in zip(here.parameters(), fresh.parameters(), strict=True):
        assert (a._data == b._data).all()


def test_weights_on_the_device_start_from_the_same_numbers(device: Any) -> None:
    for function, args in init_cases.FILLS.values():
        filled = []
        for place in ("cpu", "cuda"):
            tg.manual_seed(3)
            w = tg.zeros(6, 4, device=place)
            getattr(nn.init, function)(w, *args)
            filled.append(w.cpu().numpy())
        np.testing.assert_array_equal(*filled)
    tg.manual_seed(3)
    assert nn.Linear(3, 2, device="cuda").weight.device.type == "cuda"

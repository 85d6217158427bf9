"""Arrays of a device: cotangents are pulled back there, and results are NumPy's, the same as on the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics as d
from tinygrad_rnn import nn
from tinygrad_rnn.nn.utils.rnn import PackedSequence, pack_padded_sequence

LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("LSTM", {"proj_size": 2, "bidirectional": True}),
    ("GRU", {}),
    ("GRU", {"reset_after": False, "impl": "composed"}),
    ("LSTM", {"peepholes": True, "zoneout": 0.2, "recurrent_dropout": 0.2, "impl": "compiled"}),
]


def loss_of(output: Any) -> tg.Tensor:
    y = output[0].data if isinstance(output[0], PackedSequence) else output[0]
    return (y**2).sum()


MEASURES: dict[str, Callable[[Any, Any], Any]] = {
    "flow": lambda net, x: d.flow(net, x),
    "probes": lambda net, x: d.flow(net, x, probes=2),
    "local": lambda net, x: d.local(net, x, 1),
    "singular_values": lambda net, x: d.singular_values(d.flow(net, x), 1),
    "shares": lambda net, x: d.shares(net, loss_of, x),
    "lag_matrix": lambda net, x: d.lag_matrix(net, x, lambda output: (output[0] ** 2).sum((1, 2))),
    "lyapunov": lambda net, x: d.lyapunov(net, x, 2, skip=1),
    "saturation": lambda net, x: d.saturation(net, x),
    "depth": lambda net, x: d.depth(net, loss_of, x),
    "omega": lambda net, x: d.omega(net, loss_of, x),
    "truncated": lambda net, x: d.truncated(net, loss_of, x, [1, 2]),
    "randomised": lambda net, x: d.randomised(net, loss_of, x, 0.5, 3),
    "timescale_task": lambda net, x: d.timescale_task(net, [0, 1], length=20),
}


def numbers(value: Any, path: str = "") -> dict[str, Any]:
    """All numbers of a result, by the way to them."""
    if isinstance(value, (np.ndarray, float, int)):
        return {path: value}
    if dataclasses.is_dataclass(value):
        fields = [f.name for f in dataclasses.fields(value) if not f.name.startswith("_")]
        return {k: v for name in fields for k, v in numbers(getattr(value, name), f"{path}.{name}").items()}
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in numbers(inner, f"{path}[{name}]").items()}
    if isinstance(value, (tuple, list)):
        return {k: v for n, inner in enumerate(value) for k, v in numbers(inner, f"{path}[{n}]").items()}
    assert value is None or isinstance(value, str), f"{path}: {type(value)}"
    return {}


@pytest.mark.parametrize("name", MEASURES)
def test_what_is_measured_on_a_device_is_what_is_measured_on_the_host(name: str, device_xp: Any) -> None:
    measure, compared = MEASURES[name], 0
    for kind, options in LAYERS:
        tg.manual_seed(0)
        net = getattr(nn, kind)(2, 3, dtype=tg.float64, **options)
        x = tg.randn(5, 2, 2, dtype=tg.float64)
        expected = numbers(measure(net, x))
        found = numbers(measure(net.to("cuda"), x.to("cuda")))
        assert found.keys() == expected.keys()
        for path, value in found.items():
            assert isinstance(value, (np.ndarray, float, int)), path
            np.testing.assert_allclose(value, expected[path], rtol=1e-9, atol=1e-12, err_msg=f"{kind} {path}")
            compared += np.size(value)
    assert compared > 10


def test_matrices_gates_and_penalties_of_a_device(device_xp: Any) -> None:
    tg.manual_seed(0)
    net = nn.LSTM(2, 3).to("cuda")
    x = tg.randn(5, 2, 2).to("cuda")
    log, matrix = d.flow(net, x).matrix(1)
    assert type(matrix) is np.ndarray and np.isfinite(log)
    assert type(d.gates(net, x)["f"].mean) is np.ndarray
    assert type(d.shares(net, loss_of, x).array("weight_hh_l0", 2)[1]) is np.ndarray
    d.omega(net, loss_of, x).penalty().backward()
    assert net.weight_hh_l0.grad.device.type == "cuda"
    assert d.weights(net.weight_hh_l0[:3]).size == 3
    packed = pack_padded_sequence(x, [5, 3])
    assert np.isfinite(d.shares(net, loss_of, packed)["weight_hh_l0"].log_norm[1:]).all()


def test_a_training_on_a_device_is_monitored(device_xp: Any) -> None:
    tg.manual_seed(0)
    net = nn.LSTM(2, 3).to("cuda")
    optimizer = tg.optim.SGD(net.parameters(), lr=0.1)
    with d.Monitor(net, every=1, optimizer=optimizer) as monitor:
        loss_of(net(tg.randn(5, 2, 2).to("cuda"))).backward()
        optimizer.step()
    assert monitor.rows[0]["slope"] < 0 and 0 < monitor.rows[0]["last"] <= 1

"""Recurrent layers on other array modules than NumPy give NumPy's numbers and never go back to the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.tape.tensor import wrap

TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
"""The same operations in the same order; a GPU's products sum in another."""


def moved(layer: Any, xp: Any) -> Any:
    for p in layer.parameters():
        p.data = wrap(xp.asarray(p.detach().numpy()))
    return layer


def run(layer: Any, x: Any, states: list[Any], packed: Any) -> list[Any]:
    given = x
    if packed is not None:
        given = tg.nn.utils.rnn.pack_padded_sequence(x, packed, enforce_sorted=False)
    output, final = layer(given, tuple(states) if len(states) == 2 else states[0])
    if packed is not None:
        output, _ = tg.nn.utils.rnn.pad_packed_sequence(output)
    finals = list(final) if isinstance(final, tuple) else [final]
    total = sum((y * y).sum() for y in [output, *finals])
    gradients = tg.autograd.grad(total, [x, *states, *layer.parameters()])
    return [t.detach()._data for t in (output, *finals, *gradients)]


@pytest.mark.parametrize("packed", [None, [2, 4, 3]])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("RNN", {}),
        ("RNN", {"nonlinearity": "relu"}),
        ("LSTM", {}),
        ("LSTM", {"proj_size": 2}),
        ("GRU", {}),
        ("GRU", {"checkpoint_segments": 2}),
        ("LSTM", {"checkpoint_segments": 3, "proj_size": 2}),
        ("GRU", {"impl": "composed"}),
        ("LSTM", {"impl": "composed"}),
        ("LSTM", {"peepholes": True, "layer_norm": True, "zoneout": 0.2}),
        ("LSTM", {"peepholes": True, "zoneout": 0.2, "checkpoint_segments": 2}),
    ],
)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_layer_gives_the_same_on_every_array_module(
    kind: str, options: dict[str, Any], packed: Any, dtype: str, xp: Any
) -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s).astype(dtype) for s in ((4, 3, 2), (4, 3, options.get("proj_size", 3)), (4, 3, 3))]
    values = values[: 3 if kind == "LSTM" else 2]
    tg.manual_seed(0)
    layer = getattr(tg.nn, kind)(2, 3, num_layers=2, bidirectional=True, dtype=getattr(tg, dtype), **options)
    tg.manual_seed(1)
    expected = run(layer, *_leaves(values, np), packed)
    tg.manual_seed(1)
    got = run(moved(layer, xp), *_leaves(values, xp), packed)
    for a, b in zip(got, expected, strict=True):
        assert type(a) is type(xp.zeros(1))
        scale = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(to_numpy(a), b, rtol=0, atol=TOLERANCES[dtype] * scale)


def _leaves(values: list[Any], xp: Any) -> tuple[Any, list[Any]]:
    x, *states = [wrap(xp.asarray(v)).requires_grad_() for v in values]
    return x, states


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_training_step_of_a_layer_does_not_wait_for_the_device(kind: str, double: Any) -> None:
    layer = moved(getattr(tg.nn, kind)(2, 3, num_layers=2, bidirectional=True), double)
    x = wrap(double.asarray(np.ones((4, 3, 2), "float32")))
    layer(x)[0].sum().backward()
    before = double.syncs
    layer(x)[0].sum().backward()
    assert double.syncs == before


def test_input_and_weights_on_two_devices_are_refused(double: Any) -> None:
    layer = tg.nn.GRU(2, 3)
    with pytest.raises(RuntimeError, match="Input and parameter tensors are not at the same device"):
        layer(wrap(double.asarray(np.ones((4, 3, 2), "float32"))))
    on_device = moved(tg.nn.GRU(2, 3), double)
    x = wrap(double.asarray(np.ones((4, 3, 2), "float32")))
    with pytest.raises(RuntimeError, match="Input and hidden tensors are not at the same device"):
        on_device(x, tg.zeros(1, 3, 3))


class Gated(tg.nn.Module):
    """A user's cell with a buffer and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.input_size, self.hidden_size = 2, 3
        self.read, self.back = tg.nn.Linear(2, 3), tg.nn.Linear(3, 3)
        self.register_buffer("scale", tg.tensor([0.5, 1.0, 2.0]))

    def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
        z = tg.sigmoid(self.read(x) * self.scale)
        return z * h + (1 - z) * tg.tanh(self.back(h))


@pytest.mark.parametrize("packed", [None, [2, 4, 3]])
@pytest.mark.parametrize("ours", [True, False])
def test_a_compiled_layer_gives_the_same_on_every_array_module(ours: bool, packed: Any, xp: Any) -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s).astype("float32") for s in ((4, 3, 2), (1, 3, 3), (1, 3, 3))]
    values = values if ours else values[:2]
    results = []
    for module, impl in ((np, "composed"), (xp, "compiled")):
        tg.manual_seed(0)
        if ours:
            layer: Any = tg.nn.LSTM(2, 3, peepholes=True, zoneout=0.3, recurrent_dropout=0.3, impl=impl)
        else:
            layer = tg.nn.RNNLayer(Gated(), zoneout=0.3, impl=impl)
        layer = moved(layer, module)
        for buffer in layer.buffers():
            buffer._data = module.asarray(buffer._data)
        x, *states = [wrap(module.asarray(v)).requires_grad_() for v in values]
        tg.manual_seed(1)
        with dispatch.only("numpy"):
            results.append([to_numpy(a) for a in run(layer, x, states, packed)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=TOLERANCES["float32"] * max(1.0, float(np.abs(a).max())))

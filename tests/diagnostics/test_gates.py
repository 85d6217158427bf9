"""Gates, slopes of activations, layers by depth, and the paths through residual nets."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics as d
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, ShapeError
from tinygrad_rnn.nn.utils.rnn import pack_padded_sequence


@pytest.mark.parametrize(
    "kind, options",
    [
        ("LSTM", {}),
        ("GRU", {}),
        ("LSTM", {"peepholes": True}),
        ("GRU", {"reset_after": False}),
        ("LSTM", {"proj_size": 2}),
    ],
)
@pytest.mark.parametrize("impl", ["compiled", "composed", "auto"])
def test_they_are_the_gates_that_the_layer_returns(kind: str, options: dict[str, Any], impl: str) -> None:
    tg.manual_seed(0)
    x = tg.randn(6, 3, 2, dtype=tg.float64)
    net = getattr(nn, kind)(2, 4, dtype=tg.float64, impl=impl, **options)
    told = getattr(nn, kind)(2, 4, dtype=tg.float64, impl="composed", return_gates=True, **options)
    told.load_state_dict(net.state_dict())
    expected = told(x)[2]
    found = d.gates(net, x)
    assert [g.name for g in found.gates] == (["i", "f", "o"] if kind == "LSTM" else ["r", "z"])
    for g in found.gates:
        values = expected[g.name].detach().numpy().reshape(18, 4)
        np.testing.assert_allclose(g.mean, values.mean(0), rtol=1e-12)
        np.testing.assert_allclose(g.time_constant, -1 / np.log(values).mean(0), rtol=1e-9)
        np.testing.assert_array_equal(g.low, (values < 0.1).mean(0))
        np.testing.assert_allclose(g.histogram, np.histogram(values, np.linspace(0, 1, 21))[0] / 72)


def test_padding_is_no_step() -> None:
    tg.manual_seed(0)
    net = nn.LSTM(2, 3, bidirectional=True, dtype=tg.float64)
    x = tg.randn(5, 2, 2, dtype=tg.float64)
    packed = pack_padded_sequence(x, [5, 2])
    for layer in (0, 1):
        both = d.gates(net, packed, layer=layer)["f"].mean
        alone = d.gates(net, x[:, :1], layer=layer)["f"].mean, d.gates(net, x[:2, 1:], layer=layer)["f"].mean
        np.testing.assert_allclose(both, (5 * alone[0] + 2 * alone[1]) / 7, rtol=1e-12)


def test_a_gate_may_be_exactly_open_or_shut_in_its_dtype() -> None:
    x = tg.zeros(4, 1, 1)
    net = nn.LSTM(1, 2)
    with tg.no_grad():
        for p in net.parameters():
            p.zero_()
        net.bias_ih_l0[:2].fill_(-120.0)
        net.bias_ih_l0[2:4].fill_(20.0)
    found = d.gates(net, x)
    assert found["f"].one.tolist() == [1, 1] and found["i"].zero.tolist() == [1, 1]
    assert found["o"].one.tolist() == found["o"].zero.tolist() == [0, 0]
    wide = d.gates(net.double(), x.double())
    assert wide["f"].one.tolist() == [0, 0] and wide["i"].zero.tolist() == [0, 0]
    np.testing.assert_allclose(wide["f"].time_constant, np.exp(20.0), rtol=1e-5)


def test_the_cells_of_users_have_gates_too() -> None:
    tg.manual_seed(0)
    x = tg.randn(4, 2, 3)
    layer = nn.RNNLayer(nn.LSTMCell(3, 4), impl="composed")
    assert [g.name for g in d.gates(layer, x).gates] == ["sigmoid 0", "sigmoid 1", "sigmoid 2"]
    with pytest.raises(ArgumentError, match="has no gates"):
        d.gates(nn.RNN(3, 4), x)
    with pytest.raises(ArgumentError, match="and no 'q'"):
        _ = d.gates(layer, x)["q"]


def test_slopes_of_recurrent_and_other_activations() -> None:
    tg.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(2, 3), nn.GELU())
            self.rnn = nn.RNN(3, 4)
            self.own = nn.RNNLayer(nn.LSTMCell(4, 2), impl="composed")

        def forward(self, x: tg.Tensor) -> Any:
            return tg.tanh(self.own(self.rnn(self.inner(x))[0])[0])

    net, x = Net().double(), tg.randn(5, 2, 2, dtype=tg.float64)
    found = d.saturation(net, x)
    assert found.places == ("inner.1", "rnn layer 0", *["own layer 0"] * 5, "Net")
    assert found.activations[:2] == ("gelu", "tanh") and found.activations[-1] == "tanh"
    h = net.rnn(net.inner(x))[0].detach().numpy()
    np.testing.assert_allclose(found.mean[1], (1 - h * h).mean(), rtol=1e-12)
    np.testing.assert_allclose(found.log_mean[1], np.log(1 - h * h).mean(), rtol=1e-12)
    plain = d.saturation(nn.LSTM(2, 3), x.float())
    assert plain.activations == ("i", "f", "g", "o", "tanh(c)") and (plain.mean[[0, 1, 3]] <= 0.25).all()


def test_a_unit_that_is_off_for_the_whole_batch_is_dead() -> None:
    x = tg.tensor([[1.0, -1.0, 1.0], [2.0, -2.0, -1.0]])
    found = d.saturation(nn.Sequential(nn.ReLU(), nn.Sigmoid()), x)
    np.testing.assert_allclose(found.dead, [1 / 3, 0])
    np.testing.assert_allclose(found.zero, [0.5, 0])
    np.testing.assert_allclose(found.histograms.sum(1), [1, 1])
    with pytest.raises(ArgumentError, match="no activation ran"):
        d.saturation(nn.Linear(3, 2), x)


def test_gradients_by_layer_are_those_of_backward() -> None:
    tg.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.GRU(5, 4)).double()
    x = tg.randn(6, 2, 3, dtype=tg.float64)
    found = d.depth(net, lambda output: (output[0] ** 2).mean(), x, lr=0.1)
    assert found.layers == ("0", "2") and all(p.grad is None for p in net.parameters())
    (net(x)[0] ** 2).mean().backward()
    for k, layer in enumerate((net[0], net[2])):
        gradient = np.sqrt(sum(float((p.grad**2).sum()) for p in layer.parameters()))
        weight = np.sqrt(sum(float((p**2).sum()) for p in layer.parameters()))
        np.testing.assert_allclose(np.exp(found.log_gradient[k]), gradient, rtol=1e-12)
        np.testing.assert_allclose(np.exp(found.log_ratio[k]), 0.1 * gradient / weight, rtol=1e-12)
    np.testing.assert_allclose(found.spread[0], net[0](x).detach().numpy().std(), rtol=1e-12)
    with pytest.raises(ArgumentTypeError, match="expected a module"):
        d.depth(3, lambda y: y, x)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="no layer with parameters ran"):
        d.depth(nn.Tanh(), lambda y: y.sum(), x)


def test_what_has_underflowed_is_still_told_by_depth() -> None:
    tg.manual_seed(0)
    plain = [m for _ in range(32) for m in (nn.Linear(8, 8), nn.Sigmoid())]
    found = d.depth(nn.Sequential(*plain).double(), lambda y: y.sum(), tg.randn(4, 8, dtype=tg.float64))
    steps = np.diff(found.log_of_output)
    assert (steps > 0.5).all() and found.log_first_over_last < -40


class Block(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, size)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x + tg.tanh(self.linear(x))


def test_paths_of_a_residual_net_are_all_products_of_branches() -> None:
    tg.manual_seed(0)
    net = nn.Sequential(*[Block(3) for _ in range(5)]).double()
    x = tg.randn(3, dtype=tg.float64)
    found = d.paths(net, x)
    jacobians, h = [], x
    for block in net:
        jacobians.append(tg.autograd.functional.jacobian(block, h).numpy() - np.eye(3))
        h = block(h).detach()
    masses, sums = np.zeros(6), [np.zeros((3, 3)) for _ in range(6)]
    for taken in itertools.product((False, True), repeat=5):
        product = np.eye(3)
        for j, through in zip(jacobians, taken, strict=True):
            product = j @ product if through else product
        masses[sum(taken)] += np.linalg.norm(product)
        sums[sum(taken)] += product
    np.testing.assert_allclose(np.exp(found.log_mass), masses, rtol=1e-12)
    np.testing.assert_allclose(np.exp(found.log_sum), [np.linalg.norm(s) for s in sums], rtol=1e-10)
    whole = tg.autograd.functional.jacobian(net, x).numpy()
    np.testing.assert_allclose(np.exp(found.log_total), np.linalg.norm(whole), rtol=1e-12)
    assert (
        found.exact
        and found.counts.tolist() == [1, 5, 10, 10, 5, 1]
        and (found.log_sum <= found.log_mass + 1e-12).all()
    )
    # sampled: as near as it says
    some = d.paths(net, x, most=8, samples=400)
    assert not some.exact and (abs(some.log_mass - found.log_mass) <= 4 * some.log_mass_error + 1e-12).all()
    assert (some.log_mass_error[1:5] > 0).all()
    # branches instead of blocks
    same = d.paths([lambda h, b=block: b(h) - h for block in net], x, branches=True)
    np.testing.assert_allclose(same.log_mass, found.log_mass, rtol=1e-9)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: d.paths([], tg.ones(2)), ArgumentError, "no blocks"),
        (lambda: d.paths([nn.Tanh()], tg.ones(2, 2)), ShapeError, "one sample"),
        (lambda: d.paths([nn.Linear(2, 3)], tg.ones(2)), ShapeError, r"block 0 turns \[2\] into \[3\]"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_results_are_text_pictures_and_json() -> None:
    pytest.importorskip("matplotlib")
    x = tg.ones(3, 1, 2)
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    results = [d.gates(nn.LSTM(2, 3), x), d.saturation(net, x), d.depth(net, lambda y: y.sum(), x)]
    for r in [*results, d.paths([Block(2)] * 3, tg.ones(2))]:
        assert r.plot().get_xlabel() and json.loads(r.to_json())["result"]
        assert len(r.table().splitlines()) > 2

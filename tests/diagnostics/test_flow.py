"""Flow, local Jacobians, singular values: laws, places, devices, and what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics as d
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.flow import mean_of_blocks, slope_of
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError


def linear(matrix: Any, gain: float = 1e-3) -> nn.RNN:
    """A tanh RNN near 0, where tanh is the identity."""
    w = np.asarray(matrix, np.float64)
    net = nn.RNN(1, len(w), bias=False, dtype=tg.float64)
    with tg.no_grad():
        net.weight_hh_l0.copy_(tg.tensor(w))
        net.weight_ih_l0.zero_()
    return net


def test_of_a_linear_net_it_is_the_power_of_the_matrix() -> None:
    w = np.array([[0.5, 0.3], [0.0, 0.8]])
    found = d.flow(linear(w), tg.zeros(40, 1, 1, dtype=tg.float64))
    for k in (0, 7, 39, 40):
        power = np.linalg.matrix_power(w, 40 - k)
        log, matrix = found.matrix(k)
        np.testing.assert_allclose(np.exp(log) * matrix, power, rtol=1e-12)
        assert math.isclose(math.exp(found.spectral(k)), np.linalg.norm(power, 2), rel_tol=1e-12)
        assert math.isclose(math.exp(found.log_norm[k]), np.linalg.norm(power), rel_tol=1e-12)
    assert abs(found.slope - math.log(0.8)) < 0.02 and abs(found.half_life - math.log(2) / -found.slope) < 1e-12
    assert found.bound is not None and (found.bound >= found.total - 1e-12).all()


def test_beyond_every_float_it_is_still_a_number() -> None:
    for factor in (0.1, 10.0):
        found = d.flow(linear([[factor]]), tg.zeros(800, 1, 1, dtype=tg.float64))
        np.testing.assert_allclose(found.total[0], 800 * math.log(factor), rtol=1e-12)
        assert np.isfinite(found.total).all()


@pytest.mark.parametrize("gain", [0.3, 3.0])
def test_beyond_every_float32_it_is_still_that_of_the_kernels(gain: float) -> None:
    tg.manual_seed(0)
    x = 1e-3 * tg.randn(300, 1, 2)
    nets = [nn.RNN(2, 4, impl=impl) for impl in ("fused", "composed")]
    w = gain * np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    for net in nets:
        net.load_state_dict(nets[0].state_dict())
        with tg.no_grad():
            net.weight_hh_l0.copy_(tg.tensor(w.astype(np.float32)))
            if gain > 1:  # so that the state stays small, and nothing saturates
                net.weight_ih_l0.zero_()
                net.bias_ih_l0.zero_()
                net.bias_hh_l0.zero_()
    fused, composed = (d.flow(net, x) for net in nets)
    reach = fused.log_norm[0] - fused.log_norm[-1]
    assert abs(reach) > 300  # exp(-103) is the least of float32, exp(88) the largest
    np.testing.assert_allclose(composed.log_norm, fused.log_norm, rtol=0, atol=1e-3)
    fused_share, composed_share = (
        d.shares(net, lambda output: (output[0][-1] * tg.tensor([1.0, 2.0, 3.0, 4.0])).sum(), x) for net in nets
    )
    for name in ("weight_ih_l0", "bias_hh_l0"):
        expected = fused_share[name].log_norm
        assert np.isfinite(expected).all() and abs(expected[0] - expected[-1]) > 300
        np.testing.assert_allclose(composed_share[name].log_norm, expected, rtol=0, atol=1e-3)


def test_standard_errors_are_those_of_many_repetitions() -> None:
    rng = np.random.default_rng(0)
    for memory in (0.0, 0.7):  # neighbours that are independent, and that are not
        steps = rng.standard_normal((300, 400))
        for t in range(1, 400):
            steps[:, t] = memory * steps[:, t - 1] + steps[:, t]
        means, errors = zip(*[mean_of_blocks(row) for row in steps], strict=True)
        assert 0.75 < np.mean(errors) / np.std(means) < 1.15
        slopes = [slope_of(np.concatenate([[0.0], row]).cumsum()[::-1]) for row in steps[:20]]
        np.testing.assert_allclose([s for s, _ in slopes], means[:20], rtol=1e-9)
        np.testing.assert_allclose([e for _, e in slopes], errors[:20], rtol=1e-9)
    assert math.isnan(slope_of(np.array([0.0, math.nan, 1.0]))[0]) and math.isnan(slope_of(np.zeros(1))[0])


def test_verdicts_say_zero_only_of_what_is_zero() -> None:
    net = linear([[0.1]])
    verdict = d.flow(net.float(), tg.zeros(60, 1, 1)).verdict
    assert verdict[-1] == "carries" and verdict[40] == "below rounding of the sum"
    assert verdict[20] == "below smallest normal" and verdict[0] == "zero: underflow"
    off = nn.RNN(1, 1, nonlinearity="relu", dtype=tg.float64)
    with tg.no_grad():
        for p in off.parameters():
            p.fill_(-1.0)
    found = d.flow(off, tg.ones(4, 1, 1, dtype=tg.float64))
    assert found.verdict[:4] == ("zero: structural",) * 4 and found.total[0] == -np.inf and found.slope == -np.inf


def test_probes_estimate_the_norm_and_come_from_the_seed() -> None:
    tg.manual_seed(0)
    net, x = nn.GRU(2, 12, dtype=tg.float64), tg.randn(15, 1, 2, dtype=tg.float64)
    exact = d.flow(net, x)
    squares = [np.exp(2 * d.flow(net, x, probes=4, seed=s).total) for s in range(200)]
    ratio = np.mean(squares, 0) / np.exp(2 * exact.total)
    assert (abs(ratio - 1) < 0.25).all()  # 800 probes: some 5 % and, for matrices of rank 1, 14 %
    again = [d.flow(net, x, probes=4, seed=s).total for s in (1, 1, 2)]
    assert (again[0] == again[1]).all() and (again[0] != again[2]).all()


def test_a_step_of_an_lstm_keeps_its_cell_by_the_forget_gate() -> None:
    tg.manual_seed(1)
    net, x = nn.LSTM(2, 3, dtype=tg.float64, return_gates=True, impl="composed"), tg.randn(5, 2, 2, dtype=tg.float64)
    gates = net(x)[2]
    step = d.local(net, x, 3, sequence=1)
    np.testing.assert_allclose(step.blocks["dc/dc"], np.diag(gates["f"][3, 1].detach().numpy()), atol=1e-15)
    plain = nn.LSTM(2, 3, dtype=tg.float64)
    plain.load_state_dict(net.state_dict())
    np.testing.assert_allclose(d.local(plain, x, 3, sequence=1).matrix, step.matrix, atol=1e-14)
    # one step of a flow is the same derivative
    log, matrix = d.flow(plain, x, end=3, sequence=1).matrix(3)
    np.testing.assert_allclose(np.exp(log) * matrix, step.matrix[:3], atol=1e-15)


def test_layers_are_found_inside_of_models_and_named() -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(7, 3)
            self.encoder = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
            self.top = nn.RNNLayer(nn.GRUCell(8, 5))
            self.head = nn.Linear(5, 2)

        def forward(self, tokens: tg.Tensor) -> tg.Tensor:
            return self.head(self.top(self.encoder(self.embed(tokens))[0])[0])

    tg.manual_seed(0)
    model, tokens = Tagger(), tg.randint(0, 7, (6, 2))
    places = [d.flow(model, tokens, layer=k).place for k in range(5)]
    assert places == [
        "encoder layer 0",
        "encoder layer 0 reverse",
        "encoder layer 1",
        "encoder layer 1 reverse",
        "top layer 0",
    ]
    assert d.flow(model, tokens).place == "top layer 0"
    assert d.flow(model, tokens, layer="encoder layer 1 reverse").times[0] == 6  # it begins at the end
    with pytest.raises(ArgumentError, match="there are 0: 'encoder layer 0', 1: .*reverse"):
        d.flow(model, tokens, layer="decoder")


@pytest.mark.parametrize("impl", ["compiled", "composed"])
def test_masks_that_are_drawn_are_held_fixed(impl: str) -> None:
    tg.manual_seed(0)
    net = nn.LSTM(2, 4, zoneout=0.3, recurrent_dropout=0.2, impl=impl, dtype=tg.float64)
    x = tg.randn(6, 3, 2, dtype=tg.float64)
    with tg.backends.recurrent.only("numpy"):
        tg.manual_seed(5)
        found = d.flow(net, x, sequence=1)
        after = tg.rand(1)
        tg.manual_seed(5)
        assert tg.rand(1) == after, "a diagnosis must not draw from the generator of the program"
        tg.manual_seed(5)
        composed = nn.LSTM(2, 4, zoneout=0.3, recurrent_dropout=0.2, impl="composed", dtype=tg.float64)
        composed.load_state_dict(net.state_dict())
        tg.manual_seed(5)
        expected = d.flow(composed, x, sequence=1)
        np.testing.assert_allclose(found.total, expected.total, atol=1e-12)


def test_a_cell_whose_sequences_see_each_other_is_pulled_back_one_by_one() -> None:
    class Mixing(nn.Module):
        input_size = hidden_size = 2

        def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
            return tg.tanh(x + h * 0.5 + h.mean(0, keepdim=True))

    layer = nn.RNNLayer(Mixing(), impl="composed")
    x = tg.tensor(np.random.default_rng(0).standard_normal((3, 2, 2)))
    log, matrix = d.flow(layer, x, sequence=1).matrix(2)
    h = [tg.zeros(2, 2, dtype=tg.float64)]
    for t in range(3):
        h.append(layer.cell_l0(x[t], h[-1]))
    slope = 1 - h[3][1].numpy() ** 2
    np.testing.assert_allclose(np.exp(log) * matrix, np.diag(slope * (0.5 + 0.5)), rtol=1e-12)


def test_singular_values_are_those_of_the_product() -> None:
    tg.manual_seed(0)
    net, x = nn.LSTM(2, 4, dtype=tg.float64), tg.randn(9, 1, 2, dtype=tg.float64)
    found = d.flow(net, x)
    log, matrix = found.matrix(3)
    values = d.singular_values(found, 3)
    np.testing.assert_allclose(np.exp(values.log_values), np.exp(log) * np.linalg.svd(matrix)[1], rtol=1e-12)
    assert values.lag == 6
    np.testing.assert_allclose(np.exp(2 * values.log_values).sum(), np.exp(2 * found.total[3]), rtol=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda net, x: d.flow(net, x, of="z"), "has the states h, c"),
        (lambda net, x: d.flow(net, x, end=9), "there is no step 9"),
        (lambda net, x: d.flow(net, x, sequence=2), "there is no sequence 2"),
        (lambda net, x: d.flow(net, x, layer=3), "layer=3"),
        (lambda net, x: d.flow(net, x, probes=0), "at least 1"),
        (lambda net, x: d.flow(nn.Linear(2, 2), x), "no recurrent layer ran in Linear"),
        (lambda net, x: d.flow(net, x).matrix(9), "there are 6 states"),
        (lambda net, x: d.flow(3, x), "expected a model"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, message: str) -> None:
    net, x = nn.LSTM(2, 3), tg.zeros(5, 2, 2)
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        call(net, x)


def test_results_are_text_pictures_html_and_json() -> None:
    pytest.importorskip("matplotlib")
    tg.manual_seed(0)
    net, x = nn.LSTM(2, 3), tg.randn(30, 1, 2)
    result = d.flow(net, x)
    results = [result, d.singular_values(result), d.local(net, x, 2), d.resolution(np.ones((3, 2)))]
    results += [d.lag_matrix(net, x, lambda output: output[0].sum((1, 2)))]
    share = d.shares(net, lambda output: output[0][-1].sum(), x)
    results += [share, share.cumulative("weight_hh_l0")]
    for r in results:
        assert len(r.table().splitlines()) > 2 and str(r) == r.table()
        ax = r.plot()
        assert ax.get_xlabel() and ax.get_ylabel()
        assert r.plot(ax) is ax
        content = json.loads(r.to_json())
        assert content["result"] == type(r).__name__ and len(content) > 2
    page = result._repr_html_()
    assert page.startswith("<svg") and "<table>" in page and "<script" not in page
    assert json.loads(result.to_json())["log_norms"]["c"][-1] == "-inf"


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e300])
def test_nets_that_have_exploded_are_told_without_warnings(value: float) -> None:
    for net in (nn.RNN(2, 3, nonlinearity="relu"), nn.LSTM(2, 3), nn.GRU(2, 3, reset_after=False, impl="composed")):
        net = net.double()
        with tg.no_grad():
            net.weight_hh_l0[0, 0] = value
        x = tg.ones(25, 1, 2, dtype=tg.float64)

        def loss(output: Any) -> tg.Tensor:
            return (output[0] ** 2).sum()

        found = d.flow(net, x)
        assert len(found.table().splitlines()) > 20 and isinstance(found.spectral(0), float)
        d.singular_values(found)
        d.local(net, x, 3).table()
        share = d.shares(net, loss, x)
        share.cumulative("weight_hh_l0").table()
        share.resolution("weight_hh_l0")
        for result in (
            d.lyapunov(net, x, 2),
            d.saturation(net, x),
            d.truncated(net, loss, x, 2),
            d.omega(net, loss, x),
        ):
            assert result.table()
        d.lag_matrix(net, x, lambda output: output[0].sum((1, 2))).table()
        d.randomised(net, loss, x, 0.5, 3).table()
        d.depth(net, loss, x).table()


def test_nothing_is_left_of_a_diagnosis() -> None:
    net, x = nn.LSTM(2, 3), tg.ones(5, 1, 2)
    d.flow(net, x)
    d.shares(net, lambda output: output[0].sum(), x)
    assert all(p.grad is None for p in net.parameters())
    assert not tg.tape.modes.state.here.watchers and not tg.tape.observe.scopes.CALLS

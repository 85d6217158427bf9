"""Shares beside the race: models, several uses of a weight, cumulative sums, resolution, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics as d
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.resolution import LABELS
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, GraphError


def last_squared(output: Any) -> tg.Tensor:
    return (output[0][-1] ** 2).sum()


class Model(nn.Module):
    """Two layers below each other, with dropout, and a head whose weight is that of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.rnn = nn.GRU(4, 4, num_layers=2, dropout=0.3, weight_dropout=0.2)
        self.out = nn.Linear(4, 9)
        self.out.weight = self.embed.weight

    def forward(self, tokens: tg.Tensor) -> tg.Tensor:
        return self.out(self.rnn(self.embed(tokens))[0])


def test_of_a_language_model_they_add_up_to_the_gradient() -> None:
    tg.manual_seed(0)
    model = Model().double()
    tokens, targets = tg.randint(0, 9, (12, 3)), tg.randint(0, 9, (12, 3))

    def loss(output: tg.Tensor, targets: tg.Tensor) -> tg.Tensor:
        return nn.functional.cross_entropy(output.reshape(-1, 9), targets.reshape(-1))

    tg.manual_seed(7)
    found = d.shares(model, loss, (tokens, targets))
    tg.manual_seed(7)  # the same masks
    loss(model(tokens), targets).backward()
    assert len(found.parameters) == 8 and all(name.startswith("rnn.") for name in found.parameters)
    for name, p in model.named_parameters():
        if name in found.parameters:
            np.testing.assert_allclose(found.total(name), p.grad.numpy(), rtol=1e-12, atol=1e-17)
            assert abs(p.grad.numpy()).max() > 1e-5


def test_a_layer_that_is_called_twice_has_shares_of_both_calls() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNN(3, 3)

        def forward(self, x: tg.Tensor) -> Any:
            return self.rnn(self.rnn(x)[0])

    tg.manual_seed(0)
    model, x = Twice().double(), tg.randn(4, 2, 3, dtype=tg.float64)
    found = d.shares(model, last_squared, x)
    last_squared(model(x)).backward()
    assert [s.place for s in found.of if s.parameter == "rnn.weight_hh_l0"] == ["rnn layer 0", "rnn layer 0, call 2"]
    gradient = model.rnn.weight_hh_l0.grad.numpy()
    np.testing.assert_allclose(found.total("rnn.weight_hh_l0"), gradient, rtol=1e-12)
    assert abs(found["rnn.weight_hh_l0"].total - gradient).max() > 1e-3 * abs(gradient).max()


def test_the_first_share_of_a_recurrent_weight_is_zero_without_an_initial_state() -> None:
    net, x = nn.LSTM(2, 3), tg.ones(6, 1, 2)
    found = d.shares(net, last_squared, x)
    assert found["weight_hh_l0"].log_norm[0] == -np.inf and np.isfinite(found["weight_hh_l0"].log_norm[1:]).all()
    assert np.isfinite(found["weight_ih_l0"].log_norm).all()


def test_parts_of_a_sum_grow_to_the_whole() -> None:
    tg.manual_seed(0)
    net, x = nn.RNN(2, 5, dtype=tg.float64), tg.randn(30, 2, 2, dtype=tg.float64)
    found = d.shares(net, last_squared, x)
    parts = found.cumulative("weight_hh_l0")
    assert parts.steps.tolist() == list(range(1, 31)) and abs(parts.cosine[-1] - 1) < 1e-12
    np.testing.assert_allclose(parts.log_norm[-1], parts.log_total, rtol=1e-12)
    log, array = found.array("weight_hh_l0", 29)
    np.testing.assert_allclose(parts.log_norm[0], log + np.log(np.linalg.norm(array)), rtol=1e-12)
    assert found.columns()[1][0][0] == 0 and d.shares(net, last_squared, x, by="step").columns()[0][0] == "step"


def test_the_tanh_net_of_200_steps_names_four_zones() -> None:
    tg.manual_seed(0)
    net = nn.RNN(4, 16)
    x = tg.randn(200, 1, 4)
    found = d.shares(net, last_squared, x)
    result = found.resolution("weight_hh_l0")
    assert set(result.labels[:-1]) == {
        "carries",
        "below rounding of the sum",
        "below smallest normal",
        "zero: underflow",
    }
    # each zone is one stretch, and begins where float32 says
    firsts = [result.first(label) for label in LABELS]
    assert firsts == sorted(firsts) and firsts[0] == 0  # type: ignore[type-var]
    assert result.labels[-1] == "zero: structural"  # h_0 is 0
    lost = max(k for k, label in enumerate(result.labels) if label == "carries") + 1
    assert 30 < lost < 60 and result.labels[lost] == "below rounding of the sum"
    # numpy.linalg.norm squares, and says 0 long before the entries are
    zero = int(np.flatnonzero(result.naive_norm == 0)[0])
    underflow = result.first("zero: underflow")
    assert underflow is not None and zero < underflow
    assert np.isfinite(found["weight_hh_l0"].log_norm[1:]).all()
    # dropping what is below rounding leaves the gradient as it is, bit for bit
    terms = [
        np.float32(np.exp(log)) * array.astype(np.float32)
        for log, array in (found.array("weight_hh_l0", t) for t in range(199, 199 - lost - 3, -1))
    ]
    kept = sum(terms[1:lost], terms[0])
    assert (kept == sum(terms[1:], terms[0])).all()


def test_what_makes_no_sense_is_refused() -> None:
    net, x = nn.LSTM(2, 3), tg.ones(4, 1, 2)
    with pytest.raises(ArgumentError, match="by must be"):
        d.shares(net, last_squared, x, by="time")
    with pytest.raises(ArgumentTypeError, match="one Tensor of one number"):
        d.shares(net, lambda output: output[0], x)
    with pytest.raises(GraphError, match="depends on no parameter"):
        d.shares(net, lambda output: tg.ones(1), x)
    with pytest.raises(ArgumentError, match="'W' has no shares; there are those of weight_ih_l0"):
        _ = d.shares(net, last_squared, x)["W"]
    gated = nn.LSTM(2, 3, return_gates=True, impl="composed")
    with pytest.raises(GraphError, match="reads gates"):
        d.shares(gated, lambda output: output[2]["f"].sum(), x)
    pieces = nn.LSTM(2, 3, peepholes=True, impl="composed", checkpoint_segments=2)
    with pytest.raises(GraphError, match="checkpoint_segments"):
        d.shares(pieces, last_squared, x)


def test_segments_of_a_layer_that_is_one_record_change_nothing() -> None:
    tg.manual_seed(0)
    net, x = nn.GRU(2, 3, dtype=tg.float64), tg.randn(9, 2, 2, dtype=tg.float64)
    expected = d.shares(net, last_squared, x)
    cut = nn.GRU(2, 3, dtype=tg.float64, checkpoint_segments=3)
    cut.load_state_dict(net.state_dict())
    for a, b in zip(d.shares(cut, last_squared, x).of, expected.of, strict=True):
        np.testing.assert_allclose(a.log_norm, b.log_norm, atol=1e-12)


def test_resolution_of_terms_of_any_kind() -> None:
    found = d.resolution([np.float32(1), np.float32(1e-8), np.float32(0)])
    assert found.labels == ("carries", "below rounding of the sum", "zero: structural")
    assert d.resolution(np.array([1e-8, 1.0], np.float32)).labels == ("carries", "carries")
    assert d.resolution(np.array([1e-8]), total=np.array(1.0), dtype=np.float32).labels == found.labels[1:2]
    for wrong, message in (([], "no terms"), ([np.ones(2), np.ones(3)], "one shape"), ([np.ones(2, int)], "floating")):
        with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
            d.resolution(wrong)
    with pytest.raises(ArgumentError, match="2 terms, but 1 log_norms"):
        d.resolution(np.ones(2), log_norms=[0.0])

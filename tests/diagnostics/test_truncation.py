"""Truncated and randomised gradients, and Omega, against what programs that do these things by hand give."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics as d
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def loss_of(output: Any) -> tg.Tensor:
    y = output[0] if isinstance(output, tuple) else output
    steps = tg.arange(1, y.shape[0] + 1, dtype=tg.float64).reshape(-1, 1, 1)
    return (y**2 * steps).sum() + (y[-1] * 3).sum()


def compared(net: Any, whole: Any) -> tuple[float, float]:
    a, b = (np.concatenate([g.reshape(-1) for g in gradients]) for gradients in (net, whole))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), float(np.linalg.norm(a) / np.linalg.norm(b))


def gradients(net: nn.Module) -> list[Any]:
    found = [p.grad.numpy().copy() for p in net.parameters()]
    net.zero_grad()
    return found


@pytest.mark.parametrize("kind, options", [("LSTM", {}), ("GRU", {"impl": "composed"}), ("LSTM", {"peepholes": True})])
def test_truncated_is_what_pieces_with_detached_states_give(kind: str, options: dict[str, Any]) -> None:
    tg.manual_seed(0)
    net = getattr(nn, kind)(2, 4, dtype=tg.float64, **options)
    x = tg.randn(11, 3, 2, dtype=tg.float64)
    loss_of(net(x)).backward()
    whole = gradients(net)
    found = d.truncated(net, loss_of, x, k=[1, 3, 4, 11, 20])
    for k, cosine, log_ratio in zip([1, 3, 4, 11, 20], found.cosine, found.log_ratio, strict=True):
        pieces, state = [], None
        for start in range(0, 11, k):
            y, state = net(x[start : start + k], state)
            pieces.append(y)
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        loss_of(tg.cat(pieces)).backward()
        np.testing.assert_allclose([cosine, np.exp(log_ratio)], compared(gradients(net), whole), rtol=1e-12)
    assert found.cosine[0] < 0.999 and abs(found.cosine[3] - 1) < 1e-12
    assert found.parameters == tuple(name for name, _ in net.named_parameters())
    assert found.cosines.shape == (5, len(found.parameters))


def test_of_packed_sequences_no_final_state_is_cut_off() -> None:
    tg.manual_seed(0)
    net = nn.LSTM(2, 3, dtype=tg.float64)
    x = tg.randn(7, 2, 2, dtype=tg.float64)
    packed = pack_padded_sequence(x, [7, 4])

    def loss(output: Any) -> tg.Tensor:
        return (output[1][0] ** 2).sum() + pad_packed_sequence(output[0])[0].sum()

    # the second sequence ends at 4, where the first is cut
    found = d.truncated(net, loss, packed, k=[4, 7])
    loss(net(packed)).backward()
    whole = gradients(net)
    y, state = net(pack_padded_sequence(x[:4], [4, 4]))
    first, ended = pad_packed_sequence(y)[0], [s[:, 1:] for s in state]
    y, last = net(x[4:, :1], tuple(s[:, :1].detach() for s in state))
    (first.sum() + y.sum() + (ended[0] ** 2).sum() + (last[0] ** 2).sum()).backward()
    np.testing.assert_allclose(
        [found.cosine[0], np.exp(found.log_ratio[0])], compared(gradients(net), whole), rtol=1e-12
    )
    np.testing.assert_allclose([found.cosine[1], found.log_ratio[1]], [1, 0], atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"impl": "composed"}, {"layer_norm": True, "impl": "compiled"}])
def test_randomised_draws_are_those_of_scaled_states(options: dict[str, Any]) -> None:
    tg.manual_seed(0)
    net = nn.RNN(2, 5, dtype=tg.float64, **options)
    x = tg.randn(6, 2, 2, dtype=tg.float64)
    loss_of(net(x)).backward()
    whole = gradients(net)
    found = d.randomised(net, loss_of, x, p=0.4, draws=5, seed=3)
    random = np.random.default_rng(3)
    factors = [np.where(random.random(5) < 0.4, 0, 1 / 0.6) for _ in range(6)][::-1]  # by visit
    step = net._work(0, 0).step
    for k in range(5):
        h, ys = tg.zeros(2, 5, dtype=tg.float64), []
        for t in range(6):
            m = float(factors[t][k])
            (h,) = step(x[t], (h * m + h.detach() * (1 - m),))
            ys.append(h)
        loss_of(tg.stack(ys)).backward()
        expected = compared(gradients(net), whole)
        np.testing.assert_allclose([found.cosine[k], np.exp(found.log_ratio[k])], expected, rtol=1e-9)
    assert len({round(float(c), 9) for c in found.cosine}) > 2


def test_randomised_has_no_bias_and_truncated_has() -> None:
    tg.manual_seed(0)
    net, x = nn.GRU(2, 6, dtype=tg.float64), tg.randn(20, 4, 2, dtype=tg.float64)
    found = d.randomised(net, loss_of, x, p=0.1, draws=400)
    assert found.bias < 2 * found.bias_error and found.deviation > 5 * found.bias
    none = d.randomised(net, loss_of, x, p=0.0, draws=2)
    assert none.bias < 1e-12 and none.deviation < 1e-12
    ratio = np.exp(d.truncated(net, loss_of, x, k=5).log_ratio[0])
    assert abs(ratio - 1) > 3 * found.bias_error or d.truncated(net, loss_of, x, k=5).cosine[0] < 0.999


def naive_terms(net: nn.RNN, x: tg.Tensor, w: np.ndarray[Any, Any] | None = None) -> tuple[Any, Any, Any]:
    """Ratios of a tanh net by autograd (T, N), the cotangents, the states before."""
    h = tg.zeros(x.shape[1], net.hidden_size, dtype=tg.float64).requires_grad_()
    states = [h]
    for t in range(len(x)):
        states.append(
            tg.tanh(x[t] @ net.weight_ih_l0.T + net.bias_ih_l0 + net.bias_hh_l0 + states[-1] @ net.weight_hh_l0.T)
        )
    loss = loss_of(tg.stack(states[1:]))
    vs = [g.numpy() for g in tg.autograd.grad(loss, states[1:])]
    hs = [s.detach().numpy() for s in states]
    w = net.weight_hh_l0.detach().numpy()
    pulled = [(v * (1 - hs[t + 1] ** 2)) @ w for t, v in enumerate(vs)]
    ratios = [np.linalg.norm(p, axis=1) / np.linalg.norm(v, axis=1) for p, v in zip(pulled, vs, strict=True)]
    return np.array(ratios), vs, hs


def test_omega_is_that_of_the_paper_and_its_penalty_has_the_immediate_gradient() -> None:
    tg.manual_seed(0)
    net, x = nn.RNN(2, 5, dtype=tg.float64), tg.randn(6, 3, 2, dtype=tg.float64)
    found = d.omega(net, loss_of, x)
    ratios, vs, hs = naive_terms(net, x)
    np.testing.assert_allclose(found.ratios, ratios, rtol=1e-12)
    np.testing.assert_allclose(found.value, ((ratios - 1) ** 2).mean(1).sum(), rtol=1e-12)
    penalty = found.penalty()
    assert abs(float(penalty) - found.value) < 1e-14
    penalty.backward()

    def value(w: Any) -> float:
        total = 0.0
        for t, v in enumerate(vs):
            a = x[t].numpy() @ net.weight_ih_l0.detach().numpy().T + hs[t] @ w.T
            a = a + net.bias_ih_l0.detach().numpy() + net.bias_hh_l0.detach().numpy()
            pulled = (v * (1 - np.tanh(a) ** 2)) @ w
            total += ((np.linalg.norm(pulled, axis=1) / np.linalg.norm(v, axis=1) - 1) ** 2).mean()
        return total

    w, gradient = net.weight_hh_l0.detach().numpy(), net.weight_hh_l0.grad.numpy()
    for index in ((0, 0), (1, 3), (4, 2)):
        step = np.zeros_like(w)
        step[index] = 1e-6
        np.testing.assert_allclose(gradient[index], (value(w + step) - value(w - step)) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"impl": "composed"}, {"peepholes": True, "impl": "compiled"}])
def test_the_penalty_of_any_layer_falls_when_it_is_descended(options: dict[str, Any]) -> None:
    tg.manual_seed(0)
    net, x = nn.LSTM(2, 4, dtype=tg.float64, **options), tg.randn(8, 2, 2, dtype=tg.float64)
    optimizer = tg.optim.SGD(net.parameters(), lr=0.03)
    values = []
    for _ in range(15):
        found = d.omega(net, loss_of, x)
        values.append(found.value)
        optimizer.zero_grad()
        found.penalty().backward()
        optimizer.step()
    assert values[-1] < 0.9 * values[0]


def test_a_step_without_cotangents_has_no_ratio() -> None:
    net, x = nn.GRU(1, 2), tg.ones(5, 1, 1)
    found = d.omega(net, lambda output: output[0][2].sum(), x)
    assert np.isnan(found.ratios[3:]).all() and np.isfinite(found.ratios[:3]).all() and (found.terms[3:] == 0).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda net, x: d.truncated(net, loss_of, x, k=0), "at least 1"),
        (lambda net, x: d.truncated(net, loss_of, x, k=[]), "at least 1"),
        (lambda net, x: d.randomised(net, loss_of, x, p=1.0), "p must be a probability"),
        (lambda net, x: d.randomised(net, loss_of, x, p=0.5, draws=1), "two draws"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(nn.RNN(1, 2), tg.ones(3, 1, 1))


def test_results_are_text_pictures_and_json() -> None:
    pytest.importorskip("matplotlib")
    net, x = nn.GRU(1, 2), tg.ones(5, 1, 1)
    results = [d.truncated(net, loss_of, x, [1, 2]), d.randomised(net, loss_of, x, 0.3, 4), d.omega(net, loss_of, x)]
    results += [
        d.cliff(lambda w, b: w * b, {"w": (0.0, 1.0, 3), "b": [1.0, 2.0]}),
        d.cliff(tg.exp, {"input": (0.0, 1.0, 4)}),
    ]
    for r in [*results, d.clip_report([1.0, 3.0], 2.0), d.timescale_task(net, [0, 1, 2], length=50)]:
        assert r.plot().get_xlabel() and json.loads(r.to_json())["result"]
        assert len(r.table().splitlines()) > 2

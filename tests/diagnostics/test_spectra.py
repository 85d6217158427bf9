"""Lyapunov exponents and reports on matrices."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics as d
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError

NILPOTENT = np.array([[2.0, -2.0], [2.0, -2.0]])


def exploding() -> tuple[nn.RNN, tg.Tensor, tg.Tensor]:
    """The tanh net of two units whose matrix has no eigenvalue but 0, at its fixed point (0, h2)."""
    h2 = 0.9999
    for _ in range(100):
        h2 = np.tanh(8 - 2 * h2)
    net = nn.RNN(1, 2, dtype=tg.float64)
    with tg.no_grad():
        net.weight_hh_l0.copy_(tg.tensor(NILPOTENT))
        net.weight_ih_l0.zero_()
        net.bias_ih_l0.copy_(tg.tensor([2 * h2, 8.0], dtype=tg.float64))
        net.bias_hh_l0.zero_()
    return net, tg.zeros(50, 1, 1, dtype=tg.float64), tg.tensor([[[0.0, h2]]], dtype=tg.float64)


def test_a_matrix_without_eigenvalues_is_not_said_to_vanish() -> None:
    report = d.weights(NILPOTENT)
    assert report.spectral_radius == 0 and abs(report.sigma_max - 4) < 1e-12 and report.departure > 1 - 1e-12
    assert report.eigenvector_condition == np.inf and report.transient == (pytest.approx(4), 1)
    assert report.vanishes == ()
    said = [line for line in report.conclusions if "vanish for certain" in line]
    assert not said and any("says nothing of a nonlinear net" in line for line in report.conclusions)
    # and it does not: the net explodes
    net, x, h0 = exploding()
    found = d.flow(net, x, h0)
    assert abs(np.exp(found.total[0]) / (2**0.5 * 2.0**50) - 1) < 0.01
    assert abs(found.slope - np.log(2)) < 0.02 and (found.total <= found.bound + 1e-9).all()  # type: ignore[operator]


def test_below_one_over_gamma_it_is_said_to_vanish_for_those_activations() -> None:
    report = d.weights(np.eye(3) * 0.9)
    assert report.vanishes == ("tanh", "relu", "sigmoid") and report.departure < 1e-12
    report = d.weights(tg.eye(3) * 2.0)
    assert report.vanishes == ("sigmoid",) and report.bounds["sigmoid"] == 0.5
    assert any(line.startswith("sigmoid: gradients vanish for certain") for line in report.conclusions)


def test_quantities_of_a_known_matrix() -> None:
    report = d.weights([[0.0, 5.0], [0.0, 0.5]])
    assert abs(report.spectral_radius - 0.5) < 1e-9
    np.testing.assert_allclose(report.log_powers[3], np.log(np.linalg.norm([[0, 1.25], [0, 0.125]], 2)))
    # the numerical range of a 2 by 2 matrix is an ellipse with the eigenvalues as foci and |5| as minor axis
    assert abs(report.numerical_radius - (0.25 + 0.5 * np.hypot(0.5, 5.0))) < 1e-9
    assert report.transient[1] == 1 and report.transient[0] > 5
    random = np.random.default_rng(0).standard_normal((8, 8)) / 3
    found = d.weights(random)
    assert abs(found.spectral_radius - abs(np.linalg.eigvals(random)).max()) < 1e-12
    assert found.sigma_min <= found.spectral_radius <= found.numerical_radius <= found.sigma_max
    # a large Jordan block, whose eigenvalues rounding throws far off
    jordan = np.diag(np.full(31, 3.0), 1)
    jordan[0, 0] = 1e-300
    assert d.weights(jordan).spectral_radius < 0.5


def test_exponents_of_a_linear_net_are_those_of_its_eigenvalues() -> None:
    net = nn.RNN(1, 3, bias=False, dtype=tg.float64)
    w = np.array([[0.9, 0.4, 0.1], [0.0, 0.5, 0.3], [0.0, 0.0, 0.2]])
    with tg.no_grad():
        net.weight_hh_l0.copy_(tg.tensor(w))
    found = d.lyapunov(net, tg.zeros(300, 1, 1, dtype=tg.float64), count=3, skip=50)
    np.testing.assert_allclose(found.exponents, np.log([0.9, 0.5, 0.2]), atol=1e-3)
    assert (found.errors < 1e-3).all() and found.steps == 250


def test_the_sum_of_all_exponents_is_the_mean_log_determinant() -> None:
    tg.manual_seed(0)
    for kind in ("LSTM", "GRU"):
        net, x = getattr(nn, kind)(2, 3, dtype=tg.float64), tg.randn(40, 1, 2, dtype=tg.float64)
        size = 6 if kind == "LSTM" else 3
        found = d.lyapunov(net, x, count=size, skip=0)
        logs = [np.linalg.slogdet(d.local(net, x, t).matrix)[1] for t in range(40)]
        np.testing.assert_allclose(found.exponents.sum(), np.mean(logs), rtol=1e-9)
        assert found.exponents[0] > found.exponents[-1]


def test_the_largest_exponent_is_the_slope_of_the_flow() -> None:
    tg.manual_seed(0)
    net, x = nn.LSTM(2, 16, dtype=tg.float64), tg.randn(400, 1, 2, dtype=tg.float64)
    found, flow = d.lyapunov(net, x), d.flow(net, x)
    assert abs(found.exponents[0] - flow.slope) < 3 * (found.errors[0] + flow.slope_error)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: d.weights(np.ones((8, 2))), ArgumentError, r"square matrix, got \(8, 2\); .* one block"),
        (lambda: d.weights(np.full((2, 2), np.nan)), ArgumentError, "no finite number"),
        (lambda: d.weights(nn.RNN(1, 2)), ArgumentTypeError, "got RNN"),
        (lambda: d.lyapunov(nn.RNN(1, 2), tg.zeros(30, 1, 1), count=3), ArgumentError, "count must be 1 to 2"),
        (lambda: d.lyapunov(nn.RNN(1, 2), tg.zeros(20, 1, 1), count=1), ArgumentError, "skip must leave two steps"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_results_are_text_pictures_and_json() -> None:
    pytest.importorskip("matplotlib")
    for r in (d.weights(NILPOTENT), d.lyapunov(nn.GRU(1, 4), tg.zeros(30, 1, 1), count=4)):
        assert r.plot().get_xlabel() and json.loads(r.to_json())["result"]
        assert len(r.table().splitlines()) > 4

"""Cliffs, reports on clipping, and how far back a state can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics as d
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, ShapeError


def one_unit(w: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
    x = 0.5 * tg.ones_like(w)
    for _ in range(50):
        x = w * tg.sigmoid(x) + b
    return (tg.sigmoid(x) - 0.7) ** 2


def test_each_point_of_a_grid_is_what_it_is_alone() -> None:
    found = d.cliff(one_unit, {"w": (4.0, 7.0, 7), "b": np.linspace(-3.5, -2, 5)})
    assert found.loss.shape == found.log_gradient.shape == (7, 5)
    for i, w in enumerate(found.axes[0]):
        for j, b in enumerate(found.axes[1]):
            p = [tg.tensor(float(v), dtype=tg.float64, requires_grad=True) for v in (w, b)]
            loss = one_unit(*p)
            loss.backward()
            np.testing.assert_allclose(found.loss[i, j], float(loss), rtol=1e-12)
            norm = np.hypot(float(p[0].grad), float(p[1].grad))
            np.testing.assert_allclose(np.exp(found.log_gradient[i, j]), norm, rtol=1e-9)
    at = found.steepest
    assert (
        found.log_gradient[list(found.axes[0]).index(at["w"]), list(found.axes[1]).index(at["b"])]
        == found.log_gradient.max()
    )


def test_along_one_parameter_and_without_a_gradient() -> None:
    found = d.cliff(lambda w: tg.where(w > 0, w * 3, 0 * w), {"w": (-1.0, 1.0, 4)})
    np.testing.assert_allclose(np.exp(found.log_gradient), [0, 0, 3, 3])
    assert found.log_gradient[0] == -np.inf
    assert (d.cliff(lambda w: tg.ones(4, dtype=tg.float64), {"w": (-1.0, 1.0, 4)}).log_gradient == -np.inf).all()


def test_clipping_is_counted() -> None:
    report = d.clip_report([0.5, tg.tensor(2.0), 4.0, float("inf"), 0.0, float("nan"), 1.0], 1.0)
    assert report.clipped == 4 / 7 and report.longest == 3 and report.non_finite == 2
    np.testing.assert_allclose([report.factor, report.hardest], [np.sqrt(1 / 8), 0.25])
    assert report.log_norms[4] == -np.inf and "2 gradients were not finite" in report.head()
    calm = d.clip_report([0.1, 0.2], 1.0)
    assert (calm.clipped, calm.factor, calm.hardest, calm.longest) == (0, 1, 1, 0)


def test_what_a_state_keeps_can_be_read() -> None:
    class Decay(nn.Module):  # h_t = a h_(t-1) + x_t: of x_(t-d) a share of (1 - a^2) a^(2d) of the variance is left
        input_size = hidden_size = 1

        def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
            return 0.8 * h + x

    found = d.timescale_task(nn.RNNLayer(Decay(), impl="composed"), [0, 1, 2, 5], length=3000, sequences=4)
    np.testing.assert_allclose(found.r2, 0.36 * 0.64 ** np.array([0, 1, 2, 5]), atol=0.03)
    tg.manual_seed(0)
    near, far = (d.timescale_task(nn.LSTM(2, 16, forget_bias=b), range(0, 30, 3)) for b in (-3.0, 2.0))
    assert far.capacity > near.capacity and far.reach >= near.reach >= 0
    again = d.timescale_task(nn.LSTM(2, 16, batch_first=True), [1])
    assert 0 <= again.r2[0] <= 1


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: d.cliff(one_unit, {}), ArgumentError, "one or two parameters"),
        (lambda: d.cliff(one_unit, {"w": (0, 1, 2), "b": []}), ArgumentError, "b has no values"),
        (lambda: d.cliff(lambda w: w.sum(), {"w": (0, 1, 2)}), ShapeError, "each of 2 points"),
        (lambda: d.cliff(lambda w: 1.0, {"w": (0, 1, 2)}), ArgumentTypeError, "got float"),
        (lambda: d.clip_report([], 1.0), ArgumentError, "at least one"),
        (lambda: d.clip_report([-1.0], 1.0), ArgumentError, "0 or more"),
        (lambda: d.clip_report([1.0], 0.0), ArgumentError, "above 0"),
        (lambda: d.timescale_task(nn.RNN(1, 2), [400]), ArgumentError, "below 399"),
        (lambda: d.timescale_task(nn.RNN(1, 2), [1], sequences=1), ArgumentError, "2 or more"),
        (lambda: d.timescale_task(lambda x: x, [1]), ArgumentError, "input_size"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()

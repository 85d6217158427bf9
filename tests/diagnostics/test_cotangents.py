"""Cotangents beyond every float: scaled, added to, and measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics as d
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.cotangents import Cotangents, log_sum, logarithm
from tinygrad_rnn.diagnostics.steps import Outer


@pytest.mark.parametrize("factor", [1e-50, 1e50])
def test_rows_keep_their_logarithm_however_far_they_go(factor: float) -> None:
    g = Cotangents(np, 2, 3, (4, 2))
    g.inject(0, (slice(None), slice(None)), np.ones((2, 1, 4)))
    for _ in range(20):
        for values in g.values:
            values *= factor
        g.rescale()
    np.testing.assert_allclose(g.log_norms(), 20 * math.log(factor) + math.log(2), rtol=1e-13)


def test_what_is_added_to_a_row_that_has_vanished_or_exploded_is_there() -> None:
    g = Cotangents(np, 1, 3, (2,))
    everywhere = (slice(None), slice(None))
    g.inject(0, everywhere, np.ones((1, 3, 2)))
    g.values[0][0] *= np.array([1e-90, 1.0, 1e90])[:, None]
    for _ in range(4):
        g.rescale()
        g.values[0][0] *= np.array([1e-90, 1.0, 1e90])[:, None]
    g.inject(0, everywhere, np.full((1, 1, 2), 3.0))
    expected = [math.log(3), math.log(4), 450 * math.log(10)]
    np.testing.assert_allclose(g.log_norms()[0] - 0.5 * math.log(2), expected, rtol=1e-13)
    assert np.isfinite(g.values[0]).all()


def test_zeros_change_nothing_and_are_zero() -> None:
    g = Cotangents(np, 1, 2, (2,))
    g.inject(0, (slice(None), slice(1)), np.ones((1, 1, 2)))
    g.log[0, 0] = -2000.0
    g.inject(0, (slice(None), slice(None)), np.zeros((1, 2, 2)))
    g.rescale()
    assert g.log_norms()[0].tolist() == [0.5 * math.log(2) - 2000, -np.inf]


def test_losses_far_apart_are_added_up_in_every_sequence() -> None:
    tg.manual_seed(0)
    net = nn.RNN(1, 4, dtype=tg.float64)
    with tg.no_grad():
        net.weight_hh_l0.mul_(0.05)
    x = tg.randn(600, 2, 1, dtype=tg.float64)
    found = d.shares(net, lambda output: (output[0][0] + output[0][599]).sum(), x)["weight_hh_l0"]
    assert np.isfinite(found.log_norm[1:]).all() and found.log_norm[1] < -1000 and found.log_norm[0] == -np.inf
    (first,) = d.shares(net, lambda output: output[0][0].sum(), x[:1]).of[:1]
    both = d.shares(net, lambda output: (output[0][0] + output[0][599]).sum(), x)["weight_ih_l0"]
    np.testing.assert_allclose(both.log_norm[0], first.log_norm[0], rtol=1e-12)


def test_norms_of_shares_by_products_of_rows_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    for m, cancels in ((3, False), (40, False), (2, True)):
        left, right = rng.standard_normal((m, 1, 6)), rng.standard_normal((m, 9))
        if cancels:  # two terms of which 1e-9 is left
            left[1], right[1] = -left[0], right[0] * (1 + 1e-9)
        log = rng.uniform(-900, -890, (m, 1)) if not cancels else np.full((m, 1), -900.0)
        term = Outer(left, right, log)
        scale, array = term.scaled()
        expected = scale + math.log(np.linalg.norm(array))
        assert abs(term.log_norm() - expected) < 1e-12
        np.testing.assert_allclose(term.all()[1][0] * np.exp(term.all()[0][0] - scale), array, rtol=1e-12)
    assert Outer(np.zeros((2, 1, 3)), np.ones((2, 5)), np.zeros((2, 1))).log_norm() == -np.inf


def test_sums_of_logarithms() -> None:
    logs = np.array([[-3000.0, -3000.0, -np.inf], [-np.inf] * 3, [2000.0, 0.0, 1.0]])
    np.testing.assert_allclose(log_sum(logs, 1), [-3000 + math.log(2), -np.inf, 2000.0])
    assert logarithm(np.array([0.0, 1.0])).tolist() == [-np.inf, 0.0]

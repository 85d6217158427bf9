"""The training of experiments: what is trained, how far a step goes, and what it gives back."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.lab.fitting import fit


def test_all_modules_are_trained_by_clipped_steps() -> None:
    a, b = (tg.nn.Linear(1, 1, bias=False, dtype=tg.float64) for _ in range(2))
    before = np.array([a.weight.item(), b.weight.item()])
    x = tg.ones(1, 1, dtype=tg.float64)
    losses = fit([a, b], lambda: 30 * a(x).sum() + 40 * b(x).sum(), 2, lr=0.1, optimizer=tg.optim.SGD)
    after = np.array([a.weight.item(), b.weight.item()])
    np.testing.assert_allclose(before - after, 2 * 0.1 * np.array([0.6, 0.8]), rtol=1e-6)  # clipped to norm 1
    np.testing.assert_allclose(losses, [before @ [30, 40], (before - [0.06, 0.08]) @ [30, 40]], rtol=1e-6)


def test_a_gradient_below_the_norm_is_left_as_it_is() -> None:
    a = tg.nn.Linear(1, 1, bias=False, dtype=tg.float64)
    before = a.weight.item()
    fit([a], lambda: 3 * a(tg.ones(1, 1, dtype=tg.float64)).sum(), 1, lr=0.1, max_norm=5, optimizer=tg.optim.SGD)
    np.testing.assert_allclose(before - a.weight.item(), 0.3, rtol=1e-12)


def test_there_must_be_something_to_train() -> None:
    with pytest.raises(ArgumentError, match="no parameters"):
        fit([tg.nn.Tanh()], lambda: tg.zeros(()), 1)

"""Sweeps within sweeps, watched: a fused layer's recorded backward pass sweeps its reference composition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


def recorded_sweep() -> tuple[Any, Any, Any]:
    tg.manual_seed(0)
    layer = tg.nn.LSTM(2, 3)
    x = tg.ones(3, 1, 2, requires_grad=True)
    with tg.Tape() as tape:
        y = layer(x)[0]
        (y * y).sum().backward(create_graph=True)
    return tape, layer, x


def test_a_tape_keeps_the_steps_of_the_outer_sweep() -> None:
    tape, _, _x = recorded_sweep()
    names = [step.record.name for step in tape.steps if step.record is not None]
    assert names[:3] == ["sum", "mul", "lstm"]
    assert tape.steps[-1].node is not None and len(names) > 10  # with those of the inner sweep in between


def test_shares_are_still_the_uses_of_the_weight_and_sum_to_its_gradient() -> None:
    tape, layer, x = recorded_sweep()
    for t in (x, layer.weight_hh_l0):
        shares = tape.shares(t)
        assert [share.record.name for share in shares] == ["lstm"]
        np.testing.assert_array_equal(shares[0].value, t.grad.detach().numpy())


def test_anomaly_mode_names_the_operation_of_the_inner_sweep() -> None:
    tg.manual_seed(0)
    layer = tg.nn.LSTM(2, 3)
    x = tg.ones(3, 1, 2, requires_grad=True)
    expected = pytest.raises(tg.autograd.AnomalyError, match="returned nan values")
    with expected as caught, tg.autograd.detect_anomaly():
        y = layer(x)[0]
        y.backward(tg.full((3, 1, 3), float("nan")), create_graph=True)
    assert "with t = 2" in str(caught.value)


def test_an_error_in_an_inner_sweep_ends_both() -> None:
    with tg.Tape() as tape:
        x = tg.tensor([1.0], requires_grad=True)
        y = x.exp().sum()
        y.backward()
        with pytest.raises(RuntimeError):
            y.backward()
        (x * 2).backward()
    assert [step.record.name for step in tape.steps if step.record is not None] == ["mul"]

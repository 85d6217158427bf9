"""Laws of recurrent layers of every kind, on layers drawn by the public strategy."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings

import tinygrad_rnn as tg
from tests.support.profiles import examples
from tinygrad_rnn.testing import RecurrentCase, assert_batch_permutes, assert_gradients, assert_laws, recurrent_layers


def called_with(case: RecurrentCase, *given_: Any) -> tuple[tg.Tensor, ...]:
    """The case's layer on other inputs and states, with its own parameters."""
    x, *states = given_[: len(given_) - len(list(case.layer.parameters()))]
    state = None if not states else states[0] if len(states) == 1 else tuple(states)
    output, final = case.layer(x, state)
    return (output, *final) if isinstance(final, tuple) else (output, final)


@settings(max_examples=examples(10, 500))
@given(recurrent_layers())
def test_linear_adjoint_deterministic_and_nothing_is_written_to(case: RecurrentCase) -> None:
    assert_laws(lambda *_: case(), case.inputs())


@settings(max_examples=examples(10, 500))
@given(recurrent_layers())
def test_permuting_the_batch_permutes_outputs_and_gradients(case: RecurrentCase) -> None:
    batch = 0 if case.layer.batch_first else 1
    inputs = case.inputs()
    states = len(inputs) - 1 - len(list(case.layer.parameters()))
    axes = [batch, *[1] * states, *[None] * (len(inputs) - 1 - states)]
    outputs = 3 if type(case.layer).__name__ == "LSTM" else 2
    assert_batch_permutes(lambda *xs: called_with(case, *xs), inputs, axes, [batch, *[1] * (outputs - 1)])


@settings(max_examples=examples(6, 300))
@given(recurrent_layers(steps=3, layers=2, hidden=2, batch=2, nonlinearity="tanh", kinds=("RNN",)))
def test_second_order_gradients_of_plain_layers_are_right(case: RecurrentCase) -> None:
    assert_gradients(lambda *_: case(), case.inputs(), order=2, rtol=1e-6)


@settings(max_examples=examples(4, 300))
@given(recurrent_layers(steps=2, layers=1, hidden=2, batch=2, kinds=("LSTM", "GRU")))
def test_second_order_gradients_of_gated_layers_are_right(case: RecurrentCase) -> None:
    report = assert_gradients(lambda *_: case(), case.inputs(), order=2, rtol=1e-6)
    assert np.isfinite(report.worst) and report.signal > 1e-3

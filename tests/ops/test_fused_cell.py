"""One step of a cell as one record equals the operations that it is made of, forward, back and twice back."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.rows import together
from tinygrad_rnn.errors import TinygradRnnError
from tinygrad_rnn.ops.recurrent import cells, fused_cell

KINDS = {
    "rnn": (1, 1, fused_cell.rnn_step, cells.rnn_cell),
    "lstm": (4, 2, fused_cell.lstm_step, cells.lstm_cell),
    "gru": (3, 1, fused_cell.gru_step, cells.gru_cell),
}
every = pytest.mark.parametrize("kind", KINDS)


def arguments(kind: str, batch: tuple[int, ...] = (3,), dtype: Any = np.float64, biases: int = 2) -> list[Any]:
    gates, states, *_ = KINDS[kind]
    rng = np.random.default_rng(0)
    shapes = [(*batch, 4), *[(*batch, 5)] * states, (gates * 5, 4), (gates * 5, 5), *[(gates * 5,)] * biases]
    return [tg.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in shapes]


def results(function: Any, args: list[Any], wanted: tuple[int, ...] = (0, 1), **params: Any) -> list[Any]:
    """The outputs, and the gradients of a loss made of some of them."""
    for a in args:
        a.grad = None
    outputs = function(*args, **params)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    loss = sum(((k + 2) * y.sin()).sum() for k, y in enumerate(outputs) if k in wanted)
    loss.backward()
    return [y.detach().numpy() for y in outputs] + [None if a.grad is None else a.grad.numpy() for a in args]


def assert_same(ours: list[Any], theirs: list[Any], rtol: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


@together
@every
@pytest.mark.parametrize("batch", [(), (1,), (3,), (0,)])
@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-13), (np.float32, 2e-6), (np.float16, 0)])
def test_outputs_and_gradients_are_those_of_the_operations(
    kind: str, batch: tuple[int, ...], biases: int, dtype: Any, rtol: float
) -> None:
    _, _, step, composed = KINDS[kind]
    args = arguments(kind, batch, dtype, biases)
    assert_same(results(step, args), results(composed, args), rtol)


@pytest.mark.parametrize("wanted", [(0,), (1,)])
def test_a_loss_of_one_output_of_an_lstm(wanted: tuple[int, ...]) -> None:
    args = arguments("lstm")
    assert_same(results(fused_cell.lstm_step, args, wanted), results(cells.lstm_cell, args, wanted), 1e-13)


def test_relu() -> None:
    args = arguments("rnn")
    ours, theirs = (results(f, args, nonlinearity="relu") for f in (fused_cell.rnn_step, cells.rnn_cell))
    assert_same(ours, theirs, 1e-13)


@every
def test_only_what_needs_a_gradient_gets_one(kind: str) -> None:
    _, _, step, composed = KINDS[kind]
    args = arguments(kind)
    for pair in itertools.combinations(range(len(args)), 2):
        for k, a in enumerate(args):
            a.requires_grad_(k in pair)
        assert_same(results(step, args), results(composed, args), 1e-13)


@every
def test_a_step_is_one_record(kind: str) -> None:
    _, _, step, _ = KINDS[kind]
    with tg.Tape() as tape:
        step(*arguments(kind))
    assert len(tape.records) == 1 and f"{kind}_cell" in str(tape)


@every
def test_second_order(kind: str) -> None:
    _, _, step, _ = KINDS[kind]
    assert tg.autograd.gradgradcheck(step, tuple(arguments(kind, (2,))))


@every
def test_a_state_is_carried_through_many_steps(kind: str) -> None:
    """Truly tied: the gradient of a weight is the sum over the steps."""
    _, states, step, composed = KINDS[kind]

    def run(function: Any, x: Any, *others: Any) -> Any:
        state, weights = others[:states], others[states:]
        for _ in range(4):
            new = function(x, *state, *weights)
            state = new if isinstance(new, tuple) else (new,)
        return state[0]

    args = arguments(kind)
    ours, theirs = (results(lambda *a, f=f: run(f, *a), args) for f in (step, composed))
    assert_same(ours, theirs, 1e-12)


@every
def test_shapes_that_do_not_fit_are_named_as_by_the_operations(kind: str) -> None:
    _, _, step, composed = KINDS[kind]
    args = arguments(kind)
    args[-3] = args[-3][:, :-1]
    messages = []
    for function in (step, composed):
        with pytest.raises(TinygradRnnError) as error:
            function(*args)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


@every
def test_outputs_may_be_written_to_where_those_of_the_operations_may(kind: str) -> None:
    _, _, step, composed = KINDS[kind]
    args = arguments(kind)
    found: list[Any] = []
    for function in (step, composed):
        outputs = function(*args)
        h = outputs[0] if isinstance(outputs, tuple) else outputs
        h.mul_(2)
        try:
            found.append(tg.autograd.grad(h.sum(), args)[0].numpy())
        except RuntimeError as error:
            found.append(type(error).__name__)
    if isinstance(found[0], str):
        assert found[0] == found[1]
    else:
        np.testing.assert_allclose(*found, rtol=1e-13)

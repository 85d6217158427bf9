"""A fused record opened: its reference on the same arguments gives the same values and contributions, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import GraphError
from tinygrad_rnn.nn.utils.rnn import pack_padded_sequence
from tinygrad_rnn.tape.modes import state
from tinygrad_rnn.tape.multi_output import fused
from tinygrad_rnn.tape.primitive import REGISTRY

FORMS: dict[str, dict[str, Any]] = {
    "RNN": {},
    "RNN relu": {"nonlinearity": "relu"},
    "LSTM": {},
    "LSTM projected": {"proj_size": 2},
    "GRU": {},
    "LSTM without bias": {"bias": False},
    "LSTM in segments": {"checkpoint_segments": 2},
    "LSTM packed": {},
    "GRU reverse": {"bidirectional": True},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_reference_gives_what_the_kernel_gave(form: str) -> None:
    kind = form.split()[0]
    tg.manual_seed(1)
    layer = getattr(tg.nn, kind)(2, 3, dtype=tg.float64, **FORMS[form])
    x = tg.randn(4, 2, 2, dtype=tg.float64, requires_grad=True)
    h = tg.randn(1 + layer.bidirectional, 2, layer._state_sizes()[0], dtype=tg.float64, requires_grad=True)
    given: Any = pack_padded_sequence(x, tg.tensor([4, 2])) if "packed" in form else x
    hx = (h, tg.randn(1, 2, 3, dtype=tg.float64)) if kind == "LSTM" else h
    with tg.Tape() as tape:
        output = layer(given, hx)[0]
        output = output.data if "packed" in form else output
        (output * output).sum().backward()
    fused = [r for r in tape if r.name == kind.lower()][-1]
    inner = tape.expand(fused)
    assert len(inner) > 10 and all(r.node is not None and r.node.primitive.reference is None for r in inner)
    assert {r.time for r in inner} >= set(range(4)) and {r.module for r in inner} == {"layer"}
    assert all((r.line, r.layer, r.direction) == (fused.line, 0, int(layer.bidirectional)) for r in inner)
    # values: those of the kernel
    outputs = [r for r in inner if r.shape == fused.value[0].shape]
    np.testing.assert_allclose(outputs[-1].value, fused.value[0], rtol=1e-12, atol=1e-12)
    # contributions: what the record gave to each of its inputs
    step = tape.sweeps[0].step_of(fused)
    assert step is not None and step.contributions
    by_position = {c.position: c.value for c in step.contributions}
    leaves = [k for k, reference in enumerate(fused.references) if reference.kind != "constant"]
    assert sorted(by_position) == leaves and len(inner.leaves) == len(leaves)
    found = {leaf.name: inner.shares(leaf.name).total() for leaf in inner.leaves}
    for position, value in by_position.items():
        label = fused.inputs[position]
        name = label if label in found else fused.argument_names[position]
        np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-12, err_msg=name)
        assert np.abs(value).max() > 1e-6, name
    # the user's program goes on as if nothing had been looked at
    assert state.watchers == () and state.recording and state.here.scope is None and len(tape.sweeps) == 1


def test_each_step_of_a_fused_layer_has_its_share_of_the_gradient() -> None:
    layer = tg.nn.LSTM(2, 3)
    with tg.Tape() as tape:
        layer(tg.randn(5, 1, 2))[0].sum().backward()
    inner = tape.expand(next(r for r in tape if r.name == "lstm"))
    shares = inner.shares("layer.weight_hh_l0")
    assert [s.record.time for s in shares if s.record is not None] == [4, 3, 2, 1, 0]
    np.testing.assert_allclose(shares.total(), layer.weight_hh_l0.grad.numpy(), rtol=1e-5, atol=1e-7)
    assert {"i", "f", "g", "o"} <= {r.variable for r in inner if r.time == 3}


def test_a_tensor_that_was_given_twice_has_two_contributions() -> None:
    w = tg.tensor(np.eye(2), requires_grad=True)
    x = tg.randn(3, 1, 2, dtype=tg.float64)
    h = tg.zeros(1, 2, dtype=tg.float64)
    with tg.Tape() as tape:
        y, _ = tg.ops.recurrent.sequence.rnn_sequence(x, h, w, w)
        y.sum().backward()
    inner = tape.expand(0)
    step = tape.steps[1]
    assert inner.leaves[0].name == "w" and inner.leaves[1].name.startswith("w as ")
    assert [c.to for c in step.contributions] == ["w", "w"] and len(inner.leaves) == 2
    for leaf, c in zip(inner.leaves, step.contributions, strict=True):
        np.testing.assert_allclose(inner.shares(leaf.name).total(), c.value, rtol=1e-12)


def test_cells_and_layers_that_were_not_swept_are_opened_without_a_sweep() -> None:
    cell = tg.nn.LSTMCell(2, 3)
    with tg.Tape() as tape:
        cell(tg.ones(1, 2))
    fused = next((r for r in tape if r.node is not None and r.node.primitive.reference is not None), None)
    assert fused is not None
    inner = tape.expand(fused)
    assert inner.sweeps == [] and "tanh" in [r.name for r in inner]
    h = next(r for r in reversed(inner.records) if r.shape == (1, 3) and r.name == "mul")
    np.testing.assert_allclose(h.value, fused.value[0], rtol=1e-6)


def test_a_fused_operation_within_a_reference_is_opened_too() -> None:
    twice = fused("twice_of_tests", lambda a: ((a * 2,), None), lambda gs, r, a, needs: [gs[0] * 2], lambda a: (a + a,))
    four = fused(
        *("four_of_tests", lambda a: ((a * 4,), None), lambda gs, r, a, needs: [gs[0] * 4]),
        lambda a: twice(twice(a)[0]),
    )
    x = tg.tensor([3.0], requires_grad=True)
    try:
        with tg.Tape() as tape:
            four(x)[0].backward()
        inner = tape.expand(0)
        assert [r.name for r in tape] == ["four_of_tests"] and [r.name for r in inner] == ["add", "add"]
        assert inner.shares("x").total().tolist() == [4.0]
    finally:
        del REGISTRY["twice_of_tests"], REGISTRY["four_of_tests"]


def test_an_open_tape_and_no_grad_do_not_see_what_is_run_again() -> None:
    layer = tg.nn.RNN(2, 3)
    with tg.Tape() as tape, tg.Tape() as other:
        layer(tg.ones(3, 1, 2))[0].sum().backward()
        size = len(tape)
        gradient = layer.weight_hh_l0.grad.clone()
        with tg.no_grad():
            inner = tape.expand(next(r for r in tape if r.name == "rnn"))
        assert len(tape) == len(other) == size and len(tape.sweeps) == 1
    assert len(inner.sweeps) == 1 and inner.sweeps[0].error is None
    assert (layer.weight_hh_l0.grad == gradient).all()


def test_which_sweep_is_a_choice() -> None:
    layer = tg.nn.RNN(2, 3, dtype=tg.float64)
    with tg.Tape() as tape:
        y = layer(tg.ones(3, 1, 2, dtype=tg.float64))[0].sum()
        y.backward(retain_graph=True)
        (y * 3).backward()
    fused = next(r for r in tape if r.name == "rnn")
    one, three, last = (tape.expand(fused, sweep=k).shares("layer.weight_hh_l0").total() for k in (0, 1, -1))
    np.testing.assert_allclose(three, 3 * one, rtol=1e-9)
    np.testing.assert_array_equal(three, last)
    assert np.abs(one).max() > 1e-3
    np.testing.assert_array_equal(tape.expand(fused).shares("layer.weight_hh_l0").total(), last)


def test_what_cannot_be_opened_says_why() -> None:
    w = tg.ones(2, requires_grad=True)
    layer = tg.nn.RNN(2, 3)
    with tg.Tape(values=2) as tape:
        _ = w * 2
        layer(tg.ones(3, 1, 2))
    with pytest.raises(GraphError, match=r"expand\(\): %0 = mul is an ordinary operation"):
        tape.expand(0)
    with pytest.raises(GraphError, match=r"did not keep the arguments of %\d+ = rnn.*Open it as Tape\(values='all'\)"):
        tape.expand(next(r for r in tape if r.name == "rnn"))

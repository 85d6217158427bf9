"""The fused and the composed form of a layer are one function: values, gradients of everything, and second order."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.golden.recurrent_cases import random_layer_case, run_layer
from tinygrad_rnn.ops.recurrent import sequence
from tinygrad_rnn.ops.recurrent.conventions import CELLS

TOLERANCE = 1e-10
"""Of the order of the values (here below 100); what is seen is 1e-13 and less."""

SEQUENCES: dict[str, Callable[..., tuple[Any, ...]]] = {
    "RNN_TANH": lambda *a, **k: sequence.rnn_sequence(*a, nonlinearity="tanh", **k),
    "RNN_RELU": lambda *a, **k: sequence.rnn_sequence(*a, nonlinearity="relu", **k),
    "LSTM": sequence.lstm_sequence,
    "GRU": sequence.gru_sequence,
}


def normal(*shape: int, dtype: str = "float32", requires_grad: bool = False) -> tg.Tensor:
    values = np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)
    return tg.tensor(values, requires_grad=requires_grad)


@given(st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_layers_agree_in_every_configuration(seed: int) -> None:
    case = random_layer_case(Random(seed))
    results = [run_layer(tg, case, "float64", impl=impl) for impl in ("fused", "composed")]
    assert list(results[0]) == list(results[1])
    for key, array in results[1].items():
        np.testing.assert_allclose(results[0][key], array, rtol=TOLERANCE, atol=TOLERANCE, err_msg=f"{case}: {key}")


def arguments(mode: str, rng: np.random.Generator, packed: bool, projected: bool) -> tuple[list[tg.Tensor], Any]:
    """x, states and weights (with biases) of one layer and direction, and the batch sizes."""
    steps, batch, size, hidden = 3, 3, 2, 4
    width = 2 if projected else hidden
    rows = len(CELLS[mode].gates) * hidden
    shapes: list[tuple[int, ...]] = [(6, size) if packed else (steps, batch, size), (batch, width)]
    if mode == "LSTM":
        shapes.append((batch, hidden))
    shapes += [(rows, size), (rows, width), (rows,), (rows,)]
    if projected:
        shapes.append((width, hidden))
    return [tg.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes], ((3, 2, 1) if packed else None)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mode", [*SEQUENCES, "LSTM projected"])
def test_second_order_agrees(mode: str, packed: bool, reverse: bool) -> None:
    projected = mode.endswith("projected")
    mode = mode.split()[0]
    args, sizes = arguments(mode, np.random.default_rng(0), packed, projected)
    found = []
    for impl in ("fused", "composed"):
        outputs = SEQUENCES[mode](*args, sizes=sizes, reverse=reverse, impl=impl, stacked=reverse)
        assert [y.shape[:-1] for y in outputs[1:]] == [(1, 3) if reverse else (3,)] * len(CELLS[mode].states)
        first = tg.autograd.grad(sum((y * y * y).sum() for y in outputs), args, create_graph=True)
        second = tg.autograd.grad(sum((g * g).sum() for g in first), args)
        found.append([*first, *second])
    for fused, composed in zip(*found, strict=True):
        scale = max(1.0, float(composed.detach().abs().max()))
        assert float((fused - composed).detach().abs().max()) <= TOLERANCE * scale
    assert all(float(g.detach().abs().max()) > 1e-3 for g in found[1])


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"num_layers": 2, "bidirectional": True, "bias": False}])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_second_order_of_whole_layers_agrees(kind: str, options: dict[str, Any]) -> None:
    x = normal(4, 3, 2, dtype="float64", requires_grad=True)
    found = []
    for impl in ("fused", "composed"):
        tg.manual_seed(0)
        layer = getattr(tg.nn, kind)(2, 3, dtype=tg.float64, impl=impl, **options)
        leaves = [x, *layer.parameters()]
        first = tg.autograd.grad(layer(x)[0].square().sum(), leaves, create_graph=True)
        found.append(tg.autograd.grad(sum(g.square().sum() for g in first), leaves))
    for fused, composed in zip(*found, strict=True):
        np.testing.assert_allclose(fused.numpy(), composed.numpy(), rtol=TOLERANCE, atol=TOLERANCE)
    assert max(float(g.abs().max()) for g in found[1]) > 1e-2


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_what_a_layer_saved_is_freed_with_its_output_without_the_garbage_collector(kind: str) -> None:
    layer = getattr(tg.nn, kind)(2, 3, num_layers=2)
    gc.collect()
    gc.disable()
    try:
        output, final = layer(normal(4, 3, 2))
        saved = weakref.ref(output.grad_fn.next_functions[0][0])
        del output
        assert saved() is not None  # the final state still needs it
        del final
        assert saved() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("impl", ["fused", "composed"])
@pytest.mark.parametrize("mode", SEQUENCES)
def test_gradients_of_order_one_and_two_agree_with_differences(mode: str, impl: str) -> None:
    # A relu near its kink would spoil the differences; this seed keeps all pre-activations away from 0.
    args, sizes = arguments(mode, np.random.default_rng(3), True, False)

    def layer(*a: tg.Tensor) -> tuple[tg.Tensor, ...]:
        return SEQUENCES[mode](*a, sizes=sizes, impl=impl)

    assert tg.autograd.gradcheck(layer, args)
    assert tg.autograd.gradgradcheck(layer, args)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_only_some_arguments_need_gradients(kind: str) -> None:
    """Freezing parts changes no gradient of the rest."""
    tg.manual_seed(0)
    layer = getattr(tg.nn, kind)(2, 3, num_layers=2)
    x = normal(4, 2, 2)
    full = tg.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))
    for k, p in enumerate(layer.parameters()):
        layer.requires_grad_(False)
        p.requires_grad_(True)
        (alone,) = tg.autograd.grad(layer(x)[0].sum(), [p])
        np.testing.assert_allclose(alone.numpy(), full[k].numpy(), rtol=1e-5, atol=1e-6)  # float32


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("which", ["output", "final"])
def test_gradients_flow_through_one_output_alone(kind: str, which: str) -> None:
    x = normal(4, 2, 2, dtype="float64", requires_grad=True)
    found = []
    for impl in ("fused", "composed"):
        tg.manual_seed(2)
        layer = getattr(tg.nn, kind)(2, 3, bidirectional=True, dtype=tg.float64, impl=impl)
        output, final = layer(x)
        last = final[-1] if kind == "LSTM" else final
        loss = (output if which == "output" else last).square().sum()
        found.append(tg.autograd.grad(loss, [x, *layer.parameters()]))
    for fused, composed in zip(*found, strict=True):
        np.testing.assert_allclose(fused.numpy(), composed.numpy(), rtol=TOLERANCE, atol=TOLERANCE)


def test_a_tensor_used_twice_gets_the_sum_of_both_uses() -> None:
    """One weight in two places: as weight_ih and weight_hh of a square layer, and as initial state and input."""
    w = normal(3, 3, dtype="float64", requires_grad=True)
    h = normal(2, 3, dtype="float64", requires_grad=True)
    for order in (1, 2):
        found = []
        for impl in ("fused", "composed"):
            y, _ = sequence.rnn_sequence(h.reshape(1, 2, 3), h, w, w, impl=impl)
            grads = tg.autograd.grad(y.square().sum(), [w, h], create_graph=order == 2)
            if order == 2:
                grads = tg.autograd.grad(sum(g.square().sum() for g in grads), [w, h])
            found.append(grads)
        for fused, composed in zip(*found, strict=True):
            np.testing.assert_allclose(fused.numpy(), composed.numpy(), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_fused_layer_is_one_record_and_a_composed_one_shows_every_step(kind: str) -> None:
    x = normal(5, 2, 3)
    counts = {}
    for impl in ("fused", "composed"):
        layer = getattr(tg.nn, kind)(3, 4, impl=impl)
        with tg.Tape() as tape:
            layer(x)
        counts[impl] = len(tape)
    assert counts["fused"] < 8 < 5 * 3 <= counts["composed"]


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_writing_into_a_layers_output_before_backward_is_refused(kind: str) -> None:
    """The kernel's residual shares memory with the output: a silent wrong gradient otherwise."""
    layer = getattr(tg.nn, kind)(3, 4)
    output, _ = layer(normal(5, 2, 3))
    loss = output.sum()
    output.detach().mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_without_recording_nothing_is_saved_and_the_numbers_are_the_same(kind: str) -> None:
    layer = getattr(tg.nn, kind)(3, 4, num_layers=2, bidirectional=True)
    x = normal(70, 9, 3)
    recorded, _final = layer(x)
    with tg.no_grad():
        plain, plain_final = layer(x)
    assert plain.grad_fn is None and recorded.grad_fn is not None
    np.testing.assert_allclose(plain.numpy(), recorded.detach().numpy(), rtol=1e-6, atol=1e-7)
    with tg.no_grad():
        (other, _) = layer(x, plain_final)
    assert other.shape == plain.shape


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_backward_twice_with_retain_graph_doubles_the_gradients(kind: str) -> None:
    layer = getattr(tg.nn, kind)(3, 4)
    loss = layer(normal(5, 2, 3))[0].square().sum()
    loss.backward(retain_graph=True)
    first = [p.grad.numpy().copy() for p in layer.parameters()]
    loss.backward()
    for p, g in zip(layer.parameters(), first, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), 2 * g)

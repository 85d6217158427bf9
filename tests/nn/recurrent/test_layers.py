"""What a recurrent layer is besides its numbers: names, shapes, layout, options, printed form."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn.recurrent import gate_view, layout
from tinygrad_rnn.ops.recurrent.conventions import CELLS, LSTM

KINDS = ["RNN", "LSTM", "GRU"]


def first_state(final: Any) -> Any:
    return final[0] if isinstance(final, tuple) else final


def test_parameters_have_pytorchs_names_shapes_and_order() -> None:
    layer = nn.LSTM(3, 5, num_layers=2, bidirectional=True, proj_size=2)
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    assert list(shapes.items())[:6] == [
        ("weight_ih_l0", (20, 3)),
        ("weight_hh_l0", (20, 2)),
        ("bias_ih_l0", (20,)),
        ("bias_hh_l0", (20,)),
        ("weight_hr_l0", (2, 5)),
        ("weight_ih_l0_reverse", (20, 3)),
    ]
    assert shapes["weight_ih_l1"] == shapes["weight_ih_l1_reverse"] == (20, 4)
    assert layer._flat_weights_names == list(shapes)
    assert [len(weights) for weights in layer.all_weights] == [5] * 4
    assert layer.all_weights[1][0] is layer.weight_ih_l0_reverse
    assert [len(weights) for weights in nn.GRU(3, 5, bias=False).all_weights] == [2]
    assert tuple(nn.GRU(3, 5).weight_hh_l0.shape) == (15, 5) and tuple(nn.RNN(3, 5).weight_hh_l0.shape) == (5, 5)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.LSTM(3, 5), "LSTM(3, 5)"),
        (nn.LSTM(3, 5, 2, proj_size=2), "LSTM(3, 5, proj_size=2, num_layers=2)"),
        (
            nn.GRU(3, 5, 2, False, True, 0.5, True),
            "GRU(3, 5, num_layers=2, bias=False, batch_first=True, dropout=0.5, bidirectional=True)",
        ),
        (nn.RNN(3, 5, 1, "relu"), "RNN(3, 5)"),
        (nn.RNN(3, 5, impl="composed"), "RNN(3, 5, impl=composed)"),
        (nn.LSTM(3, 5, forget_bias=1.0), "LSTM(3, 5, forget_bias=1.0)"),
        (nn.RNNCell(2, 3, nonlinearity="relu"), "RNNCell(2, 3, nonlinearity=relu)"),
        (nn.GRUCell(2, 3, bias=False), "GRUCell(2, 3, bias=False)"),
        (nn.LSTMCell(2, 3), "LSTMCell(2, 3)"),
        (nn.RNNBase("LSTM", 4, 5), "RNNBase(4, 5)"),
    ],
)
def test_printed_form_shows_what_differs_from_the_defaults(layer: nn.Module, text: str) -> None:
    assert repr(layer) == text


@pytest.mark.parametrize("kind", KINDS)
def test_final_states_are_the_ends_of_the_output(kind: str) -> None:
    layer = getattr(nn, kind)(3, 5, num_layers=2, bidirectional=True)
    output, final = layer(tg.ones(7, 2, 3))
    h_n = first_state(final)
    np.testing.assert_array_equal(output[-1, :, :5].detach().numpy(), h_n[-2].detach().numpy())
    np.testing.assert_array_equal(output[0, :, 5:].detach().numpy(), h_n[-1].detach().numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_batch_first_moves_input_and_output_but_not_the_states(kind: str) -> None:
    tg.manual_seed(0)
    plain = getattr(nn, kind)(3, 5, bidirectional=True)
    moved = getattr(nn, kind)(3, 5, bidirectional=True, batch_first=True)
    moved.load_state_dict(plain.state_dict())
    x = tg.tensor(np.random.default_rng(0).standard_normal((7, 2, 3)).astype("float32"))
    output, final = plain(x)
    swapped, same = moved(x.transpose(0, 1))
    np.testing.assert_array_equal(swapped.detach().numpy(), output.detach().numpy().swapaxes(0, 1))
    np.testing.assert_array_equal(first_state(same).detach().numpy(), first_state(final).detach().numpy())
    assert tuple(first_state(same).shape) == (2, 2, 5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("impl", ["fused", "composed"])
def test_no_batch_and_an_empty_batch(kind: str, impl: str) -> None:
    layer = getattr(nn, kind)(3, 5, num_layers=2, impl=impl)
    output, final = layer(tg.ones(7, 3))
    assert tuple(output.shape) == (7, 5) and tuple(first_state(final).shape) == (2, 5)
    batched, _ = layer(tg.ones(7, 1, 3))
    np.testing.assert_array_equal(output.detach().numpy(), batched.detach().numpy()[:, 0])
    output, final = layer(tg.ones(7, 0, 3))
    assert tuple(output.shape) == (7, 0, 5) and tuple(first_state(final).shape) == (2, 0, 5)
    output.sum().backward()
    assert all(float(p.grad.abs().sum()) == 0 for p in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_cell_stepped_through_time_equals_the_layer(kind: str) -> None:
    tg.manual_seed(0)
    layer = getattr(nn, kind)(3, 5, dtype=tg.float64)
    cell = getattr(nn, f"{kind}Cell")(3, 5, dtype=tg.float64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    x = tg.tensor(np.random.default_rng(0).standard_normal((6, 2, 3)))
    output, _ = layer(x)
    hx: Any = None
    for t in range(6):
        hx = cell(x[t], hx)
        np.testing.assert_allclose(first_state(hx).detach().numpy(), output[t].detach().numpy(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_acts_between_layers_in_training_and_can_be_reassigned(kind: str) -> None:
    layer = getattr(nn, kind)(3, 50, num_layers=2, dropout=0.5)
    x = tg.ones(4, 2, 3)
    tg.manual_seed(0)
    first, final = layer(x)
    again, _ = layer(x)
    assert float((first - again).abs().max()) > 1e-3  # fresh masks
    layer.eval()
    calm, calm_final = layer(x)
    np.testing.assert_array_equal(calm.detach().numpy(), layer(x)[0].detach().numpy())
    np.testing.assert_array_equal(  # the lower layer's own state is not dropped
        first_state(final)[0].detach().numpy(), first_state(calm_final)[0].detach().numpy()
    )
    layer.train()
    layer.dropout = 0.0
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), calm.detach().numpy())
    layer.dropout = 1.0
    silenced, _ = layer(x)
    assert float((silenced - calm).abs().max()) > 1e-3 and np.isfinite(silenced.detach().numpy()).all()


def test_forget_bias_covers_every_layer_and_direction_and_leaves_the_rest_as_drawn() -> None:
    tg.manual_seed(0)
    plain = nn.LSTM(3, 5, num_layers=2, bidirectional=True)
    tg.manual_seed(0)
    open_ = nn.LSTM(3, 5, num_layers=2, bidirectional=True, forget_bias=1.5)
    rows = LSTM.rows("f", 5)
    for (name, p), q in zip(plain.named_parameters(), open_.parameters(), strict=True):
        expected = p.detach().numpy().copy()
        if name.startswith("bias"):
            expected[rows] = 1.5 if name.startswith("bias_ih") else 0.0
        np.testing.assert_array_equal(q.detach().numpy(), expected)
    cell = nn.LSTMCell(3, 5, forget_bias=2.0)
    np.testing.assert_array_equal((cell.bias_ih + cell.bias_hh)[rows].detach().numpy(), np.full(5, 2.0, "float32"))


def test_gate_rows_are_those_of_the_equations() -> None:
    """Saturating one gate at a time shows which rows it has."""
    layer = nn.LSTM(1, 1, dtype=tg.float64)
    for p in layer.parameters():
        nn.init.zeros_(p)
    biases = {"i": 50.0, "f": -50.0, "g": 50.0, "o": 50.0}  # i = 1, f = 0, g = 1, o = 1: c = 1 whatever it was
    for gate, value in biases.items():
        with tg.no_grad():
            layer.bias_ih_l0[LSTM.rows(gate, 1)] = value
    one = tg.ones(1, 1, 1, dtype=tg.float64)
    _, (h_n, c_n) = layer(0 * one, (one, 7 * one))
    assert c_n.item() == pytest.approx(1.0) and h_n.item() == pytest.approx(np.tanh(1.0))
    assert [kind.gates for kind in CELLS.values()] == [("h",), ("h",), ("i", "f", "g", "o"), ("r", "z", "n")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_replaced_weight_is_used(kind: str) -> None:
    layer = getattr(nn, kind)(3, 5)
    layer.flatten_parameters()
    x = tg.ones(4, 2, 3)
    before = layer(x)[0].detach().numpy()
    layer.weight_hh_l0 = nn.Parameter(tg.zeros_like(layer.weight_hh_l0))
    assert np.abs(layer(x)[0].detach().numpy() - before).max() > 1e-4
    w = tg.ones(3, requires_grad=True)  # a computed weight, as weight-drop scripts assign it
    del layer._parameters["weight_ih_l0"]
    layer.weight_ih_l0 = tg.ones(len(layer.bias_ih_l0), 1) * w
    layer(x)[0].sum().backward()
    assert w.grad is not None and float(w.grad.abs().sum()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_and_a_reloaded_layer_give_the_same_numbers(kind: str) -> None:
    layer = getattr(nn, kind)(3, 5, num_layers=2)
    x = tg.ones(4, 2, 3)
    expected = layer(x)[0].detach().numpy()
    other = getattr(nn, kind)(3, 5, num_layers=2)
    other.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), other):
        np.testing.assert_array_equal(twin(x)[0].detach().numpy(), expected)


def test_long_and_extreme_sequences_stay_finite() -> None:
    """Inputs of +-800 saturate every gate: no overflow, exact limits, finite gradients."""
    for kind in KINDS:
        layer = getattr(nn, kind)(1, 2, dtype=tg.float64)
        x = tg.tensor(np.tile([[800.0], [-800.0]], (25, 1))[:, None], requires_grad=True)
        with np.errstate(over="raise", invalid="raise"):
            output, _ = layer(x)
            output.sum().backward()
        assert np.isfinite(output.detach().numpy()).all() and np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_float16_runs_and_agrees_roughly(kind: str) -> None:
    tg.manual_seed(0)
    layer = getattr(nn, kind)(3, 5)
    x = tg.ones(4, 2, 3)
    expected = layer(x)[0].detach().numpy()
    got = layer.half()(x.half())[0]
    assert got.dtype == tg.float16
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=0, atol=5e-3)  # eleven bits, four steps


def test_layout_says_which_axis_is_what_and_which_rows_are_whose() -> None:
    text = layout(nn.GRU(3, 5, num_layers=2))
    assert "output        (T, N, 5)    steps, batch, units" in text
    assert "h_n, h_0      (2, N, 5)    layer, batch, units" in text and "c_n" not in text
    assert "[1]         layer 1 forward: after step T-1" in text and "r [0:5], z [5:10], n [10:15]" in text
    layer = nn.LSTM(3, 5)
    with tg.no_grad():
        gate_view(layer, "bias_ih_l0", "f").fill_(7.0)
    assert layer.bias_ih_l0.tolist()[5:10] == [7.0] * 5
    gate_view(layer, "weight_hh_l0", "o").sum().backward()
    assert float(layer.weight_hh_l0.grad.sum()) == 25.0
    with pytest.raises(ValueError, match="has the gates i, f, g, o, not 'z'"):
        gate_view(layer, "weight_hh_l0", "z")
    with pytest.raises(ValueError, match="not weight_hh_l1"):
        gate_view(layer, "weight_hh_l1", "f")

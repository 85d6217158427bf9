"""RNNLayer turns a cell into the layer that it is the cell of; initialisers by gate; the grid LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn.recurrent import MDLSTM, RNNLayer, init_gate_, irnn_, orthogonal_gates_

KINDS = ["RNN", "LSTM", "GRU"]


def inputs(*shape: int) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


def renamed(layer: Any) -> dict[str, Any]:
    """A layer's weights under the names that an RNNLayer of its cells has for them."""
    out = {}
    for name, value in layer.state_dict().items():
        base, _, place = name.partition("_l")
        out[f"cell_l{place}.{base}"] = value
    return out


def first(state: Any) -> Any:
    return state[0] if isinstance(state, tuple) else state


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_cells_of_a_kind_make_the_layer_of_that_kind(kind: str, packed: bool) -> None:
    layer = getattr(nn, kind)(2, 3, num_layers=2, bidirectional=True, batch_first=True, dtype=tg.float64)
    cell = getattr(nn, f"{kind}Cell")
    generic = RNNLayer(
        lambda size: cell(size, 3, dtype=tg.float64), 2, num_layers=2, bidirectional=True, batch_first=True
    )
    generic.load_state_dict(renamed(layer))
    x = inputs(4, 5, 2)
    given = nn.utils.rnn.pack_padded_sequence(x, [2, 5, 1, 5], True, False) if packed else x
    results = []
    for one in (layer, generic):
        output, final = one(given)
        if packed:
            output, _ = nn.utils.rnn.pad_packed_sequence(output, True)
        g = tg.autograd.grad(output.square().sum() + first(final).sum(), [x])
        results.append([output.detach(), first(final).detach(), *g])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=0, atol=1e-12)  # float64, the same operations regrouped
        assert float(a.abs().max()) > 1e-2


class Sum(nn.Module):
    """h' = h + x, n' = n + 1: a cell with two states of different widths and no parameters."""

    input_size = 2
    hidden_size = (2, 1)

    def forward(self, x: tg.Tensor, states: tuple[tg.Tensor, ...]) -> tuple[tg.Tensor, ...]:
        return states[0] + x, states[1] + 1


def test_a_cell_of_ones_own_with_states_of_two_widths() -> None:
    x = inputs(3, 2, 2)
    layer = RNNLayer(Sum())
    output, (total, count) = layer(x)
    np.testing.assert_allclose(output.detach().numpy(), x.detach().numpy().cumsum(0), rtol=0, atol=1e-15)
    np.testing.assert_array_equal(total.detach().numpy(), output[-1:].detach().numpy())
    np.testing.assert_array_equal(count.numpy(), np.full((1, 2, 1), 3.0))
    _packed, (_, count) = layer(nn.utils.rnn.pack_padded_sequence(x, [1, 3], enforce_sorted=False))
    np.testing.assert_array_equal(count.numpy().ravel(), [1.0, 3.0])
    _, (total, _) = layer(x[:, 0])
    assert tuple(total.shape) == (1, 2)
    start = tg.ones(1, 2, 2, dtype=tg.float64), tg.zeros(1, 2, 1, dtype=tg.float64)
    np.testing.assert_allclose(layer(x, start)[0].detach().numpy(), output.detach().numpy() + 1, rtol=0, atol=1e-15)


@pytest.mark.parametrize("skip", ["dense", "residual", "highway"])
def test_a_cell_that_says_its_width_only_when_made_can_be_skipped(skip: str) -> None:
    layer = RNNLayer(lambda size: nn.GRUCell(size, 4), 3, num_layers=3, bidirectional=True, skip=skip)
    output, _ = layer(tg.ones(2, 1, 3))
    assert output.shape == (2, 1, 8)
    assert layer.cell_l2.input_size == (3 + 2 * 8 if skip == "dense" else 8)


def test_options_of_stacks_apply_to_any_cell() -> None:
    layer = RNNLayer(
        lambda size: nn.GRUCell(size, 3), 2, num_layers=3, skip="highway", learn_state=True, zoneout=0.5, dropout=0.5
    )
    output, h_n = layer(tg.ones(4, 2, 2))
    assert tuple(output.shape) == (4, 2, 3) and tuple(h_n.shape) == (3, 2, 3)
    output.sum().backward()
    assert layer.initial_h.grad is not None and layer.weight_skip_l1.grad is not None
    assert "num_layers=3" in repr(layer) and "skip=highway" in repr(layer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RNNLayer(nn.GRUCell(2, 3), num_layers=2), "give a function that makes a cell"),
        (lambda: RNNLayer(nn.Linear(2, 3), 2), "must have an attribute hidden_size"),
        (lambda: RNNLayer(lambda size: nn.GRUCell(size, 3)), "give input_size"),
        (lambda: RNNLayer(nn.GRUCell(2, 3), num_layers=0), "num_layers must be greater than zero"),
        (lambda: RNNLayer(nn.GRUCell(2, 3), dropout=2.0), "dropout should be a number in range"),
        (lambda: RNNLayer(nn.GRUCell(2, 3))(tg.zeros(4, 2, 5)), "Expected 2, got 5"),
        (lambda: RNNLayer(nn.GRUCell(2, 3))(tg.zeros(0, 2, 2)), "Expected sequence length to be larger than 0"),
        (lambda: RNNLayer(nn.LSTMCell(2, 3))(tg.zeros(4, 2, 2), tg.zeros(1, 2, 3)), "the cell has 2 states, but 1"),
    ],
)
def test_impossible_layers_are_refused(make: Any, message: str) -> None:
    with pytest.raises(tg.errors.TinygradRnnError, match=message):
        make()


# initialisation ------------------------------------------------------------------------------------------------------


def test_irnn_starts_as_an_integrator() -> None:
    layer = irnn_(nn.RNN(3, 4, 2, "relu", bidirectional=True), std=0.0)
    h = tg.tensor(np.random.default_rng(0).uniform(0, 1, (4, 1, 4)).astype("float32"))
    _, h_n = layer(tg.ones(100, 1, 3), h)
    np.testing.assert_array_equal(h_n.detach().numpy(), h.numpy())
    assert irnn_(nn.RNNCell(3, 4), scale=0.5).weight_hh.sum().item() == 2.0
    with pytest.raises(ValueError, match="irnn_ is for plain RNNs"):
        irnn_(nn.LSTM(3, 4))


def test_orthogonal_gates_makes_every_gate_orthogonal() -> None:
    layer = orthogonal_gates_(nn.GRU(3, 4, num_layers=2, bidirectional=True))
    for names in layer._all_weights:
        for block in np.split(getattr(layer, names[1]).detach().numpy(), 3):
            np.testing.assert_allclose(block @ block.T, np.eye(4), rtol=0, atol=1e-5)  # float32
        assert float(getattr(layer, names[2]).abs().sum()) == 0
    cell = orthogonal_gates_(nn.LSTMCell(3, 4))
    assert np.linalg.matrix_rank(cell.weight_hh.detach().numpy()) == 4


def test_one_gate_can_be_initialised_alone() -> None:
    layer = nn.LSTM(3, 4, bidirectional=True)
    before = layer.bias_hh_l0_reverse.detach().numpy().copy()
    init_gate_(layer, "o", lambda t: nn.init.constant_(t, 2.0), "bias_hh")
    after = layer.bias_hh_l0_reverse.detach().numpy()
    np.testing.assert_array_equal(after[:12], before[:12])
    np.testing.assert_array_equal(after[12:], np.full(4, 2.0, "float32"))
    with pytest.raises(ValueError, match="has the gates i, f, g, o, not 'z'"):
        init_gate_(layer, "z", nn.init.ones_)
    with pytest.raises(ValueError, match="no parameter bias_xx"):
        init_gate_(layer, "o", nn.init.ones_, "bias_xx")


# the grid LSTM -------------------------------------------------------------------------------------------------------


def test_on_one_row_the_grid_lstm_is_the_lstm() -> None:
    lstm = nn.LSTM(2, 3, dtype=tg.float64)
    grid = MDLSTM(2, 3, dtype=tg.float64)
    with tg.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            whole, own = getattr(grid, name), getattr(lstm, f"{name}_l0")
            whole[:6] = own[:6]  # i, f_left
            whole[9:] = own[6:]  # g, o
    x = inputs(5, 4, 2)
    expected, _ = lstm(x)
    np.testing.assert_allclose(grid(x[None])[0].detach().numpy(), expected.detach().numpy(), rtol=0, atol=1e-14)
    backwards = MDLSTM(2, 3, dtype=tg.float64, from_right=True)
    backwards.load_state_dict(grid.state_dict())
    mirrored = tg.tensor(x.detach().numpy()[::-1].copy())
    np.testing.assert_allclose(
        backwards(mirrored[None])[0].detach().numpy(), expected.detach().numpy()[::-1], rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("corner", [(False, False), (True, False), (True, True)])
def test_the_grid_lstm_follows_its_equations(corner: tuple[bool, bool]) -> None:
    rows, columns, batch = 3, 4, 2
    grid = MDLSTM(2, 3, dtype=tg.float64, batch_first=True, from_bottom=corner[0], from_right=corner[1])
    x = inputs(batch, rows, columns, 2)
    w = {name: p.detach().numpy() for name, p in grid.named_parameters()}
    h: dict[tuple[int, int], np.ndarray] = {}
    c: dict[tuple[int, int], np.ndarray] = {}
    zeros = np.zeros((batch, 3))
    down, right = (-1 if corner[0] else 1), (-1 if corner[1] else 1)
    for r in range(rows)[::down]:
        for k in range(columns)[::right]:
            up, left = (r - down, k), (r, k - right)
            a = x.detach().numpy()[:, r, k] @ w["weight_ih"].T + w["bias_ih"] + w["bias_hh"]
            a = a + h.get(left, zeros) @ w["weight_hh"].T + h.get(up, zeros) @ w["weight_hh_up"].T
            i, f_left, f_up, g, o = np.split(a, 5, axis=-1)
            i, f_left, f_up, o = (1 / (1 + np.exp(-v)) for v in (i, f_left, f_up, o))
            c[r, k] = i * np.tanh(g) + f_left * c.get(left, zeros) + f_up * c.get(up, zeros)
            h[r, k] = o * np.tanh(c[r, k])
    output = grid(x)
    for (r, k), value in h.items():
        np.testing.assert_allclose(output[:, r, k].detach().numpy(), value, rtol=0, atol=1e-14)


def test_gradients_of_the_grid_lstm_agree_with_differences() -> None:
    grid = MDLSTM(1, 2, dtype=tg.float64)
    x = inputs(2, 3, 1, 1)
    assert tg.autograd.gradcheck(grid, [x])
    assert tg.autograd.gradgradcheck(grid, [x])
    grid(x).square().sum().backward()
    assert all(float(p.grad.abs().max()) > 1e-6 for p in grid.parameters())


@pytest.mark.parametrize(
    ("shape", "message"), [((2, 3, 1), "to be 4D"), ((2, 3, 1, 5), "Expected 1, got 5"), ((0, 3, 1, 1), "at least one")]
)
def test_what_is_no_grid_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(tg.errors.TinygradRnnError, match=message):
        MDLSTM(1, 2)(tg.zeros(*shape))

"""Options that PyTorch lacks: against the equations in plain NumPy, and against differences at order one and two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

T, N, I, H = 4, 3, 2, 3  # noqa: E741
TOLERANCE = 1e-12
"""A few dozen roundings of float64 on values of order 1."""


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def normalised(a: np.ndarray, gain: np.ndarray, bias: Any = 0.0) -> np.ndarray:
    return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5) * gain + bias


def made(kind: str, **options: Any) -> Any:
    """A float64 layer whose parameters are all of order 1, gains and initial states included."""
    tg.manual_seed(0)
    layer = getattr(nn, kind)(I, H, dtype=tg.float64, **options)
    rng = np.random.default_rng(1)
    for p in layer.parameters():
        p._data[...] = rng.uniform(-1, 1, p.shape)
        p._touch()
    return layer


def inputs(*shape: int) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(2).standard_normal(shape or (T, N, I)), requires_grad=True)


def weights(layer: Any, suffix: str = "_l0") -> dict[str, np.ndarray]:
    return {n.removesuffix(suffix): p.detach().numpy() for n, p in layer.named_parameters() if n.endswith(suffix)}


def close(got: Any, expected: np.ndarray) -> None:
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=0, atol=TOLERANCE)


# equations -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize(("peepholes", "proj_size"), [(False, 0), (True, 0), (True, 2), (False, 1)])
def test_lstm_variants_follow_their_equations(peepholes: bool, proj_size: int, layer_norm: bool) -> None:
    options = {"peepholes": peepholes, "layer_norm": layer_norm, "proj_size": proj_size}
    layer = made("LSTM", **options, return_cells=True, return_gates=True)
    x = inputs()
    output, (h_n, c_n), cells, gates = layer(x)
    w = weights(layer)
    p = np.split(w["weight_peephole"], 3) if peepholes else [np.zeros(H)] * 3
    h, c = np.zeros((N, proj_size or H)), np.zeros((N, H))
    for t in range(T):
        left, right = x.detach().numpy()[t] @ w["weight_ih"].T, h @ w["weight_hh"].T
        if layer_norm:
            left, right = normalised(left, w["norm_ih"]), normalised(right, w["norm_hh"])
        i, f, g, o = np.split(left + right + w["bias_ih"] + w["bias_hh"], 4, axis=-1)
        i, f, g = sigmoid(i + p[0] * c), sigmoid(f + p[1] * c), np.tanh(g)
        c = f * c + i * g
        o = sigmoid(o + p[2] * c)
        h = o * np.tanh(normalised(c, w["norm_c"], w["norm_c_bias"]) if layer_norm else c)
        h = h @ w["weight_hr"].T if proj_size else h
        close(output[t], h)
        close(cells[t], c)
        for name, value in zip("ifgo", (i, f, g, o), strict=True):
            close(gates[name][t], value)
    close(h_n[0], h)
    close(c_n[0], c)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("reset_after", [False, True])
def test_gru_variants_follow_their_equations(reset_after: bool, layer_norm: bool) -> None:
    layer = made("GRU", reset_after=reset_after, layer_norm=layer_norm, return_gates=True)
    x = inputs()
    output, h_n, gates = layer(x)
    w = weights(layer)
    h = np.zeros((N, H))

    def product(value: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        a = value @ w["weight_hh"][rows].T
        return (normalised(a, w["norm_hh"][rows]) if layer_norm else a) + w["bias_hh"][rows]

    for t in range(T):
        left = x.detach().numpy()[t] @ w["weight_ih"].T
        left = (normalised(left, w["norm_ih"]) if layer_norm else left) + w["bias_ih"]
        r, z, n = np.split(left, 3, axis=-1)
        if reset_after:
            right = np.split(product(h), 3, axis=-1)
            r, z = sigmoid(r + right[0]), sigmoid(z + right[1])
            n = np.tanh(n + r * right[2])
        else:
            right = np.split(product(h, slice(2 * H)), 2, axis=-1)
            r, z = sigmoid(r + right[0]), sigmoid(z + right[1])
            n = np.tanh(n + product(r * h, slice(2 * H, None)))
        h = (1 - z) * n + z * h
        close(output[t], h)
        close(gates["r"][t], r)
        close(gates["z"][t], z)
        close(gates["n"][t], n)
    close(h_n[0], h)


def test_a_normalised_rnn_follows_its_equation() -> None:
    layer = made("RNN", layer_norm=True)
    x, w, h = inputs(), weights(layer), np.zeros((N, H))
    output, _ = layer(x)
    for t in range(T):
        left = normalised(x.detach().numpy()[t] @ w["weight_ih"].T, w["norm_ih"]) + w["bias_ih"]
        h = np.tanh(left + normalised(h @ w["weight_hh"].T, w["norm_hh"]) + w["bias_hh"])
        close(output[t], h)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_all_cell_states_and_gates_agree_in_every_form(kind: str) -> None:
    """Asking for more changes nothing else, packed or not, whichever way it is computed."""
    plain = made(kind, bidirectional=True, num_layers=2)
    x = inputs()
    output, _ = plain(x)
    asked = made(kind, bidirectional=True, num_layers=2, return_gates=True)
    again, _, gates = asked(x)
    close(again, output.detach().numpy())
    assert all(tuple(gate.shape) == (T, N, 2 * H) for gate in gates.values())
    if kind == "RNN":
        close(gates["h"], output.detach().numpy())


@pytest.mark.parametrize("impl", ["fused", "composed"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_cell_states_end_in_c_n_and_carry_gradients(impl: str, packed: bool, bidirectional: bool) -> None:
    layer = made("LSTM", return_cells=True, impl=impl, bidirectional=bidirectional, proj_size=2)
    x = inputs()
    given = nn.utils.rnn.pack_padded_sequence(x, [2, 4, 3], enforce_sorted=False) if packed else x
    _, (_, c_n), cells = layer(given)
    if packed:
        cells, lengths = nn.utils.rnn.pad_packed_sequence(cells)
        ends = [n - 1 for n in lengths.tolist()]
    else:
        ends = [T - 1] * N
    close(c_n[0], cells.detach().numpy()[ends, range(N), :H])
    if bidirectional:
        close(c_n[1], cells.detach().numpy()[0, :, H:])
    grads = tg.autograd.grad(cells.square().sum(), [x, *layer.parameters()], allow_unused=True)
    other = made("LSTM", return_cells=True, impl="composed", bidirectional=bidirectional, proj_size=2)
    values = other(given)[2]
    values = nn.utils.rnn.pad_packed_sequence(values)[0] if packed else values
    expected = tg.autograd.grad(values.square().sum(), [x, *other.parameters()], allow_unused=True)
    for g, e in zip(grads, expected, strict=True):
        np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=1e-10, atol=1e-11)  # float64, sums regrouped


def test_no_recording_gives_the_same_cell_states() -> None:
    layer = made("LSTM", return_cells=True)
    with tg.no_grad():
        plain = layer(inputs())[2]
    close(layer(inputs())[2], plain.numpy())


# stacks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("skip", ["residual", "highway", "dense"])
def test_skips_join_what_single_layers_give(skip: str, bidirectional: bool) -> None:
    stacked = made("GRU", num_layers=3, skip=skip, bidirectional=bidirectional)
    width = H * (2 if bidirectional else 1)
    x = below = inputs()
    for k in range(3):
        single = nn.GRU(below.shape[-1], H, bidirectional=bidirectional, dtype=tg.float64)
        single.load_state_dict(
            {
                n.replace(f"_l{k}", "_l0"): v
                for n, v in stacked.state_dict().items()
                if f"_l{k}" in n and "skip" not in n
            }
        )
        y, _ = single(below)
        assert y.shape[-1] == width
        if skip == "dense":
            below = tg.cat([below, y], -1) if k < 2 else y
        elif k == 0:
            below = y
        elif skip == "residual":
            below = y + below
        else:
            t = tg.sigmoid(
                nn.functional.linear(below, *(stacked.get_parameter(f"{p}_skip_l{k}") for p in ("weight", "bias")))
            )
            below = t * y + (1 - t) * below
    output, h_n = stacked(x)
    close(output, below.detach().numpy())
    assert tuple(h_n.shape) == (3 * width // H, N, H)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_learned_initial_states_are_used_where_none_are_given(kind: str) -> None:
    layer = made(kind, num_layers=2, bidirectional=True, learn_state=True)
    x = inputs()
    names = [n for n, _ in layer.named_parameters() if n.startswith("initial")]
    assert names == (["initial_h", "initial_c"] if kind == "LSTM" else ["initial_h"])
    states = [getattr(layer, n)[:, None].expand(4, N, H) for n in names]
    output, _final = layer(x)
    expected, _same = layer(x, tuple(states) if kind == "LSTM" else states[0])
    close(output, expected.detach().numpy())
    g = tg.autograd.grad(output.sum(), [getattr(layer, n) for n in names])
    assert all(float(one.abs().max()) > 1e-3 for one in g)
    fresh = getattr(nn, kind)(I, H, learn_state=True)
    assert float(fresh.initial_h.abs().sum()) == 0


# randomness ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_zoneout_keeps_old_values_in_training_and_mixes_in_evaluation(kind: str) -> None:
    p = 0.4
    layer = made(kind, zoneout=p)
    x = inputs(30, N, I)
    output, _ = layer(x)
    before = tg.cat([tg.zeros(1, N, H, dtype=tg.float64), output[:-1]])
    kept = (output == before).float().mean().item()
    assert abs(kept - p) < 0.15  # 270 draws: 5 standard deviations
    layer.eval()
    output, _ = layer(x)
    cell = made(f"{kind}Cell")
    cell.load_state_dict({n.removesuffix("_l0"): v for n, v in layer.state_dict().items()})
    states = [tg.zeros(N, H, dtype=tg.float64) for _ in range(2 if kind == "LSTM" else 1)]
    for t in range(5):
        new = cell(x[t], tuple(states) if kind == "LSTM" else states[0])
        new = list(new) if kind == "LSTM" else [new]
        states = [p * old + (1 - p) * one for old, one in zip(states, new, strict=True)]
        close(output[t], states[0].detach().numpy())
    layer.train()
    layer.options = type(layer.options)(zoneout=1.0)
    assert float(layer(x)[0].abs().max()) == 0  # everything is kept, from zero on


def test_zoneout_may_differ_between_the_states() -> None:
    layer = made("LSTM", zoneout=(0.0, 1.0), return_cells=True)
    output, (_, c_n), cells = layer(inputs())
    assert float(c_n.abs().max()) == 0 and float(cells.abs().max()) == 0
    assert float(output.abs().max()) > 0.01  # h sees the cell state that was computed, not the one that was kept


def test_recurrent_dropout_masks_a_sequences_state_the_same_at_every_step() -> None:
    layer = made("RNN", recurrent_dropout=0.5)
    x = inputs(6, N, I)
    tg.manual_seed(3)
    output, _ = layer(x)
    tg.manual_seed(3)
    mask = nn.functional.dropout(tg.ones(N, H, dtype=tg.float64), 0.5).numpy()
    w, h = weights(layer), np.zeros((N, H))
    for t in range(6):
        a = x.detach().numpy()[t] @ w["weight_ih"].T + (h * mask) @ w["weight_hh"].T
        h = np.tanh(a + w["bias_ih"] + w["bias_hh"])
        close(output[t], h)
    layer.eval()
    close(layer(x)[0], made("RNN")(x)[0].detach().numpy())


@pytest.mark.parametrize("packed", [False, True])
def test_locked_dropout_uses_one_mask_for_all_steps_of_a_sequence(packed: bool) -> None:
    tg.manual_seed(0)
    layer = nn.RNN(I, H, 2, "relu", dropout=0.5, locked_dropout=True, dtype=tg.float64)
    with tg.no_grad():  # the second layer shows what it is fed
        layer.weight_ih_l1.copy_(tg.eye(H))
        for p in (layer.weight_hh_l1, layer.bias_ih_l1, layer.bias_hh_l1):
            p.zero_()
        layer.bias_ih_l0.fill_(5.0)  # every unit of the first layer is on
    x = inputs(20, N, I)
    given = nn.utils.rnn.pack_padded_sequence(x, [20, 11, 2]) if packed else x
    output, _ = layer(given)
    shown = (nn.utils.rnn.pad_packed_sequence(output)[0] if packed else output).detach().numpy()
    lengths = [20, 11, 2] if packed else [20] * N
    on = shown != 0
    for n, length in enumerate(lengths):
        assert (on[:length, n] == on[0, n]).all()
    assert 0 < on[0].sum() < on[0].size  # with this seed


def test_weight_dropout_drops_entries_of_weight_hh_once_per_call() -> None:
    layer = made("LSTM", weight_dropout=0.5)
    x = inputs()
    tg.manual_seed(5)
    output, _ = layer(x)
    twin = made("LSTM")
    tg.manual_seed(5)
    with tg.no_grad():
        twin.weight_hh_l0.copy_(nn.functional.dropout(layer.weight_hh_l0, 0.5))
    close(output, twin(x)[0].detach().numpy())
    layer.eval()
    close(layer(x)[0], made("LSTM")(x)[0].detach().numpy())


# gradients -----------------------------------------------------------------------------------------------------------

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("LSTM", {"peepholes": True}),
    ("LSTM", {"layer_norm": True}),
    ("LSTM", {"return_cells": True, "return_gates": True}),
    ("LSTM", {"return_cells": True}),
    ("LSTM", {"zoneout": (0.3, 0.2)}),
    ("LSTM", {"weight_dropout": 0.3, "recurrent_dropout": 0.3}),
    ("GRU", {"reset_after": False}),
    ("GRU", {"reset_after": False, "layer_norm": True}),
    ("GRU", {"num_layers": 2, "skip": "residual", "learn_state": True}),
    ("GRU", {"num_layers": 2, "skip": "highway", "dropout": 0.4, "locked_dropout": True}),
    ("RNN", {"num_layers": 2, "skip": "dense", "bidirectional": True}),
    ("RNN", {"layer_norm": True, "zoneout": 0.5}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=[f"{k} {o}" for k, o in OPTIONS])
def test_gradients_of_order_one_and_two_agree_with_differences(kind: str, options: dict[str, Any]) -> None:
    tg.manual_seed(0)
    layer = getattr(nn, kind)(1, 2, dtype=tg.float64, **options)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    x = inputs(3, 2, 1)

    def run(x: tg.Tensor, *values: tg.Tensor) -> tuple[tg.Tensor, ...]:
        tg.manual_seed(4)  # the same masks every time
        held = dict(zip(names, values, strict=True))
        for name, value in held.items():
            layer._parameters.pop(name, None)
            object.__setattr__(layer, name, value)
        output, final, *more = layer(x)
        gates = more.pop().values() if options.get("return_gates") else []
        return (output, *(final if isinstance(final, tuple) else (final,)), *more, *gates)

    assert tg.autograd.gradcheck(run, [x, *parameters])
    assert tg.autograd.gradgradcheck(run, [x, *parameters], fast_mode=True)


# refusals and printed form -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip": "jump"}, "skip must be None or one of residual, highway, dense"),
        ({"zoneout": 1.5}, "zoneout is a probability"),
        ({"zoneout": (0.1,)}, "zoneout needs one probability for each of 2 states"),
        ({"recurrent_dropout": -0.1}, "recurrent_dropout is a probability"),
        ({"weight_dropout": 2}, "weight_dropout is a probability"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.LSTM(2, 3, **options)


def test_options_are_printed_and_nothing_is_drawn_for_those_that_are_off() -> None:
    layer = nn.LSTM(2, 3, peepholes=True, zoneout=0.1, skip="dense", num_layers=2, learn_state=True)
    assert repr(layer) == "LSTM(2, 3, num_layers=2, peepholes=True, skip=dense, zoneout=0.1, learn_state=True)"
    assert repr(nn.GRU(2, 3, reset_after=False)) == "GRU(2, 3, reset_after=False)"
    assert repr(nn.LSTMCell(2, 3, layer_norm=True)) == "LSTMCell(2, 3, layer_norm=True)"
    tg.manual_seed(0)
    first = nn.LSTM(2, 3).weight_hh_l0.detach().numpy()
    tg.manual_seed(0)
    np.testing.assert_array_equal(nn.LSTM(2, 3, zoneout=0.5).weight_hh_l0.detach().numpy(), first)

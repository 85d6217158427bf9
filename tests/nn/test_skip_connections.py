"""Residual, highway and dense connections: equations, gradients, recurrent layers inside and around, errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.autograd.functional import jacobian
from tinygrad_rnn.compat.backends.recurrent import only
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, ShapeError, ShapeRuntimeError
from tinygrad_rnn.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from tinygrad_rnn.testing import assert_batch_permutes, assert_no_nan

F64: Any = {"dtype": tg.float64}


@pytest.fixture(autouse=True)
def numpys_kernels() -> Iterator[None]:
    """What is tested is around the layers, and waits for no compiler."""
    with only("numpy"):
        yield


def mlp(size: int = 3, out: int | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, 4, **F64), nn.Tanh(), nn.Linear(4, out or size, **F64))


def wrapped(kind: str) -> nn.Module:
    if kind == "residual":
        return nn.Residual(mlp())
    if kind == "shortcut":
        return nn.Residual(mlp(out=2), nn.Linear(3, 2, **F64))
    if kind == "highway":
        return nn.Highway(mlp(), 3, **F64)
    return nn.Dense(mlp(out=2), mlp(5, 1), nn.Linear(6, 2, **F64))


KINDS = ["residual", "shortcut", "highway", "dense"]


# equations ------------------------------------------------------------------------------------------------------------


def test_a_residual_layer_adds_its_input_or_a_shortcut() -> None:
    x = tg.randn(5, 3, **F64)
    layer: Any = wrapped("residual")
    assert tg.equal(layer(x), layer.module(x) + x) and not tg.allclose(layer(x), layer.module(x))
    layer = wrapped("shortcut")
    assert tg.equal(layer(x), layer.module(x) + layer.shortcut(x))


def test_the_jacobian_of_a_residual_layer_is_the_identity_and_that_of_its_branch() -> None:
    layer: Any = wrapped("residual")
    x = tg.randn(3, **F64)
    branch = jacobian(layer.module, x)
    assert float(branch.abs().min()) > 1e-6
    np.testing.assert_allclose(jacobian(layer, x).numpy(), np.eye(3) + branch.numpy(), rtol=0, atol=1e-15)


def test_a_highway_layer_mixes_by_its_gate() -> None:
    layer: Any = wrapped("highway")
    x = tg.randn(5, 3, **F64)
    t = 1 / (1 + np.exp(-(x.numpy() @ layer.gate.weight.detach().numpy().T + layer.gate.bias.detach().numpy())))
    assert ((t > 0.05) & (t < 0.95)).all()
    expected = t * layer.module(x).detach().numpy() + (1 - t) * x.numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=0, atol=1e-15)


def test_a_shut_gate_is_the_identity_and_an_open_one_the_module_to_the_bit() -> None:
    layer: Any = wrapped("highway")
    x = tg.randn(5, 3, **F64)
    nn.init.constant_(layer.gate.bias, -800.0)
    assert tg.equal(layer(x), x)
    nn.init.constant_(layer.gate.bias, 800.0)
    assert tg.equal(layer(x), layer.module(x))


def test_the_gate_carries_at_first() -> None:
    assert (nn.Highway(nn.Tanh(), 4).gate.bias == -1).all()
    layer = nn.Highway(nn.Linear(4, 4), 4, bias=-3.0)
    weight, inner = layer.gate.weight.clone(), layer.module.weight.clone()
    nn.init.zeros_(layer.gate.bias)
    layer.reset_parameters()
    assert (layer.gate.bias == -3).all() and tg.equal(layer.module.weight, inner)
    assert not tg.equal(layer.gate.weight, weight)


def test_each_module_of_a_dense_block_reads_all_before_it() -> None:
    block: Any = wrapped("dense")
    x = tg.randn(5, 3, **F64)
    a = block.layers[0](x)
    b = block.layers[1](tg.cat([x, a], -1))
    c = block.layers[2](tg.cat([x, a, b], -1))
    assert tg.equal(block(x), tg.cat([x, a, b, c], -1)) and block(x).shape == (5, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_two_orders_of_the_input_and_all_parameters(kind: str) -> None:
    layer = wrapped(kind)
    batch = tg.randn(2, 3, requires_grad=True, **F64)
    checked = (batch, *layer.parameters())
    assert tg.autograd.gradcheck(lambda input, *weights: layer(input), checked)
    assert tg.autograd.gradgradcheck(lambda input, *weights: layer(input), checked, fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_do_not_depend_on_each_other_and_nothing_is_nan(kind: str) -> None:
    layer, batch = wrapped(kind), tg.randn(4, 3, requires_grad=True, **F64)
    assert_batch_permutes(layer, [batch], axes=[0], output_axes=[0])
    assert_no_nan(layer, [batch])


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_brings_a_layer_back(kind: str) -> None:
    layer, other, x = wrapped(kind), wrapped(kind), tg.randn(4, 3, **F64)
    assert not tg.equal(layer(x), other(x))
    other.load_state_dict(layer.state_dict())
    assert tg.equal(layer(x), other(x))


def test_names_and_text() -> None:
    assert list(nn.Residual(nn.Linear(2, 2), nn.Linear(2, 2, bias=False)).state_dict()) == [
        "module.weight",
        "module.bias",
        "shortcut.weight",
    ]
    assert list(nn.Highway(nn.Tanh(), 2).state_dict()) == ["gate.weight", "gate.bias"]
    assert list(nn.Dense(nn.Tanh(), nn.Linear(4, 2)).state_dict()) == ["layers.1.weight", "layers.1.bias"]
    assert repr(nn.Highway(nn.Tanh(), 2, -2.0)) == (
        "Highway(\n  2, bias=-2\n  (module): Tanh()\n  (gate): Linear(in_features=2, out_features=2, bias=True)\n)"
    )
    assert repr(nn.Residual(nn.Tanh())) == "Residual(\n  (module): Tanh()\n)"
    assert repr(nn.Dense(nn.Tanh())) == "Dense(\n  (layers): ModuleList(\n    (0): Tanh()\n  )\n)"


# recurrent layers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skip", ["residual", "highway"])
def test_a_stack_of_wrapped_layers_is_a_layer_with_that_skip(skip: str) -> None:
    """The option leaves the first layer alone; all others are wrapped."""
    whole: Any = nn.LSTM(4, 4, 3, skip=skip, **F64)
    layers: list[Any] = [nn.LSTM(4, 4, **F64)]
    for number in range(3):
        inner: Any = nn.LSTM(4, 4, **F64)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(inner, f"{name}_l0").data.copy_(getattr(whole, f"{name}_l{number}"))
        if number == 0:
            layers = [inner]
        elif skip == "residual":
            layers.append(nn.Residual(inner))
        else:
            layers.append(nn.Highway(inner, 4, **F64))
            layers[-1].gate.load_state_dict({n: getattr(whole, f"{n}_skip_l{number}") for n in ("weight", "bias")})
    x = tg.randn(6, 2, 4, **F64)
    expected, (h, c) = whole(x)
    y: Any = x
    for number, layer in enumerate(layers):
        y, (h_k, c_k) = layer(y)
        np.testing.assert_allclose(h_k[0].detach().numpy(), h[number].detach().numpy(), rtol=0, atol=1e-14)
        np.testing.assert_allclose(c_k[0].detach().numpy(), c[number].detach().numpy(), rtol=0, atol=1e-14)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=0, atol=1e-14)


def recurrent(kind: str) -> nn.Module:
    if kind == "residual":
        return nn.Residual(nn.GRU(3, 3, **F64))
    if kind == "both ways":
        return nn.Residual(nn.LSTM(3, 2, bidirectional=True, **F64), nn.Linear(3, 4, **F64))
    if kind == "own cell":
        return nn.Residual(nn.RNNLayer(nn.RNNCell(3, 3, **F64)))
    if kind == "highway":
        return nn.Highway(nn.RNN(3, 3, **F64), 3, **F64)
    if kind == "nested":
        return nn.Residual(nn.Highway(nn.GRU(3, 3, **F64), 3, **F64))
    return nn.Dense(nn.LSTM(3, 2, **F64), nn.Linear(5, 2, **F64), nn.GRU(7, 3, **F64))


RECURRENT = ["residual", "both ways", "own cell", "highway", "nested", "dense"]


@pytest.mark.parametrize("kind", RECURRENT)
def test_packed_input_gives_packed_output_of_the_same_numbers(kind: str) -> None:
    layer = recurrent(kind)
    x, lengths = tg.randn(5, 3, 3, requires_grad=True, **F64), [3, 5, 1]
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    output, _ = layer(packed)
    assert isinstance(output, PackedSequence)
    padded, sizes = pad_packed_sequence(output)
    assert sizes.tolist() == lengths
    for k, length in enumerate(lengths):
        alone, _ = layer(x[:length, k : k + 1])
        np.testing.assert_allclose(
            padded[:length, k].detach().numpy(), alone[:, 0].detach().numpy(), rtol=0, atol=1e-14
        )
    (padded**2).sum().backward()
    assert all(bool((p.grad != 0).any()) for p in (x, *layer.parameters()))


@pytest.mark.parametrize("kind", ["residual", "highway", "dense"])
def test_modules_that_know_no_sequences_read_the_rows_of_packed_ones(kind: str) -> None:
    layer, x = wrapped(kind), tg.randn(4, 2, 3, **F64)
    packed = pack_padded_sequence(x, [4, 2])
    found = layer(packed)
    assert isinstance(found, PackedSequence) and tg.equal(found.data, layer(packed.data))
    assert found.batch_sizes.tolist() == [2, 2, 1, 1]


def test_they_stand_between_recurrent_layers() -> None:
    chain: Any = nn.Sequential(nn.LSTM(3, 3, **F64), wrapped("residual"), nn.GRU(3, 3, **F64), wrapped("highway"))
    x = tg.randn(4, 2, 3, **F64)
    y = chain[2](chain[1](chain[0](x)[0]))[0]
    assert tg.equal(chain(x), chain[3](y))
    packed = chain(pack_padded_sequence(x, [4, 4]))
    np.testing.assert_allclose(
        packed.data.detach().numpy(), chain(x).detach().numpy().reshape(8, 3), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("kind", [kind for kind in RECURRENT if kind != "both ways"])
def test_a_sequence_may_be_read_in_two_pieces(kind: str) -> None:
    layer = recurrent(kind)
    x = tg.randn(6, 2, 3, **F64)
    whole, _ = layer(x)
    first, state = layer(x[:4])
    second, _ = layer(x[4:], state)
    np.testing.assert_allclose(tg.cat([first, second]).detach().numpy(), whole.detach().numpy(), rtol=0, atol=1e-14)
    assert not tg.allclose(layer(x[4:])[0], whole[4:], atol=1e-3)


def test_a_dense_block_returns_a_state_for_each_module_that_has_one() -> None:
    block: Any = recurrent("dense")
    features, states = block(tg.randn(4, 2, 3, **F64))
    assert features.shape == (4, 2, 10)
    assert [type(state).__name__ for state in states] == ["tuple", "NoneType", "Tensor"]
    cells: Any = nn.Dense(nn.LSTM(3, 2, return_gates=True, **F64), nn.GRU(5, 2, **F64))
    _, states, gates = cells(tg.randn(4, 2, 3, **F64))
    assert len(states) == 2 and sorted(gates[0]) == ["f", "g", "i", "o"] and gates[1] is None


def test_batch_first_and_a_single_sequence() -> None:
    layer = nn.Residual(nn.GRU(3, 3, batch_first=True, **F64))
    x = tg.randn(2, 5, 3, **F64)
    y, _ = layer(x)
    alone, _ = layer(x[1])
    assert y.shape == (2, 5, 3) and alone.shape == (5, 3)
    np.testing.assert_allclose(alone.detach().numpy(), y[1].detach().numpy(), rtol=0, atol=1e-14)


def test_gradients_through_wrapped_recurrent_layers() -> None:
    for kind in ("residual", "highway", "dense"):
        layer = recurrent(kind)
        x = tg.randn(3, 2, 3, requires_grad=True, **F64)
        assert tg.autograd.gradcheck(lambda x, *w, layer=layer: layer(x)[0], (x, *layer.parameters()), fast_mode=True)


def test_diagnostics_find_the_layers_inside() -> None:
    chain = nn.Sequential(*[nn.Residual(nn.LSTM(4, 4)) for _ in range(3)])
    flow = tg.diagnostics.flow(chain, tg.randn(12, 2, 4), layer=1)
    assert flow.log_norm.shape == (13,) and np.isfinite(flow.log_norm).all()
    found = tg.diagnostics.paths([wrapped("residual"), wrapped("residual")], tg.randn(3, **F64))
    assert found.counts.tolist() == [1, 2, 1]


# errors ---------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_wrapped() -> None:
    for make in (nn.Residual, lambda m: nn.Residual(nn.Tanh(), m), lambda m: nn.Highway(m, 3), nn.Dense):
        with pytest.raises(ArgumentTypeError, match="expected a module, got function"):
            make(tg.tanh)
        with pytest.raises(ArgumentTypeError, match=r"the output of LSTMCell is its state.*nn\.RNNLayer\(cell\)"):
            make(nn.LSTMCell(3, 3))
    with pytest.raises(ArgumentTypeError, match=r"got int\. The fully connected layer is nn\.Linear"):
        nn.Dense(32)
    with pytest.raises(ArgumentError, match="there are no modules"):
        nn.Dense()
    for size in (0, 2.0, True):
        with pytest.raises(ArgumentError, match="size must be an int greater than zero"):
            nn.Highway(nn.Tanh(), size)


def test_shapes_that_do_not_fit_are_told_with_the_remedy() -> None:
    x = tg.zeros(5, 2, 3)
    with pytest.raises(ShapeError, match=r"LSTM turns \[5, 2, 3\] into \[5, 2, 4\].*nn\.Linear\(3, 4\)"):
        nn.Residual(nn.LSTM(3, 4))(x)
    with pytest.raises(ShapeError, match=r"Linear turns .* into \[5, 2, 1\]"):  # which could be broadcast
        nn.Residual(nn.Linear(3, 1))(x)
    with pytest.raises(ShapeError, match=r"into \[5, 2, 4\], and the shortcut into \[5, 2, 2\]"):
        nn.Residual(nn.LSTM(3, 4), nn.Linear(3, 2))(x)
    with pytest.raises(ShapeError, match=r"last axis must have size 4; the input has shape \[5, 2, 3\]"):
        nn.Highway(nn.Linear(3, 3), 4)(x)
    with pytest.raises(ShapeError, match=r"Linear turns \[5, 2, 3\] into \[5, 2, 1\]"):
        nn.Highway(nn.Linear(3, 1), 3)(x)
    with pytest.raises(ShapeRuntimeError, match=r"Dense: module 1 \(Linear\) reads 7 features \(3 \+ 4: of the input"):
        nn.Dense(nn.Linear(3, 4), nn.Linear(3, 4))(x)
    with pytest.raises(
        ShapeError, match=r"module 0 \(Flatten\) turns \[5, 2, 3\] into \[5, 6\]; only the last axis may change"
    ):
        nn.Dense(nn.Flatten())(x)
    with pytest.raises(ArgumentError, match="a state, or None, for each of 2 modules"):
        nn.Dense(nn.GRU(3, 4), nn.GRU(7, 4))(x, (tg.zeros(1, 2, 4),))
    with pytest.raises(ArgumentError, match="a state, or None, for each of 1 modules"):
        nn.Dense(nn.GRU(3, 4))(x, tg.zeros(1, 2, 4))


class Bare(nn.Module):
    """Of what recurrent layers return, gives something else."""

    def __init__(self, inner: nn.Module | None, result: Any) -> None:
        super().__init__()
        self.inner, self.result = inner, result

    def forward(self, input: Any) -> Any:
        return self.result


def test_what_comes_in_and_out_is_a_tensor_or_packed() -> None:
    x = tg.zeros(3, 2, 3)
    for given in (None, [x], (), (None, x)):
        with pytest.raises(ArgumentTypeError, match="expected a Tensor or a PackedSequence, got"):
            nn.Residual(nn.Tanh())(given)
    with pytest.raises(ArgumentTypeError, match="Bare must return a Tensor, .* and returned NoneType"):
        nn.Residual(Bare(None, None))(x)
    for given, result in (([1.0], 1.0), (1.0, [1.0])):
        with pytest.raises(ShapeError, match=r"module 0 \(Bare\) turns \[1?\] into \[1?\]"):
            nn.Dense(Bare(None, tg.tensor(result)))(tg.tensor(given))
    packed = pack_padded_sequence(x, [3, 2])
    with pytest.raises(ArgumentTypeError, match="Bare must return a PackedSequence, .* and returned Tensor"):
        nn.Residual(Bare(nn.GRU(3, 3), packed.data))(packed)
    with pytest.raises(ArgumentTypeError, match="Bare must return a Tensor, .* and returned PackedSequence"):
        nn.Residual(Bare(None, packed))(x)

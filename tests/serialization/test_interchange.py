"""state_dicts go to PyTorch and come from it, in safetensors files and as arrays; ONNX's order is its formulas'."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, CheckpointError
from tinygrad_rnn.serialization import OnnxLayer, from_onnx, load_file, save_file, to_arrays, to_onnx

safetensors_numpy = pytest.importorskip("safetensors.numpy")


def model(lib: Any) -> Any:
    """The same model in both libraries."""
    parts = {
        "embedding": lib.nn.Embedding(7, 3),
        "lstm": lib.nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2),
        "gru": lib.nn.GRU(4, 5, batch_first=True),
        "rnn": lib.nn.RNN(5, 6, nonlinearity="relu"),
        "cell": lib.nn.LSTMCell(6, 2),
        "norm": lib.nn.LayerNorm(2),
        "out": lib.nn.Linear(2, 3),
    }
    return lib.nn.ModuleDict(parts)


def outputs(parts: Any, tokens: Any) -> Any:
    """What it computes."""
    h = parts["rnn"](parts["gru"](parts["lstm"](parts["embedding"](tokens))[0])[0])[0]
    return parts["out"](parts["norm"](parts["cell"](h[0])[0]))


def test_files_are_those_of_the_safetensors_package(tmp_path: Path) -> None:
    state, path = model(tg).state_dict(), tmp_path / "ours"
    save_file(state, path, {"made by": "us"})
    theirs = safetensors_numpy.load_file(path)
    assert theirs.keys() == state.keys()
    assert all(np.array_equal(theirs[name], state[name].numpy()) for name in state)
    safetensors_numpy.save_file(theirs, tmp_path / "theirs")
    ours = load_file(tmp_path / "theirs")
    assert all(tg.equal(ours[name], state[name]) for name in state)
    other = model(tg)
    assert str(other.load_state_dict(ours)) == "<All keys matched successfully>"


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_pytorch_reads_our_file_and_we_read_its(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors import torch as safetensors_torch

    tokens = np.array([[1, 2], [6, 0], [3, 3]])
    ours, theirs = model(tg), model(torch)
    save_file(ours.state_dict(), tmp_path / "ours")
    theirs.load_state_dict(safetensors_torch.load_file(tmp_path / "ours"))
    found = outputs(theirs, torch.from_numpy(tokens)).detach().numpy()
    # float32: some hundred products of numbers of order 1 in another order
    np.testing.assert_allclose(outputs(ours, tg.from_numpy(tokens)).detach().numpy(), found, rtol=1e-4, atol=1e-5)
    safetensors_torch.save_file(model(torch).state_dict(), tmp_path / "theirs")
    ours.load_state_dict(load_file(tmp_path / "theirs"))
    theirs.load_state_dict(safetensors_torch.load_file(tmp_path / "theirs"))
    found = outputs(theirs, torch.from_numpy(tokens)).detach().numpy()
    np.testing.assert_allclose(outputs(ours, tg.from_numpy(tokens)).detach().numpy(), found, rtol=1e-4, atol=1e-5)


def test_pytorch_takes_our_arrays_and_we_take_its() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = model(tg), model(torch)
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in to_arrays(ours.state_dict()).items()})
    mine = ours.state_dict()
    assert all(np.array_equal(value.numpy(), mine[name].numpy()) for name, value in theirs.state_dict().items())
    again = model(tg)
    again.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    assert all(tg.equal(value, mine[name]) for name, value in again.state_dict().items())


def test_every_dtype_of_ours_goes_both_ways(tmp_path: Path) -> None:
    dtypes = [tg.float16, tg.float32, tg.float64, tg.int8, tg.int16, tg.int32, tg.int64, tg.uint8, tg.bool]
    state = {str(dtype): tg.tensor([[1, 0, 3]]).to(dtype) for dtype in dtypes}
    save_file(state, tmp_path / "f")
    back = load_file(tmp_path / "f")
    assert all(tg.equal(back[name], state[name]) and back[name].dtype == state[name].dtype for name in state)
    theirs = safetensors_numpy.load_file(tmp_path / "f")
    assert all(theirs[name].dtype == state[name].dtype for name in state)


def test_arrays_are_copies_and_other_things_are_refused(tmp_path: Path) -> None:
    layer = nn.Linear(2, 2)
    arrays = to_arrays(layer.state_dict())
    arrays["weight"][:] = 5
    assert not (layer.weight == 5).any()
    with pytest.raises(ArgumentTypeError, match="entry 'lr' is a float"):
        save_file({"lr": 0.1}, tmp_path / "f")


# ONNX, written out from the operators' specification: gates in its order, one step after the other --------------------


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def onnx_step(op: str, W: Any, R: Any, B: Any, P: Any, attributes: Any, x: Any, states: Any) -> Any:
    """One step of one direction: x (N, I), states of (N, H)."""
    H = R.shape[1]
    Wb, Rb = B[: len(W)], B[len(W) :]
    h = states[0]
    if op == "RNN":
        a = x @ W.T + h @ R.T + Wb + Rb
        return [np.maximum(a, 0) if attributes.get("activations") else np.tanh(a)]
    if op == "LSTM":
        i, o, f, c = np.split(x @ W.T + h @ R.T + Wb + Rb, 4, axis=1)
        Pi, Po, Pf = np.split(P, 3)
        before = states[1]
        C = sigmoid(f + Pf * before) * before + sigmoid(i + Pi * before) * np.tanh(c)
        return [sigmoid(o + Po * C) * np.tanh(C), C]
    Wz, Wr, Wh = np.split(W, 3)
    Rz, Rr, Rh = np.split(R, 3)
    Wbz, Wbr, Wbh = np.split(Wb, 3)
    Rbz, Rbr, Rbh = np.split(Rb, 3)
    z = sigmoid(x @ Wz.T + h @ Rz.T + Wbz + Rbz)
    r = sigmoid(x @ Wr.T + h @ Rr.T + Wbr + Rbr)
    if attributes["linear_before_reset"]:
        n = np.tanh(x @ Wh.T + r * (h @ Rh.T + Rbh) + Wbh)
    else:
        n = np.tanh(x @ Wh.T + (r * h) @ Rh.T + Rbh + Wbh)
    assert n.shape[1] == H
    return [(1 - z) * n + z * h]


def onnx_run(operators: Any, x: Any) -> Any:
    """The operators one after the other: x (T, N, I) -> (T, N, D*H)."""
    for op, inputs, attributes in operators:
        D, GH, H = inputs["R"].shape
        B = inputs.get("B", np.zeros((D, 2 * GH)))
        P = inputs.get("P", np.zeros((D, 3 * H)))
        directions = []
        for d in range(D):
            states, out = [np.zeros((x.shape[1], H))] * 2, []
            for step in x if d == 0 else x[::-1]:
                states = onnx_step(op, inputs["W"][d], inputs["R"][d], B[d], P[d], attributes, step, states)
                out.append(states[0])
            directions.append(np.stack(out if d == 0 else out[::-1]))
        x = np.concatenate(directions, axis=2)
    return x


LAYERS = {
    "lstm": lambda: nn.LSTM(3, 4, 2, bidirectional=True, dtype=tg.float64),
    "lstm peepholes": lambda: nn.LSTM(3, 4, peepholes=True, dtype=tg.float64),
    "lstm without bias": lambda: nn.LSTM(3, 4, bias=False, dtype=tg.float64),
    "gru": lambda: nn.GRU(3, 4, 2, bidirectional=True, dtype=tg.float64),
    "gru, reset before": lambda: nn.GRU(3, 4, reset_after=False, dtype=tg.float64),
    "rnn": lambda: nn.RNN(3, 4, bidirectional=True, dtype=tg.float64),
    "rnn relu": lambda: nn.RNN(3, 4, 2, nonlinearity="relu", dtype=tg.float64),
}


@pytest.mark.parametrize("name", LAYERS)
def test_onnx_weights_give_our_outputs_in_onnx_formulas(name: str) -> None:
    tg.manual_seed(0)
    layer = LAYERS[name]()
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    ours = layer(tg.tensor(x))[0].detach().numpy()
    theirs = onnx_run(to_onnx(layer), x)
    assert np.abs(theirs).max() > 0.05
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)  # float64; products are summed in another order


@pytest.mark.parametrize("name", LAYERS)
def test_weights_survive_the_way_to_onnx_and_back(name: str) -> None:
    tg.manual_seed(0)
    layer, other = LAYERS[name](), LAYERS[name]()
    from_onnx(other, [operator.inputs for operator in to_onnx(layer)])
    ours, theirs = layer.state_dict(), other.state_dict()
    assert all(tg.equal(ours[key], theirs[key]) for key in ours)


def test_onnx_weights_that_do_not_fit_are_refused_and_nothing_is_written() -> None:
    layer = nn.GRU(3, 4, 2)
    before = to_arrays(layer.state_dict())
    first, second = (dict(operator.inputs) for operator in to_onnx(nn.GRU(3, 4, 2)))
    with pytest.raises(CheckpointError, match="1 layers of weights for a stack of 2"):
        from_onnx(layer, [first])
    with pytest.raises(CheckpointError, match="layer 1 takes the shapes"):
        from_onnx(layer, [first, first])
    with pytest.raises(CheckpointError, match="layer 0 takes the shapes"):
        from_onnx(layer, [{**first, "P": np.zeros((1, 12))}, second])
    assert all(np.array_equal(value, before[name]) for name, value in to_arrays(layer.state_dict()).items())
    del first["B"]
    from_onnx(layer, [first, second])
    assert not layer.bias_ih_l0.any() and layer.bias_ih_l1.any()


@pytest.mark.parametrize("name", LAYERS)
def test_an_operator_with_its_attributes_fills_the_layer_that_computes_the_same_and_no_other(name: str) -> None:
    operators = to_onnx(LAYERS[name]())
    for other in LAYERS:
        layer = LAYERS[other]()
        before = to_arrays(layer.state_dict())
        if other == name:
            from_onnx(layer, operators)
            for found, given in zip(to_onnx(layer), operators, strict=True):
                assert np.array_equal(found.inputs["W"], given.inputs["W"])
        else:
            with pytest.raises(CheckpointError, match=r"^from_onnx\(\): "):
                from_onnx(layer, operators)
            assert all(np.array_equal(value, before[key]) for key, value in to_arrays(layer.state_dict()).items())


def test_the_two_grus_of_onnx_are_told_apart() -> None:
    (old,) = to_onnx(nn.GRU(3, 4, reset_after=False))
    with pytest.raises(CheckpointError, match="operator 0 has linear_before_reset=0, the layer 1. 1 is nn.GRU"):
        from_onnx(nn.GRU(3, 4), [old])
    (new,) = to_onnx(nn.GRU(3, 4))
    with pytest.raises(CheckpointError, match="operator 0 has linear_before_reset=1, the layer 0"):
        from_onnx(nn.GRU(3, 4, reset_after=False), new)
    with pytest.raises(CheckpointError, match="operator 0 has linear_before_reset=0, the layer 1"):
        from_onnx(nn.GRU(3, 4), OnnxLayer("GRU", new.inputs, {"hidden_size": 4}))  # ONNX's default
    from_onnx(nn.GRU(3, 4), [old.inputs])  # weights alone do not tell


DIFFERENT: dict[str, Any] = {
    "hidden_size": 5, "direction": b"reverse", "activations": [b"Sigmoid", b"Tanh", b"Relu"], "clip": 3.0, "layout": 1,
    "input_forget": 1, "linear_before_reset": 1, "something_new": 0,
}  # fmt: skip
EQUAL: dict[str, Any] = {
    "hidden_size": np.int64(4), "direction": b"forward", "activations": [b"sigmoid", "Tanh", "TANH"], "clip": math.inf,
    "layout": 0, "input_forget": 0, "activation_alpha": [0.01], "activation_beta": [],
}  # fmt: skip


def test_every_attribute_that_differs_is_refused_and_those_that_agree_are_not() -> None:
    (operator,) = to_onnx(nn.LSTM(3, 4))
    from_onnx(nn.LSTM(3, 4), operator._replace(attributes=EQUAL))
    for name, value in DIFFERENT.items():
        with pytest.raises(CheckpointError, match=f"operator 0 has (the attribute )?'?{name}"):
            from_onnx(nn.LSTM(3, 4), [operator._replace(attributes={**EQUAL, name: value})])
    with pytest.raises(CheckpointError, match="operator 0 is a 'GRU', the layer a LSTM"):
        from_onnx(nn.LSTM(3, 4), [operator._replace(op_type="GRU")])
    from_onnx(nn.LSTM(3, 4, batch_first=True), [operator._replace(attributes={**EQUAL, "layout": 1})])
    from_onnx(nn.LSTM(3, 4, batch_first=True), [operator])
    (relu,) = to_onnx(nn.RNN(3, 4, nonlinearity="relu"))
    with pytest.raises(CheckpointError, match=r"has activations=\['Relu'\], the layer \['Tanh'\]"):
        from_onnx(nn.RNN(3, 4), [relu])


def test_what_onnx_lacks_is_refused() -> None:
    for layer in (nn.LSTM(3, 4, proj_size=2), nn.GRU(4, 4, 2, skip="residual"), nn.LSTM(3, 4, learn_state=True)):
        with pytest.raises(ArgumentError, match="ONNX's (LSTM|GRU) has no"):
            to_onnx(layer)

"""The weights of recurrent layers in the layout of ONNX's operators RNN, LSTM and GRU, and back.

An ONNX operator is one layer (both directions of it), so a stack becomes a list.  D directions, G gates, H units:

    here, for each direction              ONNX
    weight_ih_l{k}      (G*H, I)          W  (D, G*H, I)
    weight_hh_l{k}      (G*H, H)          R  (D, G*H, H)
    bias_ih_l{k}, bias_hh_l{k}  (G*H)     B  (D, 2*G*H), the first and then the second; none: zeros
    weight_peephole_l{k}        (3*H)     P  (D, 3*H)

    rows of         here            ONNX
    RNN             h               i
    LSTM            i, f, g, o      i, o, f, c
    GRU             r, z, n         z, r, h        (linear_before_reset=1; 0 is reset_after=False)
    LSTM peephole   i, f, o         i, o, f

A layer after a bidirectional one reads [forward | backward], so between the operators ONNX's Y (T, D, N, H) goes
through Transpose and Reshape to (T, N, D*H).

Source: the operators' specification, https://onnx.ai/onnx/operators/onnx__LSTM.html (and __GRU, __RNN).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..backend import array_module, to_numpy
from ..errors import ArgumentError, CheckpointError
from ..nn import RNNBase

__all__ = ["OnnxLayer", "from_onnx", "to_onnx"]

ORDER = {
    "RNN_TANH": ("h",),
    "RNN_RELU": ("h",),
    "LSTM": ("i", "o", "f", "g"),  # ONNX writes c for g
    "GRU": ("z", "r", "n"),  # ONNX writes h for n
}
ACTIVATIONS = {
    "RNN_TANH": ["Tanh"],
    "RNN_RELU": ["Relu"],
    "LSTM": ["Sigmoid", "Tanh", "Tanh"],
    "GRU": ["Sigmoid", "Tanh"],
}
"""Of one direction."""
IDLE = {"activation_alpha", "activation_beta", "output_sequence"}
"""Attributes that change nothing: parameters of other activations, and which outputs an operator returns."""
REMEDIES = {
    "linear_before_reset": "1 is nn.GRU(..., reset_after=True), 0 reset_after=False",
    "layout": "1 is batch_first=True",
    "direction": "'bidirectional' is bidirectional=True; there is no layer that reads from the end alone",
    "activations": "['Relu'] is nn.RNN(..., nonlinearity='relu'); other activations are not available",
}
PEEPHOLES = (("i", "f", "o"), ("i", "o", "f"))
Arrays = dict[str, npt.NDArray[Any]]


class OnnxLayer(NamedTuple):
    """One operator: its type, its weights by input name, and its attributes."""

    op_type: str
    inputs: Arrays
    attributes: dict[str, Any]


def to_onnx(layer: RNNBase) -> list[OnnxLayer]:
    """The layers of a stack as ONNX operators, from the first to the last.

    Raises:
        ArgumentError: the layer has what ONNX lacks: a projection, normalised gates, skips, learned states, zoneout.

    >>> import tinygrad_rnn as tg
    >>> (gru,) = to_onnx(tg.nn.GRU(3, 4, bidirectional=True))
    >>> gru.op_type, {name: array.shape for name, array in gru.inputs.items()}
    ('GRU', {'W': (2, 12, 3), 'R': (2, 12, 4), 'B': (2, 24)})
    >>> gru.attributes
    {'hidden_size': 4, 'direction': 'bidirectional', 'linear_before_reset': 1}
    """
    _check(layer)
    return [OnnxLayer(_op_type(layer), _inputs(layer, k), _attributes(layer)) for k in range(layer.num_layers)]


def from_onnx(layer: RNNBase, inputs: Sequence[OnnxLayer | Mapping[str, Any]] | OnnxLayer) -> None:
    """Copy ONNX weights into a layer.

    Args:
        layer: to be filled.
        inputs: for each layer of the stack an :class:`OnnxLayer`, whose attributes must say what the layer does;
            or, where these are known to agree, a mapping with its W, R, and B and P if there are any.  ONNX's own
            default for an attribute that is not given is not always that of PyTorch: ``linear_before_reset`` is 0.

    Raises:
        ArgumentError: the layer has what ONNX lacks.
        CheckpointError: the operator computes something else than the layer; shapes or the number of layers differ;
            or the weights have a P where the layer has no peepholes (or a B that is not zero where it has no bias),
            or the reverse.  Nothing has been written.

    >>> import tinygrad_rnn as tg
    >>> a, b = tg.nn.LSTM(3, 4), tg.nn.LSTM(3, 4)
    >>> from_onnx(b, to_onnx(a))
    >>> tg.equal(a.weight_hh_l0, b.weight_hh_l0)
    True
    >>> from_onnx(tg.nn.GRU(3, 4), to_onnx(tg.nn.GRU(3, 4, reset_after=False)))
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.CheckpointError: from_onnx(): operator 0 has linear_before_reset=0, the layer 1...
    """
    _check(layer)
    operators = [inputs] if isinstance(inputs, (OnnxLayer, Mapping)) else inputs
    if len(operators) != layer.num_layers:
        raise CheckpointError(f"from_onnx(): {len(operators)} layers of weights for a stack of {layer.num_layers}")
    values: Arrays = {}
    for k, operator in enumerate(operators):
        given: Mapping[str, Any] = operator.inputs if isinstance(operator, OnnxLayer) else operator
        if isinstance(operator, OnnxLayer):
            _compare(layer, k, operator)
        values.update(_values(layer, k, {name: to_numpy(array) for name, array in given.items()}))
    # In a second pass: an error in a later layer leaves all of them as they were.
    for name, value in values.items():
        parameter = getattr(layer, name)
        parameter._data[...] = array_module(parameter._data).asarray(value)
        parameter._touch()


def _inputs(layer: RNNBase, k: int) -> Arrays:
    def stacked(name: str, order: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        return np.stack([to_numpy(getattr(layer, name + end)._data)[order] for end in _ends(layer, k)])

    rows = _rows(layer)
    inputs = {"W": stacked("weight_ih", rows), "R": stacked("weight_hh", rows)}
    if layer.bias:
        inputs["B"] = np.concatenate([stacked("bias_ih", rows), stacked("bias_hh", rows)], axis=1)
    if layer.peepholes:
        inputs["P"] = stacked("weight_peephole", _permutation(*PEEPHOLES, layer.hidden_size))
    return inputs


def _values(layer: RNNBase, k: int, given: Arrays) -> Arrays:
    expected = {name: array.shape for name, array in _inputs(layer, k).items()}
    # An exporter may write a bias of zeros for a layer without one: it computes the same.
    if "B" in given and "B" not in expected and not given["B"].any():
        given = {name: array for name, array in given.items() if name != "B"}
    # B is optional in ONNX, and stands for zeros.
    if "B" in expected and "B" not in given:
        given = {**given, "B": np.zeros(expected["B"])}
    found = {name: array.shape for name, array in given.items()}
    if found != expected:
        raise CheckpointError(f"from_onnx(): layer {k} takes the shapes {expected}, got {found}")
    # The argsort of a permutation is its inverse.
    rows, values = np.argsort(_rows(layer)), {}
    for d, end in enumerate(_ends(layer, k)):
        values["weight_ih" + end] = given["W"][d][rows]
        values["weight_hh" + end] = given["R"][d][rows]
        if layer.bias:
            values["bias_ih" + end], values["bias_hh" + end] = (half[rows] for half in np.split(given["B"][d], 2))
        if layer.peepholes:
            back = np.argsort(_permutation(*PEEPHOLES, layer.hidden_size))
            values["weight_peephole" + end] = given["P"][d][back]
    return values


def _rows(layer: RNNBase) -> npt.NDArray[np.intp]:
    """Which row of ours stands in each row of ONNX's."""
    return _permutation(layer._kind.gates, ORDER[layer.mode], layer.hidden_size)


def _permutation(ours: Sequence[str], theirs: Sequence[str], size: int) -> npt.NDArray[np.intp]:
    return np.concatenate([np.arange(size) + ours.index(gate) * size for gate in theirs])


def _ends(layer: RNNBase, k: int) -> list[str]:
    return [f"_l{k}", f"_l{k}_reverse"] if layer.bidirectional else [f"_l{k}"]


def _op_type(layer: RNNBase) -> str:
    return layer.mode.partition("_")[0]


def _attributes(layer: RNNBase) -> dict[str, Any]:
    attributes: dict[str, Any] = {"hidden_size": layer.hidden_size}
    attributes["direction"] = "bidirectional" if layer.bidirectional else "forward"
    if layer.mode == "GRU":
        attributes["linear_before_reset"] = int(layer.reset_after)
    if layer.mode == "RNN_RELU":
        attributes["activations"] = ["Relu"] * (2 if layer.bidirectional else 1)
    return attributes


def _compare(layer: RNNBase, k: int, operator: OnnxLayer) -> None:
    """Refuse an operator that computes something else than the layer."""
    if _text(operator.op_type) != _op_type(layer):
        raise CheckpointError(f"from_onnx(): operator {k} is a {_text(operator.op_type)!r}, the layer a {layer.mode}")
    directions = 2 if layer.bidirectional else 1
    # Both sides complete: ours with what the layer does under each attribute, theirs with ONNX's defaults for
    # attributes that are not given. Otherwise linear_before_reset, whose default differs from ours, would pass unseen.
    ours = {"activations": ACTIVATIONS[layer.mode] * directions, "linear_before_reset": 0, "input_forget": 0}
    ours |= {"direction": "forward", "layout": 0, "clip": None, "hidden_size": layer.hidden_size, **_attributes(layer)}
    # Tanh is ONNX's default, for the operator of a ReLU layer too.
    theirs = {"activations": ACTIVATIONS[layer.mode.replace("RELU", "TANH")] * directions, "linear_before_reset": 0}
    theirs |= {"direction": "forward", **{name: _text(value) for name, value in operator.attributes.items()}}
    for name, value in theirs.items():
        if name in IDLE or (name == "layout" and value == int(layer.batch_first)):
            continue
        if name not in ours:
            raise CheckpointError(f"from_onnx(): operator {k} has the attribute {name!r}, which no layer has")
        # A clip at infinity clips nothing.
        if _folded(value) != _folded(ours[name]) and not (name == "clip" and value == math.inf):
            remedy = f". {REMEDIES[name]}" if name in REMEDIES else ""
            raise CheckpointError(
                # Cut: a value out of a file may be as long as the file.
                f"from_onnx(): operator {k} has {name}={value!r}, the layer {ours[name]!r}{remedy}"[:500]
            )


def _text(value: Any) -> Any:
    """An attribute as plain data: ONNX's own objects give strings as bytes, and NumPy's numbers may stand there."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (list, tuple)):
        return [_text(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _folded(value: Any) -> Any:
    """Names of activations are the same in capitals and small letters."""
    if isinstance(value, list):
        return [_folded(item) for item in value]
    return value.lower() if isinstance(value, str) else value


def _check(layer: RNNBase) -> None:
    options = layer.options
    extra: dict[str, Any] = {"proj_size": layer.proj_size, "layer_norm": layer.layer_norm, "skip": options.skip}
    extra |= {"learn_state": options.learn_state, "zoneout": options.zoneout}
    used = [f"{name}={value}" for name, value in extra.items() if value]
    if used:
        raise ArgumentError(f"ONNX's {_op_type(layer)} has no {', '.join(used)}")

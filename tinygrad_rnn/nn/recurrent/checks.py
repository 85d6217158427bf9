"""Checks of the arguments of recurrent layers and cells; errors begin with PyTorch's sentence.

Legend: T steps, N batch, I input size, H hidden size, R = P or H.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from ...backend import on_gpu, scalar_name
from ...errors import ArgumentError, ArgumentTypeError, DeviceError, DtypeError, ShapeError, ShapeRuntimeError
from ...source_line import warn_user
from ...tape.tensor import Tensor

__all__ = ["check_cell", "check_constructor", "check_input", "check_states", "check_states_ndim"]


def check_constructor(
    input_size: Any, hidden_size: Any, num_layers: Any, bias: Any, batch_first: Any, dropout: Any, proj_size: Any
) -> None:
    """Refuse impossible sizes and options of a layer; warn about a dropout that can do nothing.

    Raises:
        ArgumentError: a value out of its range.
        ArgumentTypeError: a value of the wrong type.
    """
    number = isinstance(dropout, numbers.Real) and dropout is not True and dropout is not False
    if not number or not 0 <= dropout <= 1:
        raise ArgumentError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed. "
            f"Got {dropout!r}"
        )
    for name, flag in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(flag, bool):
            raise ArgumentTypeError(f"{name} should be of type bool, got: {type(flag).__name__}")
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if not isinstance(size, int):
            raise ArgumentTypeError(f"{name} should be of type int, got: {type(size).__name__}")
        if size <= 0:
            raise ArgumentError(f"{name} must be greater than zero. Got {size}")
    if proj_size < 0:
        raise ArgumentError(f"proj_size should be a positive integer or zero to disable projections. Got {proj_size}")
    if proj_size >= hidden_size:
        raise ArgumentError(
            f"proj_size has to be smaller than hidden_size. Got proj_size={proj_size}, hidden_size={hidden_size}"
        )
    if dropout > 0 and num_layers == 1:
        warn_user(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers={num_layers}",
        )


def check_input(input: Tensor, packed: bool, input_size: int, weight: Tensor) -> None:
    """Refuse input of another dtype, device, number of axes or feature size than the layer's; or of no steps.

    Raises:
        ArgumentError: the dtype differs (a ValueError in PyTorch, too).
        DeviceError: the device differs.
        ShapeRuntimeError: the shape does not fit.
    """
    values, weights = input._data, weight._data
    if values.dtype != weights.dtype:
        raise ArgumentError(
            f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
            f"input.to({weight.dtype}), or convert model: model.to({input.dtype})"
        )
    # Cheap first: only arrays of different classes are asked for their devices.
    if type(values) is not type(weights) and on_gpu(values) != on_gpu(weights):
        raise DeviceError(
            "Input and parameter tensors are not at the same device, found input tensor at "
            f"{input.device} and parameter tensor at {weight.device}. Move one: x.to(device) or model.to(device)"
        )
    axes, shape = 2 if packed else 3, values.shape
    if len(shape) != axes:
        raise ShapeRuntimeError(f"input must have {axes} dimensions, got {input.ndim}")
    if shape[-1] != input_size:
        raise ShapeRuntimeError(
            f"input.size(-1) must be equal to input_size. Expected {input_size}, got {input.shape[-1]}. "
            f"The input has shape {list(input.shape)}"
        )
    if not packed and shape[0] == 0:
        raise ShapeRuntimeError("Expected sequence length to be larger than 0 in RNN")


def check_states_ndim(states: Sequence[Tensor], batched: bool) -> None:
    """Refuse initial states with another number of axes than the input asks for.

    Raises:
        ShapeRuntimeError: names both.
    """
    wanted = 3 if batched else 2
    got = [state.ndim for state in states]
    if any(n != wanted for n in got):
        kind = "batched 3-D" if batched else "unbatched 2-D"
        if len(got) == 1:
            message = f"For {kind} input, hx should also be {wanted}-D but got {got[0]}-D tensor"
        else:
            message = f"For {kind} input, hx and cx should also be {wanted}-D but got ({got[0]}-D, {got[1]}-D) tensors"
        raise ShapeRuntimeError(f"{message}. States are (layers * directions, batch, size), also with batch_first")


def check_states(states: Sequence[Tensor], shapes: Sequence[tuple[int, ...]], input: Tensor) -> None:
    """Refuse initial states of the wrong shape, dtype or device.

    Raises:
        ShapeRuntimeError: names the expected shape.
        DtypeError, DeviceError: not those of the input.
    """
    dtype, there = input._data.dtype, on_gpu(input._data)
    for k, (state, shape) in enumerate(zip(states, shapes, strict=True)):
        values = state._data
        if values.shape != shape:
            which = "hidden" if len(states) == 1 else f"hidden[{k}]"
            raise ShapeRuntimeError(
                f"Expected {which} size {shape}, got {list(state.shape)}. "
                "States are (layers * directions, batch, size), also with batch_first"
            )
        if values.dtype != dtype:
            raise DtypeError(
                "mat1 and mat2 must have the same dtype, but got "
                f"{scalar_name(state.dtype)} and {scalar_name(input.dtype)}. "
                f"The initial state has dtype {state.dtype}, the input {input.dtype}: hx.to(input.dtype) converts it"
            )
        if on_gpu(values) != there:
            raise DeviceError(
                "Input and hidden tensors are not at the same device, found input tensor at "
                f"{input.device} and hidden tensor at {state.device}. Move it: hx.to(input.device)"
            )


def check_cell(name: str, input: Tensor, states: Sequence[Tensor], input_size: int, sizes: Sequence[int]) -> None:
    """Refuse what one step of a cell cannot take: nothing is broadcast.

    Raises:
        ShapeError: neither 1-D nor 2-D.
        ShapeRuntimeError: sizes that do not fit.
    """
    if input.ndim not in (1, 2):
        raise ShapeError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
    for k, state in enumerate(states):
        if state.ndim not in (1, 2):
            which = "hidden" if len(states) == 1 else f"hx[{k}]"
            raise ShapeError(f"{name}: Expected {which} to be 1D or 2D, got {state.ndim}D instead")
    if input.shape[-1] != input_size:
        raise ShapeRuntimeError(
            f"input has inconsistent input_size: got {input.shape[-1]} expected {input_size}. "
            f"{name}: the input has shape {list(input.shape)}"
        )
    batch = input.shape[0] if input.ndim == 2 else 1
    # One sample has no batch axis, and counts as one row.
    for k, (state, size) in enumerate(zip(states, sizes, strict=True)):
        rows, width = (1, *state.shape)[:2] if input.ndim == 1 else (*state.shape, None)[:2]
        if rows != batch:
            raise ShapeRuntimeError(f"Input batch size {batch} doesn't match hidden{k} batch size {rows}")
        if width != size or state.ndim != input.ndim:
            raise ShapeRuntimeError(
                f"hidden{k} has inconsistent hidden_size: got {width}, expected {size}. "
                f"{name}: hidden{k} has shape {list(state.shape)}, the input {list(input.shape)}"
            )

"""Convolution and pooling along time, of sequences (N, C, L)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backend import array_module, not_implemented, scalar_name
from ...errors import ArgumentRuntimeError, DtypeError, ShapeRuntimeError
from ...ops import gather, tensor
from ...ops.dtypes import in_single
from ...tape.tensor import Tensor
from ...typing import Array
from .padding import pad

__all__ = ["avg_pool1d", "conv1d", "max_pool1d", "max_pool1d_with_indices"]

Size = int | Sequence[int]


def _alone(value: Any, sentence: str) -> int:
    """A size given as an int or as the only entry of a sequence; ``sentence`` is the error for longer ones."""
    if isinstance(value, int):
        return value
    if len(value) != 1:
        raise ShapeRuntimeError(sentence)
    return int(value[0])


def _convolution_size(value: Any, name: str) -> int:
    return _alone(
        value,
        f"expected {name} to be a single integer value or a list of 1 values to match the convolution dimensions, but "
        f"got {name}={value if isinstance(value, int) else list(value)}",
    )


def _pool_size(value: Any, op: str, name: str) -> int:
    size = 0 if isinstance(value, int) else len(value)
    return _alone(value, f"{op}() {name} must be an int, list of ints or tuple of ints of size 1 but got size {size}")


# convolution -------------------------------------------------------------------------------------------------------


def _sides(padding: Any, stride: int, span: int) -> tuple[int, int]:
    """How many zeros before and after."""
    if not isinstance(padding, str):
        width = _convolution_size(padding, "padding")
        return width, width
    if padding not in ("same", "valid"):
        raise ArgumentRuntimeError(f"Invalid padding string: '{padding}': one of 'same', 'valid', or a number")
    if padding == "valid":
        return 0, 0
    if stride != 1:
        raise ArgumentRuntimeError("padding='same' is not supported for strided convolutions")
    return (span - 1) // 2, span - 1 - (span - 1) // 2


def _check_convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, sizes: dict[str, int], sides: tuple[int, int], span: int
) -> None:
    for name, size in sizes.items():
        if size <= 0:
            raise ArgumentRuntimeError(f"non-positive {name} is not supported: {size}")
    if min(sides) < 0:
        raise ArgumentRuntimeError(f"negative padding is not supported: {sides[0]}")
    groups, shape = sizes["groups"], list(weight.shape)
    if weight.shape[0] < groups:
        raise ShapeRuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size "
            f"{shape} instead"
        )
    if weight.shape[0] % groups:
        raise ShapeRuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
            f"size [{shape}] instead"
        )
    if input.shape[1] != weight.shape[1] * groups:
        raise ShapeRuntimeError(
            f"Given groups={groups}, weight of size {shape}, expected input{list(input.shape)} to have "
            f"{weight.shape[1] * groups} channels, but got {input.shape[1]} channels instead. Channels come second: "
            "(N, C, L)"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ShapeRuntimeError(
            f"Given weight of size {shape}, expected bias to be 1-dimensional with {weight.shape[0]} elements, but got "
            f"bias of size {list(bias.shape)} instead"
        )
    if shape[2] == 0:
        raise ShapeRuntimeError(f"a kernel of size 0 is not supported: weight of size {shape}")
    padded = input.shape[2] + sum(sides)
    if padded < span:
        raise ShapeRuntimeError(
            f"Calculated padded input size per channel: ({padded}). Kernel size: ({span}). Kernel size can't be "
            "greater than actual input size"
        )
    if input.dtype.kind == "b":
        raise not_implemented("slow_conv2d_cpu", input.dtype)
    if input.dtype != weight.dtype:
        raise DtypeError(
            f"expected scalar type {scalar_name(input.dtype)} but found {scalar_name(weight.dtype)}: convert the "
            "input or the weight, x.to(weight.dtype)"
        )
    if bias is not None and bias.dtype != input.dtype:
        raise DtypeError(f"Input type ({input.dtype}) and bias type ({bias.dtype}) should be the same")


@in_single
def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, dilation: int, groups: int) -> Tensor:
    """One product of the kernels (O, C K) with all windows (C K, N L)."""
    outputs, inner, size = weight.shape
    windows = x.unfold(2, dilation * (size - 1) + 1, stride)  # (N, C, L, span)
    if dilation > 1:
        windows = windows[..., ::dilation]
    batch, steps = x.shape[0], windows.shape[2]
    columns = windows.permute(1, 3, 0, 2)  # (C, K, N, L)
    if groups == 1:
        y = weight.reshape(outputs, inner * size) @ columns.reshape(inner * size, batch * steps)
    else:
        kernels = weight.reshape(groups, outputs // groups, inner * size)
        y = kernels @ columns.reshape(groups, inner * size, batch * steps)
    y = y.reshape(outputs, batch, steps)
    if bias is not None:
        y = y + bias.reshape(outputs, 1, 1)
    result: Tensor = y.transpose(0, 1).contiguous()
    return result


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """y[n, o, t] = b[o] + sum over c and k of w[o, c, k] x[n, c, stride t + dilation k], a cross-correlation.

    Args:
        input: (N, C, L) or, of one sequence, (C, L).
        weight: (O, C / groups, K).
        bias: (O,) or None.
        stride: how far apart windows begin.
        padding: how many zeros are put before and after; ``"valid"``: none; ``"same"``: as many as keep the length,
            with one more after than before where the number is odd.
        dilation: how far apart the entries of a window are.
        groups: into how many groups, each by itself, channels are divided.

    Returns:
        (N, O, (L + 2 padding - dilation (K - 1) - 1) // stride + 1), or without N.

    Raises:
        ShapeRuntimeError: the sizes do not fit, or the kernel is longer than the padded sequence.
        ArgumentRuntimeError: a stride, dilation or number of groups below 1, a negative or unknown padding.
        DtypeError: the dtypes differ.

    Source: A. Waibel et al., "Phoneme recognition using time-delay neural networks" (1989).

    >>> import tinygrad_rnn as tg
    >>> conv1d(tg.tensor([[1.0, 2.0, 3.0, 4.0]]), tg.tensor([[[1.0, -1.0]]]), padding=1)
    tensor([[-1., -1., -1., -1.,  4.]])
    """
    if weight.ndim < 3:
        raise ShapeRuntimeError(f"weight should have at least three dimensions, but its shape is {list(weight.shape)}")
    if input.ndim not in (2, 3) or weight.ndim != 3:
        raise ShapeRuntimeError(
            f"Expected 2D (unbatched) or 3D (batched) input to conv1d, but got input of size: {list(input.shape)}"
        )
    x = input if input.ndim == 3 else input.unsqueeze(0)
    step, spread = _convolution_size(stride, "stride"), _convolution_size(dilation, "dilation")
    span = spread * (weight.shape[2] - 1) + 1
    sides = _sides(padding, step, span)
    _check_convolution(x, weight, bias, {"stride": step, "dilation": spread, "groups": groups}, sides, span)
    y: Tensor = _convolved(pad(x, sides) if any(sides) else x, weight, bias, step, spread, groups)
    return y if input.ndim == 3 else y.squeeze(0)


# pooling -----------------------------------------------------------------------------------------------------------


def _windows(length: int, size: int, step: int, width: int, spread: int, ceil: bool) -> int:
    """How many windows there are."""
    count = (length + 2 * width - spread * (size - 1) - 1 + (step - 1 if ceil else 0)) // step + 1
    # A last window that would begin in the padding after the end is left out.
    return count - 1 if ceil and (count - 1) * step >= length + width else count


def _best(x: Array, size: int, step: int, width: int, spread: int, count: int) -> Array:
    """The place of the maximum of each window (..., count); of equal ones the first, of NaNs the last."""
    xp = array_module(x)
    starts = np.arange(count) * step - width
    first = starts + spread * (-(starts.clip(None, 0) // spread))  # the first place that is not padding
    best = xp.full((*x.shape[:-1], count), -np.inf, x.dtype)
    found: Array = xp.empty(best.shape, np.int64)
    found[...] = xp.asarray(first)
    for k in range(size):  # by the place in the window, as in ``fold``
        places = starts + k * spread
        inside = np.flatnonzero((places >= 0) & (places < x.shape[-1]))
        if not inside.size:
            continue
        here = (..., slice(inside[0], inside[-1] + 1))
        seen = x[..., places[inside[0]] : places[inside[-1]] + 1 : step]
        greater = (seen > best[here]) | (seen != seen)
        best[here] = xp.where(greater, seen, best[here])
        found[here] = xp.where(greater, xp.asarray(places[inside]), found[here])
    return found


def _check_axes(op: str, input: Tensor) -> None:
    if input.ndim not in (2, 3) or 0 in input.shape[input.ndim - 2 :]:
        raise ShapeRuntimeError(
            f"{op}: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but "
            f"got:{list(input.shape)}"
        )


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """``max_pool1d``, and where the maxima are: int64 places along L, of equal ones the first."""
    size = _pool_size(kernel_size, "max_pool1d", "kernel_size")
    step = _pool_size(stride, "max_pool1d", "stride") if stride or stride == 0 else size
    width, spread = _pool_size(padding, "max_pool1d", "padding"), _pool_size(dilation, "max_pool1d", "dilation")
    _check_axes("max_pool1d", input)
    for name, value in (("kernel_size", size), ("stride", step), ("dilation", spread)):
        if value <= 0:
            raise ArgumentRuntimeError(f"max_pool1d() {name} must be greater than zero, but got {value}")
    if width < 0:
        raise ArgumentRuntimeError(f"max_pool1d() padding must be non-negative, but got {width}")
    if width > size // 2:
        raise ArgumentRuntimeError(
            f"max_pool1d() padding should be at most half of kernel size, but got padding={width} and "
            f"kernel_size={size}"
        )
    if input.dtype.kind != "f":
        raise not_implemented("max_pool1d_impl", input.dtype)
    count = _windows(input.shape[-1], size, step, width, spread, ceil_mode)
    if count < 1:
        raise ShapeRuntimeError(
            f"max_pool1d() Invalid computed output size: {count}: a window spans {spread * (size - 1) + 1} entries, "
            f"and the input has {input.shape[-1]}"
        )
    indices = tensor(_best(input._data, size, step, width, spread, count), device=input.device)
    return gather(input, -1, indices), indices


def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window along time; its gradient goes to the first entry that is the maximum.

    Args:
        input: (N, C, L) or (C, L).
        kernel_size: K, how many entries a window has.
        stride: how far apart windows begin; None: K, so that they do not overlap.
        padding: how many entries of -inf are put before and after, at most K / 2.
        dilation: how far apart the entries of a window are.
        ceil_mode: whether a last window may extend beyond the end.
        return_indices: whether to return the places of the maxima too.

    Returns:
        (N, C, (L + 2 padding - dilation (K - 1) - 1) / stride + 1), rounded down, or up with ``ceil_mode``; with
        ``return_indices`` a pair of that and of int64 places along L.

    Raises:
        ShapeRuntimeError: neither 2-D nor 3-D, or shorter than a window.
        ArgumentRuntimeError: a size below 1, or a padding of more than half a window.
        UnsupportedDtype: integers.

    >>> import tinygrad_rnn as tg
    >>> max_pool1d(tg.tensor([[1.0, 3.0, 2.0, 2.0, 0.0]]), 2, return_indices=True)
    (tensor([[3., 2.]]), tensor([[1, 2]]))
    """
    pooled = max_pool1d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)
    return pooled if return_indices else pooled[0]


@in_single
def _averaged(x: Tensor, size: int, step: int, counts: Any) -> Tensor:
    sums = x.unfold(-1, size, step).sum(-1)
    result: Tensor = sums / counts if x.dtype.kind == "f" else sums.div(counts, rounding_mode="trunc")
    return result


def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window along time.

    Args:
        input: (N, C, L) or (C, L).
        kernel_size: K, how many entries a window has.
        stride: how far apart windows begin; None: K, so that they do not overlap.
        padding: how many zeros are put before and after, at most K / 2.
        ceil_mode: whether a last window may extend beyond the end; what lies there is not counted.
        count_include_pad: whether zeros of the padding are counted.

    Returns:
        (N, C, (L + 2 padding - K) / stride + 1), rounded down, or up with ``ceil_mode``.

    Raises:
        ShapeRuntimeError: neither 2-D nor 3-D, or shorter than a window.
        ArgumentRuntimeError: a size below 1, or a padding of more than half a window.

    >>> import tinygrad_rnn as tg
    >>> avg_pool1d(tg.tensor([[1.0, 3.0, 2.0, 4.0, 5.0]]), 2)
    tensor([[2., 3.]])
    """
    size = _pool_size(kernel_size, "avg_pool1d", "kernel_size")
    step = _pool_size(stride, "avg_pool1d", "stride") if stride or stride == 0 else size
    width = _pool_size(padding, "avg_pool1d", "padding")
    _check_axes("avg_pool1d", input)
    if step == 0:
        raise ArgumentRuntimeError("stride should not be zero: avg_pool1d()")
    if size <= 0 or step < 0:
        raise ArgumentRuntimeError(f"avg_pool1d(): sizes must be greater than zero: kernel {size}, stride {step}")
    if width < 0:
        raise ArgumentRuntimeError(f"pad must be non-negative, but got pad: {width}")
    if width > size // 2:
        raise ArgumentRuntimeError(
            f"pad should be at most half of effective kernel size, but got pad={width}, kernel_size={size} and "
            "dilation=1"
        )
    length = input.shape[-1]
    count = _windows(length, size, step, width, 1, ceil_mode)
    if count < 1:
        raise ShapeRuntimeError(
            f"avg_pool1d(): Output size is too small: a window spans {size} entries, and the input has {length}"
        )
    starts = np.arange(count) * step - width
    ends = np.minimum(starts + size, length + width)
    if not count_include_pad:
        starts, ends = starts.clip(0), ends.clip(None, length)
    counts = tensor(ends - starts, dtype=input.dtype, device=input.device)
    after = (count - 1) * step + size - width - length
    padded = pad(input, (width, after)) if width or after else input
    result: Tensor = _averaged(padded, size, step, counts)
    return result

"""Layer and RMS normalisation of each sample over its last axes, batch normalisation of each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backend import not_implemented, only, scalar_name
from ...errors import ArgumentError, ArgumentRuntimeError, DtypeError, ShapeError, ShapeRuntimeError
from ...ops import mean, rsqrt, square
from ...ops.dtypes import in_single, single
from ...tape.formula import Formula, aligned
from ...tape.modes import no_grad
from ...tape.multi_output import fused
from ...tape.tensor import Tensor
from ...typing import Array, Shape, Value

__all__ = ["batch_norm", "layer_norm", "rms_norm"]


def _axes(x: Any, count: int) -> tuple[int, ...]:
    return tuple(range(x.ndim - count, x.ndim))


def _forward(x: Array, weight: Any, bias: Any, count: int, eps: float) -> tuple[tuple[Array], Any]:
    axes, dtype = _axes(x, count), x.dtype
    if x.itemsize == 2:
        x, weight, bias = single(x), single(weight), single(bias)
    unit = x - x.mean(axis=axes, keepdims=True)
    # ``y`` serves twice: first for the squares, then for the result.
    y = np.square(unit)
    rate = 1 / np.sqrt(y.mean(axis=axes, keepdims=True) + x.dtype.type(eps))
    unit *= rate
    if weight is None:
        y[...] = unit
    else:
        np.multiply(unit, weight, out=y)
    if bias is not None:
        y += bias
    return (y if y.dtype == dtype else y.astype(dtype),), (unit, rate)


def _backward(
    gs: Any, residual: Any, x: Array, weight: Any, bias: Any, needs: Any, count: int, eps: float
) -> list[Any]:
    """With u = (x - mean) rate and h = g w: dx = rate (h - mean(h) - u mean(h u)), dw = sum(g u), db = sum(g)."""
    (g,), (unit, rate) = gs, residual
    dtype = g.dtype
    if g.itemsize == 2:
        g, weight = single(g), single(weight)
    axes, leading = _axes(x, count), tuple(range(x.ndim - count))
    dx = dw = None
    # ``product`` serves three times: g u for dw, h u for its mean, then what is subtracted. No further array is made.
    product = g * unit
    if needs[1]:
        dw = product.sum(axis=leading)
    if needs[0]:
        if weight is None:
            dx = g - g.mean(axis=axes, keepdims=True)
        else:
            product *= weight
            dx = g * weight
            dx -= dx.mean(axis=axes, keepdims=True)
        along = product.mean(axis=axes, keepdims=True)
        dx -= np.multiply(unit, along, out=product)
        dx *= rate
    grads = [dx, dw, g.sum(axis=leading) if needs[2] else None]
    return grads if g.dtype == dtype else [d if d is None else d.astype(dtype) for d in grads]


def _reference(x: Value, weight: Value, bias: Value, count: int, eps: float) -> tuple[Value]:
    return (_composed(x, weight, bias, count, eps),)


@in_single
def _composed(x: Value, weight: Value, bias: Value, count: int, eps: float) -> Value:
    axes = _axes(x, count)
    centred = x - mean(x, axes, keepdim=True)
    y = centred * rsqrt(mean(square(centred), axes, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


_layer_norm = fused(
    "layer_norm",
    only("f", "LayerNormKernelImpl", _forward),
    _backward,
    _reference,
    formula=Formula(
        aligned(
            r"\mu_{i} = \frac{1}{n} \sum_{k} x_{ik}",
            r"r_{i} = \frac{1}{\sqrt{\frac{1}{n} \sum_{k} (x_{ik} - \mu_{i})^2 + \epsilon}}",
            r"u_{ik} = r_{i} (x_{ik} - \mu_{i})",
            r"y_{ik} = W_{k} u_{ik} + b_{k}",
        ),
        aligned(r"\bar{u}_{ik} = \bar{y}_{ik} W_{k}"),
        x=r"\bar{x}_{ik} = r_{i} (\bar{u}_{ik} - \frac{1}{n} \sum_{l} \bar{u}_{il} "
        r"- u_{ik} \frac{1}{n} \sum_{l} \bar{u}_{il} u_{il})",
        weight=r"\bar{W}_{k} = \sum_{i} \bar{y}_{ik} u_{ik}",
        bias=r"\bar{b}_{k} = \sum_{i} \bar{y}_{ik}",
    ),
    kept=False,
)


def _check(input: Tensor, normalized_shape: Shape, weight: Tensor | None, bias: Tensor | None) -> None:
    wanted = list(normalized_shape)
    if not wanted:
        raise ShapeRuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            f"normalized_shape = {wanted}"
        )
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and list(t.shape) != wanted:
            raise ShapeRuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape {list(t.shape)} and "
                f"normalized_shape = {wanted}"
            )
    if list(input.shape[-len(wanted) :]) != wanted:
        raise ShapeRuntimeError(
            f"Given normalized_shape={wanted}, expected input with shape [*, {', '.join(map(str, wanted))}], but got "
            f"input of size{list(input.shape)}"
        )


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * w + b, mean and (biased) variance over the last axes.

    Shapes:
        input ``(..., *normalized_shape)``; weight and bias ``normalized_shape`` or None; result as the input.

    Raises:
        ShapeRuntimeError: the shapes do not fit.

    Source: J. Ba et al., "Layer normalization" (2016), equations 3 and 4.

    >>> import tinygrad_rnn as tg
    >>> layer_norm(tg.tensor([1.0, 3.0]), (2,), eps=0.0)
    tensor([-1.,  1.])
    """
    shape = tuple(normalized_shape)
    _check(input, shape, weight, bias)
    result: Tensor
    (result,) = _layer_norm(input, weight, bias, count=len(shape), eps=eps)
    return result


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean(x**2) + eps) * w, mean over the last axes.

    Without ``eps`` it is the machine epsilon of the dtype; for float16 of float32, in which it is computed.

    Source: B. Zhang and R. Sennrich, "Root mean square layer normalization" (2019), equation 4.

    >>> import tinygrad_rnn as tg
    >>> rms_norm(tg.tensor([3.0, 4.0]), (2,))
    tensor([0.8485, 1.1314])
    """
    shape = tuple(normalized_shape)
    _check(input, shape, weight, None)
    if input.dtype.kind in "biu":
        raise not_implemented("rms_norm", input.dtype)
    # In float32, because the square of 256 is beyond float16.
    x = single(input)
    small = float(np.finfo(x.dtype).eps) if eps is None else eps
    y = x * rsqrt(mean(square(x), _axes(x, len(shape)), keepdim=True) + small)
    result: Tensor = (y if weight is None else y * single(weight)).to(input.dtype)
    return result


# batch normalisation -----------------------------------------------------------------------------------------------


def _check_batch(input: Tensor, values: dict[str, Tensor | None], training: bool, eps: float) -> None:
    if training:
        if math.prod((*input.shape[:1], *input.shape[2:])) == 1:
            raise ShapeError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
        if eps <= 0:
            raise ArgumentError(f"batch_norm eps must be positive during training, but got {eps}")
        if (values["running_mean"] is None) != (values["running_var"] is None):
            raise ArgumentError("running_mean and running_var must either both be None or neither be None")
    else:
        if eps < 0:
            raise ArgumentError(f"batch_norm eps must be non-negative, but got {eps}")
        for name in ("running_mean", "running_var"):
            if values[name] is None:
                raise ArgumentRuntimeError(f"{name} must be defined in evaluation mode")
    if input.ndim < 2:
        raise ShapeRuntimeError(f"batch_norm(): expected an input (N, C, *), and its shape is {list(input.shape)}")
    if input.dtype.kind != "f":
        raise not_implemented("batch_norm", input.dtype)
    wide = np.dtype(np.float32) if input.dtype.itemsize == 2 else input.dtype
    for name, value in values.items():
        if value is None:
            continue
        if value.numel() != input.shape[1]:
            raise ShapeRuntimeError(f"{name} should contain {input.shape[1]} elements not {value.numel()}")
        if value.dtype not in (input.dtype, wide):
            raise DtypeError(
                f"mixed dtype (CPU): expect parameter to have scalar type of {scalar_name(wide)}: {name} is of "
                f"{scalar_name(value.dtype)}"
            )


def _follow(running: Tensor, value: Tensor, momentum: float) -> None:
    running.copy_((1 - momentum) * single(running) + momentum * value)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * w + b, of each channel.

    Args:
        input: (N, C, *).
        running_mean: (C,), or None in training.
        running_var: (C,), or None in training.
        weight: w, (C,) or None.
        bias: b, (C,) or None.
        training: whether mean and (biased) variance are those of this batch, through which gradients pass, and both
            running values are replaced by (1 - momentum) times themselves + momentum times the mean and the unbiased
            variance of this batch; else they are the running values.
        momentum: how much of the running values is new.
        eps: keeps the division finite.

    Returns:
        Of the shape of the input.

    Raises:
        ShapeError: in training, one value for each channel, of which there is no variance.
        ShapeRuntimeError: the sizes do not fit.
        ArgumentError: a wrong ``eps``, or one running value without the other.
        ArgumentRuntimeError: in evaluation, no running values.
        DtypeError: other dtypes than the input's, or than float32 beside float16.

    Source: S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift" (2015), algorithms 1 and 2.

    >>> import tinygrad_rnn as tg
    >>> batch_norm(tg.tensor([[1.0], [3.0]]), None, None, training=True)
    tensor([[-1.0000],
            [ 1.0000]])
    """
    values = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _check_batch(input, values, training, eps)
    x, w, b = single(input), single(weight), single(bias)
    swapped = x.transpose(0, 1)  # (C, N, *)
    flat = swapped.reshape(x.shape[1], x.numel() // max(x.shape[1], 1))
    if x.numel() == 0:
        y = flat
    elif training:
        (y,) = _layer_norm(flat, None, None, count=1, eps=eps)  # a channel's values are a row
        if running_mean is not None and running_var is not None:
            with no_grad():
                _follow(running_mean, flat.mean(1), momentum)
                _follow(running_var, flat.var(1), momentum)
    else:
        mean, variance = single(running_mean).detach(), single(running_var).detach()
        y = (flat - mean.unsqueeze(1)) * rsqrt(variance + eps).unsqueeze(1)
    y = y if w is None else y * w.unsqueeze(1)
    y = y if b is None else y + b.unsqueeze(1)
    result: Tensor = y.reshape(swapped.shape).transpose(0, 1).contiguous().to(input.dtype)
    return result

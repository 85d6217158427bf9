"""Layer and RMS normalisation of each sample over its last axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backend import not_implemented, only
from ...errors import ShapeRuntimeError
from ...ops import mean, rsqrt, square
from ...ops.dtypes import in_single, single
from ...tape.formula import Formula, aligned
from ...tape.multi_output import fused
from ...tape.tensor import Tensor
from ...typing import Array, Shape, Value

__all__ = ["layer_norm", "rms_norm"]


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

"""Affine and bilinear maps, cosine similarity and distances between vectors."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...backend import scalar_name
from ...errors import DtypeError, ShapeRuntimeError
from ...ops import arguments, broadcast_tensors, clamp, maximum, norm
from ...ops import sum as total
from ...ops.dtypes import in_single
from ...tape.tensor import Tensor

__all__ = ["bilinear", "cosine_similarity", "linear", "normalize", "pairwise_distance"]


def linear(input: Any = None, weight: Any = None, bias: Any = None, *, out: Any = None) -> Tensor:
    """y = x W^T + b, recorded as one operation.

    Shapes:
        input ``(..., I)``, weight ``(O, I)``, bias ``(O,)``; result ``(..., O)``.  Or weight ``(I,)``, no bias; result
        ``(...)``.

    Raises:
        ShapeRuntimeError: the sizes do not fit.
        DtypeError: the dtypes differ.

    >>> import tinygrad_rnn as tg
    >>> linear(tg.tensor([1.0, 2.0]), tg.tensor([[3.0, 4.0]]), tg.tensor([1.0]))
    tensor([12.])
    """
    result: Tensor
    try:
        if out is not None:
            # Explained below, like any other wrong argument.
            raise TypeError("out")
        if weight.ndim == 1 and bias is None:
            result = input @ weight
        else:
            result = ops.linear(input, weight, bias)
        return result
    except arguments.INSIDE as error:  # caught here, since a wrapper would cost every call
        options = {} if out is None else {"out": out}
        result = arguments.rescue("nn.functional", _affine, error, (input, weight, bias), options)
        return result


def _affine(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return linear(input, weight, bias)


# Errors must name the public function.
_affine.__name__ = "linear"
vars(linear)["binds"] = True


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = x1^T W_o x2 + b_o.

    Shapes:
        input1 ``(..., I1)``, input2 ``(..., I2)``, weight ``(O, I1, I2)``, bias ``(O,)``; result ``(..., O)``.

    Raises:
        ShapeRuntimeError: the sizes do not fit.
    """
    outputs, size1, size2 = weight.shape
    if input1.shape[:-1] != input2.shape[:-1] or input1.shape[-1] != size1 or input2.shape[-1] != size2:
        raise ShapeRuntimeError(
            f"bilinear(): input1 {list(input1.shape)} and input2 {list(input2.shape)} do not fit the weight "
            f"{list(weight.shape)}: equal leading axes, {size1} and {size2} features are needed"
        )
    left = input1 @ weight.permute(1, 0, 2).reshape(size1, outputs * size2)
    product = left.reshape(*input1.shape[:-1], outputs, size2) * input2.unsqueeze(-2)
    result: Tensor = total(product, -1, dtype=product.dtype)
    return result if bias is None else result + bias


@in_single
def _cosine(x1: Tensor, x2: Tensor, dim: int, eps: float) -> Tensor:
    unit1 = x1 / maximum(norm(x1, 2, dim, True), eps)
    unit2 = x2 / maximum(norm(x2, 2, dim, True), eps)
    result: Tensor = total(unit1 * unit2, dim)
    return result


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|) along ``dim``, each norm at least ``eps``.

    >>> import tinygrad_rnn as tg
    >>> cosine_similarity(tg.tensor([1.0, 0.0]), tg.tensor([1.0, 1.0]), dim=0)
    tensor(0.7071)
    """
    for x in (x1, x2):
        if x.dtype.kind != "f":
            name = scalar_name(x.dtype)
            raise DtypeError(f"expected common dtype to be floating point, yet common dtype is {name}")
    x1, x2 = broadcast_tensors(x1, x2)  # first: an axis of size 1 has another length when it is repeated
    result: Tensor = _cosine(x1, x2, dim, eps)
    return result


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis."""
    result: Tensor = _distance(x1, x2, p, eps, keepdim)
    return result


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Tensor:
    """x / max(|x|_p, eps) along ``dim``."""
    result: Tensor = _normalized(input, p, dim, eps)
    return result


@in_single
def _distance(x1: Tensor, x2: Tensor, p: float, eps: float, keepdim: bool) -> Tensor:
    return norm(x1 - x2 + eps, p, -1, keepdim)


@in_single
def _normalized(x: Tensor, p: float, dim: int, eps: float) -> Tensor:
    return x / clamp(norm(x, p, dim, True), eps)

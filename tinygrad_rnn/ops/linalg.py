"""Products: matmul in all its forms, and the affine map of a layer as one record."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np

from ..backend import on_gpu
from ..errors import ArgumentTypeError, DtypeError, ShapeRuntimeError
from ..tape.modes import state
from ..tape.partial_gradient import Part
from ..tape.primitive import binary, primitive
from ..tape.tensor import Tensor
from ..typing import Array, Shape, Value
from .gpu_overrides import gemm, share_of_bias, share_of_weight
from .shape import sum_to

__all__ = ["linear", "matmul"]

ndarray, dot = np.ndarray, np.ndarray.dot

LEAST_COPIED = 512
"""Entries of a weight of which a transposed copy is worth its making."""


def rows_of(a: Value) -> Value:
    """``(..., n)`` as ``(rows, n)``; the count is spelled out, because -1 cannot be told where n is 0."""
    return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])


def _transposed(b: Array) -> Array:
    """``b^T``; for a weight that is used again and again in one sweep, as a contiguous copy after its first use.

    By a transposed view of a 64 x 64 weight OpenBLAS multiplies at two fifths of the speed.
    """
    memo = None if b.size < LEAST_COPIED else state.here.memo
    if memo is None:
        return b.T
    place = id(b)
    seen = memo.get(place)
    if seen is None or seen[0]() is not b:
        memo[place] = [ref(b), None]
        return b.T
    if seen[1] is None:
        seen[1] = np.ascontiguousarray(b.T)
    return seen[1]


def _vjp_left(g: Value, y: Any, a: Any, b: Value) -> Value:
    """``g @ b^T``, written out for vectors, summed over batch axes that were broadcast."""
    if g.ndim == b.ndim == 2:
        return g.dot(_transposed(b)) if type(g) is ndarray else matmul(g, b.T)
    if b.ndim == 1:
        return g[..., None] * b if a.ndim > 1 else g * b
    if a.ndim == 1:
        return sum_to((b @ g[..., None])[..., 0], a.shape)
    return sum_to(g @ b.swapaxes(-1, -2), a.shape)


def _vjp_right(g: Value, y: Any, a: Value, b: Any) -> Value:
    """``a^T @ g``, written out for vectors, summed over batch axes that were broadcast."""
    if g.ndim == a.ndim == 2:
        return share_of_weight(g, a)
    if a.ndim == 1:
        return sum_to(a[:, None] * g[..., None, :], b.shape) if b.ndim > 1 else g * a
    if b.ndim == 1:
        return sum_to((a.swapaxes(-1, -2) @ g[..., None])[..., 0], b.shape)
    if a.ndim > 2 and b.ndim == 2:  # one product over all batch axes instead of a sum of many
        return rows_of(a).swapaxes(0, 1) @ rows_of(g)
    return sum_to(a.swapaxes(-1, -2) @ g, b.shape)


def check_same_dtype(a: Any, b: Any) -> tuple[Any, Any]:
    """Products do not promote: a mixture is a mistake more often than a wish."""
    for x in (a, b):
        if not hasattr(x, "dtype"):
            raise _no_tensor(x)
    if a.dtype != b.dtype:
        raise DtypeError(
            f"expected m1 and m2 to have the same dtype, but got: {a.dtype} != {b.dtype}. Convert one: x.to(y.dtype)"
        )
    return a, b


def _mismatch(a: Any, b: Any) -> Exception | None:
    left, right = np.shape(a), np.shape(b)
    if not all(hasattr(x, "dtype") for x in (a, b)):
        return _no_tensor(b if hasattr(a, "dtype") else a)
    if not left or not right:
        return ShapeRuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {len(left)}D and {len(right)}D"
        )
    if len(left) == 2 and len(right) == 2:
        sentence = f"mat1 and mat2 shapes cannot be multiplied ({left[0]}x{left[1]} and {right[0]}x{right[1]})"
    elif len(left) == 1 and len(right) == 1:
        sentence = (
            f"inconsistent tensor size, expected tensor {list(left)} and src {list(right)} to have the same number of "
            f"elements, but got {left[0]} and {right[0]} elements respectively"
        )
    elif len(right) == 1:
        sentence = f"size mismatch, got input ({left[-2]}), mat ({left[-2]}x{left[-1]}), vec ({right[0]})"
    elif left[-1] == right[-2]:
        return _no_common_batch(left[:-2], right[:-2])
    else:
        batch = left[0] if len(left) > 2 else right[0]
        sentence = (
            f"Expected size for first two dimensions of batch2 tensor to be: [{batch}, {left[-1]}] but got: "
            f"[{batch}, {right[-2]}]"
        )
    inner = right[-2] if len(right) > 1 else right[0]
    return ShapeRuntimeError(f"{sentence}. matmul(): the last axis of the left ({left[-1]}) must equal {inner}")


def _no_tensor(x: Any) -> Exception:
    return ArgumentTypeError(f"matmul(): argument must be Tensor, not {type(x).__name__}. Multiply by a number with *")


def _no_common_batch(left: Shape, right: Shape) -> Exception | None:
    for k in range(1, min(len(left), len(right)) + 1):
        if left[-k] != right[-k] and 1 not in (left[-k], right[-k]):
            return ShapeRuntimeError(
                f"The size of tensor a ({left[-k]}) must match the size of tensor b ({right[-k]}) at non-singleton "
                f"dimension {max(len(left), len(right)) - k}. matmul(): the leading axes {list(left)} and "
                f"{list(right)} do not broadcast"
            )
    return None


def _product(a: Array, b: Array) -> Array:
    """``a @ b``; for two matrices by ``dot``, which does the same in half the time where they are small."""
    if a.ndim == b.ndim == 2:
        return a.dot(b) if type(a) is ndarray or not on_gpu(a) else gemm().product(a, b)
    return np.matmul(a, b)


matmul = binary(
    "matmul",
    _product,
    (_vjp_left, _vjp_right),
    ("b", "a"),
    promote=check_same_dtype,
    mismatch=_mismatch,
    doc="""The matrix product over the last two axes; vectors count as one row on the left, one column on the right.

    Shapes:
        ``(n,) @ (n,)`` gives ``()``; ``(m, n) @ (n,)`` gives ``(m,)``; ``(..., m, n) @ (..., n, p)`` gives
        ``(..., m, p)`` with the leading axes broadcast.

    Raises:
        ShapeRuntimeError: the inner sizes differ.
        DtypeError: the dtypes differ.
    """,
)


def _linear(x: Array, weight: Array, bias: Array | None) -> Array:
    y = _over_rows(_product, x, weight.T)
    if bias is not None:
        y += bias
    return y


def _over_rows(product: Callable[[Value, Value], Value], x: Value, matrix: Value) -> Value:
    """``x @ matrix`` as one product over all leading axes of x: NumPy and CuPy would make many."""
    if x.ndim < 3:
        return product(x, matrix)
    return product(rows_of(x), matrix).reshape(*x.shape[:-1], matrix.shape[1])


def _linear_vjp_weight(g: Value, y: Any, x: Value, weight: Any, bias: Any) -> Value:
    if x.ndim == 1:
        return g[:, None] * x
    if x.ndim > 2:
        g, x = rows_of(g), rows_of(x)
    return share_of_weight(x, g)


def _linear_vjp_bias(g: Value, y: Any, x: Any, weight: Any, bias: Any) -> Value:
    found = share_of_bias(g, bias.shape)
    if isinstance(found, (Tensor, Part)) or found.size < g.size:
        return found
    return found.copy()  # of one row the sum is that row


_linear_primitive = primitive(
    "linear",
    _linear,
    (
        lambda g, y, x, weight, bias: _over_rows(matmul, g, weight),
        _linear_vjp_weight,
        _linear_vjp_bias,
    ),
    ("b", "a", ""),
    fresh=True,
)


def linear(x: Value, weight: Value, bias: Value = None) -> Value:
    """The affine map ``y = x W^T + b`` as one record.

    Shapes:
        x ``(..., I)``, weight ``(O, I)``, bias ``(O,)`` or None; result ``(..., O)``.

    Raises:
        ShapeRuntimeError: the last axis of x is not I.
        DtypeError: the dtypes differ.
    """
    if x.shape[-1:] != weight.shape[1:]:
        rows = 1
        for n in x.shape[:-1]:
            rows *= n
        raise ShapeRuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1] if x.ndim else 1} and "
            f"{weight.shape[-1]}x{weight.shape[0]}). linear(): the last axis of the input must have size "
            f"{weight.shape[-1]}, and its shape is {list(x.shape)}"
        )
    check_same_dtype(x, weight)
    return _linear_primitive(x, weight, bias)

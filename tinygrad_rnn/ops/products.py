"""Products by name: vectors and matrices with their number of axes fixed, and sums with a product."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import is_array, not_implemented
from ..errors import DtypeError, ShapeRuntimeError
from ..tape.primitive import primitive
from ..tape.tensor import Tensor, wrap
from ..typing import Array, Value
from .dtypes import cast, in_single, mixed_type
from .elementwise import _typed
from .linalg import matmul
from .shape import broadcast_to, sum_to, too_many_axes, unsqueeze

__all__ = ["addbmm", "addcdiv", "addcmul", "addmm", "addmv", "baddbmm", "bmm", "dot", "ger", "inner", "lerp", "mm"]
__all__ += ["mv", "outer", "vdot"]


def dot(a: Value, b: Value) -> Value:
    """The sum of products of two vectors of one length."""
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeRuntimeError(f"1D tensors expected, but got {a.ndim}D and {b.ndim}D tensors in dot()")
    return matmul(a, b)


def vdot(a: Value, b: Value) -> Value:
    """The sum of products of two vectors of one length, of which the first is conjugated if it is complex."""
    if a.dtype.kind == "c":
        a = wrap(a._data.conj()) if isinstance(a, Tensor) else a.conj()
    return dot(a, b)


def inner(a: Value, b: Value) -> Value:
    """The sums of products along the last axis of both; all other axes stay."""
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.shape[-1] != b.shape[-1]:
        raise ShapeRuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(a.shape)} and {list(b.shape)}"
        )
    from .contraction import tensordot

    return tensordot(a, b, ([-1], [-1]))


def mv(matrix: Value, vector: Value) -> Value:
    """A matrix times a vector."""
    if matrix.ndim != 2 or vector.ndim != 1:
        raise ShapeRuntimeError(f"vector + matrix @ vector expected, got {vector.ndim}, {matrix.ndim}, {vector.ndim}")
    return matmul(matrix, vector)


def mm(a: Value, b: Value) -> Value:
    """The product of two matrices."""
    if a.ndim != 2:
        raise ShapeRuntimeError(f"self must be a matrix: mm() got {list(a.shape)}. For batches use matmul()")
    if b.ndim != 2:
        raise ShapeRuntimeError(f"mat2 must be a matrix: mm() got {list(b.shape)}. For batches use matmul()")
    return matmul(a, b)


def bmm(a: Value, b: Value) -> Value:
    """The products of two batches of matrices: ``(N, m, n) @ (N, n, p)``; nothing is broadcast."""
    if a.ndim != 3:
        raise ShapeRuntimeError(f"batch1 must be a 3D tensor: bmm() got {list(a.shape)}")
    if b.ndim != 3:
        raise ShapeRuntimeError(f"batch2 must be a 3D tensor: bmm() got {list(b.shape)}")
    if tuple(b.shape[:2]) != (a.shape[0], a.shape[2]):
        raise ShapeRuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{a.shape[0]}, {a.shape[2]}] but got: "
            f"[{b.shape[0]}, {b.shape[1]}]."
        )
    return matmul(a, b)


def _sum(name: str, start: Value, product: Value, beta: float, alpha: float) -> Value:
    """``beta start + alpha product``; with beta = 0 not even a nan in ``start`` comes through."""
    scaled = product if alpha == 1 else product * alpha
    shape = tuple(product.shape)
    if start.ndim > len(shape):
        raise ShapeRuntimeError(f"{too_many_axes(len(shape), start.ndim)} in {name}()")
    for k in range(1, start.ndim + 1):
        if start.shape[-k] not in (1, shape[-k]):
            raise ShapeRuntimeError(
                f"The expanded size of the tensor ({shape[-k]}) must match the existing size ({start.shape[-k]}) at "
                f"non-singleton dimension {len(shape) - k}.  Target sizes: {list(shape)}.  Tensor sizes: "
                f"{list(start.shape)} in {name}()"
            )
    if beta == 0:
        return scaled
    return broadcast_to(start if beta == 1 else start * beta, shape) + scaled


def addmm(a: Value, mat1: Value, mat2: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """``beta a + alpha mat1 @ mat2``; ``a`` is broadcast."""
    return _sum("addmm", a, mm(mat1, mat2), beta, alpha)


def addmv(a: Value, mat: Value, vec: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """``beta a + alpha mat @ vec``; ``a`` is broadcast."""
    return _sum("addmv", a, mv(mat, vec), beta, alpha)


def baddbmm(a: Value, batch1: Value, batch2: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """``beta a + alpha batch1 @ batch2``, for each member of the batch; ``a`` is broadcast."""
    return _sum("baddbmm", a, bmm(batch1, batch2), beta, alpha)


def addbmm(a: Value, batch1: Value, batch2: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """``beta a + alpha batch1 @ batch2``, summed over the batch; ``a`` is broadcast."""
    return _sum("addbmm", a, bmm(batch1, batch2).sum(0), beta, alpha)


def _alike(*parts: Value) -> tuple[Value, ...]:
    """All in the dtype of their mixture, so that what lies between is computed in it too."""
    if len({part.dtype for part in parts}) == 1:
        return parts
    dtype = mixed_type(*parts)
    return tuple([part if part.dtype == dtype else cast(part, dtype=dtype) for part in parts])


@in_single
def addcmul(a: Value, tensor1: Value, tensor2: Value, *, value: float = 1) -> Value:
    """``a + value tensor1 tensor2``."""
    a, tensor1, tensor2 = _alike(a, tensor1, tensor2)
    return a + (tensor1 * tensor2 if value == 1 else tensor1 * tensor2 * value)


@in_single
def addcdiv(a: Value, tensor1: Value, tensor2: Value, *, value: float = 1) -> Value:
    """``a + value tensor1 / tensor2``.

    Raises:
        DtypeError: both are whole numbers: which division is meant?
    """
    if tensor1.dtype.kind in "biu" and tensor2.dtype.kind in "biu":
        raise DtypeError(
            "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will perform a "
            "true division of tensor1 and tensor2. Convert one of them: tensor1.float()"
        )
    a, tensor1, tensor2 = _alike(a, tensor1, tensor2)
    return a + (tensor1 / tensor2 if value == 1 else tensor1 / tensor2 * value)


def _between(a: Array, b: Array, w: Any) -> Array:
    """Counted from the nearer end: a + 1 (b - a) is not b where a is much larger."""
    way = b - a
    if not isinstance(w, np.ndarray) and not is_array(w):
        return a + w * way if abs(w) < 0.5 else b - way * (1 - w)
    return np.where(np.abs(w) < 0.5, a + w * way, b - way * (1 - w))


_lerp_number = primitive(
    "lerp_number",
    lambda a, b, weight: _between(a, b, weight),
    (
        lambda g, y, a, b, weight: sum_to(g * (1 - weight), a.shape),
        lambda g, y, a, b, weight: sum_to(g * weight, b.shape),
    ),
    ("", ""),
)
_lerp = primitive(
    "lerp",
    _between,
    (
        lambda g, y, a, b, w: sum_to(g * (1 - w), a.shape),
        lambda g, y, a, b, w: sum_to(g * w, b.shape),
        lambda g, y, a, b, w: sum_to(g * (b - a), w.shape),
    ),
    ("c", "c", "ab"),
)


@in_single
def lerp(a: Value, end: Value, weight: Value) -> Value:
    """``a + weight (end - a)``: from ``a`` at 0 to ``end`` at 1, both exactly."""
    if a.dtype.kind in "biu":
        raise not_implemented("lerp_kernel_scalar", a.dtype)
    dtype = mixed_type(a, end, weight)
    a, end = _typed(a, dtype, a), _typed(end, dtype, a)
    if isinstance(weight, (int, float, complex)):
        _typed(weight, dtype, a)  # which refuses what the type cannot hold
        return _lerp_number(a, end, weight=weight)
    return _lerp(a, end, _typed(weight, dtype, a))


def outer(a: Value, b: Value) -> Value:
    """All products of an entry of one vector and an entry of another: ``(m,), (n,) -> (m, n)``."""
    for word, x in (("self", a), ("vec2", b)):
        if x.ndim != 1:
            raise ShapeRuntimeError(f"outer: Expected 1-D argument {word}, but got {x.ndim}-D")
    return unsqueeze(a, 1) * b


ger = outer

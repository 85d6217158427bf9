"""Matrix and vector products: matmul in all its forms, the affine map of a layer, and the products by name."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..backend import is_array, not_implemented, on_gpu
from ..errors import ArgumentTypeError, DtypeError, ShapeRuntimeError
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..typing import Array, Number, Shape, V, Value
from .contraction import tensordot
from .dtypes import cast, in_single, mixed_type
from .elementwise import _typed
from .nondifferentiable import constant, raw
from .reduce import sum_over
from .shape import broadcast_to, sum_to, too_many_axes, unsqueeze

__all__ = ["addbmm", "addcdiv", "addcmul", "addmm", "addmv", "addr", "baddbmm", "bmm", "dot", "ger", "inner", "lerp"]
__all__ += ["linear", "matmul", "mm", "mv", "outer", "vdot"]


@functools.cache
def gemm() -> Any:
    """The module of products on a GPU, loaded where there is one."""
    from ..backend.gpu import gemm

    return gemm


def rows_of(a: V) -> V:
    """``(..., n)`` as ``(rows, n)``; the count is spelled out, because -1 cannot be told where n is 0."""
    return a.reshape((math.prod(a.shape[:-1]), a.shape[-1]))


def _vjp_left(g: Value, y: Any, a: Any, b: Value) -> Value:
    """``g @ b^T``, written out for vectors, summed over batch axes that were broadcast."""
    if b.ndim == 1:  # (..., m, n) @ (n,) = (..., m), or a number
        return g[..., None] * b if a.ndim > 1 else g * b
    if a.ndim == 1:  # (n,) @ (..., n, p) = (..., p); the batch axes are summed
        return sum_to((b @ g[..., None])[..., 0], a.shape)
    return sum_to(g @ b.swapaxes(-1, -2), a.shape)


def _vjp_right(g: Value, y: Any, a: Value, b: Any) -> Value:
    """``a^T @ g``, written out for vectors, summed over batch axes that were broadcast."""
    if a.ndim == 1:  # (n,) @ (..., n, p) = (..., p), or a number
        return sum_to(a[:, None] * g[..., None, :], b.shape) if b.ndim > 1 else g * a
    if b.ndim == 1:  # (..., m, n) @ (n,) = (..., m)
        return sum_to((a.swapaxes(-1, -2) @ g[..., None])[..., 0], b.shape)
    if a.ndim > 2 and b.ndim == 2:  # one product over all batch axes instead of a sum of many
        return rows_of(a).swapaxes(0, 1) @ rows_of(g)
    return sum_to(a.swapaxes(-1, -2) @ g, b.shape)


def check_same_dtype(a: Any, b: Any) -> tuple[Any, Any]:
    """Refuse mixed dtypes: products do not promote, because a mixture is usually a bug."""
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
    elif left[-1] == right[-2]:  # the inner sizes fit, so the batch axes do not
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


def matrix_product(a: Array, b: Array) -> Array:
    """``a @ b``; for two matrices by ``dot``, which does the same in half the time where they are small."""
    product: Array
    if a.ndim == b.ndim == 2:
        product = a.dot(b) if type(a) is np.ndarray or not on_gpu(a) else gemm().product(a, b)
    else:
        product = np.matmul(a, b)
    return product


matmul = primitive(
    "matmul",
    matrix_product,
    (_vjp_left, _vjp_right),
    ("b", "a"),
    formula=Formula("a b", a=r"\operatorname{sum}_{a}(\bar{y} b^\top)", b=r"\operatorname{sum}_{b}(a^\top \bar{y})"),
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
    y = over_rows(x, weight.T)
    if bias is not None:
        y += bias  # y is new memory
    return y


def over_rows(x: Array, matrix: Array) -> Array:
    """``x @ matrix`` as one product over all leading axes of x: NumPy and CuPy would make many."""
    if x.ndim < 3:
        return matrix_product(x, matrix)
    return matrix_product(rows_of(x), matrix).reshape(*x.shape[:-1], matrix.shape[1])


_linear_primitive = primitive(
    "linear",
    _linear,
    (
        lambda g, y, x, weight, bias: g @ weight,  # (..., O) @ (O, I) = (..., I)
        lambda g, y, x, weight, bias: rows_of(g).swapaxes(0, 1) @ rows_of(x),  # (O, rows) @ (rows, I) = (O, I)
        lambda g, y, x, weight, bias: sum_over(rows_of(g), 0),  # (rows, O) to (O,)
    ),
    ("b", "a", ""),
    formula=Formula(r"x W^\top + b", x=r"\bar{y} W", weight=r"\bar{y}^\top x", bias=r"\operatorname{sum}_{b}(\bar{y})"),
    gives_new=True,  # also of one row: see _linear_bias in fast_paths.py
)


def linear(x: V, weight: V, bias: V | None = None) -> V:
    """The affine map ``y = x W^T + b`` as one record.

    Shapes:
        x ``(..., I)``, weight ``(O, I)``, bias ``(O,)`` or None; result ``(..., O)``.

    Raises:
        ShapeRuntimeError: the last axis of x is not I.
        DtypeError: the dtypes differ.
    """
    if x.shape[-1:] != weight.shape[1:]:
        # not size // shape[-1], a division by 0 where there are no features
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


# products with their number of axes fixed, and sums with a product ---------------------------------------------------


def dot(a: V, b: V) -> V:
    """The sum of products of two vectors of one length."""
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeRuntimeError(f"1D tensors expected, but got {a.ndim}D and {b.ndim}D tensors in dot()")
    return matmul(a, b)


def vdot(a: V, b: V) -> V:
    """The sum of products of two vectors of one length, of which the first is conjugated if it is complex."""
    if a.dtype.kind == "c":  # without a record: no gradient flows through complex numbers
        a = constant(raw(a).conj(), a)
    return dot(a, b)


def inner(a: V, b: V) -> V:
    """The sums of products along the last axis of both; all other axes stay."""
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.shape[-1] != b.shape[-1]:
        raise ShapeRuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(a.shape)} and {list(b.shape)}"
        )
    return tensordot(a, b, ([-1], [-1]))


def mv(matrix: V, vector: V) -> V:
    """A matrix times a vector."""
    if matrix.ndim != 2 or vector.ndim != 1:
        raise ShapeRuntimeError(f"vector + matrix @ vector expected, got {vector.ndim}, {matrix.ndim}, {vector.ndim}")
    return matmul(matrix, vector)


def mm(a: V, b: V) -> V:
    """The product of two matrices."""
    if a.ndim != 2:
        raise ShapeRuntimeError(f"self must be a matrix: mm() got {list(a.shape)}. For batches use matmul()")
    if b.ndim != 2:
        raise ShapeRuntimeError(f"mat2 must be a matrix: mm() got {list(b.shape)}. For batches use matmul()")
    return matmul(a, b)


def bmm(a: V, b: V) -> V:
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


def _sum(name: str, start: V, product: V, beta: float, alpha: float) -> V:
    """``beta start + alpha product``; with beta = 0 not even a nan in ``start`` comes through."""
    scaled = product if alpha == 1 else product * alpha  # no record for a product by 1
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


def addmm(a: V, mat1: V, mat2: V, *, beta: float = 1, alpha: float = 1) -> V:
    """``beta a + alpha mat1 @ mat2``; ``a`` is broadcast."""
    return _sum("addmm", a, mm(mat1, mat2), beta, alpha)


def addmv(a: V, mat: V, vec: V, *, beta: float = 1, alpha: float = 1) -> V:
    """``beta a + alpha mat @ vec``; ``a`` is broadcast."""
    return _sum("addmv", a, mv(mat, vec), beta, alpha)


def addr(a: V, vec1: V, vec2: V, *, beta: float = 1, alpha: float = 1) -> V:
    """``beta a + alpha`` times the outer product of two vectors; ``a`` is broadcast.

    >>> import tinygrad_rnn as tg
    >>> tg.addr(tg.zeros(2, 2), tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    return _sum("addr", a, outer(vec1, vec2), beta, alpha)


def baddbmm(a: V, batch1: V, batch2: V, *, beta: float = 1, alpha: float = 1) -> V:
    """``beta a + alpha batch1 @ batch2``, for each member of the batch; ``a`` is broadcast."""
    return _sum("baddbmm", a, bmm(batch1, batch2), beta, alpha)


def addbmm(a: V, batch1: V, batch2: V, *, beta: float = 1, alpha: float = 1) -> V:
    """``beta a + alpha batch1 @ batch2``, summed over the batch; ``a`` is broadcast."""
    return _sum("addbmm", a, bmm(batch1, batch2).sum(0), beta, alpha)


def _alike(*parts: V) -> tuple[V, ...]:
    """All in their common dtype, so that intermediate results are computed in it too."""
    if len({part.dtype for part in parts}) == 1:
        return parts
    dtype = mixed_type(*parts)
    return tuple([part if part.dtype == dtype else cast(part, dtype=dtype) for part in parts])


@in_single
def addcmul(a: V, tensor1: V, tensor2: V, *, value: float = 1) -> V:
    """``a + value tensor1 tensor2``."""
    a, tensor1, tensor2 = _alike(a, tensor1, tensor2)
    return a + (tensor1 * tensor2 if value == 1 else tensor1 * tensor2 * value)


@in_single
def addcdiv(a: V, tensor1: V, tensor2: V, *, value: float = 1) -> V:
    """``a + value tensor1 / tensor2``.

    Raises:
        DtypeError: both are whole numbers, which leaves open the division that is meant.
    """
    if tensor1.dtype.kind in "biu" and tensor2.dtype.kind in "biu":
        raise DtypeError(
            "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will perform a "
            "true division of tensor1 and tensor2. Convert one of them: tensor1.float()"
        )
    a, tensor1, tensor2 = _alike(a, tensor1, tensor2)
    return a + (tensor1 / tensor2 if value == 1 else tensor1 / tensor2 * value)


def _between(a: Array, b: Array, w: Any) -> Array:
    """From the nearer end: a + 1 (b - a) is not b where a is much larger."""
    way = b - a
    between: Array
    if not isinstance(w, np.ndarray) and not is_array(w):
        between = a + w * way if abs(w) < 0.5 else b - way * (1 - w)
    else:
        between = np.where(np.abs(w) < 0.5, a + w * way, b - way * (1 - w))
    return between


_lerp_number = primitive(
    "lerp_number",
    lambda a, b, w: _between(a, b, w),
    (
        lambda g, y, a, b, w: sum_to(g * (1 - w), a.shape),
        lambda g, y, a, b, w: sum_to(g * w, b.shape),
    ),
    formula=Formula(
        "a + w (b - a)", a=r"\operatorname{sum}_{a}((1 - w) \bar{y})", b=r"\operatorname{sum}_{b}(w \bar{y})"
    ),
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
    formula=Formula(
        r"a + w \odot (b - a)",
        a=r"\operatorname{sum}_{a}(\bar{y} \odot (1 - w))",
        b=r"\operatorname{sum}_{b}(\bar{y} \odot w)",
        w=r"\operatorname{sum}_{w}(\bar{y} \odot (b - a))",
    ),
)


@in_single
def lerp(a: V, end: V, weight: V | Number) -> V:
    """``a + weight (end - a)``: from ``a`` at 0 to ``end`` at 1, both exactly."""
    if a.dtype.kind in "biu":
        raise not_implemented("lerp_kernel_scalar", a.dtype)
    dtype = mixed_type(a, end, weight)
    a, end = _typed(a, dtype, a), _typed(end, dtype, a)
    if isinstance(weight, (int, float, complex)):
        _typed(weight, dtype, a)  # refuses a number that the type cannot hold
        return _lerp_number(a, end, w=weight)
    between: V = _lerp(a, end, _typed(weight, dtype, a))
    return between


def outer(a: V, b: V) -> V:
    """All products of an entry of one vector and an entry of another: ``(m,), (n,) -> (m, n)``."""
    for word, x in (("self", a), ("vec2", b)):
        if x.ndim != 1:
            raise ShapeRuntimeError(f"outer: Expected 1-D argument {word}, but got {x.ndim}-D")
    return unsqueeze(a, 1) * b


ger = outer

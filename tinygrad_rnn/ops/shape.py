"""Shape operations: broadcasting and its adjoint, reshape, transpose, concatenation.

The families are closed under differentiation: ``sum_to`` is the adjoint of ``broadcast_to`` and the other way
round, ``reshape`` of ``reshape``, ``permute`` of its inverse, reading a slice of ``cat``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import array_module
from ..backend.gpu.device_copies import joined
from ..errors import ArgumentError, ArgumentTypeError, IndexOutOfRange, ShapeRuntimeError
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..tape.tensor import Tensor
from ..typing import Array, Shape, V, Value
from .dtypes import cast, in_single, mixed_type, whole

__all__ = [
    "broadcast_to",
    "cat",
    "expand",
    "flatten",
    "permute",
    "reshape",
    "squeeze",
    "stack",
    "sum_to",
    "swapaxes",
    "t",
    "transpose",
    "unsqueeze",
]

ndarray = np.ndarray


def axis_of(dim: int, ndim: int) -> int:
    """A non-negative axis.

    Raises:
        IndexOutOfRange: the tensor has no such axis.
    """
    limit = max(ndim, 1)
    if not -limit <= dim < limit:
        raise IndexOutOfRange(
            f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})"
        )
    return dim + limit if dim < 0 else dim


ALL_AXES = [tuple(range(ndim)) for ndim in range(65)]
"""By the number of axes, of which NumPy allows 64; made once, because most sums are over all."""


def axes_of(dim: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Non-negative axes; all of them for None or an empty sequence."""
    if dim is None:
        return ALL_AXES[ndim]
    if isinstance(dim, int):
        axis = axis_of(dim, ndim)
        return (axis,) if ndim else ()  # of a number PyTorch takes dim 0 and -1, and reduces nothing
    axes = tuple(axis_of(d, ndim) for d in dim)
    if len(set(axes)) != len(axes):
        twice = next(d for d in axes if axes.count(d) > 1)
        raise ShapeRuntimeError(f"dim {twice} appears multiple times in the list of dims: {tuple(dim)}")
    return axes if axes and ndim else ALL_AXES[ndim]


def no_axis(dim: Any) -> bool:
    """Whether ``dim`` is an empty sequence, for functions in which that means no axis, and not all of them."""
    return isinstance(dim, (tuple, list)) and not dim


INTEGERS = frozenset({int})


def sizes_of(sizes: tuple[Any, ...]) -> Shape:
    """A shape given as ``f(2, 3)`` or ``f((2, 3))``."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    return sizes if INTEGERS.issuperset(map(type, sizes)) else tuple([whole(n) for n in sizes])


# broadcasting ----------------------------------------------------------------------------------------------------


@in_single
def _sum_to(a: Array, shape: Shape) -> Array:
    if shape and a.shape[-1:] == shape and type(a) is ndarray and a.size and (a.ndim == 2 or a.flags.c_contiguous):
        rows = a if a.ndim == 2 else a.reshape(-1, shape[0])  # as for the gradient of a bias
        ones = _ones(len(rows), a.dtype.char)
        if ones is not None:
            total: Array = ones.dot(rows)  # in half the time: 0.49 at (32, 128), 0.72 at (64, 1024)
            return total
    extra = a.ndim - len(shape)
    if extra > 0:  # new axes, which broadcasting put in front
        a = a.sum(axis=0 if extra == 1 else tuple(range(extra)))
    if 1 in shape and a.shape != shape:  # axes of size 1 that were repeated
        a = a.sum(axis=tuple([k for k, n in enumerate(shape) if n == 1]), keepdims=True)
    return a


_sum_to_primitive = primitive(
    "sum_to",
    _sum_to,
    lambda g, y, a, shape: broadcast_to(g, a.shape),
    formula=Formula(r"y_{i} = \sum_{k} a_{ik}", a=r"\bar{a}_{ik} = \bar{y}_{i}"),
    doc="Sum over broadcast axes.",
)


def sum_to(a: V, shape: Shape) -> V:
    """Sum over the axes along which ``shape`` was broadcast to ``a.shape``: the adjoint of ``broadcast_to``."""
    if a.shape == shape:
        return a
    if isinstance(a, Tensor):
        return _sum_to_primitive(a, shape=shape)  # type: ignore[return-value]  # V is Tensor here
    if a.shape[1:] == shape and len(a) == 1:
        return a[0]  # of one row, as in a loop without a batch, the sum is that row
    return _sum_to(a, shape)  # type: ignore[return-value, arg-type]  # V is Array here


@functools.lru_cache(maxsize=64)
def _ones(n: int, char: str) -> Array | None:
    """A vector of ones for sums over rows; None where there is no fast product."""
    return np.ones(n, char) if char in "fd" and n < 1 << 16 else None


_broadcast_to = primitive(
    "broadcast_to",
    lambda a, shape: np.broadcast_to(a, shape),
    lambda g, y, a, shape: sum_to(g, a.shape),
    formula=Formula("y_{ik} = a_{i}", a=r"\bar{a}_{i} = \sum_{k} \bar{y}_{ik}"),
    view=True,
)


def broadcast_to(a: V, shape: Shape) -> V:
    """``a`` repeated along new and size-1 axes, without copying."""
    return a if a.shape == shape else _broadcast_to(a, shape=tuple(shape))


def too_many_axes(sizes: int, ndim: int) -> str:
    """The error text for expanding a tensor to a shape of fewer axes."""
    return (
        f"the number of sizes provided ({sizes}) must be greater or equal to the number of dimensions in the tensor "
        f"({ndim})"
    )


def expand(a: Tensor, *sizes: Any) -> Tensor:
    """``a`` repeated along size-1 axes to the given sizes; -1 keeps an axis.

    >>> import tinygrad_rnn as tg
    >>> tg.tensor([[1.0], [2.0]]).expand(-1, 2)
    tensor([[1., 1.],
            [2., 2.]])
    """
    shape = sizes_of(sizes)
    new = len(shape) - a.ndim
    if new < 0:
        raise ShapeRuntimeError(too_many_axes(len(shape), a.ndim))
    if any(n < 0 for n in shape[:new]):
        raise ShapeRuntimeError(
            f"The expanded size of the tensor ({min(shape[:new])}) isn't allowed in a leading, non-existing dimension "
            f"{shape.index(min(shape[:new]))}"
        )
    full = tuple(a.shape[k - new] if n == -1 and k >= new else n for k, n in enumerate(shape))
    for k, n in enumerate(a.shape):
        if n not in (1, full[k + new]):
            raise ShapeRuntimeError(
                f"The expanded size of the tensor ({full[k + new]}) must match the existing size ({n}) at "
                f"non-singleton dimension {k + new}.  Target sizes: {list(shape)}.  Tensor sizes: {list(a.shape)}"
            )
    out: Tensor = _broadcast_to(a, shape=full)  # a view also where nothing is repeated
    return out


# reshape, axes -----------------------------------------------------------------------------------------------------

_reshape = primitive(
    "reshape",
    lambda a, shape: a.reshape(shape),
    lambda g, y, a, shape: g.reshape(a.shape),
    formula=Formula("y_{j} = a_{j}", a=r"\bar{a}_{j} = \bar{y}_{j}"),
    view=True,
    reshapes_only=True,
)


def reshape(a: V, *shape: Any) -> V:
    """The same entries, in the same order, in another shape; one size may be -1.

    Raises:
        ShapeRuntimeError: the number of entries differs.
    """
    target = sizes_of(shape)
    if target and min(target) < -1:  # NumPy takes any negative size for -1
        wrong = min(target)
        raise ShapeRuntimeError(
            f"invalid shape dimension {wrong} at index {target.index(wrong)} of shape {list(target)}: reshape of a "
            f"tensor of shape {list(a.shape)}"
        )
    try:
        return _reshape(a, shape=target)
    except ValueError as error:
        size = math.prod(a.shape)
        if target.count(-1) > 1:
            sentence = "only one dimension can be inferred"
        elif -1 in target and size == 0 and 0 in target:
            sentence = (
                f"cannot reshape tensor of 0 elements into shape {list(target)} because the unspecified dimension "
                "size -1 can be any value and is ambiguous"
            )
        else:
            sentence = f"shape '{list(target)}' is invalid for input of size {size}"
        raise ShapeRuntimeError(f"{sentence}: reshape of a tensor of shape {list(a.shape)}") from error


_transpose = primitive(
    "transpose",
    lambda a, axis1, axis2: a.swapaxes(axis1, axis2),
    lambda g, y, a, axis1, axis2: g.swapaxes(axis1, axis2),
    formula=Formula("y_{ij} = a_{ji}", a=r"\bar{a}_{ji} = \bar{y}_{ij}"),
    view=True,
)


def swapaxes(a: V, axis1: int, axis2: int) -> V:
    """``a`` with two axes exchanged, as a view."""
    if not isinstance(a, Tensor):  # in vjps, which call it on raw arrays
        return a.swapaxes(axis1, axis2)
    ndim = a._data.ndim
    axis1, axis2 = axis_of(axis1, ndim), axis_of(axis2, ndim)
    if ndim == 0:
        return _permute(a, dims=())  # type: ignore[return-value]  # V is Tensor here
    return _transpose(a, axis1=axis1, axis2=axis2)  # type: ignore[return-value]  # and here


def t(a: V) -> V:
    """The transpose of a matrix; a vector or a number is itself.

    Raises:
        ShapeRuntimeError: there are more than two axes.
    """
    if a.ndim > 2:
        raise ShapeRuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {a.ndim}D. Use .mT")
    return reverse_axes(a)


def transpose(a: V, dim0: int, dim1: int) -> V:
    """``a`` with axes ``dim0`` and ``dim1`` exchanged, as a view."""
    return swapaxes(a, dim0, dim1)


def _permute_vjp(g: Value, y: Any, a: Any, dims: tuple[int, ...]) -> Value:
    return _permute(g, dims=tuple(sorted(range(len(dims)), key=dims.__getitem__)))  # the inverse of the permutation


_permute = primitive(
    "permute",
    lambda a, dims: a.transpose(dims),
    _permute_vjp,
    formula=Formula(r"y_{\pi(i)} = a_{i}", a=r"\bar{a}_{i} = \bar{y}_{\pi(i)}"),
    view=True,
)


def permute(a: V, *dims: Any) -> V:
    """``a`` with axis ``k`` of the result taken from axis ``dims[k]``, as a view."""
    given = sizes_of(dims)
    order = tuple([axis_of(d, a.ndim) for d in given]) if a.ndim else ()
    if len(set(order)) != len(order):
        raise ShapeRuntimeError(f"permute(): duplicate dims are not allowed. Got {list(given)}")
    if len(order) != a.ndim:
        raise ShapeRuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {a.ndim} is not equal to len(dims) = {len(order)}"
        )
    return _permute(a, dims=order)


def reverse_axes(a: V) -> V:
    """The axes in reverse order, as a view: for a matrix, its transpose."""
    # .T of a weight, in each step of a loop
    return _permute(a, dims=(1, 0) if a.ndim == 2 else tuple(range(a.ndim))[::-1])


def squeeze(a: V, dim: int | Sequence[int] | None = None) -> V:
    """``a`` without its size-1 axes, or without those of ``dim`` that have size 1 (none for an empty sequence)."""
    shape = a.shape
    drop = () if no_axis(dim) else axes_of(dim, len(shape))
    return _reshape(a, shape=tuple([n for k, n in enumerate(shape) if not (n == 1 and k in drop)]))


def unsqueeze(a: V, dim: int) -> V:
    """``a`` with a new axis of size 1 at place ``dim``."""
    shape = a.shape
    place = axis_of(dim, len(shape) + 1)
    return _reshape(a, shape=(*shape[:place], 1, *shape[place:]))


def flatten(a: V, start_dim: int = 0, end_dim: int = -1) -> V:
    """``a`` with the axes ``start_dim`` to ``end_dim`` merged into one."""
    first, last = axis_of(start_dim, a.ndim), axis_of(end_dim, a.ndim)
    if a.ndim == 0:
        return reshape(a, (1,))
    if first > last:
        raise ShapeRuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    size = 1
    for n in a.shape[first : last + 1]:
        size *= n
    return reshape(a, (*a.shape[:first], size, *a.shape[last + 1 :]))


# joining -----------------------------------------------------------------------------------------------------------


def _cat_vjp(g: Value, y: Any, *parts: Any, needs: tuple[bool, ...], dim: int, sizes: Shape) -> list[Value | None]:
    contributions: list[Value | None] = []
    before = (slice(None),) * dim
    start = 0
    for size, need in zip(sizes, needs, strict=True):
        contributions.append(g[(*before, slice(start, start + size))] if need else None)
        start += size
    return contributions


def _stack_vjp(g: Value, y: Any, *parts: Any, needs: tuple[bool, ...], dim: int) -> list[Value | None]:
    before = (slice(None),) * dim
    return [g[(*before, k)] if need else None for k, need in enumerate(needs)]


def _stacked(*parts: Array, dim: int) -> Array:
    if dim == 0 and parts[0].ndim:  # in a third of the time
        return _joined(*parts, dim=0).reshape(len(parts), *parts[0].shape)
    return np.stack(parts, dim)


def _joined(*parts: Array, dim: int, sizes: Shape = ()) -> Array:
    if type(parts[0]) is ndarray:
        return np.concatenate(parts, dim)
    return joined(array_module(parts[0]), parts, dim)


_cat = primitive(
    "cat",
    _joined,
    vjp_all=_cat_vjp,
    formula=Formula("y_{i,j+o_{m}} = p_{mij}", parts=r"\bar{p}_{mij} = \bar{y}_{i,j+o_{m}}"),
)
_stack = primitive(
    "stack", _stacked, vjp_all=_stack_vjp, formula=Formula("y_{im} = p_{mi}", parts=r"\bar{p}_{mi} = \bar{y}_{im}")
)


def cat(tensors: Sequence[V], dim: int = 0) -> V:
    """The tensors one after the other along an existing axis.

    Raises:
        ShapeRuntimeError: there are none, or their other axes differ.

    >>> import tinygrad_rnn as tg
    >>> tg.cat([tg.tensor([1.0]), tg.tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    parts = _same_type("cat", tensors)
    shapes = _shapes(parts)
    # NumPy's integers and 0-d tensors are converted
    dim = axis_of(dim if type(dim) is int else whole(dim), len(shapes[0]))
    if () in shapes or (0,) in shapes or len({s[:dim] + (0,) + s[dim + 1 :] for s in shapes}) > 1:
        parts = _joinable(parts, dim)
        shapes = _shapes(parts)
    return _cat(*parts, dim=dim, sizes=tuple([s[dim] for s in shapes]))


def _joinable(parts: list[V], dim: int) -> list[V]:
    """The parts that count, checked to fit together."""
    for position, part in enumerate(parts):
        if part.ndim == 0:
            raise ShapeRuntimeError(
                f"zero-dimensional tensor (at position {position}) cannot be concatenated: use stack()"
            )
    whole = [part for part in parts if part.shape != (0,)] or parts[:1]  # torch skips such empty tensors
    if len(whole) < len(parts) and whole[0].ndim > dim:  # kept at size 0, so that they get their empty gradient
        empty = (*whole[0].shape[:dim], 0, *whole[0].shape[dim + 1 :])
        parts = [reshape(part, empty) if part.shape == (0,) else part for part in parts]
    for position, part in enumerate(parts):
        if part.ndim != parts[0].ndim:
            raise ShapeRuntimeError(
                f"Tensors must have same number of dimensions: got {parts[0].ndim} and {part.ndim} (tensor {position})"
            )
        for axis, (expected, got) in enumerate(zip(parts[0].shape, part.shape, strict=True)):
            if axis != dim and expected != got:
                raise ShapeRuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {expected} but got size "
                    f"{got} for tensor number {position} in the list."
                )
    return parts


def stack(tensors: Sequence[V], dim: int = 0) -> V:
    """The tensors side by side along a new axis.

    Raises:
        ShapeRuntimeError: there are none, or their shapes differ.
    """
    parts = _same_type("stack", tensors)
    shapes = _shapes(parts)
    first = shapes[0]
    for position, shape in enumerate(shapes):
        if shape != first:
            raise ShapeRuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and "
                f"{list(shape)} at entry {position}"
            )
    return _stack(*parts, dim=axis_of(dim if type(dim) is int else whole(dim), len(first) + 1))


def _shapes(parts: Sequence[Value]) -> list[Shape]:
    return [part._data.shape if isinstance(part, Tensor) else part.shape for part in parts]


def _same_type(name: str, tensors: Sequence[V] | Tensor) -> list[V]:
    if isinstance(tensors, Tensor):  # iterable, but PyTorch refuses it
        raise ArgumentTypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type(tensors).__name__}. A "
            "tensor is not joined along its first axis: flatten it"
        )
    parts = list(tensors)
    if not parts:
        if name == "cat":
            raise ArgumentError("torch.cat(): expected a non-empty list of Tensors")
        raise ShapeRuntimeError(f"{name} expects a non-empty TensorList")
    dtypes = {part._data.dtype if isinstance(part, Tensor) else None for part in parts}
    if len(dtypes) == 1 and None not in dtypes:
        return parts
    for position, part in enumerate(parts):
        if not hasattr(part, "dtype"):
            raise ArgumentTypeError(
                f"expected Tensor as element {position} in argument 0, but got {type(part).__name__}: {name}()"
            )
    first = parts[0].dtype
    if any(part.dtype != first for part in parts):
        dtype = mixed_type(*parts)
        parts = [part if part.dtype == dtype else cast(part, dtype=dtype) for part in parts]
    return parts

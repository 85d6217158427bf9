"""Rearrangement: entries moved, repeated or seen through windows, and tensors joined side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import array_module
from ..errors import ShapeRuntimeError, UnsupportedDtype
from ..tape.apply import Applied, primitive
from ..tape.formula import Formula
from ..tape.tensor import Tensor
from ..typing import Array, Shape, Size, V, Value
from .elementwise import clone
from .index import getitem
from .nondifferentiable import constant, raw
from .reduce import sum_over
from .shape import axes_of, axis_of, broadcast_to, cat, flatten, permute, reshape, sizes_of, swapaxes

__all__ = ["broadcast_shapes", "broadcast_tensors", "column_stack", "concat", "concatenate", "dstack", "flip"]
__all__ += ["fliplr", "flipud", "hstack", "meshgrid", "moveaxis", "movedim", "ravel", "repeat", "repeat_interleave"]
__all__ += ["roll", "rot90", "row_stack", "swapdims", "tile", "unflatten", "unfold", "vstack"]

concat = concatenate = cat
swapdims = swapaxes

_roll: Applied = primitive(
    "roll",
    lambda a, shifts, dims: np.roll(a, shifts, dims),
    lambda g, y, a, shifts, dims: _roll(g, shifts=tuple([-n for n in shifts]), dims=dims),
    formula=Formula(r"y_{ik} = a_{i,(k-s) \bmod n}", a=r"\bar{a}_{ik} = \bar{y}_{i,(k+s) \bmod n}"),
)
_flip: Applied = primitive(
    "flip",
    lambda a, dims: np.flip(a, dims).copy(),  # PyTorch's flip is no view, and has no negative strides
    lambda g, y, a, dims: _flip(g, dims=dims),
    formula=Formula("y_{ik} = a_{i,n-1-k}", a=r"\bar{a}_{ik} = \bar{y}_{i,n-1-k}"),
)


def roll(a: V, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> V:
    """Entries moved along axes; those that fall off one end come in at the other.

    >>> import tinygrad_rnn as tg
    >>> tg.roll(tg.arange(4), 1)
    tensor([3, 0, 1, 2])
    """
    by = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if dims is None:
        # without dims, shifts add up along all entries
        return reshape(_roll(reshape(a, (-1,)), shifts=(sum(by),), dims=(0,)), tuple(a.shape))
    along = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(by) != len(along):
        raise ShapeRuntimeError(f"shifts and dimensions must align. shifts: {len(by)}, dims:{len(along)}")
    return _roll(a, shifts=by, dims=tuple(axis_of(d, a.ndim) for d in along))


def flip(a: V, *dims: Any) -> V:
    """Entries in reverse order along the given axes, as a copy."""
    axes = sizes_of(dims)
    return _flip(a, dims=axes_of(axes, a.ndim) if axes else ())  # to axes_of no axes would mean all


def fliplr(a: V) -> V:
    """Columns in reverse order."""
    if a.ndim < 2:
        raise ShapeRuntimeError(f"fliplr(): Input must be >= 2-d. This one has the shape {list(a.shape)}")
    return flip(a, 1)


def flipud(a: V) -> V:
    """Rows in reverse order."""
    return flip(a, 0)


def rot90(a: Value, k: int = 1, dims: Sequence[int] = (0, 1)) -> Value:
    """Turned by k quarter turns, from the first axis of ``dims`` towards the second."""
    if len(dims) != 2:
        raise ShapeRuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if a.ndim < 2:
        raise ShapeRuntimeError(f"expected total dims >= 2, but got total dims = {a.ndim}")
    first, second = axis_of(dims[0], a.ndim), axis_of(dims[1], a.ndim)
    if first == second:
        raise ShapeRuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    if k % 4 == 2:
        return flip(a, first, second)
    if k % 4 == 0:
        return clone(a)
    # negative k counts the other way: k % 4 is 1 to 3 here
    return swapaxes(flip(a, second), first, second) if k % 4 == 1 else flip(swapaxes(a, first, second), second)


def movedim(a: V, source: int | Sequence[int], destination: int | Sequence[int]) -> V:
    """The axes ``source`` at the places ``destination``, the others in their order, as a view."""
    moved = (source,) if isinstance(source, int) else tuple(source)
    places = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(moved) != len(places):
        raise ShapeRuntimeError(
            "movedim: Invalid source or destination dims: source "
            f"({list(moved)} dims) should contain the same number of dims as destination ({list(places)} dims)"
        )
    moved, places = axes_of(moved, a.ndim), axes_of(places, a.ndim)
    rest = iter([axis for axis in range(a.ndim) if axis not in moved])
    return permute(a, [moved[places.index(k)] if k in places else next(rest) for k in range(a.ndim)])


moveaxis = movedim


def ravel(a: V) -> V:
    """All entries in one axis."""
    return flatten(a)


def unflatten(a: V, dim: int, sizes: Sequence[int]) -> V:
    """One axis split into several, of the given sizes (one may be -1)."""
    dim = axis_of(dim, a.ndim)
    known = -math.prod(sizes)  # with one -1 among them the product is negative
    sizes = [a.shape[dim] // known if n == -1 and known else n for n in sizes]  # known = 0: the check below refuses it
    if math.prod(sizes) != a.shape[dim]:
        raise ShapeRuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} ({a.shape[dim]}) in "
            "the input tensor"
        )
    return reshape(a, (*a.shape[:dim], *sizes, *a.shape[dim + 1 :]))


# repetition --------------------------------------------------------------------------------------------------------


def _repeat_vjp(g: Value, y: Any, a: Any, repeats: Shape) -> Value:
    """The sum over the copies: each axis is split into (copies, size), and the copies are summed."""
    shape = (1,) * (len(repeats) - len(a.shape)) + tuple(a.shape)  # new axes come first, with size 1
    pairs = [n for pair in zip(repeats, shape, strict=True) for n in pair]
    return reshape(sum_over(reshape(g, pairs), tuple(range(0, len(pairs), 2))), tuple(a.shape)) if pairs else g


_repeat = primitive(
    "repeat",
    lambda a, repeats: np.tile(a, repeats),
    _repeat_vjp,
    formula=Formula(r"y_{i} = a_{i \bmod n}", a=r"\bar{a}_{j} = \sum_{i} \bar{y}_{i} [i \bmod n = j]"),
)


def repeat(a: V, *repeats: Any) -> V:
    """Copies of the whole tensor side by side: ``repeats[k]`` of them along axis k; new axes come first.

    >>> import tinygrad_rnn as tg
    >>> tg.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    counts = sizes_of(repeats)
    if len(counts) < a.ndim:
        raise ShapeRuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: "
            f"{len(counts)} < {a.ndim}"
        )
    if any(n < 0 for n in counts):
        raise ShapeRuntimeError(f"Trying to create tensor with negative dimension: repeat{counts}")
    return _repeat(a, repeats=counts)


def tile(a: V, *dims: Any) -> V:
    """As ``repeat``; where fewer numbers than axes are given, they are for the last axes."""
    counts = sizes_of(dims)
    return repeat(a, (1,) * (a.ndim - len(counts)) + counts)


def repeat_interleave(a: V, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None) -> V:
    """Each slice along ``dim`` repeated, ``repeats`` times or each its own number of times.

    Without ``dim`` of the flattened tensor.  ``repeat_interleave(counts)`` alone gives each number k ``counts[k]``
    times.
    """
    if repeats is None:
        # PyTorch's form of one argument: a are the counts
        return constant(array_module(raw(a)).repeat(np.arange(a.shape[0]), raw(a)), a)
    if dim is None:
        a, dim = flatten(a), 0
    dim = axis_of(dim, a.ndim)
    counts = repeats._data if isinstance(repeats, Tensor) else np.asarray(repeats)
    if counts.dtype.kind not in "iu":
        raise UnsupportedDtype(f"repeat_interleave(): repeats has to be Long or Int tensor, got {counts.dtype.name}")
    size = a.shape[dim] if a.ndim else 1
    if counts.size != 1 and counts.shape != (size,):
        raise ShapeRuntimeError(
            f"repeats must have the same size as input along dim, but got repeats.size(0) = {counts.size} and "
            f"input.size({dim}) = {size}"
        )
    if (counts < 0).any():
        raise ShapeRuntimeError("repeats can not be negative")
    xp = array_module(raw(a))
    # a list: CuPy takes no array of counts
    rows = xp.repeat(xp.arange(size), counts.reshape(-1).tolist() if counts.size != 1 else int(counts.reshape(())))
    return getitem(a if a.ndim else reshape(a, (1,)), (*(slice(None),) * dim, rows))


# windows -----------------------------------------------------------------------------------------------------------


def _windows(a: Array, dim: int, size: int, step: int) -> Array:
    view: Any = np.lib.stride_tricks.sliding_window_view if isinstance(a, np.ndarray) else None
    if view is None:
        view = array_module(a).lib.stride_tricks.sliding_window_view
    # so that a write to a window reaches the tensor
    seen = view(a, size, dim, writeable=True) if isinstance(a, np.ndarray) and a.flags.writeable else view(a, size, dim)
    chosen: Array = seen[(slice(None),) * dim + (slice(None, None, step),)]
    return chosen


def _laid_back(g: Array, shape: Shape, dim: int, size: int, step: int) -> Array:
    total: Array = array_module(g).zeros(shape, g.dtype)  # entries between windows get 0
    seen = np.moveaxis(total, dim, -1)
    pieces = np.moveaxis(g, dim, -2)  # (..., windows, size)
    windows = pieces.shape[-2]
    for k in range(size):  # by the place in the window: windows overlap, one place of each does not
        seen[..., k : k + step * windows : step] += pieces[..., k]
    return total


_unfold: Applied = primitive(
    "unfold",
    _windows,
    lambda g, y, a, dim, size, step: _fold(g, shape=tuple(a.shape), dim=dim, size=size, step=step),
    formula=Formula("y_{imk} = a_{i,sm+k}", a=r"\bar{a}_{ij} = \sum_{m} \sum_{k} \bar{y}_{imk} [j = s m + k]"),
    view=True,
)
_fold: Applied = primitive(
    "fold",
    _laid_back,
    lambda g, y, a, shape, dim, size, step: _unfold(g, dim=dim, size=size, step=step),
    formula=Formula(r"y_{ij} = \sum_{m} \sum_{k} a_{imk} [j = s m + k]", a=r"\bar{a}_{imk} = \bar{y}_{i,sm+k}"),
    doc="Windows added back into their places: the adjoint of ``unfold``.",
)


def unfold(a: V, dimension: int, size: int, step: int) -> V:
    """Windows of ``size`` entries, ``step`` apart, along an axis; the entries of a window are a new last axis.

    >>> import tinygrad_rnn as tg
    >>> tg.arange(5).unfold(0, 3, 2)
    tensor([[0, 1, 2],
            [2, 3, 4]])
    """
    dim = axis_of(dimension, a.ndim)
    if a.ndim == 0:
        return unfold(reshape(a, (1,)), dimension, size, step)[0]
    if size > a.shape[dim]:
        raise ShapeRuntimeError(f"maximum size for tensor at dimension {dim} is {a.shape[dim]} but size is {size}")
    if step <= 0:
        raise ShapeRuntimeError(f"step is {step} but must be > 0")
    return _unfold(a, dim=dim, size=size, step=step)


# side by side ------------------------------------------------------------------------------------------------------


def _raised(tensors: Sequence[V], ndim: int) -> list[V]:
    """Each tensor with at least ``ndim`` axes: (n,) as (1, n), (m, n) as (m, n, 1)."""
    raised = []
    for a in tensors:
        a = reshape(a, (1,)) if a.ndim == 0 else a
        a = reshape(a, (1, *a.shape)) if a.ndim == 1 and ndim > 1 else a
        raised.append(reshape(a, (*a.shape, 1)) if a.ndim == 2 and ndim > 2 else a)
    return raised


def hstack(tensors: Sequence[V]) -> V:
    """Vectors one after the other; else columns side by side."""
    parts = _raised(tensors, 1)
    return cat(parts, 0 if parts and parts[0].ndim == 1 else 1)  # vectors have no second axis


def vstack(tensors: Sequence[V]) -> V:
    """Rows below each other; a vector counts as a row."""
    return cat(_raised(tensors, 2), 0)


row_stack = vstack


def dstack(tensors: Sequence[V]) -> V:
    """Along the third axis."""
    return cat(_raised(tensors, 3), 2)


def column_stack(tensors: Sequence[V]) -> V:
    """Columns side by side; a vector is a column."""
    return cat([reshape(a, (-1, 1)) if a.ndim < 2 else a for a in tensors], 1)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape to which these shapes broadcast.

    Raises:
        ShapeRuntimeError: they do not.
    """
    try:
        return Size(np.broadcast_shapes(*[(s,) if isinstance(s, int) else tuple(s) for s in shapes]))
    except ValueError as error:
        raise ShapeRuntimeError(
            f"Shape mismatch: objects cannot be broadcast to a single shape: {[tuple(s) for s in shapes]}"
        ) from error


def broadcast_tensors(*tensors: V) -> tuple[V, ...]:
    """All of them expanded to one shape."""
    shape = tuple(broadcast_shapes(*[a.shape for a in tensors]))
    return tuple([broadcast_to(a, shape) for a in tensors])


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Value, ...]:
    """The coordinates of a grid: tensor k varies along axis k alone (``"xy"``: the first two axes exchanged)."""
    parts = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else list(tensors)
    if indexing not in ("ij", "xy"):
        raise ShapeRuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for a in parts:
        if a.ndim > 1:
            raise ShapeRuntimeError(
                f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: shape {list(a.shape)}"
            )
    shape = tuple([a.shape[0] if a.ndim else 1 for a in parts])
    grid = []
    for k, a in enumerate(parts):
        grid.append(broadcast_to(reshape(a, (1,) * k + (-1,) + (1,) * (len(parts) - k - 1)), shape))
    return tuple([swapaxes(a, 0, 1) for a in grid] if indexing == "xy" and len(parts) > 1 else grid)

"""Indexing: ``x[i]`` in all NumPy forms, selection by number or mask, embedding look-up, and their adjoints.

The adjoint of reading entries is adding to them: an entry that was read twice gets the sum of both cotangents.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import array_module, as_dtype, is_array, tensor_type
from ..errors import ArgumentTypeError, DtypeError, IndexOutOfRange, IndexRuntimeError, ShapeRuntimeError
from ..kernels.scatter_add import add_at
from ..source_line import warn_user
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..tape.forward_errors import fail
from ..tape.inplace.views import shown
from ..tape.partial_gradient import Part
from ..tape.primitive import REGISTRY
from ..tape.tensor import Tensor
from ..typing import Array, DType, Shape, V, Value
from .nondifferentiable import plain, raw
from .shape import axis_of, broadcast_to, reshape

__all__ = ["argwhere", "embedding", "gather", "getitem", "index_select", "masked_select", "nonzero", "take"]
__all__ += ["take_along_dim"]


class IndexPart(Part):
    """The cotangent of ``x[index]``: it touches only the entries of x that were read."""

    __slots__ = ("dtype", "g", "index", "shape")

    def __init__(self, g: Array, index: Any, shape: Shape, dtype: DType) -> None:
        self.g, self.index, self.shape, self.dtype = g, index, shape, dtype

    def start(self) -> Array:
        total: Array = _place(self.g, index=self.index, shape=self.shape)
        return total

    def add_to(self, total: Array) -> None:
        _add(total, self.index, self.g)

    @staticmethod
    def together(parts: list[Any]) -> Any:
        """The sum of the partial gradients of one value, by one recorded operation."""
        if len(parts) == 1:  # one part needs no place_all: its record is place's
            return parts[0].start()
        return _place_all(*[p.g for p in parts], indices=tuple([p.index for p in parts]), shape=parts[0].shape)


def _add(total: Array, index: Any, g: Array) -> None:
    if getattr(index, "dtype", None) == np.bool_:
        total[index] += g  # a mask names no entry twice, so += counts them all
    else:
        add_at(total, index, g)


def _zeros_with(g: Array, index: Any, shape: Shape) -> Array:
    total: Array = array_module(g).zeros(shape, g.dtype)
    _add(total, index, g)
    return total


_place = primitive(
    "place",
    _zeros_with,
    lambda g, y, a, index, shape: g[index],
    formula=Formula(r"y_{j} = \sum_{i} a_{i} [\iota(i) = j]", a=r"\bar{a}_{i} = \bar{y}_{\iota(i)}"),
    doc="Zeros of ``shape`` with ``a`` added at ``index``: the adjoint of reading there.",
)


def _zeros_with_all(*gs: Array, indices: tuple[Any, ...], shape: Shape) -> Array:
    total: Array = array_module(gs[0]).zeros(shape, gs[0].dtype)
    for g, index in zip(gs, indices, strict=True):
        _add(total, index, g)
    return total


def _place_all_vjps(
    g: Value, y: Any, *parts: Any, needs: tuple[bool, ...], indices: tuple[Any, ...], shape: Shape
) -> list[Value | None]:
    return [g[index] if need else None for index, need in zip(indices, needs, strict=True)]


_place_all = primitive(
    "place_all",
    _zeros_with_all,
    vjp_all=_place_all_vjps,
    formula=Formula(
        r"y_{j} = \sum_{m} \sum_{i} p_{mi} [\iota(m, i) = j]", parts=r"\bar{p}_{mi} = \bar{y}_{\iota(m, i)}"
    ),
    doc="Zeros of ``shape`` with each part added at its index.",
)


def read_vjp(g: Any, y: Any, a: Any, index: Any) -> IndexPart:
    """The vjp of ``a[index]``: a partial gradient, which touches only the entries that were read."""
    return IndexPart(g, index, tuple(a.shape), a.dtype)


primitive(
    "getitem",
    lambda a, index: a[index],
    read_vjp,
    formula=Formula(r"y_{i} = a_{\iota(i)}", a=r"\bar{a}_{j} = \sum_{i} \bar{y}_{i} [\iota(i) = j]"),
    view=True,
)
GETITEM = REGISTRY["getitem"]


BYTES = (
    "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead. It is read as a mask: "
    "index.bool() says so, and index.long() makes it numbers."
)


def raw_index(index: Any, xp: Any = None) -> Any:
    """An index with copies in place of tensors, arrays and lists, as arrays of the module ``xp`` if it is given.

    Copies, because the backward pass reads them again, and by then the user may have written to the originals.

    Raises:
        IndexOutOfRange: a tensor of floats.
    """
    if isinstance(index, tuple):
        return tuple([raw_index(i, xp) for i in index])
    if isinstance(index, Tensor):
        index = index._data
        if index.dtype.kind not in "iub":
            raise IndexOutOfRange(
                f"tensors used as indices must be long, int, byte or bool tensors, and this one is {index.dtype}. "
                "Convert it: index.long()"
            )
        if index.dtype == np.uint8:
            warn_user(BYTES)
            index = index.astype(np.bool_)
        if not index.ndim:  # a number gives a view, an index array a copy
            return index.item() if xp in (None, np) else index.copy()  # a GPU is not waited for
    if is_array(index) and np.ndim(index):
        return (xp or array_module(index)).array(index)
    if isinstance(index, list):
        items = [i._data if isinstance(i, Tensor) else i for i in index]
        return (xp or np).array(items, None if items else np.int64)  # to NumPy the empty list holds floats
    return index


def numbers_first(index: tuple[Any, ...]) -> tuple[Any, Any] | None:
    """``(numbers, rest)`` with ``x[numbers][rest]`` for ``x[index]``, where NumPy would arrange the result otherwise.

    NumPy counts a number beside an index array among the arrays, and where they stand apart the result begins with
    their axes.  None where one step suffices.

    >>> numbers_first((0, slice(1, 3), np.array([2, 1])))
    ((0, slice(None, None, None), slice(None, None, None)), (slice(1, 3, None), array([2, 1])))
    >>> numbers_first((0, np.array([2, 1])))
    """
    number = [isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in index]
    array = [is_array(i) for i in index]
    if not any(number) or not any(array) or any(isinstance(i, (bool, np.bool_)) for i in index):
        return None
    apart = [k for k in range(len(index)) if number[k] or array[k]]
    if apart[-1] - apart[0] == len(apart) - 1:  # side by side: NumPy and PyTorch agree on where the axes go
        return None
    numbers: list[Any] = []
    for i, is_number in zip(index, number, strict=True):
        if is_number or i is Ellipsis:
            numbers.append(i)
        elif i is not None:
            # a mask stands for all of its axes
            numbers += [slice(None)] * (i.ndim if is_array(i) and i.dtype.kind == "b" else 1)
    return tuple(numbers), tuple(i for i, is_number in zip(index, number, strict=True) if not is_number)


PLAIN = frozenset({int, slice, type(None), type(Ellipsis)})
"""The types of index that are used as they are."""


def getitem(a: V, index: Any) -> V:
    """``a[index]`` with integers, slices, None, Ellipsis, masks and index arrays.

    As in NumPy, except that numbers are taken first, as in PyTorch: ``x[0, :, [2, 1]]`` is ``x[0][:, [2, 1]]``.

    Raises:
        IndexOutOfRange: an index outside its axis, or more indices than axes.
    """
    kind = type(index)
    if kind not in PLAIN and not (kind is tuple and PLAIN.issuperset(map(type, index))):
        index = raw_index(index, array_module(a._data if isinstance(a, Tensor) else a))
        if type(index) is tuple and (steps := numbers_first(index)):
            return getitem(getitem(a, steps[0]), steps[1])
    try:
        if isinstance(a, Tensor):
            return shown(GETITEM, a, a._data[index], {"index": index})  # type: ignore[return-value]  # V is Tensor here
        return a[index]
    except (IndexError, OverflowError) as error:
        raise _index_error(a, index, error) from error


def _index_error(a: Value, index: Any, error: IndexError | OverflowError) -> Exception:
    shape = tuple(a.shape)
    if isinstance(index, int):
        if not shape:
            return IndexOutOfRange("invalid index of a 0-dim tensor. Use `tensor.item()` to get its value")
        return IndexOutOfRange(f"index {index} is out of bounds for dimension 0 with size {shape[0]}")
    # None and ... use no axis
    if isinstance(index, tuple) and len([i for i in index if i is not None and i is not Ellipsis]) > len(shape):
        return IndexOutOfRange(f"too many indices for tensor of dimension {len(shape)}: {error}")
    said = _mask_error(shape, index) or str(error).replace(" axis ", " dimension ")
    return IndexOutOfRange(f"{said} (indexing a tensor of shape {list(shape)})")


def _mask_error(shape: Shape, index: Any) -> str | None:
    """PyTorch's sentence for a mask that does not fit the axes that it stands for."""
    axis = 0
    for item in index if isinstance(index, tuple) else (index,):
        if getattr(item, "dtype", None) == np.bool_:
            for k, n in enumerate(item.shape):
                if axis + k < len(shape) and n != shape[axis + k]:
                    return (
                        f"The shape of the mask {list(item.shape)} at index {k} does not match the shape of the "
                        f"indexed tensor {list(shape)} at index {axis + k}"
                    )
            axis += item.ndim
        elif item is not None:
            axis += 1
    return None


# along one axis ----------------------------------------------------------------------------------------------------


def whole_numbers(index: Value, op: str) -> Array:
    """The array of an index, copied.

    Raises:
        DtypeError: it is not of integers.
    """
    # an empty list is one of floats to NumPy
    raw: Any = index._data if isinstance(index, Tensor) else index if is_array(index) else np.array(index, np.int64)
    if raw.dtype.kind not in "iu":
        raise DtypeError(f"{op}(): Expected dtype int64 for index, but got {raw.dtype}. Convert it: index.long()")
    copy: Array = raw.copy()
    return copy


def grid(index: Array) -> list[Array]:
    """The coordinates of every entry of ``index``, an array per axis that broadcasts to its shape."""
    xp, ndim = array_module(index), index.ndim
    return [xp.arange(n).reshape((n,) + (1,) * (ndim - k - 1)) for k, n in enumerate(index.shape)]


def places(index: Array, dim: int) -> tuple[Array, ...]:
    """For an index array along ``dim``, the coordinates of every place that it names, one array per axis."""
    around = grid(index)
    return (*around[:dim], index, *around[dim + 1 :])


def picks(index: Array, dim: int) -> tuple[Array, ...]:
    """The same, for an index array without the axis ``dim``: one entry along it for each place of the others."""
    around = grid(index)
    return (*around[:dim], index, *around[dim:])


_gather = primitive(
    "gather",
    lambda a, index: a[index],
    read_vjp,
    formula=Formula(r"y_{i} = a_{\iota(i)}", a=r"\bar{a}_{j} = \sum_{i} \bar{y}_{i} [\iota(i) = j]"),
)


def pick(a: V, dim: int, index: Array) -> V:
    """One entry along ``dim`` for each place of the other axes; ``index`` is neither checked nor copied."""
    return _gather(a, index=picks(index, dim))


def gather(a: V, dim: int, index: Value) -> V:
    """``out[i][j] = a[i][index[i][j]]`` for ``dim=1``: entries of ``a`` picked along an axis.

    Shapes:
        ``index`` has as many axes as ``a`` and is nowhere longer, except along ``dim``; the result has its shape.

    Raises:
        IndexOutOfRange: an index outside the axis.
        ShapeRuntimeError: the numbers of axes differ, or ``index`` is longer than ``a`` along another axis.
    """
    dim = axis_of(dim, a.ndim)
    raw = whole_numbers(index, "gather")
    if a.ndim == 0 and raw.size == 1:  # PyTorch lets a number stand for a vector of one entry
        check_range(raw, 1, "gather", dim)
        return reshape(getitem(reshape(a, (1,)), raw.reshape(-1)), raw.shape)
    if raw.ndim != a.ndim:
        raise ShapeRuntimeError(
            f"Index tensor must have the same number of dimensions as input tensor: {raw.ndim} and {a.ndim}"
        )
    for k, (n, limit) in enumerate(zip(raw.shape, a.shape, strict=True)):
        if k != dim and n > limit:
            raise ShapeRuntimeError(
                f"Size does not match at dimension {k} expected index {list(raw.shape)} to be no larger than self "
                f"{list(a.shape)} apart from dimension {dim}"
            )
    check_range(raw, a.shape[dim], "gather", dim)
    return _gather(a, index=places(raw, dim))


def check_range(index: Array, size: int, op: str, dim: int, error: Any = IndexRuntimeError) -> None:
    """Refuse an index outside its axis (not checked on a GPU, which would have to wait for the answer)."""
    if isinstance(index, np.ndarray) and index.size and (index.min() < 0 or index.max() >= size):
        wrong = index[(index < 0) | (index >= size)].reshape(-1)[0]
        raise error(f"index {wrong} is out of bounds for dimension {dim} with size {size}: {op}()")


def index_select(a: V, dim: int, index: Value) -> V:
    """The slices of ``a`` along ``dim`` that a 1-D ``index`` names, in its order, repetitions included."""
    dim = axis_of(dim, a.ndim)
    raw = whole_numbers(index, "index_select")
    if raw.ndim > 1:
        raise IndexOutOfRange(f"index_select(): Index is supposed to be a vector, but got dim: {raw.ndim}")
    size = a.shape[dim] if a.ndim else 1
    # negative numbers, too: PyTorch does not count them from the end
    if isinstance(raw, np.ndarray) and raw.size and (raw.min() < 0 or raw.max() >= size):
        raise IndexOutOfRange(
            f"index out of range in self: index_select() with indices {raw.min()} to {raw.max()} along {size} slices"
        )
    if a.ndim == 0:
        if raw.size != 1:
            raise IndexRuntimeError(f"index_select(): Index to scalar can have only 1 value, got {raw.size} value(s)")
        return reshape(getitem(reshape(a, (1,)), raw.reshape(-1)), ())
    return getitem(a, (slice(None),) * dim + (raw.reshape(-1),))


def take(a: V, index: Value) -> V:
    """Entries of ``a`` by their number in row order; the result has the shape of ``index``."""
    raw, count = whole_numbers(index, "take"), math.prod(a.shape)
    if isinstance(raw, np.ndarray) and raw.size and (raw.min() < -count or raw.max() >= count):
        wrong = raw.max() if raw.max() >= count else raw.min()
        raise IndexOutOfRange(f"out of range: tried to access index {wrong} on a tensor of {count} elements.")
    return getitem(reshape(a, (-1,)), raw)


def take_along_dim(a: V, indices: Value, dim: int | None = None) -> V:
    """As ``gather``, but the other axes of ``a`` and ``indices`` broadcast; in the flattened tensor without ``dim``."""
    raw = whole_numbers(indices, "take_along_dim")
    if dim is None:
        return take(a, raw.reshape(-1))
    dim = axis_of(dim, a.ndim)
    if raw.ndim != a.ndim:
        raise ShapeRuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{a.ndim} dimensions for input, and {raw.ndim} dimensions for indices"
        )
    full = [n if k == 1 else k for k, n in zip(a.shape, raw.shape, strict=True)]
    shape = (*full[:dim], raw.shape[dim], *full[dim + 1 :])
    # so its gradient sums over the axes that were broadcast
    source = broadcast_to(a, (*full[:dim], a.shape[dim], *full[dim + 1 :]))
    places: Array = np.broadcast_to(raw, shape)
    return gather(source, dim, places)


# by condition ------------------------------------------------------------------------------------------------------


@plain
def argwhere(a: Array) -> Array:
    """The coordinates of the entries that are not zero, one row each: (n, ndim)."""
    xp = array_module(a)
    # NumPy 2.1 refuses the nonzero of a number
    rows: Array = xp.stack(a.nonzero(), 1) if a.ndim else xp.zeros((int(bool(a)), 0), np.int64)
    return rows


def nonzero(a: Value, *, as_tuple: bool = False) -> Any:
    """The coordinates of the entries that are not zero: (n, ndim), or one tensor per axis if ``as_tuple``.

    >>> import tinygrad_rnn as tg
    >>> tg.nonzero(tg.tensor([[1, 0], [2, 3]]), as_tuple=True)
    (tensor([0, 1, 1]), tensor([0, 0, 1]))
    """
    if not as_tuple:
        return argwhere(a)
    found = argwhere(a if a.ndim else reshape(a, (1,)))
    return tuple(found[:, k].clone() for k in range(found.shape[1]))  # tensors of their own, not views of one matrix


def masked_select(a: V, mask: Value) -> V:
    """The entries of ``a`` where the mask holds, in row order, as a vector; the two broadcast.

    Raises:
        DtypeError: the mask is not of bools.
    """
    if mask.dtype != np.bool_:  # an index of bytes would pick entries 0 and 1
        raise DtypeError(f"masked_select: expected BoolTensor for mask, but got {mask.dtype}. Compare it: mask != 0")
    try:
        shape = np.broadcast_shapes(tuple(a.shape), tuple(mask.shape))
    except ValueError as error:
        fail("masked_select", error, *(x._data if isinstance(x, Tensor) else x for x in (mask, a)))
    chosen = np.broadcast_to(raw(mask), shape)
    return getitem(broadcast_to(a, shape), chosen) if shape else getitem(reshape(a, (1,)), chosen.reshape(1))


# embedding ---------------------------------------------------------------------------------------------------------


def _embedding_vjp(g: Value, y: Any, weight: Any, index: Array, padding_idx: int | None) -> IndexPart:
    if padding_idx is not None:  # its row gets no gradient, wherever it was looked up
        g = g * (index != padding_idx)[..., None].astype(as_dtype(g.dtype))
    return read_vjp(g, None, weight, index)


def _looked_up(weight: Array, index: Array, padding_idx: int | None) -> Array:
    if type(weight) is np.ndarray:  # on a GPU by a kernel
        return weight[index]
    from ..kernels.cuda_elementwise.embedding import rows_of_table  # not loaded without a GPU

    return rows_of_table(weight, index)


_embedding = primitive(
    "embedding",
    _looked_up,
    _embedding_vjp,
    formula=Formula(
        r"y_{ik} = W_{\iota(i)k}", weight=r"\bar{W}_{jk} = \sum_{i} \bar{y}_{ik} [\iota(i) = j \land j \ne q]"
    ),
)


def embedding(index: Value, weight: V, padding_idx: int | None = None) -> V:
    """Rows of ``weight`` by number: ``out[...] = weight[index[...]]``.

    Shapes:
        index ``(...)`` of integers, weight ``(V, E)``; result ``(..., E)``.  The gradient of a row is the sum over
        all the places where it was looked up; the row ``padding_idx`` gets none.

    Raises:
        IndexOutOfRange: a number outside ``0 .. V-1`` (checked on the host only).
        ArgumentTypeError: the index is not of an integer type.
    """
    raw = index._data.copy() if isinstance(index, Tensor) else np.array(index)
    if raw.dtype.kind not in "iu":
        raise ArgumentTypeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; "
            f"but got {tensor_type(raw.dtype)} instead (while checking arguments for embedding)"
        )
    rows = weight.shape[0]
    if isinstance(raw, np.ndarray) and raw.size and (raw.min() < 0 or raw.max() >= rows):
        wrong = raw[(raw < 0) | (raw >= rows)].reshape(-1)[0]
        raise IndexOutOfRange(f"index out of range in self: embedding() looked up row {wrong} of {rows}")
    return _embedding(weight, index=raw, padding_idx=padding_idx)

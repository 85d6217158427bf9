"""Splitting of tensors into pieces: views, each of which is one read of the tensor.

The backward pass adds each piece's cotangent into its slice of one array, so splitting into T pieces costs T pieces,
not T times the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import array_module
from ..backend.gpu.device_copies import joined
from ..errors import IndexOutOfRange, ShapeRuntimeError
from ..tape.formula import Formula
from ..tape.multi_output import fused
from ..tape.tensor import Tensor
from ..typing import Array, V, Value
from .index import getitem
from .shape import axis_of

__all__ = ["chunk", "entries", "narrow", "select", "split", "tensor_split", "unbind"]


def _cut(a: V, dim: int, start: int, stop: int) -> V:
    return getitem(a, slice(start, stop) if dim == 0 else (*(slice(None),) * dim, slice(start, stop)))


def _axis(op: str, a: Value, dim: int) -> int:
    if a.ndim == 0:
        raise ShapeRuntimeError(f"{op} expects at least a 1-dimensional tensor")
    return axis_of(dim, a.ndim)


def select(a: V, dim: int, index: int) -> V:
    """Slice ``index`` along an axis, which is removed.

    Raises:
        IndexOutOfRange: there is no such slice.
    """
    if a.ndim == 0:
        raise IndexOutOfRange("select() cannot be applied to a 0-dim tensor.")
    dim = axis_of(dim, a.ndim)
    if not -a.shape[dim] <= index < a.shape[dim]:  # asked here, because NumPy's sentence does not name dim
        raise IndexOutOfRange(
            f"select(): index {index} out of range for tensor of size {list(a.shape)} at dimension {dim}"
        )
    return getitem(a, (*(slice(None),) * dim, index))


def narrow(a: V, dim: int, start: Any, length: int) -> V:
    """``length`` slices along an axis, from ``start`` on.

    Raises:
        ShapeRuntimeError: they reach beyond the axis.
    """
    dim, start = _axis("narrow()", a, dim), int(start)
    size = a.shape[dim]
    if length < 0:
        raise ShapeRuntimeError("narrow(): length must be non-negative.")
    if not -size <= start <= size:
        raise IndexOutOfRange(
            f"Dimension out of range (expected to be in range of [{-size}, {size}], but got {start}) in narrow()"
        )
    start = start + size if start < 0 else start  # PyTorch counts a negative start from the end
    if start + length > size:
        raise ShapeRuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return _cut(a, dim, start, start + length)


def split(a: V, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[V, ...]:
    """Pieces of a given size (the last may be shorter), or of each of the given sizes.

    >>> import tinygrad_rnn as tg
    >>> tg.split(tg.arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    dim = _axis("split", a, dim)
    size = a.shape[dim]
    if isinstance(split_size_or_sections, int):
        step = split_size_or_sections
        if step < 0 or (step == 0 and size):
            raise ShapeRuntimeError(f"split expects split_size be non-negative, but got split_size={step}")
        # of no entries there is one piece, without entries
        sizes = [step] * (size // step) + ([size % step] if size % step else []) if size else [0]
    else:
        sizes = [int(n) for n in split_size_or_sections]
        if sum(sizes) != size or any(n < 0 for n in sizes):
            raise ShapeRuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's size at dimension "
                f"{dim}), but got split_sizes={sizes}"
            )
    pieces, start = [], 0
    for n in sizes:
        pieces.append(_cut(a, dim, start, start + n))
        start += n
    return tuple(pieces)


def chunk(a: V, chunks: int, dim: int = 0) -> tuple[V, ...]:
    """At most ``chunks`` pieces of equal size, the last one shorter if it does not come out even."""
    dim = _axis("chunk", a, dim)
    if chunks <= 0:
        raise ShapeRuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    size = a.shape[dim]
    # the quotient rounded up
    return split(a, -(-size // chunks), dim) if size else tuple(_cut(a, dim, 0, 0) for _ in range(chunks))


def tensor_split(a: V, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[V, ...]:
    """That many pieces, the first ones longer by one if it does not come out even; or cuts at the given places."""
    dim = _axis("tensor_split", a, dim)
    size = a.shape[dim]
    if isinstance(indices_or_sections, int):
        count = indices_or_sections
        if count <= 0:
            raise ShapeRuntimeError(f"number of sections must be larger than 0, got {count}")
        # the remainder goes to the first pieces, as in np.array_split
        ends = [(k + 1) * (size // count) + min(k + 1, size % count) for k in range(count)]
    else:
        ends = [*[int(k) for k in indices_or_sections], size]
    starts = [0, *ends[:-1]]
    return tuple(_cut(a, dim, start, stop) for start, stop in zip(starts, ends, strict=True))


def unbind(a: V, dim: int = 0) -> tuple[V, ...]:
    """All slices along an axis.

    >>> import tinygrad_rnn as tg
    >>> tg.unbind(tg.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """
    if a.ndim == 0:
        raise IndexOutOfRange("Dimension specified as 0 but tensor has no dimensions")
    dim = axis_of(dim, a.ndim)
    before = (slice(None),) * dim
    return tuple([getitem(a, (*before, k)) for k in range(a.shape[dim])])


def _entries_vjp(gs: Sequence[Array | None], _: None, a: Array, *, needs: Sequence[bool]) -> list[Array | None]:
    xp = array_module(a)
    parts = [xp.zeros(a.shape[1:], a.dtype) if g is None else g for g in gs]  # an entry that was not used
    return [joined(xp, parts, 0).reshape(a.shape)]


_entries = fused(
    "entries",
    lambda a: (tuple(a), None),
    _entries_vjp,
    unbind,
    formula=Formula("y_{mi} = a_{mi}", a=r"\bar{a}_{mi} = \bar{y}_{mi}"),
    gives_new=True,
)


def entries(a: Tensor) -> tuple[Tensor, ...]:
    """All entries along the first axis, to be read alone: the gradients of all are joined once.

    Those of :func:`unbind`, which can be written to, are each added to zeros.
    """
    if a._node is None or a.ndim < 2 or not a._data.size:  # unrecorded, or numbers: there is nothing to join
        return unbind(a)
    found: tuple[Tensor, ...] = _entries(a)
    for entry in found:
        entry._versions = a._versions or a._own_versions()  # a write to ``a`` makes them stale: they share its memory
    return found

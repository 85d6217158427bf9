"""Embedding, bags of embeddings, one-hot encoding."""

from __future__ import annotations

import numpy as np

from ... import ops
from ...backend import array_module, tensor_type
from ...backend.quiet import unreported
from ...errors import (
    ArgumentError,
    ArgumentRuntimeError,
    DtypeError,
    IndexOutOfRange,
    ShapeRuntimeError,
    TinygradRnnError,
)
from ...tape.apply import primitive
from ...tape.formula import Formula
from ...tape.tensor import Tensor, wrap
from ...typing import Array

__all__ = ["embedding", "embedding_bag", "one_hot"]


class PaddingIndexError(TinygradRnnError, AssertionError):
    """A ``padding_idx`` outside the table, where PyTorch raises AssertionError."""


_gradient_scaled = primitive(
    "scale_gradient",
    lambda a, factor: a,
    lambda g, y, a, factor: g * factor,
    formula=Formula("a", a=r"\bar{y} \odot f"),
    view=True,
    doc="a itself; its gradient is multiplied by ``factor``.",
)


def padding_row(padding_idx: int | None, rows: int) -> int | None:
    """A non-negative ``padding_idx``.

    Raises:
        PaddingIndexError: there is no such row.
    """
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise PaddingIndexError(f"Padding_idx must be within num_embeddings: {padding_idx} of {rows} rows")
    return padding_idx % rows


@unreported
def renormalise(weight: Tensor, rows: Array, max_norm: float, norm_type: float) -> None:
    """Scale rows whose norm is greater than ``max_norm`` down to it, in place and unrecorded."""
    used = np.unique(rows)
    table = weight._data[used]
    norms = np.linalg.norm(table, ord=norm_type, axis=1, keepdims=True)
    shrunk = table * (max_norm / (norms + 1e-7)).astype(table.dtype)
    weight._data[used] = np.where(norms > max_norm, shrunk, table)
    weight._touch()


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table by number: ``out[...] = weight[input[...]]``.

    Shapes:
        input ``(...)`` int64 or int32, weight ``(V, E)``; result ``(..., E)``.

    Args:
        padding_idx: a row that gets no gradient.
        max_norm: first shrink the rows that are looked up to at most this norm, in place.
        scale_grad_by_freq: divide each row's gradient by how often it was looked up.
        sparse: accepted; the gradient is dense, with the same numbers.

    Raises:
        IndexOutOfRange: a number outside 0 .. V-1.
        DtypeError: the numbers are not integers.
        ShapeRuntimeError: the table is not 2-D.
        PaddingIndexError: there is no row ``padding_idx``.

    >>> import tinygrad_rnn as tg
    >>> embedding(tg.tensor([[1, 0]]), tg.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[[3.0, 4.0], [1.0, 2.0]]]
    """
    if weight.ndim != 2:
        raise ShapeRuntimeError(f"'weight' must be 2-D, got {weight.ndim} axes")
    if input._data.dtype not in (np.int64, np.int32):
        raise DtypeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; "
            f"but got {tensor_type(input.dtype)} instead (while checking arguments for embedding). "
            "Convert it: input.long()"
        )
    padding_idx = padding_row(padding_idx, weight.shape[0])
    if max_norm is not None:
        # Before anything is written: ops.embedding checks too, but then the table is changed already.
        _in_range(input._data, weight.shape[0])
        renormalise(weight, input._data, max_norm, norm_type)
    result: Tensor = ops.embedding(input, weight, padding_idx)
    if scale_grad_by_freq and input.numel():
        xp = array_module(input._data)
        _, place, count = xp.unique(input._data, return_inverse=True, return_counts=True)
        # Reshaped, because NumPy's versions return the inverse of a matrix in different shapes.
        factor = (1 / count[place.reshape(input.shape)])[..., None].astype(weight.dtype)
        result = _gradient_scaled(result, factor=factor)
    return result


def _in_range(rows: Array, size: int) -> None:
    if rows.size and (int(rows.min()) < 0 or int(rows.max()) >= size):
        raise IndexOutOfRange(f"index out of range in self: rows 0 to {size - 1} can be looked up")


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum of the rows of each bag, without keeping the rows.

    Shapes:
        input ``(B, L)``: B bags of L rows; or ``(M,)`` with offsets ``(B,)``, where the bags begin (with
        ``include_last_offset`` also where the last ends).  weight ``(V, E)``; result ``(B, E)``, 0 for an empty bag.

    Args:
        mode: "sum", "mean" or "max".
        per_sample_weights: a factor for each row, only with "sum".
        padding_idx: a row that is left out.
        max_norm, norm_type, scale_grad_by_freq, sparse: as for ``embedding``.

    Raises:
        ArgumentError: shapes or mode that do not fit.
        IndexOutOfRange: a number outside 0 .. V-1.

    >>> import tinygrad_rnn as tg
    >>> table = tg.tensor([[1.0], [10.0], [100.0]])
    >>> embedding_bag(tg.tensor([[0, 1], [2, 2]]), table, mode="sum")
    tensor([[ 11.],
            [200.]])
    """
    if mode not in ("sum", "mean", "max"):
        raise ArgumentError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and (mode != "sum" or per_sample_weights.shape != input.shape):
        raise ArgumentError(
            f"embedding_bag: per_sample_weights need mode='sum' (got '{mode}') and the same shape as the input "
            f"{list(input.shape)} (got {list(per_sample_weights.shape)})"
        )
    if weight.dtype.kind != "f":
        raise DtypeError(
            "Expected tensor for argument #1 'weight' to have one of the following scalar types: Half, Float, Double; "
            f"but got {tensor_type(weight.dtype)} instead (while checking arguments for embedding_bag)"
        )
    xp = array_module(input._data)
    if input.ndim == 2:
        if offsets is not None:
            raise ArgumentError("if input is 2D, then offsets has to be None, as each row of it is a bag")
        bags, bag = input.shape[0], xp.repeat(xp.arange(input.shape[0]), input.shape[1])
    elif input.ndim == 1 and offsets is not None and offsets.ndim == 1:
        starts = offsets._data[: len(offsets) - include_last_offset]
        # From the right: of bags that begin at the same place the last one has the rows, the others are empty.
        bags, bag = len(starts), xp.searchsorted(starts, xp.arange(len(input)), side="right") - 1
    elif input.ndim == 1:
        raise ArgumentError("offsets has to be a 1D Tensor" + (" but got None" if offsets is None else ""))
    else:
        raise ArgumentError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    numbers = input.reshape(-1)
    rows = embedding(numbers, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    if padding_idx is not None:
        counts = numbers._data != padding_row(padding_idx, weight.shape[0])
        rows, bag = rows[xp.flatnonzero(counts)], bag[counts]
    if mode == "max":
        return _maxima(rows, bag, bags)
    place = wrap(xp.broadcast_to(bag[:, None], rows.shape))
    nothing = wrap(xp.zeros((bags, weight.shape[1]), weight.dtype))
    summed: Tensor = ops.scatter_add(nothing, 0, place, rows)
    if mode == "sum":
        return summed
    # An empty bag is 0 / 1 and not 0 / 0.
    sizes = xp.maximum(xp.bincount(bag, minlength=bags), 1).astype(weight.dtype)
    return summed / wrap(sizes[:, None])


def _maxima(rows: Tensor, bag: Array, bags: int) -> Tensor:
    """The largest entry of each bag, column by column."""
    xp = array_module(bag)
    maxima = []
    for number in range(bags):
        (members,) = xp.nonzero(bag == number)
        empty = wrap(xp.zeros(rows.shape[1], rows.dtype))
        maxima.append(rows[members].max(0).values if len(members) else empty)
    result: Tensor = ops.stack(maxima)
    return result


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """A new last axis of zeros with a 1 at each class number.

    Args:
        num_classes: the axis's length; one more than the greatest number if -1.

    Raises:
        DtypeError: not int64.
        ArgumentRuntimeError: a negative number, or one that is not less than ``num_classes``.

    >>> import tinygrad_rnn as tg
    >>> one_hot(tg.tensor([2, 0])).tolist()
    [[0, 0, 1], [1, 0, 0]]
    """
    if tensor.dtype != np.int64:
        raise DtypeError(
            f"one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}. Use x.long()"
        )
    numbers = tensor._data
    if numbers.size == 0:
        if num_classes <= 0:
            raise ArgumentRuntimeError("Can not infer total number of classes from empty tensor.")
    elif int(numbers.min()) < 0:
        raise ArgumentRuntimeError(f"Class values must be non-negative, got {int(numbers.min())}.")
    elif num_classes == -1:
        num_classes = int(numbers.max()) + 1
    elif int(numbers.max()) >= num_classes:
        raise ArgumentRuntimeError(
            f"Class values must be smaller than num_classes: {int(numbers.max())} and {num_classes}."
        )
    xp = array_module(numbers)
    return wrap((numbers[..., None] == xp.arange(num_classes)).astype(np.int64))

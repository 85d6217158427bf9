"""Sequences of different lengths: padded side by side, or packed without padding for the recurrent layers.

A packed sequence lists rows time-major, the longest sequences first, so that at step t the rows are those of the
``batch_sizes[t]`` sequences that are longer than t.  With ``enforce_sorted=False`` any order may be given: two
permutations keep it, and users see the original order.

Unlike PyTorch, a length greater than the padded size is refused (there it gives inconsistent batch sizes), and
sequences of length zero are possible (``allow_empty=True``): a layer passes their initial state through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...backend import to_numpy
from ...errors import ArgumentError, ArgumentTypeError, IndexOutOfRange, ShapeRuntimeError
from ...ops import arguments, cat
from ...ops.recurrent.packing import gather_rows, packed_places, scatter_rows, sizes_of_lengths
from ...tape.tensor import Tensor, wrap
from ...typing import Array
from ...unknown_names import absent
from .. import signatures

__all__ = [
    "PackedSequence",
    "SequenceError",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class SequenceError(ArgumentError, RuntimeError):
    """Lengths that cannot be packed, or an unknown padding side: a ValueError and, as in PyTorch, a RuntimeError."""


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """Sequences without padding.  Made by :func:`pack_padded_sequence` and :func:`pack_sequence`.

    Attributes:
        data: the rows (S, *), time-major.
        batch_sizes: int64 on the CPU, one per step, never rising.
        sorted_indices: the original number of each sequence, in the order in which they are packed; None if the
            given order was kept.
        unsorted_indices: the inverse permutation.

    >>> import tinygrad_rnn as tg
    >>> pack_sequence([tg.tensor([1, 2, 3]), tg.tensor([4])]).data
    tensor([1, 4, 2, 3])
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        """Make one of its fields; a permutation gives the other.  ``data`` may be the pair ``(data, batch_sizes)``.

        Raises:
            ArgumentError: batch sizes on a GPU.
            ArgumentTypeError: no batch sizes.
        """
        if batch_sizes is None:
            if not isinstance(data, (tuple, list)) or len(data) != 2:
                raise ArgumentTypeError(
                    "Expected data to be a list or tuple of length 2: PackedSequence(data, batch_sizes) or "
                    "PackedSequence((data, batch_sizes))"
                )
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes.is_cuda:
            raise ArgumentError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. "
                "They should be instantiated by functions like pack_sequence and pack_padded_sequence in "
                "nn.utils.rnn."
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """In another dtype or on another device; this object itself if nothing changes.  Batch sizes stay."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        permutations = [p if p is None else p.to(device=data.device) for p in self[2:]]
        return type(self)(data, self.batch_sizes, *permutations)

    def cuda(self, device: Any = "cuda") -> PackedSequence:
        """The same rows on a GPU."""
        return self.to(device=device)

    def cpu(self) -> PackedSequence:
        """The same rows on the host."""
        return self.to(device="cpu")

    def double(self) -> PackedSequence:
        """The rows in float64."""
        return self.to(dtype=np.float64)

    def float(self) -> PackedSequence:
        """The rows in float32."""
        return self.to(dtype=np.float32)

    def half(self) -> PackedSequence:
        """The rows in float16."""
        return self.to(dtype=np.float16)

    def long(self) -> PackedSequence:
        """The rows in int64."""
        return self.to(dtype=np.int64)

    def int(self) -> PackedSequence:
        """The rows in int32."""
        return self.to(dtype=np.int32)

    def short(self) -> PackedSequence:
        """The rows in int16."""
        return self.to(dtype=np.int16)

    def char(self) -> PackedSequence:
        """The rows in int8."""
        return self.to(dtype=np.int8)

    def byte(self) -> PackedSequence:
        """The rows in uint8."""
        return self.to(dtype=np.uint8)

    def pin_memory(self) -> PackedSequence:
        """This object itself: packed sequences are not pinned."""
        return self

    def is_pinned(self) -> bool:
        """False: there is no pinned memory here."""
        return False

    @property
    def is_cuda(self) -> bool:
        """Whether the rows are on a GPU."""
        return bool(self.data.is_cuda)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes ``permutation``; None for None.

    >>> import tinygrad_rnn as tg
    >>> invert_permutation(tg.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    return None if permutation is None else wrap(permutation._data.argsort())


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True, *, allow_empty: bool = False
) -> PackedSequence:
    """The first ``lengths[n]`` steps of each sequence n, packed.

    Args:
        input: (T, N, *), or (N, T, *) with ``batch_first``.
        lengths: N numbers, as a list, array or tensor.
        enforce_sorted: the sequences come longest first; otherwise they are sorted here.
        allow_empty: lengths of zero are possible.

    Raises:
        ShapeRuntimeError: not one length for each sequence, or nothing to pack.
        SequenceError: lengths that are not sorted, not positive, or greater than T.
        ArgumentError: a length that is not a whole number.

    >>> import tinygrad_rnn as tg
    >>> pack_padded_sequence(tg.tensor([[1, 2], [3, 0]]), [2, 1]).batch_sizes
    tensor([2, 1])
    """
    if input.ndim < 2:
        raise IndexOutOfRange(
            "Dimension out of range (expected to be in range of [-1, 0], but got 1). pack_padded_sequence(): input "
            f"needs an axis of steps and one of sequences, and its shape is {list(input.shape)}"
        )
    steps, batch = (input.shape[1], input.shape[0]) if batch_first else (input.shape[0], input.shape[1])
    counts = _lengths(lengths)
    if steps * batch == 0 or input._data.size == 0:
        raise ShapeRuntimeError("Cannot pack empty tensors.")
    if len(counts) != batch:
        raise ShapeRuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} (batch_size={batch})"
        )
    if counts.min() < (0 if allow_empty else 1):
        raise SequenceError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0. "
            f"lengths[{int(counts.argmin())}] is {counts.min()}"
            + ("" if allow_empty else "; allow_empty=True packs sequences of length 0")
        )
    if counts.max() > steps:
        raise SequenceError(
            f"lengths[{int(counts.argmax())}] is {counts.max()}, but the sequences are padded to {steps} steps only "
            f"(input of shape {list(input.shape)}, batch_first={batch_first})"
        )
    if counts.max() == 0:
        raise ShapeRuntimeError("Cannot pack empty tensors. Every sequence has length 0")
    order = None
    if not enforce_sorted:
        # Stable: sequences of equal length keep their order.
        order = np.argsort(-counts, kind="stable")
    elif (np.diff(counts) > 0).any():
        raise SequenceError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability."
        )
    elif counts[-1] == 0:
        order = np.arange(batch)  # says how many sequences there are
    sizes = sizes_of_lengths(counts)
    t, n = packed_places(sizes)
    if order is not None:
        n = order[n]
    data = gather_rows(input, (n, t) if batch_first else (t, n))
    sorted_indices = None if order is None else wrap(order).to(device=input.device)
    return PackedSequence(data, wrap(sizes), sorted_indices)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The inverse of :func:`pack_padded_sequence`: ``(padded, lengths)`` in the original order.

    Args:
        total_length: pad to this many steps instead of to the longest sequence.

    Raises:
        ArgumentError: ``total_length`` is less than the longest sequence.

    >>> import tinygrad_rnn as tg
    >>> pad_packed_sequence(pack_sequence([tg.tensor([1, 2]), tg.tensor([3])]), batch_first=True, padding_value=-1)
    (tensor([[ 1,  2],
            [ 3, -1]]), tensor([2, 1]))
    """
    data, batch_sizes, sorted_indices, _ = sequence
    sizes = to_numpy(batch_sizes._data)
    steps = len(sizes)
    if total_length is not None:
        if total_length < steps:
            raise ArgumentError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    batch = int(sizes[0]) if sorted_indices is None else len(sorted_indices)
    # Sequence n has a row at every step whose batch is larger than n.
    lengths = (sizes[:, None] > np.arange(batch)).sum(axis=0)
    t, n = packed_places(sizes)
    if sorted_indices is not None:
        order = to_numpy(sorted_indices._data)
        n = order[n]
        # A copy, since both sides are one array.
        lengths[order] = lengths.copy()
    shape, index = ((batch, steps), (n, t)) if batch_first else ((steps, batch), (t, n))
    return scatter_rows(data, index, (*shape, *data.shape[1:]), padding_value), wrap(lengths)


def pad_sequence(
    sequences: Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (T_n, *) side by side, padded to the longest: (T, N, *), or (N, T, *) with ``batch_first``.

    Raises:
        ShapeRuntimeError: no sequences, or trailing axes that differ.
        SequenceError: ``padding_side`` is neither ``"right"`` nor ``"left"``.

    >>> import tinygrad_rnn as tg
    >>> pad_sequence([tg.tensor([1, 2]), tg.tensor([3])], batch_first=True, padding_side="left")
    tensor([[1, 2],
            [0, 3]])
    """
    if not isinstance(sequences, Iterable):
        raise ShapeRuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    parts = list(sequences)
    if not parts:
        raise ShapeRuntimeError("received an empty list of sequences")
    if padding_side not in ("right", "left"):
        raise SequenceError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    first = parts[0]
    for k, part in enumerate(parts):
        if not isinstance(part, Tensor):
            raise ArgumentTypeError(
                f"expected Tensor as element {k} in argument 0, but got {type(part).__name__}: pad_sequence()"
            )
        if part.ndim == 0:
            raise ShapeRuntimeError(
                f"pad_sequence: sequence {k} is 0-dimensional, but a sequence needs an axis of steps"
            )
        if part.shape[1:] != first.shape[1:]:
            raise ShapeRuntimeError(_trailing_mismatch(k, first.shape, part.shape))
    lengths = np.array([part.shape[0] for part in parts])
    steps = int(lengths.max())
    n = np.repeat(np.arange(len(parts)), lengths)
    t = np.concatenate([np.arange(length) for length in lengths])
    if padding_side == "left":
        t = t + (steps - lengths)[n]
    # To the first one's dtype, as PyTorch's padding does, which fills a tensor like the first.
    rows = cat([part.to(first.dtype) for part in parts])
    shape, index = ((len(parts), steps), (n, t)) if batch_first else ((steps, len(parts)), (t, n))
    padded: Tensor = scatter_rows(rows, index, (*shape, *first.shape[1:]), padding_value)
    return padded


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The inverse of :func:`pad_sequence`: the first ``lengths[n]`` steps of each sequence.

    Raises:
        ShapeRuntimeError: not one length for each sequence.
        ArgumentError: a length greater than the padded size.

    >>> import tinygrad_rnn as tg
    >>> padded = tg.tensor([[1, 4], [2, 5], [3, 0]])  # (T, N)
    >>> unpad_sequence(padded, tg.tensor([3, 2]))
    [tensor([1, 2, 3]), tensor([4, 5])]
    """
    counts = _lengths(lengths)
    steps, batch = padded_sequences.shape[:2][:: -1 if batch_first else 1]
    if len(counts) != batch:
        raise ShapeRuntimeError(f"unpad_sequence: Expected one length for each of {batch} sequences, got {len(counts)}")
    if batch and not 0 <= counts.min() <= counts.max() <= steps:
        raise ArgumentError(f"unpad_sequence: lengths must lie between 0 and {steps}, the padded size, got {counts}")
    whole = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [whole[n, : int(length)] for n, length in enumerate(counts)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (T_n, *) packed; see :func:`pack_padded_sequence`.

    >>> import tinygrad_rnn as tg
    >>> pack_sequence([tg.tensor([1]), tg.tensor([2, 3])], enforce_sorted=False).data
    tensor([2, 1, 3])
    """
    parts = list(sequences)
    padded = pad_sequence(parts)
    return pack_padded_sequence(padded, [len(part) for part in parts], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The inverse of :func:`pack_sequence`: the sequences in their original order.

    >>> import tinygrad_rnn as tg
    >>> sequences = [tg.tensor([1, 2, 3]), tg.tensor([4])]
    >>> unpack_sequence(tg.nn.utils.rnn.pack_sequence(sequences))
    [tensor([1, 2, 3]), tensor([4])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


def _lengths(lengths: Any) -> Array:
    """Lengths as int64 on the host.

    Raises:
        ShapeRuntimeError: not a vector.
        ArgumentError: not whole numbers.
    """
    if isinstance(lengths, Tensor):
        values = to_numpy(lengths._data)
    elif isinstance(lengths, (int, float)):
        raise ShapeRuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got the number {lengths}: one length per sequence"
        )
    elif isinstance(lengths, str) or not isinstance(lengths, Iterable):
        raise ArgumentTypeError(f"lengths must be a list, an array or a tensor of ints, not {type(lengths).__name__}")
    else:
        values = np.asarray([int(n) if isinstance(n, Tensor) else n for n in lengths])
    if values.ndim != 1:
        raise ShapeRuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {values.ndim}D {values.dtype} values"
        )
    whole: Array = values.astype(np.int64)
    if (whole != values).any():
        raise ArgumentError(f"lengths must be whole numbers, got {values.tolist()}")
    return whole


def _trailing_mismatch(k: int, first: Sequence[int], other: Sequence[int]) -> str:
    differing = [axis for axis, (a, b) in enumerate(zip(first, other, strict=False)) if axis and a != b]
    if len(first) != len(other) or not differing:
        return f"pad_sequence: sequence 0 has {len(first)} axes, but sequence {k} has {len(other)}"
    axis = differing[0]
    return (
        f"The size of tensor a ({first[axis]}) must match the size of tensor b ({other[axis]}) at non-singleton "
        f"dimension {axis}. pad_sequence: sequence {k} has shape {list(other)}, but sequence 0 has {list(first)}; only "
        "the first axis may differ"
    )


arguments.declare("nn.utils.rnn", signatures.SEQUENCES)
globals().update(arguments.guarded({name: globals()[name] for name in __all__}, "nn.utils.rnn"))

__getattr__ = absent(__name__, __all__)

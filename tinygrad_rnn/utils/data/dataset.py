"""Datasets: samples by index (Dataset) or as a stream (IterableDataset)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Generic, TypeVar

from ...backend.random.draws import Generator, randperm
from ...errors import ArgumentError, TinygradRnnError
from ...source_line import warn_user
from ...tape.tensor import Tensor

__all__ = [
    "ChainDataset",
    "ConcatDataset",
    "Dataset",
    "DatasetError",
    "IterableDataset",
    "Subset",
    "TensorDataset",
    "random_split",
]

T_co = TypeVar("T_co", covariant=True)


class DatasetError(TinygradRnnError, AssertionError):
    """Datasets or tensors that cannot be combined."""


class Dataset(Generic[T_co]):
    """Samples by index: subclasses define ``__getitem__`` and, for most samplers, ``__len__``.

    A subclass may also define ``__getitems__(indices) -> list`` to read a whole batch at once.

    >>> import tinygrad_rnn as tg
    >>> class Squares(tg.utils.data.Dataset):
    ...     def __len__(self):
    ...         return 3
    ...     def __getitem__(self, k):
    ...         return k * k
    >>> list(tg.utils.data.DataLoader(Squares(), batch_size=2))
    [tensor([0, 1]), tensor([4])]
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co], Iterable[T_co]):
    """Samples one after another, for streams: subclasses define ``__iter__``.

    >>> import tinygrad_rnn as tg
    >>> class Countdown(tg.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter([3, 2, 1])
    >>> list(tg.utils.data.DataLoader(Countdown(), batch_size=2))
    [tensor([3, 2]), tensor([1])]
    """

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample ``i`` is row ``i`` of each tensor.

    Args:
        tensors: of the same length along axis 0.

    Raises:
        DatasetError: lengths that differ.

    >>> import tinygrad_rnn as tg
    >>> TensorDataset(tg.tensor([[1.0], [2.0]]), tg.tensor([7, 8]))[1]
    (tensor([2.]), tensor(8))
    """

    def __init__(self, *tensors: Tensor) -> None:
        lengths = [t.shape[0] for t in tensors]
        if len(set(lengths)) > 1:
            raise DatasetError(f"Size mismatch between tensors: their lengths along axis 0 are {lengths}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]


class ConcatDataset(Dataset[T_co]):
    """Several datasets, one after the other.

    Raises:
        DatasetError: none given, or one that has no indices.

    >>> two = ConcatDataset(["ab", "cde"])
    >>> len(two), two[3], two[-5]
    (5, 'd', 'a')
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets: list[Any] = list(datasets)
        if not self.datasets:
            raise DatasetError("datasets should not be an empty iterable")
        for dataset in self.datasets:
            if isinstance(dataset, IterableDataset):
                raise DatasetError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes: list[int] = list(accumulate(len(dataset) for dataset in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, idx: Any) -> T_co:
        if idx < 0:
            if -idx > len(self):
                raise ArgumentError(
                    f"absolute value of index should not exceed dataset length: got {idx} for {len(self)} samples"
                )
            # Here, since bisect finds no place for a negative number.
            idx += len(self)
        # From the right, which skips empty datasets: they repeat a cumulative size.
        which = bisect_right(self.cumulative_sizes, idx)
        before = self.cumulative_sizes[which - 1] if which else 0
        sample: T_co = self.datasets[which][idx - before]
        return sample


class ChainDataset(IterableDataset[Any]):
    """Several streams, one after the other.

    >>> import tinygrad_rnn as tg
    >>> class Countdown(tg.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter([2, 1])
    >>> list(tg.utils.data.ChainDataset([Countdown(), Countdown()]))
    [2, 1, 2, 1]
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def _streams(self) -> Iterator[Any]:
        for dataset in self.datasets:
            # Only now, as in PyTorch: ``datasets`` may be an iterator, which a check beforehand would use up.
            if not isinstance(dataset, IterableDataset):
                raise DatasetError("ChainDataset only supports IterableDataset")
            yield dataset

    def __iter__(self) -> Iterator[Any]:
        for dataset in self._streams():
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self._streams())


class Subset(Dataset[T_co]):
    """The samples of a dataset at given indices, in their order.

    Raises:
        NotImplementedError: a subclass that changes ``__getitem__`` and not ``__getitems__``, which the loader uses.

    >>> from tinygrad_rnn.utils.data import Subset
    >>> list(Subset(["a", "b", "c"], [2, 0]))
    ['c', 'a']
    """

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        own = type(self)
        if own.__getitem__ is not Subset.__getitem__ and own.__getitems__ is Subset.__getitems__:
            raise NotImplementedError(
                f"{own.__name__} overrides __getitem__ but not __getitems__. When subclassing Subset and overriding "
                "__getitem__, you must also override __getitems__ to ensure DataLoader works correctly with your "
                "custom logic. A simple one: return [self[i] for i in indices]"
            )
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, idx: Any) -> T_co:
        # PyTorch hands a list down as one index, for datasets that read many rows at once.
        if isinstance(idx, list):
            return self.dataset[[self.indices[i] for i in idx]]
        return self.dataset[self.indices[idx]]

    def __getitems__(self, indices: list[int]) -> list[T_co]:
        chosen = [self.indices[i] for i in indices]
        # Handed down, so that a subset reads a batch at once where its dataset can.
        together = getattr(self.dataset, "__getitems__", None)
        if callable(together):
            batch: list[T_co] = together(chosen)
            return batch
        return [self.dataset[i] for i in chosen]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(dataset: Any, lengths: Sequence[int | float], generator: Generator | None = None) -> list[Subset[Any]]:
    """Split a dataset at random into parts of given sizes that share no sample.

    Args:
        lengths: numbers of samples that sum to ``len(dataset)``; or fractions that sum to 1, which are rounded
            down, and what is left over goes to the parts one by one from the first.
        generator: of the permutation; the default one if None.

    Raises:
        ArgumentError: a sum that does not fit, or a fraction outside [0, 1].

    >>> import tinygrad_rnn as tg
    >>> train, rest = random_split(range(10), [0.75, 0.25], generator=tg.Generator().manual_seed(42))
    >>> list(train), list(rest)
    ([2, 6, 1, 8, 4, 5, 0, 9], [3, 7])
    """
    total = len(dataset)
    sizes: Sequence[Any] = lengths
    # A sum of 1 means fractions, as in PyTorch, even if it was written [1] or [1, 0].
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for i, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ArgumentError(f"Fraction at index {i} is not between 0 and 1: {fraction}")
        sizes = [math.floor(total * fraction) for fraction in lengths]
        left = total - sum(sizes)
        sizes = [size + left // len(sizes) + (i < left % len(sizes)) for i, size in enumerate(sizes)]
        for i, size in enumerate(sizes):
            if size == 0:
                warn_user(
                    f"Length of split at index {i} is 0. This might result in an empty dataset.",
                )
    if sum(sizes) != total:
        raise ArgumentError(
            "Sum of input lengths does not equal the length of the input dataset! "
            f"They sum to {sum(sizes)}, and it has {total} samples"
        )
    order = randperm(total, generator=generator).tolist()
    return [Subset(dataset, order[start:stop]) for start, stop in pairwise([0, *accumulate(sizes)])]

"""Samplers: the order in which samples are read.

Draws are PyTorch's, also in their timing: a sampler draws when the first index is requested, not when it is created
or when ``iter`` is called on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from ...backend.random.draws import Generator, multinomial, randint, random_, randperm
from ...errors import ArgumentError, ArgumentTypeError
from ...ops import as_tensor

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]

T_co = TypeVar("T_co", covariant=True)
CHUNK = 32
"""How many indices are drawn at a time with replacement: it shows in a generator shared with other draws."""


class Sampler(Generic[T_co]):
    """An iterable of indices (or of lists of them); subclasses define ``__iter__``.

    >>> import tinygrad_rnn as tg
    >>> class EverySecond(tg.utils.data.Sampler):
    ...     def __init__(self, data):
    ...         self.data = data
    ...     def __iter__(self):
    ...         return iter(range(0, len(self.data), 2))
    >>> [batch.tolist() for batch in tg.utils.data.DataLoader(range(5), sampler=EverySecond(range(5)))]
    [[0], [2], [4]]
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__()")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ...

    >>> from tinygrad_rnn.utils.data import SequentialSampler
    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Indices in random order, or drawn with replacement.

    Args:
        data_source: an object with a length.
        replacement: an index may come again.
        num_samples: how many; by default ``len(data_source)``. Without replacement, more than that means one
            permutation after another.
        generator: of the permutation; if None, a new one seeded by a number from the default generator.

    Raises:
        ArgumentTypeError: replacement is not a bool. ArgumentError: num_samples is not a positive integer.

    >>> import tinygrad_rnn as tg
    >>> list(RandomSampler(range(5), generator=tg.Generator().manual_seed(0)))
    [4, 0, 1, 3, 2]
    """

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        if not isinstance(replacement, bool):
            raise ArgumentTypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        _positive("num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        """The number of indices in one pass."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        generator = self.generator
        if generator is None:
            # A generator of its own for each pass: later draws from the default one do not disturb the order.
            generator = Generator().manual_seed(int(random_(())))
        if self.replacement:
            for _ in range(self.num_samples // CHUNK):
                yield from randint(0, n, CHUNK, generator=generator).tolist()
            yield from randint(0, n, self.num_samples % CHUNK, generator=generator).tolist()
        else:
            for _ in range(self.num_samples // n):
                yield from randperm(n, generator=generator).tolist()
            # Drawn even where none of it is used: PyTorch does, and it shows in a generator that others share.
            yield from randperm(n, generator=generator).tolist()[: self.num_samples % n]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given indices in random order.

    >>> from tinygrad_rnn.utils.data import SubsetRandomSampler
    >>> sorted(SubsetRandomSampler([5, 3, 8]))
    [3, 5, 8]
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        # From the default stream itself, unlike RandomSampler, as in PyTorch.
        for i in randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices drawn with probabilities proportional to weights.

    Args:
        weights: (K,) non-negative numbers, not necessarily summing to 1.
        num_samples: the number of indices in one pass.
        replacement: if False, an index is drawn once at most.
        generator: the default one if None.

    Raises:
        ArgumentError: num_samples is not a positive integer, replacement not a bool, or weights not one-dimensional.

    >>> from tinygrad_rnn.utils.data import WeightedRandomSampler
    >>> list(WeightedRandomSampler([0.0, 1.0], 4))
    [1, 1, 1, 1]
    """

    def __init__(
        self, weights: Any, num_samples: int, replacement: bool = True, generator: Generator | None = None
    ) -> None:
        _positive("num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ArgumentError(f"replacement should be a boolean value, but got replacement={replacement}")
        # PyTorch draws with weights in float64, whatever they were given in.
        self.weights = as_tensor(weights, dtype=np.float64)
        if self.weights.ndim != 1:
            raise ArgumentError(
                f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        drawn = multinomial(self.weights._data, self.num_samples, self.replacement, generator=self.generator)
        yield from drawn.tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """The indices of another sampler in lists of ``batch_size``.

    Args:
        sampler: any iterable of indices.
        batch_size: the length of a list.
        drop_last: leave out a shorter one at the end.

    Raises:
        ArgumentError: batch_size is not a positive integer, or drop_last not a bool.

    >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        _positive("batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ArgumentError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(islice(indices, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        samples = len(self.sampler)  # type: ignore[arg-type]
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)


def _positive(name: str, value: object) -> None:
    # True is an int, but as a size of a batch most likely a misplaced argument.
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ArgumentError(f"{name} should be a positive integer value, but got {name}={value}")

"""``DataLoader``: batches from a dataset, a sampler and a collate function.

Random numbers come from the same streams at the same moments as in PyTorch, so that a seeded script sees the same
batches: each iterator takes one 64-bit number from the generator (in PyTorch the seed of worker processes) when it
is created, shuffled or not; a shuffling sampler draws its own seed at the first batch.

Samples are read in the calling process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...backend.random.draws import Generator, random_
from ...errors import ArgumentError
from ...source_line import warn_user
from .collate import default_collate, default_convert
from .dataset import IterableDataset, Subset, TensorDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

__all__ = ["DataLoader", "default_collate", "get_worker_info"]

FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


def get_worker_info() -> None:
    """None, always: samples are read in the calling process.

    >>> from tinygrad_rnn.utils.data import get_worker_info
    >>> get_worker_info() is None  # in the main process
    True
    """
    return None


class _Endless(Sampler[None]):
    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader:
    """Batches of a dataset.

    Args:
        dataset: anything with ``__getitem__`` and ``__len__``, or an :class:`IterableDataset`.
        batch_size: samples in a batch; None gives samples one by one. Default 1.
        shuffle: a new random order in every pass.
        sampler: the order of indices instead; any iterable.
        batch_sampler: lists of indices instead; excludes batch_size, shuffle, sampler and drop_last.
        num_workers: 0. With more, PyTorch reads ahead in processes; here a warning says that this process reads.
            The batches are the same, unless the dataset draws random numbers itself.
        collate_fn: from a list of samples to a batch; :func:`default_collate` by default.
        drop_last: leave out a last batch that is smaller.
        generator: of the shuffling; by default each pass takes a seed from the default generator.
        pin_memory, timeout, worker_init_fn, multiprocessing_context: about worker processes; checked as PyTorch
            checks them, without effect.
        prefetch_factor, persistent_workers, pin_memory_device, in_order: these, too.

    Raises:
        ArgumentError: options that exclude each other, or negative ones.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> for batch in DataLoader(range(5), batch_size=2, shuffle=True):
    ...     print(batch)
    tensor([1, 4])
    tensor([2, 3])
    tensor([0])
    """

    _initialized = False

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context)
        self._streams = isinstance(dataset, IterableDataset)
        if self._streams:
            _check_stream(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            raise ArgumentError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            # A batch_size of 1 is the default, so it cannot be told from none.
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ArgumentError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ArgumentError(
                "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            )
        if sampler is None:
            if self._streams:
                sampler = _Endless()
            else:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        self.collate_fn = collate_fn
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self._promised: int | None = None  # the length that a stream reported
        self._initialized = True

    def __setattr__(self, name: str, value: Any) -> None:
        # The samplers were made of these: a change would come too late to act, and is refused, as in PyTorch.
        if self._initialized and name in FIXED:
            raise ArgumentError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized. Make another one"
            )
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[Any]:
        return _Pass(self)

    def __len__(self) -> int:
        if not self._streams:
            return len(self.sampler if self.batch_sampler is None else self.batch_sampler)
        samples = batches = len(self.dataset)
        if self.batch_size is not None:
            batches = samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)
        self._promised = batches
        return batches


class _Pass:
    """One pass over the data."""

    def __init__(self, loader: DataLoader) -> None:
        batched = loader.batch_sampler is not None
        self._loader = loader
        # The sampler's iterator first: as in PyTorch it draws nothing yet, and the seed of the next line comes before
        # its draws.
        self._indices = iter(loader.batch_sampler if batched else loader.sampler)
        random_((), generator=loader.generator)  # PyTorch's seed for workers: drawn, so that later draws are its too
        self._given, self._promised = 0, loader._promised
        dataset, collate = loader.dataset, loader.collate_fn
        self._fetch: Callable[[Any], Any]
        if loader._streams:
            stream = iter(dataset)
            self._fetch = _stream_reader(stream, loader) if batched else lambda _: collate(next(stream))
        elif not batched:
            self._fetch = lambda index: collate(dataset[index])
        # Only where nothing of the user's sees single samples: neither a collate function nor a subclass's
        # __getitem__.
        elif collate is default_collate and _rows_of_tensors(dataset) is not None:
            self._fetch = _row_reader(dataset)
        # PyTorch's protocol for datasets that read a batch at once.
        elif callable(getattr(dataset, "__getitems__", None)):
            self._fetch = lambda indices: collate(dataset.__getitems__(indices))
        else:
            self._fetch = lambda indices: collate([dataset[i] for i in indices])

    def __iter__(self) -> Iterator[Any]:
        return self

    def __len__(self) -> int:
        loader = self._loader
        return len(loader.sampler if loader.batch_sampler is None else loader.batch_sampler)

    def __next__(self) -> Any:
        batch = self._fetch(next(self._indices))
        self._given += 1
        if self._promised is not None and self._given > self._promised:
            warn_user(
                f"Length of IterableDataset {self._loader.dataset} was reported to be {self._promised}"
                f"(when accessing len(dataloader)), but {self._given} samples have been fetched. ",
            )
        return batch


def _stream_reader(stream: Iterator[Any], loader: DataLoader) -> Callable[[list[Any]], Any]:
    def read(slots: list[Any]) -> Any:
        # Slots first: with the arguments exchanged, zip would take one sample too many from the stream, and lose it.
        samples = [sample for _, sample in zip(slots, stream, strict=False)]
        if not samples or (loader.drop_last and len(samples) < len(slots)):
            # ``read`` is no generator: this leaves through __next__, and ends the pass.
            raise StopIteration
        return loader.collate_fn(samples)

    return read


def _rows_of_tensors(dataset: Any) -> TensorDataset | None:
    """The TensorDataset under plain subsets, if there is one."""
    # As in PyTorch, a stream is held to its length only after it was asked for.
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return dataset if type(dataset) is TensorDataset else None


def _row_reader(dataset: Any) -> Callable[[list[Any]], list[Any]]:
    """A reader of many rows by one index operation: the same as collating them one by one, without the overhead."""

    def read(indices: list[Any]) -> list[Any]:
        layer = dataset
        while type(layer) is Subset:
            # From the outermost subset down to the table.
            indices = [layer.indices[i] for i in indices]
            layer = layer.dataset
        # A bool, a slice or a tensor means something else in a list of indices than by itself.
        if all(type(i) is int for i in indices):
            return [tensor[indices] for tensor in layer.tensors]
        batch: list[Any] = default_collate([layer[i] for i in indices])
        return batch

    return read


def _check_workers(workers: int, timeout: float, prefetch: int | None, persistent: bool, context: Any) -> None:
    if workers < 0:
        raise ArgumentError(
            f"num_workers option should be non-negative; use num_workers=0 to disable multiprocessing. Got {workers}"
        )
    if timeout < 0:
        raise ArgumentError(f"timeout option should be non-negative. Got {timeout}")
    if workers == 0 and prefetch is not None:
        raise ArgumentError(
            "prefetch_factor option could only be specified in multiprocessing.let num_workers > 0 to enable "
            "multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch is not None and prefetch < 0:
        raise ArgumentError(f"prefetch_factor option should be non-negative. Got {prefetch}")
    if workers == 0 and persistent:
        raise ArgumentError("persistent_workers option needs num_workers > 0")
    if workers == 0 and context is not None:
        raise ArgumentError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
            "num_workers=0"
        )
    if workers > 0:
        warn_user(
            f"num_workers={workers}: samples are read in this process, one after another; the batches are the same. "
            "Pass num_workers=0 to say so",
        )


def _check_stream(shuffle: bool | None, sampler: Any, batch_sampler: Any) -> None:
    # shuffle=False says nothing against a stream.
    given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
    for name, value in given.items():
        if value is not None:
            raise ArgumentError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
            )

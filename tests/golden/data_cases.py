"""Orders of samples, written once for PyTorch and for this package: what seeded loaders and samplers give.

Each case takes the module to run (torch, or tinygrad_rnn) after ``manual_seed`` and gives lists of numbers.
``everything`` ends each with three draws from the default generator, which show where it was left.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np


def batches(loader: Any, passes: int = 1) -> list[Any]:
    return [batch.tolist() for _ in range(passes) for batch in loader]


def stream(lib: Any, n: int) -> Any:
    class Stream(lib.utils.data.IterableDataset):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Any:
            return iter(range(n))

    return Stream()


def seeded(lib: Any, seed: int) -> Any:
    generator = lib.Generator()
    generator.manual_seed(seed)
    return generator


Case = Callable[[Any, Any], Any]  # (the library, its utils.data) -> lists of numbers
CASES: dict[str, Case] = {
    "sequential": lambda lib, d: batches(d.DataLoader(range(7), batch_size=3), 2),
    "shuffled": lambda lib, d: batches(d.DataLoader(range(23), batch_size=5, shuffle=True), 3),
    "shuffled-drop-last": lambda lib, d: batches(d.DataLoader(range(23), 5, True, drop_last=True), 2),
    "own-generator": lambda lib, d: batches(
        d.DataLoader(range(11), batch_size=4, shuffle=True, generator=seeded(lib, 5)), 3
    ),
    "half-a-pass": lambda lib, d: batches(itertools.islice(d.DataLoader(range(40), 4, shuffle=True), 3)),
    "unshuffled-with-generator": lambda lib, d: batches(d.DataLoader(range(5), 2, generator=seeded(lib, 5))),
    "one-by-one": lambda lib, d: list(d.DataLoader(range(6), batch_size=None, shuffle=True)),
    "stream": lambda lib, d: batches(d.DataLoader(stream(lib, 7), batch_size=3), 2),
    "stream-drop-last": lambda lib, d: batches(d.DataLoader(stream(lib, 7), batch_size=3, drop_last=True)),
    "stream-one-by-one": lambda lib, d: list(d.DataLoader(stream(lib, 4), batch_size=None)),
    "batch-sampler": lambda lib, d: batches(
        d.DataLoader(range(9), batch_sampler=d.BatchSampler(d.RandomSampler(range(9)), 4, False))
    ),
    "sampler": lambda lib, d: batches(d.DataLoader(range(9), 4, sampler=[3, 1, 4, 1, 5])),
    "random-sampler": lambda lib, d: [list(d.RandomSampler(range(10))) for _ in range(2)],
    "random-sampler-seeded": lambda lib, d: [list(d.RandomSampler(range(10), generator=seeded(lib, 3)))],
    "random-sampler-more": lambda lib, d: list(d.RandomSampler(range(10), num_samples=25)),
    "random-sampler-fewer": lambda lib, d: list(d.RandomSampler(range(10), num_samples=4)),
    "random-sampler-replacement": lambda lib, d: list(d.RandomSampler(range(10), replacement=True, num_samples=70)),
    "random-sampler-replacement-part": lambda lib, d: list(
        itertools.islice(d.RandomSampler(range(9), True, 70, generator=lib.default_generator), 5)
    ),
    "subset-sampler": lambda lib, d: list(d.SubsetRandomSampler([2, 3, 5, 7, 11])),
    "subset-sampler-seeded": lambda lib, d: list(d.SubsetRandomSampler([2, 3, 5, 7, 11], seeded(lib, 8))),
    "weighted-sampler": lambda lib, d: list(d.WeightedRandomSampler([0.1, 3.0, 0.0, 1.0], 20)),
    "weighted-sampler-without": lambda lib, d: list(d.WeightedRandomSampler([0.1, 3.0, 2.0, 1.0], 3, False)),
    "split": lambda lib, d: [list(part) for part in d.random_split(range(10), [3, 7])],
    "split-fractions": lambda lib, d: [list(part) for part in d.random_split(range(11), [0.3, 0.3, 0.4])],
    "split-seeded": lambda lib, d: [list(p) for p in d.random_split(range(10), [0.5, 0.5], generator=seeded(lib, 42))],
    "split-then-shuffle": lambda lib, d: [
        batches(d.DataLoader(part, 2, shuffle=True)) for part in d.random_split(range(9), [4, 5])
    ],
    "tensors": lambda lib, d: [
        [x.tolist(), y.tolist()]
        for x, y in d.DataLoader(
            d.TensorDataset(lib.arange(12).reshape(6, 2), lib.tensor(np.arange(6) / 2)), 4, shuffle=True
        )
    ],
}


def everything(lib: Any, seed: int = 7) -> dict[str, Any]:
    out = {}
    for name, case in CASES.items():
        lib.manual_seed(seed)
        after = lib.utils.data.RandomSampler(range(1000), True, 3, generator=lib.default_generator)
        out[name] = [case(lib, lib.utils.data), list(after)]
    return out

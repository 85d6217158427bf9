"""Seeded loaders, samplers and splits give samples in PyTorch's order and leave the generator where it does."""

from __future__ import annotations

import json
import pathlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
import tinygrad_rnn.utils.data as data
from tests.golden import data_cases as cases
from tests.support.profiles import examples

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden" / "data.json").read_text())


def test_orders_are_those_of_pytorch() -> None:
    ours = cases.everything(tg)
    assert ours.keys() <= GOLDEN.keys()
    for name in ours:
        assert ours[name] == GOLDEN[name], name


@settings(max_examples=examples(60))
@given(st.integers(1, 60), st.integers(1, 20), st.booleans(), st.booleans(), st.integers(0, 2**40), st.booleans())
def test_random_loaders_follow_pytorch_where_it_is_installed(
    n: int, size: int, shuffle: bool, drop_last: bool, seed: int, own: bool
) -> None:
    torch = pytest.importorskip("torch")
    seen = []
    for lib in (tg, torch):
        lib.manual_seed(seed)
        generator = cases.seeded(lib, seed + 1) if own else None
        loader = lib.utils.data.DataLoader(range(n), size, shuffle, drop_last=drop_last, generator=generator)
        seen.append((len(loader), cases.batches(loader, 2), lib.get_rng_state().tolist()))
    assert seen[0] == seen[1]


@settings(max_examples=examples(60))
@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.integers(0, 50), st.integers(0, 2**40))
def test_random_splits_follow_pytorch_where_it_is_installed(parts: list[float], n: int, seed: int) -> None:
    torch = pytest.importorskip("torch")
    total = sum(parts)
    fractions = [p / total for p in parts] if total else [1.0]
    if sum(fractions) > 1:
        return
    seen = []
    for lib in (tg, torch):
        with pytest.warns() if _empty(fractions, n) else _nothing():
            split = lib.utils.data.random_split(range(n), fractions, generator=cases.seeded(lib, seed))
        seen.append([list(part) for part in split])
    assert seen[0] == seen[1]
    assert sorted(i for part in seen[0] for i in part) == list(range(n))


def _empty(fractions: list[float], n: int) -> bool:
    sizes = [int(np.floor(n * f)) for f in fractions]
    left = n - sum(sizes)
    return any(size + (i < left) == 0 for i, size in enumerate(sizes))


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


@settings(max_examples=examples(40))
@given(st.integers(1, 40), st.integers(1, 9), st.booleans())
def test_a_shuffled_pass_gives_every_sample_once(n: int, size: int, drop_last: bool) -> None:
    loader = data.DataLoader(range(n), batch_size=size, shuffle=True, drop_last=drop_last)
    batches = cases.batches(loader)
    assert len(batches) == len(loader) == len(iter(loader))
    seen = [i for batch in batches for i in batch]
    assert len(seen) == (n // size * size if drop_last else n) and set(seen) <= set(range(n))
    assert len(set(seen)) == len(seen)
    assert all(len(batch) == size for batch in batches[:-1])


def test_passes_over_one_loader_are_different_and_independent() -> None:
    loader = data.DataLoader(range(100), batch_size=100, shuffle=True)
    one, two = iter(loader), iter(loader)
    assert next(one).tolist() != next(two).tolist()
    with pytest.raises(StopIteration):
        next(one)


def test_weights_are_the_probabilities() -> None:
    tg.manual_seed(0)
    counts = Counter(data.WeightedRandomSampler([1.0, 0.0, 3.0], 4000))
    # 3000 expected, standard deviation sqrt(4000 * 3/16) = 27: five of them
    assert counts[1] == 0 and abs(counts[2] - 3000) < 140

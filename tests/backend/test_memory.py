"""Memory that is used again: never while an array still lies in it."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_rnn.backend import aligned_empty, memory

LIKE = np.zeros((), np.float32)


@pytest.fixture(autouse=True)
def nothing_idle() -> None:
    memory.release_memory()


def address(a: np.ndarray) -> int:
    return int(a.__array_interface__["data"][0])


@pytest.mark.parametrize("shape", [(), (0, 5), (3, 7), (64, 100), (1 << 12, 33), (1 << 16, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bool"])
def test_an_array_is_writable_contiguous_of_the_shape_and_dtype_asked_for(shape: tuple[int, ...], dtype: str) -> None:
    a = aligned_empty(shape, np.zeros((), dtype))
    assert type(a) is np.ndarray
    assert (a.shape, a.dtype) == (shape, np.dtype(dtype))
    assert a.flags.c_contiguous and a.flags.writeable
    a[...] = 1
    assert a.all()
    assert a.nbytes < memory.UNALIGNED or address(a) % memory.CACHE_LINE == 0


def test_memory_is_used_again_once_the_last_view_of_it_is_gone() -> None:
    a = aligned_empty((1 << 10, 100), LIKE)
    start, view = address(a), a[3:5].T
    del a
    b = aligned_empty((1 << 10, 100), LIKE)
    assert address(b) != start
    assert not np.shares_memory(b, view)
    del view
    c = aligned_empty((1 << 10, 101), LIKE)  # of about the same size
    assert address(c) == start


def test_arrays_that_live_at_the_same_time_never_overlap() -> None:
    rng = np.random.default_rng(0)
    alive: list[np.ndarray] = []
    for number in range(300):
        a = aligned_empty((int(rng.integers(1 << 14, 1 << 17)),), LIKE)
        a[...] = number
        alive.append(a)
        while len(alive) > 5:
            alive.pop(int(rng.integers(len(alive))))
        values = [float(a[0]) for a in alive]
        assert len(set(values)) == len(alive)
        assert all((a == value).all() for a, value in zip(alive, values, strict=True))


def test_idle_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 1 << 20)
    for rows in range(1 << 15, 1 << 18, 1 << 13):
        del (a := [aligned_empty((rows,), LIKE)])[0]
        assert not a
        assert sum(size * len(kept) for size, kept in memory._idle.items()) <= memory.MOST

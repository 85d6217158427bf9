"""Adding at places: every value counts, on every array module, also where an order is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.rows import together
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.kernels import scatter_add

RNG = np.random.default_rng(0)


def drawn(limit: int, *shape: int) -> np.ndarray:
    """Places from both ends: many of them twice, some counted from the end."""
    return RNG.integers(-limit, limit, shape)


INDICES: dict[str, tuple[tuple[int, ...], Any]] = {
    "places of a vector": ((7,), drawn(7, 50)),
    "rows": ((7, 3), drawn(7, 5, 4)),
    "few wide rows": ((3, 40), drawn(3, 100)),
    "many wide rows": ((300, 40), drawn(300, 10)),
    "pairs": ((4, 5), (drawn(4, 30), drawn(5, 30))),
    "pairs of rows": ((4, 5, 2), (drawn(4, 30), drawn(5, 30))),
    "pairs of wide rows, many of them": ((2, 3, 40), (drawn(2, 60), drawn(3, 60))),
    "rows of nothing": ((0, 40), np.zeros((0,), np.int64)),
    "pairs that broadcast": ((4, 5, 2), (drawn(4, 6, 1), drawn(5, 3))),
    "triples": ((4, 5, 2), (drawn(4, 30), drawn(5, 30), drawn(2, 30))),
    "columns": ((4, 5), (slice(None), drawn(5, 12))),
    "columns of a part": ((4, 5, 3), (slice(1, 4, 2), drawn(5, 12))),
    "arrays apart": ((4, 5, 3), (drawn(4, 8), slice(None), drawn(3, 8))),
    "a number and an array": ((4, 5), (2, drawn(5, 12))),
    "an array and a new axis": ((4, 5), (drawn(4, 6), None)),
    "the last axis": ((4, 5), (..., drawn(5, 12))),
    "an array of small whole numbers": ((7, 2), drawn(7, 20).astype(np.int8)),
    "a large array, few places": ((50, 60, 3), (slice(None), drawn(60, 1), drawn(3, 1))),
    "no places": ((4, 5), np.zeros((0,), np.int64)),
    "a part": ((4, 5), (slice(1, 3), 2)),
}


def moved(index: Any, xp: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(moved(i, xp) for i in index)
    return xp.asarray(index) if isinstance(index, np.ndarray) else index


@pytest.fixture(params=[False, True], ids=["any order", "one order"])
def deterministic(request: pytest.FixtureRequest) -> Iterator[bool]:
    tg.use_deterministic_algorithms(request.param)
    yield request.param
    tg.use_deterministic_algorithms(False)


@together
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", INDICES)
def test_every_value_is_added(name: str, order: Any, deterministic: bool, xp: Any) -> None:
    shape, index = INDICES[name]
    start = RNG.standard_normal(shape)
    values = RNG.standard_normal(start[index].shape)
    expected = start.copy()
    np.add.at(expected, index, values)
    total = xp.asarray(np.array(start, order=order))
    scatter_add.add_at(total, moved(index, xp), xp.asarray(values))
    # Sums of at most a hundred numbers near 1, in another order.
    np.testing.assert_allclose(to_numpy(total), expected, rtol=0, atol=1e-13)
    assert values.size == 0 or np.abs(expected - start).max() > 0.1


def test_the_order_is_the_same_in_every_run(device_xp: Any) -> None:
    """Of numbers whose sum depends on the order, and 10^5 of them, so that threads would not arrive in one."""
    places = device_xp.asarray(RNG.integers(0, 3, 100_000))
    values = device_xp.asarray((RNG.standard_normal(100_000) * 10.0 ** RNG.integers(-4, 4, 100_000)).astype(np.float32))
    results = []
    tg.use_deterministic_algorithms(True)
    try:
        for _ in range(5):
            total = device_xp.zeros(3, np.float32)
            scatter_add.add_at(total, places, values)
            results.append(to_numpy(total).tobytes())
    finally:
        tg.use_deterministic_algorithms(False)
    assert len(set(results)) == 1


def test_no_value_is_looked_at_on_the_way(double: Any) -> None:
    total, index = double.zeros((7, 3)), double.asarray(drawn(7, 20))
    values = double.ones((20, 3))
    before = double.syncs
    tg.use_deterministic_algorithms(True)
    try:
        scatter_add.add_at(total, index, values)
    finally:
        tg.use_deterministic_algorithms(False)
    scatter_add.add_at(total, index, values)
    assert double.syncs == before and float(total.sum()) == 120


def test_gradients_of_an_embedding_follow_the_wish(device_xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    inner = scatter_add._add_sorted
    monkeypatch.setattr(scatter_add, "_add_sorted", lambda *args: (called.append(1), inner(*args))[1])
    weight = tg.ones(5, 2, device="cuda").requires_grad_()
    words = tg.tensor([1, 3, 1, 1], device="cuda")
    gradients = []
    for wish in (False, True):
        tg.use_deterministic_algorithms(wish)
        tg.nn.functional.embedding(words, weight).sum().backward()
        gradients.append(weight.grad.cpu().tolist())
        weight.grad = None
        assert bool(called) == wish
    tg.use_deterministic_algorithms(False)
    assert gradients[0] == gradients[1] == [[0, 0], [3, 3], [0, 0], [1, 1], [0, 0]]


def test_the_wish_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for lib in (tg, torch):
        seen = []

        def note(lib: Any = lib, seen: list[Any] = seen) -> None:
            seen.append(lib.are_deterministic_algorithms_enabled())
            seen.append(lib.is_deterministic_algorithms_warn_only_enabled())
            seen.append(lib.get_deterministic_debug_mode())

        note()
        lib.use_deterministic_algorithms(True)
        note()
        lib.use_deterministic_algorithms(True, warn_only=True)
        note()
        for mode in ("error", 1, "default", 2, 0):
            lib.set_deterministic_debug_mode(mode)
            note()
        assert seen == [False, False, 0, True, False, 2, True, True, 1] + [
            *(True, False, 2, True, True, 1, False, False, 0, True, False, 2, False, False, 0)
        ]
        with pytest.raises(TypeError, match="debug_mode must be str or int"):
            lib.set_deterministic_debug_mode(1.5)
    with pytest.raises(ValueError, match="invalid value of debug_mode"):
        tg.set_deterministic_debug_mode("loud")
    with pytest.raises(TypeError):
        tg.use_deterministic_algorithms(True, True)  # type: ignore[misc]

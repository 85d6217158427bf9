"""Filling arrays in place: dealt out in the order of memory, as PyTorch does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.support.rows import together
from tinygrad_rnn.backend.random import draws as R
from tinygrad_rnn.backend.random import inplace

VIEWS = {
    "plain": ((4, 5, 3), lambda x: x),
    "turned": ((4, 5, 3), lambda x: x.swapaxes(0, 2)),
    "rotated": ((4, 5, 3), lambda x: x.swapaxes(0, 1).swapaxes(1, 2)),
    "gaps": ((6, 8), lambda x: x[:, ::2]),
    "gaps, turned": ((6, 8), lambda x: x[:, ::2].swapaxes(0, 1)),
    "row": ((5, 40), lambda x: x[2]),
    "column": ((40, 5), lambda x: x[:, 2]),
    "small": ((2, 3), lambda x: x.swapaxes(0, 1)),
    "number": ((), lambda x: x),
    "empty": ((0, 3), lambda x: x.swapaxes(0, 1)),
}
FILLS = {
    "uniform": (lambda x: inplace.fill_uniform(x, -1.0, 2.0), lambda t: t.uniform_(-1.0, 2.0)),
    "normal": (lambda x: inplace.fill_normal(x, 0.5, 2.0), lambda t: t.normal_(0.5, 2.0)),
    "bernoulli": (lambda x: inplace.fill_bernoulli(x, 0.3), lambda t: t.bernoulli_(0.3)),
    "exponential": (lambda x: inplace.fill_exponential(x, 2.0), lambda t: t.exponential_(2.0)),
    "random": (lambda x: inplace.fill_random(x, 3, 99), lambda t: t.random_(3, 99)),
}


@pytest.fixture(autouse=True)
def unchanged_default_stream() -> Any:
    with R.fork_rng():
        yield


@together
@pytest.mark.parametrize("kind", FILLS)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_view_is_filled_as_torch_fills_it(kind: str, view: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    shape, take = VIEWS[view]
    ours, theirs = np.zeros(shape, dtype), torch.zeros(shape, dtype=getattr(torch, dtype))
    R.manual_seed(5)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        FILLS[kind][1](take(theirs))
        FILLS[kind][0](take(ours))
        assert ours.tobytes() == theirs.numpy().tobytes()
        assert (R.get_rng_state() == torch.get_rng_state().numpy()).all()
    assert math.prod(shape) < 2 or ours.any()


@pytest.mark.parametrize("view", VIEWS)
def test_a_dropout_mask_follows_the_memory_of_its_input_as_in_torch(view: str) -> None:
    torch = pytest.importorskip("torch")
    shape, take = VIEWS[view]
    R.manual_seed(6)
    with torch.random.fork_rng():
        torch.manual_seed(6)
        theirs = torch.nn.functional.dropout(take(torch.ones(shape)), 0.4)
    ours = inplace.dropout_like(take(np.ones(shape, "float32")), 0.4)
    assert ours.dtype == np.float32
    assert (ours == theirs.numpy()).all()


def test_a_broadcast_input_gets_a_mask_in_plain_order() -> None:
    wide = np.broadcast_to(np.ones((1, 4), "float32"), (3, 4))
    R.manual_seed(2)
    mask = inplace.dropout_like(wide, 0.5)
    R.manual_seed(2)
    assert (mask == R.dropout_mask((3, 4), 0.5)).all()


def test_probabilities_of_each_place_are_used_in_the_order_of_memory() -> None:
    odds = np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    out = np.full((3, 2), 7.0).T
    inplace.fill_bernoulli(out, odds)
    assert (out == odds).all()

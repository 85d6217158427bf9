"""NumPy's LSTM with h and x in one table: the same numbers as with a projection ahead of the loop, where it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.kernels.recurrent.numpy import input_and_state, lstm, weight_gradients
from tinygrad_rnn.kernels.recurrent.numpy.input_and_state import Joined
from tinygrad_rnn.kernels.recurrent.numpy.schedule import Plan

STEPS, BATCH, INPUTS, SIZE = 6, 3, 5, 4


def arguments(bias: str, seed: int = 0) -> list[Any]:
    """x, h0, c0, w_ih, w_hh, b_ih, b_hh: ``bias`` says which of the two there are."""
    rng = np.random.default_rng(seed)
    shapes = [(STEPS, BATCH, INPUTS), (BATCH, SIZE), (BATCH, SIZE), (4 * SIZE, INPUTS), (4 * SIZE, SIZE)]
    given = [rng.standard_normal(shape) for shape in shapes]
    return given + [rng.standard_normal(4 * SIZE) if name in bias else None for name in ("ih", "hh")]


def run(args: list[Any], reverse: bool, needs: list[bool]) -> tuple[list[Any], bool]:
    """Outputs and gradients, and whether there was a joined table."""
    outputs, residual = lstm.forward(*args, reverse=reverse, cells=True)
    assert residual is not None
    rng = np.random.default_rng(1)
    gs = [rng.standard_normal(y.shape) for y in outputs]
    found = lstm.backward(gs, residual, *args, needs=needs)
    return [*outputs, *found], residual.joined is not None


@pytest.mark.parametrize("bias", ["", "ih", "hh", "ih hh"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("rows", [10**6, 7])  # in one part and in several
def test_joined_and_not_joined_are_the_same_function(
    monkeypatch: pytest.MonkeyPatch, bias: str, reverse: bool, rows: int
) -> None:
    args = arguments(bias)
    needs = [True] * 5 + [a is not None for a in args[5:]] + [False]
    monkeypatch.setattr(lstm, "most_rows", lambda size, least=1: rows)
    got, was_joined = run(args, reverse, needs)
    monkeypatch.setattr(input_and_state, "LARGEST", 0)
    expected, was_joined_again = run(args, reverse, needs)
    assert (was_joined, was_joined_again) == (True, False)
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert np.abs(b).max() > 0.01
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)  # two orders of adding in float64
            assert a.flags.c_contiguous


def test_results_share_no_memory_with_the_table_or_each_other() -> None:
    args = arguments("ih hh")
    outputs, residual = lstm.forward(*args)
    assert residual is not None and residual.joined is not None
    table = residual.joined.earlier
    found = lstm.backward([np.ones_like(y) for y in outputs], residual, *args, needs=[True] * 7 + [False])
    arrays = [table, *outputs, *[a for a in found if a is not None]]
    assert not any(np.shares_memory(a, b) for k, a in enumerate(arrays) for b in arrays[:k])


@pytest.mark.parametrize("position", range(3, 7))
def test_gradients_that_are_not_wanted_are_none(position: int) -> None:
    needs = [k == position for k in range(8)]
    args = arguments("ih hh")
    (_, _, _, _, *found), _ = run(args, False, needs)
    assert [a is not None for a in found] == needs
    (_, _, _, _, *everything), _ = run(args, False, [True] * 7 + [False])
    np.testing.assert_array_equal(found[position], everything[position])


def test_weights_that_nobody_asks_about_cost_no_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_gradients, "weight_gradient", lambda *_: pytest.fail("computed all the same"))
    run(arguments("ih hh"), False, [True] * 3 + [False] * 5)


def test_a_table_only_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(steps: int, batch: int = BATCH, sizes: Any = None) -> bool:
        x = np.zeros((steps, batch, INPUTS)) if sizes is None else np.zeros((sum(sizes), INPUTS))
        state = np.zeros((batch, SIZE))
        return Joined.of(Plan.of(x, state, sizes, False), x, state) is not None

    assert made(6)
    assert made(4)
    assert not made(3)  # with so few products the weight is not rearranged
    assert not made(6, batch=0)
    assert not made(4, sizes=(3, 2, 1, 1))
    monkeypatch.setattr(input_and_state, "LARGEST", 7 * BATCH * (INPUTS + SIZE + 1))
    assert made(6)
    assert not made(7)

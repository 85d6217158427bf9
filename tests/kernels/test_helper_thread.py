"""A second thread beside a loop: everything is done once, by whoever; gradients are the same bits in every run."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from tests.support.flat_kernels import flat
from tinygrad_rnn.backend.cpu.threads import one_blas_thread, set_num_threads
from tinygrad_rnn.kernels.recurrent.numpy import products
from tinygrad_rnn.kernels.recurrent.threads import Helper, helper_for


def test_all_that_was_given_is_done_by_two_threads_when_the_block_is_left(two_threads: None) -> None:
    meeting, seen = threading.Barrier(2, timeout=20), []

    def meet(number: int) -> None:
        meeting.wait()  # both threads are here, or this raises
        seen.append((number, threading.get_ident()))

    with Helper() as two:
        assert one_blas_thread.inside == 1
        for number in range(6):
            last = two.give(meet, number)
        two.wait(last)
        assert last is not None and not last.unfinished
    assert sorted(number for number, _ in seen) == list(range(6)) and len({who for _, who in seen}) == 2
    assert one_blas_thread.inside == 0


def test_no_help_where_threads_compute_already_or_there_is_little_to_do(two_threads: None) -> None:
    assert helper_for(100, np.zeros(1)) is not None
    with one_blas_thread:
        assert helper_for(100, np.zeros(1)) is None
    assert helper_for(1, np.zeros(1)) is None
    set_num_threads(1)
    assert helper_for(100, np.zeros(1)) is None


def test_an_error_arrives_and_numpy_is_as_strict_as_with_the_caller(two_threads: None) -> None:
    big = np.full(1, 3e38, np.float32)
    with pytest.raises(FloatingPointError), np.errstate(over="raise"), Helper() as two:
        two.wait(two.give(np.add, big, big))
    with pytest.raises(KeyError, match="7"), Helper() as two:
        two.give({}.__getitem__, 7)
    assert one_blas_thread.inside == 0


def test_an_error_of_the_loop_leaves_what_is_not_begun(two_threads: None) -> None:
    begun, go, done = threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        go.wait(20)
        done.append(1)

    with pytest.raises(ZeroDivisionError), Helper() as two:
        two.give(first)
        two.give(done.append, 2)
        assert begun.wait(20)
        go.set()
        raise ZeroDivisionError
    assert done in ([1], [1, 2])
    assert one_blas_thread.inside == 0


@pytest.mark.parametrize("sizes", [None, [5, 5, 4, 4, 3, 3, 2, 1]])
@pytest.mark.parametrize("wanted", [["x", "h", "w_ih", "w_hh", "b_ih", "b_hh"], ["x"], ["w_ih"], ["b_hh"], ["h"]])
@pytest.mark.parametrize(("mode", "gates", "states"), [("lstm", 4, 2), ("gru", 3, 1), ("rnn", 1, 1)])
def test_a_layer_is_the_same_with_a_second_thread(
    monkeypatch: pytest.MonkeyPatch, two_threads: None, mode: str, gates: int, states: int, wanted: Any, sizes: Any
) -> None:
    monkeypatch.setattr(products, "ELEMENTS_IN_CACHE", 40)  # several parts
    monkeypatch.setattr(products, "ROWS_OF_A_PRODUCT", 10)
    rng = np.random.default_rng(0)
    rows = (8, 5) if sizes is None else (sum(sizes),)
    names = ["x", *["h"] * states, "w_ih", "w_hh", "b_ih", "b_hh"]
    shapes = [(*rows, 3), *[(5, 4)] * states, (4 * gates, 3), (4 * gates, 4), (4 * gates,), (4 * gates,)]
    args = [rng.standard_normal(shape) for shape in shapes]
    gs = [rng.standard_normal(shape) for shape in ((*rows, 4), *[(5, 4)] * states)]
    needs = [name in wanted for name in names]
    given: list[str] = []
    give = Helper.give

    def asked(self: Helper, function: Any, *arguments: Any) -> Any:
        given.append(getattr(function, "__name__", "project"))
        return give(self, function, *arguments)

    monkeypatch.setattr(Helper, "give", asked)
    kernel = flat(mode)

    def run() -> list[Any]:
        outputs, residual = kernel.forward(*args, sizes=sizes)
        assert residual is not None
        return [*outputs, *kernel.backward(gs, residual, *args, needs=needs)]

    both = [run() for _ in range(5)]
    expected_work = ["project"] * (mode != "rnn") + ["_to_x"] * needs[0]
    expected_work += ["_add"] * any(name[0] == "w" for name in wanted)  # that of a bias alone is no work
    assert sorted(set(given)) == sorted(expected_work)  # a plain RNN projects into the place of its states
    assert all(given.count(name) >= 15 for name in expected_work)  # several parts, five times
    given.clear()
    set_num_threads(1)
    alone = run()
    assert not given
    for k, expected in enumerate(alone):
        wanted_here = k <= states or [*needs, False][k - 1 - states]  # w_hr is not there
        assert all((found[k] is None) == (expected is None) == (not wanted_here) for found in both)
        if expected is not None:
            assert np.abs(expected).max() > 0.01
            np.testing.assert_allclose(both[0][k], expected, rtol=0, atol=1e-13 * np.abs(expected).max() * 40)
            for found in both[1:]:
                np.testing.assert_array_equal(found[k], both[0][k])


def test_gradients_of_weights_that_are_not_wanted_cost_no_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "weight_gradient", lambda *_: pytest.fail("computed all the same"))
    args = [np.ones(shape) for shape in ((6, 3, 5), (3, 4), (3, 4), (16, 5), (16, 4), (16,), (16,))]
    outputs, residual = flat("lstm").forward(*args)
    assert residual is not None
    found = flat("lstm").backward([np.ones_like(y) for y in outputs], residual, *args, needs=[True] * 3 + [False] * 5)
    assert [g is not None for g in found] == [True] * 3 + [False] * 5

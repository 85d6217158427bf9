"""Results a step ahead: the same ones, whatever happens to who computes them or who asks."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.backend.cpu.threads import get_num_threads, one_blas_thread
from tinygrad_rnn.kernels.recurrent.prefetch import Prefetch


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    threads, count = threading.active_count(), get_num_threads()
    yield
    assert threading.active_count() == threads
    assert one_blas_thread.inside == 0 and get_num_threads() == count


@pytest.mark.parametrize("threaded", [True, False])
def test_results_come_in_order(threaded: bool) -> None:
    with Prefetch(lambda a, b: a * b, [(k, 10) for k in range(50)], threaded) as ahead:
        assert [ahead.next() for _ in range(50)] == [10 * k for k in range(50)]


def test_one_result_is_made_while_another_is_used_and_no_more() -> None:
    made: list[int] = []
    second, third = threading.Event(), threading.Event()

    def make(k: int) -> int:
        made.append(k)
        if k == 1:
            second.set()
        if k == 2:
            third.set()
        return k

    with Prefetch(make, [(k,) for k in range(5)], True) as ahead:
        assert ahead.next() == 0
        assert second.wait(10)  # nobody has asked for it yet
        assert not third.wait(0.05) and made == [0, 1]
        assert ahead.next() == 1 and third.wait(10)


@pytest.mark.parametrize("threaded", [True, False])
def test_an_error_reaches_who_asks(threaded: bool) -> None:
    def make(k: int) -> int:
        if k == 1:
            raise ValueError("the second")
        return k

    with pytest.raises(ValueError, match="the second"), Prefetch(make, [(0,), (1,), (2,)], threaded) as ahead:
        assert ahead.next() == 0
        ahead.next()


@pytest.mark.parametrize("threaded", [True, False])
def test_an_error_of_who_asks_ends_the_thread(threaded: bool) -> None:
    with pytest.raises(KeyboardInterrupt), Prefetch(lambda k: k, [(k,) for k in range(3)], threaded) as ahead:
        ahead.next()
        raise KeyboardInterrupt


@pytest.mark.parametrize("threaded", [True, False])
def test_nothing_to_do(threaded: bool) -> None:
    with Prefetch(lambda k: k, [], threaded):
        pass


def test_numpy_is_as_quiet_there_as_here() -> None:
    def state() -> Any:
        return np.geterr()

    with np.errstate(over="ignore", divide="raise"), Prefetch(state, [()], True) as ahead:
        assert ahead.next() == np.geterr()

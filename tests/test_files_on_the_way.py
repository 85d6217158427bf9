"""How many files a reader has to open to follow a call: those of the package that it runs through, counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import tinygrad_rnn as tg
from tests.support.visits import PACKAGE, visited
from tinygrad_rnn.tape.observe.leaks import past


def assert_at_most(most: int, call: Callable[[], object]) -> None:
    """Print the files and the functions that ``call`` enters when it is called for the second time; count the files."""
    call()  # what is loaded or compiled now is not on the way of later calls
    found = visited(call)
    text = "\n".join(f"{path}: {', '.join(dict.fromkeys(names))}" for path, names in found.items())
    print(text)
    assert 0 < len(found) <= most, f"{len(found)} files, expected at most {most}:\n{text}"


def test_a_gradient_of_tanh_runs_through_few_files() -> None:
    past.calls = 0  # of eight calls one also looks for graphs that pile up: see tape/observe/leaks.py
    weights = iter([tg.ones(3, requires_grad=True) for _ in range(2)])
    assert_at_most(8, lambda: tg.tanh(next(weights)).sum().backward())


@pytest.mark.parametrize("kernel", ["numba", "numpy"])
def test_a_call_of_an_lstm_runs_through_few_files(kernel: str) -> None:
    if kernel == "numba":
        pytest.importorskip("numba")
    layer, x = tg.nn.LSTM(3, 8), tg.ones(5, 2, 3)
    with tg.backends.recurrent.only(kernel):
        assert_at_most(14, lambda: layer(x))


def test_files_are_counted_once_and_others_not_at_all() -> None:
    w = tg.ones(2, requires_grad=True)
    found = visited(lambda: (tg.tanh(w), tg.tanh(w), pytest.approx(1.0)))
    assert found["tape/apply.py"].count("apply") == 2
    assert all((PACKAGE / path).is_file() for path in found)
    with pytest.raises(AssertionError, match="files, expected at most 1"):
        assert_at_most(1, lambda: tg.tanh(w).sum())

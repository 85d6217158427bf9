"""The cells that are compared are the same cell in both libraries, and in all of our forms."""

from __future__ import annotations

import pytest

from tinygrad_rnn.bench import user_cells
from tinygrad_rnn.bench.measure import COMPOSED, NUMPY_KERNELS, OURS
from tinygrad_rnn.bench.user_cells import GRID, USER_CELLS, user_cell_goals, user_cell_jobs
from tinygrad_rnn.compat.backends.recurrent import only


def test_there_are_twelve_cells_and_a_goal_for_each_size() -> None:
    assert len(USER_CELLS) == 12 and "layer norm LSTM" in USER_CELLS
    for size in GRID:
        assert set(user_cell_goals(*size)[OURS]) == {COMPOSED, "torch"}


@pytest.mark.parametrize("name", USER_CELLS)
def test_a_cell_has_the_gradients_that_torch_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    # compiled by NumPy's text, which takes no time to make; Numba's is compared with it elsewhere
    monkeypatch.setenv("TINYGRAD_RNN_KERNELS", "numpy")
    with only("numpy"):
        jobs = user_cell_jobs(name, 6, 3, 4, torch=True)
    assert set(jobs) == {OURS, COMPOSED, "torch"}


@pytest.mark.parametrize("others", [True, False])
def test_numpys_kernels_are_a_competitor_where_there_are_others(others: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cells, "two_of_ours", lambda: others)
    monkeypatch.setattr(user_cells, "agree", lambda *unused: None)  # nothing runs, and so nothing is compiled
    assert others == (NUMPY_KERNELS in user_cell_jobs("minGRU", 3, 2, 4, torch=False))


def test_competitors_that_disagree_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cells, "_gradients", lambda x, cell: _once_more())
    with only("numpy"), pytest.raises(AssertionError, match="indRNN: .* does not compute the same"):
        user_cell_jobs("indRNN", 3, 2, 4, torch=False)


_calls = iter(range(1, 100))


def _once_more() -> list[float]:
    return [float(next(_calls))]

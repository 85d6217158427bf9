"""The line search tries the lengths that PyTorch tries, and ends where the strong Wolfe conditions hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.support.profiles import examples
from tinygrad_rnn.optim.line_search import Trial, cubic_minimum, strong_wolfe

waves = st.tuples(st.floats(0, 2), st.floats(0.3, 6), st.floats(0, 6), st.floats(0.01, 1), st.floats(-3, -0.1))


def along(t: float, wave: tuple[float, ...]) -> tuple[float, float]:
    """Value and slope of a parabola with a ripple."""
    a, b, c, d, e = wave
    return a * math.sin(b * t + c) + d * t * t + e * t, a * b * math.cos(b * t + c) + 2 * d * t + e


def search(wave: tuple[float, ...], first: float, budget: int) -> tuple[list[float], Trial, int]:
    """The lengths tried, the result, and how many were made."""
    tried = []

    def evaluate(t: Any) -> Trial:
        tried.append(float(t))
        f, slope = along(t, wave)
        return Trial(t, f, np.array([slope]), np.float64(slope))

    f, slope = along(0.0, wave)
    with np.errstate(all="ignore"):  # as LBFGS does
        trial, made = strong_wolfe(evaluate, Trial(0, f, np.array([slope]), np.float64(slope)), first, 1.0, budget)
    return tried, trial, made


@settings(max_examples=examples(200))
@given(waves, st.floats(0.01, 4), st.integers(0, 12))
@example(
    (1.22, 3.0, 1.42, 0.05, -2.07), 3.19, 12
)  # the second trial is higher than the first: that alone is no bracket
def test_the_lengths_tried_are_those_of_pytorch(wave: tuple[float, ...], first: float, budget: int) -> None:
    lbfgs = pytest.importorskip("torch.optim.lbfgs")
    torch = pytest.importorskip("torch")
    f, slope = along(0.0, wave)
    if slope >= -1e-3:
        return
    tried = []

    def evaluate(x: Any, t: Any, d: Any) -> tuple[float, Any]:
        tried.append(float(t))
        value, there = along(float(t), wave)
        return value, torch.tensor([there], dtype=torch.float64)

    one, start = torch.ones(1, dtype=torch.float64), torch.tensor([slope], dtype=torch.float64)
    value, _, t, made = lbfgs._strong_wolfe(evaluate, None, first, one, f, start, start[0], max_ls=budget)
    ours, trial, count = search(wave, first, budget)
    # lengths near a minimum come out of a square root of a difference: half the digits can be lost
    np.testing.assert_allclose(ours, tried, rtol=1e-6, atol=1e-6)
    assert count == made == len(ours)
    assert float(trial.t) == pytest.approx(float(t), rel=1e-6, abs=1e-6)
    assert trial.f == pytest.approx(value, rel=1e-6, abs=1e-6)


def test_whatever_the_trials_give_the_next_length_is_pytorchs() -> None:
    """Values and slopes drawn from few numbers, so that they are often equal, and belong to no function."""
    lbfgs = pytest.importorskip("torch.optim.lbfgs")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    ends = set()
    for _ in range(600):
        values, slopes = rng.integers(-4, 3, 12) / 2, rng.integers(-6, 7, 12) / 4
        first, budget, largest = rng.choice([0.25, 1.0, 2.0]), int(rng.integers(0, 10)), rng.choice([1.0, 3e-9, 1e-12])
        if rng.integers(3) == 0:
            values[0] = 1e-4 * first * -1.0  # just what it must have descended
        theirs: list[float] = []
        ours: list[float] = []

        def evaluate(x: Any, t: Any, d: Any, to: list[float] = theirs, v: Any = values, s: Any = slopes) -> Any:
            to.append(float(t))
            return float(v[len(to) - 1]), torch.tensor([s[len(to) - 1] / float(d)], dtype=torch.float64)

        def trial(t: Any, to: list[float] = ours, v: Any = values, s: Any = slopes) -> Trial:
            to.append(float(t))
            return Trial(t, float(v[len(to) - 1]), np.zeros(1), np.float64(s[len(to) - 1]))

        d, start = torch.full((1,), largest, dtype=torch.float64), torch.tensor([-1.0], dtype=torch.float64)
        f, _, t, made = lbfgs._strong_wolfe(evaluate, None, first, d, 0.0, start, start[0], max_ls=budget)
        with np.errstate(all="ignore"):
            found, count = strong_wolfe(trial, Trial(0, 0.0, np.zeros(1), np.float64(-1.0)), first, largest, budget)
        np.testing.assert_allclose(ours, theirs, 1e-9, 1e-9)
        assert (count, found.f) == (made, f) and float(found.t) == pytest.approx(float(t), abs=1e-9)
        ends.add((count, float(found.t) == first))
    assert len(ends) > 12


@settings(max_examples=examples(100))
@given(waves, st.floats(0.01, 4))
def test_the_result_satisfies_the_strong_wolfe_conditions(wave: tuple[float, ...], first: float) -> None:
    f, slope = along(0.0, wave)
    if slope >= -1e-3:
        return
    _, trial, made = search(wave, first, 60)
    if made < 60 and trial.t > 1e-6:  # else it stopped for want of room
        assert trial.f <= f + 1e-4 * trial.t * slope + 1e-12
        assert abs(trial.slope) <= 0.9 * abs(slope)


def test_the_cubic_finds_the_minimum_of_a_cubic() -> None:
    def trial(t: float) -> Trial:
        return Trial(t, t**3 - 3 * t, np.zeros(1), np.float64(3 * t * t - 3))  # its minimum is at 1

    for a, b in ((0.0, 3.0), (3.0, 0.0), (0.5, 1.25)):
        assert cubic_minimum(trial(a), trial(b)) == pytest.approx(1.0)
    assert cubic_minimum(trial(0.0), trial(0.5)) == 0.5  # clipped to the interval
    assert cubic_minimum(trial(0.0), trial(3.0), (1.5, 2.0)) == 1.5

    def line(slope: float) -> tuple[Trial, Trial]:
        return Trial(0.0, 0.0, np.zeros(1), np.float64(slope)), Trial(1.0, slope, np.zeros(1), np.float64(slope))

    with np.errstate(all="ignore"):  # a straight line has its minimum at infinity: clipped too
        assert cubic_minimum(*line(1.0)) == 0.0 and cubic_minimum(*line(-1.0), (0.5, 2.0)) in (0.5, 2.0)


def test_a_learning_rate_of_zero_moves_nothing() -> None:
    p = tg.nn.Parameter(tg.tensor([1.0, 2.0]))
    optimizer = tg.optim.LBFGS([p], lr=0.0, line_search_fn="strong_wolfe", max_iter=3)

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    for _ in range(2):
        assert float(optimizer.step(closure)) == 5 and p.tolist() == [1, 2]

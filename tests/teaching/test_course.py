"""The exercises of the course: right answers pass, known mistakes are called by name, wrong answers never pass."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest

from tests.support import profiles
from tinygrad_rnn.teaching.course.catalogue import UNITS, exercises
from tinygrad_rnn.teaching.course.checking import judge
from tinygrad_rnn.teaching.course.exercise import UNWRITTEN, Exercise, Mistake

ALL = exercises()
each = pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.name)
WRONG = 1000 if profiles.THOROUGH else 34
"""Random wrong answers to each exercise: 1,000 to all thirty together."""


@each
def test_the_solution_is_right(exercise: Exercise) -> None:
    verdict = judge(exercise, exercise.solution)
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    ("exercise", "mistake"), [pytest.param(e, m, id=f"{e.name}: {m.name}") for e in ALL for m in e.mistakes]
)
def test_a_known_mistake_is_recognised_as_itself(exercise: Exercise, mistake: Mistake) -> None:
    verdict = judge(exercise, mistake.function)
    assert not verdict.passed
    assert verdict.mistake == mistake.name, verdict
    assert mistake.said and mistake.said in str(verdict)


@each
def test_a_random_wrong_answer_is_never_right(exercise: Exercise) -> None:
    rng = np.random.default_rng(exercise.number)
    size = len(exercise.drawn())
    for _ in range(WRONG):
        spoilt = copy.copy(exercise)
        at = set(rng.choice(size, int(rng.integers(1, size + 1)), replace=False).tolist())
        calls = iter(range(size))
        changed = False

        def tried(answer: Any, case: Any, at: Any = at, calls: Any = calls) -> Any:
            nonlocal changed
            found = exercise.tried(exercise.solution, case)
            if answer is exercise.solution:
                return found
            parts = [np.array(p, np.float64) for p in ((found,) if len(exercise.returns) == 1 else found)]
            filled = [k for k, p in enumerate(parts) if p.size and np.isfinite(p).any()]
            if next(calls, None) in at and filled:
                part = parts[filled[int(rng.integers(len(filled)))]]
                where = np.argwhere(np.isfinite(part))
                place = tuple(where[rng.integers(len(where))])
                largest = np.abs(part[np.isfinite(part)]).max() or 1.0
                part[place] += largest * 10 ** rng.uniform(-4, 2) * rng.choice([-1, 1])
                changed = True
            return parts[0] if len(exercise.returns) == 1 else tuple(parts)

        spoilt.tried = tried  # type: ignore[method-assign]
        verdict = judge(spoilt, lambda *a: None)
        assert verdict.passed is not changed, verdict


@each
def test_what_it_begins_with_runs_and_is_not_right(exercise: Exercise) -> None:
    names: dict[str, Any] = {}
    exec(exercise.starter, names)
    verdict = judge(exercise, names[exercise.function])
    assert not verdict.passed
    # a formula to be mended is a mistake that has a name
    assert verdict.mistake if UNWRITTEN not in exercise.starter else not verdict.begun, verdict


@each
def test_it_says_what_a_learner_needs(exercise: Exercise) -> None:
    first, _, rest = exercise.text.partition("\n")
    assert first.endswith(".") and len(first) <= 120 and len(rest.split()) > 40
    assert len(exercise.hints) == 3 and len(set(exercise.hints)) == 3
    assert len(exercise.mistakes) >= 3
    names = [m.name for m in exercise.mistakes]
    assert len(set(names)) == len(names)
    assert exercise.function in exercise.starter and exercise.solution.__doc__
    assert UNITS[exercise.unit - 1].number == exercise.unit


@each
def test_cases_are_the_same_each_time(exercise: Exercise) -> None:
    assert len(exercise.drawn()) >= 5
    assert repr(exercise.drawn()) == repr(exercise.drawn())


@functools.cache
def tanh() -> Exercise:
    return next(e for e in ALL if e.name == "tanh")


def right(g: Any, x: Any) -> Any:
    return g * (1 - np.tanh(x) ** 2)


def changes_x(g: Any, x: Any) -> Any:
    found = right(g, x)
    x += 1
    return found


def wrong_at_the_end(g: Any, x: Any) -> Any:
    return right(g, x) if x.ndim < 3 else right(g, x) + 1


def overflows(g: Any, x: Any) -> Any:
    return g * (1 - ((np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)) ** 2)


def raises(g: Any, x: Any) -> Any:
    return g[7] * x


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda g, x: -right(g, x), "it is right but for its sign"),
        (lambda g, x: right(g, x) / 2, "it is right but for its factor: it is 0.5 times what it should be"),
        (lambda g, x: right(g, x).T, "it is transposed"),
        (lambda g, x: right(g, x)[::-1], "it is turned round"),
        (lambda g, x: 0 * x, "it is zero everywhere"),
        (lambda g, x: right(g, x).astype(np.float32), "it is close, but not exact"),
        (lambda g, x: 3 * g * np.tanh(x), "besides it has another factor: it is 3 times"),
        (lambda g, x: right(g, x).sum(), "dx: yours has shape (), right is (1,)"),
        (overflows, "it overflows"),
        (changes_x, "it writes into its argument `x`"),
        (wrong_at_the_end, "1 of 9 cases are wrong"),
        (lambda g, x: None, "it returns None: return dx"),
        (lambda g, x: [x, [1, 2]], "stands for dx is no array of real numbers but a list"),
        (lambda g, x: "dx", "no array of real numbers but a str"),
        (lambda g, x: x + 1j, "no array of real numbers but one of complex128"),
        (raises, "return g[7] * x"),
        (lambda g: g, "TypeError"),
    ],
)
def test_what_is_said_of_other_mistakes(answer: Any, said: str) -> None:
    verdict = judge(tanh(), answer)
    assert not verdict.passed and said in str(verdict), verdict


def test_a_verdict_shows_the_first_wrong_case_and_its_worst_entry_but_not_the_solution() -> None:
    verdict = judge(tanh(), lambda g, x: right(g, x) + (x.size > 4) * np.arange(x.size).reshape(x.shape))
    lines = str(verdict).splitlines()
    assert any(line.startswith("    case 5: g = [[") for line in lines)
    assert any(line.startswith("    worst at dx[1, 2]: yours ") for line in lines)
    assert "np.tanh" not in str(verdict)


def test_in_a_notebook_it_is_shown_with_everything_escaped() -> None:
    def answer(g: Any, x: Any) -> Any:
        raise ValueError("<script>alert(1)</script>")

    html = judge(tanh(), answer)._repr_html_()
    assert html is not None and "<script>" not in html and "&lt;script&gt;" in html

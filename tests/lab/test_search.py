"""Searches find what is there, count what they try, and keep the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.lab.search import evolve, genetic, guess

SEARCHES: list[Any] = [
    lambda m, f, **o: guess(m, f, trials=40, **o),
    lambda m, f, **o: evolve(m, f, generations=4, children=10, **o),
    lambda m, f, **o: genetic(m, f, generations=4, population=10, **o),
]


class Recorded:
    """A fitness that remembers whom it was asked about."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, float]] = []

    def __call__(self, model: nn.Module) -> float:
        v = nn.utils.parameters_to_vector(model.parameters())
        value = -float(((v - 1) ** 2).sum())
        assert not tg.is_grad_enabled()
        self.seen.append((v.detach().numpy().tobytes(), value))
        return value


@pytest.mark.parametrize("search", SEARCHES)
def test_the_best_of_all_that_were_tried_is_left_in_the_model(search: Any) -> None:
    model, fitness = nn.Linear(2, 2), Recorded()
    found = search(model, fitness)
    values = [value for _, value in fitness.seen]
    assert found.trials == len(fitness.seen) and len(set(fitness.seen)) > 20
    assert found.fitness == max(values) == found.history.max()
    best = fitness.seen[int(np.argmax(values))][0]
    assert nn.utils.parameters_to_vector(model.parameters()).detach().numpy().tobytes() == best
    assert found.vector.astype(np.float32).tobytes() == best and not found.solved


@pytest.mark.parametrize("search", SEARCHES)
def test_one_seed_one_search(search: Any) -> None:
    def run(seed: int) -> bytes:
        model = nn.Linear(2, 2)
        nn.init.constant_(model.weight, 0.5)
        nn.init.constant_(model.bias, 0.5)  # type: ignore[arg-type]
        return bytes(search(model, Recorded(), seed=seed).history.tobytes())

    assert run(0) == run(0) != run(1)


@pytest.mark.parametrize("search", SEARCHES)
def test_a_target_ends_the_search_and_nan_is_the_worst(search: Any) -> None:
    calls = iter([float("nan"), -5.0, 2.0, *[0.0] * 100])
    model = nn.Linear(1, 1)
    found = search(model, lambda m: next(calls), target=2.0)
    assert found.solved and found.fitness == 2.0 and found.trials < 25
    assert not np.isnan(found.history).any()
    none = search(model, lambda m: float("nan"))
    assert none.fitness == -np.inf and not none.solved


def test_guesses_are_uniform_in_the_interval_and_independent() -> None:
    drawn: list[Any] = []
    model = nn.Linear(3, 1)

    def fitness(m: nn.Module) -> float:
        drawn.append(nn.utils.parameters_to_vector(m.parameters()).detach().numpy().copy())
        return 0.0

    found = guess(model, fitness, low=-2, high=3, trials=2000)
    all_of = np.array(drawn)
    assert found.history.shape == (2000, 1) and all_of.min() >= -2 and all_of.max() <= 3
    np.testing.assert_allclose(all_of.mean(0), 0.5, atol=5 * 5 / np.sqrt(12 * 2000))  # five standard errors
    np.testing.assert_allclose(all_of.std(0), 5 / np.sqrt(12), rtol=0.08)
    assert abs(np.corrcoef(all_of.T) - np.eye(4)).max() < 0.12


def test_what_is_not_confirmed_is_searched_on() -> None:
    asked: list[float] = []
    model = nn.Linear(1, 1, bias=False)

    def confirm(m: Any) -> bool:
        asked.append(m.weight.item())
        return bool(m.weight.item() > 5)

    found = guess(model, lambda m: float(m.weight.item() > 0) + (m.weight.item() < 5), target=1, confirm=confirm)
    assert found.solved and model.weight.item() > 5 and any(w <= 5 for w in asked) and found.fitness == 1.0
    never = guess(model, lambda m: 1.0, target=1, confirm=lambda m: False, trials=7)
    assert not never.solved and never.trials == 7


def test_elitism_keeps_the_best_and_its_absence_does_not() -> None:
    def bests(**options: Any) -> Any:
        model = nn.Linear(4, 4)
        return genetic(
            model, Recorded(), generations=40, population=20, sigma=1.0, mutation=0.5, **options
        ).history.max(1)

    assert (np.diff(bests(elite=2)) >= 0).all() and (np.diff(bests(elite=0)) < 0).any()
    for elite, falls in ((0, True), (3, False), (1, False)):
        history = evolve(nn.Linear(4, 4), Recorded(), mu=3, children=6, sigma=2.0, elite=elite, generations=40).history
        assert bool((np.diff(history.max(1)) < 0).any()) == falls
        assert history.shape == (40, 6 + elite)


def test_members_that_are_kept_are_not_tried_again() -> None:
    fitness = Recorded()
    found = genetic(nn.Linear(2, 1), fitness, population=10, elite=4, generations=5)
    assert found.trials == len(fitness.seen) == 10 + 4 * 6


def test_step_sizes_adapt() -> None:
    """From a step a hundred times too small: the distance of 10 can only be gone if steps grow."""
    model = nn.Linear(2, 1, bias=False)
    with tg.no_grad():
        model.weight.fill_(11.0)
    found = evolve(model, Recorded(), sigma=0.01, generations=120)
    assert (
        found.fitness > -1e-3
    )  # 200 at the start; 3,600 steps of 0.01 / 5 parents go no further than 120 generations x 0.03


def test_crossover_takes_each_weight_from_one_of_the_parents() -> None:
    """Without mutation, no weight is ever new."""
    seen: list[Any] = []
    model = nn.Linear(5, 1, bias=False)

    def fitness(m: nn.Module) -> float:
        seen.append(nn.utils.parameters_to_vector(m.parameters()).detach().numpy().copy())
        return float(seen[-1].sum())

    genetic(model, fitness, population=8, mutation=0.0, crossover=1.0, elite=0, generations=3)
    first, rest = np.array(seen[:8]), np.array(seen[8:])
    for k in range(5):
        assert set(rest[:, k]) <= set(first[:, k])
    assert not {r.tobytes() for r in rest} <= {r.tobytes() for r in first}
    seen.clear()
    genetic(model, fitness, population=8, mutation=0.0, crossover=0.0, elite=0, generations=3)
    assert {r.tobytes() for r in seen[8:]} <= {r.tobytes() for r in seen[:8]}


def test_the_fitter_parent_wins_a_tournament() -> None:
    """Of many compared the best wins nearly always; of one, everybody does."""

    def mean(tournament: int) -> float:
        history = genetic(
            nn.Linear(3, 3), Recorded(), elite=0, mutation=0.0, tournament=tournament, generations=3
        ).history
        return float(history[-1].mean() - history[0].mean())

    assert mean(40) > 5 and abs(mean(1)) < 5


def test_wrong_arguments() -> None:
    model, f = nn.Linear(1, 1), Recorded()
    with pytest.raises(ArgumentError, match="trials must be above 0"):
        guess(model, f, trials=0)
    with pytest.raises(ArgumentError, match="low must be below high"):
        guess(model, f, low=1, high=1)
    with pytest.raises(ArgumentError, match="has no parameters"):
        guess(nn.Identity(), f)
    with pytest.raises(ArgumentError, match="children >= mu >= elite"):
        evolve(model, f, mu=5, children=4)
    with pytest.raises(ArgumentError, match="sigma must be above 0"):
        evolve(model, f, sigma=0.0)
    with pytest.raises(ArgumentError, match="elite must be from 0 to 9"):
        genetic(model, f, population=10, elite=10)
    with pytest.raises(ArgumentError, match="probabilities are from 0 to 1"):
        genetic(model, f, crossover=1.5)

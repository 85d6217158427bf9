r"""Search without gradients: weights drawn at random, (mu, lambda) evolution, and a genetic algorithm.

The parameters of a model are one vector (``nn.utils.parameters_to_vector``); a search proposes vectors and is told the
fitness of each, a number of which more is better.  Nothing is differentiated, so nothing vanishes: what counts is how
large the share of good vectors is, not how long the way of a gradient.

``P`` entries of the vector, ``G`` generations, ``M`` members of a generation.

Sources: J. Schmidhuber, S. Hochreiter and Y. Bengio, "Evaluating benchmark problems by random guessing", in "A field
guide to dynamical recurrent networks" (2001); H.-P. Schwefel, "Numerical optimization of computer models" (1981);
H.-G. Beyer and H.-P. Schwefel, "Evolution strategies", Natural Computing 1 (2002); K. De Jong, "An analysis of the
behavior of a class of genetic adaptive systems" (1975), for elitism.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import tinygrad_rnn as tg

from ..errors import ArgumentError
from ..typing import Array

__all__ = ["Fitness", "Search", "evolve", "genetic", "guess"]

Fitness: TypeAlias = "Callable[[Any], float | tg.Tensor]"
"""Of a model: more is better; nan counts as -inf."""


@dataclass(frozen=True, eq=False)
class Search:
    """What a search found; the model that it was given has the best vector afterwards.

    Attributes:
        vector: (P,), the best.
        fitness: its fitness.
        trials: how many vectors were tried; a generation in which the target is reached is tried to its end.
        solved: whether the target was reached (and confirmed).
        history: (G, M), the fitness of every member of every generation; of guessing, (trials, 1); of
            :func:`evolve`, the children and then the parents that competed with them.
    """

    vector: Array
    fitness: float
    trials: int
    solved: bool
    history: Array


class _Trials:
    """A model whose parameters are set from vectors; counts, and keeps the best."""

    def __init__(self, model: Any, fitness: Fitness, target: float, confirm: Callable[[Any], bool] | None) -> None:
        self.parameters = list(model.parameters())
        if not self.parameters:
            raise ArgumentError(f"search: {type(model).__name__} has no parameters")
        self.model, self.fitness, self.target, self.confirm = model, fitness, target, confirm
        self.start: Array = tg.nn.utils.parameters_to_vector(self.parameters).detach().numpy().astype(np.float64)
        self.best, self.best_fitness, self.count, self.solved = self.start.copy(), -math.inf, 0, False

    def set(self, vector: Array) -> None:
        like = self.parameters[0]
        tg.nn.utils.vector_to_parameters(tg.tensor(vector, dtype=like.dtype, device=like.device), self.parameters)

    def __call__(self, vector: Array) -> float:
        """The fitness of a vector."""
        self.set(vector)
        self.count += 1
        with tg.no_grad():
            found = float(self.fitness(self.model))
            found = -math.inf if math.isnan(found) else found
            reached = found >= self.target and (self.confirm is None or bool(self.confirm(self.model)))
        # one that was confirmed stands before one that was not, whatever its fitness
        if reached or (found > self.best_fitness and not self.solved):
            self.best, self.best_fitness, self.solved = vector.copy(), found, reached
        return found

    def result(self, history: list[Any], members: int) -> Search:
        self.set(self.best)
        rows = np.array(history, np.float64).reshape(-1, members)
        return Search(self.best, self.best_fitness, self.count, self.solved, rows)


def _positive(who: str, **counts: Any) -> None:
    for name, value in counts.items():
        if not value > 0:
            raise ArgumentError(f"{who}(): {name} must be above 0, got {value!r}")


def guess(
    model: Any,
    fitness: Fitness,
    *,
    low: float = -10.0,
    high: float = 10.0,
    trials: int = 10_000,
    target: float = math.inf,
    confirm: Callable[[Any], bool] | None = None,
    seed: int = 0,
) -> Search:
    """Draw all weights at random, again and again, until they are good enough.

        theta ~ U[low, high]^P,  independently in each trial

    Args:
        model: its parameters are set, and left as the best vector.
        fitness: of the model, more is better.
        low, high: the ends of the interval of each weight.
        trials: at most so many.
        target: the fitness that ends the search.
        confirm: ``confirm(model)`` is asked where the target is reached, for example whether cases that were not
            searched on are right, too; if it says no, the search goes on.
        seed: of the draws.

    Returns:
        :class:`Search`.

    Raises:
        ArgumentError: no trials, an empty interval, or a model without parameters.

    Source: Schmidhuber, Hochreiter and Bengio (2001), section 2.

    >>> model = tg.nn.Linear(2, 1)
    >>> x = tg.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> wanted = tg.tensor([[1.0], [-1.0], [1.0]])                        # signs
    >>> found = guess(model, lambda m: (m(x).sign() == wanted).sum(), target=3)
    >>> found.solved, (model(x) * wanted > 0).all().item(), found.history.shape == (found.trials, 1)
    (True, True, True)
    """
    _positive("guess", trials=trials)
    if not low < high:
        raise ArgumentError(f"guess(): low must be below high, got {low} and {high}")
    tried = _Trials(model, fitness, target, confirm)
    rng, history = np.random.default_rng(seed), []
    while tried.count < trials and not tried.solved:
        history.append([tried(rng.uniform(low, high, tried.start.size))])
    return tried.result(history, 1)


def evolve(
    model: Any,
    fitness: Fitness,
    *,
    mu: int = 5,
    children: int = 30,
    sigma: float = 0.5,
    elite: int = 0,
    generations: int = 100,
    target: float = math.inf,
    seed: int = 0,
) -> Search:
    r"""(mu, lambda) evolution with step sizes that are inherited, too.

    Each of lambda children comes from one of mu parents, drawn uniformly; of the children the mu best are the next
    parents, and the old ones are gone, however good they were:

        sigma' = sigma exp(tau z),  tau = 1 / sqrt(2 P);    theta' = theta + sigma' (z_1, ..., z_P),  z ~ N(0, 1)

    Args:
        model: its parameters are where the first parents are; they are left as the best vector of all generations.
        fitness: of the model, more is better.
        mu: parents.
        children: lambda, mu or more.
        sigma: the first step size.
        elite: so many of the best parents compete with the children; ``mu`` makes it (mu + lambda).
        generations: at most so many.
        target: the fitness that ends the search.
        seed: of the draws.

    Returns:
        :class:`Search`; with ``elite`` 1 or more the maximum of each row of ``history`` is never below that before,
        for a fitness without chance.

    Raises:
        ArgumentError: counts that do not fit, or a model without parameters.

    Source: Schwefel (1981); Beyer and Schwefel (2002), section 4.2 for the step sizes.

    >>> model = tg.nn.Linear(3, 1, bias=False)
    >>> wanted = tg.tensor([[1.0, -2.0, 3.0]])
    >>> found = evolve(model, lambda m: -((m.weight - wanted) ** 2).sum(), target=-1e-4)
    >>> found.solved, tg.allclose(model.weight, wanted, atol=0.01)
    (True, True)
    """
    _positive("evolve", mu=mu, children=children, sigma=sigma, generations=generations)
    if not children >= mu >= elite >= 0:
        raise ArgumentError(f"evolve(): needs children >= mu >= elite >= 0, got {children}, {mu} and {elite}")
    tried = _Trials(model, fitness, target, None)
    rng, size, history = np.random.default_rng(seed), tried.start.size, []
    parents, steps = np.repeat(tried.start[None], mu, 0), np.full(mu, float(sigma))
    kept = np.full(mu, tried(tried.start))  # the fitness of the parents
    for _ in range(generations):
        if tried.solved:
            break
        chosen = rng.integers(mu, size=children)
        new_steps = steps[chosen] * np.exp(rng.standard_normal(children) / math.sqrt(2 * size))
        new = parents[chosen] + new_steps[:, None] * rng.standard_normal((children, size))
        found = np.array([tried(child) for child in new])
        pool = np.concatenate([found, kept[:elite]])
        history.append(pool)
        order = np.argsort(-pool, kind="stable")[:mu]
        vectors, sizes = np.concatenate([new, parents[:elite]]), np.concatenate([new_steps, steps[:elite]])
        parents, steps, kept = vectors[order], sizes[order], pool[order]
    return tried.result(history, children + elite)


def genetic(
    model: Any,
    fitness: Fitness,
    *,
    population: int = 40,
    elite: int = 2,
    tournament: int = 3,
    crossover: float = 0.7,
    mutation: float = 0.1,
    sigma: float = 0.5,
    spread: float = 1.0,
    generations: int = 100,
    target: float = math.inf,
    seed: int = 0,
) -> Search:
    """A genetic algorithm over real weights: tournaments, uniform crossover, mutation, elitism.

    The members of the first generation are drawn from N(0, spread^2).  Every further one keeps its ``elite`` best
    members as they are; each of the others has two parents, each the fittest of ``tournament`` members drawn at
    random; with probability ``crossover`` each of its weights is that of the one or of the other parent, else all are
    the first's; then each weight gets, with probability ``mutation``, a number from N(0, sigma^2) added.

    Args:
        model: its parameters are set, and left as the best vector of all generations.
        fitness: of the model, more is better.
        population: M members of a generation.
        elite: how many are kept; 0: none, and the best fitness may fall.
        tournament: members that are compared for each parent.
        crossover, mutation: probabilities.
        sigma, spread: standard deviations of a mutation and of the first weights.
        generations: at most so many.
        target: the fitness that ends the search.
        seed: of the draws.

    Returns:
        :class:`Search`.  Members that are kept are not tried again: their fitness is carried over.

    Raises:
        ArgumentError: counts or probabilities that do not fit, or a model without parameters.

    Source: J. Holland, "Adaptation in natural and artificial systems" (1975); De Jong (1975) for elitism.

    >>> model = tg.nn.Linear(3, 1, bias=False)
    >>> wanted = tg.tensor([[1.0, -2.0, 3.0]])
    >>> found = genetic(model, lambda m: -((m.weight - wanted) ** 2).sum(), generations=60, sigma=0.3)
    >>> best = found.history.max(1)
    >>> bool((np.diff(best) >= 0).all()), found.fitness > -0.05
    (True, True)
    """
    _positive("genetic", population=population, tournament=tournament, generations=generations, spread=spread)
    if not 0 <= elite < population:
        raise ArgumentError(f"genetic(): elite must be from 0 to {population - 1}, got {elite}")
    if not (0 <= crossover <= 1 and 0 <= mutation <= 1):
        raise ArgumentError(f"genetic(): probabilities are from 0 to 1, got {crossover} and {mutation}")
    tried = _Trials(model, fitness, target, None)
    rng, size, born = np.random.default_rng(seed), tried.start.size, population - elite
    members = spread * rng.standard_normal((population, size))
    found = np.array([tried(member) for member in members])
    history = [found]
    for _ in range(generations - 1):
        if tried.solved:
            break
        drawn = rng.integers(population, size=(2, born, tournament))
        winners = np.take_along_axis(drawn, found[drawn].argmax(2)[:, :, None], 2)[:, :, 0]  # (2, born)
        mixed = rng.random((born, 1)) < crossover
        from_second = mixed & (rng.random((born, size)) < 0.5)
        new = np.where(from_second, members[winners[1]], members[winners[0]])
        new = new + (rng.random((born, size)) < mutation) * rng.normal(0.0, sigma, (born, size))
        best = np.argsort(-found, kind="stable")[:elite]
        members = np.concatenate([members[best], new])
        found = np.concatenate([found[best], [tried(member) for member in new]])
        history.append(found)
    return tried.result(history, population)

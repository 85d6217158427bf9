r"""A genetic algorithm over the weights needs no gradient, and with elitism its best fitness never falls.

The encyclopaedia (S3) names it beside random guessing: search the space of weights "more systematically" by a genetic
algorithm. The network here sees two bits, one after the other, and must say at the end whether they differ: recurrent
exclusive or. Its 13 weights are one vector, `parameters_to_vector`; a population of such vectors is selected, crossed
over and mutated, and is told nothing but a fitness.

Elitism (De Jong 1975) carries the best members over unchanged. So the best fitness of a generation is never below that
of the one before, *if the fitness is a function of the weights*. If it is measured on a sample that changes from
generation to generation, or with noise, the number that is carried over is a record of luck: the curve of the recorded
best still never falls (dotted), and what that member is really worth lies below it and goes up and down (dash-dotted).

Without elitism the best is lost again and again; how much that matters is another question, and on this task it often
gets there all the same.

## Mathematics
With $f_g^*$ the best fitness in generation $g$ and the elite $E_g \subset G_g \cap G_{g+1}$,
$$f_{g+1}^* = \max_{G_{g+1}} f \ge \max_{E_g} f = f_g^* .$$
With noise, $\tilde{f} = f + \epsilon$ drawn once for each member, the member with the largest $\tilde{f}$ of $M$ has
$E[\epsilon] > 0$, about $\sigma \sqrt{2 \log M}$ if all $f$ are equal: the winner's curse.

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn.lab.search import genetic
>>> net, x = tg.nn.Linear(2, 1), tg.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
>>> wanted = tg.tensor([[-1.0], [1.0], [0.0]])
>>> found = genetic(net, lambda net: -((net(x) - wanted) ** 2).mean(), generations=30)
>>> best = found.history.max(1)                                        # (30, 40): every member of every generation
>>> bool((best[1:] >= best[:-1]).all()), found.fitness > -0.05
(True, True)

## It would be false if
the best fitness fell with elitism and an exact fitness, or if recorded and real worth agreed under noise.

## Exercise
Count trials: how many vectors does the genetic algorithm try until it solves this task, and how many does
`lab.search.guess`? And gradient descent, an update counted as one trial?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.diagnostics.result import COLOURS, MARKERS

from ..experiment import Check, Result, Size, experiment
from ..search import genetic


class Net(tg.nn.Module):
    """Two tanh units that read one bit at a time, and an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.readout = tg.nn.RNN(1, 2), tg.nn.Linear(2, 1)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        found: tg.Tensor = self.readout(self.recurrent(x)[0][-1]).squeeze(-1)
        return found


# lab: begin
def evolved(seed: int, generations: int, elite: int, noise: float = 0.0) -> Any:
    """A search with 30 members; the real worth of the recorded best of each generation."""
    bits = tg.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    x, wanted = (2 * bits - 1).T.unsqueeze(-1), (bits[:, 0] != bits[:, 1]).to(bits)  # x (2, 4, 1)
    rng, seen = np.random.default_rng(seed), []

    def fitness(net: Any) -> Any:
        loss = tg.nn.functional.binary_cross_entropy_with_logits(net(x), wanted)
        seen.append((-loss.item() + noise * rng.standard_normal(), -loss.item()))  # as measured, as it is
        return seen[-1][0]

    options: dict[str, Any] = {"population": 30, "mutation": 0.3, "sigma": 2.0, "spread": 3.0}
    found = genetic(Net(), fitness, elite=elite, generations=generations, seed=seed, **options)
    worth = dict(seen)
    return found.history, np.array([worth[best] for best in found.history.max(1)])
    # lab: end


def measured(size: Size, seed: int, elite: int = 2) -> Result:
    """The best fitness with elitism, without, and with a noisy fitness."""
    generations = 40 if size == "quick" else 600
    history, _ = evolved(seed, generations, elite)
    without, _ = evolved(seed, generations, 0)
    noisy, worth = evolved(seed, generations, 2, noise=0.1)
    best = history.max(1)
    falls = int((np.diff(best) < 0).sum())
    falls_without = int((np.diff(without.max(1)) < 0).sum())
    curse = float((noisy.max(1) - worth)[generations // 4 :].mean())
    checks = [
        Check("the best never falls", falls, "==", 0, "the elite is carried over"),
        Check("it gets far beyond chance", best[-1], ">", -0.45, "chance: -0.69; of 20 seeds -0.35, 17 above -0.3"),
        Check("without elitism it falls", falls_without, ">=", 5, "of 20 seeds the fewest are 14"),
        Check("noise: the record never falls either", int((np.diff(noisy.max(1)) < 0).sum()), "==", 0, "carried over"),
        Check("noise: the record is luck", curse, ">", 0.05, "of 20 seeds the least is 0.13"),
    ]
    numbers = {
        "best fitness (minus cross entropy), first generation": best[0],
        f"after {generations} generations": best[-1],
        "falls of the best without elitism": falls_without,
        "with noise of 0.1: recorded minus real": curse,
        "falls of what the recorded best is worth": int((np.diff(worth) < 0).sum()),
    }
    because = (
        f"the fitness is a function of the weights: then no fall in {generations} generations, without elitism "
        f"{falls_without}; a noisy one keeps a record that is {curse:.2f} too high"
    )
    arrays = {"elitism": history, "without": without, "noisy": noisy.max(1), "worth": worth}
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """Bands of fitness with and without elitism; the record under noise, and what it is worth."""
    for ax, name, title in zip(
        figure.subplots(1, 3, sharey=True),
        ("elitism", "without", "noisy"),
        ("elite of 2", "no elite", "elite of 2, noisy fitness"),
        strict=True,
    ):
        every = max(1, len(arrays["worth"]) // 8)
        style = {"markevery": every, "markersize": 4, "linewidth": 1.3}
        if name == "noisy":
            ax.plot(arrays["noisy"], ":" + MARKERS[0], color=COLOURS[0], label="best, as recorded", **style)
            ax.plot(arrays["worth"], "-." + MARKERS[1], color=COLOURS[3], label="what it is worth", **style)
        else:
            history = arrays[name]
            low, middle = np.quantile(history, 0.1, axis=1), np.median(history, axis=1)
            ax.fill_between(range(len(history)), low, history.max(1), color=COLOURS[5], alpha=0.35, linewidth=0)
            ax.plot(history.max(1), "-" + MARKERS[0], color=COLOURS[0], label="best", **style)
            ax.plot(middle, "--" + MARKERS[2], color=COLOURS[1], label="median", **style)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("generation")
        ax.set_ylim(-1.6, 0.35)
        ax.legend(fontsize=8, loc="lower right")
    figure.axes[0].set_ylabel("fitness: minus cross entropy (nats)")


@experiment(
    48, "Genetic algorithm", source="encyclopaedia S3; Holland 1975; De Jong 1975", seconds=1.5, full_seconds=25
)
def run(size: Size, seed: int) -> Result:
    """Whether the best fitness of a generation can fall."""
    return measured(size, seed)


@run.broken("no elitism", fails="the best never falls")
def no_elitism(size: Size, seed: int) -> Result:
    """Every member of a generation is new."""
    return measured(size, seed, elite=0)

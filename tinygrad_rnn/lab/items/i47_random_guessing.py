r"""Guessing all weights at random solves the latch and parity at lags of 500, where gradients have nothing to say.

The encyclopaedia (S3) lists "random guess" among the ways around vanishing gradients, after Schmidhuber, Hochreiter and
Bengio (2001): some benchmarks with time lags of hundreds of steps, on which methods by gradient had needed thousands of
trials, are solved by drawing weights until they fit. It holds, with small nets: a few trials for either latch, about a
thousand for parity. What it costs depends on the share of good weights among all, and not on the lag: weights that are
right on short sequences are right on long ones. The gradient from the first step, meanwhile, is of the size that the
table shows, before the search and at the solution alike.

It says as much about the benchmarks as about the method: a task that is solved by guessing measures nothing. And the
share of good weights falls exponentially with their number and with the precision that they need, which is why nobody
guesses the weights of a net that has many.

"Right on the training set" is not enough to be called solved. Of two sequences one vector in four that saturates is
right by chance; so what is found here is confirmed on fresh sequences of 500 to 600 steps, all of which must be right.

## Mathematics
With a share $p$ of good vectors the number of trials $K$ is geometric,
$$P(K = k) = p\,(1 - p)^{k - 1}, \qquad E[K] = \frac{1}{p}, \qquad P(K > k) = (1 - p)^k .$$
A unit that holds a bit against noise needs two stable states: $h = \tanh(w h + b)$ has them for $w > 1$ and small $b$,
and then $\partial h_T / \partial h_1 = \prod_t w (1 - h_t^2)$ is a product of factors below 1.

## Try it
>>> import numpy as np, tinygrad_rnn as tg
>>> from tinygrad_rnn.lab import tasks
>>> from tinygrad_rnn.lab.search import guess
>>> batch = tasks.latch(100).batch(np.random.default_rng(0), 20)         # x_1 = 1 or -1, then noise; target x_1
>>> net, x = tg.nn.RNN(1, 1), tg.tensor(batch.inputs)
>>> def right(net):
...     answers = batch.answers(net(x)[0]).numpy()
...     return (abs(answers - batch.targets) < 0.1).mean()
>>> found = guess(net, right, target=1.0, trials=1000)
>>> found.solved, found.trials < 500
(True, True)

## It would be false if
the number of trials grew with the lag, or if weights that fit the training sequences failed on fresh ones of 500 steps.

## Exercise
Guess the weights of the same two units for the adding problem at T = 50. Estimate, from the best of a thousand trials
and how the error falls with their number, how many trials an error of 0.04 takes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from .. import tasks
from ..experiment import Check, Result, Size, experiment
from ..search import guess

PUBLISHED = {"latch I": 6, "latch II": 22, "parity": 2906}
"""Mean numbers of trials of Schmidhuber, Hochreiter and Bengio (2001), as their web pages give them."""


class Latch(tg.nn.Module):
    """One tanh unit.  In I its own weight and those of the first two inputs are free, that of the noise is 1."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.variant, self.free = variant, tg.nn.Parameter(tg.zeros(3 if variant == "I" else 2))
        self.rnn = [tg.nn.RNN(3, 1, bias=False)]  # in a list: its weights are no parameters

    def forward(self, x: tg.Tensor) -> Any:
        rnn = self.rnn[0]
        second = self.variant == "II"
        x = tg.cat([x, tg.zeros_like(x), tg.zeros_like(x)], -1) if second else x
        with tg.no_grad():
            rnn.weight_hh_l0.copy_(self.free[:1].reshape(1, 1))
            rnn.weight_ih_l0.copy_(tg.cat([self.free[1:], tg.ones(2 if second else 1)]).reshape(1, 3))
        return rnn(x)


class Parity(tg.nn.Module):
    """A hidden unit that sees the input and the last answer, and an answer that sees all three; 7 weights."""

    input_size = hidden_size = 1

    def __init__(self) -> None:
        super().__init__()
        self.free = tg.nn.Parameter(tg.zeros(7))

    def forward(self, x: tg.Tensor, answer: tg.Tensor) -> tg.Tensor:
        w = self.free
        h = tg.tanh(w[0] * x + w[1] * answer + w[2])
        found: tg.Tensor = tg.tanh(w[3] * x + w[4] * answer + w[5] * h + w[6])
        return found


# lab: begin
def search(task: Any, fresh: Any, net: Any, seed: int, cases: int, confirmed: bool) -> Any:
    """Guess weights of ``net`` until ``cases`` sequences of ``task`` are right, and a hundred of ``fresh``, too."""

    def wrong(batch: Any) -> float:
        answers = batch.answers(net(tg.tensor(batch.inputs))[0].detach().numpy())
        return float((answers * np.where(batch.targets > 0, 1, -1) <= 0).mean())  # by the sign

    rng = np.random.default_rng(seed)
    first, training = (task.batch(rng, n, np.float64) for n in (min(cases, 10), cases))
    test, others = (fresh.batch(rng, n, np.float64) for n in (100, 500))
    found = guess(
        net,
        lambda net: -wrong(first) or -wrong(training),  # most are wrong on the first few already
        low=-100, high=100, trials=30_000, target=0.0, seed=seed,
        confirm=(lambda net: wrong(test) == 0) if confirmed else None,
    )  # fmt: skip
    return found, wrong(others)
    # lab: end


def measured(size: Size, seed: int, cases: int = 100, confirmed: bool = True) -> Result:
    """Trials for both latches and parity, what is wrong on fresh sequences, and the gradient from the first step."""
    repeats = 1 if size == "quick" else 20
    short = tasks.parity(10) if size == "quick" else tasks.parity(500)
    kinds: dict[str, Any] = {
        "latch I": (tasks.latch(500, "I"), tasks.latch(500, "I"), Latch("I"), 5 * repeats),
        "latch II": (tasks.latch(500), tasks.latch(500), Latch("II"), 5 * repeats),
        "parity": (short, tasks.parity(500), tg.nn.RNNLayer(Parity(), impl="compiled"), 1 if size == "quick" else 4),
    }
    trials, wrong = {}, {}
    for name, (task, fresh, net, times) in kinds.items():
        runs = [search(task, fresh, net, 1000 * seed + k, cases, confirmed) for k in range(times)]
        trials[name] = np.array([found.trials for found, _ in runs], float)
        wrong[name] = max(share for _, share in runs)
    noise = tg.randn(500, 1, 3) * 0.2**0.5
    at_solution = diagnostics.flow(kinds["latch II"][2].rnn[0], noise).log_norm[0] / np.log(10)
    at_start = diagnostics.flow(tg.nn.RNN(3, 1), noise).log_norm[0] / np.log(10)
    checks = [
        *[
            Check(f"{name}: trials", trials[name].mean(), "<", 10 * mean, f"ten times the published mean, {mean}")
            for name, mean in PUBLISHED.items()
        ],
        Check(
            "latches: fresh sequences are right",
            max(wrong["latch I"], wrong["latch II"]),
            "<=",
            0.05,
            "of 20 seeds 0.004; of 200 searches 0.024",
        ),
        Check("parity: right at 500 steps", wrong["parity"], "==", 0, "of 500 sequences; there is no noise"),
        Check("no gradient comes from the first step", max(at_start, at_solution), "<", -20, "log10; of 20 seeds -122"),
    ]
    numbers: dict[str, Any] = {f"{name}, trials (published {PUBLISHED[name]})": t.mean() for name, t in trials.items()}
    numbers |= {f"{name}, share of 500 fresh sequences wrong": share for name, share in wrong.items()}
    numbers |= {"log10 |dh_500/dh_0| of a new unit": at_start, "the same at a solution of latch II": at_solution}
    because = (
        f"few weights are to be found: the latches took {trials['latch I'].mean():.3g} and "
        f"{trials['latch II'].mean():.3g} trials on average, parity {trials['parity'].mean():.0f}, whatever the lag"
    )
    return Result(checks, "holds if", because, numbers, trials, lambda figure: draw(figure, trials))


def draw(figure: Any, trials: dict[str, Any]) -> None:
    """Numbers of trials, each search a point, beside the published means."""
    ax = figure.subplots()
    for k, (name, found) in enumerate(trials.items()):
        height = k + np.linspace(-0.2, 0.2, len(found)) if len(found) > 1 else np.array([k])
        ax.semilogx(found, height, MARKERS[k], color=COLOURS[k], markersize=6)
        label = {"label": "published mean"} if k == 0 else {}
        ax.plot([PUBLISHED[name]] * 2, [k - 0.35, k + 0.35], "--", color=GREY, linewidth=1.5, **label)
    ax.set_yticks(range(len(trials)), [f"{name}\n{n} weights" for name, n in zip(trials, (3, 2, 7), strict=True)])
    ax.set_ylim(-0.6, len(trials) - 0.4)
    ax.set_xlabel("trials until all sequences are right (each point a search)")
    ax.set_ylabel("task")
    ax.legend(fontsize=8, loc="lower right")


@experiment(
    47,
    "Random guessing",
    source="encyclopaedia S3; Schmidhuber, Hochreiter and Bengio 2001",
    seconds=2,
    full_seconds=25,
)
def run(size: Size, seed: int) -> Result:
    """How many trials it takes to guess weights that latch, and that count."""
    return measured(size, seed)


@run.broken("two training sequences and nothing else", fails="latches: fresh sequences are right")
def too_few(size: Size, seed: int) -> Result:
    """What is right on two sequences is called solved."""
    return measured(size, seed, cases=2, confirmed=False)


@run.smallest
def smallest() -> tg.Tape:
    """Three steps of a unit that holds a bit: its state hardly depends on what it was."""
    w, h = tg.tensor(3.0, requires_grad=True), tg.tensor(1.0, requires_grad=True)
    with tg.Tape() as tape:
        for t, noise in enumerate((0.3, -0.5, 0.2)):
            with tape.at(t=t + 1):
                h = tg.tanh(w * h + noise)
        h.backward()
    return tape

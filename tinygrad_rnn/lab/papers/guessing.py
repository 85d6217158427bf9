"""Guessing weights: the latch and parity, which random search solves at any lag (Schmidhuber, Hochreiter, Bengio 2001).

Shapes: M nets that are tried at once, T steps, N sequences, H hidden units.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ...typing import Array
from ..experiment import Check, Size
from ..tasks import Batch, Task, latch, parity
from .recipe import Arm, Method, Published, Reached, Recipe

__all__ = ["LATCH", "PARITY", "latch_nets", "parity_nets", "searched"]

SOURCE = "J. Schmidhuber, S. Hochreiter and Y. Bengio (2001), Evaluating benchmark problems by random guessing"
PAGES = "the chapter's pages at idsia.ch/~juergen/guessing2001"


def latch_nets(weights: Array, inputs: Array) -> Array:
    """States of M single units at every step: h_t = tanh(w h_(t-1) + u x_t + b), h_0 = 0.

    Args:
        weights: (M, 3): w, u, b.
        inputs: (T, N, 1).

    Returns:
        (T, M, N).
    """
    own, read, bias = weights.T[:, :, None]
    found = np.empty((len(inputs), len(weights), inputs.shape[1]))
    h = np.zeros(found.shape[1:])
    for t, x in enumerate(inputs[..., 0]):
        h = found[t] = np.tanh(own * h + read * x + bias)
    return found


def parity_nets(weights: Array, inputs: Array) -> Array:
    """Outputs of M fully connected nets of one input, one hidden and one output unit, all logistic, at every step.

        h_t = s(w1 h_(t-1) + w2 o_(t-1) + w3 x_t + w4),    o_t = s(w5 h_t + w6 o_(t-1) + w7 x_t)

    The output sees what the hidden unit has made of the same input; one step later it would be too late for the last.

    Args:
        weights: (M, 7): hidden unit from itself, output, input, bias; output unit from hidden, itself, input.
        inputs: (T, N, 1).

    Returns:
        The outputs (T, M, N).
    """
    steps, sequences, _ = inputs.shape
    hidden, output = np.zeros((2, len(weights), sequences))
    hh, ho, hx, hb, oh, oo, ox = weights.T[:, :, None]
    found = np.empty((steps, len(weights), sequences))
    for t in range(steps):
        x = inputs[t, :, 0]
        hidden = _logistic(hh * hidden + ho * output + hx * x + hb)
        found[t] = output = _logistic(oh * hidden + oo * output + ox * x)
    return found


def _logistic(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -60, 60))))


def searched(
    nets: Callable[[Array, Array], Array], weights: int, task: Task, rng: np.random.Generator, most: int
) -> tuple[int, Array | None]:
    """Draw weights from U(-100, 100) until all of 100 sequences are right.

    A net that is wrong on one of ten sequences is not tried on the others, which changes nothing but the time.

    Args:
        nets: as :func:`latch_nets`.
        weights: their number.
        task: draws the sequences.
        rng: draws all.
        most: trials at most.

    Returns:
        The number of trials, and the weights; None if there are none.
    """
    batch, few, at_once = task.batch(rng, 100, np.float64), np.arange(10), 256
    inputs = batch.inputs[: int(batch.steps[few].max()) + 1, few]
    for first in range(0, most, at_once):
        drawn = rng.uniform(-100.0, 100.0, (at_once, weights))
        ends = nets(drawn, inputs)[batch.steps[few], :, few]  # (10, M)
        for k in np.flatnonzero((abs(ends - batch.targets[few]) < 0.1).all(0)):
            if not task.wrong(_ends(nets, drawn[k], batch), batch).any():
                return first + int(k) + 1, drawn[k]
    return most, None


def _ends(nets: Callable[[Array, Array], Array], weights: Array, batch: Batch) -> Array:
    return np.asarray(nets(weights[None], batch.inputs)[batch.steps, 0, batch.rows][:, None])


def _guessed(
    nets: Callable[[Array, Array], Array], weights: int, task: Task, runs: int, seed: int, published: float, note: str
) -> Reached:
    begun, rng = time.process_time(), np.random.default_rng(seed)
    trials, wrong = [], []
    for _ in range(runs):
        count, found = searched(nets, weights, task, rng, int(30 * published))
        trials.append(float(count) if found is not None else np.inf)
        if found is not None:
            fresh = task.batch(rng, 1000, np.float64)
            wrong.append(float(task.wrong(_ends(nets, found, fresh), fresh).mean()))
    seconds = time.process_time() - begun
    return _told(trials, float(np.mean(wrong)) if wrong else 1.0, seconds, published, note)


def _latch(size: Size, seed: int) -> Reached:
    note = "The bit is held by a large weight of the unit to itself; no gradient has to come back 500 steps. "
    note += "Published are 22 trials: with 0.2 as the standard deviation of the noise, not as its variance, 33 to 39 "
    note += "were needed here (two runs)."
    return _guessed(latch_nets, 3, latch(500), 40, seed, 22.0, note)


def _parity(size: Size, seed: int) -> Reached:
    note = "The number of trials of a search is nearly exponentially distributed: a mean of few runs tells its order."
    if size == "full":
        return _guessed(parity_nets, 7, parity(500), 20, seed, 2906.0, note)
    return _guessed(parity_nets, 7, parity(50), 4, seed, 2906.0, note)


def _told(trials: list[float], wrong: float, seconds: float, published: float, note: str) -> Reached:
    solved = bool(np.isfinite(trials).all())
    counted = int(np.sum([t for t in trials if np.isfinite(t)]))
    figure = f"{np.mean(trials):.0f} trials (mean of {len(trials)} runs: {min(trials):.0f} to {max(trials):.0f}), "
    figure += f"{100 * wrong:.2g} % of fresh sequences wrong"
    arm = Arm(
        "", figure, counted, 100 * counted, seconds, solved, {"run": list(range(1, len(trials) + 1)), "trials": trials}
    )
    checks = [
        Check(
            "mean trials are of the published order",
            float(np.mean(trials)),
            "<",
            10 * published,
            "10 times the published mean",
        ),
        Check("fresh sequences are right", wrong, "<", 0.05, "the source asks for all of 100 training sequences"),
    ]
    return Reached([arm], "", checks, note)


def _method(net: str, size: str) -> Method:
    drawn = "every weight from U(-100, 100), anew in every trial"
    return Method(net, drawn, "none: guessing", "all of 100 training sequences right, |error| < 0.1 at the end", size)


LATCH = Recipe(
    "latch",
    "Latch II: one bit held for 500 steps, by guessing",
    SOURCE,
    "a first input of 1 or -1, then noise of variance 0.2; T from 500 to 600; say the first input",
    _method("one tanh unit, 3 weights", "mean of 40 searches"),
    {"quick": _method("the same", "mean of 40 searches")},
    [
        Published("22 trials", "S", PAGES),
        Published("1,600 trials, the best of several methods, on the easier variant I", "S", PAGES),
    ],
    {"quick": "same recipe"},
    1.0,
    _latch,
)

PARITY = Recipe(
    "parity",
    "Parity, by guessing",
    SOURCE,
    "inputs of 1 and -1: is the number of 1s odd?",
    _method("A1: fully connected, one input, hidden and output unit", "T from 500 to 600"),
    {
        "quick": _method("the same, logistic units", "T from 50 to 60, mean of 4 searches"),
        "full": _method("the same, logistic units", "T from 500 to 600, mean of 20 searches"),
    },
    [
        Published("2,906 trials with A1", "S", PAGES),
        Published("about 810,000 trials of simulated annealing, T from 25 to 50", "S", PAGES),
    ],
    {"quick": "smaller task", "full": "same recipe"},
    10.0,
    _parity,
)

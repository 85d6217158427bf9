"""Copy and memorisation: symbols at the beginning are to be said again, in order, after a long silence.

Shapes: T steps of silence, N sequences; inputs one-hot.
"""

from __future__ import annotations

import numpy as np

from ...typing import Array
from .task import Batch, Task, at_least, one_hot

__all__ = ["copying", "memorisation"]


def copying(length: int) -> Task:
    r"""The copy problem: ten symbols of eight, T - 1 blanks, a marker, ten blanks; ten symbols again at the end.

        input    s1 ... s10  0 ... 0  9  0 ... 0     (T + 20 steps)
        target   0  ... 0    0 ... 0  0  s1 ... s10

    The best answer without memory says 0, then one of eight at random: 10 log(8) / (T + 20).

    Args:
        length: T, at least 1.

    Returns:
        A task of ten features and nine classes, judged at every step.

    Raises:
        ArgumentError: a shorter length.

    Source: M. Arjovsky et al. (2016): memory_problem.py of their complex_RNN.

    >>> task = copying(5)
    >>> batch = task.batch(np.random.default_rng(0), 1)
    >>> batch.inputs[:, 0].argmax(1).tolist()
    [7, 6, 5, 3, 3, 1, 1, 1, 2, 7, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    >>> batch.targets.tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 6, 5, 3, 3, 1, 1, 1, 2, 7]
    >>> round(copying(100).baseline, 4)
    0.1733
    """
    at_least("length", length, 1)
    count, steps = 10, length + 20

    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        said = rng.integers(1, 9, (count, sequences))
        shown, wanted = np.zeros((2, steps, sequences), np.int64)
        shown[:count], shown[count + length - 1], wanted[-count:] = said, 9, said
        return _every_step(one_hot(shown, 10), wanted)

    criterion = "none: the source draws the mean cross entropy against the baseline; wrong here: any symbol of the ten"
    source = "M. Arjovsky et al. (2016): memory_problem.py of their complex_RNN"
    baseline = count * float(np.log(8)) / steps
    return Task(f"copy T={length}", source, 10, 9, "cross entropy", baseline, criterion, draw, _any_differs)


def memorisation(length: int, positions: int = 3, values: int = 2) -> Task:
    r"""Noiseless memorisation: some symbols, T steps of silence with a cue at their end, the symbols again.

        input    s1 ... sn  -  ...  -  cue  - ... -      (T + 2n steps; the cue is step T + n)
        target   -  ... -   -  ...  -   s1 ... sn

    With 3 positions of 2 values it is a memory of 3 bits; the paper's "5 bits" are 5 positions of 2, its "20 bits" 10
    positions of 5.

    Args:
        length: T, at least 1.
        positions: n, how many symbols.
        values: how many different ones.

    Returns:
        A task of ``values + 2`` features (silence, cue) and ``values + 1`` classes, judged at every step.

    Raises:
        ArgumentError: fewer.

    Source: R. Pascanu et al. (2013): memorization.py of their trainingRNNs.

    >>> batch = memorisation(4).batch(np.random.default_rng(1), 1)
    >>> "".join("01-!"[s] for s in batch.inputs[:, 0].argmax(1)), "".join("01-"[s] for s in batch.targets)
    ('011----!--', '-------011')
    """
    at_least("length", length, 1)
    at_least("positions", positions, 1)
    at_least("values", values, 2)
    steps = length + 2 * positions

    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        said = rng.integers(0, values, (positions, sequences))
        shown = np.full((steps, sequences), values)
        wanted = np.full((steps, sequences), values)
        shown[:positions], shown[length + positions], wanted[-positions:] = said, values + 1, said
        return _every_step(one_hot(shown, values + 2), wanted)

    return Task(
        f"memorisation T={length}, {positions} of {values} values",
        "R. Pascanu et al. (2013): memorization.py of their trainingRNNs",
        values + 2,
        values + 1,
        "cross entropy",
        positions * float(np.log(values)) / steps,
        "fewer than 1 % of 10,000 wrong; wrong: any symbol",
        draw,
        _any_differs,
    )


def _every_step(inputs: Array, wanted: Array) -> Batch:
    steps, sequences = wanted.shape
    places = np.repeat(np.arange(steps), sequences), np.tile(np.arange(sequences), steps)
    return Batch(inputs, wanted.reshape(-1).astype(np.int64), *places, np.full(sequences, steps))


def _any_differs(answers: Array, batch: Batch) -> Array:
    return np.asarray(answers.argmax(1) != batch.targets)

"""Task and Batch: what every generator of sequences gives, so that one training loop and one judge serve all.

Shapes: T steps, N sequences, I features, O outputs, K judged places (steps of sequences at which an answer is asked).
Sequences of a batch that are shorter than its longest are filled up with zeros, after their end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ...errors import ArgumentError
from ...typing import Array

__all__ = ["Batch", "Loss", "Task", "at_least", "judged_at_the_end", "one_hot"]

Loss = Literal["squared error", "cross entropy", "binary cross entropy"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences, and what is to be answered where.

    Attributes:
        inputs: (T, N, I).
        targets: (K, O) numbers, or (K,) numbers of classes.
        steps, rows: (K,): the step and the sequence of each judged place.
        lengths: (N,) of the sequences.
        truth: (K, O): what answers are judged against if that is not ``targets``: targets before noise was added,
            or the symbols that a grammar allows next.
    """

    inputs: Array
    targets: Array
    steps: Array
    rows: Array
    lengths: Array
    truth: Array | None = None

    def answers(self, outputs: Any) -> Any:
        """Of outputs (T, N, O), an array or a Tensor, those at the judged places: (K, O)."""
        return outputs[self.steps, self.rows]


@dataclass(frozen=True)
class Task:
    """A distribution of sequences, with what counts as an answer.

    Attributes:
        name: with its sizes.
        source: the paper, or the program, that it is from.
        inputs, outputs: I and O.
        loss: of the outputs; in the cross entropies, natural logarithms, the outputs are logits.
        baseline: the loss of the best answer that remembers nothing of what the task asks to remember.
        criterion: when the source calls it solved, and a sequence wrong.
        best: the loss of the best answer of all; 0 if the sequence says what is right.
    """

    name: str
    source: str
    inputs: int
    outputs: int
    loss: Loss
    baseline: float
    criterion: str
    draw: Callable[[np.random.Generator, int], Batch] = field(repr=False)
    judge: Callable[[Array, Batch], Array] = field(repr=False)
    best: float = 0.0

    def batch(self, rng: np.random.Generator, sequences: int, dtype: Any = np.float32) -> Batch:
        """Draw sequences; numbers are of ``dtype``, numbers of classes int64.

        Raises:
            ArgumentError: not one sequence or more.
        """
        at_least("sequences", sequences, 1)
        drawn = self.draw(rng, sequences)
        targets = drawn.targets if drawn.targets.dtype == np.int64 else drawn.targets.astype(dtype)
        return Batch(drawn.inputs.astype(dtype), targets, drawn.steps, drawn.rows, drawn.lengths, drawn.truth)

    def linked(self, outputs: Array) -> Array:
        """Outputs as answers: numbers as they are, logits as probabilities (softmax or logistic function)."""
        values = np.asarray(outputs, np.float64)
        if self.loss == "squared error":
            return values
        if self.loss == "cross entropy":
            values = np.exp(values - values.max(-1, keepdims=True))
            return np.asarray(values / values.sum(-1, keepdims=True))
        return 1 / (1 + np.exp(-np.clip(values, -700, 700)))

    def wrong(self, answers: Array, batch: Batch) -> Array:
        """Which sequences are wrong by the criterion: (N,) of bool, True if the answer is wrong at any judged place.

        Args:
            answers: (K, O), after :meth:`linked`.
            batch: what they answer.
        """
        given = np.asarray(answers, np.float64)
        found = np.zeros(len(batch.lengths), bool)
        found[batch.rows[self.judge(given, batch) | ~np.isfinite(given).all(1)]] = True
        return found


def one_hot(symbols: Array, count: int) -> Array:
    """Numbers of symbols as vectors with one 1; a symbol of -1 as zeros.

    >>> one_hot(np.array([2, -1]), 3).tolist()
    [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    return np.asarray((symbols[..., None] == np.arange(count)).astype(np.float32))


def judged_at_the_end(inputs: Array, targets: Array, lengths: Array, truth: Array | None = None) -> Batch:
    """A batch of which every sequence is judged at its last step."""
    return Batch(inputs, targets, lengths - 1, np.arange(len(lengths)), lengths, truth)


def at_least(name: str, value: Any, least: int) -> None:
    """Raise ArgumentError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ArgumentError(f"{name} must be a whole number of at least {least}, got {value!r}")

"""Long time lags between symbols: Hochreiter and Schmidhuber's tasks 2a to 2c, and Schmidhuber's blocks of 1992.

Shapes: T steps, N sequences, one feature for each symbol of the alphabet.
"""

from __future__ import annotations

import numpy as np

from ...errors import ArgumentError
from ...typing import Array
from .task import Batch, Task, at_least, judged_at_the_end, one_hot

__all__ = ["blocks", "noise_free_lag"]

HOCHREITER = "S. Hochreiter and J. Schmidhuber (1997), section 5.2, task 2"


def noise_free_lag(p: int, variant: str = "a", q: int | None = None) -> Task:
    r"""Long time lags: the first symbol, x or y, comes again at the end.

        a    y a1 a2 ... a(p-1) y    or    x a1 a2 ... a(p-1) x       every next symbol is predicted
        b    the same, with p - 1 random symbols of a1 ... a(p-1) between
        c    b y (q + k random symbols of a1 ... ap) e y, or with x    the last is predicted; P(k) = 0.9^k / 10

    In a all but the last symbol follow from the one before: the loss without memory is log(2) / p.  In b the symbols
    between cost log(p - 1) each, whoever predicts them.  The paper's description of c says a1 ... aq; its table
    and its count of inputs say a1 ... ap, which is what is drawn here.

    Args:
        p: in a and b the lag, at least 2; in c the number of symbols that distract, at least 1.
        variant: "a", "b" or "c".
        q: in c, the lag but one; None: p.

    Returns:
        a, b: a task of p + 1 features (a1 ... a(p-1), x, y) and as many classes, judged at every step; a sequence is
        wrong in a by any output at any step, in b by those at the end.  c: p + 4 features (a1 ... ap, e, b, x, y), two
        classes (x, y), judged at the last step.

    Raises:
        ArgumentError: another variant; a smaller p or q.

    Source: S. Hochreiter and J. Schmidhuber (1997), section 5.2.

    >>> batch = noise_free_lag(4).batch(np.random.default_rng(0), 1)
    >>> batch.inputs[:, 0].argmax(1).tolist(), batch.targets.tolist()    # y a1 a2 a3, then a1 a2 a3 y
    ([4, 0, 1, 2], [0, 1, 2, 4])
    >>> batch = noise_free_lag(3, "c", q=5).batch(np.random.default_rng(0), 1)
    >>> "".join("123ebxy"[s] for s in batch.inputs[:, 0].argmax(1)), "xy"[batch.targets[0]]
    ('by11113232233e', 'y')
    """
    if variant not in ("a", "b", "c"):
        raise ArgumentError(f"variant must be one of a, b, c, got {variant!r}")
    if variant == "c":
        return _distracted(p, p if q is None else q)
    at_least("p", p, 2)
    random = variant == "b"

    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        said = np.empty((p + 1, sequences), np.int64)
        said[0] = said[-1] = rng.integers(p - 1, p + 1, sequences)
        said[1:-1] = rng.integers(0, p - 1, (p - 1, sequences)) if random else np.arange(p - 1)[:, None]
        places = np.repeat(np.arange(p), sequences), np.tile(np.arange(sequences), p)
        return Batch(one_hot(said[:-1], p + 1), said[1:].reshape(-1), *places, np.full(sequences, p))

    def judge(answers: Array, batch: Batch) -> Array:
        over = ~(abs(answers - one_hot(batch.targets, p + 1)) < 0.25).all(1)
        return np.asarray(over & (batch.steps == p - 1) if random else over)

    between = (p - 1) * float(np.log(p - 1)) / p if random else 0.0
    where = "those at the end" if random else "all outputs at all steps"
    return Task(
        f"noise-free lag 2{variant} p={p}",
        HOCHREITER + variant,
        p + 1,
        p + 1,
        "cross entropy",
        between + float(np.log(2)) / p,
        f"10,000 successive sequences right; right: errors of {where} < 0.25",
        draw,
        judge,
        between,
    )


def _distracted(p: int, q: int) -> Task:
    at_least("p", p, 1)
    at_least("q", q, 1)

    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        between = q + rng.geometric(0.1, sequences) - 1
        which = rng.integers(0, 2, sequences)
        rows, steps = np.arange(sequences), int(between.max()) + 3
        said = rng.integers(0, p, (steps, sequences))
        said[0], said[1] = p + 1, p + 2 + which
        said[between + 2, rows] = p
        said[np.arange(steps)[:, None] > between + 2] = -1
        return judged_at_the_end(one_hot(said, p + 4), which, between + 3)

    def judge(answers: Array, batch: Batch) -> Array:
        return np.asarray(~(abs(answers - one_hot(batch.targets, 2)) < 0.2).all(1))

    criterion = "10,000 successive sequences right; right: errors of both outputs at the end < 0.2"
    source, log2 = HOCHREITER + "c", float(np.log(2))
    return Task(f"noise-free lag 2c p={p}, q={q}", source, p + 4, 2, "cross entropy", log2, criterion, draw, judge)


def blocks(length: int = 20, count: int = 10, goal: str = "label") -> Task:
    r"""Blocks a b1 ... bL or x b1 ... bL in an endless stream: which one was it, L steps ago?

    A sequence is ``count`` blocks of L + 1 symbols, without marks between them.  Each block begins with a or x, at
    random; all else is predictable, so that a net that passes on only what it did not predict leaves the letters a and
    x next to each other.

    Args:
        length: L, at least 1.
        count: of blocks in a sequence.
        goal: "label": at the end of each block, 1 if it began with a, 0 with x; "next": the next symbol, at every step
            but the last.

    Returns:
        A task of L + 2 features (a, x, b1 ... bL): of one output (a logit) with the goal "label", else as many classes.

    Raises:
        ArgumentError: another goal; a smaller size.

    Source: J. Schmidhuber (1992), "Learning complex, extended sequences using the principle of history compression".

    >>> batch = blocks(3, count=2).batch(np.random.default_rng(1), 1)
    >>> "".join("ax123"[s] for s in batch.inputs[:, 0].argmax(1)), batch.targets[:, 0].tolist()
    ('a123x123', [1.0, 0.0])
    >>> blocks(3, count=2).batch(np.random.default_rng(1), 1).steps.tolist()
    [3, 7]
    """
    at_least("length", length, 1)
    at_least("count", count, 1)
    if goal not in ("label", "next"):
        raise ArgumentError(f"goal must be label or next, got {goal!r}")
    if goal == "next" and count * (length + 1) < 2:
        raise ArgumentError("a stream of one symbol has no next one")
    steps = count * (length + 1)

    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        first = rng.integers(0, 2, (count, 1, sequences))
        rest = np.broadcast_to(np.arange(2, length + 2)[:, None], (count, length, sequences))
        said = np.concatenate([first, rest], 1).reshape(steps, sequences)
        asked = np.arange(length, steps, length + 1) if goal == "label" else np.arange(steps - 1)
        wanted = 1.0 - first[:, 0] if goal == "label" else said[1:]
        places = np.repeat(asked, sequences), np.tile(np.arange(sequences), len(asked))
        targets = wanted.reshape(-1, 1) if goal == "label" else wanted.reshape(-1)
        return Batch(one_hot(said, length + 2), targets, *places, np.full(sequences, steps))

    def judge(answers: Array, batch: Batch) -> Array:
        if goal == "label":
            return np.asarray((answers[:, 0] > 0.5) != (batch.targets[:, 0] > 0.5))
        free = batch.steps % (length + 1) == length  # what comes next is a or x, at random
        wrong = answers.argmax(1) != batch.targets
        return np.asarray(np.where(free, answers.argmax(1) > 1, wrong))

    log2, label = float(np.log(2)), goal == "label"
    share = (count - 1) / (steps - 1) if steps > 1 else 0.0
    return Task(
        f"blocks of {length + 1} symbols, {goal}",
        "J. Schmidhuber (1992), Neural Computation 4(2)",
        length + 2,
        1 if label else length + 2,
        "binary cross entropy" if label else "cross entropy",
        log2 if label else share * log2,
        "wrong here: the label of any block" if label else "wrong here: any symbol that could be known",
        draw,
        judge,
        0.0 if label else share * log2,
    )

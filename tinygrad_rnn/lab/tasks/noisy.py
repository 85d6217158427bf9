"""Noise and signal on one line: the 2-sequence problem, the latch, parity.

Shapes: T steps, N sequences; inputs (T, N, 1), or (T, N, 3) of the first latch.
"""

from __future__ import annotations

import numpy as np

from ...errors import ArgumentError
from ...typing import Array
from .task import Batch, Task, at_least, judged_at_the_end

__all__ = ["latch", "parity", "two_sequence"]

VARIANCE = 0.2
GUESSING = 'J. Schmidhuber, S. Hochreiter and Y. Bengio (2001), "Evaluating benchmark problems by random guessing"'


def two_sequence(length: int = 100, informative: int = 3, variant: str = "a") -> Task:
    r"""The 2-sequence problem: the class is in the first steps, all that follows is noise.

        x_t = 1 or -1 (t <= n),    x_t ~ N(0, 0.2) (t > n);    a target at the end

    | variant | what differs | target |
    |---|---|---|
    | a | - | 1 of the class that begins with 1, else 0 |
    | b | N(0, 0.2) is added to the first steps too | as a |
    | c | as a | 0.2 (class of 1), 0.8 (class of -1), plus N(0, 0.1) |

    The second number of N is the variance.  Lengths are T to T + T/10.  In c the best answer is the expected target;
    its loss is the variance of the noise.

    Args:
        length: T, at least ``informative + 1``.
        informative: n, how many steps tell the class.
        variant: "a", "b" or "c".

    Returns:
        A task of one feature and one output, judged at the last step: a logit in a and b, a number in c.

    Raises:
        ArgumentError: another variant; smaller sizes.

    Source: S. Hochreiter and J. Schmidhuber (1997), section 5.3; Y. Bengio et al. (1994).

    >>> batch = two_sequence(100).batch(np.random.default_rng(2), 3)
    >>> batch.inputs[:3, :, 0].tolist(), batch.targets[:, 0].tolist()
    ([[-1.0, -1.0, 1.0], [-1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]], [0.0, 0.0, 1.0])
    >>> round(float(batch.inputs[3:100].var()), 1)
    0.2
    """
    if variant not in ("a", "b", "c"):
        raise ArgumentError(f"variant must be one of a, b, c, got {variant!r}")
    at_least("informative", informative, 1)
    at_least("length", length, informative + 1)

    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        lengths = rng.integers(length, length + length // 10 + 1, sequences)
        one = rng.integers(0, 2, sequences)
        x = rng.normal(0.0, VARIANCE**0.5, (int(lengths.max()), sequences))
        signs = np.broadcast_to(2.0 * one - 1, (informative, sequences))
        x[:informative] = x[:informative] + signs if variant == "b" else signs
        x[np.arange(len(x))[:, None] >= lengths] = 0.0
        if variant != "c":
            return judged_at_the_end(x[..., None], one[:, None].astype(np.float64), lengths)
        expected = np.where(one == 1, 0.2, 0.8)[:, None]
        noisy = expected + rng.normal(0.0, 0.1**0.5, expected.shape)
        return judged_at_the_end(x[..., None], noisy, lengths, expected)

    def judge(answers: Array, batch: Batch) -> Array:
        expected, allowed = (batch.targets, 0.2) if batch.truth is None else (batch.truth, 0.1)
        return np.asarray(~(abs(answers - expected) <= allowed).all(1))

    criterion = {
        "a": "none of 256 sequences wrong (ST1), and their mean error < 0.01 (ST2); wrong: error > 0.2",
        "b": "fewer than 6 of 256 sequences wrong (ST1), and their mean error < 0.04 (ST2); wrong: error > 0.2",
        "c": "none of 256 wrong, and their mean difference to the expected target < 0.015; wrong: more than 0.1 off it",
    }[variant]
    name = f"2-sequence 3{variant} T={length}, N={informative}"
    source = f"S. Hochreiter and J. Schmidhuber (1997), section 5.3, task 3{variant}"
    if variant == "c":
        return Task(name, source, 1, 1, "squared error", 0.19, criterion, draw, judge, 0.1)
    return Task(name, source, 1, 1, "binary cross entropy", float(np.log(2)), criterion, draw, judge)


def latch(length: int = 500, variant: str = "II", longest: int | None = None) -> Task:
    r"""The latch: hold one bit against noise.

    | variant | first input | after it | target |
    |---|---|---|---|
    | I | one of two that the net chooses itself: (1, 0, 0) or (0, 1, 0) | (0, 0, noise) | 0.8 or -0.8 |
    | II | 1 or -1 | noise | 1 or -1 |

    Noise is N(0, 0.2), 0.2 the variance.  One tanh unit suffices: in I with three free weights, its own and the two of
    the first inputs (the weight of the noise is 1), in II with three: its own, the input's and a bias.

    Args:
        length: the shortest sequence, at least 2.
        variant: "I" or "II".
        longest: the longest sequence; None: ``length + length // 5``, as in the source, 500 to 600.

    Returns:
        A task of three features (I) or one (II) and one output, judged at the last step: in I by its sign, as no state
        stays within 0.1 of 0.8 under such noise, in II by |error| < 0.1.

    Raises:
        ArgumentError: another variant; impossible lengths.

    Source: J. Schmidhuber, S. Hochreiter and Y. Bengio (2001), "Evaluating benchmark problems by random guessing";
    Y. Bengio et al. (1994).

    >>> batch = latch(500).batch(np.random.default_rng(0), 2)
    >>> batch.inputs[0, :, 0].tolist(), batch.targets[:, 0].tolist()
    ([1.0, -1.0], [1.0, -1.0])
    """
    if variant not in ("I", "II"):
        raise ArgumentError(f"variant must be I or II, got {variant!r}")
    last = _longest(length, longest)

    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        lengths = rng.integers(length, last + 1, sequences)
        one = rng.integers(0, 2, sequences)
        noise = rng.normal(0.0, VARIANCE**0.5, (int(lengths.max()), sequences))
        noise[np.arange(len(noise))[:, None] >= lengths] = 0.0
        sign = 2.0 * one - 1
        if variant == "II":
            noise[0] = sign
            return judged_at_the_end(noise[..., None], sign[:, None], lengths)
        noise[0] = 0.0
        inputs = np.concatenate([np.zeros((*noise.shape, 2)), noise[..., None]], 2)
        inputs[0, :, 0], inputs[0, :, 1] = one, 1 - one
        return judged_at_the_end(inputs, 0.8 * sign[:, None], lengths)

    def judge(answers: Array, batch: Batch) -> Array:
        right = answers * batch.targets > 0 if variant == "I" else abs(answers - batch.targets) < 0.1
        return np.asarray(~right.all(1))

    size, scale = (3, 0.64) if variant == "I" else (1, 1.0)
    how = "the sign" if variant == "I" else "|error| < 0.1"
    criterion = f"all of 100 sequences right, then 100 fresh ones are tested; right: {how} at the end"
    return Task(f"latch {variant} T={length}", GUESSING, size, 1, "squared error", scale, criterion, draw, judge)


def parity(length: int = 500, longest: int | None = None, noise: float = 0.0) -> Task:
    r"""Parity: is the number of 1s in a sequence of 1s and -1s odd?

        target 1 if |{t: x_t = 1}| is odd, else 0

    Args:
        length: the shortest sequence, at least 2.
        longest: the longest; None: ``length + length // 5``, as in the source, 500 to 600.
        noise: U(-noise, noise) is added to each input; 0.2 in the source's noisy variant.

    Returns:
        A task of one feature and one output (a logit), judged at the last step.

    Raises:
        ArgumentError: impossible lengths, negative noise.

    Source: J. Schmidhuber, S. Hochreiter and Y. Bengio (2001), "Evaluating benchmark problems by random guessing";
    Y. Bengio et al. (1994).

    >>> batch = parity(5, longest=5).batch(np.random.default_rng(1), 2)
    >>> batch.inputs[:, :, 0].T.tolist(), batch.targets[:, 0].tolist()
    ([[-1.0, 1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, 1.0, -1.0]], [0.0, 1.0])
    """
    last = _longest(length, longest)
    if not noise >= 0:
        raise ArgumentError(f"noise must be 0 or more, got {noise!r}")

    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        lengths = rng.integers(length, last + 1, sequences)
        inside = np.arange(int(lengths.max()))[:, None] < lengths
        x = 2.0 * rng.integers(0, 2, inside.shape) - 1
        odd = ((x == 1) & inside).sum(0) % 2
        if noise:
            x = x + rng.uniform(-noise, noise, x.shape)
        return judged_at_the_end((x * inside)[..., None], odd[:, None].astype(np.float64), lengths)

    def judge(answers: Array, batch: Batch) -> Array:
        return np.asarray(~(abs(answers - batch.targets) < 0.1).all(1))

    criterion = "all of 100 sequences right, then 100 fresh ones are tested; right: |error| < 0.1 at the end"
    name, log2 = f"parity T={length}", float(np.log(2))
    return Task(name, GUESSING, 1, 1, "binary cross entropy", log2, criterion, draw, judge)


def _longest(length: int, longest: int | None) -> int:
    at_least("length", length, 2)
    last = length + length // 5 if longest is None else longest
    at_least("longest", last, length)
    return last

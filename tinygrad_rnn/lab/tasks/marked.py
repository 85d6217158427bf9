"""The adding and the multiplication problem: two of many numbers are marked; their sum or product is asked for.

Shapes: T steps, N sequences; inputs (T, N, 2): a number, and its marker.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...errors import ArgumentError
from ...typing import Array
from .task import Batch, Task, at_least, judged_at_the_end

__all__ = ["ADDING", "adding", "multiplication"]

ADDING = {
    "hochreiter1997": "S. Hochreiter and J. Schmidhuber (1997), section 5.4",
    "pascanu2013": "R. Pascanu et al. (2013): addition.py of their trainingRNNs",
    "le2015": "Q. V. Le et al. (2015); M. Arjovsky et al. (2016): adding_problem.py of their complex_RNN",
    "bai2018": "S. Bai et al. (2018): adding_problem/utils.py of their TCN",
}
"""The published variants, and where each is defined."""

Draw = Callable[[np.random.Generator, int], Batch]
HOCHREITER_SOLVED = "the mean error below 0.01 and the last 2000 sequences right; right: |error| < 0.04"


def adding(length: int, variant: str = "hochreiter1997") -> Task:
    r"""The adding problem: the sum of the two numbers that are marked.

    | variant | numbers | first marker | second marker | length | target |
    |---|---|---|---|---|---|
    | hochreiter1997 | U(-1, 1) | first ten | first T/2 - 1 unmarked | T to T + T/10 | 0.5 + (X1 + X2) / 4 |
    | pascanu2013 | U(0, 1) | before T/10 | T/10 to T/2 | T to 1.1 T, one per batch | (X1 + X2) / 2 |
    | le2015 | U(0, 1) | first half | second half | T | X1 + X2 |
    | bai2018 | U(0, 1) | anywhere | anywhere else | T | X1 + X2 |

    In the first the markers of the first and of the last pair are -1, and a marked first pair counts as 0.  The
    baseline is the variance of the target: of a sum of two U(0, 1) it is 1/6, not 0.1767, which many have copied.

    Args:
        length: T, at least 20.
        variant: a key of :data:`ADDING`.

    Returns:
        A task of two features and one output, judged at the last step.

    Raises:
        ArgumentError: another variant, or a shorter length.

    Source: of each variant, see :data:`ADDING`.

    >>> task = adding(100)
    >>> batch = task.batch(np.random.default_rng(0), 2)
    >>> [int((batch.inputs[:, n, 1] == 1).sum()) for n in range(2)], batch.lengths.tolist()
    ([2, 2], [109, 107])
    >>> x, marked = batch.inputs[:, 0, 0], batch.inputs[:, 0, 1] == 1
    >>> np.allclose(batch.targets[0], 0.5 + x[marked].sum() / 4)
    True
    >>> round(adding(100, "le2015").baseline, 4)
    0.1667
    """
    at_least("length", length, 20)
    if variant not in ADDING:
        raise ArgumentError(f"variant must be one of {', '.join(ADDING)}, got {variant!r}")
    draw, baseline, criterion = _variant(length, variant)
    judge = _squares_over if variant == "pascanu2013" else _errors_over
    return Task(
        f"adding T={length}, {variant}", ADDING[variant], 2, 1, "squared error", baseline, criterion, draw, judge
    )


def multiplication(length: int, variant: str = "hochreiter1997") -> Task:
    r"""The multiplication problem: the product of the two numbers that are marked.

    As :func:`adding`, with numbers U(0, 1) and the target X1 X2; in the variant of 1997 a marked first pair counts
    as 1.  Gradient descent finds where to look at n_seq = 140; the exact product takes longer.

    Args:
        length: T, at least 20.
        variant: "hochreiter1997" or "pascanu2013".

    Returns:
        A task of two features and one output, judged at the last step.

    Raises:
        ArgumentError: another variant, or a shorter length.

    Source: S. Hochreiter and J. Schmidhuber (1997), section 5.5; multiplication.py of Pascanu's trainingRNNs.

    >>> task = multiplication(100)
    >>> batch = task.batch(np.random.default_rng(1), 1)
    >>> np.allclose(batch.inputs[:, 0, 0][batch.inputs[:, 0, 1] == 1].prod(), batch.targets[0, 0])
    True
    """
    at_least("length", length, 20)
    if variant == "pascanu2013":
        source = "R. Pascanu et al. (2013): multiplication.py of their trainingRNNs"
        draw, criterion = _pascanu(length, lambda a, b: a * b), "fewer than 1 % of 10,000 wrong; wrong: error^2 > 0.04"
        baseline, judge = 7 / 144, _squares_over
    elif variant == "hochreiter1997":
        source = "S. Hochreiter and J. Schmidhuber (1997), section 5.5"
        criterion = "fewer than n_seq (140, then 13) of the last 2000 sequences wrong; wrong: |error| > 0.04"
        draw, judge = _hochreiter(length, 0.0, 1.0, lambda a, b: a * b), _errors_over
        first = _first_is_marked(length)  # then the product is one U(0, 1)
        mean, square = (1 - first) / 4 + first / 2, (1 - first) / 9 + first / 3
        baseline = square - mean**2
    else:
        raise ArgumentError(f"variant must be one of hochreiter1997, pascanu2013, got {variant!r}")
    return Task(
        f"multiplication T={length}, {variant}", source, 2, 1, "squared error", baseline, criterion, draw, judge
    )


def _variant(length: int, variant: str) -> tuple[Draw, float, str]:
    if variant == "hochreiter1997":
        draw = _hochreiter(length, -1.0, 0.0, lambda a, b: 0.5 + (a + b) / 4)
        return draw, (2 - _first_is_marked(length)) / 48, HOCHREITER_SOLVED
    if variant == "pascanu2013":
        criterion = "fewer than 1 % of 10,000 wrong; wrong: error^2 > 0.04 (25 times as wide as in 1997)"
        return _pascanu(length, lambda a, b: (a + b) / 2), 1 / 24, criterion
    criterion = "none: the source draws the mean squared error; wrong here: |error| >= 0.04, as in 1997"
    return (_halves if variant == "le2015" else _anywhere)(length), 1 / 6, criterion


def _first_is_marked(length: int) -> float:
    """The probability that the first pair is one of the two that are marked in the variant of 1997."""
    return 1 / 10 + 9 / 10 / (length // 2 - 1)


def _hochreiter(length: int, low: float, neutral: float, target: Callable[[Array, Array], Array]) -> Draw:
    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        lengths = rng.integers(length, length + length // 10 + 1, sequences)
        values = rng.uniform(low, 1.0, (int(lengths.max()), sequences))
        first = rng.integers(0, 10, sequences)
        second = rng.integers(0, length // 2 - 1, sequences)
        second += second >= first  # counted among those that are still unmarked
        rows = np.arange(sequences)
        inside = np.arange(len(values))[:, None] < lengths
        markers = np.zeros(values.shape)
        markers[first, rows] = markers[second, rows] = 1.0
        markers[0], markers[lengths - 1, rows] = -1.0, -1.0
        x1, x2 = (np.where(place == 0, neutral, values[place, rows]) for place in (first, second))
        return judged_at_the_end(np.stack([values * inside, markers], 2), target(x1, x2)[:, None], lengths)

    return draw


def _pascanu(length: int, target: Callable[[Array, Array], Array]) -> Draw:
    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        steps = int(rng.integers(length, length + int(length * 0.1)))
        tenth = int(steps * 0.1)
        first = rng.integers(0, tenth, sequences)
        second = rng.integers(0, int(steps * 0.4), sequences) + tenth
        return _marked(rng, steps, first, second, target)

    return draw


def _halves(length: int) -> Draw:
    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        half = length // 2
        first, second = rng.integers(0, half, (2, sequences))
        return _marked(rng, length, first, second + half, lambda a, b: a + b)

    return draw


def _anywhere(length: int) -> Draw:
    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        first, second = rng.integers(0, length, sequences), rng.integers(0, length - 1, sequences)
        return _marked(rng, length, first, second + (second >= first), lambda a, b: a + b)

    return draw


def _marked(
    rng: np.random.Generator, steps: int, first: Array, second: Array, target: Callable[[Array, Array], Array]
) -> Batch:
    rows = np.arange(len(first))
    values = rng.uniform(0.0, 1.0, (steps, len(first)))
    markers = np.zeros(values.shape)
    markers[first, rows] = markers[second, rows] = 1.0
    wanted = target(values[first, rows], values[second, rows])[:, None]
    return judged_at_the_end(np.stack([values, markers], 2), wanted, np.full(len(first), steps))


def _errors_over(answers: Array, batch: Batch) -> Array:
    return np.asarray(~(abs(answers - batch.targets) < 0.04).all(1))


def _squares_over(answers: Array, batch: Batch) -> Array:
    return np.asarray(~((answers - batch.targets) ** 2 <= 0.04).all(1))

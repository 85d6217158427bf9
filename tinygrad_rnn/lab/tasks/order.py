"""Temporal order: the order in which two or three symbols came, among many that do not matter.

Shapes: T steps, N sequences, one feature for each symbol of the alphabet.
"""

from __future__ import annotations

import numpy as np

from ...errors import ArgumentError
from ...typing import Array
from .task import Batch, Task, at_least, judged_at_the_end, one_hot

__all__ = ["temporal_order"]


def temporal_order(length: int = 100, symbols: int = 2, variant: str = "hochreiter1997") -> Task:
    r"""Temporal order: classify a sequence by the order of its two or three symbols X or Y.

    | variant | alphabet | places of 2 | places of 3 | length |
    |---|---|---|---|---|
    | hochreiter1997 | E B a b c d X Y | 10-20, 50-60 | 10-20, 33-43, 66-76 | 100 to 110 |
    | pascanu2013 | A B c d e f | [.1T, .2T), [.5T, .6T) | [.1T, .2T), [.3T, .4T), [.6T, .7T) | T |

    In the first a sequence begins with E and ends with B; its places, counted from 1 and given for T = 100, grow with
    T.  Class of X...X, X...Y, Y...X, Y...Y: 0 to 3; in the second variant the *first* symbol counts 1, the second 2,
    as in its program (which says AB for what a reader would call BA, without harm).

    Args:
        length: T, at least 10 (pascanu2013) or 20.
        symbols: how many matter: 2 (four classes) or 3 (eight classes; the "3-bit" problem).
        variant: "hochreiter1997" or "pascanu2013".

    Returns:
        A task of 8 or 6 features and 4 or 8 classes, judged at the last step.

    Raises:
        ArgumentError: what is not in the table.

    Source: S. Hochreiter and J. Schmidhuber (1997), section 5.6; tempOrder.py and tempOrder3bit.py of Pascanu's
    trainingRNNs.

    >>> batch = temporal_order(50, variant="pascanu2013").batch(np.random.default_rng(1), 1)
    >>> "".join("ABcdef"[s] for s in batch.inputs[:, 0].argmax(1)), batch.targets.tolist()
    ('deffccAfcdfddfddeeccfffefddBcdcdfcddfcedcfcdddcfef', [2])
    """
    if symbols not in (2, 3):
        raise ArgumentError(f"symbols must be 2 or 3, got {symbols!r}")
    starts: tuple[int, ...]
    if variant == "hochreiter1997":
        at_least("length", length, 20)
        source = "S. Hochreiter and J. Schmidhuber (1997), section 5.6, task 6" + "ab"[symbols - 2]
        criterion = "the mean error below 0.1 and the last 2000 sequences right; right: all errors < 0.3"
        starts = ((length // 10, length // 2), (length // 10, length // 3, 2 * length // 3))[symbols - 2]
        inputs = 8
    elif variant == "pascanu2013":
        at_least("length", length, 10)
        source = "R. Pascanu et al. (2013): " + ("tempOrder.py", "tempOrder3bit.py")[symbols - 2]
        criterion = "fewer than 1 % of 10,000 wrong; wrong: another class has the largest output"
        starts = tuple(int(length * place) for place in ((0.1, 0.5), (0.1, 0.3, 0.6))[symbols - 2])
        inputs = 6
    else:
        raise ArgumentError(f"variant must be one of hochreiter1997, pascanu2013, got {variant!r}")
    tenth = int(length * 0.1)

    def hochreiter(rng: np.random.Generator, sequences: int) -> Batch:
        lengths = rng.integers(length, length + tenth + 1, sequences)
        rows = np.arange(sequences)
        drawn = rng.integers(2, 6, (int(lengths.max()), sequences))  # a b c d; E, B are 0, 1; X, Y are 6, 7
        drawn[0], drawn[lengths - 1, rows] = 0, 1
        bits = rng.integers(0, 2, (symbols, sequences))
        for bit, start in zip(bits, starts, strict=True):
            drawn[start - 1 + rng.integers(0, tenth + 1, sequences), rows] = 6 + bit
        drawn[np.arange(len(drawn))[:, None] >= lengths] = -1
        classes = sum(bit * 2 ** (symbols - 1 - k) for k, bit in enumerate(bits))
        return judged_at_the_end(one_hot(drawn, 8), np.asarray(classes, np.int64), lengths)

    def pascanu(rng: np.random.Generator, sequences: int) -> Batch:
        drawn = rng.integers(2, 6, (length, sequences))
        bits = rng.integers(0, 2, (symbols, sequences))
        for bit, start in zip(bits, starts, strict=True):
            drawn[start + rng.integers(0, tenth, sequences), np.arange(sequences)] = bit
        classes = sum(bit * 2**k for k, bit in enumerate(bits))
        return judged_at_the_end(one_hot(drawn, 6), np.asarray(classes, np.int64), np.full(sequences, length))

    def within(answers: Array, batch: Batch) -> Array:
        return np.asarray(~(abs(answers - one_hot(batch.targets, 2**symbols)) < 0.3).all(1))

    def largest(answers: Array, batch: Batch) -> Array:
        return np.asarray(answers.argmax(1) != batch.targets)

    first = variant == "hochreiter1997"
    return Task(
        f"temporal order T={length}, {symbols} symbols, {variant}",
        source,
        inputs,
        2**symbols,
        "cross entropy",
        symbols * float(np.log(2)),
        criterion,
        hochreiter if first else pascanu,
        within if first else largest,
    )

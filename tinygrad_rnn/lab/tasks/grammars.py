"""The Reber grammar, embedded in another, and in an endless stream.

A grammar is a graph: in each node one or two edges, taken with equal probability, each with the symbol that it says.
Shapes: T steps, N sequences; inputs (T, N, 7), a feature for each of B T P S X V E.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import ArgumentError
from ...typing import Array
from .task import Batch, Task, at_least, one_hot

__all__ = ["SYMBOLS", "continual_reber", "embedded_reber", "reber", "spelled"]

SYMBOLS = "BTPSXVE"
"""The symbols, in the order of the features."""

INNER = ("B1", "T2 P3", "S2 X4", "T3 V5", "X3 S6", "P4 V6", "E7")
"""The Reber grammar: of each node its edges, a symbol and the node it leads to; node 7 is the end."""

END = -1
HOCHREITER = "S. Hochreiter and J. Schmidhuber (1997), section 5.1"
RIGHT = "a string is right if, at every step, the outputs of the possible next symbols are the largest"


class Grammar:
    """A graph of nodes; ``said[node, k]`` and ``then[node, k]`` are symbol and next node of its edge k (0 or 1).

    A node of one edge has it twice.  Nodes of one ``place`` differ only in what is to be remembered.
    """

    def __init__(self, edges: Sequence[str], places: Sequence[int]) -> None:
        pairs = [(node.split() * 2)[:2] for node in edges]
        self.said = np.array([[SYMBOLS.index(e[0]) for e in pair] for pair in pairs])
        self.then = np.array([[int(e[1:]) for e in pair] for pair in pairs])
        self.then[self.then == len(edges)] = END
        self.places = list(places)

    def walk(self, rng: np.random.Generator, sequences: int, steps: int | None = None) -> tuple[Array, Array]:
        """Symbols and the nodes where they were said, (T, N) each, -1 after the end; endless with ``steps``."""
        node = np.zeros(sequences, np.int64)
        symbols: list[Array] = []
        nodes: list[Array] = []
        while (node != END).any() if steps is None else len(symbols) < steps:
            over = node == END
            edge = rng.integers(0, 2, sequences)
            symbols.append(np.where(over, -1, self.said[node, edge]))
            nodes.append(node)
            node = np.where(over, END, self.then[node, edge])
            if steps is not None:
                node = np.where(node == END, 0, node)
        return np.stack(symbols), np.stack(nodes)

    def allowed(self, nodes: Array) -> Array:
        """Which symbols can be said in each node: (..., 7) of bool."""
        return np.asarray((self.said[nodes][..., None] == np.arange(len(SYMBOLS))).any(-2))

    def visits(self) -> Array:
        """How often each node is visited in a string, on average: v = start + P^T v, solved."""
        count = len(self.said)
        moves = np.zeros((count, count))
        for node in range(count):
            for then in self.then[node]:
                if then != END:
                    moves[node, then] += 0.5
        return np.asarray(np.linalg.solve(np.eye(count) - moves.T, np.eye(count)[0]))

    def cost(self, groups: Sequence[object] | None = None) -> float:
        """Nats that the best prediction of a string costs.

        Args:
            groups: of each node what is known of it; None: nothing, but the symbol said last.
        """
        visits = self.visits()
        weights: dict[object, Array] = {}
        for node, edges in enumerate(self.said):
            for symbol, then in zip(edges, self.then[node], strict=True):
                if groups is not None:
                    weights.setdefault(groups[node], np.zeros(len(SYMBOLS)))[symbol] += visits[node] / 2
                elif then != END:
                    of = weights.setdefault(int(symbol), np.zeros(len(SYMBOLS)))
                    np.add.at(of, self.said[then], visits[node] / 4)
        shares = [of[of > 0] for of in weights.values()]
        return -sum([float((of * np.log(of / of.sum())).sum()) for of in shares])


def _embedded() -> Grammar:
    """B, then T or P, a whole string of the inner grammar, the same T or P, E."""
    edges, places = ["B1", "T2 P10"], [0, 1]
    for copy, same in enumerate("TP"):
        first = 2 + 8 * copy
        for node in INNER[:-1]:
            edges.append(" ".join([f"{e[0]}{first + int(e[1:])}" for e in node.split()]))
        edges += [f"E{first + 7}", f"{same}18"]
        places += list(range(2, 10))
    return Grammar([*edges, "E19"], [*places, 10])


REBER = Grammar(INNER, range(7))
EMBEDDED = _embedded()


def spelled(batch: Batch, sequence: int = 0) -> str:
    """The symbols that a sequence of a batch is made of, without the last, which is only predicted.

    >>> spelled(reber().batch(np.random.default_rng(1), 1))
    'BPVV'
    """
    said = batch.inputs[: int(batch.lengths[sequence]), sequence].argmax(1)
    return "".join([SYMBOLS[s] for s in said])


def reber() -> Task:
    r"""The Reber grammar: predict the next symbol of strings such as BTXSE and BPVVE.

    What can come next depends on the node, which the last symbol alone does not tell: T begins in two of them.

    Returns:
        A task of seven features and classes, judged at every step; sequences differ in length.

    Source: A. S. Reber's grammar, in S. Hochreiter and J. Schmidhuber (1997), figure 3.

    >>> task = reber()
    >>> batch = task.batch(np.random.default_rng(2), 1)
    >>> spelled(batch), SYMBOLS[batch.targets[-1]]
    ('BTSSSXXTTVV', 'E')
    >>> round(task.best, 3), round(task.baseline, 3)         # nats per symbol: with the node known, and the last symbol
    (0.594, 1.164)
    """
    return _task("Reber grammar", "S. Hochreiter and J. Schmidhuber (1997), figure 3", REBER, None)


def embedded_reber() -> Task:
    r"""The embedded Reber grammar: BT (a Reber string) TE or BP (a Reber string) PE.

    Before the last symbol but one the net has to know the second symbol, which was 6 steps ago or more.  The baseline
    knows the grammar, and forgets that one symbol.

    Returns:
        A task of seven features and classes, judged at every step; sequences differ in length, 9 symbols at least.

    Source: S. Hochreiter and J. Schmidhuber (1997), section 5.1.

    >>> task = embedded_reber()
    >>> batch = task.batch(np.random.default_rng(2), 1)
    >>> spelled(batch), SYMBOLS[batch.targets[-1]]
    ('BTBTSXXTTVVET', 'E')
    >>> round(task.baseline - task.best, 4)                  # log(2) for each string, of 11 predictions on average
    0.063
    """
    return _task("embedded Reber grammar", HOCHREITER, EMBEDDED, None)


def continual_reber(length: int) -> Task:
    r"""Continual embedded Reber: strings of :func:`embedded_reber` one after another, without a mark between them.

    Nothing resets the state of the net between two strings; a net that cannot forget has to count them all.

    Args:
        length: T, how many symbols a sequence has, at least 2.

    Returns:
        A task of seven features and classes, judged at every step.

    Raises:
        ArgumentError: a shorter length.

    Source: F. A. Gers, J. Schmidhuber and F. Cummins (2000), "Learning to forget: continual prediction with LSTM".

    >>> batch = continual_reber(30).batch(np.random.default_rng(1), 1)
    >>> spelled(batch)
    'BPBPTTVVEPEBTBTSXSETEBPBPTTVPX'
    """
    at_least("length", length, 2)
    source = "F. A. Gers, J. Schmidhuber and F. Cummins (2000), Neural Computation 12(10)"
    return _task(f"continual embedded Reber T={length}", source, EMBEDDED, length)


def _task(name: str, source: str, grammar: Grammar, steps: int | None) -> Task:
    def draw(rng: np.random.Generator, sequences: int) -> Batch:
        symbols, nodes = grammar.walk(rng, sequences, None if steps is None else steps + 1)
        there = symbols[1:] >= 0  # a symbol comes after: it is predicted
        places, rows = np.nonzero(there)
        inputs = one_hot(np.where(there, symbols[:-1], -1), len(SYMBOLS))
        targets = symbols[1:][there].astype(np.int64)
        return Batch(inputs, targets, places, rows, there.sum(0), grammar.allowed(nodes[1:][there]))

    def judge(answers: Array, batch: Batch) -> Array:
        if batch.truth is None:
            raise ArgumentError("a batch of a grammar has the symbols that are possible next as its truth")
        least = np.where(batch.truth, answers, np.inf).min(1)
        most = np.where(batch.truth, -np.inf, answers).max(1)
        return np.asarray(~(least > most))

    count = float(grammar.visits().sum()) - (steps is None)  # the first B is predicted in a stream alone
    best = grammar.cost(range(len(grammar.places))) / count
    baseline = grammar.cost(grammar.places if grammar is EMBEDDED else None) / count
    return Task(name, source, len(SYMBOLS), len(SYMBOLS), "cross entropy", baseline, RIGHT, draw, judge, best)

r"""Write the vjp of an embedding.

A network reads words as numbers 0, 1, ..., V - 1, and has a table E of shape (V, D) with a row for
each. Reading a text is looking up rows:

    y = E[idx]          idx of shape (T,), y of shape (T, D)

A word that occurs three times uses its row three times. That is a tied weight once more, and the
rule is the same: what a row gets is the sum over its uses; a row that is not used gets 0.

Given g = dL/dy of shape (T, D), return dE = dL/dE of shape (V, D). For example, with V = 3:

    embedding_vjp(g=[[1.], [2.], [4.]], idx=[0, 2, 0], V=3)   gives   [[5.], [0.], [2.]]

NumPy has a trap here: with an array of indices, dE[idx] += g adds only one of several entries that
go to the same row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    16,
    "The vjp of an embedding",
    unit=3,
    returns=["dE"],
    hints=[
        "Begin with zeros of shape (V, D), and think of adding g[t] to row idx[t], one t after the other.",
        "A loop over t does it. dE[idx] += g does not: NumPy reads all rows, adds, and writes them back.",
        "np.add.at(dE, idx, g) adds one after the other, without a loop of yours.",
    ],
)
def embedding_vjp(g: Array, idx: Array, V: int) -> Array:
    """Return dE of shape (V, D), where y = E[idx] and g = dL/dy; idx is (T,), g is (T, D)."""
    dE = np.zeros((V, g.shape[1]))
    np.add.at(dE, idx, g)
    return dE


@embedding_vjp.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """No word twice, some twice, one word only, no word."""
    yield np.array([[1.0], [2.0]]), np.array([1, 0]), 3
    yield np.array([[1.0], [2.0], [4.0]]), np.array([0, 2, 0]), 3
    for steps, width, rows in [(4, 2, 3), (6, 3, 2), (10, 2, 5)]:
        yield rng.normal(size=(steps, width)), rng.integers(rows, size=steps), rows
    yield rng.normal(size=(3, 2)), np.array([1, 1, 1]), 2
    yield np.zeros((0, 2)), np.zeros(0, int), 2


@embedding_vjp.mistake("of several uses of a row only the last is counted")
def overwritten(g: Array, idx: Array, V: int) -> Array:
    """dE[idx] += g and dE[idx] = g keep one of several contributions to a row."""
    dE = np.zeros((V, g.shape[1]))
    dE[idx] = g
    return dE


@embedding_vjp.mistake("of several uses of a row only the first is counted")
def first(g: Array, idx: Array, V: int) -> Array:
    """Later uses of a row contribute, too."""
    dE = np.zeros((V, g.shape[1]))
    dE[idx[::-1]] = g[::-1]
    return dE


@embedding_vjp.mistake("the uses of a row are averaged")
def mean(g: Array, idx: Array, V: int) -> Array:
    """A frequent word has more effect than a rare one: its contributions are added."""
    counts = np.maximum(np.bincount(idx, minlength=V), 1)
    return np.asarray(embedding_vjp.solution(g, idx, V) / counts[:, None])


@embedding_vjp.mistake("rows are looked up in g")
def looked_up(g: Array, idx: Array, V: int) -> Array:
    """This reads g at the places of idx; the vjp of reading is adding."""
    dE = np.zeros((V, g.shape[1]))
    for v in range(min(V, len(idx))):
        dE[v] = g[idx[v] % len(g)]
    return dE


@embedding_vjp.mistake("the result has a row for every use")
def for_each_use(g: Array, idx: Array, V: int) -> Array:
    """dE has the shape of the table, with one row for each word that there is."""
    return g * 1


@embedding_vjp.mistake("the cotangent is missing")
def counts(g: Array, idx: Array, V: int) -> Array:
    """This counts how often each row was used; each use contributes its g."""
    return embedding_vjp.solution(np.ones_like(g), idx, V)  # type: ignore[no-any-return]

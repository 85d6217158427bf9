r"""Add up the gradient of a matrix that is used T times.

Now with vectors, and without a tanh, so that only the tying is left:

    h[t] = W @ h[t-1]          for t = 1, ..., T; h[0] is given as h0

W is a square matrix (n, n), all h are vectors (n,), and at the end L = c @ h[T] for a given vector
c.

Return dW = dL/dW, of shape (n, n), and dh0 = dL/dh0, of shape (n,).

What one use of the matrix contributes you know from exercise 7: for h[t] = W @ h[t-1], with the
vector g = dL/dh[t],

    the contribution to dW is np.outer(g, h[t-1])          [i, j]: g[i] * h[t-1][j]
    and what goes on to h[t-1] is W.T @ g

The gradient of the one W is the sum of the contributions of its T uses. For example, with

    W = [[0., 1.], [1., 0.]] (it exchanges the two entries),   h0 = [1., 2.],   c = [1., 0.],   T = 2

dW = [[2., 1.], [1., 2.]] and dh0 = [1., 0.].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    15,
    "The gradient of a tied matrix",
    unit=3,
    returns=["dW", "dh0"],
    hints=[
        "Go forwards and keep h[0], ..., h[T]. The way back begins with g = c, which is dL/dh[T].",
        "At each step, for t = T, ..., 1: first add the contribution of this use to dW, then let g go on to h[t-1].",
        "dW += np.outer(g, h[t-1]); g = W.T @ g. After the last step g is dL/dh0.",
    ],
)
def tied_matrix(W: Array, h0: Array, c: Array, T: int) -> tuple[Array, Array]:
    """Return (dW, dh0), where h[t] = W @ h[t-1] for t = 1, ..., T and L = c @ h[T]."""
    hs = states(W, h0, T)
    dW = np.zeros_like(W)
    g = c
    for t in reversed(range(T)):
        dW = dW + np.outer(g, hs[t])
        g = W.T @ g
    return dW, g


def states(W: Array, h0: Array, T: int) -> list[Array]:
    """h[0], ..., h[T]."""
    hs = [h0]
    for _ in range(T):
        hs.append(W @ hs[-1])
    return hs


@tied_matrix.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One use, two, more; one entry, several."""
    yield np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.0, 2.0]), np.array([1.0, 0.0]), 2
    for n, steps in [(1, 1), (1, 3), (2, 1), (2, 2), (3, 4), (4, 6)]:
        yield rng.normal(size=(n, n)) / np.sqrt(n), rng.normal(size=n), rng.normal(size=n), steps


@tied_matrix.mistake("only one use is counted: the last")
def last_use(W: Array, h0: Array, c: Array, T: int) -> tuple[Array, Array]:
    """dW is the contribution of the last step alone."""
    hs = states(W, h0, T)
    return np.outer(c, hs[T - 1]), tied_matrix.solution(W, h0, c, T)[1]


@tied_matrix.mistake("each use overwrites the one before")
def overwritten(W: Array, h0: Array, c: Array, T: int) -> tuple[Array, Array]:
    """What is left is the contribution of the first step, which is visited last."""
    g = c
    for _ in range(T - 1):
        g = W.T @ g
    return np.outer(g, h0), W.T @ g


@tied_matrix.mistake("the uses are averaged")
def mean(W: Array, h0: Array, c: Array, T: int) -> tuple[Array, Array]:
    """A weight that is used T times has T times the effect: the contributions are added."""
    dW, dh0 = tied_matrix.solution(W, h0, c, T)
    return dW / T, dh0


@tied_matrix.mistake("the gradient goes back through W and not through its transpose")
def not_transposed(W: Array, h0: Array, c: Array, T: int) -> tuple[Array, Array]:
    """An entry of h[t-1] is used in all rows of W, in its column."""
    hs = states(W, h0, T)
    dW, g = np.zeros_like(W), c
    for t in reversed(range(T)):
        dW, g = dW + np.outer(g, hs[t]), W @ g
    return dW, g


@tied_matrix.mistake("the outer products are transposed")
def outer_transposed(W: Array, h0: Array, c: Array, T: int) -> tuple[Array, Array]:
    """Row i of W makes entry i of the new vector: the cotangent chooses the row."""
    dW, dh0 = tied_matrix.solution(W, h0, c, T)
    return dW.T, dh0


@tied_matrix.mistake("h[t] stands where h[t-1] belongs")
def own_h(W: Array, h0: Array, c: Array, T: int) -> tuple[Array, Array]:
    """In each step W is multiplied by the vector of the step before."""
    hs = states(W, h0, T)
    dW, g = np.zeros_like(W), c
    for t in reversed(range(T)):
        dW, g = dW + np.outer(g, hs[t + 1]), W.T @ g
    return dW, g


@tied_matrix.mistake("the gradient has gone on before the contribution is added")
def too_late(W: Array, h0: Array, c: Array, T: int) -> tuple[Array, Array]:
    """The use at step t is paired with the cotangent of h[t], and here with that of h[t-1]."""
    hs = states(W, h0, T)
    dW, g = np.zeros_like(W), c
    for t in reversed(range(T)):
        g = W.T @ g
        dW = dW + np.outer(g, hs[t])
    return dW, g


@tied_matrix.mistake("it is differentiated as a power of one number")
def as_a_number(W: Array, h0: Array, c: Array, T: int) -> tuple[Array, Array]:
    """T * W**(T-1) is right for numbers; matrices cannot be exchanged, so the places of the use matter."""
    power = np.linalg.matrix_power(W, T - 1)
    return T * np.outer(c, power @ h0), tied_matrix.solution(W, h0, c, T)[1]

r"""Write the vjp of a matrix product.

    Y = A @ B        A of shape (m, k), B of shape (k, n), Y of shape (m, n)

Given G = dL/dY, of shape (m, n), return dA = dL/dA of shape (m, k) and dB = dL/dB of shape (k, n).

Start from one entry: Y[i, j] = sum over p of A[i, p] * B[p, j]. So A[i, p] is used once in every
entry of row i of Y, and what it gets is the sum over these uses:

    dA[i, p] = sum over j of G[i, j] * B[p, j]

That is a matrix product again, of G and something. The same for dB. The shapes leave little choice:
there is only one order in which they fit. For example, with

    A = [[1., 2.]],   B = [[3.], [4.]],   G = [[10.]]

dA = [[30., 40.]] and dB = [[10.], [20.]].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    7,
    "The vjp of a matrix product",
    unit=1,
    returns=["dA", "dB"],
    hints=[
        "Write down the shapes of dA, G and B. Which product of G and B, or of their transposes, has the shape of dA?",
        "In the sum for dA[i, p], j is the second index of both G and B: one of them has to be transposed.",
        "dA is G times the transpose of B. For dB, G stands on the other side.",
    ],
)
def matmul_vjp(G: Array, A: Array, B: Array) -> tuple[Array, Array]:
    """Return (dA, dB), where Y = A @ B and G = dL/dY; A is (m, k), B is (k, n), G is (m, n)."""
    return G @ B.T, A.T @ G


@matmul_vjp.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Squares first, where no shape gives a mistake away; then every other kind."""
    for m, k, n in [(1, 1, 1), (2, 2, 2), (3, 3, 3), (1, 2, 1), (2, 1, 3), (2, 3, 4), (4, 3, 2)]:
        yield rng.normal(size=(m, n)), rng.normal(size=(m, k)), rng.normal(size=(k, n))


@matmul_vjp.mistake("the transposes are missing")
def no_transpose(G: Array, A: Array, B: Array) -> tuple[Array, Array]:
    """In the sum for dA[i, p] the index of the sum is the second one of B, and a product sums over the first."""
    return G @ B, A @ G


@matmul_vjp.mistake("G stands on the wrong side")
def wrong_side(G: Array, A: Array, B: Array) -> tuple[Array, Array]:
    """Matrix products have an order: rows of G belong to rows of A, columns of G to columns of B."""
    return B.T @ G, G @ A.T


@matmul_vjp.mistake("the results are transposed")
def transposed(G: Array, A: Array, B: Array) -> tuple[Array, Array]:
    """dA has to have the shape of A, and dB that of B."""
    return B @ G.T, G.T @ A


@matmul_vjp.mistake("dA and dB changed places")
def exchanged(G: Array, A: Array, B: Array) -> tuple[Array, Array]:
    """The first result belongs to the first factor."""
    return A.T @ G, G @ B.T


@matmul_vjp.mistake("a factor is multiplied by itself")
def own_factor(G: Array, A: Array, B: Array) -> tuple[Array, Array]:
    """How Y changes with A is told by B: the other factor."""
    return G @ A.T, B.T @ G


@matmul_vjp.mistake("the cotangent is missing")
def no_cotangent(G: Array, A: Array, B: Array) -> tuple[Array, Array]:
    """This is what it would be if every entry of G were 1."""
    return np.ones_like(G) @ B.T, A.T @ np.ones_like(G)

r"""Mend the bound on how much a loss can depend on a state that lies far back.

A lecture on recurrent networks (CS224N at Stanford, 2019, lecture 7, after Pascanu and others) bounds
the gradient of a loss at step i, by a state n steps before it. For

    h[t] = s(W @ h[t-1] + (what comes in))

where s is the sigmoid or tanh, it prints

    |dL/dh[i-n]|  <=  (largest absolute eigenvalue of W) ** n

and says that below the threshold 1 the gradient must vanish, "because of the sigmoid". The idea is
right: it falls at least like a power. But three things are to be mended.

1. What is bounded so is the matrix that leads from step i-n to step i. Before it stands the
   gradient at step i itself, of size `last` = |dL/dh[i]|, and at n = 0 that is all there is.
2. By how much one product with W can stretch a vector is told by its largest *singular value*,
   `np.linalg.norm(W, 2)`, and not by an eigenvalue: [[0, 5], [0, 0]] has only eigenvalues of 0, and
   stretches fivefold.
3. Every step goes through s as well, whose slope is at most gamma: 1 for tanh, 1/4 for the sigmoid.
   (So the threshold for W is 1 for tanh, but 4 for the sigmoid.)

Return the mended bound, for each of the distances in the array n, given W (H, H), last and gamma.
It is an upper bound, and no estimate; there are networks that reach it, and yours must not be wider.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    30,
    "The bound by the distance",
    unit=6,
    returns=["bound"],
    hints=[
        "At n = 0 the bound must be `last`, whatever W is.",
        "A product of matrices stretches at most as the product of their sizes; a step counts gamma * norm(W, 2).",
        "last * (gamma * np.linalg.norm(W, 2)) ** n",
    ],
)
def bound(n: Array, W: Array, last: float, gamma: float) -> Any:
    """Return the upper bound of |dL/dh[i-n]| for each distance in n, where |dL/dh[i]| = last."""
    return last * (gamma * np.linalg.norm(W, 2)) ** n


def radius(W: Array) -> float:
    """The largest absolute eigenvalue."""
    return float(np.abs(np.linalg.eigvals(W)).max())


@bound.begins_with
@bound.mistake("it is as printed: an eigenvalue, no slope, and nothing of the last step")
def printed(n: Array, W: Array, last: float, gamma: float) -> Any:
    """All three points of the text are still to be mended."""
    largest = np.abs(np.linalg.eigvals(W)).max()
    return largest**n


@bound.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One number, a matrix whose eigenvalues tell nothing, both nonlinearities, any."""
    n = np.arange(4)
    yield n, np.array([[0.5]]), 2.0, 1.0
    yield n, np.array([[0.0, 5.0], [0.0, 0.0]]), 1.0, 0.25
    yield np.array([0]), np.array([[1.0, 2.0], [2.0, 1.0]]), 0.3, 0.25
    for k, gamma in [(2, 1.0), (3, 0.25), (4, 1.0), (6, 0.25)]:
        yield np.arange(6), rng.normal(size=(k, k)) / np.sqrt(k), float(rng.uniform(0.1, 3)), gamma


@bound.mistake("the gradient at the last step is missing")
def no_last(n: Array, W: Array, last: float, gamma: float) -> Any:
    """At the distance 0 the gradient is what it is, and the bound has to be no smaller."""
    return (gamma * np.linalg.norm(W, 2)) ** n


@bound.mistake("an eigenvalue is taken, not a singular value")
def eigenvalue(n: Array, W: Array, last: float, gamma: float) -> Any:
    """A matrix can stretch a vector by more than any of its eigenvalues."""
    return last * (gamma * radius(W)) ** n


@bound.mistake("the slope of the nonlinearity is missing")
def no_gamma(n: Array, W: Array, last: float, gamma: float) -> Any:
    """It would be a bound still, but for the sigmoid one that is 4**n times too wide."""
    return last * np.linalg.norm(W, 2) ** n


@bound.mistake("the slope counts once, not at every step")
def gamma_once(n: Array, W: Array, last: float, gamma: float) -> Any:
    """Every step goes through the nonlinearity."""
    return last * gamma * np.linalg.norm(W, 2) ** n


@bound.mistake("the last gradient counts at every step")
def last_each(n: Array, W: Array, last: float, gamma: float) -> Any:
    """It stands before the product, once."""
    return (last * gamma * np.linalg.norm(W, 2)) ** n


@bound.mistake("the root of the sum of squares is taken for the largest singular value")
def frobenius(n: Array, W: Array, last: float, gamma: float) -> Any:
    """np.linalg.norm(W) without the 2 is another norm, and its bound is wider than it has to be."""
    return last * (gamma * np.linalg.norm(W)) ** n


@bound.mistake("it is divided by gamma, not multiplied")
def divided(n: Array, W: Array, last: float, gamma: float) -> Any:
    """A slope of at most gamma makes a step smaller; 1 / gamma is the threshold for W."""
    return last * (np.linalg.norm(W, 2) / gamma) ** n


@bound.mistake("one step too many is counted")
def one_more(n: Array, W: Array, last: float, gamma: float) -> Any:
    """From h[i-n] to h[i] there are n steps."""
    return last * (gamma * np.linalg.norm(W, 2)) ** (n + 1)


@bound.mistake("it falls in proportion to the distance, not as a power")
def linear(n: Array, W: Array, last: float, gamma: float) -> Any:
    """Every step multiplies; n of them multiply n times."""
    return last * gamma * np.linalg.norm(W, 2) * n

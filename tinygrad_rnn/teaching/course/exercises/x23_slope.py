r"""Predict by how much a gradient shrinks or grows at each step, before any step is done.

In a network without a nonlinearity,

    h[t] = W @ h[t-1] + (what comes in)

a change of h[0] is multiplied by W at every step, so dh[T]/dh[0] is the matrix W multiplied by
itself T times. Drawn on a logarithmic axis over T, the size of it becomes a straight line as T
grows: it rises or falls by the same amount at every step. That amount is what you are to predict,
from W alone, as a natural logarithm:

    slope = the limit, for T to infinity, of  log(size of W^T) / T

Where is it to be found? In a direction v with W @ v = lam * v (an eigenvector), every step
multiplies by the number lam, the eigenvalue. Other directions are mixtures of such, and in a
mixture the one that grows fastest, or shrinks slowest, is alone in the end.

A real matrix may have complex eigenvalues: they turn the direction at every step, and multiply its
length by their absolute value. `np.linalg.eigvals(W)` gives all of them.

Mind that this is about the far end of the line. Its first steps may go the other way: with
W = [[0.5, 10], [0, 0.5]] the size first grows twentyfold, and then it halves with every step, to
the slope log(0.5) = -0.69315. And if all eigenvalues are 0, then after a few steps nothing is left
at all: the slope is minus infinity, which NumPy calls `-np.inf`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    23,
    "The slope of a vanishing gradient",
    unit=5,
    returns=["slope"],
    hints=[
        "In the end each step multiplies the size by one number. Which of the eigenvalues is it?",
        "Complex eigenvalues count by their absolute value, and so do negative ones: np.abs.",
        "The slope is the logarithm of the largest absolute value; np.log(0) is -inf with a warning that does no harm.",
    ],
)
def slope(W: Array) -> float:
    """Return by how much log |dh[T]/dh[0]| changes per step in the end, where h[t] = W @ h[t-1]; a number."""
    return float(np.log(np.abs(np.linalg.eigvals(W)).max()))


@slope.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One number, of both signs; a rotation; growth before decay; nothing left; any matrix."""
    yield (np.array([[0.5]]),)
    yield (np.array([[-0.8]]),)
    yield (np.array([[0.5, 10.0], [0.0, 0.5]]),)
    yield (np.array([[0.0, -1.2], [1.2, 0.0]]),)
    yield (np.diag([-2.0, 0.5, 1.0]),)
    yield (np.array([[0.0, 1.0], [0.0, 0.0]]),)
    for size in (2, 3, 5, 8):
        yield (rng.normal(size=(size, size)) / np.sqrt(size),)


def of(found: Any) -> float:
    """The logarithm of a number."""
    return float(np.log(found))


@slope.mistake("the largest singular value is taken, not an eigenvalue")
def singular(W: Array) -> float:
    """It tells by how much one step can stretch a vector; two steps need not stretch the same one."""
    return of(np.linalg.norm(W, 2))


@slope.mistake("the size of W as a table of numbers is taken")
def frobenius(W: Array) -> float:
    """The root of the sum of squares says nothing of what many steps do."""
    return of(np.linalg.norm(W))


@slope.mistake("the largest eigenvalue is taken, not the largest in absolute value")
def signed(W: Array) -> float:
    """An eigenvalue of -2 doubles the size at every step, and one of 1 does not."""
    return of(np.linalg.eigvals(W).real.max())


@slope.mistake("of complex eigenvalues only the real part is taken")
def real_part(W: Array) -> float:
    """A rotation by a right angle has real parts of 0, and keeps every length."""
    return of(np.abs(np.linalg.eigvals(W).real).max())


@slope.mistake("the logarithm is missing")
def no_logarithm(W: Array) -> float:
    """That is the factor of one step; asked for is the slope on a logarithmic axis."""
    return float(np.abs(np.linalg.eigvals(W)).max())


@slope.mistake("the logarithm has the base 10")
def base_10(W: Array) -> float:
    """Asked for is the natural logarithm, np.log."""
    return float(np.log10(np.abs(np.linalg.eigvals(W)).max()))


@slope.mistake("the logarithm has the base 2")
def base_2(W: Array) -> float:
    """Asked for is the natural logarithm, np.log."""
    return float(np.log2(np.abs(np.linalg.eigvals(W)).max()))


@slope.mistake("the smallest eigenvalue is taken")
def smallest(W: Array) -> float:
    """What shrinks fastest is gone first; in the end what shrinks slowest is left."""
    return of(np.abs(np.linalg.eigvals(W)).min())


@slope.mistake("the mean over all eigenvalues is taken")
def mean(W: Array) -> float:
    """That is how the volume of a cloud of vectors changes, and not the longest of them."""
    return float(np.log(np.abs(np.linalg.eigvals(W))).mean())


@slope.mistake("it is taken of ten steps, not of many")
def ten_steps(W: Array) -> float:
    """What comes in the first steps is still in it: the straight line is the end."""
    return of(np.linalg.norm(np.linalg.matrix_power(W, 10), 2)) / 10

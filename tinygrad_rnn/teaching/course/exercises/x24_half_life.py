r"""Find after how many steps half of a memory is left.

The cell of an LSTM is multiplied by its forget gate at every step:

    c[t] = f * c[t-1] + (what is new)

If f stays the same, then after k steps f**k is left of what c was, and the same number is what is
left of a gradient on its way back over k steps. The half-life is the number of steps after which it
is a half. It need not be a whole number: after 2.5 steps means between the second and the third.

    f**k = 1/2        solve for k

Every unit has a gate of its own: f is an array of numbers from 0 to 1, and you return the half-life
of each, an array of the same shape. Two ends have to be right as well. A gate of 0 keeps nothing:
its half-life is 0. A gate of 1 never forgets: its half-life is infinity, `np.inf`.

For example, f = 0.5 has a half-life of 1 step, f = 0.25 of half a step, and f = 0.9 one of 6.57881.
A gate of 0.99 reaches ten times as far as one of 0.9, and this is why gates are made to start open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    24,
    "The half-life of a memory",
    unit=5,
    returns=["steps"],
    hints=[
        "Take the logarithm of both sides: k * log(f) = log(1/2).",
        "For f = 0, log(f) is -inf, and a number divided by it is 0: that comes out by itself.",
        "For f = 1, log(f) is 0, and the negative log(1/2) divided by it gives -inf. In log(2) / log(1 / f) both "
        "are positive.",
    ],
)
def half_life(f: Array) -> Any:
    """Return after how many steps a half is left where each step multiplies by f; an array of the shape of f."""
    with np.errstate(divide="ignore"):
        return np.log(2) / np.log(1 / f)


@half_life.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Numbers that can be seen through, the two ends, then any."""
    yield (np.array([0.5, 0.25]),)
    yield (np.array([0.9, 0.99, 0.999]),)
    yield (np.array([0.0, 0.5]),)
    yield (np.array([1.0, 0.5]),)
    for shape in [(4,), (3, 2), (2, 3, 4)]:
        yield (rng.uniform(0.05, 0.999, size=shape),)


@half_life.mistake("a gate of 1 gives minus infinity")
def negative(f: Array) -> Any:
    """A gate of 1 never forgets; the sign comes of dividing a negative number by 0, taken for a positive one."""
    with np.errstate(divide="ignore"):
        return np.log(0.5) / np.log(f)


@half_life.mistake("it is the time after which 1/e is left, not a half")
def time_constant(f: Array) -> Any:
    """That is the time constant, -1 / log(f), which is longer."""
    with np.errstate(divide="ignore"):
        return 1 / np.log(1 / f)


@half_life.mistake("it is 1 / (1 - f)")
def mean_life(f: Array) -> Any:
    """That is how many steps are remembered on average, and near the time constant; a half is left earlier."""
    with np.errstate(divide="ignore"):
        return 1 / (1 - f)


@half_life.mistake("the quotient stands upside down")
def upside_down(f: Array) -> Any:
    """That is how many half-lives go by in one step."""
    with np.errstate(divide="ignore"):
        return np.log(1 / f) / np.log(2)


@half_life.mistake("it is rounded up to whole steps")
def rounded(f: Array) -> Any:
    """It need not be a whole number."""
    with np.errstate(divide="ignore"):
        return np.ceil(np.log(2) / np.log(1 / f))


@half_life.mistake("it is counted as if the same amount went at each step")
def linear(f: Array) -> Any:
    """1 - f is lost of what is left, and that becomes less from step to step."""
    with np.errstate(divide="ignore"):
        return 0.5 / (1 - f)


@half_life.mistake("one half-life is given for all units together")
def together(f: Array) -> Any:
    """Every unit has its own gate, and the mean of the gates says little of the longest memory."""
    with np.errstate(divide="ignore"):
        return np.full(f.shape, np.log(2) / np.log(1 / f.mean()))

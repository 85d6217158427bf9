r"""Choose the bias with which an LSTM begins to remember over T steps.

Before it has learned anything, the forget gate of an LSTM is near

    f = sigmoid(what its biases add up to)

since all its inputs are small. With biases of 0 that is 0.5: half of the memory is gone after one
step, and over 20 steps a gradient shrinks to a millionth. So one sets the bias: a network that has
to bridge T steps begins with a half-life (exercise 24) of T steps.

From T follows f, and from f follows what is inside the sigmoid. But PyTorch, and most libraries,
have *two* biases in this place, one beside the product with x and one beside the product with h:

    a_f = x @ W_f.T + bias_ih + h @ U_f.T + bias_hh

Both are to be set to the same number. Return this number, for each of the T in an array of positive
numbers.

For example, for T = 1 it is 0, and for T = 10 it is 1.31712: together 2.63424, whose sigmoid is
0.93303, and 0.93303**10 is 0.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    25,
    "The bias that makes a memory last",
    unit=5,
    returns=["bias"],
    hints=[
        "f**T = 1/2, so f = 2 ** (-1 / T).",
        "f = 1 / (1 + exp(-a)), solved for a: a = log(f / (1 - f)).",
        "a is what the two biases add up to, and they are equal.",
    ],
)
def forget_bias(T: Array) -> Any:
    """Return the number for both biases that gives the forget gate a half-life of T steps; of the shape of T."""
    return -np.log(np.expm1(np.log(2) / T)) / 2


@forget_bias.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Those of the text, less than a step, long ones, any."""
    yield (np.array([1.0, 10.0]),)
    yield (np.array([2.0, 5.0]),)
    yield (np.array([0.5, 0.1]),)
    yield (np.array([100.0, 1000.0]),)
    for shape in [(3,), (2, 2), (5,)]:
        yield (rng.uniform(1, 200, size=shape),)


def inside(f: Array) -> Any:
    """What a sigmoid makes f of."""
    return np.log(f / (1 - f))


@forget_bias.mistake("each of the two biases is set to the whole")
def both(T: Array) -> Any:
    """They are added, so the gate gets twice what it should."""
    return inside(2 ** (-1 / T))


@forget_bias.mistake("the gate is returned, not the bias")
def gate(T: Array) -> Any:
    """The sigmoid has still to be undone, and the result shared by two."""
    return 2 ** (-1 / T)


@forget_bias.mistake("the gate is halved, not what is inside of the sigmoid")
def half_a_gate(T: Array) -> Any:
    """The two biases are added before the sigmoid."""
    return inside(2 ** (-1 / T) / 2)


@forget_bias.mistake("after T steps 1/e is left, not a half")
def time_constant(T: Array) -> Any:
    """exp(-1 / T) is the gate whose time constant is T; its half-life is shorter."""
    return inside(np.exp(-1 / T)) / 2


@forget_bias.mistake("it is log(T - 1), shared by two")
def chrono(T: Array) -> Any:
    """This makes the gate 1 - 1/T, which a well-known initialisation does; its half-life is shorter than T."""
    return np.log(T - 1) / 2


@forget_bias.mistake("the sign is turned: the gate is closed")
def closed(T: Array) -> Any:
    """So the gate is 1 - f, and forgets what it should keep."""
    return -inside(2 ** (-1 / T)) / 2


@forget_bias.mistake("a tanh is undone, not a sigmoid")
def of_a_tanh(T: Array) -> Any:
    """A gate is a sigmoid."""
    return np.arctanh(2 ** (-1 / T)) / 2


@forget_bias.mistake("the logarithm of f is taken for what is inside of the sigmoid")
def only_a_logarithm(T: Array) -> Any:
    """A sigmoid is 1 / (1 + exp(-a)), and no exponential alone."""
    return -np.log(2) / T / 2

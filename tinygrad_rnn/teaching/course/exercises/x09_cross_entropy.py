r"""Write the gradient of the cross entropy.

A network gave scores x of shape (N, C): for each of N examples one score per class. The right class
of example n is target[n], a number from 0 to C - 1. The loss is the mean over the examples of minus
the logarithm of the probability that softmax gives to the right class:

    y = softmax(x) along the last axis
    L = mean over n of -log(y[n, target[n]])

This is the end of the program, so nothing comes in from behind: there is no g. Return dx = dL/dx,
of shape (N, C).

Work with one example first. The logarithm undoes the exponential:

    -log(y[t]) = -x[t] + log(sum over j of exp(x[j]))

and both terms are easy to differentiate. What comes out has a meaning: for each class, the
probability that was given minus the probability that would have been right. For example, x = [[0.,
0.]] with target [1] gives [[.5, -.5]], and two such examples give half of that each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    9,
    "The gradient of the cross entropy",
    unit=1,
    returns=["dx"],
    hints=[
        "The derivative of log(sum of exp(x[j])) with respect to x[i] is exp(x[i]) over that sum: which name has it?",
        "The term -x[t] has a derivative for i = t alone. Do not forget that L is a mean over N examples.",
        "dx = softmax(x); subtract 1 at dx[n, target[n]] for every n; divide by N.",
    ],
)
def cross_entropy_grad(x: Array, target: Array) -> Array:
    """Return dx of shape (N, C), where L is the mean cross entropy of scores x (N, C) and classes target (N,)."""
    return (softmax(x) - one_hot(x, target)) / len(x)


def softmax(x: Array) -> Array:
    """The probabilities."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def one_hot(x: Array, target: Array) -> Array:
    """1 at the right class of each example."""
    return np.eye(x.shape[1])[target]


@cross_entropy_grad.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One example, several, and scores at which exp overflows."""
    yield np.array([[0.0, 0.0]]), np.array([1])
    for n, c in [(1, 3), (2, 2), (3, 4), (5, 3), (8, 2)]:
        yield rng.normal(size=(n, c)), rng.integers(c, size=n)
    yield np.array([[1000.0, 0.0, -1000.0], [0.0, 800.0, 799.0]]), np.array([0, 2])


@cross_entropy_grad.mistake("it is not divided by N")
def not_mean(x: Array, target: Array) -> Array:
    """The loss is a mean over the examples, and this is the gradient of their sum."""
    return softmax(x) - one_hot(x, target)


@cross_entropy_grad.mistake("it is divided by N twice")
def twice(x: Array, target: Array) -> Array:
    """The mean has one factor 1/N, and here are two."""
    return (softmax(x) - one_hot(x, target)) / len(x) ** 2


@cross_entropy_grad.mistake("it is divided by the number of all scores")
def by_size(x: Array, target: Array) -> Array:
    """The mean is over the N examples. Classes are not averaged over."""
    return (softmax(x) - one_hot(x, target)) / x.size


@cross_entropy_grad.mistake("the right class is not subtracted")
def no_target(x: Array, target: Array) -> Array:
    """The term -x[t] has a derivative, too; without it the classes would not matter."""
    return softmax(x) / len(x)


@cross_entropy_grad.mistake("1 is subtracted from every class")
def from_all(x: Array, target: Array) -> Array:
    """Only the right class has the term -x[t]."""
    return (softmax(x) - 1) / len(x)


@cross_entropy_grad.mistake("only the right class gets a gradient")
def right_only(x: Array, target: Array) -> Array:
    """The other scores are in the sum of exponentials, so they matter as well."""
    return np.asarray(one_hot(x, target) * (softmax(x) - 1) / len(x))


@cross_entropy_grad.mistake("1 is subtracted from the logarithm, not from the probability")
def of_log(x: Array, target: Array) -> Array:
    """What stands at each class is a probability."""
    return (np.log(softmax(x)) - one_hot(x, target)) / len(x)


@cross_entropy_grad.mistake("it is the gradient of squared differences")
def squares(x: Array, target: Array) -> Array:
    """The difference of probabilities is gone through the softmax once more, as it is for a squared error."""
    y, t = softmax(x), one_hot(x, target)
    return np.asarray(y * ((y - t) - ((y - t) * y).sum(-1, keepdims=True)) / len(x))


@cross_entropy_grad.mistake("softmax is not gone through")
def of_probabilities(x: Array, target: Array) -> Array:
    """That is how L changes with the probabilities y; asked for is how it changes with the scores x."""
    return -one_hot(x, target) / softmax(x) / len(x)


@cross_entropy_grad.mistake("it is the loss, not its gradient")
def the_loss(x: Array, target: Array) -> Any:
    """L is one number; its gradient has an entry for each score."""
    return -np.log(softmax(x)[np.arange(len(x)), target]).mean()

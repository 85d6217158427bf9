r"""Mend the product of Jacobians that is printed in a well-known paper.

Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (ICML 2013),
write a recurrent network as

    h[t] = W @ tanh(h[t-1]) + (what comes in)          h[t] is a column, of shape (H,)

and in equation (5) how a state changes with an earlier one, as a product with one factor per step:

    dh[T]/dh[0]  =  the product, for j from T down to 1, of   W.T @ diag(tanh'(h[j-1]))

diag(v) is the matrix that has v on its diagonal and 0 elsewhere: `np.diag(v)`. The entry [a, b] of
dh[T]/dh[0] is how h[T][a] changes with h[0][b].

The function below computes what is printed. It is not the Jacobian of the network above. (All that
the paper concludes from it is right nevertheless, since it uses bounds of sizes only, and those
agree. Whoever computes with it gets wrong numbers.)

You are given W (H, H) and hs (T+1, H), the states h[0], ..., h[T]. Mend the formula so that it is
the Jacobian of the network, and return it, of shape (H, H). With T = 0 it is the identity.

To see what is wrong take one step: how does h[1] change with h[0]?
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    26,
    "The Jacobian of many steps",
    unit=6,
    returns=["J"],
    hints=[
        "One step: h[1][a] is the sum over b of W[a, b] * tanh(h[0][b]). Its derivative by h[0][b] has W[a, b] in it.",
        "The order of the factors is right as it is printed: the last step stands on the left.",
        "W.T @ diag(...) belongs to states that are rows, h[t] = tanh(h[t-1]) @ W; for columns nothing is transposed.",
    ],
)
def jacobian(W: Array, hs: Array) -> Array:
    """Return dh[T]/dh[0] of h[t] = W @ tanh(h[t-1]) + (what comes in), of shape (H, H)."""
    J = np.eye(len(W))
    for h in hs[:-1]:
        J = W @ np.diag(1 - np.tanh(h) ** 2) @ J
    return J


@jacobian.begins_with
@jacobian.mistake("W is transposed")
def printed(W: Array, hs: Array) -> Array:
    """This is the formula as printed, which belongs to states that are rows and have W on their right."""
    J = np.eye(len(W))
    for h in hs[:-1]:
        J = W.T @ np.diag(1 - np.tanh(h) ** 2) @ J
    return J


@jacobian.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One step that can be followed, no step, many."""
    yield np.array([[1.0, 2.0], [0.0, 1.0]]), np.zeros((2, 2))
    yield np.array([[0.5]]), np.array([[0.3], [0.1], [0.7]])
    yield rng.normal(size=(3, 3)), rng.normal(size=(1, 3))
    for steps, k in [(1, 2), (2, 2), (3, 3), (5, 4)]:
        W, h = rng.normal(size=(k, k)), rng.normal(size=k)
        hs = [h]
        for _ in range(steps):
            hs.append(W @ np.tanh(hs[-1]) + rng.normal(size=k))
        yield W, np.array(hs)


def product(factors: list[Array], size: int, last_left: bool = True) -> Array:
    """The product of one factor per step."""
    J = np.eye(size)
    for factor in factors:
        J = factor @ J if last_left else J @ factor
    return J


def slopes(hs: Array) -> list[Array]:
    """The diagonal matrix of slopes at each state."""
    return [np.diag(1 - np.tanh(h) ** 2) for h in hs]


@jacobian.mistake("the whole is transposed")
def whole_transposed(W: Array, hs: Array) -> Array:
    """The entry [a, b] is how h[T][a] changes with h[0][b]; here it is the other way round."""
    return product([W @ D for D in slopes(hs[:-1])], len(W)).T


@jacobian.mistake("the factors stand in the wrong order")
def wrong_order(W: Array, hs: Array) -> Array:
    """The last step is applied last, so it stands on the left; matrices may not be exchanged."""
    return product([W @ D for D in slopes(hs[:-1])], len(W), last_left=False)


@jacobian.mistake("W is transposed, and the factors stand in the wrong order")
def transposed_in_order(W: Array, hs: Array) -> Array:
    """One of the two was right."""
    return product([W.T @ D for D in slopes(hs[:-1])], len(W), last_left=False)


@jacobian.mistake("the slopes stand on the wrong side of W")
def slopes_left(W: Array, hs: Array) -> Array:
    """The tanh is applied to h[j-1] first, and then W to its result: what comes first stands on the right."""
    return product([D @ W for D in slopes(hs[:-1])], len(W))


@jacobian.mistake("the slopes are taken at h[j], not at h[j-1]")
def later_slopes(W: Array, hs: Array) -> Array:
    """In step j the tanh is applied to the state before."""
    return product([W @ D for D in slopes(hs[1:])], len(W))


@jacobian.mistake("the states are taken for results of the tanh")
def of_results(W: Array, hs: Array) -> Array:
    """In this network h goes into the tanh, so the slope is 1 - tanh(h)**2 and not 1 - h**2."""
    return product([W @ np.diag(1 - h * h) for h in hs[:-1]], len(W))


@jacobian.mistake("the slopes are missing")
def no_slopes(W: Array, hs: Array) -> Array:
    """That would be a network without a tanh."""
    return product([W] * (len(hs) - 1), len(W))


@jacobian.mistake("each factor is transposed")
def each_transposed(W: Array, hs: Array) -> Array:
    """In diag(...) @ W.T the entry [a, b] is how h[j][b] changes with h[j-1][a]: the other way round."""
    return product([D @ W.T for D in slopes(hs[:-1])], len(W))

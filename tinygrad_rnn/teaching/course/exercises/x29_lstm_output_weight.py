r"""Mend the gradient of an LSTM's output gate, as derived in an often read answer.

On a question-and-answer site somebody derives the gradients of an LSTM by hand, and asks whether
training one is backpropagation through time. (It is.) For the weight of the output gate the
derivation has a slip that nobody mentions. In its notation a row [h_prev, x] of both inputs side by
side goes into each gate, so there is one weight W_o of shape (H, H + I):

    s = np.concatenate([h_prev, x], axis=1)                  (N, H + I)
    o = sigmoid(s @ W_o.T + b_o)
    h = o * tanh(c)

and printed is, with dh = dL/dh,

    do_before = dh * (1 - tanh(c)**2) * o * (1 - o)          what arrives inside of the sigmoid
    dW_o = do_before.T @ s

The function below computes it. All shapes fit, and a program that does it learns, slowly. Mend it,
and return dW_o of shape (H, H + I), and db_o of shape (H,).

To find it: how does h change with o, if c is held fixed? A check by differences would have shown it
at once: where it was measured, the cosine with the right gradient was -0.41.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise

Results = tuple[Array, Array]


@exercise(
    29,
    "The output gate's weight",
    unit=6,
    returns=["dW_o", "db_o"],
    hints=[
        "h is a product of two. How a product changes with one factor is told by the other.",
        "1 - tanh(c)**2 is the slope of the tanh: it belongs on the way from h to c, and not from h to o.",
        "do_before = dh * tanh(c) * o * (1 - o).",
    ],
)
def output_gate(dh: Array, o: Array, c: Array, h_prev: Array, x: Array) -> Results:
    """Return (dW_o, db_o) for h = o * tanh(c), o = sigmoid([h_prev, x] @ W_o.T + b_o), where dh = dL/dh."""
    s = np.concatenate([h_prev, x], axis=1)
    do_before = dh * np.tanh(c) * o * (1 - o)
    return do_before.T @ s, do_before.sum(0)


@output_gate.begins_with
@output_gate.mistake("the slope of tanh(c) stands where tanh(c) belongs")
def printed(dh: Array, o: Array, c: Array, h_prev: Array, x: Array) -> Results:
    """That slope is how h changes with c; asked for is how it changes with o."""
    s = np.concatenate([h_prev, x], axis=1)
    do_before = dh * (1 - np.tanh(c) ** 2) * o * (1 - o)
    return do_before.T @ s, do_before.sum(0)


@output_gate.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One number each; a cell of 0, where nothing reaches the gate; batches."""
    one = np.ones((1, 1))
    yield one, one / 2, one, one, 2 * one
    yield one, one / 2, 0 * one, one, 2 * one
    for n, k, i in [(2, 1, 1), (1, 2, 3), (2, 2, 2), (3, 4, 2), (5, 3, 4)]:
        o = 1 / (1 + np.exp(-rng.normal(size=(n, k))))
        yield rng.normal(size=(n, k)), o, rng.normal(size=(n, k)), rng.normal(size=(n, k)), rng.normal(size=(n, i))


def with_factor(factor: Array, h_prev: Array, x: Array) -> Results:
    """The results for what arrives inside of the sigmoid."""
    return factor.T @ np.concatenate([h_prev, x], axis=1), factor.sum(0)


@output_gate.mistake("c stands where tanh(c) belongs")
def c_for_tanh(dh: Array, o: Array, c: Array, h_prev: Array, x: Array) -> Results:
    """The gate was multiplied by tanh(c)."""
    return with_factor(dh * c * o * (1 - o), h_prev, x)


@output_gate.mistake("tanh(c) and its slope are both there")
def with_both(dh: Array, o: Array, c: Array, h_prev: Array, x: Array) -> Results:
    """From h to o there is no tanh to go through."""
    return with_factor(dh * np.tanh(c) * (1 - np.tanh(c) ** 2) * o * (1 - o), h_prev, x)


@output_gate.mistake("tanh(c) is missing")
def no_factor(dh: Array, o: Array, c: Array, h_prev: Array, x: Array) -> Results:
    """h is the gate times tanh(c): where the cell is 0, the gate does not matter."""
    return with_factor(dh * o * (1 - o), h_prev, x)


@output_gate.mistake("h stands where tanh(c) belongs")
def h_for_tanh(dh: Array, o: Array, c: Array, h_prev: Array, x: Array) -> Results:
    """h has the gate in it already."""
    return with_factor(dh * o * np.tanh(c) * o * (1 - o), h_prev, x)


@output_gate.mistake("the slope of the sigmoid is missing")
def no_slope(dh: Array, o: Array, c: Array, h_prev: Array, x: Array) -> Results:
    """Between o and the weight there is a sigmoid."""
    return with_factor(dh * np.tanh(c), h_prev, x)


@output_gate.mistake("x stands before h_prev")
def other_order(dh: Array, o: Array, c: Array, h_prev: Array, x: Array) -> Results:
    """The first H columns of W_o belong to h_prev."""
    return with_factor(dh * np.tanh(c) * o * (1 - o), x, h_prev)


@output_gate.mistake("dW_o is transposed")
def transposed(dh: Array, o: Array, c: Array, h_prev: Array, x: Array) -> Results:
    """It has to have the shape of W_o, (H, H + I)."""
    weight, bias = output_gate.solution(dh, o, c, h_prev, x)
    return weight.T, bias


@output_gate.mistake("the bias is averaged over the rows")
def bias_mean(dh: Array, o: Array, c: Array, h_prev: Array, x: Array) -> Results:
    """Every row's use of the bias counts whole."""
    weight, bias = output_gate.solution(dh, o, c, h_prev, x)
    return weight, bias / len(dh)

r"""Go one step of a recurrent network backwards.

One step of an RNN takes the input of this moment and the state of the moment before, and makes the
new state:

    z = x @ W.T + h_prev @ U.T + b
    h = tanh(z)

Everything comes in batches: N sequences are computed side by side, one in each row.

    x        (N, I)    the inputs                 W   (H, I)    a weight
    h_prev   (N, H)    the states before          U   (H, H)    a weight, the recurrent one
    h        (N, H)    the new states             b   (H,)      a bias, added to every row

You are given g = dL/dh, of shape (N, H), and what the forward pass computed. Return the gradients
of L with respect to everything that went in:

    dx (N, I),   dh_prev (N, H),   dW (H, I),   dU (H, H),   db (H,)

You have written all the pieces: the vjp of tanh (exercise 3), of a matrix product (exercise 7), of
a bias that is stretched over the rows (exercise 6). Go through tanh first: dz = dL/dz has the shape
of z, and everything else is made from it. With W.T in the product the shapes tell which transposes
are left: dW has to be (H, I).

For one number each, x = h_prev = 1, W = U = 0.5, b = 0, g = 1: h = tanh(1) = 0.76159, and dz =
0.41997; then dx = dh_prev = 0.20999, and dW = dU = db = 0.41997.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    17,
    "One step of an RNN, backwards",
    unit=4,
    returns=["dx", "dh_prev", "dW", "dU", "db"],
    hints=[
        "dz = g * (1 - h * h): h is there, so tanh need not be computed again.",
        "z is the sum of three terms: each gets dz as it is. The first is the product of x (N, I) and W.T (I, H).",
        "dx = dz @ W and dW = dz.T @ x; the same with h_prev and U; db sums dz over the rows.",
    ],
)
def rnn_step_vjp(
    g: Array, h: Array, x: Array, h_prev: Array, W: Array, U: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Return (dx, dh_prev, dW, dU, db), where h = tanh(x @ W.T + h_prev @ U.T + b) and g = dL/dh."""
    dz = g * (1 - h * h)
    return dz @ W, dz @ U, dz.T @ x, dz.T @ h_prev, dz.sum(0)


Results = tuple[Array, Array, Array, Array, Array]


@rnn_step_vjp.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Numbers, squares, then every other kind."""
    one = np.ones((1, 1))
    yield one, np.tanh(one), one, one, one / 2, one / 2
    for n, i, k in [(1, 1, 1), (2, 2, 2), (1, 2, 3), (3, 2, 1), (3, 2, 4), (5, 4, 3)]:
        x, h_prev = rng.normal(size=(n, i)), rng.normal(size=(n, k))
        W, U, b = rng.normal(size=(k, i)), rng.normal(size=(k, k)), rng.normal(size=k)
        yield rng.normal(size=(n, k)), np.tanh(x @ W.T + h_prev @ U.T + b), x, h_prev, W, U


def from_dz(dz: Array, x: Array, h_prev: Array, W: Array, U: Array) -> Results:
    """What follows from dz."""
    return dz @ W, dz @ U, dz.T @ x, dz.T @ h_prev, dz.sum(0)


@rnn_step_vjp.mistake("the slope of tanh is missing")
def no_slope(g: Array, h: Array, x: Array, h_prev: Array, W: Array, U: Array) -> Results:
    """g is how L changes with h; to the inside of tanh it has to pass its slope."""
    return from_dz(g, x, h_prev, W, U)


@rnn_step_vjp.mistake("tanh is applied once more")
def tanh_twice(g: Array, h: Array, x: Array, h_prev: Array, W: Array, U: Array) -> Results:
    """h is the result of tanh already, and its slope is told by h itself."""
    return from_dz(g * (1 - np.tanh(h) ** 2), x, h_prev, W, U)


@rnn_step_vjp.mistake("the cotangent is missing")
def no_cotangent(g: Array, h: Array, x: Array, h_prev: Array, W: Array, U: Array) -> Results:
    """The slope of tanh alone goes on, and not how L changes with h."""
    return from_dz(1 - h * h, x, h_prev, W, U)


@rnn_step_vjp.mistake("dh_prev goes through U transposed")
def transposed(g: Array, h: Array, x: Array, h_prev: Array, W: Array, U: Array) -> Results:
    """Forwards it was h_prev @ U.T; on the way back the transpose is taken back."""
    dz = g * (1 - h * h)
    return dz @ W, dz @ U.T, dz.T @ x, dz.T @ h_prev, dz.sum(0)


@rnn_step_vjp.mistake("the weights' gradients are transposed")
def weights_transposed(g: Array, h: Array, x: Array, h_prev: Array, W: Array, U: Array) -> Results:
    """dW has to have the shape of W, (H, I), and dU belongs the same way round."""
    dz = g * (1 - h * h)
    return dz @ W, dz @ U, x.T @ dz, h_prev.T @ dz, dz.sum(0)


@rnn_step_vjp.mistake("h stands where h_prev belongs")
def own_h(g: Array, h: Array, x: Array, h_prev: Array, W: Array, U: Array) -> Results:
    """U was multiplied by the states of the moment before."""
    dz = g * (1 - h * h)
    return dz @ W, dz @ U, dz.T @ x, dz.T @ h, dz.sum(0)


@rnn_step_vjp.mistake("the bias is not summed over the rows")
def bias_not_summed(g: Array, h: Array, x: Array, h_prev: Array, W: Array, U: Array) -> Results:
    """One bias was used in all rows: its gradient is the sum over them."""
    dz = g * (1 - h * h)
    return dz @ W, dz @ U, dz.T @ x, dz.T @ h_prev, dz


@rnn_step_vjp.mistake("the bias is averaged over the rows")
def bias_mean(g: Array, h: Array, x: Array, h_prev: Array, W: Array, U: Array) -> Results:
    """Every row's use of the bias counts whole."""
    dz = g * (1 - h * h)
    return dz @ W, dz @ U, dz.T @ x, dz.T @ h_prev, dz.mean(0)


@rnn_step_vjp.mistake("the gradients of the weights lack the inputs")
def no_inputs(g: Array, h: Array, x: Array, h_prev: Array, W: Array, U: Array) -> Results:
    """How z changes with a weight is told by what the weight was multiplied by."""
    dz = g * (1 - h * h)
    return dz @ W, dz @ U, dz.T @ np.ones_like(x), dz.T @ np.ones_like(h_prev), dz.sum(0)

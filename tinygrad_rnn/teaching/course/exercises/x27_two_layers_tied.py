r"""Mend the gradient of a weight that is used in two layers.

Lecture notes on recurrent networks prepare the reader with a network of two layers, without biases,
on one column x of shape (H,):

    a = tanh(W2 @ x)           y = tanh(W1 @ a)

and L is made of y; given is g = dL/dy, of shape (H,). Then both weights are tied, W1 = W2 = W, and
the gradient of W is the sum of the gradients at its two places. So far it is right. But for these
the notes write

    the first term:   what arrives inside of the outer tanh, d1 = g * (1 - y * y), times x
    the second term:  d2 = (1 - a * a) * (W2.T @ d1), times a

where "times" is the outer product, `np.outer(d, x)[p, q] = d[p] * x[q]`.

The function below computes what is printed, for weights that need not be equal. In one term the
wrong matrix leads back, and each of the two columns stands in the other's term. (In the notes the
names of the two weights are exchanged as well, which nobody sees if both are W. Here dW1 has to be
the gradient of W1, the outer one.) Mend it, and return dW1 and dW2, both (H, H). They are what is to
be added up if the weights are tied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise

Results = tuple[Array, Array]


@exercise(
    27,
    "A weight in two layers",
    unit=6,
    returns=["dW1", "dW2"],
    hints=[
        "Which column was W1 multiplied by? Its gradient is an outer product with that one.",
        "From inside the outer tanh back to a: which matrix lies between them? It leads back, transposed.",
        "a = tanh(W2 @ x) lies below W1: so a gets W1.T @ d1; dW1 goes with a, and dW2 with x.",
    ],
)
def two_layers(g: Array, x: Array, W1: Array, W2: Array) -> Results:
    """Return (dW1, dW2) for y = tanh(W1 @ tanh(W2 @ x)), where g = dL/dy."""
    a = np.tanh(W2 @ x)
    y = np.tanh(W1 @ a)
    d1 = g * (1 - y * y)
    d2 = (1 - a * a) * (W1.T @ d1)
    return np.outer(d1, a), np.outer(d2, x)


@two_layers.begins_with
@two_layers.mistake("it is as printed: W2 leads back, and x and a stand in each other's term")
def printed(g: Array, x: Array, W1: Array, W2: Array) -> Results:
    """Look at which matrix lies between the outer tanh and a, and at what each weight was multiplied by."""
    a = np.tanh(W2 @ x)
    y = np.tanh(W1 @ a)
    d1 = g * (1 - y * y)
    d2 = (1 - a * a) * (W2.T @ d1)
    return np.outer(d1, x), np.outer(d2, a)


@two_layers.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Numbers, then columns."""
    yield np.ones(1), np.ones(1), np.array([[2.0]]), np.array([[0.5]])
    yield np.array([1.0, 0.0]), np.array([1.0, -1.0]), np.eye(2) / 2, np.array([[0.0, 1.0], [1.0, 0.0]])
    for k in (2, 3, 4, 6):
        W1, W2 = (rng.normal(size=(k, k)) / np.sqrt(k) for _ in "12")
        yield rng.normal(size=k), rng.normal(size=k), W1, W2


def varied(g: Array, x: Array, W1: Array, W2: Array, back: Any = None, inner: bool = True, outer: bool = True) -> Any:
    """d1 and d2 and a, with one thing done otherwise: which matrix leads back, and whose slopes count."""
    a = np.tanh(W2 @ x)
    y = np.tanh(W1 @ a)
    d1 = g * (1 - y * y) if outer else g
    d2 = (W1.T if back is None else back) @ d1 * ((1 - a * a) if inner else 1.0)
    return d1, d2, a


@two_layers.mistake("W2 leads back, where W1 lies between")
def wrong_matrix(g: Array, x: Array, W1: Array, W2: Array) -> Results:
    """If the weights are tied no number shows it; W1 is the one between the outer tanh and a."""
    d1, d2, a = varied(g, x, W1, W2, back=W2.T)
    return np.outer(d1, a), np.outer(d2, x)


@two_layers.mistake("x and a stand in each other's term")
def exchanged_columns(g: Array, x: Array, W1: Array, W2: Array) -> Results:
    """W1 was multiplied by a, and W2 by x."""
    d1, d2, a = varied(g, x, W1, W2)
    return np.outer(d1, x), np.outer(d2, a)


@two_layers.mistake("dW1 and dW2 are exchanged")
def exchanged(g: Array, x: Array, W1: Array, W2: Array) -> Results:
    """W1 is the outer weight, which is multiplied by a."""
    d1, d2, a = varied(g, x, W1, W2)
    return np.outer(d2, x), np.outer(d1, a)


@two_layers.mistake("W1 is not transposed on the way back")
def not_transposed(g: Array, x: Array, W1: Array, W2: Array) -> Results:
    """a[q] is used in every row of W1 @ a, each time beside an entry of the column q."""
    d1, d2, a = varied(g, x, W1, W2, back=W1)
    return np.outer(d1, a), np.outer(d2, x)


@two_layers.mistake("the slope of the inner tanh is missing")
def no_inner_slope(g: Array, x: Array, W1: Array, W2: Array) -> Results:
    """Between W2 and a there is a tanh."""
    d1, d2, a = varied(g, x, W1, W2, inner=False)
    return np.outer(d1, a), np.outer(d2, x)


@two_layers.mistake("the slope of the outer tanh is missing")
def no_outer_slope(g: Array, x: Array, W1: Array, W2: Array) -> Results:
    """Between W1 and y there is a tanh."""
    d1, d2, a = varied(g, x, W1, W2, outer=False)
    return np.outer(d1, a), np.outer(d2, x)


@two_layers.mistake("the outer products are transposed")
def outer_transposed(g: Array, x: Array, W1: Array, W2: Array) -> Results:
    """The entry [p, q] of a weight connects the input q with the output p."""
    d1, d2, a = varied(g, x, W1, W2)
    return np.outer(a, d1), np.outer(x, d2)


@two_layers.mistake("both are the sum, as if the weights were tied")
def summed(g: Array, x: Array, W1: Array, W2: Array) -> Results:
    """Asked for are the two terms; they are added only if W1 and W2 are one weight."""
    d1, d2, a = varied(g, x, W1, W2)
    both = np.outer(d1, a) + np.outer(d2, x)
    return both, both

r"""The Jacobian of an elementwise function is diagonal, so its vjp needs no matrix.

The notes S0 and CS224N use it at every step of backpropagation through time. It holds, and
exactly: what is beside the diagonal is not small but 0, since output $i$ does not read input $j$. So multiplying by the
Jacobian, $H^2$ products, becomes the elementwise product $g \odot f'(x)$ with $H$ of them. That is what every primitive
of this package does.

Softmax takes a vector to a vector of the same length, and is called an activation. It is not elementwise: each
output reads the sum of all exponentials, and its Jacobian is full (right picture). Layer normalisation is another.

## Mathematics
$$y_i = f(x_i) \;\Rightarrow\; \frac{\partial y_i}{\partial x_j} = f'(x_i)\,[i = j], \qquad
J = \operatorname{diag}(f'(x)), \qquad J^\top g = f'(x) \odot g ,$$
$$\text{softmax:} \quad J = \operatorname{diag}(p) - p\,p^\top, \qquad J^\top g = p \odot (g - p^\top g) .$$

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn.autograd.functional import jacobian
>>> jacobian(tg.sigmoid, tg.zeros(2)).tolist()                      # s (1 - s) = 1/4
[[0.25, 0.0], [0.0, 0.25]]
>>> jacobian(lambda x: tg.softmax(x, 0), tg.zeros(2)).tolist()
[[0.25, -0.25], [-0.25, 0.25]]

## It would be false if
one of the functions below had an entry beside the diagonal that is not exactly 0, or a diagonal other than its
derivative.

## Exercise
Is `tg.cumsum` elementwise? Is `tg.where(x > 0, x, 0.1 * x)`? Say what their Jacobians look like before you compute
them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.autograd.functional import jacobian

from ..experiment import Check, Result, Size, experiment

# functions and their derivatives
ELEMENTWISE: dict[str, Any] = {
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
    "sigmoid": lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2,
    "relu": lambda x: 1.0 * (x > 0),
    "softplus": lambda x: 1 / (1 + np.exp(-x)),
    "exp": np.exp,
    "expm1": np.exp,
    "square": lambda x: 2 * x,
    "sin": np.cos,
    "cos": lambda x: -np.sin(x),
    "sinh": np.cosh,
    "cosh": np.sinh,
    "atan": lambda x: 1 / (1 + x**2),
    "asinh": lambda x: 1 / np.sqrt(1 + x**2),
    "abs": np.sign,
    "neg": lambda x: -np.ones_like(x),
}


def measured(size: Size, seed: int, softmax_too: bool = False) -> Result:
    """Jacobians of elementwise functions, and of softmax."""
    H = 8 if size == "quick" else 64
    x = tg.randn(H)
    # lab: begin
    jacobians = {name: jacobian(getattr(tg, name), x).numpy() for name in ELEMENTWISE}
    of_softmax = jacobian(lambda x: tg.softmax(x, 0), x).numpy()
    called = [*jacobians.values(), of_softmax] if softmax_too else list(jacobians.values())
    beside = max(abs(J - np.diag(np.diag(J))).max() for J in called)  # the largest entry beside a diagonal
    away = {name: abs(np.diag(J) - ELEMENTWISE[name](x.numpy())).max() for name, J in jacobians.items()}
    p = np.exp(x.numpy()) / np.exp(x.numpy()).sum()
    full = np.diag(p) - np.outer(p, p)
    g = tg.randn(H).numpy()
    by_vector = p * (g - p @ g)  # H products; the matrix takes H^2
    # lab: end
    smallest_beside = float(abs(of_softmax[~np.eye(H, dtype=bool)]).min())
    checks = [
        Check("beside the diagonal all is exactly 0", beside, "==", 0.0, "output i does not read input j"),
        Check(
            "the diagonal is the derivative",
            max(away.values()),
            "<",
            1e-13,
            "rounding; of 20 seeds the largest is 4.4e-16",
        ),
        Check("softmax has no 0 at all", smallest_beside, ">", 0.0, "p_i p_j is above 0"),
        Check("softmax: diag(p) - p p'", abs(of_softmax - full).max(), "<", 1e-15, "rounding of numbers below 1/4"),
        Check(
            "its vjp without the matrix", abs(of_softmax.T @ g - by_vector).max(), "<", 1e-14, "rounding of H products"
        ),
    ]
    numbers = {
        "elementwise functions": len(jacobians),
        "largest |J_ij| of softmax beside the diagonal": abs(of_softmax - np.diag(np.diag(of_softmax))).max(),
    }
    arrays = {"sigmoid": jacobians["sigmoid"], "tanh": jacobians["tanh"], "softmax": of_softmax}
    because = f"all {len(jacobians)} functions have exactly 0 beside the diagonal"
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: Any) -> None:
    """A heat map of each, on a scale of its own."""
    for ax, (name, J) in zip(figure.subplots(1, 3), arrays.items(), strict=True):
        most = abs(J).max()
        image = ax.imshow(J, cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest")
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("input j")
        ax.set_ylabel("output i")
        figure.colorbar(image, ax=ax, location="bottom", label="∂y_i/∂x_j")


@experiment(
    3,
    "Diagonal Jacobian",
    source="notes S0; CS224N 2019, notes on gradients",
    seconds=0.1,
    full_seconds=0.5,
)
def run(size: Size, seed: int) -> Result:
    """Jacobians of elementwise functions have exactly 0 beside the diagonal."""
    return measured(size, seed)


@run.broken("softmax is called elementwise", fails="beside the diagonal all is exactly 0")
def softmax(size: Size, seed: int) -> Result:
    """Softmax is among the functions, as an activation like the others."""
    return measured(size, seed, softmax_too=True)


@run.smallest
def smallest() -> tg.Tape:
    """An elementwise function and softmax, of three numbers."""
    x, g = tg.tensor([0.5, -1.0, 2.0], requires_grad=True), tg.tensor([1.0, 0.0, 0.0])
    with tg.Tape() as tape:
        (tg.sigmoid(x) @ g + tg.softmax(x, 0) @ g).backward()
    return tape

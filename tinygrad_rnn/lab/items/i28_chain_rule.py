r"""The chain rule is a product of Jacobians: that of f(g(x)) is the Jacobian of f at g(x) times that of g at x.

CS224N gives it with the two shapes that go with it: the derivative of a number by a vector is a gradient, and the
derivative of $m$ numbers by $n$ is an $m \times n$ matrix, the Jacobian. It holds. Shapes tell the order: in
$J_f J_g$ the inner length is that of the vector between the two functions. Where all lengths are equal they do not
tell it, and the product in the wrong order is another matrix.

A backward sweep never makes these matrices. It starts from a row vector, the gradient of the loss, and multiplies it
from the left by one Jacobian after the other: $O(mn)$ each. Products of matrices from the right, as forward mode makes
them, cost $n$ times as much for one loss. The picture shows the shapes of the boxes.

## Mathematics
For $g: \mathbb{R}^n \to \mathbb{R}^k$ and $f: \mathbb{R}^k \to \mathbb{R}^m$
$$\frac{\partial f(g(x))}{\partial x} = \underbrace{\frac{\partial f}{\partial g}}_{m \times k} \,
\underbrace{\frac{\partial g}{\partial x}}_{k \times n}, \qquad
\Big(\frac{\partial y}{\partial x}\Big)_{pq} = \frac{\partial y_p}{\partial x_q} .$$

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn.autograd.functional import jacobian
>>> A, B = tg.ones(2, 3), tg.ones(3, 5)
>>> g, f = lambda x: tg.tanh(B @ x), lambda u: tg.sigmoid(A @ u)
>>> x = tg.zeros(5)
>>> jacobian(f, g(x)).shape, jacobian(g, x).shape, jacobian(lambda x: f(g(x)), x).shape
(torch.Size([2, 3]), torch.Size([3, 5]), torch.Size([2, 5]))

## It would be false if
the Jacobian of some composed pair differed from the product of theirs by more than rounding, or the order did not
matter.

## Exercise
How many multiplications does $v J_3 J_2 J_1$ take for a row vector $v$ and 100 x 100 matrices, from the left, and from
the right? From which number of losses on is the order from the right the better one?
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.autograd.functional import jacobian
from tinygrad_rnn.diagnostics.result import COLOURS, GREY

from ..experiment import Check, Result, Size, experiment


def jacobians(A: Any, B: Any, x: Any) -> tuple[Any, ...]:
    """That of f(g), of f, of g, and the gradient of one output."""
    f: Any
    g: Any
    # lab: begin
    f, g = lambda u: tg.softmax(A @ (u * u), 0), lambda x: tg.tanh(B @ x)
    J = jacobian(lambda x: f(g(x)), x)  # (m, n)
    J_f = jacobian(f, g(x))  # (m, k), at g(x)
    J_g = jacobian(g, x)  # (k, n), and J is J_f @ J_g
    first = jacobian(lambda x: f(g(x))[0], x)  # (n), of one output
    # lab: end
    return J.numpy(), J_f.numpy(), J_g.numpy(), first.numpy()


def measured(size: Size, seed: int, reversed_order: bool = False) -> Result:
    """Jacobians of composed functions beside products of Jacobians."""
    rng = np.random.default_rng(seed)
    trials = 10 if size == "quick" else 200
    worst = shapes_right = 0.0
    commuted = math.inf
    for trial in range(trials):
        m, k, n = (6, 6, 6) if trial % 2 else rng.integers(2, 9, 3)
        A, B, x = tg.randn(int(m), int(k)), tg.randn(int(k), int(n)), tg.randn(int(n))
        J, J_f, J_g, first = jacobians(A, B, x)
        square = m == k == n
        product = J_g @ J_f if reversed_order and square else J_f @ J_g
        worst = max(worst, float(np.linalg.norm(J - product) / np.linalg.norm(J)))
        shapes_right += J_f.shape == (m, k) and J_g.shape == (k, n) and J.shape == (m, n)
        if square:
            commuted = min(commuted, float(np.linalg.norm(J - J_g @ J_f) / np.linalg.norm(J)))
    checks = [
        Check("J of f(g) is J_f J_g", worst, "<", 1e-12, "rounding; of 20 seeds the largest is 4.7e-14"),
        Check("an m x n matrix each", int(shapes_right), "==", trials, "m outputs, n inputs"),
        Check("a number's derivative is a vector", first.ndim, "==", 1, "the gradient"),
        Check("the order matters", commuted, ">", 0.1, "of 20 seeds the smallest is 1.02"),
    ]
    numbers = {"pairs of functions": trials, "in the wrong order off by at least": commuted}
    because = f"for {trials} pairs of functions the largest difference is {worst:.0e} of the norm"
    return Result(checks, "holds", because, numbers, {}, draw)


def draw(figure: Any) -> None:
    """Boxes with the shapes of a product."""
    ax = figure.subplots()
    at, m, k, n = 0.0, 2, 3, 5
    shapes = ((m, n, "∂f(g(x))/∂x", "="), (m, k, "∂f/∂g", "·"), (k, n, "∂g/∂x", ""))
    for number, (rows, columns, name, sign) in enumerate(shapes):
        for r in range(rows):
            for c in range(columns):
                box = {"facecolor": COLOURS[number], "edgecolor": GREY, "alpha": 0.75}
                corner = rows / 2 - r - 1
                ax.fill_between([at + c, at + c + 1], corner, corner + 1, **box)
        ax.text(at + columns / 2, rows / 2 + 0.25, name, ha="center", color=GREY, fontsize=12)
        ax.text(at + columns / 2, -rows / 2 - 0.5, f"{rows} by {columns}", ha="center", color=GREY, fontsize=11)
        ax.text(at + columns + 0.5, 0, sign, ha="center", va="center", color=GREY, fontsize=20)
        at += columns + 1
    ax.set(xlim=(-0.5, at - 0.5), ylim=(-2.6, 2.4), aspect="equal", xticks=[], yticks=[])
    ax.set_xlabel("columns: inputs, here n = 5 of x and k = 3 of g(x)")
    ax.set_ylabel("rows: outputs, m = 2 of f")


@experiment(28, "Chain rule", source="CS224N 2019, notes on gradients", seconds=0.1, full_seconds=0.5)
def run(size: Size, seed: int) -> Result:
    """Whether the Jacobian of a composed function is the product of the Jacobians."""
    return measured(size, seed)


@run.broken("the product in reversed order", fails="J of f(g) is J_f J_g")
def reversed_order(size: Size, seed: int) -> Result:
    """Where shapes allow it, J_g J_f is taken for J_f J_g."""
    return measured(size, seed, reversed_order=True)


@run.smallest
def smallest() -> tg.Tape:
    """Two functions of two numbers, and a loss."""
    A, B = tg.tensor([[1.0, -2.0], [0.5, 1.0]]), tg.tensor([[0.3, 0.8], [-0.6, 0.1]])
    x = tg.tensor([1.0, -1.0], requires_grad=True)
    with tg.Tape() as tape:
        u = tg.tanh(B @ x)
        y = tg.sigmoid(A @ u)
        y.sum().backward()
    return tape

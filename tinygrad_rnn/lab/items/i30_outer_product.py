r"""The gradient of a weight is the outer product of the cotangent behind it and the input before it.

CS224N derives it for a column, $\partial (\delta W x)/\partial W = \delta^\top x^\top$, and for a row,
$x^\top \delta$. It holds; what changes is which vector gives the rows, and it is always that of the weight's rows. So
the gradient has the shape of $W$, and for a square $W$, where shapes do not tell, a transposed outer product is a
different matrix that trains something else.

Each example gives a matrix of rank one, and a batch their sum (the picture: three examples). The gradient of a
recurrent weight is such a sum over batch and time, so its rank is at most the number of steps times the batch.

## Mathematics
With $y = W x$ and the cotangent $\delta = \partial E/\partial y$
$$\frac{\partial E}{\partial W_{ij}} = \sum_p \delta_p \frac{\partial y_p}{\partial W_{ij}} = \delta_i \, x_j
\;\Rightarrow\; \frac{\partial E}{\partial W} = \delta \, x^\top ; \qquad
y = x W \;\Rightarrow\; \frac{\partial E}{\partial W} = x^\top \delta .$$
The full derivative $\partial y/\partial W$ has $m \cdot m \cdot n$ entries, most of them 0; nobody stores it.

## Try it
>>> import tinygrad_rnn as tg
>>> W = tg.zeros(2, 3, requires_grad=True)
>>> delta, x = tg.tensor([1.0, 10.0]), tg.tensor([1.0, 2.0, 3.0])
>>> (delta @ (W @ x)).backward()
>>> W.grad.tolist()
[[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]

## It would be false if
the gradient were not the outer product bit for bit for one example, or if that of a batch were not the sum.

## Exercise
A linear layer computes `x @ W.T + b` on a batch `x` (N, I). Write its backward pass, all three gradients, as products
of matrices, and check it with `tg.autograd.gradcheck`. Where does the sum over the batch hide?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg

from ..experiment import Check, Result, Size, experiment


def gradient(product: Any, W: Any, delta: Any) -> Any:
    """``.grad`` of W where delta is the cotangent of a product with it."""
    W.grad = None
    (product * delta).sum().backward()
    return W.grad.numpy()


def measured(size: Size, seed: int, transposed: bool = False) -> Result:
    """Gradients of a square weight beside outer products."""
    H, N = (6, 3) if size == "quick" else (64, 32)
    # lab: begin
    W = tg.randn(H, H, requires_grad=True)
    x, delta = tg.randn(N, H), tg.randn(N, H)  # a batch of inputs and of cotangents
    column = gradient(W @ x[0], W, delta[0])
    row = gradient(x[0] @ W, W, delta[0])
    batch = gradient(x @ W.T, W, delta)
    outer = [np.outer(d, v) for d, v in zip(delta.numpy(), x.numpy(), strict=True)]
    if transposed:
        outer = [each.T for each in outer]
    # lab: end
    away = abs(batch - sum(outer)).max() / abs(batch).max()
    rank = int(np.linalg.matrix_rank(batch))
    swapped = float(np.linalg.norm(column - column.T) / np.linalg.norm(column))
    checks = [
        Check(
            "column: .grad is delta x', bit for bit", np.array_equal(column, outer[0]), "==", True, "one product each"
        ),
        Check("row: .grad is x' delta, bit for bit", np.array_equal(row, outer[0].T), "==", True, "one product each"),
        Check("of a batch it is the sum", away, "<", 1e-14, "rounding; of 20 seeds the largest is 2.6e-16"),
        Check("a batch of N gives rank N", rank, "==", N, "a sum of N matrices of rank 1"),
        Check("the transposed one differs", swapped, ">", 0.1, "of 20 seeds the smallest is 1.06"),
    ]
    numbers = {"examples": N, "rank of the gradient": rank, "transposed off by": swapped}
    arrays = {"outer products": np.array(outer[:3]), "gradient": sum(outer[:3])}
    because = f"equal bit for bit for one example, and to {away:.0e} for {N}"
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: Any) -> None:
    """Three outer products, and their sum."""
    axes = figure.subplots(1, 4)
    matrices = [*arrays["outer products"], arrays["gradient"]]
    most = max(abs(m).max() for m in matrices)
    for k, (ax, matrix) in enumerate(zip(axes, matrices, strict=True)):
        image = ax.imshow(matrix, cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest")
        ax.set_title(("δ₁x₁ᵀ", "+ δ₂x₂ᵀ", "+ δ₃x₃ᵀ", "= .grad of these three")[k], fontsize=10)
        ax.set_xlabel("input j")
    axes[0].set_ylabel("output i")
    figure.colorbar(image, ax=axes, location="bottom", shrink=0.6, aspect=40, label="∂E/∂W_ij")


@experiment(30, "Outer product", source="CS224N 2019, notes on gradients", seconds=0.1, full_seconds=0.1)
def run(size: Size, seed: int) -> Result:
    """Whether a weight's gradient is an outer product, and which way round."""
    return measured(size, seed)


@run.broken("transposed", fails="column: .grad is delta x', bit for bit")
def transposed(size: Size, seed: int) -> Result:
    """x delta' is taken for delta x'."""
    return measured(size, seed, transposed=True)


@run.smallest
def smallest() -> tg.Tape:
    """A batch of two through one weight."""
    W = tg.tensor([[0.5, -1.0], [1.5, 0.2]], requires_grad=True)
    x, delta = tg.tensor([[1.0, 2.0], [-1.0, 0.5]]), tg.tensor([[1.0, 0.0], [0.3, -2.0]])
    with tg.Tape() as tape:
        y = x @ W.T
        (y * delta).sum().backward()
    return tape

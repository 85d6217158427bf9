r"""The Jacobian over many steps is a product of one Jacobian per step, later factors on the left.

For $h_t = W s(h_{t-1}) + U x_t$ the notes S0 and Pascanu, Mikolov and Bengio (2013, equation 5) write the factors as
$W^\top \operatorname{diag}(s'(h_{j-1}))$. That is not the Jacobian of this net, and not its transpose either, which is
$\operatorname{diag}(s') W^\top$. It is the Jacobian of *another* layout, in which states are rows and the weight stands
on the right: $h_t = s(h_{t-1}) W + x_t U$. The paper's program uses that layout, its text the other.

Norms of a product are bounded alike in both layouts, so nothing that the paper concludes from bounds is lost. The
values differ, as the picture shows: to the left what automatic differentiation finds for states as columns, in the
middle the product as printed, to the right their difference.

## Mathematics
Numerator layout: $J_{pq} = \partial y_p / \partial x_q$. Then
$$\frac{\partial h_t}{\partial h_k} = \prod_{j=t}^{k+1} W \operatorname{diag}(s'(h_{j-1}))
= W D_{t-1} \, W D_{t-2} \cdots W D_k \qquad \text{(columns)},$$
$$\frac{\partial h_t}{\partial h_k} = W^\top D_{t-1} \, W^\top D_{t-2} \cdots W^\top D_k \qquad \text{(rows)} .$$
Matrices do not commute: in ascending order, $W D_k$ on the left, the product is another matrix.

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn.autograd.functional import jacobian
>>> W, h = tg.tensor([[1.0, 2.0], [0.0, 1.0]]), tg.zeros(2)         # tanh'(0) = 1
>>> jacobian(lambda h: W @ tg.tanh(h), h).tolist()                  # columns: W
[[1.0, 2.0], [0.0, 1.0]]
>>> jacobian(lambda h: tg.tanh(h) @ W, h).tolist()                  # rows: W transposed
[[1.0, 0.0], [2.0, 1.0]]

## It would be false if
the product with $W^\top$ were the Jacobian of the net with states as columns, or the order of the factors did not
matter. Both are so where $W$ is symmetric and all $D_j$ are multiples of the identity, as in a linear net.

## Exercise
The usual form is $h_t = s(W h_{t-1} + U x_t)$. Which is its factor, and at which state is $s'$ taken? Check it with
`diagnostics.local(layer, x, t)`, which gives the Jacobian of one step of a layer.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.autograd.functional import jacobian_of

from ..experiment import Check, Result, Size, experiment


def product(matrix: Any, slopes: Any, ascending: bool = False) -> Any:
    """Of the matrix times diag(s') of each step, the last step on the left."""
    factors = [matrix * slope for slope in slopes]
    return reduce(np.matmul, factors if ascending else factors[::-1])


def measured(size: Size, seed: int, ascending: bool = False) -> Result:
    """The Jacobian over some steps in two layouts, beside the products of their factors."""
    rng = np.random.default_rng(seed)
    T, H = (6, 8) if size == "quick" else (20, 32)
    weight = rng.standard_normal((H, H)) / np.sqrt(H)
    W, x = tg.tensor(weight), tg.tensor(rng.standard_normal((T, H)))  # x has been multiplied by U
    # lab: begin
    columns = [tg.zeros(H, requires_grad=True)]
    rows = [tg.zeros(H, requires_grad=True)]
    for x_t in x:
        columns.append(W @ tg.tanh(columns[-1]) + x_t)
        rows.append(tg.tanh(rows[-1]) @ W + x_t)
    of_columns = jacobian_of(columns[-1], columns[0]).numpy()
    of_rows = jacobian_of(rows[-1], rows[0]).numpy()
    slopes = [1 - np.tanh(h.detach().numpy()) ** 2 for h in columns[:-1]]  # s' of each state but the last
    slopes_of_rows = [1 - np.tanh(h.detach().numpy()) ** 2 for h in rows[:-1]]
    right, right_of_rows = product(weight, slopes), product(weight.T, slopes_of_rows)
    printed = product(weight.T, slopes)  # as S0 and the paper have it
    # lab: end
    whole = float(np.linalg.norm(of_columns))
    if ascending:
        right = product(weight, slopes, ascending=True)
    first = float(np.linalg.norm(right - of_columns)) / whole
    second = float(np.linalg.norm(right_of_rows - of_rows) / np.linalg.norm(of_rows))
    off = float(np.linalg.norm(printed - of_columns)) / whole
    transposed = float(np.linalg.norm(printed.T - of_columns)) / whole
    checks = [
        Check(
            "columns: W diag(s'), later on the left", first, "<", 1e-13, "rounding; of 20 seeds the largest is 7.1e-16"
        ),
        Check("rows: W' diag(s')", second, "<", 1e-13, "rounding; of 20 seeds the largest is 7.1e-16"),
        Check("the printed form is not the Jacobian", off, ">", 1e-3, "of 20 seeds the smallest is 0.98"),
        Check("nor is it the transposed Jacobian", transposed, ">", 1e-3, "of 20 seeds the smallest is 0.57"),
    ]
    numbers = {"|J|": whole, "|printed form - J| / |J|": off, "|printed form, transposed - J| / |J|": transposed}
    arrays = {"Jacobian": of_columns, "as printed": printed}
    because = f"over {T} steps the printed product differs from the Jacobian by {100 * off:.0f} % of its norm"
    return Result(checks, "slip in the source", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: Any) -> None:
    """Three heat maps on one scale."""
    right, printed = arrays["Jacobian"], arrays["as printed"]
    most = max(abs(right).max(), abs(printed).max())
    axes = figure.subplots(1, 3)
    titles = ("∂h_T/∂h_0, by autograd", "product of Wᵀ diag(s')", "difference")
    for ax, matrix, title in zip(axes, (right, printed, printed - right), titles, strict=True):
        image = ax.imshow(matrix, cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest")
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("unit of h_0")
    axes[0].set_ylabel("unit of h_T")
    figure.colorbar(image, ax=axes, location="bottom", shrink=0.9, aspect=50, label="derivative")


@experiment(
    2,
    "Product of Jacobians",
    source="notes S0; Pascanu, Mikolov and Bengio 2013, equation 5",
    seconds=0.1,
    full_seconds=0.5,
)
def run(size: Size, seed: int) -> Result:
    """Which product of matrices the Jacobian over some steps is."""
    return measured(size, seed)


@run.broken("the factors in ascending order", fails="columns: W diag(s'), later on the left")
def ascending(size: Size, seed: int) -> Result:
    """The first step's factor stands on the left."""
    return measured(size, seed, ascending=True)


@run.smallest
def smallest() -> tg.Tape:
    """Three steps of two units, states as columns."""
    W, x = tg.tensor([[0.9, -0.5], [0.4, 0.7]], requires_grad=True), tg.tensor([0.3, -0.2])
    h = tg.tensor([0.5, -1.0], requires_grad=True)
    with tg.Tape() as tape:
        for t in range(1, 4):
            with tape.at(t=t):
                h = W @ tg.tanh(h) + x
        h[0].backward()
    return tape

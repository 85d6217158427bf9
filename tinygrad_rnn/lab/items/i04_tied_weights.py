r"""A weight that is used twice has as its gradient the sum of what it would have at each place alone.

The notes S0 show it for $y = F[W_1 f(W_2 x)]$ with $W_1 = W_2 = W$, in two ways that agree, and so get to recurrent
networks: a weight is used once per step. The sum stands. Two slips are in its derivation: the labels of
$\partial W_1$ and $\partial W_2$ are exchanged, and the term of the inner weight has the factor $W_2$ where it must
have $W_1$, the weight that lies *between* it and the loss. For tied weights, where both are $W$, no number shows the
second slip; it shows as soon as the two differ. And what is added are two outer products, which do not come together in
one expression such as $F'(f + W f' x)$.

Tying is an assignment here, `decoder.weight = encoder.weight`: one parameter in two modules, which an optimiser sees
once. The picture shows the two outer products and their sum.

## Mathematics
With $a = f(W_2 x)$, $y = F(W_1 a)$ and the loss $E$
$$\delta_1 = F'(W_1 a) \odot \frac{\partial E}{\partial y}, \qquad
\delta_2 = f'(W_2 x) \odot (W_1^\top \delta_1), \qquad
\frac{\partial E}{\partial W_1} = \delta_1 a^\top, \quad \frac{\partial E}{\partial W_2} = \delta_2 x^\top ,$$
$$W_1 = W_2 = W \;\Rightarrow\; \frac{\partial E}{\partial W} = \delta_1 a^\top + \delta_2 x^\top .$$

## Try it
>>> import tinygrad_rnn as tg
>>> w = tg.tensor(2.0, requires_grad=True)
>>> (w * (w * 3.0)).backward()                      # 3 w^2
>>> float(w.grad)                                   # 6 from each of the two uses
12.0

## It would be false if
the gradient of the tied weight differed from the sum of the two by more than rounding, or if the factor of the inner
weight's term could be exchanged.

## Exercise
Language models tie the embedding (V, H) to the decoder (V, H). Which rows of the gradient are not 0 from the use as
embedding, and which from the use as decoder? Which of the two is larger at the start of a training?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg

from ..experiment import Check, Result, Size, experiment


def gradients(W_1: Any, W_2: Any, x: Any) -> tuple[Any, Any]:
    """Those of two leaves, by automatic differentiation; E = |y|^2 / 2."""
    first, second = tg.tensor(W_1, requires_grad=True), tg.tensor(W_2, requires_grad=True)
    y = tg.sigmoid(first @ tg.tanh(second @ tg.tensor(x)))
    (0.5 * (y * y).sum()).backward()
    assert first.grad is not None and second.grad is not None
    return first.grad.numpy(), second.grad.numpy()


def outer_products(W_1: Any, W_2: Any, x: Any, between: Any) -> tuple[Any, Any]:
    """The two terms by hand."""
    # lab: begin
    a = np.tanh(W_2 @ x)
    y = 1 / (1 + np.exp(-W_1 @ a))
    delta_1 = y * (1 - y) * y  # F' times dE/dy, which is y
    delta_2 = (1 - a**2) * (between.T @ delta_1)  # between = W_1: the weight between W_2 and the loss
    return np.outer(delta_1, a), np.outer(delta_2, x)
    # lab: end


def away(a: Any, b: Any) -> float:
    """The norm of a difference beside that of b."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def measured(size: Size, seed: int, source: bool = False) -> Result:
    """The gradients of one tied weight, of two equal leaves and of two different ones."""
    rng = np.random.default_rng(seed)
    H = 6 if size == "quick" else 64
    W, other, x = rng.standard_normal((H, H)), rng.standard_normal((H, H)), rng.standard_normal(H)
    encoder, decoder = tg.nn.Linear(H, H, bias=False), tg.nn.Linear(H, H, bias=False)
    decoder.weight = encoder.weight
    with tg.no_grad():
        encoder.weight.copy_(tg.tensor(W))
    y = tg.sigmoid(decoder(tg.tanh(encoder(tg.tensor(x)))))
    (0.5 * (y * y).sum()).backward()
    assert encoder.weight.grad is not None
    tied = encoder.weight.grad.numpy()
    untied = gradients(W, W, x)
    terms = outer_products(W, W, x, W)
    different = gradients(W, other, x)
    by_hand = outer_products(W, other, x, other if source else W)
    swapped = away(outer_products(W, other, x, other)[1], different[1])
    checks = [
        Check("tied = sum of the two leaves", away(tied, sum(untied)), "<", 1e-14, "the same terms; of 20 seeds all 0"),
        Check(
            "tied = sum of two outer products",
            away(tied, sum(terms)),
            "<",
            1e-13,
            "rounding; largest of 20 seeds 2.8e-16",
        ),
        Check("outer weight: delta_1 a'", away(by_hand[0], different[0]), "<", 1e-13, "rounding; of 20 seeds all 0"),
        Check(
            "inner weight: the factor is W_1",
            away(by_hand[1], different[1]),
            "<",
            1e-12,
            "rounding; largest of 20 seeds 2e-15",
        ),
        Check(
            "one parameter, not two", len(list(tg.nn.Sequential(encoder, decoder).parameters())), "==", 1, "one object"
        ),
    ]
    numbers = {
        "with the factor W_2 off by": swapped,
        "inner term beside the outer": float(np.linalg.norm(terms[1]) / np.linalg.norm(terms[0])),
    }
    arrays = {"outer use": terms[0], "inner use": terms[1], "gradient": tied}
    because = f"the sum stands; with W_2 for W_1 the inner term is off by {100 * swapped:.0f} %, if the two differ"
    return Result(checks, "slip in the source", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: Any) -> None:
    """Two outer products and their sum, on one scale."""
    axes = figure.subplots(1, 3)
    most = max(abs(matrix).max() for matrix in arrays.values())
    titles = ("outer use: δ₁ aᵀ", "+ inner use: δ₂ xᵀ", "= .grad of the tied weight")
    for ax, matrix, title in zip(axes, arrays.values(), titles, strict=True):
        image = ax.imshow(matrix, cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest")
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("column of W")
    axes[0].set_ylabel("row of W")
    figure.colorbar(image, ax=axes, location="bottom", shrink=0.6, aspect=40, label="∂E/∂W_ij")


@experiment(4, "Tied weights", source="notes S0, the example y = F[W1 f(W2 x)]", seconds=0.1, full_seconds=0.1)
def run(size: Size, seed: int) -> Result:
    """Whether the gradient of a tied weight is the sum of those of its two uses, and which factor is in the second."""
    return measured(size, seed)


@run.broken("the factor W_2 in the inner term, as in S0", fails="inner weight: the factor is W_1")
def source(size: Size, seed: int) -> Result:
    """The cotangent comes back through the inner weight itself."""
    return measured(size, seed, source=True)


@run.smallest
def smallest() -> tg.Tape:
    """One weight of four numbers, used twice."""
    W, x = tg.tensor([[0.5, -1.0], [1.5, 0.2]], requires_grad=True), tg.tensor([1.0, -2.0])
    with tg.Tape(totals=True) as tape:
        a = tg.tanh(W @ x)
        y = tg.sigmoid(W @ a)
        (0.5 * (y * y).sum()).backward()
    return tape

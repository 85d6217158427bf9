r"""Four identities from which most gradients follow, and the layout in which they hold: rows are outputs.

CS224N lists them: $\partial (Wx)/\partial x = W$; $\partial (xW)/\partial x = W^\top$ for a row vector $x$;
$\partial x/\partial x = I$; and $\partial f(x)/\partial x = \operatorname{diag}(f'(x))$ for an elementwise $f$. All
four hold in the *numerator layout*, in which row $p$ of a Jacobian belongs to output $p$.

Half of the books use the other layout, in which the same derivatives are $W^\top$, $W$, $I$ and the diagonal matrix.
Either is right, and a derivation that takes one identity from each is wrong: for a square $W$ no shape tells it. The
gradient of a *loss* is an exception in both: it is given the shape of what it belongs to, so that
$W \leftarrow W - \eta\, \partial E/\partial W$ makes sense.

## Mathematics
$$J_{pq} = \frac{\partial y_p}{\partial x_q}: \qquad
y_p = \sum_q W_{pq} x_q \Rightarrow J = W, \qquad
y_p = \sum_q x_q W_{qp} \Rightarrow J = W^\top .$$
The chain rule reads from the left, $\partial E/\partial x = (\partial E/\partial y)\,(\partial y/\partial x)$, with
$\partial E/\partial y$ a row. In the denominator layout it reads from the right.

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn.autograd.functional import jacobian
>>> W = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
>>> jacobian(lambda x: W @ x, tg.zeros(3)).tolist()
[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
>>> jacobian(lambda x: x @ W, tg.zeros(2)).tolist()
[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]

## It would be false if
one of the four Jacobians differed from its identity: the first three exactly, the fourth by more than rounding.

## Exercise
Derive $\partial (x^\top W x)/\partial x$ in both layouts, and check it with `jacobian`. What becomes of it if $W$ is
symmetric, and why do books that use the denominator layout write the gradient as a column?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.autograd.functional import jacobian

from ..experiment import Check, Result, Size, experiment


def both(W: Any, x: Any, row: Any) -> tuple[Any, Any]:
    """The four Jacobians, and what the identities say."""
    # lab: begin
    found = (
        jacobian(lambda x: W @ x, x),
        jacobian(lambda x: x @ W, row),
        jacobian(lambda x: x * 1, x),
        jacobian(tg.tanh, x),
    )
    identities = (W, W.T, tg.eye(len(x)), tg.diag(1 - tg.tanh(x) ** 2))
    # lab: end
    return found, identities


def measured(size: Size, seed: int, mixed: bool = False) -> Result:
    """The four identities on random shapes."""
    rng = np.random.default_rng(seed)
    trials = 8 if size == "quick" else 200
    names = ("∂(Wx)/∂x = W", "∂(xW)/∂x = Wᵀ", "∂x/∂x = I", "∂f(x)/∂x = diag f'(x)")
    worst = dict.fromkeys(names, 0.0)
    shown: dict[str, Any] = {}
    for trial in range(trials):
        m, n = (5, 5) if trial == 0 else (int(v) for v in rng.integers(2, 12, 2))
        W, x, row = tg.randn(m, n), tg.randn(n), tg.randn(m)
        found, identities = both(W, x, row)
        if mixed and m == n:
            identities = (W, W, *identities[2:])
        for name, J, identity in zip(names, found, identities, strict=True):
            worst[name] = max(worst[name], float(abs(J - identity).max()))
        if trial == 0:
            shown = {name: J.numpy() for name, J in zip(names, found, strict=True)}
    y = tg.randn(4, requires_grad=True)
    (y**2).sum().backward()
    assert y.grad is not None
    why = ("each entry is one of W", "each entry is one of W", "ones and zeros", "rounding of 1 - tanh^2")
    checks = [
        Check(name, worst[name], "<" if k == 3 else "==", 1e-15 if k == 3 else 0.0, why[k])
        for k, name in enumerate(names)
    ]
    checks.append(
        Check("a loss's gradient is shaped as its variable", y.grad.shape == y.shape, "==", True, "by convention")
    )
    numbers = {"shapes tried": trials, **{f"largest difference, {name}": value for name, value in worst.items()}}
    because = f"with rows for outputs all four hold on {trials} shapes, the first three exactly"
    return Result(checks, "holds", because, numbers, shown, lambda figure: draw(figure, shown))


def draw(figure: Any, shown: dict[str, Any]) -> None:
    """The four Jacobians as heat maps: the second is the first, turned over, of the same W."""
    axes = figure.subplots(1, 4)
    most = max(abs(J).max() for J in shown.values())
    for ax, (name, J) in zip(axes, shown.items(), strict=True):
        image = ax.imshow(J, cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest")
        ax.set_title(name, fontsize=9)
        ax.set_xlabel("input q")
        ax.set_xticks(range(5))
        ax.set_yticks(range(5))
    axes[0].set_ylabel("output p")
    figure.colorbar(image, ax=axes, location="bottom", shrink=0.6, aspect=40, label="∂y_p/∂x_q")


@experiment(29, "Four identities", source="CS224N 2019, notes on gradients", seconds=0.1, full_seconds=0.5)
def run(size: Size, seed: int) -> Result:
    """Whether the four identities hold, and in which layout."""
    return measured(size, seed)


@run.broken("layouts mixed: the second identity from the denominator layout", fails="∂(xW)/∂x = Wᵀ")
def mixed(size: Size, seed: int) -> Result:
    """The derivative of xW is taken for W, as books with the other layout have it."""
    return measured(size, seed, mixed=True)


@run.smallest
def smallest() -> tg.Tape:
    """All four, in one chain."""
    W, x = tg.tensor([[1.0, 2.0], [-0.5, 0.3]]), tg.tensor([0.4, -0.7], requires_grad=True)
    with tg.Tape() as tape:
        y = tg.tanh(W @ x) @ W
        (y + x).sum().backward()
    return tape

r"""A tied weight's gradient is the sum, over all steps, of what each use of it contributed.

The notes S0 write backpropagation through time as the sum below, over all steps $k$ at which the weight $W$ was used.
It holds, if three things are said that S0 leaves out. The last factor, $\partial^+ h_k / \partial W$, is the
*immediate* derivative: $h_{k-1}$ is held fixed. With the total one, what earlier steps contributed is counted again and
again. The first share of the recurrent weight is 0 if the net starts from $h_0 = 0$, as it multiplies $h_0$. And the
second factor must be $\partial y_t / \partial h_t$, where S0 has $\partial y_t / \partial h_i$.

The shares can be had in three ways, which agree: from the tape, which sees each use; by one copy of $W$ for each
step, whose gradients are the shares; and of a layer that runs as one kernel, from `diagnostics.shares`. The picture
shows the shares of a float32 network of 200 steps. A tape adds them from the last step to the first, and most of them
change no bit of the sum: the colours tell what is left of each.

## Mathematics
With $h_k = \tanh(W h_{k-1} + U x_k)$ and a loss $E$ of the last state,
$$\frac{\partial E}{\partial W} = \sum_{k=1}^{T} \frac{\partial E}{\partial h_T} \frac{\partial h_T}{\partial h_k}
\frac{\partial^+ h_k}{\partial W}, \qquad
\frac{\partial^+ h_k}{\partial W_{ij}} = (1 - h_{k,i}^2) \, e_i \, h_{k-1,j} .$$
So each share is an outer product, $\delta_k h_{k-1}^\top$ with $\delta_k = \partial E / \partial (W h_{k-1})$.

## Try it
>>> import tinygrad_rnn as tg
>>> W = tg.tensor(0.5, requires_grad=True)
>>> with tg.Tape() as tape:
...     h = tg.tensor(1.0)
...     for x in (1.0, -1.0, 2.0):
...         h = tg.tanh(W * h + x)
...     h.backward()
>>> shares = tape.shares(W)                         # from the last use to the first
>>> [round(float(share.value), 6) for share in shares]
[-0.05667, 0.038653, 0.003858]
>>> float(shares.total()) == float(W.grad)
True

## It would be false if
the shares of the copies, one for each step, added up to something other than the gradient of the one weight; or if the
total derivative in the last factor gave the same sum.

## Exercise
Which share is the largest if the loss reads *every* state, $E = \sum_t E_t$? Find it with
`diagnostics.shares(layer, loss, x)` for a plain RNN and an LSTM, and say what a loss at every step hides.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.autograd.functional import jacobian_of
from tinygrad_rnn.diagnostics.resolution import LABELS
from tinygrad_rnn.diagnostics.result import COLOURS, GREY

from ..experiment import Check, Result, Size, experiment


def by_copies(weight: Any, U: Any, x: Any) -> tuple[Any, Any, Any]:
    """The gradient of one W with its shares from the tape, the copies of it, and both runs' states and losses."""
    # lab: begin
    W = tg.tensor(weight, requires_grad=True)
    copies = [tg.tensor(weight, requires_grad=True) for _ in x]
    tied, untied = [tg.zeros(len(weight))], [tg.zeros(len(weight))]
    with tg.Tape() as tape:
        for x_k in x:  # one weight, used at every step
            tied.append(tg.tanh(W @ tied[-1] + U @ x_k))
        (tied[-1] ** 2).sum().backward(retain_graph=True)
    for W_k, x_k in zip(copies, x, strict=True):  # a weight of its own for every step
        untied.append(tg.tanh(W_k @ untied[-1] + U @ x_k))
    (untied[-1] ** 2).sum().backward(retain_graph=True)
    shares = tape.shares(W)  # the last step first
    # lab: end
    return (W, shares, tied), copies, untied


def summed(cotangents: Any, jacobians: Any) -> Any:
    """The sum of the products of row vectors (H) and derivatives of states by weights (H, H, H)."""
    return sum(np.tensordot(g.numpy(), J.numpy(), 1) for g, J in zip(cotangents, jacobians, strict=True))


def away(a: Any, b: Any) -> float:
    """The norm of a difference beside that of b."""
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)) / np.linalg.norm(b))


def measured(size: Size, seed: int, total: bool = False) -> Result:
    """Shares from the tape, from copies, from the formula and through a fused layer."""
    rng = np.random.default_rng(seed)
    T, H = (40, 6) if size == "quick" else (120, 16)
    weight, inputs = rng.standard_normal((H, H)) / np.sqrt(H), rng.standard_normal((H, H)) / np.sqrt(H)
    x = rng.standard_normal((T, H))
    (W, shares, tied), copies, untied = by_copies(weight, tg.tensor(inputs), tg.tensor(x))
    grad, from_tape = W.grad.numpy(), np.array([share.value for share in shares])[::-1]
    from_copies = np.array([copy.grad.numpy() for copy in copies])
    few = 12  # by the formula: the derivatives of the loss by the last states, times those of the states by W
    cotangents = tg.autograd.grad((tied[-1] ** 2).sum(), tied[-few:], retain_graph=True)
    last = [jacobian_of(h, copy) for h, copy in zip(untied[-few:], copies[-few:], strict=True)]  # immediate
    whole = [jacobian_of(h, W) for h in tied[-few:]]  # total: through all earlier states too
    of_few, formula, wrong = from_copies[-few:].sum(0), summed(cotangents, last), summed(cotangents, whole)
    layer = tg.nn.RNN(H, H, bias=False)
    with tg.no_grad():
        layer.weight_hh_l0.copy_(tg.tensor(weight)), layer.weight_ih_l0.copy_(tg.tensor(inputs))
    fused = diagnostics.shares(layer, lambda out: (out[0][-1] ** 2).sum(), tg.tensor(x[:, None]))
    parts = [np.exp(log) * np.asarray(a) for log, a in (fused.array("weight_hh_l0", t) for t in range(T))]
    single = tg.nn.RNN(8, 32, dtype=tg.float32)
    shown = diagnostics.shares(single, lambda out: (out[0][-1] ** 2).sum(), tg.randn(200, 1, 8, dtype=tg.float32))
    labels = shown.resolution("weight_hh_l0").labels
    checks = [
        Check(
            "the tape's shares add up to .grad, bit for bit",
            np.array_equal(shares.total(), grad),
            "==",
            True,
            "the same sum in the same order",
        ),
        Check(
            "a share is the gradient of that step's copy",
            away(from_tape, from_copies),
            "<",
            1e-13,
            "the same operations; of 20 seeds the largest is 0",
        ),
        Check(
            "the formula gives the sum",
            away(wrong if total else formula, of_few),
            "<",
            1e-13,
            "rounding of 12 terms; of 20 seeds the largest is 2.4e-16",
        ),
        Check(
            "shares of a fused layer are the same",
            away(parts, from_tape),
            "<",
            1e-12,
            "rounding of 40 steps; of 20 seeds the largest is 1.3e-15",
        ),
        Check("the first share is 0", float(abs(from_copies[0]).max()), "==", 0.0, "it multiplies h_0 = 0"),
    ]
    off = away(wrong, of_few)
    numbers = {
        "with the total derivative of the last 12 steps, off by": off,
        "steps that change a bit of the sum, of 200": labels.count("carries"),
    }
    because = f"the last factor is the immediate derivative; with the total one the sum is off by {100 * off:.0f} %"
    arrays = {
        "log_norm": shown["weight_hh_l0"].log_norm,
        "zones": np.array([LABELS.index(label) for label in labels[::-1]]),
    }
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: Any) -> None:
    """Bars of the shares by step, coloured by what is left of them in float32."""
    ax = figure.subplots()
    logs = arrays["log_norm"] / np.log(10)
    steps = np.arange(1, len(logs) + 1)
    shown = np.isfinite(logs)
    floor = logs[shown].min() - 2
    for k, label in enumerate(LABELS[:-1]):
        at = shown & (arrays["zones"] == k)
        if at.any():
            area = {"facecolor": COLOURS[k], "hatch": ("", "/", "\\", "x")[k], "edgecolor": GREY, "linewidth": 0}
            ax.fill_between(steps[at], floor, logs[at], step="mid", label=f"{label} ({at.sum()} steps)", **area)
    ax.set_xlabel("step k at which the weight was used")
    ax.set_ylabel("log₁₀ of the norm of the share")
    ax.legend(fontsize=8, loc="upper left")


@experiment(
    1,
    "Sum over time",
    source="notes S0, backpropagation through time; Werbos 1990; Pascanu, Mikolov and Bengio 2013, equations 3 to 5",
    seconds=0.2,
    full_seconds=3,
)
def run(size: Size, seed: int) -> Result:
    """Whether the gradient of a tied weight is the sum of the shares of its uses, each found in four ways."""
    return measured(size, seed)


@run.broken("the total derivative of h_k by W in place of the immediate one", fails="the formula gives the sum")
def total_derivative(size: Size, seed: int) -> Result:
    """The last factor also differentiates h_(k-1) by W, which other terms of the sum have counted."""
    return measured(size, seed, total=True)


@run.smallest
def smallest() -> tg.Tape:
    """Three uses of one weight."""
    W, U = tg.tensor([[0.5, -0.3], [0.2, 0.4]], requires_grad=True), tg.tensor([0.6, -0.4])
    h = tg.zeros(2)
    with tg.Tape(totals=True) as tape:
        for t, x in enumerate((1.0, -1.0, 2.0), 1):
            with tape.at(t=t):
                h = tg.tanh(W @ h + U * x)
        (h**2).sum().backward()
    return tape

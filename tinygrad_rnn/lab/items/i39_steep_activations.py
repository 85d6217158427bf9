r"""Activations with slopes above 1 make gradients explode.

S3: "if activation functions are used whose derivatives can take on larger values, there is a risk of the related
exploding gradient problem." The steepest part of $\tanh(kx)$ has the slope $k$. Does a chain of it explode for $k = 3$?

It depends on the chain. One unit that is fed back, $h_t = \tanh(k h_{t-1})$, runs away from the steep part: its state
settles at the fixed point $h^* = \tanh(k h^*)$, where the slope is $k (1 - h^{*2})$, which is *below* 1 for every
$k \ne 1$. For $k = 3$ it is 0.03, and the gradient vanishes fast. The steeper the activation, the faster.

In a wide network, $h_t = \tanh(k W h_{t-1})$ with random $W$, some units are always near 0 while others are saturated.
There the mean gain does exceed 1: from $k = 1$ on the state moves chaotically, and gradients explode (Sompolinsky,
Crisanti and Sommers 1988). But by far less than $k$ at each step: at $k = 3$ by a factor of about 1.3, since most units
are saturated most of the time. The slope at 0 bounds the gain; it is not the gain.

## Mathematics
The mean growth of the gradient per step is, for wide $W$ with entries of variance $1/n$ (compare item 37),
$$\lambda = \tfrac12 \log \Big(k^2 \, \mathbb{E} \big(1 - \tanh^2(\sqrt q\, u)\big)^2 \Big) \le \log k, \qquad
q = k^2 \, \mathbb{E} \tanh^2(\sqrt q\, u), \quad u \sim N(0, 1),$$
and for one unit $\lambda = \log \big(k (1 - h^{*2})\big)$. Measured is the largest Lyapunov exponent.

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn import diagnostics
>>> one = tg.nn.RNN(1, 1, bias=False)
>>> _ = tg.nn.init.constant_(one.weight_hh_l0, 3.0)
>>> found = diagnostics.lyapunov(one, tg.zeros(100, 1, 1), count=1, hx=tg.full((1, 1, 1), 0.5))
>>> bool(found.exponents[0] < -3)                                # each step multiplies the gradient by 0.03
True

## It would be false if
(as corrected) the single unit exploded for some $k$, or the wide network had a growth of $\log k$.

## Exercise
For $k$ slightly above 1 the wide network grows less than the formula says. Measure it for $n = 32$, 128 and 512, and
say why (how does the state of a small network move at $k = 1.2$?).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

STEEP = (0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0)


def growth(k: float, W: Any, steps: int) -> float:
    """The mean growth of log-norms of the gradient through tanh(k W h), in the long run."""
    # lab: begin
    rnn = tg.nn.RNN(1, len(W), bias=False)
    with tg.no_grad():
        rnn.weight_ih_l0.zero_()
        rnn.weight_hh_l0.copy_(k * tg.tensor(W))
    x = tg.zeros(steps, 1, 1)
    _, h_0 = rnn(x, tg.rand(1, 1, len(W)) + 0.1)  # until the state moves as it does in the long run
    found = diagnostics.lyapunov(rnn, x, 1, steps // 4, h_0)
    return float(found.exponents[0])
    # lab: end


def expected(k: float) -> tuple[float, float]:
    """The same in theory: of a wide network, and of one unit."""
    u, weight = np.polynomial.hermite_e.hermegauss(200)
    weight = weight / weight.sum()
    q, h = k**2, 1.0
    for _ in range(2000):
        q = k**2 * weight @ np.tanh(np.sqrt(q) * u) ** 2
        h = np.tanh(k * h)
    wide = 0.5 * np.log(k**2 * weight @ (1 - np.tanh(np.sqrt(q) * u) ** 2) ** 2)
    return float(wide), float(np.log(k * (1 - h**2)))


def measured(size: Size, seed: int, everywhere: bool = False) -> Result:
    """Growth against steepness; ``everywhere``: each step is taken to have the slope at 0."""
    n, steps = (128, 300) if size == "quick" else (512, 1000)
    W = np.random.default_rng(seed).standard_normal((n, n)) / np.sqrt(n)
    wide = np.array([np.log(k) if everywhere else growth(k, W, steps) for k in STEEP])
    one = np.array([growth(k, np.eye(1), steps) for k in STEEP])
    theory = np.array([expected(k) for k in STEEP])
    at_3, strong = STEEP.index(3.0), np.array(STEEP) >= 2
    x = tg.zeros(1, requires_grad=True)
    (at_0,) = tg.autograd.grad(tg.tanh(3 * x).sum(), x)
    off = float(np.abs(wide - theory[:, 0])[strong].max())
    checks = [
        Check("the slope at 0 is k", at_0.item(), "==", 3, "k (1 - tanh(0)^2)"),  # type: ignore[union-attr]
        Check("wide: explodes for k = 3", wide[at_3], ">", 0.15, "0.27 in theory; of 20 seeds the least is 0.26"),
        Check("wide: far less than log k", wide[at_3], "<", 0.5 * np.log(3), "saturated units; 20 seeds: at most 0.31"),
        Check("wide: as predicted from k = 2 on", off, "<", 0.15, "128 units; of 20 seeds the largest is 0.095"),
        Check(
            "wide: vanishes for k = 0.8",
            wide[STEEP.index(0.8)],
            "<",
            -0.03,
            "log 0.8 is -0.22; 20 seeds: at most -0.09",
        ),
        Check("one unit: vanishes for k = 3", one[at_3], "<", -3, "log 0.03 is -3.5"),
        Check(
            "one unit: as predicted",
            np.abs(one - theory[:, 1])[np.array(STEEP) != 1].max(),
            "<",
            1e-9,
            "it has settled",
        ),
    ]
    numbers = {
        "factor per step, k = 3, wide": np.exp(wide[at_3]),
        "factor per step, k = 3, one unit": np.exp(one[at_3]),
        "the slope at 0": 3,
        "largest distance from theory, wide, k >= 2": off,
    }
    because = (
        f"units are in different places: at k = 3 a wide net multiplies gradients by {np.exp(wide[at_3]):.2f} a step, "
        f"a single unit by {np.exp(one[at_3]):.3f}"
    )
    arrays = {"k": np.array(STEEP), "wide": wide, "one unit": one}
    arrays |= {"wide, theory": theory[:, 0], "one unit, theory": theory[:, 1]}
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """Growth per step against steepness."""
    ax = figure.subplots()
    k = arrays["k"]
    for number, (name, label) in enumerate((("wide", "wide network"), ("one unit", "one unit"))):
        style = ("-", "--")[number]
        ax.plot(k, arrays[f"{name}, theory"], style, color=COLOURS[number])
        ax.plot(k, arrays[name], MARKERS[number], color=COLOURS[number], label=label)
    ax.plot(k, np.log(k), ":", color=COLOURS[3], label=r"$\log k$, the slope at 0")
    ax.axhline(0, color=GREY, linewidth=1)
    ax.set_ylim(-4, 2)
    ax.set_xlabel("steepness k")
    ax.set_ylabel("growth of the gradient (nats per step)")
    ax.legend(fontsize=9)


@experiment(39, "Steep activations", source="S3; Sompolinsky, Crisanti and Sommers 1988", seconds=0.6, full_seconds=8)
def run(size: Size, seed: int) -> Result:
    """How much gradients grow per step through tanh(k x), in one unit and in a wide network."""
    return measured(size, seed)


@run.broken("the slope at 0 is the gain everywhere", fails="wide: far less than log k")
def everywhere(size: Size, seed: int) -> Result:
    """The gradient is estimated as k to the number of steps."""
    return measured(size, seed, everywhere=True)


@run.smallest
def smallest() -> tg.Tape:
    """One unit, k = 3: the first step multiplies the cotangent by almost 3, the last ones by little."""
    h_0 = tg.tensor(0.01, requires_grad=True)
    with tg.Tape() as tape:
        h = h_0
        for t in range(1, 9):
            with tape.at(t=t):
                h = tg.tanh(3 * h)
        h.backward()
    return tape

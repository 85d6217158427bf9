r"""Repeating the same matrix makes a network's gradients far less predictable than independent matrices of its size.

CS224N (lecture 7) says that recurrent networks are particularly unstable since they multiply by the same matrix again
and again. One expects that gradients through one repeated matrix are larger, or smaller, than through as many
independent ones of the same scale. Measured, the *mean* of their log-norms hardly tells the two apart. What does is the
*spread* over draws (the fans in the picture): a matrix that is a little too large is so at every step, and its excess
adds up in proportion to $T$; independent matrices are now too large and now too small, and their sum grows like
$\sqrt{T}$, as a random walk does.

So "unstable" has a meaning: an initialisation of the right scale is right on average for both, and a deep feed-forward
net with that scale is near the average, while a recurrent net of the same depth is orders of magnitude away from it,
in either direction.

## Mathematics
With $v$ the cotangent of $h_T$ and $h_t = M_t h_{t-1}$ the gradient is $v M_T \cdots M_1$, and
$$\log \lvert v M_T \cdots M_1 \rvert = \sum_{t=1}^{T} a_t, \qquad a_t = \log \frac{|g_t M_t|}{|g_t|} .$$
For independent $M_t$ the $a_t$ are independent, and the standard deviation is $\sqrt{T}\,\mathrm{sd}(a)$. For
$M_t = M$ all $a_t$ tend to the same number, $\log \rho(M)$, and it is $T\,\mathrm{sd}(\log \rho)$.

## Try it
>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> radii = [abs(np.linalg.eigvals(rng.standard_normal((16, 16)) / 4)).max() for _ in range(100)]
>>> bool(0.08 < np.std(np.log(radii)) < 0.16)       # times 160 steps: a standard deviation of about 20 nats
True

## It would be false if
the spread over draws of the same matrix grew with the same power of $T$ as that of independent ones.

## Exercise
Draw orthogonal matrices instead (`tg.nn.init.orthogonal_`). What becomes of both spreads, and of those of a tanh
network with them? Use `diagnostics.flow`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.diagnostics.result import COLOURS

from ..experiment import Check, Result, Size, experiment

FIRST = 20
"""The power of T is that of the steps from here on."""


def gradients(rng: Any, draws: int, H: int, T: int, same: bool) -> Any:
    """log |v M ... M| after each step, for each draw (T, draws)."""
    # lab: begin
    M = rng.standard_normal((draws, H, H)) / np.sqrt(H)
    g = rng.standard_normal((draws, 1, H))  # the cotangent, scaled at each step so that it does not overflow
    g /= np.linalg.norm(g, axis=-1, keepdims=True)
    logs = []
    for t in range(T):
        if t and not same:
            M = rng.standard_normal((draws, H, H)) / np.sqrt(H)
        g = g @ M
        size = np.linalg.norm(g, axis=-1, keepdims=True)
        g /= size
        logs.append(np.log(size[:, 0, 0]))
    return np.cumsum(logs, 0)
    # lab: end


def power(values: Any) -> float:
    """The exponent p of values that grow like T^p."""
    steps = np.arange(FIRST, len(values) + 1)
    return float(np.polyfit(np.log(steps), np.log(values[FIRST - 1 :]), 1)[0])


def by_autograd(rng: Any, H: int, T: int) -> tuple[float, float]:
    """log |gradient| of a linear net of T steps by automatic differentiation, and by products."""
    state = rng.bit_generator.state
    M = tg.tensor(rng.standard_normal((1, H, H))[0] / np.sqrt(H))
    v = rng.standard_normal((1, 1, H))[0, 0]
    h_0 = tg.zeros(H, requires_grad=True)
    h = h_0
    for _ in range(T):
        h = M @ h
    (tg.tensor(v / np.linalg.norm(v)) @ h).backward()
    assert h_0.grad is not None
    rng.bit_generator.state = state
    return float(np.log(h_0.grad.norm().item())), float(gradients(rng, 1, H, T, True)[-1, 0])


def measured(size: Size, seed: int, means: bool = False) -> Result:
    """How the spread of log-norms grows with T, for the same matrix and for independent ones."""
    rng = np.random.default_rng(seed)
    draws, H, T = (200, 16, 160) if size == "quick" else (1000, 32, 640)
    logs = {"same": gradients(rng, draws, H, T, True), "independent": gradients(rng, draws, H, T, False)}
    powers = {kind: power(abs(values.mean(1)) if means else values.std(1)) for kind, values in logs.items()}
    spread = {kind: float(values[-1].std()) for kind, values in logs.items()}
    mean = {kind: float(values[-1].mean()) for kind, values in logs.items()}
    swept, multiplied = by_autograd(rng, H, 40)
    checks = [
        Check("same: the spread grows like T", powers["same"], "between", (0.8, 1.2), "20 seeds: 1.015 to 1.052"),
        Check(
            "independent: like the root of T", powers["independent"], "between", (0.3, 0.7), "20 seeds: 0.42 to 0.54"
        ),
        Check(
            "the means are close beside the spread",
            abs(mean["same"] - mean["independent"]) / spread["same"],
            "<",
            1.5,
            "20 seeds: 0.61 to 0.84",
        ),
        Check("autograd gives the same gradient", abs(swept - multiplied), "<", 1e-12, "rounding of 40 products"),
    ]
    numbers = {
        f"{name}, {kind} (nats)": values[kind] for kind in logs for name, values in (("mean", mean), ("spread", spread))
    }
    because = (
        f"unstable means spread: after {T} steps log-norms are {mean['same']:.0f} +- {spread['same']:.0f} nats for the "
        f"same matrix, {mean['independent']:.0f} +- {spread['independent']:.1f} for independent ones"
    )
    arrays = {kind: values[::8, :50] for kind, values in logs.items()}
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: Any) -> None:
    """Two fans of curves on one scale, with mean and standard deviation."""
    axes = figure.subplots(1, 2, sharey=True)
    for k, (ax, (kind, logs)) in enumerate(zip(axes, arrays.items(), strict=True)):
        steps, scaled = np.arange(len(logs)) * 8 + 1, logs / np.log(10)
        ax.plot(steps, scaled, color=COLOURS[k], alpha=0.4, linewidth=0.8)
        mean, spread = scaled.mean(1), scaled.std(1)
        ax.plot(steps, mean, color=COLOURS[3], linewidth=1.6, label="mean")
        for sign in (-1, 1):
            ax.plot(steps, mean + sign * spread, "--", color=COLOURS[3], label="mean ± spread" if sign > 0 else None)
        ax.set_title({"same": "the same matrix T times", "independent": "T independent matrices"}[kind], fontsize=10)
        ax.set_xlabel("steps T")
        ax.legend(fontsize=8, loc="upper left")
    axes[0].set_ylabel("log₁₀ of the norm of the gradient")


@experiment(23, "The same matrix", source="CS224N 2019, lecture 7", seconds=0.3, full_seconds=15)
def run(size: Size, seed: int) -> Result:
    """How far apart the gradients of equally initialised nets are, with shared and with independent matrices."""
    return measured(size, seed)


@run.broken("means compared, not spreads", fails="independent: like the root of T")
def means(size: Size, seed: int) -> Result:
    """The size of the mean log-norm is taken for the instability."""
    return measured(size, seed, means=True)


@run.smallest
def smallest() -> tg.Tape:
    """The same matrix three times."""
    M, v = tg.tensor([[0.9, -0.5], [0.4, 0.8]], requires_grad=True), tg.tensor([1.0, 0.0])
    h = tg.tensor([0.5, -1.0], requires_grad=True)
    with tg.Tape(totals=True) as tape:
        for t in range(1, 4):
            with tape.at(t=t):
                h = M @ h
        (v @ h).backward()
    return tape

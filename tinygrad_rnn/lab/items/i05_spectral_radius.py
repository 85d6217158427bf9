r"""Gradients through time vanish when the largest singular value of the weight is small; its spectral radius says less.

"A spectral radius below 1 is sufficient for gradients to vanish, above 1 is necessary for them to explode." So say the
notes S0, and many courses. Pascanu, Mikolov and Bengio (2013, section 2.1) state it for *linear* networks alone. There
it is right in the long run: the slope of log-norms is the logarithm of the spectral radius $\rho$ (left picture, dots
on the line).

For a nonlinear network it is false. The matrix $W$ below has only the eigenvalue 0, yet a tanh network with it, driven
by a constant bias, doubles its gradient at every step (right picture). What suffices is the largest *singular* value:
below $1/\gamma$ gradients vanish, and they cannot explode unless it is above, where $\gamma$ bounds the slope of the
activation: 1 for tanh, 1/4 for the sigmoid.

And even in a linear network gradients may grow first. A $W$ that is not normal, of spectral radius 0.9, has powers with
norms far above 1 before they fall.

## Mathematics
For $h_t = \tanh(W h_{t-1} + b)$ the chain rule gives
$$\frac{\partial h_T}{\partial h_0} = D_T W \, D_{T-1} W \cdots D_1 W, \qquad D_t = \operatorname{diag}(1 - h_t^2),$$
so $\lVert \partial h_T / \partial h_0 \rVert \le (\gamma \, \sigma_{\max}(W))^T$. Eigenvalues multiply only if the
factors are the same: the $D_t$ are not multiples of the identity, and that is enough. With
$$W = \begin{pmatrix} 2 & -2 \\ 2 & -2 \end{pmatrix}, \quad W^2 = 0, \qquad b = (2 h^*, 8), \quad
h^* = \tanh(8 - 2 h^*)$$
the state stays at $(0, h^*)$, $D = \operatorname{diag}(1, \approx 0)$, and $D W$ has the eigenvalue 2.

## Try it
>>> import tinygrad_rnn as tg
>>> report = tg.diagnostics.weights([[2.0, -2.0], [2.0, -2.0]])
>>> round(report.spectral_radius, 6), round(report.sigma_max, 6)
(0.0, 4.0)

## It would be false if
a network with $\sigma_{\max}(W) < 1/\gamma$ had a gradient that does not shrink, or if the long-run slope of a linear
network were not $\log \rho$.

## Exercise
Find a sigmoid network with two units whose gradient explodes. How large must $\sigma_{\max}(W)$ be at least?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

RADII = (0.5, 0.9, 1.0, 1.1, 1.5)


def layer(W: Any, b: Any, nonlinearity: str) -> tg.nn.RNN:
    """A layer with this recurrent weight and bias, and no weight on its input."""
    rnn = tg.nn.RNN(1, len(W), nonlinearity=nonlinearity)
    with tg.no_grad():
        rnn.weight_hh_l0.copy_(tg.tensor(np.array(W)))
        rnn.weight_ih_l0.zero_()
        rnn.bias_ih_l0.copy_(tg.tensor(np.array(b)))
        rnn.bias_hh_l0.zero_()
    return rnn


def exploding(T: int) -> Any:
    """Logarithms of the norms of dh_T/dh_k in the net whose only eigenvalue is 0."""
    # lab: begin
    star = 0.999
    for _ in range(100):
        star = np.tanh(8 - 2 * star)  # the state that stays where it is
    rnn = layer([[2.0, -2.0], [2.0, -2.0]], [2 * star, 8.0], "tanh")
    h0 = tg.tensor([[[0.0, star]]])
    flow = diagnostics.flow(rnn, tg.zeros(T, 1, 1), h0)
    return flow.log_norm[::-1]  # by the number of steps back, as natural logarithms
    # lab: end


def measured(size: Size, seed: int, radius_decides: bool = False) -> Result:
    """Slopes of linear nets, the net that explodes although its radius is 0, and powers of a matrix."""
    rng = np.random.default_rng(seed)
    T, H = (400, 32) if size == "quick" else (2000, 64)
    away, curves = [], {}
    for rho in RADII:
        W = rng.standard_normal((H, H))
        W *= rho / np.abs(np.linalg.eigvals(W)).max()
        logs, P = [], np.eye(H)
        scale = 0.0
        for _ in range(T):
            P = W @ P
            norm = np.linalg.norm(P)
            P, scale = P / norm, scale + np.log(norm)
            logs.append(scale)
        late = np.arange(T // 4, T)
        slope = np.polyfit(late, np.array(logs)[late], 1)[0]
        away.append(abs(slope - np.log(rho)))
        curves[f"linear, rho {rho}"] = np.array(logs)
    small = rng.standard_normal((H, H))
    small *= 0.95 / np.linalg.norm(small, 2)
    bounded = diagnostics.flow(layer(small, np.zeros(H), "tanh"), tg.zeros(50, 1, 1)).log_norm[::-1]
    curves["tanh, sigma_max 0.95"] = np.asarray(bounded)
    grows = np.full(51, np.log(np.sqrt(2))) if radius_decides else np.asarray(exploding(50))
    curves["tanh, all eigenvalues 0"] = grows
    report = diagnostics.weights(np.array([[0.9, 4.0], [0.0, 0.9]]))
    checks = [
        Check(
            "linear slope is log rho",
            max(away),
            "<",
            0.01,
            "transients over 300 steps; of 20 seeds the largest is 6.3e-4",
        ),
        Check("sigma below 1 vanishes", bounded[-1] - bounded[0], "<", 50 * np.log(0.95), "the bound itself"),
        Check("nilpotent net explodes", np.exp(grows[-1]), ">", 1.9**50, "2^50 in theory, times sqrt 2"),
        Check("a power of rho 0.9 exceeds 3", report.transient[0], ">", 3, "4 k 0.9^(k-1) at its top is 16"),
    ]
    numbers = {
        "|dh_50/dh_0| with all eigenvalues 0": np.exp(grows[-1]),
        "largest |slope - log rho|, linear": max(away),
        "largest |W^k|, rho = 0.9": report.transient[0],
    }
    because = (
        f"a net whose weight has only the eigenvalue 0 multiplies gradients by {np.exp(grows[-1]):.1e} in 50 steps"
    )
    return Result(checks, "false as stated", because, numbers, curves, lambda figure: draw(figure, curves))


def draw(figure: Any, curves: dict[str, Any]) -> None:
    """Linear nets to the left, nonlinear ones to the right."""
    left, right = figure.subplots(1, 2)
    for k, rho in enumerate(RADII):
        logs = curves[f"linear, rho {rho}"] / np.log(10)
        steps = np.arange(1, len(logs) + 1)
        left.plot(steps, logs, color=COLOURS[k], marker=MARKERS[k], markevery=len(logs) // 6, label=rf"$\rho$ = {rho}")
        left.plot(steps, steps * np.log10(rho), color=GREY, linestyle=":", linewidth=1)
    left.set_title(r"linear: slope $\log\,\rho$ (dotted)", fontsize=10)
    for k, name in enumerate(("tanh, all eigenvalues 0", "tanh, sigma_max 0.95")):
        logs = curves[name] / np.log(10)
        label = ("all eigenvalues 0", "largest singular value .95")[k]
        right.plot(logs, color=COLOURS[k], marker=MARKERS[k], markevery=10, label=label)
    right.set_title("tanh: the radius does not decide", fontsize=10)
    for ax in (left, right):
        ax.set_xlabel("steps back")
        ax.set_ylabel(r"$\log_{10}\,\Vert\partial h_T/\partial h_0\Vert$")
        ax.legend(fontsize=8)


@experiment(
    5,
    "Spectral radius",
    source="notes S0; CS224N 2019, lecture 7; Pascanu, Mikolov and Bengio 2013, section 2.1",
    seconds=0.2,
    full_seconds=3,
)
def run(size: Size, seed: int) -> Result:
    """Which property of the weight decides whether gradients vanish."""
    return measured(size, seed)


@run.broken('"the radius is below 1, so it vanishes"', fails="nilpotent net explodes")
def radius_decides(size: Size, seed: int) -> Result:
    """The gradient is not computed but read off the eigenvalues, which are 0."""
    return measured(size, seed, radius_decides=True)


@run.smallest
def smallest() -> tg.Tape:
    """Four steps of the net whose gradient doubles."""
    W = tg.tensor([[2.0, -2.0], [2.0, -2.0]], requires_grad=True)
    b, h_0 = tg.tensor([1.9951, 8.0]), tg.tensor([0.0, 0.9975], requires_grad=True)
    with tg.Tape() as tape:
        h = h_0
        for t in range(1, 5):
            with tape.at(t=t):
                h = tg.tanh(W @ h + b)
        h[0].backward()
    return tape

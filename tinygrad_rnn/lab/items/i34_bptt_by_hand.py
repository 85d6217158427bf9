r"""An LSTM is trained by BPTT: dW of a step needs what the future carries back in da and dc, and a factor tanh c.

The question S2 derives the gradients of an LSTM for one step, and asks: does $dW_o$ hold the term of step $t$ alone,
or that of $t-1$ as well? The answer has three parts. The sum over steps stands *outside*: $dW_o = \sum_t d o_t
(\dots)$. Each term is of its own step, but the $da_t$ in it already contains the whole future, through two values
that are carried from step $t+1$ to step $t$: $da_{next}$ and $dc_{next}$. And the formula that S2 writes down has a
slip: $dW_o$ has the factor $1 - \tanh^2 c$ where $\tanh c$ belongs, since $a = o \tanh c$ is differentiated by $o$.

Written out with both carried values, forty lines of NumPy give the gradients of autograd to rounding. Without them
one gets the gradient of another program: of one that detaches its states at every step. The picture shows how far
each mistake is off, by weight.

## Mathematics
With $a = o \tanh c$, $c = f c_{t-1} + i g$, and $d$ for the derivative of the loss, from the last step to the first:
$$da = W_y^T (\hat y - y) + da_{next}, \qquad dc = dc_{next} + da \, o \, (1 - \tanh^2 c)$$
$$do = da \tanh c \; o(1-o), \quad df = dc \, c_{t-1} \, f(1-f), \quad
di = dc \, g \, i(1-i), \quad dg = dc \, i \, (1-g^2)$$
$$da_{next} \leftarrow W_i^T di + W_f^T df + W_g^T dg + W_o^T do, \qquad dc_{next} \leftarrow dc \, f$$

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn import diagnostics
>>> _ = tg.manual_seed(0)
>>> net, x = tg.nn.LSTM(4, 8), tg.randn(10, 2, 4)
>>> found = diagnostics.truncated(net, lambda output: (output[0] ** 2).sum(), x, k=1)       # detached at every step
>>> bool(found.cosine[0] < 0.99)
True

## It would be false if
the gradients without carried values were those of the loss, or if the factor $1 - \tanh^2 c$ gave them.

## Exercise
Give the forty lines peepholes: $o$ sees $c_t$, and $i, f$ see $c_{t-1}$. Which line of the backward pass changes
first? Check with `nn.LSTM(..., peepholes=True)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.result import COLOURS

from ..experiment import Check, Result, Size, experiment

MISTAKES = {
    "da not carried": {"carry_da": False},
    "dc not carried": {"carry_dc": False},
    "neither: one step alone": {"carry_da": False, "carry_dc": False},
    "S2: 1 - tanh² c for tanh c": {"slip": True},
}
NAMES = ("weight_ih", "weight_hh", "bias_ih", "weight_y")


def sigmoid(a: Any) -> Any:
    """Of arrays of NumPy."""
    return 1 / (1 + np.exp(-a))


def by_hand(
    weights: Any, x: Any, y: Any, *, carry_da: bool = True, carry_dc: bool = True, slip: bool = False
) -> dict[str, Any]:
    """The gradients of the cross entropy at every step, x (T, N, I), y (T, N) classes."""
    W, U, b, Wy = weights
    (T, N, _), H = x.shape, U.shape[1]
    a, c, steps = np.zeros((N, H)), np.zeros((N, H)), []
    for t in range(T):
        z = x[t] @ W.T + a @ U.T + b
        i, f, g, o = sigmoid(z[:, :H]), sigmoid(z[:, H : 2 * H]), np.tanh(z[:, 2 * H : 3 * H]), sigmoid(z[:, 3 * H :])
        before, c = (a, c), f * c + i * g
        a = o * np.tanh(c)
        scores = np.exp(a @ Wy.T)
        steps.append((before, i, f, g, o, c, a, scores / scores.sum(1, keepdims=True)))
    d = {name: np.zeros_like(w) for name, w in zip(NAMES, weights, strict=True)}
    da_next, dc_next = np.zeros((N, H)), np.zeros((N, H))
    for t in reversed(range(T)):
        (a_before, c_before), i, f, g, o, c, a, p = steps[t]
        # lab: begin
        d_scores = (p - np.eye(len(Wy))[y[t]]) / (T * N)
        da = d_scores @ Wy + (da_next if carry_da else 0)  # the future through a
        dc = da * o * (1 - np.tanh(c) ** 2) + (dc_next if carry_dc else 0)  # and through c
        do = da * (1 - np.tanh(c) ** 2 if slip else np.tanh(c)) * o * (1 - o)
        df = dc * c_before * f * (1 - f)
        di = dc * g * i * (1 - i)
        dg = dc * i * (1 - g**2)
        dz = np.concatenate([di, df, dg, do], 1)
        d["weight_ih"] += dz.T @ x[t]
        d["weight_hh"] += dz.T @ a_before
        d["bias_ih"] += dz.sum(0)
        d["weight_y"] += d_scores.T @ a
        da_next, dc_next = dz @ U, dc * f
        # lab: end
    return d


def by_autograd(cell: nn.LSTMCell, Wy: Any, x: Any, y: Any, detach: bool) -> dict[str, Any]:
    """The same by the tape; ``detach``: states are detached at every step."""
    cell.zero_grad()
    Wy.grad = None
    h, c = tg.zeros(x.shape[1], cell.hidden_size), tg.zeros(x.shape[1], cell.hidden_size)
    loss: Any = 0.0
    for x_t, y_t in zip(x, y, strict=True):
        h, c = cell(tg.tensor(x_t), (h.detach(), c.detach()) if detach else (h, c))
        loss = loss + nn.functional.cross_entropy(h @ Wy.T, tg.tensor(y_t)) / len(x)
    loss.backward()
    leaves: list[Any] = [cell.weight_ih, cell.weight_hh, cell.bias_ih, Wy]
    return {name: p.grad.numpy() for name, p in zip(NAMES, leaves, strict=True)}


def gap(found: dict[str, Any], right: dict[str, Any]) -> dict[str, float]:
    """Relative distance, of the recurrent and input weights of each gate together."""
    H = len(right["bias_ih"]) // 4
    parts = {gate: slice(k * H, (k + 1) * H) for k, gate in enumerate("ifgo")}
    joined = {
        g: [np.concatenate([d["weight_ih"][r], d["weight_hh"][r]], 1) for d in (found, right)] for g, r in parts.items()
    }
    joined |= {"y": [found["weight_y"], right["weight_y"]]}
    return {gate: float(np.linalg.norm(a - b) / np.linalg.norm(b)) for gate, (a, b) in joined.items()}


def measured(size: Size, seed: int, **mistake: bool) -> Result:
    """The hand-written backward pass against autograd, whole and with each mistake."""
    rng = np.random.default_rng(seed)
    T, N, inputs, H, classes = (12, 3, 4, 6, 5) if size == "quick" else (60, 8, 16, 32, 20)
    cell, Wy = nn.LSTMCell(inputs, H), tg.tensor(rng.standard_normal((classes, H)), requires_grad=True)
    x, y = rng.standard_normal((T, N, inputs)), rng.integers(0, classes, (T, N))
    own: list[Any] = [cell.weight_ih, cell.weight_hh, cell.bias_ih + cell.bias_hh, Wy]
    weights = [p.detach().numpy() for p in own]
    whole = by_autograd(cell, Wy, x, y, detach=False)
    cut = by_autograd(cell, Wy, x, y, detach=True)
    right = max(gap(by_hand(weights, x, y, **mistake), whole).values())
    gaps = {name: gap(by_hand(weights, x, y, **options), whole) for name, options in MISTAKES.items()}
    alone = by_hand(weights, x, y, carry_da=False, carry_dc=False)
    same = max(gap(alone, cut).values())
    slipped = by_hand(weights, x, y, slip=True)["weight_hh"][3 * H :]
    of_o = whole["weight_hh"][3 * H :]
    cosine = float((slipped * of_o).sum() / np.linalg.norm(slipped) / np.linalg.norm(of_o))
    least = {name: max(values.values()) for name, values in gaps.items()}
    checks = [
        Check("hand-written is autograd's", right, "<", 1e-12, "relative; rounding of 12 steps, 6e-16 in 20 seeds"),
        Check("one step alone is detaching every step", same, "<", 1e-12, "relative; the same program"),
        Check(
            "one step alone differs from the whole",
            least["neither: one step alone"],
            ">",
            0.1,
            "0.52 the least of 20 seeds",
        ),
        Check(
            "da must be carried", least["da not carried"], ">", 0.03, "largest over gates; 0.13 the least of 20 seeds"
        ),
        Check(
            "dc must be carried", least["dc not carried"], ">", 0.05, "largest over gates; 0.44 the least of 20 seeds"
        ),
        Check("S2's factor is another direction", cosine, "<", 0.8, "cosine of dU_o; 0.67 the largest of 20 seeds"),
    ]
    numbers = {f"{name}: largest relative gap": value for name, value in least.items()}
    numbers |= {"cosine of dU_o with S2's factor": cosine, "hand-written against autograd": right}
    arrays = {name: np.array(list(values.values())) for name, values in gaps.items()}
    because = (
        f"with da and dc carried the gap to autograd is {right:.0e}; one step alone is up to "
        f"{least['neither: one step alone']:.0%} off, and S2's factor turns dU_o to a cosine of {cosine:.2f}"
    )
    return Result(checks, "slip in the source", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """Gaps by gate and mistake."""
    ax = figure.subplots()
    places = np.arange(5)
    for k, (name, hatch) in enumerate(zip(MISTAKES, ("", "//", "..", "xx"), strict=True)):
        style = {"facecolor": "none", "edgecolor": COLOURS[k], "hatch": hatch, "linewidth": 1.2}
        ax.bar(places + 0.2 * (k - 1.5), 100 * arrays[name], 0.18, label=name, **style)
    ax.set_xticks(places, ["input i", "forget f", "content g", "output o", "read-out W_y"])
    ax.set_ylabel("gap to the gradient (% of its norm)")
    ax.set_xlabel("weights of the gate")
    ax.legend(fontsize=8)


@experiment(
    34,
    "BPTT by hand",
    source="question and answer S2; Hochreiter and Schmidhuber 1997; Greff et al. 2015, appendix",
    seconds=0.1,
    full_seconds=2,
)
def run(size: Size, seed: int) -> Result:
    """Which terms the gradient of an LSTM has."""
    return measured(size, seed)


@run.broken("da is not carried from step to step", fails="hand-written is autograd's")
def without_da(size: Size, seed: int) -> Result:
    """What goes back through the hidden state is left out."""
    return measured(size, seed, carry_da=False)


@run.broken("dc is not carried from step to step", fails="hand-written is autograd's")
def without_dc(size: Size, seed: int) -> Result:
    """What goes back through the cell is left out."""
    return measured(size, seed, carry_dc=False)


@run.broken("S2's factor 1 - tanh² c in dW_o", fails="hand-written is autograd's")
def slip_of_s2(size: Size, seed: int) -> Result:
    """The derivative of the wrong factor of a = o tanh c."""
    return measured(size, seed, slip=True)


@run.smallest
def smallest() -> tg.Tape:
    """Two steps of one unit: look where the two carried values come back to step 0."""
    U, c = tg.tensor([0.5, 0.9, -0.7, 0.4], requires_grad=True), tg.tensor(0.3)
    a = tg.tensor(0.2)
    with tg.Tape() as tape:
        for t in range(2):
            with tape.at(t=t):
                z = U * a + 0.5
                i, f, g, o = z[0].sigmoid(), z[1].sigmoid(), z[2].tanh(), z[3].sigmoid()
                c = f * c + i * g
                a = o * c.tanh()
        a.backward()
    return tape

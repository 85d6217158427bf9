r"""The forget gate must start open: at bias b an LSTM's cell keeps a share s(b) per step, and bias 0 loses half.

The notes S0 give the advice, with Jozefowicz et al. (2015): start the bias of the forget gate at 1. It holds: the
mean of the forget gate is the sigmoid of the bias, and what remains after 50 steps rises by many powers of ten with
it (left picture). Two things should be added.

*Two biases.* Layers here, in PyTorch and in cuDNN have `bias_ih` and `bias_hh`, and the gate sees their sum. Setting
"the bias" to 1 in both opens the gate to $s(2) = 0.88$, not to $s(1) = 0.73$. `nn.LSTM(..., forget_bias=1)` sets the
sum.

*Open enough for what?* At bias 1 the direct way loses half in 2 steps, which is little for a task of 100. Bias 5
keeps for 100 steps. The bias for a memory of $T$ steps is about $\log T$ (Tallec and Ollivier 2018).

The slope of the *whole* derivative $dc_T/dc_0$ is not the mean of $\log f$: it falls more slowly, since $c$ also
reaches later cells through $h$ (solid lines; the dashed ones are the direct way alone). At bias 5 it does not fall at
all.

## Mathematics
With $h$ held fixed $\partial c_T / \partial c_0 = \prod_t \operatorname{diag}(f_t)$, so each unit falls by $\frac1T
\sum_t \log f_t \approx \log s(b)$ nats a step: half-lives of 1.0, 2.2, 5.5 and 103 steps for $b$ = 0, 1, 2, 5.

## Try it
>>> import tinygrad_rnn as tg
>>> _ = tg.manual_seed(0)
>>> x = tg.randn(100, 4, 8)
>>> for b in (0.0, 1.0, 5.0):
...     print(b, round(float(tg.diagnostics.gates(tg.nn.LSTM(8, 32, forget_bias=b), x)["f"].mean.mean()), 2))
0.0 0.5
1.0 0.73
5.0 0.99

## It would be false if
the mean of the forget gate did not follow the bias, or a gate that starts open carried no more over 50 steps than one
that starts half closed.

## Exercise
Draw the biases of the units as $\log u$, $u$ uniform between 1 and 99 (and the negative in the input gate). Compare
the decay with bias 1 and bias 5. Which lags does each cover?
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics, nn
from tinygrad_rnn.diagnostics.result import COLOURS, MARKERS

from ..experiment import Check, Result, Size, experiment

BIASES = (0.0, 1.0, 2.0, 5.0)


def layer(b: float, H: int, both: bool) -> nn.LSTM:
    """An LSTM whose forget gate starts with bias b, or with b in each of its two biases."""
    net = nn.LSTM(8, H, forget_bias=b)
    if both:
        with tg.no_grad():
            net.bias_ih_l0[H : 2 * H] = b
            net.bias_hh_l0[H : 2 * H] = b
    return net


def direct(net: nn.LSTM, x: Any) -> tuple[Any, Any]:
    """d c_T / d c_0 of each unit with h held fixed in the gates, and the product of the forget gates."""
    # lab: begin
    H = net.hidden_size
    c_0 = tg.zeros(H, requires_grad=True)
    h, c, product = tg.zeros(H), c_0, tg.ones(H)
    for x_t in x:
        a = net.weight_ih_l0 @ x_t + net.bias_ih_l0 + net.weight_hh_l0 @ h.detach() + net.bias_hh_l0
        i, f, g, o = a[:H].sigmoid(), a[H : 2 * H].sigmoid(), a[2 * H : 3 * H].tanh(), a[3 * H :].sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        product = product * f.detach()
    c.sum().backward()
    # lab: end
    return c_0.grad.numpy(), product.numpy()


def measured(size: Size, seed: int, both: bool = False) -> Result:
    """Gates and decays of nets that differ in the bias of their forget gate."""
    T, H = (100, 32) if size == "quick" else (400, 128)
    lag = 50
    arrays: dict[str, Any] = {}
    numbers: dict[str, Any] = {}
    away, kept, gaps, wrong = 0.0, [], [], 0.0
    x = tg.randn(T, 4, 8)
    for b in BIASES:
        net = layer(b, H, both)
        found = diagnostics.gates(net, x)["f"]
        whole = diagnostics.flow(net, x, of="c").log_norms["c"][::-1]
        gates = nn.LSTM(8, H, return_gates=True)
        gates.load_state_dict(net.state_dict())
        logs = np.log(gates(x)[-1]["f"].detach().numpy()[:, 0])
        through = np.concatenate([[0.0], 0.5 * np.log(np.exp(2 * logs[::-1].cumsum(0)).mean(1))])
        by_sweep, product = direct(net, x[:20, 0])
        wrong = max(wrong, float(abs(by_sweep / product - 1).max()))
        sigmoid = 1 / (1 + math.exp(-b))
        away = max(away, abs(float(found.mean.mean()) - sigmoid))
        kept.append(whole[lag] - whole[0])
        gaps.append((whole[-1] - whole[0]) / T - logs.mean())
        arrays |= {f"whole {b:g}": whole - whole[0], f"direct {b:g}": through}
        numbers[f"bias {b:g}: mean f (sigmoid {sigmoid:.3f})"] = float(found.mean.mean())
        numbers[f"bias {b:g}: |dc_T/dc_(T-{lag})|, against lag 0"] = float(np.exp(kept[-1]))
    checks = [
        Check("mean f is the sigmoid of the bias", away, "<", 0.02, "0.010 the largest of 20 seeds"),
        Check("direct way is the product of f", wrong, "<", 1e-12, "rounding of 20 products"),
        Check(
            "each larger bias carries further",
            min(np.diff(kept)),
            ">",
            1.0,
            "nats at lag 50; 2.5 the smallest of 20 seeds",
        ),
        Check("whole falls more slowly than log f", min(gaps), ">", 0.0, "nats a step; 0.02 the smallest of 20 seeds"),
        Check("but not by much", max(gaps), "<", 0.35, "nats a step; 0.26 the largest of 20 seeds"),
    ]
    because = (
        f"bias 0 leaves {np.exp(kept[0]):.0e} of a cell's gradient after {lag} steps, bias 5 {np.exp(kept[-1]):.2g}"
    )
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays, numbers))


def draw(figure: Any, arrays: dict[str, Any], numbers: dict[str, Any]) -> None:
    """Decay curves to the left, open gates to the right."""
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    for k, b in enumerate(BIASES):
        whole, through = arrays[f"whole {b:g}"] / math.log(10), arrays[f"direct {b:g}"] / math.log(10)
        every = len(whole) // 8
        left.plot(whole, color=COLOURS[k], marker=MARKERS[k], markersize=5, markevery=every, label=f"bias {b:g}")
        left.plot(through, color=COLOURS[k], linestyle="--", linewidth=1)
    left.set_xlabel("lag k (steps)")
    left.set_ylabel("log₁₀ of what is left of |∂c_T/∂c_(T-k)|")
    left.set_title("whole derivative (dashed: direct way)", fontsize=10)
    left.legend(fontsize=8)
    line = np.linspace(-0.5, 5.5, 61)
    right.plot(line, 1 / (1 + np.exp(-line)), color=COLOURS[6], linewidth=1, label="sigmoid")
    for k, (b, mean) in enumerate(zip(BIASES, [v for n, v in numbers.items() if "mean f" in n], strict=True)):
        right.plot([b], [mean], color=COLOURS[k], marker=MARKERS[k])
    right.set_xlabel("bias of the forget gate")
    right.set_ylabel("mean of the forget gate")
    right.legend(fontsize=8, loc="lower right")


@experiment(
    9,
    "Forget bias",
    source="notes S0; Jozefowicz, Zaremba and Sutskever 2015; Gers, Schmidhuber and Cummins 2000",
    seconds=0.2,
    full_seconds=10,
)
def run(size: Size, seed: int) -> Result:
    """What the bias of the forget gate does to the gate, and to the gradient of the cell."""
    return measured(size, seed)


@run.broken("both biases set to b", fails="mean f is the sigmoid of the bias")
def both_biases(size: Size, seed: int) -> Result:
    """The gate sees the sum of two biases, each of which is set."""
    return measured(size, seed, both=True)


@run.smallest
def smallest() -> tg.Tape:
    """Four steps of a cell that only forgets: its derivative is the product of the gates."""
    b, c_0 = tg.tensor(1.0, requires_grad=True), tg.tensor(0.5, requires_grad=True)
    c = c_0
    with tg.Tape() as tape:
        for t in range(4):
            with tape.at(t=t):
                f = b.sigmoid()
                c = f * c
        c.backward()
    return tape

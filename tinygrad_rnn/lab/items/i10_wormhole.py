r"""An LSTM's cell is a wormhole through time: a value written once comes out unchanged after 1,000 steps.

The notes S0 draw the cell as a tunnel: the forget gate open, the input gate shut, and the output gate shut until the
value is wanted. It holds if the gates are *exactly* 1 and 0, which mathematics never allows and floating point does:
the sigmoid rounds to 1 from 37 on in float64, from 17 on in float32. Then not one bit of the cell changes in a
thousand steps, and the derivative of the output at the end with respect to the input at the beginning is what it
would be over one step (left picture).

Near is not enough. A forget bias of 10 loses $4.5 \cdot 10^{-5}$ per step, 4 % in 1,000 steps; a bias of 5 leaves 1
in a thousand (right picture). And there is a price: where a gate is exactly 1 or 0 its slope is 0, so that the gates
of a perfect tunnel get no gradient, and could not have been learned.

## Mathematics
$$c_t = f_t c_{t-1} + i_t g_t, \quad h_t = o_t \tanh c_t; \qquad
\frac{\partial h_T}{\partial x_0} = i_0 \, g'(x_0) \Big( \prod_{t=1}^{T} f_t \Big) o_T \, (1 - \tanh^2 c_T)$$
With $f_t = s(b)$ what remains after $T$ steps is $s(b)^T \approx \exp(-T e^{-b})$: half of it after $0.69 \, e^b$
steps.

## Try it
>>> import tinygrad_rnn as tg
>>> for b in (5.0, 10.0, 37.0):
...     print(b, round(float(tg.sigmoid(tg.tensor(b, dtype=tg.float64)) ** 1000), 4))
5.0 0.0012
10.0 0.9556
37.0 1.0

## It would be false if
a cell whose forget gate is 1 and whose input gate is 0 in floating point changed by one bit, or if its derivative
over 1,000 steps were smaller than over one.

## Exercise
Let the noise in: put a random input at every step, with weight 1 to the input gate. How large must the bias that
shuts the gate be, so that the value comes back to 1 % after 1,000 steps?
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

BIASES = (2.0, 5.0, 8.0, 10.0, 15.0, 20.0, 37.0)


def tunnel(value: float, T: int, forget: float, dtype: Any = tg.float64) -> dict[str, Any]:
    """Write a value at step 0, hold it, read it at step T.

    Args:
        forget: the bias of the forget gate.
    """
    # lab: begin
    net = nn.LSTM(3, 1, return_cells=True, dtype=dtype)  # reads (value, write, read)
    with tg.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.weight_ih_l0[0, 1] = net.weight_ih_l0[3, 2] = 1600.0  # "write" opens the input gate, "read" the output gate
        net.weight_ih_l0[2, 0] = 1.0  # the candidate is tanh(value)
        net.bias_ih_l0.copy_(tg.tensor([-800.0, forget, 0.0, -800.0]))  # rows i, f, g, o
    x = tg.zeros(T + 1, 1, 3, dtype=dtype)
    x[0, 0, 0], x[0, 0, 1], x[T, 0, 2] = value, 1.0, 1.0
    x.requires_grad_()
    output, _, cells = net(x)
    output[T].sum().backward()
    # lab: end
    with tg.no_grad():  # there are no recurrent weights, so gates are those of the input
        rows = tg.sigmoid(nn.functional.linear(x[:, 0], net.weight_ih_l0, net.bias_ih_l0)).numpy()
    traces = {name: rows[:, row] for name, row in (("i", 0), ("f", 1), ("o", 3))}
    traces |= {"h": output.detach().numpy()[:, 0, 0], "c": cells.detach().numpy()[:, 0, 0]}
    return traces | {"dx": float(x.grad[0, 0, 0]), "to gates": float(abs(net.bias_ih_l0.grad[[0, 1, 3]]).max())}


def measured(size: Size, seed: int, forget: float = 800.0) -> Result:
    """One tunnel, then what is left behind others whose forget gate is not quite open."""
    T = 1000 if size == "quick" else 10000
    value = float(np.random.default_rng(seed).uniform(0.2, 0.9))
    found = tunnel(value, T, forget)
    c = found["c"]
    changed = int((c[1:] != c[0]).sum())
    want = (1 - math.tanh(value) ** 2) * (1 - math.tanh(c[-1]) ** 2)
    single = tunnel(value, T, 17.0, tg.float32)["c"]
    less = {b: tunnel(value, T, b)["c"] for b in BIASES}
    left = np.array([series[-1] / series[0] for series in less.values()])
    predicted = np.array([(1 / (1 + math.exp(-b))) ** T for b in BIASES])
    checks = [
        Check("steps at which the cell has changed", changed, "==", 0, "f = 1 and i g = 0 are exact in float64"),
        Check("output until it is read", abs(found["h"][:-1]).max(), "==", 0, "s(-800) is 0 in float64"),
        Check("derivative is that of one step", abs(found["dx"] / want - 1), "<", 1e-14, "rounding of four factors"),
        Check("float32 from a bias of 17", int((single != single[0]).sum()), "==", 0, "s(17) is 1 in float32"),
        Check("others leak as s(b)^T", abs(left - predicted).max(), "<", 1e-11, "T roundings of 1e-16"),
        Check("gradient of the gates' biases", found["to gates"], "==", 0.0, "the slope of a gate at 0 or 1 is 0"),
    ]
    numbers = {f"left after {T} steps, forget bias {b:g}": float(v) for b, v in zip(BIASES, left, strict=True)}
    numbers |= {"dh_T/dx_0": found["dx"], "value": value, "read": float(found["h"][-1])}
    arrays = {name: found[name] for name in "cifoh"} | {"left": left, "bias": np.array(BIASES)}
    arrays["leaking"] = less[10.0]
    because = (
        f"the gates are exactly 1 and 0: {changed} of {T} steps change the cell, and dh_T/dx_0 = {found['dx']:.3f}"
    )
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """Cell, gates and output over time to the left; what leaks to the right."""
    grid = figure.add_gridspec(5, 2, width_ratios=(3, 2))
    top = figure.add_subplot(grid[:2, 0])
    top.plot(arrays["c"], color=COLOURS[0], label="cell, f = 1")
    top.plot(arrays["leaking"], color=COLOURS[3], linestyle="--", label="cell, forget bias 10")
    top.plot(arrays["h"], color=COLOURS[2], linestyle=":", linewidth=2, label="output")
    top.set_ylim(-0.05, 1.0)
    top.set_ylabel("value")
    top.tick_params(labelbottom=False)
    top.legend(fontsize=8, ncols=2, loc="upper center")
    for k, gate in enumerate("ifo"):
        ax = figure.add_subplot(grid[2 + k, 0])
        ax.plot(arrays[gate], drawstyle="steps-mid", color=COLOURS[k], linewidth=2)
        ends = np.array([0, len(arrays[gate]) - 1])
        ax.plot(ends, arrays[gate][ends], linestyle="", color=COLOURS[k], marker=MARKERS[k])
        ax.set_ylabel(("i", "f", "o")[k], rotation=0)
        ax.set_ylim(-0.2, 1.3)
        ax.set_yticks([0, 1])
        ax.tick_params(labelbottom=k == 2)
    ax.set_xlabel("time step")
    right = figure.add_subplot(grid[:, 1])
    lost = 1 - arrays["left"]
    right.plot(arrays["bias"][lost > 0], lost[lost > 0], color=COLOURS[4], marker=MARKERS[3])
    right.set_yscale("log")
    right.set_xlim(0, 40)
    right.axvline(37, color=COLOURS[4], linestyle="--", linewidth=1)
    right.text(36, 1e-3, "from 37 on nothing is lost", color=GREY, rotation=90, ha="right", va="center", fontsize=9)
    right.set_xlabel("bias of the forget gate")
    right.set_ylabel(f"share lost after {len(arrays['c']) - 1} steps")


@experiment(
    10,
    "Wormhole",
    source="notes S0; the constant error carousel: Hochreiter and Schmidhuber 1997, section 3.2",
    seconds=0.1,
    full_seconds=2,
)
def run(size: Size, seed: int) -> Result:
    """Whether a cell keeps a value, and its gradient, over 1,000 steps."""
    return measured(size, seed)


@run.broken("a forget bias of 10 taken for an open gate", fails="steps at which the cell has changed")
def nearly_open(size: Size, seed: int) -> Result:
    """The gate is 0.99995: the cell loses 4.5e-5 of itself per step."""
    return measured(size, seed, forget=10.0)


@run.smallest
def smallest() -> tg.Tape:
    """Written at step 0, held for two steps, read at step 3."""
    x_0 = tg.tensor(0.3, requires_grad=True)
    c = tg.tensor(0.0)
    with tg.Tape() as tape:
        for t, (x, i, o) in enumerate([(x_0, 1.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)]):
            with tape.at(t=t):
                g = tg.tanh(1.0 * x) if t == 0 else 0.0
                c = 1.0 * c + i * g
                h = o * tg.tanh(c)
        h.backward()
    return tape

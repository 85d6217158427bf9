r"""An LSTM is trained by BPTT as well; it is steadier than a plain RNN only if its forget gate starts open.

"LSTM uses BPTT too, only its gradient is steadier." So ends the answer S2. The first half holds: if the states are
detached at every step, so that nothing goes back through time, the gradient is another one, by 35 to 95 % of its
norm, for RNN, GRU and LSTM alike (right picture, at 1).

The second half depends on the start. With the forget gate's bias at 0 an LSTM forgets half in about one and a half
steps, hardly later than a plain RNN (1.2) and no later than a GRU (1.5): all three vanish (left picture). With a bias
of 1 it is 3.6 steps, with 2 it is 12. What makes the difference is the gate being open, not the equations as such. In
one sense the gated nets are steadier anyway: over nets that differ in their draws, the rate at which a plain RNN's
gradient falls varies several times as much.

## Mathematics
$$\frac{\partial s_T}{\partial s_k} = \prod_{t=k+1}^{T} J_t, \qquad
\log \Big\lVert \frac{\partial s_T}{\partial s_k} \Big\rVert \approx (T - k) \, \lambda, \qquad
\text{half-life} = \frac{\log 2}{-\lambda}$$
Along the cell alone $J_t = \operatorname{diag}(f_t)$, so that $\lambda \approx \log s(b)$ for a forget bias $b$.

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn import diagnostics
>>> _ = tg.manual_seed(0)
>>> x = tg.randn(100, 1, 8)
>>> for b in (0.0, 1.0, 2.0):
...     print(round(diagnostics.flow(tg.nn.LSTM(8, 32, forget_bias=b), x).half_life))
1
4
13

## It would be false if
detaching the states at every step gave the same gradient, or if an LSTM with a forget bias of 0 remembered longer
than a GRU.

## Exercise
At which bias of its *update* gate has a GRU the half-life of an LSTM with a forget bias of 1? Why is it not 1?
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics, nn
from tinygrad_rnn.diagnostics.result import COLOURS, MARKERS

from ..experiment import Check, Result, Size, experiment

LENGTHS = (1, 3, 10, 30)


def layers(H: int) -> dict[str, Any]:
    """A fresh layer of each kind."""
    return {
        "RNN": nn.RNN(8, H),
        "GRU": nn.GRU(8, H),
        "LSTM, bias 0": nn.LSTM(8, H, forget_bias=0.0),
        "LSTM, bias 1": nn.LSTM(8, H, forget_bias=1.0),
        "LSTM, bias 2": nn.LSTM(8, H, forget_bias=2.0),
    }


def measured(size: Size, seed: int, longest: str = "LSTM, bias 1") -> Result:
    """Decay, and the gradient of what detaches, of several nets of each kind."""
    T, H, nets = (60, 32, 8) if size == "quick" else (300, 128, 20)
    slopes: dict[str, list[float]] = {}
    curves: dict[str, list[Any]] = {}
    away: dict[str, list[Any]] = {}
    for number in range(nets):
        # lab: begin
        x = tg.randn(T, 1, 8)
        for name, net in layers(H).items():
            flow = diagnostics.flow(net, x)  # log |d h_T / d (h_k, c_k)| for every k
            slopes.setdefault(name, []).append(flow.slope)
            curves.setdefault(name, []).append(flow.total[::-1] - flow.total[-1])
            if number > 1:  # two of each kind are enough for the gaps
                continue
            cut = diagnostics.truncated(net, lambda output: (output[0] ** 2).sum(), x, k=LENGTHS)
            ratio = np.exp(cut.log_ratio)
            gap = np.sqrt(np.maximum(0, 1 + ratio**2 - 2 * ratio * cut.cosine))  # |cut - whole| / |whole|
            away.setdefault(name, []).append(gap)
        # lab: end
    half = {name: math.log(2) / -float(np.median(values)) for name, values in slopes.items()}
    spread = {name: float(np.std(values)) for name, values in slopes.items()}
    least = float(min(gap[0] for gaps in away.values() for gap in gaps))
    checks = [
        Check(
            "gradient of what detaches every step is another",
            least,
            ">",
            0.1,
            "of the norm; 0.35 the least in 20 seeds",
        ),
        Check(
            "GRU against RNN", half["GRU"] / half["RNN"], ">", 1.0, "half-lives, medians; 1.24 the least of 20 seeds"
        ),
        Check(
            "LSTM against GRU", half[longest] / half["GRU"], ">", 1.8, "half-lives, medians; 2.27 the least of 20 seeds"
        ),
        Check(
            "LSTM, bias 0, against GRU", half["LSTM, bias 0"] / half["GRU"], "<", 1.1, "0.96 the largest of 20 seeds"
        ),
        Check(
            "bias 2 against bias 1", half["LSTM, bias 2"] / half["LSTM, bias 1"], ">", 2.0, "2.7 the least of 20 seeds"
        ),
        Check(
            "rates vary most for the RNN",
            spread["RNN"] / spread["LSTM, bias 0"],
            ">",
            1.0,
            "1.65 the least of 20 seeds",
        ),
    ]
    numbers = {f"half-life in steps, {name}": value for name, value in half.items()}
    numbers |= {f"standard deviation of nats per step, {name}": value for name, value in spread.items()}
    numbers["least gap of what detaches every step"] = least
    arrays = {f"decay, {name}": np.median(values, axis=0) for name, values in curves.items()}
    arrays |= {f"gap, {name}": np.median(values, axis=0) for name, values in away.items()}
    because = (
        f"the forget gate starts open: half-lives are {half['RNN']:.1f} steps (RNN), {half['GRU']:.1f} (GRU), and for "
        f"an LSTM {half['LSTM, bias 0']:.1f} (bias 0), {half['LSTM, bias 1']:.1f} (1), {half['LSTM, bias 2']:.0f} (2)"
    )
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """Decay to the left, what cutting off costs to the right."""
    left, right = figure.subplots(1, 2)
    for k, name in enumerate(layers(1)):
        style = {"color": COLOURS[k], "marker": MARKERS[k], "markersize": 5, "label": name}
        decay = arrays[f"decay, {name}"] / math.log(10)
        left.plot(decay, markevery=max(1, len(decay) // 8), **style)
        right.plot(LENGTHS, arrays[f"gap, {name}"], **style)
    left.set_xlabel("lag (steps)")
    left.set_ylabel("log₁₀ of what is left of |∂h_T/∂(h, c)|")
    left.legend(fontsize=8)
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xticks(LENGTHS, [str(k) for k in LENGTHS])
    right.minorticks_off()
    right.set_xlabel("states detached every k steps")
    right.set_ylabel("|gradient - whole| / |whole|")


@experiment(
    36,
    "LSTM is BPTT",
    source="question and answer S2; Hochreiter 1991; Jozefowicz, Zaremba and Sutskever 2015",
    seconds=1.0,
    full_seconds=30,
)
def run(size: Size, seed: int) -> Result:
    """Whether an LSTM needs BPTT, and how far its gradient reaches."""
    return measured(size, seed)


@run.broken("an LSTM with forget bias 0 expected to last longest", fails="LSTM against GRU")
def closed_gate(size: Size, seed: int) -> Result:
    """The gate starts half closed, as PyTorch draws it on average."""
    return measured(size, seed, longest="LSTM, bias 0")


@run.smallest
def smallest() -> tg.Tape:
    """Three steps of a cell: detach c before a step, and the sweep ends there."""
    w, b = tg.tensor(0.7, requires_grad=True), tg.tensor(1.0, requires_grad=True)
    c = tg.tensor(0.2)
    with tg.Tape() as tape:
        for t, x in enumerate([1.0, -0.5, 0.3]):
            with tape.at(t=t):
                f = b.sigmoid()
                c = f * c + tg.tanh(w * x)
        (c**2).backward()
    return tape

r"""Faster hardware computes the same vanishing gradients sooner: a million times the speed buys a few steps of memory.

S3: computers became about a million times faster from 1991 to 2015, which makes deep nets trainable "though this does
not overcome the vanishing gradient problem in a fundamental way". Schmidhuber (2013) says it in the same words, and how
much it buys: "a few layers further". That can be computed.

The left picture has the gradient of a plain RNN by lag, as three or four implementations compute it: NumPy's kernels,
compiled ones, single steps on the tape, and CuPy on a GPU where there is one. The curves coincide: how far back a
gradient reaches is a property of the weights, not of the machine. The right picture counts. If a lag has a gradient
$10^{-6}$ times as large, a million times more updates move the weights as far. As gradients fall exponentially, the
million is spent after $\ln 10^6 / |\text{slope}|$ steps, whatever the lag one started from. With a gate that is open
the same machine reaches several times as far.

## Mathematics
With $\lVert \partial h_T / \partial h_{T-k} \rVert \approx C e^{-\lambda k}$, equal progress at the lags $k$ and
$k + \Delta k$ with $n$ and $10^6 n$ updates means
$$10^6 \, e^{-\lambda (k + \Delta k)} = e^{-\lambda k} \quad \Longrightarrow \quad
\Delta k = \frac{\ln 10^6}{\lambda} = \frac{13.8}{\lambda} .$$
This takes for granted that the small gradients add up undisturbed. In float32, and beside the larger ones of shorter
lags, they do not, so it is an upper bound.

## Try it
>>> import numpy as np
>>> import tinygrad_rnn as tg
>>> _ = tg.manual_seed(0)
>>> flow = tg.diagnostics.flow(tg.nn.RNN(4, 32), tg.randn(60, 2, 4))
>>> bool(10 < np.log(1e6) / -flow.slope < 60)                           # steps that a million times more updates buy
True

## It would be false if
two implementations disagreed about a curve by more than rounding, or if gradients fell like a power of the lag: then a
million would buy a factor, not a number of steps.

## Exercise
How many times faster must a machine be to train this RNN at lag 200 as it is trained at lag 20? What forget bias does
the same for an LSTM?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS
from tinygrad_rnn.kernels.recurrent.interface import KernelUnavailable

from ...errors import DeviceError
from ..experiment import Check, Result, Size, experiment

MILLION = np.log(1e6)


MACHINES = {
    "NumPy": ("numpy", "fused", "cpu"),
    "Numba": ("numba", "fused", "cpu"),
    "steps on the tape": ("auto", "composed", "cpu"),
    "CuPy": ("auto", "fused", "cuda"),
}
"""Kernels, implementation and device of each."""


def coarse(a: Any) -> Any:
    """Numbers with 10 bits after the leading one, as the fast matrix products of GPUs take them (TF32)."""
    mantissa, exponent = np.frexp(a)
    return np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent).astype(a.dtype)


def ran(machine: str, layer: str, weights: Any, x: Any, round_off: bool) -> tuple[Any, Any, Any]:
    """Outputs, gradient by the input, and the flow of a layer, in float32 on one machine."""
    # lab: begin
    kernels, implementation, device = MACHINES[machine]
    rnn = make(layer, impl=implementation)
    rnn.load_state_dict({k: tg.tensor(coarse(v) if round_off else v) for k, v in weights.items()})
    rnn.to(device)
    with tg.backends.recurrent.only(kernels):
        given = tg.tensor(x, device=device, requires_grad=True)
        output, _ = rnn(given)
        (output[-1] ** 2).sum().backward()
        flow = diagnostics.flow(rnn, given.detach())
    return output.detach().cpu().numpy(), given.grad.cpu().numpy(), flow
    # lab: end


def make(layer: str, **options: Any) -> Any:
    """A plain RNN, or an LSTM whose forget gate begins open, in float32."""
    if layer == "RNN":
        return tg.nn.RNN(4, 32, dtype=tg.float32, **options)
    return tg.nn.LSTM(4, 32, forget_bias=2.0, dtype=tg.float32, **options)


def measured(size: Size, seed: int, round_off: bool = False, further: str = "steps") -> Result:
    """The same layers on all machines that are here; how far a million times more updates reach."""
    T = 60 if size == "quick" else 400
    x = np.random.default_rng(seed).standard_normal((T, 2, 4)).astype(np.float32)
    weights = {name: {k: v.numpy() for k, v in make(name).state_dict().items()} for name in ("RNN", "LSTM")}
    curves: dict[str, Any] = {}
    away, apart, slopes = 0.0, 0.0, {}
    missing: list[str] = []
    for layer, given in weights.items():
        expected = None
        for machine in MACHINES:
            try:
                outputs, gradient, flow = ran(machine, layer, given, x, round_off and machine != "NumPy")
            except (DeviceError, KernelUnavailable):  # no GPU, no CuPy or no Numba here
                missing.append(machine)
                continue
            log_norm = flow.log_norm[:, 0] if flow.log_norm.ndim > 1 else flow.log_norm
            curves[f"{layer}, {machine}"] = log_norm[::-1]
            if expected is None:
                expected, slopes[layer] = (outputs, gradient, log_norm), flow.slope
            for a, b in zip((outputs, gradient), expected, strict=False):
                away = max(away, float(np.abs(a - b).max() / np.abs(b).max()))
            apart = max(apart, float(np.abs(log_norm - expected[2]).max()))
    compared = [machine for machine in MACHINES if machine not in missing]
    steps = {layer: MILLION / -slope for layer, slope in slopes.items()}
    reach = steps["RNN"] if further == "steps" else 1e6 * np.log(2) / -slopes["RNN"]
    checks = [
        Check(
            "machines agree, outputs and gradients",
            away,
            "<",
            1e-5,
            "float32 sums in another order; the largest of 20 seeds 6e-7",
        ),
        Check("machines agree, decay curves (nats)", apart, "<", 1e-4, "the largest of 20 seeds 5e-7"),
        Check("at least two machines were compared", len(compared), ">=", 2, "NumPy and the tape are everywhere"),
        Check("steps that a million buys an RNN", reach, "between", (10, 60), "20 seeds: 20 to 31"),
        Check("an open gate buys more", steps["LSTM"] / steps["RNN"], ">", 3, "the least of 20 seeds 5.1"),
    ]
    numbers = {
        "compared": ", ".join(compared),
        "not run": ", ".join(dict.fromkeys(missing)) or "none",
        "steps that a million buys, RNN": steps["RNN"],
        "steps that a million buys, LSTM, forget bias 2": steps["LSTM"],
    }
    because = f"a million times the updates reach {steps['RNN']:.0f} steps further, with {', '.join(compared)} alike"
    if "CuPy" in missing:
        because = (
            f"a GPU computes the same, which could not be run here (it is, in the tests, where there is one); {because}"
        )
    verdict = "holds if" if "CuPy" in missing else "holds"
    return Result(checks, verdict, because, numbers, curves, lambda figure: draw(figure, curves, slopes))


def draw(figure: Any, curves: dict[str, Any], slopes: dict[str, float]) -> None:
    """Decay curves of all machines, and the lag that can be learned by the number of updates."""
    left, right = figure.subplots(1, 2)
    for name, logs in curves.items():
        machine = name.partition(", ")[2]
        j = list(MACHINES).index(machine)
        every = (2 * j, 10)  # markers of machines side by side, as the lines are the same
        style = "-" if name.startswith("RNN") else "--"
        label = machine if name.startswith("RNN") else None
        left.plot(
            logs / np.log(10), style, color=COLOURS[j], marker=MARKERS[j], markevery=every, markersize=5, label=label
        )
    left.set_xlabel("lag (steps); solid: RNN, dashed: LSTM")
    left.set_ylabel("log₁₀ |∂h_T / ∂h_(T-lag)|")
    left.legend(fontsize=8)
    faster = np.logspace(0, 6, 7)
    for k, (layer, slope) in enumerate(slopes.items()):
        label = "LSTM, forget bias 2" if layer == "LSTM" else layer
        right.plot(
            faster, np.log(faster) / -slope, "--" if k else "-", color=COLOURS[k], marker=MARKERS[k], label=label
        )
    right.axhline(0, color=GREY, linewidth=0.8)
    right.set_xscale("log")
    right.set_xlabel("times as many updates")
    right.set_ylabel("steps further back")
    right.legend(fontsize=8)


@experiment(
    43,
    "Faster hardware",
    source="encyclopaedia S3, faster hardware; Schmidhuber 2013, fundamental deep learning problem",
    seconds=0.2,
    full_seconds=2,
)
def run(size: Size, seed: int) -> Result:
    """Whether a faster machine has other gradients, and how far a million times more updates reach."""
    return measured(size, seed)


@run.broken("speed is bought with precision", fails="machines agree, outputs and gradients")
def speed_for_precision(size: Size, seed: int) -> Result:
    """The faster machines round weights to 10 bits, as fast matrix products do."""
    return measured(size, seed, round_off=True)


@run.broken('"a million times faster is a million times further"', fails="steps that a million buys an RNN")
def a_million_times_further(size: Size, seed: int) -> Result:
    """The half-life of the gradient is multiplied by a million."""
    return measured(size, seed, further="times")


@run.smallest
def smallest() -> tg.Tape:
    """Six steps, of which each halves the gradient."""
    w, h_0 = tg.tensor(0.5, requires_grad=True), tg.tensor(0.01, requires_grad=True)
    with tg.Tape() as tape:
        h = h_0
        for t in range(1, 7):
            with tape.at(t=t):
                h = tg.tanh(w * h)
        h.backward()
    return tape

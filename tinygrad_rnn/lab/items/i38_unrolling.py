r"""An RNN over T steps is a feedforward net of T layers, a new layer for each step, that all share one set of weights.

Hochreiter's thesis (1991) explained vanishing gradients in recurrent nets this way, and the encyclopaedia's page (S3)
repeats it: a recurrent net is trained "by unfolding it into a very deep feedforward network, where a new layer is
created for each time step". It holds to the last digits: below the layers are written out one by one, as modules that
share their weights, and outputs and gradients are those of the recurrent layer.

What the sentence leaves out is the sharing. A layer of the unrolled net has a gradient of its own (bars), and the
gradient of the recurrent weight is the sum of all these; they are the terms that `diagnostics.shares` finds inside the
recurrent layer (dots). A deep net with a weight for each layer would have $T$ times the parameters, and could make up
for a factor that shrinks in one layer by the next. An RNN cannot: it is the same factor.

## Mathematics
$$h_t = \tanh(W_t h_{t-1} + V x_t + b), \quad W_1 = \dots = W_T = W \quad \Longrightarrow \quad
\frac{\partial E}{\partial W} = \sum_{t=1}^{T} \frac{\partial E}{\partial W_t} .$$

## Try it
>>> import tinygrad_rnn as tg
>>> layer = tg.nn.Linear(3, 3)
>>> deep = tg.nn.Sequential(*[m for _ in range(5) for m in (layer, tg.nn.Tanh())])    # five layers, one weight
>>> sum(p.numel() for p in deep.parameters())
12

## It would be false if
the two nets differed by more than rounding, in one output or in one gradient.

## Exercise
Give the unrolled net weights of its own in each layer, all equal at first, and make one step of gradient descent. By
how much do the layers differ afterwards? Compare with the bars.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.diagnostics.result import COLOURS, MARKERS

from ..experiment import Check, Result, Size, experiment

PARAMETERS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def unrolled(weights: list[dict[str, tg.Tensor]], x: tg.Tensor) -> Any:
    """The states of a feedforward net with a layer for each step, one row each."""
    # lab: begin
    h = tg.zeros(x.shape[1], len(weights[0]["weight_hh_l0"]))
    states = []
    for layer, x_t in zip(weights, x, strict=True):  # a new layer for each time step
        read = x_t @ layer["weight_ih_l0"].T + layer["bias_ih_l0"]
        h = tg.tanh(read + h @ layer["weight_hh_l0"].T + layer["bias_hh_l0"])
        states.append(h)
    return tg.stack(states)
    # lab: end


def measured(size: Size, seed: int, fresh: bool = False, last_layer_alone: bool = False) -> Result:
    """A recurrent layer and a feedforward net of as many layers as there are steps."""
    T, H = (30, 16) if size == "quick" else (200, 64)
    rnn, x = tg.nn.RNN(4, H), tg.randn(T, 3, 4)
    target = tg.randn(3, H)
    given = [rnn] + [tg.nn.RNN(4, H) if fresh else rnn for _ in range(T - 1)]
    # a copy for each layer, so that each has its own gradient
    weights = [{k: getattr(one, k).detach().clone().requires_grad_(True) for k in PARAMETERS} for one in given]

    def loss(states: tg.Tensor) -> Any:
        return ((states[-1] - target) ** 2).mean()

    deep, recurrent = unrolled(weights, x), rnn(x)[0]
    loss(deep).backward()
    loss(recurrent).backward()
    away = 0.0
    for name in PARAMETERS:
        gradients = [layer[name].grad.numpy() for layer in weights]
        total = gradients[-1] if last_layer_alone else sum(gradients)
        expected = getattr(rnn, name).grad.numpy()
        away = max(away, float(np.abs(total - expected).max() / np.abs(expected).max()))
    norms = np.array([np.linalg.norm(layer["weight_hh_l0"].grad.numpy()) for layer in weights])
    inside = np.exp(diagnostics.shares(rnn, lambda output: loss(output[0]), x)["weight_hh_l0"].log_norm)
    checks = [
        Check("the same states", (deep - recurrent).abs().max().item(), "<", 1e-12, "rounding of T sums"),
        Check("layers' gradients add up to the RNN's", away, "<", 1e-10, "rounding, relative to the largest entry"),
        Check(
            "layers' gradients are the RNN's shares", np.abs(norms - inside).max() / norms.max(), "<", 1e-12, "rounding"
        ),
        Check("the first layer that is reached has a gradient", norms[1], ">", 0.0, "W_1 meets h_0 = 0, W_2 does not"),
    ]
    shared = sum(p.numel() for p in rnn.parameters())
    numbers = {
        "parameters of the RNN": shared,
        "parameters with weights for each layer": shared * T,
        "|gradient of layer 2| / |of the last|": norms[1] / norms[-1],
    }
    because = (
        f"{T} layers with one set of weights have the RNN's states, and gradients that add up to its, to {away:.0e}"
    )
    arrays = {"layers": norms, "shares": inside}
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """The gradient of each layer, and the recurrent layer's share of the same step."""
    ax = figure.subplots()
    steps = np.arange(1, len(arrays["layers"]) + 1)[1:]  # the first is 0: h_0 is
    ax.bar(steps, arrays["layers"][1:], color=COLOURS[5], label="unrolled net: gradient of the layer's own weight")
    label = "recurrent layer: share of the step (diagnostics.shares)"
    ax.plot(
        steps, arrays["shares"][1:], color=COLOURS[3], linestyle="none", marker=MARKERS[0], markersize=4, label=label
    )
    ax.set_yscale("log")
    ax.set_xlabel("layer, or time step; the loss is behind the last")
    ax.set_ylabel("|∂E / ∂W_t|")
    ax.legend(fontsize=8, loc="upper left")


@experiment(
    38, "Unrolling", source="Hochreiter 1991; encyclopaedia S3, vanishing gradient problem", seconds=0.1, full_seconds=1
)
def run(size: Size, seed: int) -> Result:
    """Whether a recurrent layer is a deep net with shared weights."""
    return measured(size, seed)


@run.broken("fresh weights for each layer", fails="the same states")
def fresh_weights(size: Size, seed: int) -> Result:
    """A new layer is created for each time step, with weights of its own."""
    return measured(size, seed, fresh=True)


@run.broken("the gradient of one layer for that of all", fails="layers' gradients add up to the RNN's")
def one_layer(size: Size, seed: int) -> Result:
    """The layers' gradients are not added: the last layer's stands for all."""
    return measured(size, seed, last_layer_alone=True)


@run.smallest
def smallest() -> tg.Tape:
    """Four layers of two units that share one weight."""
    layer = tg.nn.Linear(2, 2)
    h = tg.tensor([0.5, -1.0])
    with tg.Tape() as tape:
        for t in range(1, 5):
            with tape.at(t=t):
                h = tg.tanh(layer(h))
        h.sum().backward()
    return tape

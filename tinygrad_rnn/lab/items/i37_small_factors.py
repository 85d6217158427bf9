r"""A chain of small factors: each layer multiplies the gradient by a number below 1, and front layers hardly learn.

S3 explains vanishing gradients so: activations such as tanh have slopes between 0 and 1, the chain rule multiplies $n$
such numbers, and the layers in front get a gradient that is exponentially small in $n$. That is right as far as it
goes, and the factor can be said beforehand, to a percent, without any network (curves; dots are measured).

It also shows what is left out. The factor of a layer is the slope *times the size of the weights*. With weights of
standard deviation $\sigma / \sqrt{n}$ a tanh network has a factor below 1 only where $\sigma$ is small, about 1 at
$\sigma = 1$, and explodes above. For the sigmoid no usual size helps: its slope is 1/4 at most, its factor stays below
0.6 up to $\sigma = 3$. He's $\sigma = \sqrt 2$ is made for ReLU, whose squared slope is 1/2 on average; a sigmoid
network that is drawn like that still loses two thirds at every layer. (S3 gives $(-1, 1)$ for the slope of tanh; it is
$(0, 1]$.)

## Mathematics
With $z_l = W_l h_{l-1}$, $h_l = s(z_l)$, and independent entries of $W_l$ of variance $\sigma^2 / n$, wide layers give
$$q_{l+1} = \sigma^2 \, \mathbb{E}\, s(\sqrt{q_l}\, u)^2, \qquad
\frac{|\partial E / \partial z_l|}{|\partial E / \partial z_{l+1}|} \approx
\sigma \sqrt{\mathbb{E}\, s'(\sqrt{q_l}\, u)^2}, \qquad u \sim N(0, 1),$$
where $q_l$ is the mean square of $z_l$ (Poole et al. 2016; Schoenholz et al. 2017). It is the mean of the *squared*
slope that counts, not the largest slope. One step of gradient descent changes a weight in proportion, so that the ratio
of update and weight falls by the same factor.

## Try it
>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn import diagnostics, nn
>>> _ = tg.manual_seed(0)
>>> net = nn.Sequential(*[m for _ in range(8) for m in (nn.Linear(64, 64), nn.Sigmoid())])
>>> found = diagnostics.depth(net, lambda y: (y**2).sum(), tg.randn(4, 64))
>>> bool(found.log_ratio[0] < found.log_ratio[-1] - 10)           # log of update over weight, front against back
True

## It would be false if
the measured factors were not those of the formula, or if a layer's place had no influence on the size of its updates.

## Exercise
Which $\sigma$ would a sigmoid network need for a factor of 1? Follow $q$ there, and say what becomes of the slopes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics, nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS
from tinygrad_rnn.ops import relu, sigmoid, tanh

from ..experiment import Check, Result, Size, experiment

LAYERS = 12
SIZES = (0.5, 1.0, 1.4142, 2.0, 3.0)
ACTIVATIONS: dict[str, tuple[Any, Any]] = {
    "tanh": (tanh, nn.Tanh),
    "sigmoid": (sigmoid, nn.Sigmoid),
    "relu": (relu, nn.ReLU),
}


def predicted(name: str, sigma: float, slope_of_relu: bool = False) -> float:
    """The geometric mean of the factors of all layers but the last, from the formula alone."""
    function = ACTIVATIONS[name][0]
    # lab: begin
    u, weight = np.polynomial.hermite_e.hermegauss(200)  # means over a normal distribution
    weight = weight / weight.sum()
    q, factors = sigma**2, []
    for _ in range(LAYERS - 1):
        z = tg.tensor(np.sqrt(q) * u, requires_grad=True)
        h = function(z)
        (slope,) = tg.autograd.grad(h.sum(), z)
        squared = weight @ np.asarray(slope) ** 2
        if slope_of_relu:
            squared = 0.5
        factors.append(sigma * np.sqrt(squared))
        q = sigma**2 * weight @ h.detach().numpy() ** 2
    return float(np.exp(np.mean(np.log(factors))))
    # lab: end


def found(name: str, sigma: float, width: int) -> tuple[float, float]:
    """The same, measured in a network; and log10 of how much less its first layer changes than its last but one."""
    layers = [nn.Linear(width, width, bias=False) for _ in range(LAYERS)]
    for layer in layers:
        nn.init.normal_(layer.weight, 0, sigma / np.sqrt(width))
    net = nn.Sequential(*[m for layer in layers for m in (layer, ACTIVATIONS[name][1]())])
    towards = tg.randn(16, width)
    depth = diagnostics.depth(net, lambda y: (y * towards).sum(), tg.randn(16, width))
    factor = np.exp((depth.log_of_output[0] - depth.log_of_output[-1]) / (LAYERS - 1))
    return float(factor), float((depth.log_ratio[0] - depth.log_ratio[-1]) / np.log(10))


def measured(size: Size, seed: int, he_for_all: bool = False) -> Result:
    """Factors of three activations and five sizes of weights, beside the formula."""
    width = 128 if size == "quick" else 512
    theory: dict[str, Any] = {}
    dots: dict[str, Any] = {}
    updates: dict[str, float] = {}
    for name in ACTIVATIONS:
        theory[name] = np.array([predicted(name, sigma, he_for_all and name == "sigmoid") for sigma in SIZES])
        pairs = [found(name, sigma, width) for sigma in SIZES]
        dots[name] = np.array([factor for factor, _ in pairs])
        updates[name] = pairs[SIZES.index(1.4142)][1]
    off = {name: float(np.abs(dots[name] / theory[name] - 1).max()) for name in ACTIVATIONS}
    he = SIZES.index(1.4142)
    checks = [
        Check("tanh as predicted", off["tanh"], "<", 0.1, "width 128; of 20 seeds the largest is 0.028"),
        Check("sigmoid as predicted", off["sigmoid"], "<", 0.1, "of 20 seeds the largest is 0.045"),
        Check("relu as predicted", off["relu"], "<", 0.1, "of 20 seeds the largest is 0.034"),
        Check("sigmoid vanishes at every size", dots["sigmoid"].max(), "<", 0.7, "20 seeds: at most 0.54"),
        Check("tanh explodes at 3", dots["tanh"][-1], ">", 1.2, "1.35 in theory; 20 seeds: at least 1.32"),
        Check("He's size keeps relu", dots["relu"][he], "between", (0.9, 1.1), "1 in theory; 20 seeds: 0.98 to 1.02"),
        Check(
            "front layers of sigmoid nets are slow",
            updates["sigmoid"],
            "<",
            -4,
            "0.31^11 is 10^-5.6; 20 seeds: at most -5.2",
        ),
    ]
    numbers = {
        f"factor of {name}, sigma {SIZES[k]:.3g}: measured (theory)": f"{dots[name][k]:.3f} ({theory[name][k]:.3f})"
        for name in ACTIVATIONS
        for k in (1, 2, 4)
    }
    numbers["log10 of updates, first / last of 12 layers, sigmoid"] = f"{updates['sigmoid']:.1f}"
    because = (
        "the weights are not large: a sigmoid layer multiplies the gradient by "
        f"{dots['sigmoid'][1]:.2f} ({theory['sigmoid'][1]:.2f} in theory) if sigma is 1, but a tanh layer by "
        f"{dots['tanh'][-1]:.2f} if sigma is 3"
    )
    arrays = {"sigma": np.array(SIZES)}
    arrays |= {f"theory, {k}": v for k, v in theory.items()} | {f"measured, {k}": v for k, v in dots.items()}
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """The factor of one layer against the size of the weights."""
    ax = figure.subplots()
    for k, name in enumerate(ACTIVATIONS):
        ax.plot(arrays["sigma"], arrays[f"theory, {name}"], ("-", "--", ":")[k], color=COLOURS[k])
        ax.plot(arrays["sigma"], arrays[f"measured, {name}"], MARKERS[k], color=COLOURS[k], label=name)
    ax.axhline(1, color=GREY, linewidth=1)
    ax.set_yscale("log")
    ticks = (0.1, 0.2, 0.5, 1, 2)
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel(r"size of the weights, $\sigma$ (standard deviation times $\sqrt{n}$)")
    ax.set_ylabel("factor of one layer")
    ax.legend(title="dots measured, lines theory", fontsize=9, labelcolor=GREY)
    ax.get_legend().get_title().set_color(GREY)


@experiment(
    37,
    "A chain of small factors",
    source="S3; Poole et al. 2016; Schoenholz et al. 2017; He et al. 2015",
    seconds=0.4,
    full_seconds=6,
)
def run(size: Size, seed: int) -> Result:
    """By how much each layer shrinks the gradient, against what wide layers should do."""
    return measured(size, seed)


@run.broken("He's gain for the sigmoid", fails="sigmoid as predicted")
def he_for_all(size: Size, seed: int) -> Result:
    """The mean squared slope is taken to be 1/2, which it is for relu."""
    return measured(size, seed, he_for_all=True)


@run.smallest
def smallest() -> tg.Tape:
    """Four sigmoid units in a chain: the cotangent shrinks by w s' at each."""
    x = tg.tensor(1.0, requires_grad=True)
    w = tg.tensor(1.5, requires_grad=True)
    with tg.Tape() as tape:
        h = x
        for layer in range(1, 5):
            with tape.at(layer=layer):
                h = tg.sigmoid(w * h)
        h.backward()
    return tape

r"""An LSTM does not prevent exploding gradients: they pass through its recurrent weights; clipping bounds the step.

"An LSTM makes it easier to preserve information; it does not guarantee that there is no vanishing or exploding
gradient." So say the notes S0 and lecture 7 of CS224N, and it holds. The gates lie between 0 and 1, so the way from
cell to cell can only lose; but $c_{t-1}$ also reaches $c_t$ through $h_{t-1}$ and the recurrent weights, and that way
may gain at every step. Scaled by 16, they carry gradients beyond $10^{8}$ over 100 steps (left picture: some nets for
each scale).

What helps is clipping, and one should know what it does. It does not make gradients small: in the right picture the
norm before clipping stays where it was, update after update. It bounds the *step*. Without it the first update throws
the weights so far that all gates saturate.

The order matters: `backward()`, then `clip_grad_norm_`, then `step()`. A public script for the copy task calls it
between `zero_grad()` and `backward()`, where there is nothing to clip, and no error tells.

## Mathematics
$$\frac{d c_T}{d c_0} = \prod_{t=1}^{T} \operatorname{diag}(f_t) \; + \; \text{products that contain }
\frac{\partial c_t}{\partial h_{t-1}} = \operatorname{diag}(\dots) \, W_{hh}$$
The first term has a norm of at most 1. The others grow with $\lVert W_{hh} \rVert$ where gates are not saturated.
Clipping replaces $g$ by $g \min(1, \theta / \lVert g \rVert)$, so that a step of gradient descent with rate $\eta$ is
at most $\eta \theta$ long.

## Try it
>>> import tinygrad_rnn as tg
>>> _ = tg.manual_seed(0)
>>> net = tg.nn.LSTM(4, 32)
>>> with tg.no_grad():
...     _ = net.weight_hh_l0.mul_(16.0)
>>> output, _ = net(tg.randn(100, 8, 4))
>>> (output[-1] ** 2).sum().backward()
>>> bool(tg.nn.utils.clip_grad_norm_(net.parameters(), 1.0) > 1e9)      # the norm before it was clipped
True

## It would be false if
the norm of an LSTM's gradient could be bounded without its recurrent weights, by the gates alone.

## Exercise
Clip at 1 and train the scaled net for 1,000 updates. Does the norm before clipping ever come down? Which change of
the weights would make it, and does Pascanu's regulariser (`diagnostics.omega`) bring it about?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

SCALES = (1, 4, 8, 16)
MAX_NORM, RATE = 1.0, 0.1


def scaled(scale: float) -> nn.LSTM:
    """A fresh layer whose recurrent weights are so many times as large as usual."""
    net = nn.LSTM(4, 32)
    with tg.no_grad():
        net.weight_hh_l0.mul_(float(scale))
    return net


def norm_of(parameters: Any) -> float:
    """The joint norm of their gradients."""
    return float(nn.utils.get_total_norm([p.grad for p in parameters]))


def norm_at_start(scale: float, T: int) -> float:
    """The norm of the gradient of a fresh net, of a loss at the last step alone."""
    net = scaled(scale)
    output, _ = net(tg.randn(T, 8, 4))
    (output[-1] ** 2).sum().backward()
    return norm_of(net.parameters())


def trained(T: int, updates: int, seed: int, clip: str) -> tuple[list[float], list[float], list[float]]:
    """Gradient norms before and after clipping, and lengths of the steps, of a training by gradient descent.

    Args:
        clip: "after backward", "before backward", or "never".
    """
    tg.manual_seed(seed)
    model = nn.ModuleDict({"lstm": scaled(16), "head": nn.Linear(32, 1)})
    parameters = list(model.parameters())
    optimizer = tg.optim.SGD(parameters, lr=RATE)
    before, after, steps = [], [], []
    for _ in range(updates):
        # lab: begin
        x = tg.randn(T, 8, 4)
        optimizer.zero_grad()
        if clip == "before backward":
            nn.utils.clip_grad_norm_(parameters, MAX_NORM)  # there is no gradient yet
        output, _ = model["lstm"](x)
        loss = ((model["head"](output[-1]) - x.mean((0, 2))[:, None]) ** 2).mean()
        loss.backward()
        before.append(norm_of(parameters))
        if clip == "after backward":
            nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        after.append(norm_of(parameters))
        old = nn.utils.parameters_to_vector(parameters).detach().clone()
        optimizer.step()
        steps.append(float((nn.utils.parameters_to_vector(parameters).detach() - old).norm()))
        # lab: end
    return before, after, steps


def measured(size: Size, seed: int, clip: str = "after backward") -> Result:
    """Norms by scale of the recurrent weights, then two trainings from the same start."""
    T, updates, nets = (100, 30, 3) if size == "quick" else (200, 300, 20)
    norms = {str(k): np.array([norm_at_start(k, T) for _ in range(nets)]) for k in SCALES}
    before, after, steps = trained(T, updates, seed, clip)
    wild_before, _, wild_steps = trained(T, updates, seed, "never")
    away = max(abs(a - MAX_NORM) for a, b in zip(after, before, strict=True) if b > MAX_NORM)
    smallest = float(norms["16"].min())
    checks = [
        Check("gradients explode at 16 times the weights", smallest, ">", 1e8, "8e8 the smallest of 20 seeds, T = 100"),
        Check("usual weights do not explode", norms["1"].max(), "<", 20, "6.5 the largest of 20 seeds"),
        Check("clipped norm is max_norm", away, "<", 1e-5, "clipping divides by the norm + 1e-6"),
        Check("a clipped step has length rate * max_norm", max(steps), "<", 1.0001 * RATE * MAX_NORM, "no momentum"),
        Check("an unclipped step is long", wild_steps[0], ">", 1e8, "rate times 1e14, the smallest of 20 seeds 5e9"),
    ]
    numbers = {f"median norm, weights x {k}": float(np.median(v)) for k, v in norms.items()}
    numbers |= {"first unclipped step": wild_steps[0], "longest clipped step": max(steps)}
    arrays = {f"x {k}": v for k, v in norms.items()}
    arrays |= {"before": np.array(before), "after": np.array(after), "never clipped": np.array(wild_before)}
    because = f"with recurrent weights 16 times the usual, the smallest of {nets} gradient norms is {smallest:.0e}"
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """Norms by scale to the left, over updates to the right."""
    left, right = figure.subplots(1, 2)
    for k, scale in enumerate(SCALES):
        values = arrays[f"x {scale}"]
        left.plot([scale] * len(values), values, linestyle="", color=COLOURS[k], marker=MARKERS[k], alpha=0.8)
    left.set_xscale("log", base=2)
    left.set_xticks(SCALES, [str(k) for k in SCALES])
    left.set_xlabel("recurrent weights, times the usual")
    left.set_ylabel("gradient norm of a fresh net")
    left.set_title("at the start", fontsize=10)
    labels = (
        ("before", "clipped: before", "o-"),
        ("after", "clipped: after", "s-"),
        ("never clipped", "never clipped", "^:"),
    )
    for k, (name, label, style) in enumerate(labels):
        right.plot(arrays[name], style, color=COLOURS[(0, 2, 3)[k]], markersize=4, markevery=3, label=label)
    right.axhline(MAX_NORM, color=GREY, linestyle="--", linewidth=1, label="max_norm")
    right.set_xlabel("update")
    right.set_title("in training, weights x 16", fontsize=10)
    right.legend(fontsize=8)
    for ax in (left, right):
        ax.set_yscale("log")


@experiment(
    8,
    "LSTM explodes",
    source="notes S0; CS224N 2019, lecture 7; clipping: Pascanu, Mikolov and Bengio 2013, section 3.2",
    seconds=0.3,
    full_seconds=15,
)
def run(size: Size, seed: int) -> Result:
    """Whether an LSTM's gradient can explode, and what clipping does."""
    return measured(size, seed)


@run.broken("clipping before backward()", fails="clipped norm is max_norm")
def clip_before_backward(size: Size, seed: int) -> Result:
    """Clipping stands between zero_grad() and backward(), as in a public script for the copy task."""
    return measured(size, seed, clip="before backward")


@run.smallest
def smallest() -> tg.Tape:
    """Three steps of one unit with a large recurrent weight: the way through h gains."""
    U, c = tg.tensor([4.0, 4.0, 9.0, 4.0], requires_grad=True), tg.tensor(0.1, requires_grad=True)
    cell, h = c, tg.tensor(0.05)
    with tg.Tape() as tape:
        for t in range(3):
            with tape.at(t=t):
                a = U * h
                i, f, g, o = a[0].sigmoid(), a[1].sigmoid(), a[2].tanh(), a[3].sigmoid()
                cell = f * cell + i * g
                h = o * cell.tanh()
        h.backward()
    return tape

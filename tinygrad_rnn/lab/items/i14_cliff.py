r"""At a cliff of the loss one step of gradient descent throws the weights away, and a clipped step does not.

Lecture 7 of CS224N: "if the gradient becomes too big, the update takes too large a step, and in the worst case gives
Inf or NaN". Both hold. Pascanu, Mikolov and Bengio (2013, figure 6) found a network of one unit whose loss has a
wall. Below it runs a valley, along which descent goes well until it touches the wall: there the gradient is a
thousand times as large, and one step leaves the picture (left). Far away the unit is saturated and the gradient 0, so
the run never comes back (right). With the gradient clipped at 1/2 the same runs bounce off and go on.

Clipping is by *norm*: the step is shorter and has the direction of the gradient. Clipping each entry by itself also
bounds the step, but turns it.

And where a gradient overflows, the first infinity times a 0 is nan. `detect_anomaly` names the operation, the line of
the program, and the time step.

## Mathematics
$$x_t = w \, s(x_{t-1}) + b, \quad x_0 = \tfrac12, \qquad E = (s(x_{50}) - 0.7)^2$$
At the wall the map $x \mapsto w \, s(x) + b$ gains a second fixed point that attracts. The state goes to one of them
or to the other, and $\partial x_{50} / \partial (w, b)$ contains products of 50 slopes $w \, s'(x_t)$ on the border,
which are above 1.

## Try it
>>> import tinygrad_rnn as tg
>>> w, h = tg.tensor(1e200, requires_grad=True), tg.tensor(0.0)
>>> with tg.autograd.detect_anomaly():
...     for t in range(3):
...         h = w * h
...     try:
...         h.backward()
...     except tg.autograd.AnomalyError as error:
...         print(str(error).split("\n")[0])
Function 'MulBackward0' returned nan values in its 0th output.

## It would be false if
runs that an unclipped step throws out ended at a loss as low as clipped runs from the same place.

## Exercise
Lower the learning rate instead of clipping. How small must it be so that no run is thrown out, and how many updates
does the valley then take?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

MAX_NORM, RATE = 0.5, 0.1
RANGES = {"w": (4.0, 7.0, 91), "b": (-3.5, -2.0, 91)}


def loss(w: Any, b: Any) -> Any:
    """Of one unit over 50 steps, for many weights and biases at once."""
    x = 0.5 * tg.ones_like(w)
    for _ in range(50):
        x = w * tg.sigmoid(x) + b
    return (tg.sigmoid(x) - 0.7) ** 2


def descend(starts: Any, updates: int, clip: str) -> dict[str, Any]:
    """Gradient descent from each start (2, n).

    Args:
        clip: "norm", "value" or "never".
    """
    places, losses, directions, p = [starts], [], [], starts
    for _ in range(updates):
        # lab: begin
        w, b = (tg.tensor(row, requires_grad=True) for row in p)
        errors = loss(w, b)
        errors.sum().backward()  # of runs that do not know of each other
        g = np.stack([w.grad.numpy(), b.grad.numpy()])
        norm = np.linalg.norm(g, axis=0)
        step = g
        if clip == "norm":
            step = g * np.minimum(1, MAX_NORM / np.maximum(norm, 1e-300))
        if clip == "value":
            step = np.clip(g, -MAX_NORM, MAX_NORM)
        p = p - RATE * step
        # lab: end
        over = norm > MAX_NORM
        cosine = (g * step).sum(0)[over] / (norm * np.linalg.norm(step, axis=0))[over]
        directions.append(cosine.min(initial=1.0))
        places.append(p)
        losses.append(errors.detach().numpy())
    path = np.array(places)
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    return {"path": path, "loss": np.array(losses), "length": lengths, "cosine": float(min(directions))}


def first_nan() -> str:
    """What anomaly mode says of a gradient that overflows, in a loop over t."""
    w, h = tg.tensor(1e3, requires_grad=True), tg.tensor(0.0)
    with tg.autograd.detect_anomaly():
        for t in range(120):  # noqa: B007 (the message names it)
            h = w * h
        try:
            h.backward()
        except tg.autograd.AnomalyError as error:
            return str(error)
    return ""


def measured(size: Size, seed: int, clip: str = "norm") -> Result:
    """The same starts with and without clipping, and a gradient that overflows."""
    count, updates = (200, 80) if size == "quick" else (2000, 400)
    rng = np.random.default_rng(seed)
    starts = np.stack([rng.uniform(4, 7, count), rng.uniform(-3.5, -2, count)])
    wild, tame = descend(starts, updates, "never"), descend(starts, updates, clip)
    thrown = wild["length"].max(0) > 1
    ends = [float(np.median(run["loss"][-1][thrown])) for run in (wild, tame)]
    longest = [float(run["length"].max()) for run in (wild, tame)]
    said = first_nan()
    named = "of mul" in said and "h = w * h" in said and "with t = 16" in said
    surface = diagnostics.cliff(loss, RANGES)
    rough = np.abs(np.diff(tame["loss"], axis=0)).sum(0)
    k = int(
        np.argmin(np.where(thrown & (wild["loss"][0] < 0.1), rough, np.inf))
    )  # the picture is of the run that is easiest to follow
    checks = [
        Check("runs that are thrown out", int(thrown.sum()), ">=", 10, "28 of 200 the fewest of 20 seeds"),
        Check("longest unclipped step", longest[0], ">", 50, "in a picture 3 wide; 231 the least of 20 seeds"),
        Check("longest clipped step", longest[1], "<", 1.0001 * RATE * MAX_NORM, "rate times max_norm"),
        Check("loss at which thrown runs end", ends[0], ">", 0.05, "median; far away it is 0.09 or 0.49"),
        Check("clipped, from the same starts", ends[1], "<", 0.02, "median; 0.012 the largest of 20 seeds"),
        Check("clipped step has the gradient's direction", 1 - tame["cosine"], "<", 1e-12, "rounding"),
        Check("anomaly mode names operation, line and step", named, "==", True, "1000^103 overflows, 120 - 103 = 17"),
    ]
    numbers = {
        "steepest |gradient| on the grid": float(np.exp(surface.log_gradient.max())),
        "runs thrown out": f"{int(thrown.sum())} of {count}",
        "longest step, unclipped": longest[0],
        "longest step, clipped": longest[1],
        "median loss of these runs, unclipped": ends[0],
        "median loss of these runs, clipped": ends[1],
    }
    arrays = {"surface": np.sqrt(surface.loss)}
    for name, run in (("unclipped", wild), ("clipped", tame)):
        arrays |= {f"{name} path": run["path"][:, :, k], f"{name} loss": run["loss"][:, k]}
    because = (
        f"of {count} runs {int(thrown.sum())} are thrown out, up to {longest[0]:.0f} far, and end at a loss of "
        f"{ends[0]:.2f}; clipped they end at {ends[1]:.3f}"
    )
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """The surface with both paths, and the losses along them."""
    left, right = figure.subplots(1, 2)
    extent = (*RANGES["w"][:2], *RANGES["b"][:2])
    image = left.imshow(arrays["surface"].T, origin="lower", extent=extent, aspect="auto", cmap="cividis")
    bar = figure.colorbar(image, ax=left, location="top", shrink=0.8)
    bar.set_label("|s(x₅₀) - 0.7|, root of the loss", fontsize=9)
    for k, name in ((3, "unclipped"), (5, "clipped")):
        path = arrays[f"{name} path"]
        left.plot(*path.T, color=COLOURS[k], marker=MARKERS[k], markersize=4, linewidth=1.2)
        right.plot(arrays[f"{name} loss"], color=COLOURS[k], marker=MARKERS[k], markersize=4, markevery=4, label=name)
    left.set_xlim(extent[:2])
    left.set_ylim(extent[2:])
    left.set_xlabel("weight w")
    left.set_ylabel("bias b")
    right.axhline(0.09, color=GREY, linewidth=0.8, linestyle=":")
    right.set_xlabel("update")
    right.set_ylabel("loss")
    right.legend(fontsize=8)


@experiment(
    14,
    "Cliff",
    source="CS224N 2019, lecture 7; Pascanu, Mikolov and Bengio 2013, section 2.3 and figure 6",
    seconds=0.4,
    full_seconds=15,
)
def run(size: Size, seed: int) -> Result:
    """What one step at a cliff does, with and without clipping."""
    return measured(size, seed)


@run.broken('clipping each entry, "in the same direction"', fails="clipped step has the gradient's direction")
def by_value(size: Size, seed: int) -> Result:
    """Entries are cut off at the threshold one by one, which turns the step."""
    return measured(size, seed, clip="value")


@run.smallest
def smallest() -> tg.Tape:
    """Five steps of the unit near the wall."""
    w, b = tg.tensor(4.9, requires_grad=True), tg.tensor(-2.5, requires_grad=True)
    x = tg.tensor(0.5)
    with tg.Tape() as tape:
        for t in range(1, 6):
            with tape.at(t=t):
                x = w * tg.sigmoid(x) + b
        E = (tg.sigmoid(x) - 0.7) ** 2
        E.backward()
    return tape

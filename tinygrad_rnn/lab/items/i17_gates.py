r"""Gates lie in [0, 1] and decide what is erased, written and read; floating point reaches both ends.

Lecture 7 of CS224N: "the gates are dynamic; their value is between 0 and 1: open (1), closed (0), or somewhere in
between", and they erase, write and read the cell. It holds, with one remark. In mathematics a sigmoid is never 0 or
1. In float64 it *is* 1 from 37 on and 0 below -709.8, in float32 from 17 on and below -88.7 (left picture, on a
logarithmic axis). A program that divides by $1 - f$, or takes $\log f$, must know that.

At the ends the gates do exactly what their names say (right picture): a bias of 800 makes the cell keep, take over,
or hide its content without an error of one bit.

## Mathematics
$$s(a) = \frac{1}{1 + e^{-a}}, \qquad 1 - s(a) = s(-a) \approx e^{-a} \quad (a \gg 0)$$
In float64 $1 + e^{-a}$ is rounded to 1 as soon as $e^{-a} < 2^{-53}$, $a > 36.7$; in float32 where $e^{-a} <
2^{-24}$, $a > 16.6$.

## Try it
>>> import tinygrad_rnn as tg
>>> a = tg.tensor([-800.0, -16.0, 16.0, 37.0], dtype=tg.float64)
>>> [value in (0.0, 1.0) for value in tg.sigmoid(a).tolist()]
[True, False, False, True]

## It would be false if
a gate were ever outside [0, 1] or nan, whatever the weights, or if a cell whose gates are at the ends changed what it
should keep.

## Exercise
`log(sigmoid(a))` is -inf at -800. What should it be, and which function of the package gives it? Where does its
gradient differ?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY, MARKERS

from ..experiment import Check, Result, Size, experiment

PLANS = {  # input gate, forget gate, output gate, by time step
    "keep": (0, 1, 1),
    "take over": (1, 0, 1),
    "add": (1, 1, 1),
    "erase": (0, 0, 1),
    "hide": (0, 1, 0),
}
ORDER = ("take over", "keep", "keep", "add", "hide", "hide", "keep", "erase", "keep", "take over", "keep", "hide")


def gates_of(scale: float, dtype: Any, T: int) -> tuple[Any, Any]:
    """Gates of a layer with weights and inputs of that scale, and the arguments of its sigmoids."""
    net = nn.LSTM(3, 8, return_gates=True, dtype=dtype)
    with tg.no_grad():
        for p in net.parameters():
            p.mul_(scale)
    x = scale * tg.randn(T, 4, 3, dtype=dtype)
    with tg.no_grad():
        output, _, gates = net(x)
        before = tg.cat([tg.zeros(1, 4, 8, dtype=dtype), output[:-1]])
        a = nn.functional.linear(x, net.weight_ih_l0, net.bias_ih_l0)
        a = a + nn.functional.linear(before, net.weight_hh_l0, net.bias_hh_l0)
    arguments = np.stack([a.numpy()[..., k : k + 8] for k in (0, 8, 24)])
    return np.stack([gates[name].numpy() for name in "ifo"]), arguments


def first_one(dtype: Any) -> int:
    """The smallest integer whose sigmoid is 1."""
    ones = tg.sigmoid(tg.arange(100, dtype=dtype)).numpy() == 1
    return int(ones.argmax())


def planned(contents: Any) -> tuple[Any, Any, Any, Any]:
    """Cells and outputs of one unit whose gates follow ORDER, and what they should be."""
    # lab: begin
    net = nn.LSTM(4, 1, return_cells=True)  # reads the content, and a number for each gate
    with tg.no_grad():
        for p in net.parameters():
            p.zero_()
        net.weight_ih_l0.copy_(tg.tensor([[0.0, 800, 0, 0], [0, 0, 800, 0], [1, 0, 0, 0], [0, 0, 0, 800]]))
        gates = np.array([PLANS[name] for name in ORDER])  # 0 or 1 for i, f, o
        x = tg.tensor(np.concatenate([contents[:, None], 2.0 * gates - 1], 1))
        output, _, cells = net(x[:, None])
    wanted, c = [], 0.0
    for content, (i, f, _) in zip(contents, gates, strict=True):
        c = f * c + i * np.tanh(content)
        wanted.append(c)
    # lab: end
    shown = gates[:, 2] * np.tanh(wanted)
    return cells.numpy()[:, 0, 0], output.numpy()[:, 0, 0], np.array(wanted), shown


def measured(size: Size, seed: int, below: float = 16.0) -> Result:
    """Ranges of gates of random nets of all scales, where the ends are reached, and a cell that follows a plan."""
    rng = np.random.default_rng(seed)
    T = 5 if size == "quick" else 50
    outside = closed = reached = 0
    for dtype in (tg.float32, tg.float64):
        for scale in (0.1, 1.0, 10.0, 100.0):
            gates, a = gates_of(scale, dtype, T)
            outside += int((~((gates >= 0) & (gates <= 1))).sum())
            at_end = (gates == 0) | (gates == 1)
            reached += int(at_end.sum())
            closed += int((at_end & (abs(a) < below)).sum())
    ones = {name: first_one(dtype) for name, dtype in (("float32", tg.float32), ("float64", tg.float64))}
    contents = rng.uniform(-1, 1, len(ORDER))
    cells, output, wanted, shown = planned(contents)
    away = float(max(abs(cells - wanted).max(), abs(output - shown).max()))
    held = int((cells[1:3] != cells[0]).sum() + (output[4:6] != 0).sum() + (cells[7:9] != 0).sum())
    checks = [
        Check("gates outside [0, 1], or nan", outside, "==", 0, "four scales, two dtypes"),
        Check("gates at an end although |a| is small", closed, "==", 0, "s(16) < 1 in float32; 17 is the first"),
        Check("gates that are exactly 0 or 1", reached, ">", 100, "of large weights; 1087 the fewest of 20 seeds"),
        Check("first integer with s = 1, float32", ones["float32"], "==", 17, "e^-17 < 2^-24"),
        Check("first integer with s = 1, float64", ones["float64"], "==", 37, "e^-37 < 2^-53"),
        Check("steps that kept, hid or erased inexactly", held, "==", 0, "gates of exactly 0 and 1"),
        Check("cell and output follow the plan", away, "<", 1e-15, "rounding of tanh"),
    ]
    a = np.linspace(0, 45, 91)
    arrays = {"cells": cells, "output": output, "plan": np.array([PLANS[name] for name in ORDER]), "a": a}
    for name, dtype in (("float32", tg.float32), ("float64", tg.float64)):
        arrays[name] = 1 - tg.sigmoid(tg.tensor(a, dtype=dtype)).numpy().astype(np.float64)
    numbers = {f"first integer whose sigmoid is 1, {name}": value for name, value in ones.items()}
    numbers |= {"gates that are exactly 0 or 1, of large weights": reached}
    because = f"no gate is outside, but {reached} are exactly 0 or 1: [0, 1] is closed in floating point, not open"
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, arrays))


def draw(figure: Any, arrays: dict[str, Any]) -> None:
    """How far a sigmoid is from 1, and a cell that follows a plan."""
    grid = figure.add_gridspec(4, 2, height_ratios=(3, 1, 1, 1), width_ratios=(2, 3))
    left = figure.add_subplot(grid[:, 0])
    left.plot(arrays["a"], np.exp(-arrays["a"]), color=GREY, linestyle=":", label="e⁻ᵃ")
    for k, name in enumerate(("float32", "float64")):
        value = arrays[name]
        left.plot(
            arrays["a"][value > 0], value[value > 0], color=COLOURS[k], marker=MARKERS[k], markevery=8, label=name
        )
        left.axvline((17, 37)[k], color=COLOURS[k], linestyle="--", linewidth=1)
    left.set_yscale("log")
    left.set_ylim(1e-18, 2)
    left.set_xlabel("argument a (dashed: s = 1 from here)")
    left.set_ylabel("1 - s(a)")
    left.legend(fontsize=8, loc="lower left")
    steps = np.arange(len(ORDER))
    top = figure.add_subplot(grid[0, 1])
    top.plot(steps, arrays["cells"], color=COLOURS[0], marker="o", markersize=4, label="cell")
    top.plot(steps, arrays["output"], color=COLOURS[3], marker="D", markersize=4, linestyle="--", label="output")
    top.set_xticks(steps, ORDER, rotation=60, ha="right", fontsize=7)
    top.xaxis.tick_top()
    for label in top.get_xticklabels():
        label.set_ha("left")
    top.set_xlim(-0.6, len(ORDER) - 0.4)
    top.set_ylabel("value")
    top.legend(fontsize=8)
    for k, name in enumerate(("input", "forget", "output")):
        ax = figure.add_subplot(grid[1 + k, 1])
        ax.bar(steps, arrays["plan"][:, k], color=COLOURS[(0, 2, 3)[k]], width=0.7, alpha=0.7)
        ax.set_xlim(-0.6, len(ORDER) - 0.4)
        ax.set_ylabel(name, fontsize=8)
        ax.set_yticks([0, 1])
        ax.tick_params(labelbottom=k == 2)
    ax.set_xlabel("time step (bars: gates)")


@experiment(
    17,
    "Gates",
    source="CS224N 2019, lecture 7; Gers, Schmidhuber and Cummins 2000",
    seconds=0.2,
    full_seconds=2,
)
def run(size: Size, seed: int) -> Result:
    """What values gates take, and what the cell does at the ends."""
    return measured(size, seed)


@run.broken("gates taken to be strictly inside (0, 1) everywhere", fails="gates at an end although |a| is small")
def strict_everywhere(size: Size, seed: int) -> Result:
    """Arguments of any size are held to what mathematics says of them."""
    return measured(size, seed, below=np.inf)


@run.smallest
def smallest() -> tg.Tape:
    """A cell that takes over a value, keeps it, hides it: gates at the ends have gradients of 0."""
    x = tg.tensor(0.5, requires_grad=True)
    a = tg.tensor([[800.0, -800.0, 800.0], [-800.0, 800.0, 800.0], [-800.0, 800.0, -800.0]], requires_grad=True)
    c = tg.tensor(0.9)
    with tg.Tape() as tape:
        for t in range(3):
            with tape.at(t=t):
                i, f, o = a[t, 0].sigmoid(), a[t, 1].sigmoid(), a[t, 2].sigmoid()
                c = f * c + i * tg.tanh(x)
                h = o * tg.tanh(c)
        (c + h).backward()
    return tape

r"""The forget gate's gradient has the cell of the step before in it; all other values of the cell are of its own step.

Who derives the backward pass of an LSTM by hand (S2 does) must put an index to each factor: is it $c_t$ or $c_{t-1}$
that stands beside $df_t$? The question has no need of an argument, since a tape knows what each operation saved. Here
the states of all steps are found again, by value, among what the records keep for the way back, and each is given its
time index. The table (picture) is the answer: everything that a record of step $t$ reads is of step $t$, but for two
values: $c_{t-1}$ at the product with the forget gate, and $h_{t-1}$ at the recurrent weights.

With $c_t$ in its place the gradient of the forget gate is wrong, and nothing but a comparison tells: all shapes fit.

## Mathematics
$$c_t = f_t \circ c_{t-1} + i_t \circ g_t \quad\Longrightarrow\quad
\bar f_t = \bar c_t \circ c_{t-1}, \quad \bar c_{t-1} = \bar c_t \circ f_t + \dots, \quad
\bar i_t = \bar c_t \circ g_t, \quad \bar g_t = \bar c_t \circ i_t$$
A product keeps its two factors, each for the gradient of the other; tanh and the sigmoid keep their result.

## Try it
>>> import tinygrad_rnn as tg
>>> f, c = tg.tensor([0.9], requires_grad=True), tg.tensor([2.0], requires_grad=True)
>>> with tg.Tape() as tape:
...     c = f * c
...     c.sum().backward()
>>> tape[0].saved["b"].tolist(), f.grad.tolist()                        # the cell before, not the one that was made
([2.0], [2.0])

## It would be false if
a record of step t had saved a state of another step than those two, or if the forget gate's gradient were the
cotangent times $c_t$.

## Exercise
Do the same for the GRU: which record saves $h_{t-1}$, and how often? How would `reset_after=False` change the table?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.diagnostics.result import COLOURS, GREY

from ..experiment import Check, Result, Size, experiment

H = 3


def recorded(T: int, rng: Any) -> tuple[tg.Tape, dict[str, list[Any]]]:
    """A tape of an LSTM over T steps, and its values by name: ``values["c"][t]``, c and h from -1 on."""
    shapes: list[tuple[int, ...]] = [(4 * H, H), (4 * H, 2), (4 * H,), (H,), (H,)]
    U, V, b, h, c = (tg.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes)
    x = [tg.tensor(rng.standard_normal(2)) for _ in range(T)]
    kept: dict[str, list[Any]] = {name: [] for name in ("i", "f", "g", "o", "tanh c")}
    kept |= {"h": [h.detach().numpy().copy()], "c": [c.detach().numpy().copy()], "x": [x_t.numpy() for x_t in x]}
    with tg.Tape() as tape:
        for t in range(T):
            with tape.at(t=t):
                a = U @ h + V @ x[t] + b
                i, f, g, o = a[:H].sigmoid(), a[H : 2 * H].sigmoid(), a[2 * H : 3 * H].tanh(), a[3 * H :].sigmoid()
                keep = f * c
                write = i * g
                c = keep + write
                s = c.tanh()
                h = o * s
            for name, value in zip(kept, (i, f, g, o, s, h, c), strict=False):
                kept[name].append(value.detach().numpy().copy())
        (h * tg.tensor([1.0, 2.0, -1.0])).sum().backward()
    return tape, kept


def indices(tape: tg.Tape, kept: dict[str, list[Any]]) -> dict[str, dict[str, int]]:
    """For each operation what it saved, as the name of a state, and the time of that less the operation's."""
    # lab: begin
    table: dict[str, dict[str, int]] = {}
    for record in tape:
        for array in map(np.asarray, record.saved.values()):
            for name, series in kept.items():
                first = -1 if name in ("h", "c") else 0
                for k, value in enumerate(series):
                    if array.shape == value.shape and (array == value).all():
                        row = table.setdefault(label(record), {})
                        offset = first + k - (record.time or 0)
                        assert row.setdefault(name, offset) == offset  # the same at every step
    # lab: end
    return table


def label(record: Any) -> str:
    """A record as the table names it."""
    known = {"matmul": "U h, V x", "keep": "f ∘ c", "write": "i ∘ g", "h": "o ∘ tanh c", "s": "tanh(c)"}
    known |= {"i": "i = s(.)", "f": "f = s(.)", "o": "o = s(.)", "g": "g = tanh(.)"}
    return known.get(str(record.variable), known.get(record.name, "other"))


def measured(size: Size, seed: int, own_step: bool = False) -> Result:
    """The table of indices, and the forget gate's gradient by hand at each step."""
    T = 6 if size == "quick" else 60
    tape, kept = recorded(T, np.random.default_rng(seed))
    table = indices(tape, kept)
    sweep = tape.sweeps[-1]
    away, other = 0.0, np.inf
    for record in tape:
        if record.variable != "f":
            continue
        t = record.time or 0
        by_sweep = np.asarray(next(step.cotangent for step in sweep.steps if step.record is record))
        total = next(s.cotangent for s in sweep.steps if s.record and s.record.variable == "c" and s.record.time == t)
        before, after = kept["c"][t], kept["c"][t + 1]
        by_hand = np.asarray(total) * (after if own_step else before)
        size_of = np.linalg.norm(by_sweep)
        away = max(away, float(np.linalg.norm(by_hand - by_sweep) / size_of))
        other = min(other, float(np.linalg.norm(np.asarray(total) * after - by_sweep) / size_of))
    earlier = {(row, name) for row, found in table.items() for name, offset in found.items() if offset == -1}
    later = sum(offset not in (0, -1) for found in table.values() for offset in found.values())
    expected = {("f ∘ c", "c"), ("U h, V x", "h")}
    checks = [
        Check(
            "values of the step before: c at f c, h at U h, and no other", earlier == expected, "==", True, "by value"
        ),
        Check("values of other steps", later, "==", 0, "none"),
        Check("forget gate's gradient by hand", away, "<", 1e-14, "relative; one product"),
        Check(
            "with the cell of its own step it is another",
            other,
            ">",
            0.01,
            "relative, each step; 0.06 the least of 20 seeds",
        ),
        Check("operations with an index", len(table), "==", 9, "products, activations, and the matrix products"),
    ]
    names = ("h", "x", "i", "f", "g", "o", "c", "tanh c")
    rows = list(table)
    grid = np.full((len(rows), len(names)), np.nan)
    for k, row in enumerate(rows):
        for name, offset in table[row].items():
            grid[k, names.index(name)] = offset
    numbers = {
        row: ", ".join(f"{n}[t{o:+d}]" if o else f"{n}[t]" for n, o in found.items()) for row, found in table.items()
    }
    numbers["least gap with c[t] for c[t-1]"] = f"{other:.1%}"
    arrays = {"indices": grid}
    because = "of what records of step t save, c at the product with f and h at the weights are of t-1, all else of t"
    return Result(checks, "holds", because, numbers, arrays, lambda figure: draw(figure, rows, names, grid))


def draw(figure: Any, rows: list[str], names: tuple[str, ...], grid: Any) -> None:
    """The table: operations down, states across, the index in each field."""
    ax = figure.subplots()
    for k, row in enumerate(grid):
        for m, offset in enumerate(row):
            if not np.isnan(offset):
                early = offset < 0
                box = {"boxstyle": "round", "facecolor": "none", "edgecolor": COLOURS[3 if early else 0]}
                ax.text(
                    m, k, "t-1" if early else "t", color=COLOURS[3 if early else 0], ha="center", va="center", bbox=box
                )
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xticks(range(len(names)), names)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xlabel("saved value")
    ax.set_ylabel("operation at step t")
    ax.tick_params(colors=GREY, length=0)


@experiment(
    35,
    "Which index",
    source="question and answer S2",
    seconds=0.1,
    full_seconds=2,
)
def run(size: Size, seed: int) -> Result:
    """Of which step the values are that the gradient of an LSTM contains."""
    return measured(size, seed)


@run.broken("c of step t in the forget gate's gradient", fails="forget gate's gradient by hand")
def own_step(size: Size, seed: int) -> Result:
    """The cell that was made stands where the one before should."""
    return measured(size, seed, own_step=True)


@run.smallest
def smallest() -> tg.Tape:
    """Two steps; look at what the product keep = f * c saved."""
    return recorded(2, np.random.default_rng(0))[0]

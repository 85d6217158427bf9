r"""A GRU has fewer parameters than an LSTM, three to four, and is quicker to compute.

S1 gives this as the reason to prefer the GRU. The number is exact: a GRU has three blocks of weights (reset, update,
new content), an LSTM four (input, forget, content, output), a plain RNN one, and all blocks of layers of one width have
the same shape. It is 3 : 4 for any input size, width, number of layers and directions, with biases and without.

*Of one width* is the condition. An LSTM with a projection (`proj_size`) recurs over a narrower state, and has fewer
parameters than a GRU if that is a quarter as wide. And a comparison at equal width is not one at equal cost: with as
many parameters as the LSTM the GRU may be about 15 % wider, $\sqrt{4/3}$.

*Quicker* follows for the products, which are 3 : 4 too; measured times also contain what is done for each element, and
are between 0.7 and 1. They belong to a machine, and are reported (`--full`), not asserted.

## Mathematics
With the input size $I$, the width $H$ and $G$ blocks (1, 3 or 4), one layer in one direction has
$$G \, (H I + H^2 + 2 H)$$
parameters (two bias vectors, as in PyTorch), and takes $G \, (H I + H^2)$ multiplications per step and sequence. With a
projection to $P$ it is $4 (H I + H P + 2 H) + P H$.

## Try it
>>> import tinygrad_rnn as tg
>>> size = lambda layer: sum(p.numel() for p in layer.parameters())
>>> gru, lstm = tg.nn.GRU(10, 20), tg.nn.LSTM(10, 20)
>>> size(gru), size(lstm), 4 * size(gru) == 3 * size(lstm)
(1920, 2560, True)
>>> size(tg.nn.LSTM(20, 20, proj_size=5)) < size(tg.nn.GRU(20, 20))
True

## It would be false if
there were a width, depth, direction or bias at which the two numbers were not as three to four.

## Exercise
The GRU of the paper (Cho et al. 2014) resets the state before the product, `reset_after=False` here. Does that change
the number of parameters, or of multiplications? Which of the two forms can do its products for all gates at once?
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.result import COLOURS, GREY

from ..experiment import Check, Result, Size, experiment

LAYERS: dict[str, Any] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
BLOCKS = {
    "RNN": ("new state",),
    "GRU": ("reset", "update", "new content"),
    "LSTM": ("input", "forget", "content", "output"),
}


def parameters(layer: nn.Module) -> int:
    """How many numbers a layer learns."""
    return sum(p.numel() for p in layer.parameters())


def times(rounds: int) -> dict[str, float]:
    """CPU seconds of forward and backward runs over 100 steps of 32 sequences, width 128: medians, taken in turn."""
    x = tg.randn(100, 32, 128)
    layers = {name: make(128, 128) for name, make in LAYERS.items()}
    taken: dict[str, list[float]] = {name: [] for name in LAYERS}
    for _ in range(rounds):
        for name, layer in layers.items():
            begun = time.process_time()
            (layer(x)[0] ** 2).sum().backward()
            taken[name].append(time.process_time() - begun)
    return {name: float(np.median(seconds[1:])) for name, seconds in taken.items()}


def measured(size: Size, seed: int, projection: bool = False) -> Result:
    """Parameters of both layers for random sizes and all options."""
    rng = np.random.default_rng(seed)
    # lab: begin
    wrong = []
    for count, directions, bias in itertools.product((1, 2, 3), (1, 2), (False, True)):
        inputs, width = (int(n) for n in rng.integers(2, 40, 2))
        options: dict[str, Any] = {"num_layers": count, "bidirectional": directions == 2, "bias": bias}
        extra: dict[str, Any] = {"proj_size": max(1, width // 2)} if projection else {}
        sizes = {
            "RNN": parameters(nn.RNN(inputs, width, **options)),
            "GRU": parameters(nn.GRU(inputs, width, **options)),
            "LSTM": parameters(nn.LSTM(inputs, width, **options, **extra)),
        }
        if 4 * sizes["GRU"] != 3 * sizes["LSTM"] or sizes["GRU"] != 3 * sizes["RNN"]:
            wrong.append(sizes)
    # lab: end
    H = 128
    totals = {name: parameters(make(H, H)) for name, make in LAYERS.items()}
    narrow = parameters(nn.LSTM(H, H, proj_size=H // 4))
    wide = next(h for h in range(H, 2 * H) if parameters(nn.GRU(H, h)) > totals["LSTM"]) - 1
    checks = [
        Check("three to four, always", len(wrong), "==", 0, "12 combinations of depth, direction and bias, exact"),
        Check("a projection to H/4 is below the GRU", narrow / totals["GRU"], "<", 1, "5.25 H^2 against 6 H^2"),
    ]
    numbers: dict[str, Any] = {f"parameters, {name}, width 128": total for name, total in totals.items()}
    numbers |= {"parameters, LSTM projected to 32": narrow, "width of a GRU with the LSTM's parameters": wide}
    numbers |= {f"multiplications per step, {name}": len(blocks) * (H * H + H * H) for name, blocks in BLOCKS.items()}
    if size == "full":
        seconds = times(9)
        numbers |= {f"time of {name}, LSTM = 1 (this machine)": t / seconds["LSTM"] for name, t in seconds.items()}
    because = (
        f"both have one width and no projection: {totals['GRU']:,} against {totals['LSTM']:,} at 128, exactly 3 : 4; "
        f"an LSTM projected to 32 has {narrow:,}"
    )
    arrays = {"parameters": np.array(list(totals.values())), "projected": np.array([narrow])}
    return Result(checks, "holds if", because, numbers, arrays, lambda figure: draw(figure, totals, narrow))


def draw(figure: Any, totals: dict[str, int], narrow: int) -> None:
    """Bars made of blocks; the LSTM with a projection beside them."""
    ax = figure.subplots()
    for row, (name, blocks) in enumerate(BLOCKS.items()):
        each = totals[name] / len(blocks) / 1000
        for k, block in enumerate(blocks):
            ax.barh(row, each, left=k * each, color=COLOURS[k], edgecolor=GREY)
            ax.text((k + 0.5) * each, row, block, ha="center", va="center", fontsize=8, color="black")
    ax.barh(len(BLOCKS), narrow / 1000, color=COLOURS[6], edgecolor=GREY)
    ax.set_yticks(range(4), [*BLOCKS, "LSTM,\nprojected\nto 32"])
    ax.invert_yaxis()
    ax.set_xlabel("parameters (thousands), input and state 128 wide")


@experiment(
    19, "GRU and LSTM: sizes", source="CS224N 2019, lecture 7 (S1); Cho et al. 2014", seconds=0.1, full_seconds=5
)
def run(size: Size, seed: int) -> Result:
    """How many parameters both have, and when it is not three to four."""
    return measured(size, seed)


@run.broken("an LSTM with a projection is counted", fails="three to four, always")
def projection(size: Size, seed: int) -> Result:
    """The widths are equal, but the states are not."""
    return measured(size, seed, projection=True)

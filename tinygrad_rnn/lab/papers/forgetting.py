"""Gers, Schmidhuber and Cummins 2000: an endless stream, with a forget gate and without.

Shapes: T steps, N streams that never end; the state is carried from one stretch of T steps to the next.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from ...typing import Array
from ..experiment import Check, Size
from ..tasks import Batch, continual_reber
from .cell_1997 import Cell1997
from .recipe import Arm, Method, Published, Reached, Recipe

__all__ = ["CONTINUAL"]

HIDDEN, STREAMS, STRETCH = 16, 16, 40
TESTED = 2000


class Reader(tg.nn.Module):
    """A layer whose state is carried on, and a linear map of its outputs."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer, self.readout = layer, tg.nn.Linear(HIDDEN, 7)

    def forward(self, x: Any, state: Any) -> tuple[tg.Tensor, Any]:
        """Logits (T, N, 7), and the state after them, which no gradient goes through."""
        h, state = self.layer(tg.tensor(x), state)
        return self.readout(h), tuple([s.detach() for s in state])


def _targets(batch: Batch) -> Array:
    return batch.targets.reshape(-1, len(batch.lengths))


def _tested(net: Reader, batch: Batch) -> tuple[Array, float]:
    """Logits at every step of a stream that begins with the state zero, and the largest cell at its end."""
    with tg.no_grad():
        logits, state = net(batch.inputs, None)
    return logits.numpy(), float(abs(state[1].numpy()).max())


def _again(batch: Batch, logits: Array) -> tuple[Array, float]:
    """Whether the T or P that has to come again is the likelier of the two, by step of the stream; and the mean."""
    assert batch.truth is not None
    asked = (batch.truth.sum(1) == 1) & ((batch.targets == 1) | (batch.targets == 2))
    at = logits[batch.steps, batch.rows]
    right = (at[:, 1] > at[:, 2]) == (batch.targets == 1)
    return np.stack([batch.steps[asked], right[asked]]), float(right[asked].mean())


def _arm(name: str, layer: Any, updates: int, seed: int) -> tuple[Arm, float, float]:
    begun = time.process_time()
    task, rng, net = continual_reber(STRETCH), np.random.default_rng(seed), Reader(layer)
    optimiser = tg.optim.Adam(net.parameters(), lr=0.01)
    test = continual_reber(TESTED).batch(rng, 16)
    stream = continual_reber(STRETCH * updates).batch(rng, STREAMS)
    wanted = _targets(stream)
    state: Any = None
    curve: dict[str, list[float]] = {"symbols of each stream": [], "T or P right": []}
    for k in range(updates):
        part = slice(k * STRETCH, (k + 1) * STRETCH)
        optimiser.zero_grad()
        logits, state = net(stream.inputs[part], state)
        loss: Any = tg.nn.functional.cross_entropy(logits.reshape(-1, 7), tg.tensor(wanted[part].reshape(-1)))
        loss.backward()
        tg.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        if (k + 1) % (updates // 10) == 0:
            logits, largest = _tested(net, test)
            _, right = _again(test, logits)
            curve["symbols of each stream"].append((k + 1) * STRETCH)
            curve["T or P right"].append(right)
    wrong = float(task.wrong(test.answers(logits), test).mean())
    figure = f"T or P again right {100 * right:.3g} %, largest cell {largest:.3g} after {TESTED} symbols; "
    figure += f"{100 * (1 - wrong):.3g} % of streams without any mistake"
    seconds = time.process_time() - begun
    return Arm(name, figure, updates, updates * STREAMS, seconds, right > 0.99, curve), right, largest


def _continual(size: Size, seed: int) -> Reached:
    updates = 6000 if size == "full" else 1500
    tg.manual_seed(seed)
    with_gate, right, cell = _arm("with forget gate", tg.nn.LSTM(7, HIDDEN, forget_bias=1.0), updates, seed)
    tg.manual_seed(seed)
    bare = tg.nn.RNNLayer(Cell1997(7, HIDDEN, 1, 0.25), impl="compiled")  # "auto" rounds as time allows
    without, other, grown = _arm("cell of 1997", bare, updates, seed)
    checks = [
        Check("with a forget gate T and P come again", right, ">", 0.95, "seeds 0 and 1: 1.00 and 0.997"),
        Check("without one they are guessed", other, "<", 0.75, "a half is chance; seeds 0 and 1: 0.50 and 0.54"),
        Check("without one the cells grow", grown, ">", 3 * cell, "seeds 0 and 1: 190 and 125 times as large"),
    ]
    note = "Nothing marks where a string ends, and no state is ever reset. The net is tested from the state zero on: "
    note += "what the cells of 1997 have taken in they can only balance, never drop."
    return Reached([with_gate, without], "", checks, note)


CONTINUAL = Recipe(
    "continual-reber",
    "Continual embedded Reber: why a forget gate",
    "F. A. Gers, J. Schmidhuber and F. Cummins (2000), Learning to forget: continual prediction with LSTM",
    "predict the next symbol of embedded Reber strings one after another, without marks or resets between them",
    Method(
        "4 blocks of 2 cells, 424 weights",
        "U(-0.2, 0.2); input and output gates -0.5, -1, -1.5, -2, forget gates the same, positive",
        "online gradient descent, lr 0.5, gradient cut off outside the cell",
        "10^6 successive symbols right; training stops after 30,000 streams",
        "100 nets; the settings as a text about the paper has them",
    ),
    {
        "quick": Method(
            f"LSTM of {HIDDEN}, and {HIDDEN} cells of 1997",
            "forget bias 1; cells of 1997 U(-0.25, 0.25)",
            f"Adam, lr 0.01, {STREAMS} streams, {STRETCH} steps an update, norm clipped to 1",
            f"T or P again right at 99 % of places in 16 streams of {TESTED} symbols",
            "1,500 updates",
        ),
        "full": Method(
            f"LSTM of {HIDDEN}, and {HIDDEN} cells of 1997",
            "forget bias 1; cells of 1997 U(-0.25, 0.25)",
            f"Adam, lr 0.01, {STREAMS} streams, {STRETCH} steps an update, norm clipped to 1",
            f"T or P again right at 99 % of places in 16 streams of {TESTED} symbols",
            "6,000 updates",
        ),
    },
    [
        Published("LSTM without forget gates fails, LSTM with forget gates solves it easily", "P", "abstract"),
    ],
    {"quick": "same task, modern recipe"},
    10.0,
    _continual,
)

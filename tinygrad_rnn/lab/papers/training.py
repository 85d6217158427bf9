"""Training on a classic task until a stopping rule is met: one loop for all recipes.

Shapes: T steps, N sequences, I features, H units, O outputs, K judged places.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from ..tasks import Batch, Task
from .recipe import Arm

__all__ = ["Reader", "loss_of", "test", "trained"]


class Reader(tg.nn.Module):
    """A recurrent layer, and a linear map of its output at the judged places.

        answers = W h[steps, rows] + b

    Args:
        layer: a module ``layer(x) -> (h (T, N, H), state)``.
        hidden_size: H.
        outputs: O.

    >>> from tinygrad_rnn.lab import tasks
    >>> task = tasks.temporal_order()
    >>> net = Reader(tg.nn.LSTM(8, 4), 4, task.outputs)
    >>> net(task.batch(np.random.default_rng(0), 3)).shape
    torch.Size([3, 4])
    """

    def __init__(self, layer: Any, hidden_size: int, outputs: int) -> None:
        super().__init__()
        self.layer = layer
        self.readout = tg.nn.Linear(hidden_size, outputs)

    def forward(self, batch: Batch) -> tg.Tensor:
        """Outputs (K, O) at the judged places."""
        h, _ = self.layer(tg.tensor(batch.inputs))
        found: tg.Tensor = self.readout(h[batch.steps, batch.rows])
        return found


def loss_of(task: Task, outputs: tg.Tensor, batch: Batch) -> tg.Tensor:
    """The mean loss of outputs (K, O) at the judged places, a scalar."""
    functional: Any = tg.nn.functional
    of = {
        "squared error": functional.mse_loss,
        "cross entropy": functional.cross_entropy,
        "binary cross entropy": functional.binary_cross_entropy_with_logits,
    }[task.loss]
    found: tg.Tensor = of(outputs, tg.tensor(batch.targets))
    return found


def test(net: Any, task: Task, batch: Batch) -> tuple[float, float]:
    """Mean loss, and the share of sequences that are wrong by the task's criterion."""
    with tg.no_grad():
        outputs = net(batch)
        loss = loss_of(task, outputs, batch).item()
    return loss, float(task.wrong(task.linked(outputs.numpy()), batch).mean())


def trained(
    net: Any,
    task: Task,
    optimiser: Any,
    rng: np.random.Generator,
    *,
    sequences: int,
    updates: int,
    every: int,
    stop: Callable[[float, float], bool],
    clip: float | None = 1.0,
    tested: int = 1000,
    name: str = "",
    loss: Callable[[tg.Tensor, Batch], tg.Tensor] | None = None,
) -> Arm:
    """Train a net on fresh sequences until ``stop(test loss, share wrong)``, or for a number of updates.

    Args:
        net: ``net(batch) -> outputs`` (K, O).
        task: what is drawn.
        optimiser: of its parameters.
        rng: draws the test sequences first, then those that are trained on.
        sequences: in an update.
        updates: at most so many.
        every: so many updates the net is tested.
        stop: the stopping rule.
        clip: the norm that gradients are clipped to; None: they are not.
        tested: how many sequences it is tested on, the same each time.
        name: of the arm.
        loss: of outputs; None: the mean loss of the task.

    Returns:
        What was reached; its curve has the test loss and the share that is wrong, by sequences.
    """
    begun = time.process_time()
    held = task.batch(rng, tested)
    curve: dict[str, list[float]] = {"sequences": [], "test loss": [], "share wrong": []}
    solved, done = False, 0
    while True:
        found = test(net, task, held)
        for key, value in zip(curve, (done * sequences, *found), strict=True):
            curve[key].append(float(value))
        solved = done > 0 and bool(stop(*found))
        if solved or done >= updates or not np.isfinite(found[0]):
            break
        for _ in range(min(every, updates - done)):
            batch = task.batch(rng, sequences)
            optimiser.zero_grad()
            outputs = net(batch)
            (loss_of(task, outputs, batch) if loss is None else loss(outputs, batch)).backward()
            if clip is not None:
                tg.nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimiser.step()
            done += 1
    figure = f"test loss {found[0]:.2g} (baseline {task.baseline:.3g}), {100 * found[1]:.3g} % of {tested} wrong"
    seconds = time.process_time() - begun
    return Arm(name, figure, done, done * sequences, seconds, solved, curve, task.baseline)

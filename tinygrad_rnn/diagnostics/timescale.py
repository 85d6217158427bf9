"""Time scales: how many steps back a layer can be read, whatever its gradients say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import array_module
from ..backend.quiet import unreported
from ..errors import ArgumentError
from ..tape.tensor import wrap
from ..typing import Array
from .recurrence import chosen, ran
from .result import COLOURS, GREY, Result
from .steps import host

__all__ = ["Timescale", "timescale_task"]


@dataclass(frozen=True, eq=False)
class Timescale(Result):
    """How well the input of some steps ago can be read from the state.

    Attributes:
        place: of the layer.
        distances: in steps.
        r2: of each, the share of the variance of x_(t-d) that the best linear readout of the state at t explains, on
            sequences that it was not fitted to; 0 where it explains none.
    """

    place: str
    distances: Array
    r2: Array

    @property
    def capacity(self) -> float:
        """The sum of ``r2`` over the distances: Jaeger's memory capacity, if these are 0, 1, 2, ..."""
        return float(self.r2.sum())

    @property
    def reach(self) -> int:
        """The largest distance at which half of the variance can be read; -1 if there is none."""
        readable = self.distances[self.r2 >= 0.5]
        return int(readable.max()) if len(readable) else -1

    def head(self) -> str:
        return f"{self.place}: half of the input can be read up to {self.reach} steps later"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        return ("distance", "r2"), [(int(d), float(r)) for d, r in zip(self.distances, self.r2, strict=True)]

    def draw(self, ax: Any) -> None:
        ax.plot(self.distances, self.r2, "o-", color=COLOURS[0], markersize=4)
        ax.axhline(0.5, color=GREY, linewidth=0.8)
        ax.set_xlabel("distance (steps)")
        ax.set_ylabel("r2: variance that can be read")
        ax.set_title(self.place)


@unreported
def timescale_task(
    model: Any,
    distances: Sequence[int],
    *,
    input_size: int | None = None,
    scale: float = 1.0,
    length: int = 400,
    sequences: int = 8,
    layer: int | str | None = None,
    seed: int = 0,
) -> Timescale:
    """How far back the input can be read from the state of a layer: a task for its readout, not for its gradient.

        r2(d) = 1 - var(x_(t-d) - w . h_t) / var(x_(t-d)),  w the best, by least squares

    Inputs are independent numbers, uniform in (-scale, scale); what is read is the first feature.  The readout is
    fitted on half of the sequences and scored on the other half.  Nothing of the model is trained: the result is a
    property of its weights as they are.

    Args:
        model: a recurrent layer, or any model that takes (T, N, I) and contains one.
        distances: d, in steps, 0 or more.
        input_size: I; None: the model's ``input_size``.
        scale: of the input.
        length, sequences: T and N.
        layer: as for :func:`flow`; its output is what is read.
        seed: of the input.

    Returns:
        :class:`Timescale`.

    Raises:
        ArgumentError: distances that leave no steps, no input size, or fewer than two sequences.

    Source: H. Jaeger, "Short term memory in echo state networks" (2001).

    >>> import tinygrad_rnn as tg
    >>> class Delay(tg.nn.Module):                                        # h = (x_t, x_(t-1), x_(t-2))
    ...     input_size, hidden_size = 1, 3
    ...     def forward(self, x, h):
    ...         return tg.cat([x, h[:, :2]], 1)
    >>> found = timescale_task(tg.nn.RNNLayer(Delay()), [0, 1, 2, 3, 4])
    >>> found.r2.round(2).tolist(), found.reach
    ([1.0, 1.0, 1.0, 0.0, 0.0], 2)
    """
    wanted = list(distances)
    if not wanted or any(isinstance(d, bool) or not isinstance(d, int) or not 0 <= d < length - 1 for d in wanted):
        raise ArgumentError(f"timescale_task(): distances must be numbers of steps below {length - 1}, got {wanted}")
    if sequences < 2:
        raise ArgumentError(
            "timescale_task(): one half of the sequences is fitted to, the other scored: give 2 or more"
        )
    size = getattr(model, "input_size", None) if input_size is None else input_size
    if not isinstance(size, int):
        raise ArgumentError(f"timescale_task(): {type(model).__name__} does not say its input_size: give it")
    like = next(iter(model.parameters()), None) if hasattr(model, "parameters") else None
    drawn = np.random.default_rng(seed).uniform(-scale, scale, (length, sequences, size))
    kind = np.float32 if like is None else like._data.dtype
    fed = drawn.transpose(1, 0, 2) if getattr(model, "batch_first", False) else drawn
    xp = np if like is None else array_module(like._data)
    recurrence = chosen(ran(model, wrap(xp.asarray(fed, kind))), layer)
    h = host(recurrence.y).reshape(length, sequences, -1)
    start = max(wanted)
    states = np.concatenate([h[start:], np.ones((length - start, sequences, 1))], 2)
    half = sequences // 2
    fitted, scored = (states[:, rows].reshape(-1, states.shape[2]) for rows in (slice(half), slice(half, None)))
    found = []
    for d in wanted:
        target = drawn[start - d : length - d, :, 0]
        one, other = target[:, :half].reshape(-1), target[:, half:].reshape(-1)
        w = np.linalg.lstsq(fitted, one, rcond=None)[0]
        found.append(max(0.0, 1 - float(np.var(other - scored @ w)) / float(np.var(other))))
    return Timescale(recurrence.place, np.array(wanted, np.float64), np.array(found))

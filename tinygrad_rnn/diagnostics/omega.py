"""Omega: Pascanu's penalty on cotangents that change their norm on the way back through a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backend.quiet import unreported
from ..errors import ArgumentError
from ..tape.grad import grad
from ..tape.modes import unwatched, within
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .cotangents import Cotangents
from .recurrence import Recorded, Recurrence, chosen
from .result import COLOURS, GREY, Result
from .shares import Walk, loss_of_batch

__all__ = ["Omega", "omega"]


@dataclass(frozen=True, eq=False)
class Omega(Result):
    """Pascanu's Omega of one layer.

    Attributes:
        place: of the layer.
        value: the sum of the terms.
        times: the time steps (L), in the order in which they are read.
        terms: of each step, the mean over sequences of (ratio - 1)^2.
        ratios: of each step and sequence the norm of the cotangent before the step over that after it (L, N); nan where
            there is no cotangent.
    """

    place: str
    value: float
    times: Array
    terms: Array
    ratios: Array
    _recurrence: Recurrence = field(repr=False)
    _directions: tuple[tuple[Array, ...], ...] = field(repr=False)

    @unreported
    def penalty(self) -> Tensor:
        """The value as a Tensor, to be added to a loss: its gradient is that of the weights of the layer.

        As in the paper it is the immediate one: cotangents after a step and states before it are constants, and only
        the step between them depends on the weights.  The tensor is linear in the weights: its value and first
        derivative are Omega's, higher ones are 0.
        """
        layer, steps = self._recurrence, self._recurrence.recorded_steps()
        sums: list[Any] = [None] * len(steps.weights)
        wanted = [(k, w) for k, w in enumerate(steps.weights) if w is not None and w._node is not None]
        for visit, directions in enumerate(self._directions):
            ran = steps.ran[visit]
            outputs = [
                (y, wrap(v.astype(y._data.dtype))) for y, v in zip(ran.results, directions, strict=True) if y._node
            ]
            alive = np.flatnonzero(np.isfinite(self.ratios[visit, : len(directions[0])]))
            if not outputs or not len(alive):
                continue

            def term(outputs: Any = outputs, ran: Any = ran, alive: Array = alive) -> Tensor:
                ys, gs = zip(*outputs, strict=True)
                pulled = grad(ys, ran.states, gs, create_graph=True, allow_unused=True)
                squares: Any = sum((g * g).sum(1) for g in pulled if g is not None)
                norms = squares[steps.xp.asarray(alive)] ** 0.5
                mean: Tensor = ((norms - 1) ** 2).mean()
                return mean

            value = unwatched(within, True, term)
            if value._node is None:
                continue
            found = unwatched(grad, value, tuple([w for _, w in wanted]), None, True, allow_unused=True)
            for (k, _), g in zip(wanted, found, strict=True):
                if g is not None:
                    sums[k] = g._data if sums[k] is None else sums[k] + g._data
        total: Tensor | None = None
        for w, g in zip(layer.weights, sums, strict=True):
            if w is not None and g is not None and w._node is not None:
                part = ((w - w.detach()) * wrap(g.astype(w._data.dtype))).sum()
                total = part if total is None else total + part
        if total is None:
            raise ArgumentError(f"{self.place}: no weight requires grad")
        return total + self.value

    def head(self) -> str:
        return f"{self.place}: Omega {self.value:.6g}"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        with np.errstate(all="ignore"):
            means = [float(row[np.isfinite(row)].mean()) if np.isfinite(row).any() else np.nan for row in self.ratios]
        rows = [(int(t), m, float(term)) for t, m, term in zip(self.times, means, self.terms, strict=True)]
        return ("step", "norm before / after", "term"), rows

    def draw(self, ax: Any) -> None:
        ax.plot(self.times, self.terms, "o-", color=COLOURS[0], markersize=3, label="term")
        ax.plot(self.times, self.ratios, color=COLOURS[1], alpha=0.6, linewidth=0.9)
        ax.plot([], [], color=COLOURS[1], label="norm before / after, each sequence")
        ax.axhline(1, color=GREY, linewidth=0.8)
        ax.set_xlabel("time step")
        ax.set_ylabel("ratio, and (ratio - 1)^2")
        ax.set_title(self.place)
        ax.legend()


@unreported
def omega(model: Any, loss_fn: Callable[..., Tensor], batch: Any, *, layer: int | str | None = None) -> Omega:
    """Pascanu's Omega: how far the steps of a layer are from keeping the norm of what goes back through them.

        Omega = sum_t (|dE/ds_t  ds_t/ds_(t-1)| / |dE/ds_t| - 1)^2

    where ``dE/ds_t`` is the whole cotangent of the state, and the mean is taken over sequences.  Unlike a constraint on
    the recurrent matrix it asks for the norm to be kept along the directions that gradients have.

    Args:
        model, loss_fn, batch: as for :func:`shares`.
        layer: as for :func:`flow`.

    Returns:
        :class:`Omega`; ``penalty()`` gives a Tensor for training.

    Raises:
        ArgumentError: no recurrent layer ran.

    Source: R. Pascanu et al. (2013), section 3.3, equations 9 and 10.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> net, x = tg.nn.RNN(2, 8), tg.randn(10, 4, 2)
    >>> found = omega(net, lambda output: (output[0][-1] ** 2).sum(), x)
    >>> loss = (net(x)[0][-1] ** 2).sum() + 0.1 * found.penalty()
    >>> loss.backward()
    """
    recorded = Recorded(model, loss_of_batch(model, loss_fn, batch))
    arrived = recorded.sweep(recorded.result)
    recurrence = chosen(recorded.layers, layer)
    walk = Walk(recurrence, arrived[recorded.layers.index(recurrence)], recorded.parameters)
    steps, visits = walk.steps, walk.steps.visits
    ratios = np.full((steps.length, steps.sequences), np.nan)
    directions: list[tuple[Array, ...]] = [()] * steps.length
    before: dict[int, Array] = {}

    def arriving(visit: int, g: Cotangents, n: int) -> None:
        logs = g.log_norms()[:n, 0]
        before[visit] = logs
        unit = steps.xp.asarray(np.where(np.isfinite(logs), logs, 0))
        factor = steps.xp.exp(g.log[:n, 0] - unit)[:, None]
        directions[visit] = tuple([values[:n, 0] * factor for values in g.values])

    def carried(visit: int, g: Cotangents, n: int) -> None:
        with np.errstate(all="ignore"):
            ratios[visit, :n] = np.exp(g.log_norms()[:n, 0] - before[visit])

    for _ in walk.back(1, carried, arriving):
        pass
    ratios[~np.isfinite(ratios)] = np.nan
    counts = np.isfinite(ratios).sum(1)
    squares = np.where(np.isfinite(ratios), (ratios - 1) ** 2, 0).sum(1)
    terms = np.divide(squares, counts, out=np.zeros(len(squares)), where=counts > 0)
    times = np.array(visits.times, np.float64)
    return Omega(recurrence.place, float(terms.sum()), times, terms, ratios, recurrence, tuple(directions))

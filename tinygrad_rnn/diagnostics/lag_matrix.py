"""Lag matrix: how much the loss at each step depends on the state at every step before it, |dE_i / dh_j|."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import array_module, to_numpy
from ..backend.quiet import unreported
from ..errors import ArgumentTypeError
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .cotangents import log_sum, logarithm
from .recurrence import External, Recorded, Recurrence, chosen, run_model
from .result import Result, colour_bar
from .steps import Steps

__all__ = ["LagMatrix", "lag_matrix"]


@dataclass(frozen=True, eq=False)
class LagMatrix(Result):
    """Norms of the derivatives of losses by states.

    Attributes:
        place: of the layer.
        log_norms: by name of a state, log |dE_i / d state_j| over the whole batch, (number of losses, T): row i is the
            loss, column j the time step after which the state is.
    """

    place: str
    log_norms: Mapping[str, Array]

    @property
    def log_norm(self) -> Array:
        """That of the first state, h."""
        return next(iter(self.log_norms.values()))

    def by_lag(self) -> Array:
        """The mean over i of log |dE_i / dh_(i-lag)|, of those that are not 0 (T)."""
        found = []
        for lag in range(self.log_norm.shape[1]):
            values = np.diagonal(self.log_norm, -lag)
            finite = values[np.isfinite(values)]
            found.append(finite.mean() if len(finite) else -np.inf)
        return np.array(found)

    def head(self) -> str:
        losses, steps = self.log_norm.shape
        return f"{self.place}: log |dE_i / dh_j| of {losses} losses and the states after {steps} steps"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        return ("lag", "mean log norm"), [(lag, float(value)) for lag, value in enumerate(self.by_lag())]

    def draw(self, ax: Any) -> None:
        shown = np.ma.masked_invalid(self.log_norm)
        image = ax.imshow(shown, cmap="cividis", interpolation="nearest", aspect="auto", origin="lower")
        colour_bar(ax, image, "log norm (nats)")
        ax.set_xlabel("state h_j: step j")
        ax.set_ylabel("loss E_i: number i")
        ax.set_title(f"{self.place}: |dE_i / dh_j|")


@unreported
def lag_matrix(
    model: Any, x: Any, losses: Callable[[Any], Tensor], hx: Any = None, *, layer: int | str | None = None
) -> LagMatrix:
    """How the loss at each step depends on the state at every step before it.

        dE_i / dh_j = dE_i / dh_i  prod_(k = j+1 .. i) dh_k / dh_(k-1)

    in a layer that other layers read, with all ways to E_i through these; c_j is held fixed.

    Args:
        model, x, hx, layer: as for :func:`flow`.
        losses: ``losses(output)`` gives the E_i, as a Tensor (T,) or, of each sequence, (T, N), where output is what
            the model returns.

    Returns:
        :class:`LagMatrix`.  One sweep through what is above the layer does where each loss reads one step, which is
        found out; else there is one for each loss.

    Raises:
        ArgumentTypeError: ``losses`` gives something else.

    Source: R. Pascanu et al. (2013), equations 3 to 5; CS224N (2019), lecture 7.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> net, x = tg.nn.RNN(2, 4), tg.randn(6, 1, 2)
    >>> found = lag_matrix(net, x, lambda output: (output[0] ** 2).sum((1, 2)))
    >>> found.log_norm.shape, bool(found.by_lag()[5] < found.by_lag()[0])
    ((6, 6), True)
    """

    def run() -> Tensor:
        given = losses(run_model(model, x, hx))
        if not isinstance(given, Tensor) or given.ndim not in (1, 2):
            raise ArgumentTypeError("lag_matrix(): losses(output) must give a Tensor (T,) or (T, N)")
        return given

    recorded = Recorded(model, run)
    recurrence = chosen(recorded.layers, layer)
    place, count = recorded.layers.index(recurrence), recorded.result.shape[0]
    steps = recurrence.steps()
    logs = {name: np.full((count, recurrence.steps_of_time), -np.inf) for name in steps.names}
    once = _of_one_step_each(recorded, place)
    # of each loss: what arrives (S, W), or only at its own step; and cotangents with the rows of gates, (N, 4 W)
    each = sum(a.size for a in recurrence.states) * (4 + (recurrence.steps_of_time if once is None else 0))
    at_once = max(1, MOST // max(1, each))
    for first in range(0, count, at_once):
        numbers = range(first, min(first + at_once, count))
        if once is None:
            arrived = [_swept(recorded, place, np.eye(count)[i]) for i in numbers]
        else:
            arrived = [once for _ in numbers]
        _pull(recurrence, steps, arrived, numbers, once is not None, logs)
    return LagMatrix(recurrence.place, logs)


MOST = 1 << 24
"""Numbers of float64 in the cotangents that are pulled back together."""


def _pull(
    recurrence: Recurrence,
    steps: Steps,
    arrived: Sequence[External],
    numbers: range,
    own_step: bool,
    logs: dict[str, Array],
) -> None:
    """Pull the cotangents of some losses back through all steps.

    Args:
        arrived: what arrives from each; with ``own_step`` at the step of its number alone.
        logs: where the norms go, by state.
    """
    visits, xp = steps.visits, steps.xp
    g = steps.cotangents(len(numbers))
    for k, external in enumerate(arrived):
        for state, (_, final) in enumerate(external):
            if final is not None and not own_step:
                g.inject(state, (slice(None), slice(k, k + 1)), xp.asarray(final, np.float64)[:, None])
    for visit in range(steps.length - 1, -1, -1):
        n, t = visits.sizes[visit], visits.times[visit]
        rows = xp.asarray(visits.rows[visit, :n])
        for k, (i, external) in enumerate(zip(numbers, arrived, strict=True)):
            for state, (series, _) in enumerate(external):
                if series is not None and (not own_step or i == t) and (given := series[rows]).any():
                    g.inject(state, (slice(n), slice(k, k + 1)), xp.asarray(given, np.float64)[:, None])
        scale = 2 * to_numpy(g.log)
        for name, square in zip(steps.names, g.squares(), strict=True):
            # of a sequence that has ended what is carried is not of this step
            logs[name][numbers.start : numbers.stop, t] = 0.5 * log_sum((logarithm(square) + scale)[:n], 0)
        steps.pull(visit, g)
        g.rescale()


def _swept(recorded: Recorded, place: int, weights: Array) -> External:
    """What arrives at the layer from the sum of all losses, weighted."""
    losses: Tensor = recorded.result
    xp = array_module(losses._data)
    seed = xp.zeros(losses._data.shape, losses._data.dtype)
    seed += xp.asarray(weights, seed.dtype).reshape((-1,) + (1,) * (losses.ndim - 1))
    return recorded.sweep(losses, wrap(seed), parameters=False)[place]


def _of_one_step_each(recorded: Recorded, place: int) -> External | None:
    """What arrives from all losses together, if each reads the output at its own step alone; else None."""
    recurrence = recorded.layers[place]
    count = recorded.result.shape[0]
    if count != recurrence.steps_of_time:
        return None
    time_of = np.zeros(len(recurrence.x), np.int64)
    visits = recurrence.visits()
    for t, rows, n in zip(visits.times, visits.rows, visits.sizes, strict=True):
        time_of[rows[:n]] = t
    # weighted, they bring their weight times as much to their own steps
    weights = np.random.default_rng(0).uniform(0.5, 1.5, count)
    once, weighted = _swept(recorded, place, np.ones(count)), _swept(recorded, place, weights)
    xp = array_module(recurrence.x)
    factor = xp.asarray(weights[time_of])[:, None]
    alone = all(b is None or not abs(b).any() for _, b in once) and all(
        a is None or _equal(xp, a * factor, b) for (a, _), (b, _) in zip(once, weighted, strict=True)
    )
    return once if alone else None


def _equal(xp: Any, a: Array, b: Any) -> bool:
    tolerance = 64 * float(np.finfo(b.dtype).eps)
    return bool((abs(a - b) <= tolerance * xp.maximum(abs(a), abs(b))).all())

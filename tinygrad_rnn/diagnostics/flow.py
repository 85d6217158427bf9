"""Flow: how the states at one step depend on those before it, d h_end / d (h_k, c_k), for every k at once.

    d h_end / d s_k = (d s_end / d s_(end-1)) ... (d s_(k+1) / d s_k), first rows

All H unit cotangents of h_end are pulled back together, through steps whose gates are known (:mod:`.steps`), and scaled
on the way (:mod:`.cotangents`), so that the norm is there however small it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..backend.quiet import unreported
from ..errors import ArgumentError
from ..typing import Array
from .cotangents import Cotangents, log_sum, logarithm
from .recurrence import Recurrence, chosen, ran
from .resolution import shade, zones
from .result import COLOURS, MARKERS, Result, colour_bar
from .steps import RNNSteps, Steps, host

__all__ = [
    "Flow",
    "Jacobian",
    "SingularValues",
    "flow",
    "flow_of",
    "half_life_of",
    "local",
    "mean_of_blocks",
    "norms_back",
    "singular_values",
    "slope_of",
]


@dataclass(frozen=True, eq=False)
class Flow(Result):
    """Norms of ``d h_end / d s_k`` for every k; index k counts the states: 0 is the initial one, the last is s_end.

    Attributes:
        place: of the layer.
        of: which state is differentiated.
        end: after which time step.
        times: the time steps after which the states are (L + 1); -1, or the length if the layer reads from the end, for
            the initial state.
        log_norms: by name of a state, log |d of_end / d state_k|_F, with the other states of step k held fixed (L + 1).
        total: the same of all states together.
        slope, slope_error: nats per step back, and the standard error.
        bound: an upper bound of ``total``, for a plain RNN: ``log sqrt(H) + k log(gamma sigma_max)``, gamma = 1; else
            None.
        probes: how many random cotangents were pulled back; 0: all, exactly.
        dtype: of the layer, by which verdicts are.
    """

    place: str
    of: str
    end: int
    times: Array
    log_norms: Mapping[str, Array]
    total: Array
    slope: float
    slope_error: float
    bound: Array | None
    probes: int
    dtype: str
    _steps: Steps = field(repr=False)
    _last: int = field(repr=False)

    @property
    def log_norm(self) -> Array:
        """log |d of_end / d h_k|_F (L + 1), of the first state."""
        return next(iter(self.log_norms.values()))

    @property
    def lags(self) -> Array:
        """How many steps lie between each state and the last one (L + 1)."""
        return np.arange(len(self.total))[::-1].astype(np.float64)

    @property
    def half_life(self) -> float:
        """Steps in which the norm falls to a half, log 2 / -slope; inf if it does not fall, nan if it is not known."""
        return half_life_of(self.slope)

    @property
    def verdict(self) -> tuple[str, ...]:
        """For each k what is left of it in the dtype of the layer, beside terms that are nearer: see ``resolution``."""
        return zones(self.total[::-1], self.dtype)[::-1]

    @unreported
    def matrix(self, k: int) -> tuple[float, Array]:
        """``d of_end / d s_k``: the logarithm of a factor, and the matrix that it multiplies (H, sum of widths).

        Computed anew, exactly, whatever the probes.
        """
        k = self._place(k)
        g = _units(self._steps, self.of)
        for visit in range(self._last - 1, k - 1, -1):
            self._steps.pull(visit, g)
            g.rescale()
        log = to_numpy(g.log)[0]
        largest = float(log.max())
        rows = np.concatenate([host(v[0]) for v in g.values], 1)
        return largest, rows * np.exp(log - largest)[:, None]

    @unreported
    def spectral(self, k: int) -> float:
        """log |d of_end / d s_k|_2, the largest singular value."""
        log, matrix = self.matrix(k)
        return log + float(logarithm(singular_values_of(matrix).max(initial=0)))

    def _place(self, k: int) -> int:
        count = len(self.total)
        if not -count <= k < count:
            raise ArgumentError(f"there are {count} states, 0 to {count - 1}; got {k}")
        return k % count

    def head(self) -> str:
        falls = "it does not fall" if self.slope >= 0 else "not finite"
        memory = f"half-life {self.half_life:.3g} steps" if self.slope < 0 else falls
        how = "exact" if not self.probes else f"estimated by {self.probes} probes"
        return (
            f"{self.place}: d {self.of} after step {self.end} / d states before, {how}; "
            f"{self.slope:.4g} +- {self.slope_error:.2g} nats per step, {memory}"
        )

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        names = list(self.log_norms)
        rows = [
            (int(lag), int(t), *[float(self.log_norms[n][k]) for n in names], float(self.total[k]), label)
            for k, (lag, t, label) in enumerate(zip(self.lags, self.times, self.verdict, strict=True))
        ]
        return ("lag", "step", *[f"log |d/d{n}|" for n in names], "log |d/dall|", f"in {self.dtype}"), rows[::-1]

    def draw(self, ax: Any) -> None:
        for k, (name, logs) in enumerate(self.log_norms.items()):
            every = max(1, len(logs) // 12)
            style = {"color": COLOURS[k % 8], "marker": MARKERS[k % 8], "markevery": every, "markersize": 4}
            ax.plot(self.lags, logs, label=f"d {self.of} / d {name}", linewidth=1.3, **style)
        if self.bound is not None:
            ax.plot(self.lags, self.bound, "--", color=COLOURS[3], linewidth=1, label="bound by sigma_max")
        shade(ax, self.lags.tolist(), self.verdict)
        ax.set_xlabel("lag (steps)")
        ax.set_ylabel("log norm (nats)")
        ax.set_title(self.place)
        ax.legend()


@unreported
def flow(
    model: Any,
    x: Any,
    hx: Any = None,
    *,
    end: int = -1,
    of: str = "h",
    sequence: int = 0,
    probes: int | None = None,
    seed: int = 0,
    layer: int | str | None = None,
) -> Flow:
    """How ``h_end`` depends on the states before: log |d h_end / d (h_k, c_k)| for every k.

        d h_end / d s_k = prod_(j = k+1 .. end) d s_j / d s_(j-1)

    Args:
        model: a recurrent layer, or any model that contains one.
        x, hx: its input, and what else it takes; a plain tuple holds several arguments.
        end: the time step after which the state is that is differentiated; -1: the last one that is read.
        of: "h", or another state of the layer.
        sequence: which of the batch, as it is packed.
        probes: pull back so many random cotangents instead of all H: an estimate, E |V J|_F^2 = |J|_F^2.
        seed: of the probes.
        layer: which, if there are several: number, or place as "lstm layer 1 reverse"; None: the last that reads
            forwards.

    Returns:
        :class:`Flow`.

    Raises:
        ArgumentError: no such layer, state, sequence or step.

    Source: S. Hochreiter (1991); R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural
    networks" (2013), equation 5.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> result = flow(tg.nn.LSTM(3, 8), tg.randn(50, 1, 3))
    >>> result.log_norm.shape, result.slope < 0
    ((51,), True)
    """
    if probes is not None and (isinstance(probes, bool) or not isinstance(probes, int) or probes < 1):
        raise ArgumentError(f"flow(): probes must be a number of cotangents, at least 1, or None; got {probes!r}")
    recurrence = chosen(ran(model, x, hx), layer)
    return flow_of(recurrence, end, of, sequence, probes, np.random.default_rng(seed))


def flow_of(
    recurrence: Recurrence, end: int, of: str, sequence: int, probes: int | None, random: np.random.Generator
) -> Flow:
    """:func:`flow` of a layer that ran."""
    steps = recurrence.steps([sequence])
    last = _visit(recurrence, steps, end) + 1
    if of not in steps.names:
        raise ArgumentError(f"of={of!r}: {recurrence.place} has the states {', '.join(steps.names)}")
    if probes is None:
        g = _units(steps, of)
    else:
        g = steps.cotangents(probes)
        place = steps.names.index(of)
        drawn = random.standard_normal((1, probes, steps.widths[place])) / math.sqrt(probes)
        g.values[place][...] = steps.xp.asarray(drawn)
    logs = norms_back(steps, g, last)[:, :, 0]
    norms = dict(zip(steps.names, logs, strict=True))
    total = 0.5 * log_sum(2 * np.stack(list(norms.values())), 0)
    slope, error = slope_of(total)
    initial = recurrence.steps_of_time if recurrence.reverse else -1
    times = np.array([initial, *steps.visits.times[:last]], np.float64)
    return Flow(
        recurrence.place,
        of,
        int(times[-1]),
        times,
        norms,
        total,
        slope,
        error,
        _bound(steps, last),
        probes or 0,
        recurrence.dtype.name,
        steps,
        last,
    )


def norms_back(steps: Steps, g: Cotangents, last: int) -> Array:
    """Pull cotangents back from the state after ``last`` visits to the first state.

    Returns:
        The logarithms of their norms, over all cotangents of a sequence, on the host: (states, last + 1, M), the first
        state first.
    """
    xp = steps.xp
    squares, logs = [g.squares()], [g.log.copy()]
    for visit in range(last - 1, -1, -1):
        steps.pull(visit, g)
        squares.append(g.squares())
        logs.append(g.log.copy())
        g.rescale()
    scale = 2 * to_numpy(xp.stack(logs))  # (L + 1, M, K)
    found = [logarithm(xp.stack([s[k] for s in squares])) + scale for k in range(len(steps.names))]
    return np.stack([0.5 * log_sum(f, 2)[::-1] for f in found])


def _visit(recurrence: Recurrence, steps: Steps, end: int) -> int:
    """The number of the visit of a time step; -1: of the last one that is read."""
    times = steps.visits.times
    if not times:
        raise ArgumentError(f"{recurrence.place}: the sequence has no steps")
    if end == -1:
        return len(times) - 1
    wanted = end + recurrence.steps_of_time if end < 0 else end
    if wanted not in times:
        raise ArgumentError(f"there is no step {end}: {recurrence.place} reads {len(times)} of this sequence")
    return times.index(wanted)


def _units(steps: Steps, of: str) -> Cotangents:
    place = steps.names.index(of)
    g = steps.cotangents(steps.widths[place])
    g.values[place][...] = steps.xp.eye(steps.widths[place])
    return g


def _bound(steps: Steps, last: int) -> Array | None:
    if not isinstance(steps, RNNSteps):
        return None
    w = host(steps.weights[1])
    per_step = float(logarithm(singular_values_of(w)[0]))
    bound: Array = 0.5 * np.log(len(w)) + np.arange(last + 1)[::-1] * per_step
    return bound


def half_life_of(slope: float) -> float:
    """Steps until a half is left, at so many nats per step."""
    return math.nan if math.isnan(slope) else math.log(2) / -slope if slope < 0 else math.inf


def singular_values_of(matrix: Array) -> Array:
    """Falling; nan for a matrix that holds what is no finite number, of which NumPy's never converge."""
    if not np.isfinite(matrix).all():
        return np.full(min(matrix.shape), np.nan)
    found: Array = np.linalg.svd(matrix, compute_uv=False)
    return found


def slope_of(logs: Array) -> tuple[float, float]:
    """Nats per step back, of logarithms from the first state to the last, and the standard error.

    The mean of the differences of neighbours, with the error of :func:`mean_of_blocks`, over the steps to which there
    is a path; -inf if there are none.  nan without steps, and with numbers that are not finite.
    """
    if len(logs) < 2 or np.isnan(logs).any() or (logs == np.inf).any():
        return math.nan, math.nan
    alive = logs[logs > -np.inf]
    if len(alive) < 2:
        return -math.inf, 0.0
    differences = (alive[:-1] - alive[1:])[::-1]
    mean, error = mean_of_blocks(differences)
    return float(mean), float(error)


def mean_of_blocks(values: Array) -> tuple[Any, Any]:
    """The mean of values in a row, and its standard error, for each column.

    The error is that of the means of about sqrt(L) blocks, since neighbours are not independent; nan of one block.
    """
    blocks = np.array_split(values, max(1, round(math.sqrt(len(values)))))
    means = np.array([block.mean(0) for block in blocks])
    error = means.std(0, ddof=1) / math.sqrt(len(means)) if len(means) > 1 else means[0] * math.nan
    return values.mean(0), error


@dataclass(frozen=True, eq=False)
class SingularValues(Result):
    """Singular values of ``d h_end / d s_k``.

    Attributes:
        place: of the layer.
        k, lag: the state, and how many steps before the last one it is.
        log_values: their natural logarithms, falling.
    """

    place: str
    k: int
    lag: int
    log_values: Array

    def head(self) -> str:
        spread = float(self.log_values[0] - self.log_values[-1]) if len(self.log_values) else math.nan
        return f"{self.place}: singular values over {self.lag} steps; from largest to smallest {spread:.4g} nats"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        per_step = self.log_values / max(1, self.lag)
        rows = [(n + 1, float(a), float(b)) for n, (a, b) in enumerate(zip(self.log_values, per_step, strict=True))]
        return ("number", "log value", "per step"), rows

    def draw(self, ax: Any) -> None:
        ax.plot(np.arange(1, len(self.log_values) + 1), self.log_values, "o-", color=COLOURS[0], markersize=3)
        ax.set_xlabel("number of the singular value")
        ax.set_ylabel("log singular value (nats)")
        ax.set_title(f"{self.place}, lag {self.lag}")


@unreported
def singular_values(result: Flow, k: int = 0) -> SingularValues:
    """The singular values of ``d h_end / d s_k``, as logarithms.

    Few large and many small ones: only few directions of the state are remembered, whatever the norm says.

    Args:
        result: of :func:`flow`.
        k: which state, as in :class:`Flow`: 0 is the initial one.

    Returns:
        :class:`SingularValues`, of which there are H.

    Raises:
        ArgumentError: there is no such state.

    Source: R. Pascanu et al. (2013), section 2.1.

    >>> import tinygrad_rnn as tg
    >>> net = tg.nn.RNN(1, 2, bias=False)
    >>> with tg.no_grad():
    ...     _ = net.weight_hh_l0.copy_(tg.tensor([[0.5, 0.0], [0.0, 0.1]]))
    >>> found = singular_values(flow(net, tg.zeros(4, 1, 1)))
    >>> [round(float(v) / 4, 6) for v in found.log_values]         # log 0.5, log 0.1
    [-0.693147, -2.302585]
    """
    place = result._place(k)
    log, matrix = result.matrix(place)
    values = logarithm(singular_values_of(matrix)) + log
    return SingularValues(result.place, place, int(result.lags[place]), values)


@dataclass(frozen=True, eq=False)
class Jacobian(Result):
    """The derivative of one step: new states by old ones.

    Attributes:
        place: of the layer.
        time: the step.
        matrix: (sum of widths, sum of widths), rows are new states.
        names: of the states.
        blocks: by name, as "dh/dc".
    """

    place: str
    time: int
    matrix: Array
    names: tuple[str, ...]
    blocks: Mapping[str, Array]

    def head(self) -> str:
        return f"{self.place}: the Jacobian of step {self.time}, {self.matrix.shape[0]} by {self.matrix.shape[1]}"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = []
        for name, block in self.blocks.items():
            values = singular_values_of(block)
            rows.append(
                (name, float(np.linalg.norm(block)), float(values.max(initial=0)), float(values.min(initial=0)))
            )
        return ("block", "Frobenius norm", "largest singular value", "smallest"), rows

    def draw(self, ax: Any) -> None:
        most = float(abs(self.matrix).max(initial=0)) or 1.0
        image = ax.imshow(self.matrix, cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest")
        colour_bar(ax, image, "derivative")
        ax.set_xlabel("unit before the step: " + ", ".join(self.names))
        ax.set_ylabel("unit after the step: " + ", ".join(self.names))
        ax.set_title(f"{self.place}, step {self.time}")


@unreported
def local(model: Any, x: Any, t: int, hx: Any = None, *, sequence: int = 0, layer: int | str | None = None) -> Jacobian:
    """The Jacobian of one step, with its blocks: of an LSTM ``dh/dh, dh/dc, dc/dh, dc/dc``.

        dc/dc = diag(f),  for fixed h    (an LSTM without peepholes)

    Args:
        model, x, hx, sequence, layer: as for :func:`flow`.
        t: the time step.

    Returns:
        :class:`Jacobian`, rows by new states.

    Raises:
        ArgumentError: there is no such step.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> step = local(tg.nn.LSTM(2, 3), tg.randn(5, 1, 2), t=4)
    >>> list(step.blocks)
    ['dh/dh', 'dh/dc', 'dc/dh', 'dc/dc']
    >>> step.matrix.shape
    (6, 6)
    """
    recurrence = chosen(ran(model, x, hx), layer)
    steps = recurrence.steps([sequence])
    visit = _visit(recurrence, steps, t)
    g = steps.cotangents(sum(steps.widths))
    bounds = np.cumsum([0, *steps.widths])
    spans = [slice(int(a), int(b)) for a, b in pairwise(bounds)]
    for values, span, width in zip(g.values, spans, steps.widths, strict=True):
        values[0, span] = steps.xp.eye(width)
    steps.pull(visit, g)
    matrix = np.concatenate([host(values[0]) for values in g.values], 1)
    blocks = {
        f"d{new}/d{old}": matrix[rows, columns]
        for new, rows in zip(steps.names, spans, strict=True)
        for old, columns in zip(steps.names, spans, strict=True)
    }
    return Jacobian(recurrence.place, steps.visits.times[visit], matrix, steps.names, blocks)

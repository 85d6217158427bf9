"""Monitor: how far back gradients reach, while a model trains.

At every n-th update the monitor watches the model's own forward and backward run, and when the sweep is over pulls a
few random cotangents of a few sequences back through each recurrent layer.  In all other updates it does nothing but
count.  It draws from a generator of its own, made anew for each row from the seed and the number of the update: a run
that is resumed gives the rows that it would have given, bit for bit, and the training is the same with and without it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..backend.quiet import unreported
from ..errors import ArgumentError, ArgumentTypeError, TinygradRnnError, UsageError
from ..nn.module import Module
from ..ops.recurrent.unroll import Loop
from ..tape.modes import state, unwatched
from ..tape.observe.scopes import CALLS
from ..tape.observe.watcher import out_of_turn
from ..tape.tensor import Tensor
from ..typing import Array
from .cotangents import log_sum, logarithm
from .flow import half_life_of, norms_back, slope_of
from .gates import gates_of
from .recurrence import ComposedRecurrence, External, Recurrence, Seen
from .resolution import log_norm_of
from .result import COLOURS, GREY, MARKERS, Result, finished, plain
from .shares import Walk
from .steps import Frozen

__all__ = ["Monitor"]

LAST = 10
POINTS = 48
"""Of a decay curve that is kept, at most so many."""


class _Update(Seen):
    """Watches one update: notes the layers that its sweeps come to."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor.model)
        self.monitor = monitor
        self.layers: list[Recurrence] = []

    def applied(self, operation: Any, inputs: Sequence[Any], params: dict[str, Any], output: Any) -> None:
        first = output[0] if isinstance(output, tuple) and output else None
        if isinstance(first, Tensor) and first._node is not None:  # no sweep comes to an evaluation
            super().applied(operation, inputs, params, output)

    def unrolls(self, loop: Loop) -> None:
        if state.here.recording:
            super().unrolls(loop)

    def sweep_begins(self, seeds: Sequence[tuple[Any, Any]]) -> None:
        if self.sweeps == 0:
            self.layers = self.recurrences(segments=True)
            self.look_for(self.layers)
        super().sweep_begins(seeds)

    def sweep_ends(self, error: BaseException | None) -> None:
        super().sweep_ends(error)
        if self.sweeps == 0 and error is None:
            reached = [layer for layer in self.layers if any(node.index in self.found for node in layer.wanted_nodes())]
            if reached:
                unwatched(self.monitor._look, reached, self.found, self.later)
        if self.sweeps == 0:
            self.order, self.layers, self.found, self.later = [], [], {}, {}


class Monitor(Result):
    """Watches every n-th update of a training, and keeps a row about each recurrent layer.

    Args:
        model: that is trained.
        every: n.
        probes: how many random cotangents of each sequence are pulled back.
        keep: of how many sequences of the batch, the first of the longest.
        optimizer: whose steps are the updates; None: call :meth:`update` after each.
        seed: of the cotangents.

    Attributes:
        updates: how many there were.
        rows: one for each watched update and layer: ``update``; ``layer``, its place; ``slope`` in nats per step and
            ``half_life`` in steps; ``last``, the norm of the gradient of the last 10 steps over that of all, of the
            weight of the states; ``forget``, the mean of the gate that keeps, or None; ``gradient``, by parameter, the
            natural logarithm of the norm; ``ratio``, by parameter, |update| / |weight|; ``clipped``, whether gradients
            were made smaller before the update; ``finite``, whether all are; ``lags`` and ``decay``, the curve.

    Raises:
        ArgumentTypeError: model is no module.
        ArgumentError: numbers below 1.

    Use it with ``with``; ``state_dict`` and ``load_state_dict`` carry it over an interruption.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> net = tg.nn.LSTM(2, 8)
    >>> optimizer = tg.optim.SGD(net.parameters(), lr=0.1)
    >>> with Monitor(net, every=2, optimizer=optimizer) as monitor:
    ...     for _ in range(4):
    ...         optimizer.zero_grad()
    ...         (net(tg.randn(20, 4, 2))[0] ** 2).mean().backward()
    ...         optimizer.step()
    >>> [(row["update"], row["layer"], row["slope"] < 0) for row in monitor.rows]
    [(2, 'LSTM layer 0', True), (4, 'LSTM layer 0', True)]
    >>> monitor.memory
    'memory 1 step'
    """

    def __init__(
        self,
        model: Module,
        every: int = 100,
        probes: int = 8,
        keep: int = 4,
        *,
        optimizer: Any = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(model, Module):
            raise ArgumentTypeError(f"Monitor(): expected a module, got {type(model).__name__}")
        for name, value in {"every": every, "probes": probes, "keep": keep}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(f"Monitor(): {name} must be a number, at least 1; got {value!r}")
        self.model, self.every, self.probes, self.keep, self.seed = model, every, probes, keep, seed
        self.optimizer = optimizer
        self.updates = 0
        self.rows: list[dict[str, Any]] = []
        self._watcher: _Update | None = None
        self._where: Any = None  # the thread that is watched
        self._entered = False
        self._hook: Any = None
        self._pending: list[dict[str, Any]] = []
        self._before: dict[str, tuple[Array, float]] = {}  # by parameter: its value before the update, log |gradient|

    # when ----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Monitor:
        if self._entered:
            raise UsageError("this Monitor is open already")
        self._entered = True
        if self.optimizer is not None:
            self._hook = self.optimizer.register_step_post_hook(lambda *_: self.update())
        self._arm()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._entered = False
        if self._hook is not None:
            self._hook.remove()
        self._disarm()

    def update(self) -> None:
        """An update was made; an optimiser that the monitor knows calls it."""
        self.updates += 1
        if self._pending:
            self._finish()
        self._disarm()
        if self._entered:
            self._arm()

    def _arm(self) -> None:
        if (self.updates + 1) % self.every == 0:
            self._watcher, self._where = _Update(self), state.here
            self._where.watchers = (*self._where.watchers, self._watcher)
            CALLS[-id(self)] = None  # calls of modules say which they are

    def _disarm(self) -> None:
        if self._watcher is not None:
            out_of_turn(self._where, self._watcher)
            self._watcher = None
            CALLS.pop(-id(self), None)
        self._pending, self._before = [], {}

    # what ----------------------------------------------------------------------------------------------------------

    @unreported
    def _look(self, layers: list[Recurrence], found: dict[int, Any], later: dict[int, Any]) -> None:
        """After a sweep: of several in one update the last one counts."""
        parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self._pending = []
        for number, layer in enumerate(layers):
            row: dict[str, Any] = {"update": self.updates + 1, "layer": layer.place}
            try:
                row |= self._measured(layer, layer.external(found, later), parameters, number)
            except TinygradRnnError as error:  # a training does not end for what cannot be measured of it
                row["error"] = str(error)
            self._pending.append(row)
        self._before = {
            name: (to_numpy(p._data).copy(), _size(to_numpy(p.grad._data)))
            for name, p in parameters.items()
            if p.grad is not None
        }

    def _measured(
        self, layer: Recurrence, external: External, parameters: Mapping[str, Tensor], number: int
    ) -> dict[str, Any]:
        lengths = (layer._table >= 0).sum(0)
        sequences = np.flatnonzero(lengths == lengths.max(initial=0))[: self.keep].tolist()
        random = np.random.default_rng([self.seed, self.updates + 1, number])
        composed = isinstance(layer, ComposedRecurrence)
        # of a layer that is one record its weights as they were given: the graph behind them is gone
        walk = Walk(layer, external, parameters if composed else {}, sequences)
        steps = walk.steps
        drawn = random.standard_normal((len(sequences), self.probes, steps.widths[0])) / math.sqrt(self.probes)
        if isinstance(steps, Frozen):
            curves, last = _together(walk, steps, drawn)
        else:
            g = steps.cotangents(self.probes)
            g.values[0][...] = steps.xp.asarray(drawn)
            curves, last = 0.5 * log_sum(2 * norms_back(steps, g, steps.length), 0), _of_last(walk)  # (L + 1, M)
        with np.errstate(invalid="ignore"):
            curve = curves.mean(1)
        slope, _ = slope_of(curve)
        places = sorted({round(k) for k in np.linspace(0, len(curve) - 1, POINTS)})
        kept = [gate for gate in gates_of(layer, steps) if gate.keeps]
        return {
            "slope": slope,
            "half_life": half_life_of(slope),
            "last": last,
            "forget": float(kept[0].mean.mean()) if kept else None,
            "lags": [len(curve) - 1 - k for k in places][::-1],
            "decay": [float(curve[k]) for k in places][::-1],
        }

    @unreported
    def _finish(self) -> None:
        """After the update: what it did to the weights."""
        gradients, ratios, clipped, finite = {}, {}, False, True
        for name, p in self.model.named_parameters():
            if name not in self._before:
                continue
            value, log = self._before[name]
            gradients[name] = log
            finite = finite and log < math.inf
            with np.errstate(all="ignore"):
                change = _size(to_numpy(p._data) - value) - _size(value)
            ratios[name] = math.exp(change) if change < 700 else math.inf
            if p.grad is not None:
                clipped = clipped or _size(to_numpy(p.grad._data)) < log - 1e-5
        for row in self._pending:
            more = {"gradient": gradients, "ratio": ratios, "clipped": clipped, "finite": finite}
            self.rows.append(plain_row(row | more))

    @property
    def memory(self) -> str:
        """One word about the last row: "memory 34 steps"; empty before there is one."""
        lives = [row["half_life"] for row in self.rows[-1:] if "half_life" in row]
        if not lives:
            return ""
        life = float(lives[0])
        if not math.isfinite(life):
            return "memory without end" if life > 0 else "memory unknown"
        return f"memory {round(life)} step{'s' if round(life) != 1 else ''}"

    # kept ----------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that the next rows depend on, and the rows."""
        return {"updates": self.updates, "seed": self.seed, "rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`, open or not."""
        self._disarm()
        self.updates, self.seed, self.rows = saved["updates"], saved["seed"], [dict(row) for row in saved["rows"]]
        if self._entered:
            self._arm()

    # seen ----------------------------------------------------------------------------------------------------------

    def head(self) -> str:
        return f"{self.updates} updates, every {self.every}th watched: {len(self.rows)} rows"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        headings = ("update", "layer", "slope", "half-life", "last 10 steps", "forget", "log |gradient|", "clipped")
        rows = []
        for row in self.rows:
            forget = row.get("forget")
            total = 0.5 * float(log_sum(2 * np.array([float(v) for v in row["gradient"].values()] or [-np.inf])))
            numbers = [float(row.get(name, math.nan)) for name in ("slope", "half_life", "last")]
            shown = "" if forget is None else f"{forget:.4g}"
            rows.append((row["update"], row["layer"], *numbers, shown, total, "yes" if row["clipped"] else ""))
        return headings, rows

    def draw(self, ax: Any) -> None:
        """The decay curves of the last layer, light to dark by update."""
        last = self.rows[-1]["layer"] if self.rows else None
        rows = [row for row in self.rows if row["layer"] == last and "decay" in row]
        for k, row in enumerate(rows):
            strength = 0.25 + 0.75 * (k + 1) / len(rows)
            label = f"update {row['update']}" if k in (0, len(rows) - 1) else None
            style = {"marker": MARKERS[0 if k < len(rows) - 1 else 1], "markevery": 6, "markersize": 3}
            curve = [float(v) for v in row["decay"]]
            ax.plot(row["lags"], curve, color=COLOURS[0], alpha=strength, linewidth=1.1, label=label, **style)
        ax.set_xlabel("lag (steps)")
        ax.set_ylabel("log |dh_T/dh_(T - lag)| (nats)")
        ax.set_title(last or "no rows")
        if rows:
            ax.legend()

    def draw_history(self, ax: Any) -> None:
        """Half-life and gradient norm over updates, one line for each layer."""
        places = list(dict.fromkeys([row["layer"] for row in self.rows]))
        for k, place in enumerate(places):
            rows = [row for row in self.rows if row["layer"] == place and "half_life" in row]
            x, y = [row["update"] for row in rows], [float(row["half_life"]) for row in rows]
            ax.plot(x, y, color=COLOURS[k % 8], marker=MARKERS[k % 8], markersize=4, label=f"half-life, {place}")
        updates = {row["update"]: row["gradient"] for row in self.rows}
        totals = [0.5 * float(log_sum(2 * np.array([float(v) for v in g.values()]))) for g in updates.values()]
        ax.plot(list(updates), np.exp(totals), "--", color=GREY, label="gradient norm")
        ax.set_yscale("log")
        ax.set_xlabel("update")
        ax.set_ylabel("half-life (steps), gradient norm")
        ax.legend()
        finished(ax)

    def to_json(self) -> str:
        """The rows as JSON."""
        return json.dumps({"result": "Monitor", "updates": self.updates, "every": self.every, "rows": self.rows})


def _size(array: Array) -> float:
    """log of the norm; in the array's own dtype where nothing there can overflow or underflow."""
    flat = array.reshape(-1)
    with np.errstate(all="ignore"):
        square = float(np.dot(flat, flat))
    return 0.5 * math.log(square) if 1e-30 < square < 1e30 else log_norm_of(array)


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON has it, numbers that are not finite as texts that ``float`` reads."""
    return {name: plain(value) for name, value in row.items()}


def _together(walk: Walk, steps: Frozen, drawn: Array) -> tuple[Array, float]:
    """One way back for both: probes, whose norms are given (L + 1, M), and beside them the loss's own cotangent.

    Returns:
        The norms; and |gradient of the last 10 steps| / |gradient| of the weight of the states.
    """
    xp, probes = steps.xp, drawn.shape[1]
    g = steps.cotangents(probes + 1)
    g.values[0][:, :probes] = xp.asarray(drawn)
    own = slice(probes, probes + 1)
    squares, logs, lefts, rights = [], [], [], []

    def note() -> None:
        squares.append(sum(g.squares(), start=0 * g.log)[:, :probes])
        logs.append(g.log[:, :probes].copy())

    note()
    for state_, (_, final) in enumerate(walk.external):
        if final is not None:
            g.inject(state_, (slice(None), own), xp.asarray(final, np.float64)[:, None])
    for visit in range(steps.length - 1, -1, -1):
        rows = xp.asarray(steps.visits.rows[visit])
        for state_, (series, _) in enumerate(walk.external):
            if series is not None:
                g.inject(state_, (slice(None), own), xp.asarray(series[rows], np.float64)[:, None])
        of_states = steps.pull(visit, g, weights=True)[1]
        with np.errstate(all="ignore"):
            lefts.append(of_states.left[:, probes] * xp.exp(of_states.log[:, probes])[:, None])
        rights.append(of_states.right)
        note()
        g.rescale()
    terms = logarithm(xp.stack(squares)) + 2 * to_numpy(xp.stack(logs))
    curves = 0.5 * log_sum(terms, 2)[::-1]
    whole, part = (
        float(xp.linalg.norm(xp.concatenate(lefts[:count]).T @ xp.concatenate(rights[:count]))) if lefts else 0.0
        for count in (len(lefts), LAST)
    )
    return curves, part / whole if whole > 0 else math.nan


def _of_last(walk: Walk) -> float:
    """|gradient of the last 10 steps| / |gradient|, of the weight of the states, or of all where that is not known."""
    sums: dict[str, Array] = {}
    parts: dict[str, Array] = {}
    for visit, terms in walk:
        chosen = {name: t for name, t in terms.items() if "weight_hh" in name} or terms
        for name, term in chosen.items():
            log, array = term.scaled()
            with np.errstate(all="ignore"):
                share = np.exp(log) * to_numpy(array)
            sums[name] = sums[name] + share if name in sums else share
        if visit == max(0, walk.steps.length - LAST):
            parts = dict(sums)
    whole = math.sqrt(sum(float((a**2).sum()) for a in sums.values()))
    part = math.sqrt(sum(float((a**2).sum()) for a in parts.values()))
    return part / whole if whole > 0 else math.nan

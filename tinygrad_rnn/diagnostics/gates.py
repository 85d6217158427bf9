"""Gates and activations: how far they are open, how long they remember, how much of their derivative is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..backend.quiet import unreported
from ..backend.random.generator import draws_undone
from ..errors import ArgumentError
from ..nn.recurrent.layers import GRU, LSTM
from ..tape.grad import grad
from ..tape.modes import state, unwatched, within
from ..tape.observe.scopes import NOWHERE
from ..tape.primitive import Primitive
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .recorded_steps import RecordedSteps
from .recurrence import Recurrence, Seen, chosen, ran, run_model, seen
from .result import COLOURS, GREY, MARKERS, Result, colour_bar
from .steps import Steps, host

__all__ = ["Gate", "GateReport", "Saturation", "gates", "gates_of", "saturation"]

EDGES = np.linspace(0, 1, 21)
KEEPS = {"f", "z"}
"""Gates that say how much of a state stays: f of an LSTM, z of a GRU."""


@dataclass(frozen=True, eq=False)
class Gate:
    """One gate over all steps and sequences.

    Attributes:
        name: "i", "f", "o"; "r", "z"; or "sigmoid 0" of a cell of the user's.
        keeps: whether it multiplies what is remembered.
        mean: of each unit (H).
        low, high: the share of steps at which a unit is below 0.1, above 0.9 (H).
        zero, one: the share of steps at which it is exactly 0, exactly 1 in the dtype of the layer (H).
        time_constant: of each unit, -1 / mean(log gate) in steps (H): how long what it multiplies lasts.
        histogram: of all values, in 20 bins from 0 to 1, as shares (20).
    """

    name: str
    keeps: bool
    mean: Array
    low: Array
    high: Array
    zero: Array
    one: Array
    time_constant: Array
    histogram: Array


@dataclass(frozen=True, eq=False)
class GateReport(Result):
    """The gates of a layer.

    Attributes:
        place: of the layer.
        gates: each of them.
        dtype: of the layer.
    """

    place: str
    gates: tuple[Gate, ...]
    dtype: str

    def __getitem__(self, name: str) -> Gate:
        """The gate of a name.

        Raises:
            ArgumentError: there is none.
        """
        for gate in self.gates:
            if gate.name == name:
                return gate
        raise ArgumentError(f"{self.place} has the gates {', '.join(g.name for g in self.gates)}, and no {name!r}")

    def head(self) -> str:
        return f"{self.place}: gates over all steps and sequences; time constants in steps, median over units"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = [
            (
                g.name,
                float(g.mean.mean()),
                float(g.low.mean()),
                float(g.high.mean()),
                float(g.zero.mean()),
                float(g.one.mean()),
                f"{float(np.median(g.time_constant)):.4g}" if g.keeps else "",
            )
            for g in self.gates
        ]
        headings = ("gate", "mean", "below 0.1", "above 0.9", f"0 in {self.dtype}", f"1 in {self.dtype}")
        return (*headings, "time constant"), rows

    def draw(self, ax: Any) -> None:
        for k, g in enumerate(self.gates):
            ax.scatter(g.low, g.high, s=22, color=COLOURS[k % 8], marker=MARKERS[k % 8], alpha=0.8, label=g.name)
        ax.plot([0, 1], [1, 0], color=GREY, linewidth=0.8)
        ax.set_xlabel("share of steps at which a unit is below 0.1")
        ax.set_ylabel("share of steps above 0.9")
        ax.set_xlim(-0.03, 1.03)
        ax.set_ylim(-0.03, 1.03)
        ax.set_title(self.place)
        ax.legend()


@unreported
def gates(model: Any, x: Any, hx: Any = None, *, layer: int | str | None = None) -> GateReport:
    """How far the gates of a layer are open, unit by unit, and how long they remember.

        time constant = -1 / mean_t log f_t,   since prod f_t = exp(-T / time constant)

    Args:
        model, x, hx, layer: as for :func:`flow`.

    Returns:
        :class:`GateReport`.  Its picture is that of left and right saturation: a unit at the bottom right is nearly
        always closed, one at the top left nearly always open.

    Raises:
        ArgumentError: the layer has no gates.

    Source: A. Karpathy, J. Johnson and L. Fei-Fei, "Visualizing and understanding recurrent networks" (2015); C. Tallec
    and Y. Ollivier, "Can recurrent neural networks warp time?" (2018).

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> found = gates(tg.nn.LSTM(3, 8, forget_bias=5.0), tg.randn(20, 2, 3))
    >>> bool(found["f"].mean.min() > 0.95), [g.name for g in found.gates]
    (True, ['i', 'f', 'o'])
    """
    recurrence = chosen(ran(model, x, hx), layer)
    found = gates_of(recurrence, recurrence.steps())
    if not found:
        raise ArgumentError(f"{recurrence.place} has no gates; saturation() shows the slopes of its activations")
    return GateReport(recurrence.place, found, recurrence.dtype.name)


def gates_of(recurrence: Recurrence, steps: Steps) -> tuple[Gate, ...]:
    """The gates of a layer that ran; none if it has none."""
    runs = _runs(steps)
    named: list[tuple[str, Array]] = []
    if isinstance(steps, RecordedSteps):
        values = [a for _, a in steps.activated(("sigmoid", "hardsigmoid"))]
        owner = recurrence.owner
        names: Sequence[str] = (
            ("i", "f", "o") if isinstance(owner, LSTM) else ("r", "z") if isinstance(owner, GRU) else ()
        )
        if len(names) != len(values):
            names = [f"sigmoid {k}" for k in range(len(values))]
        named = list(zip(names, values, strict=True))
    else:  # those that scale; candidates are values
        named = [(name, a) for name, a in steps.gates.items() if name not in ("g", "n")]
    return tuple([_gate(name, host(a)[runs], recurrence.dtype) for name, a in named])


def _runs(steps: Steps) -> Array:
    """Which sequences run at which visit (L, M)."""
    found: Array = np.arange(steps.sequences)[None] < np.asarray(steps.visits.sizes)[:, None]
    return found


def _gate(name: str, values: Array, kind: Any) -> Gate:
    """The report of one gate, of its values (rows, H)."""
    stored = values.astype(kind)
    with np.errstate(divide="ignore", invalid="ignore"):
        time_constant = -1 / np.log(values).mean(0)
    return Gate(
        name,
        name in KEEPS,
        values.mean(0),
        (values < 0.1).mean(0),
        (values > 0.9).mean(0),
        (stored == 0).mean(0),
        (stored == 1).mean(0),
        np.where(np.isnan(time_constant), 0.0, abs(time_constant)),
        np.histogram(np.clip(values, 0, 1), EDGES)[0] / max(1, values.size),
    )


# activations ----------------------------------------------------------------------------------------------------------

ACTIVATIONS = {
    *("tanh", "sigmoid", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "clip_open", "hardsigmoid"),
    *("hardswish", "log_sigmoid"),
}
FROM_RESULT = {
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
    "relu": lambda y: (y > 0) * 1.0,
}
SMALL = 0.05


@dataclass(frozen=True, eq=False)
class Saturation(Result):
    """The derivatives of activations, place by place, in the order in which they ran.

    Attributes:
        places: where.
        activations: which.
        mean: of the derivative.
        log_mean: the mean of its logarithm, of entries that are not 0: what a product along a path loses per factor.
        small: the share of derivatives below 0.05.
        zero: the share that is exactly 0.
        dead: the share of units whose derivative is 0 in all rows.
        histograms: of derivatives, in 20 bins from 0 to 1 and beyond, as shares (places, 20).
    """

    places: tuple[str, ...]
    activations: tuple[str, ...]
    mean: Array
    log_mean: Array
    small: Array
    zero: Array
    dead: Array
    histograms: Array

    def head(self) -> str:
        return f"derivatives of {len(self.places)} activations"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        numbers = (self.mean, self.log_mean, self.small, self.zero, self.dead)
        rows = [
            (place, name, *[float(a[k]) for a in numbers])
            for k, (place, name) in enumerate(zip(self.places, self.activations, strict=True))
        ]
        return ("place", "activation", "mean", "mean log", "below 0.05", "exactly 0", "dead units"), rows

    def draw(self, ax: Any) -> None:
        image = ax.imshow(self.histograms, aspect="auto", cmap="cividis", extent=(0, 1, len(self.places) - 0.5, -0.5))
        colour_bar(ax, image, "share of entries")
        names = [f"{p}: {a}" for p, a in zip(self.places, self.activations, strict=True)]
        ax.set_yticks(range(len(names)), names, fontsize="small")
        ax.set_xlabel("derivative of the activation")
        ax.set_ylabel("place")


class _Activations(Seen):
    """Notes activations outside of recurrent layers too."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.noted: list[tuple[Any, Primitive, list[Any], dict[str, Any]]] = []

    def applied(self, operation: Any, inputs: Sequence[Any], params: Mapping[str, Any], output: Any) -> None:
        before = len(self.order)
        super().applied(operation, inputs, dict(params), output)
        scope = state.here.scope or NOWHERE
        if len(self.order) > before:
            self.noted.append((len(self.order) - 1, operation, [], {}))
        elif getattr(operation, "name", "") in ACTIVATIONS and scope.time is None and isinstance(inputs[0], Tensor):
            values = [a._data if isinstance(a, Tensor) else a for a in inputs]
            self.noted.append((scope.owner, operation, values, dict(params)))

    def unrolls(self, loop: Any) -> None:
        super().unrolls(loop)
        self.noted.append((len(self.order) - 1, loop, [], {}))


@unreported
def saturation(model: Any, x: Any, hx: Any = None) -> Saturation:
    """The derivatives of all activations of a model, of recurrent layers and others, in the order in which they ran.

        |product of T factors s'(a)| = exp(T mean log s')

    Args:
        model, x, hx: as for :func:`flow`; the model need not contain recurrent layers.

    Returns:
        :class:`Saturation`.

    Raises:
        ArgumentError: no activation ran.

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).

    >>> import tinygrad_rnn as tg
    >>> found = saturation(tg.nn.Sequential(tg.nn.Tanh(), tg.nn.ReLU()), tg.tensor([[0.0, 10.0, -10.0]]))
    >>> found.activations, found.small.round(2).tolist(), found.zero.round(2).tolist()
    (('tanh', 'relu'), [0.67, 0.67], [0.0, 0.67])
    """
    with draws_undone():
        _, watcher = seen(model, lambda: within(False, run_model, model, x, hx), _Activations(model))
    layers = watcher.recurrences()
    paths = {id(module): path for path, module in model.named_modules()} if hasattr(model, "named_modules") else {}
    found: list[tuple[str, str, Array]] = []
    for where, operation, values, params in watcher.noted:
        if isinstance(where, int):
            layer = layers[where]
            found += [(layer.place, name, slopes) for name, slopes in _slopes(layer)]
        else:
            place = paths.get(id(where), "") or type(where).__name__ if where is not None else "outside of modules"
            found.append((place, operation.name, _derivative(operation, values, params)))
    if not found:
        raise ArgumentError(f"saturation(): no activation ran in {type(model).__name__}")
    columns: list[list[float]] = []
    for _, _, slopes in found:
        size = abs(slopes)
        alive = size[size > 0]
        log_mean = float(np.log(alive).mean()) if alive.size else -np.inf
        dead = float((size.reshape(-1, size.shape[-1]) == 0).all(0).mean())
        columns.append([slopes.mean(), log_mean, (size < SMALL).mean(), (size == 0).mean(), dead])
    histograms = [np.histogram(np.clip(s, 0, 1), EDGES)[0] / max(1, s.size) for _, _, s in found]
    mean, log_mean_, small, zero, dead_ = np.array(columns, np.float64).T
    places, names = [p for p, _, _ in found], [n for _, n, _ in found]
    return Saturation(tuple(places), tuple(names), mean, log_mean_, small, zero, dead_, np.array(histograms))


def _slopes(layer: Recurrence) -> list[tuple[str, Array]]:
    """The derivatives of the activations of a recurrent layer (rows, H)."""
    steps = layer.steps()
    runs = _runs(steps)
    if isinstance(steps, RecordedSteps):
        counted = [(name, FROM_RESULT[name](host(a))[runs]) for name, a in steps.activated(tuple(FROM_RESULT))]
        return [(f"{name} {k}", a) for k, (name, a) in enumerate(counted)]
    return [(name, host(a)[runs]) for name, a in steps.slopes.items()]


def _derivative(operation: Primitive, values: list[Any], params: dict[str, Any]) -> Array:
    """Of an operation element by element, by its vjp of ones."""
    leaf = wrap(values[0].astype(np.float64)).requires_grad_()

    def slopes() -> Tensor:
        y = operation.apply(leaf, *values[1:], **params)
        (g,) = grad(y, leaf, wrap(y._data * 0 + 1))
        assert g is not None
        return g

    array: Array = np.asarray(to_numpy(unwatched(within, True, slopes)._data), np.float64)
    return array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)

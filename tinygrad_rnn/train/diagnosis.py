"""``--diagnose N``: how far back gradients reach, measured at every N-th update, and the picture of it.

What is measured depends on the seed of the run, the number of the update and the numbers of the update itself, and on
nothing from before: so a checkpoint needs no more than the size of ``flow.jsonl`` for a resumed run to give the same
bytes.

    half-life of a layer = log 2 / -(slope of log |d h_T / d h_(T - lag)| over lag), in steps
"""

from __future__ import annotations

import collections
import math
from typing import Any

import numpy as np

from ..diagnostics import Monitor
from ..diagnostics.cotangents import log_sum
from ..diagnostics.result import COLOURS, MARKERS
from .plot import drawn
from .run_folder import RunFolder
from .trainer import Trainer

__all__ = ["Diagnosis", "draw_flow", "reach_of"]

CURVES = 60
"""Of more decay curves of a layer every so many are drawn."""
WIDE = 3
"""Layers side by side."""


class Diagnosis:
    """Watches the updates of a trainer within ``with``; :meth:`log` after each."""

    def __init__(self, trainer: Trainer, folder: RunFolder) -> None:
        config = trainer.config
        self._folder = folder
        self._monitor = Monitor(trainer.model, config.diagnose, optimizer=trainer.optimizer)
        last = list(collections.deque(folder.flow_rows(), maxlen=1))
        self._monitor.load_state_dict({"updates": trainer.update, "seed": config.seed, "rows": last})
        self.memory = self._monitor.memory

    def __enter__(self) -> Diagnosis:
        self._monitor.__enter__()
        self._monitor.rows.clear()
        return self

    def __exit__(self, *error: object) -> None:
        self._monitor.__exit__(*error)

    def log(self) -> None:
        """Append to ``flow.jsonl`` what the last update gave, if it was a watched one."""
        rows = self._monitor.rows
        if rows:
            self.memory = self._monitor.memory
            self._folder.log_flow(rows)
            rows.clear()  # the file has them


def reach_of(folder: RunFolder) -> str:
    """One line for the report of a run: the half-life of every layer at the last watched update.

    Empty if there was none.
    """
    try:
        rows = list(folder.flow_rows())
    except (ValueError, RecursionError) as error:  # somebody else wrote into it
        return f"how far back gradients reach cannot be said: {folder.flow} is damaged ({error})"
    rows = [row for row in rows if row["update"] == rows[-1]["update"]]
    told = [f"{row['layer']} {_steps(row)}" for row in rows]
    return f"gradients through time are halved: {', '.join(told)} (update {rows[-1]['update']:,})" if rows else ""


def _steps(row: dict[str, Any]) -> str:
    life = float(row.get("half_life", "nan"))
    if math.isnan(life):
        return "unknown"
    return "never" if math.isinf(life) else f"every {life:.3g} steps"


def draw_flow(folder: RunFolder) -> str | None:
    """Draw ``flow.png`` from ``flow.jsonl``; None, or the reason why it could not be drawn."""
    return drawn(folder, folder.flow_picture, lambda figure: _draw(figure, list(folder.flow_rows())))


def _draw(figure: Any, rows: list[dict[str, Any]]) -> None:
    """The decay curves of each layer above; half-lives and the norm of the gradient over the updates below."""
    if not rows:
        raise ValueError("no update was watched: the run has fewer than --diagnose asks for")
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    columns = min(WIDE, len(layers))
    lines = -(-len(layers) // columns)
    figure.set_size_inches(8 if columns < WIDE else 11, 3.4 * lines + 4.2)
    above, below = figure.subfigures(2, 1, height_ratios=(3.4 * lines, 4.2))
    axes = above.subplots(lines, columns, squeeze=False, sharey=True).reshape(-1)
    scale = _scale(axes[0], rows)
    for ax in axes[len(layers) :]:
        ax.remove()
    for ax, layer in zip(axes, layers, strict=False):
        _draw_decay(ax, layer, [row for row in rows if row["layer"] == layer], scale)
    for ax in axes[: len(layers) : columns]:
        ax.set_ylabel(r"$|\partial h_T\ /\ \partial h_{T - \mathrm{lag}}|$, Frobenius norm")
    above.colorbar(scale, ax=list(axes[: len(layers)]), label="update")
    life, norm = below.subplots(2, 1, sharex=True)
    _draw_lives(life, layers, rows)
    _draw_norms(norm, rows)
    below.align_ylabels([life, norm])


def _scale(ax: Any, rows: list[dict[str, Any]]) -> Any:
    """Colours of updates, for a colour bar too: cividis, which the colour-blind see as others do."""
    first, last = min(row["update"] for row in rows), max(row["update"] for row in rows)
    return ax.scatter([], [], c=[], cmap="cividis_r", vmin=first, vmax=max(last, first + 1))


def _draw_decay(ax: Any, layer: str, rows: list[dict[str, Any]], scale: Any) -> None:
    rows = [row for row in rows if "decay" in row]
    places = sorted({round(k) for k in np.linspace(0, len(rows) - 1, CURVES)}) if rows else []
    for place in places:
        row = rows[place]
        with np.errstate(over="ignore"):
            curve = np.array([float(value) for value in row["decay"]]) / math.log(10)
        ax.plot(row["lags"], curve, color=scale.to_rgba(row["update"]), linewidth=1.2)
    ax.yaxis.set_major_formatter(_power)
    ax.set_xlabel("lag (steps)")
    ax.set_title(layer + ("" if rows else ": could not be measured"), fontsize="medium")
    ax.grid(alpha=0.3)


def _power(exponent: float, _: int) -> str:
    """A tick at the decimal logarithm of a norm, which itself may be no float64.

    >>> _power(-3.0, 0), _power(-0.5, 0)
    ('1e-3', '0.316')
    """
    return f"1e{exponent:.0f}" if exponent == round(exponent) else f"{10**exponent:.3g}"


def _draw_lives(ax: Any, layers: list[str], rows: list[dict[str, Any]]) -> None:
    lives = [float(row.get("half_life", "nan")) for row in rows]
    for number, layer in enumerate(layers):
        own = [(row["update"], life) for row, life in zip(rows, lives, strict=True) if row["layer"] == layer]
        x, y = [update for update, _ in own], [life if math.isfinite(life) else math.nan for _, life in own]
        marker, colour = MARKERS[number % len(MARKERS)], COLOURS[number % len(COLOURS)]
        ax.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1.2, label=layer)
    finite = [life for life in lives if math.isfinite(life)]
    if finite and max(finite) > 30 * min(finite):
        ax.set_yscale("log")
    ax.set_ylabel("half-life (steps)")
    if math.inf in lives:
        ax.set_title("gaps: there gradients do not decay", fontsize="medium")
    if len(layers) > 1:
        ax.legend(fontsize="small")
    ax.grid(alpha=0.3)


def _draw_norms(ax: Any, rows: list[dict[str, Any]]) -> None:
    gradients = {row["update"]: [float(value) for value in row["gradient"].values()] for row in rows}
    logs = np.array([float(log_sum(2 * np.array(values))) / 2 / math.log(10) for values in gradients.values()])
    finite = logs[np.isfinite(logs)]
    wide = len(finite) > 0 and (np.ptp(finite) > math.log10(30) or abs(finite).max() > 300)
    with np.errstate(over="ignore"):
        shown = logs if wide else 10**logs
    ax.plot(list(gradients), shown, color=COLOURS[3], marker=MARKERS[1], markersize=4, linewidth=1.2)
    if wide:
        ax.yaxis.set_major_formatter(_power)
    ax.set_ylabel("gradient norm\nbefore clipping")
    ax.set_xlabel("update")
    ax.grid(alpha=0.3)

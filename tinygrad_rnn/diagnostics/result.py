"""Results: numbers that can be read as a table, drawn, shown in a notebook, and written as JSON.

A result is a frozen dataclass; its public fields are numbers, texts and float64 arrays on the host, and norms among
them are natural logarithms.  A subclass says what its table is and how it is drawn.

Pictures have axes that are named, with units; the eight colours of Okabe and Ito, which the colour-blind can tell
apart, and a marker or dash beside each colour; grey text and lines on no background, readable on white and on black.
"""

from __future__ import annotations

import dataclasses
import html
import io
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend.quiet import unreported
from ..errors import TinygradRnnError
from ..tape.observe.text_table import table

__all__ = ["COLOURS", "GREY", "MARKERS", "Result", "axes_for", "colour_bar", "figure_for", "finished", "number"]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999", "#B8A800")
"""Okabe and Ito's, with a darker yellow and a grey for black, which are seen on white and on black alike."""
MARKERS = "os^Dvx+*"
GREY = "#808080"
MOST_ROWS = 24
"""Of a longer table every so many rows are shown."""


class Result:
    """Base of all results."""

    def head(self) -> str:
        """What it is a result of, in a line."""
        return type(self).__name__

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """The headings of its table, and its rows."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its table is")

    def draw(self, ax: Any) -> None:
        """Draw it into axes."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is drawn")

    @unreported
    def table(self) -> str:
        """It as text: a line that says what it is, and a table, of which a long one is thinned out."""
        headings, rows = self.columns()
        cells = [[number(value) for value in row] for row in _thinned(rows)]
        right = [k for k in range(len(headings)) if rows and not isinstance(rows[0][k], str)]
        return "\n".join([self.head(), table(list(headings), cells, right)])

    def __str__(self) -> str:
        return self.table()

    @unreported
    def plot(self, ax: Any = None) -> Any:
        """Draw it.

        Args:
            ax: axes of matplotlib; None: new ones, in a figure of their own (``ax.figure``).

        Returns:
            The axes.

        Raises:
            TinygradRnnError: matplotlib is not installed.
        """
        if ax is None:
            ax = axes_for(7, 4)
        self.draw(ax)
        finished(ax)
        return ax

    def to_json(self) -> str:
        """Its public fields as JSON; what is no number there is "inf", "-inf" or "nan"."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.name.startswith("_")}  # type: ignore[arg-type]
        return json.dumps({"result": type(self).__name__, **{k: plain(v) for k, v in fields.items()}})

    @unreported
    def _repr_html_(self) -> str:
        headings, rows = self.columns()
        first = "".join(f"<th>{html.escape(h)}</th>" for h in headings)
        others = "".join(
            "<tr>" + "".join(f"<td>{html.escape(number(value))}</td>" for value in row) + "</tr>"
            for row in _thinned(rows)
        )
        text = f"<p>{html.escape(self.head())}</p><table><tr>{first}</tr>{others}</table>"
        try:
            ax = self.plot()
        except TinygradRnnError:  # without matplotlib the table alone
            return text
        image = io.StringIO()
        ax.figure.savefig(image, format="svg", transparent=True, metadata={"Date": None})
        svg = image.getvalue()
        return svg[svg.index("<svg") :] + text


def _thinned(rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    if len(rows) <= MOST_ROWS:
        return list(rows)
    places = sorted({round(k) for k in np.linspace(0, len(rows) - 1, MOST_ROWS)})
    return [rows[k] for k in places]


def number(value: Any) -> str:
    """A number in four digits; anything else as it is.

    >>> number(0.123456), number(3), number(float("-inf")), number(1.5e-40), number("h")
    ('0.1235', '3', '-inf', '1.5e-40', 'h')
    """
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.4g}"
    return str(value)


def plain(value: Any) -> Any:
    """Numbers, texts, lists and dictionaries for JSON."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (np.floating, np.integer, np.bool_)):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name[0] != "_"}
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)


def figure_for(width: float, height: float) -> Any:
    """A new figure of matplotlib, so many inches wide and high, on no background and without a window.

    Raises:
        TinygradRnnError: matplotlib is not installed, or cannot be loaded.
    """
    try:
        from matplotlib.figure import Figure
    except Exception as error:  # a broken installation raises more than ImportError
        raise TinygradRnnError(f"plot() needs matplotlib: pip install 'tinygrad-rnn[plot]' ({error})") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_facecolor("none")  # an alpha of 0 would stay, whatever background it is saved on
    return figure


def axes_for(width: float, height: float) -> Any:
    """New axes in a figure of its own: see :func:`figure_for`."""
    return figure_for(width, height).subplots()


def colour_bar(ax: Any, image: Any, label: str) -> None:
    """The scale of colours of an image."""
    bar = ax.figure.colorbar(image, ax=ax, label=label)
    bar.ax.tick_params(colors=GREY)
    bar.ax.yaxis.label.set_color(GREY)
    bar.outline.set_edgecolor(GREY)


def finished(ax: Any) -> None:
    """Axes whose text and lines are seen on white and on black."""
    ax.patch.set_alpha(0)
    if not ax.images:
        ax.grid(color=GREY, alpha=0.25, linewidth=0.6)
    ax.tick_params(colors=GREY, which="both")
    for spine in ax.spines.values():
        spine.set_color(GREY)
    for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
        text.set_color(GREY)
    legend = ax.get_legend()
    if legend is not None:
        legend.get_frame().set_alpha(0)
        for text in legend.get_texts():
            text.set_color(GREY)

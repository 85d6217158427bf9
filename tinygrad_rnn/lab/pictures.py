"""Pictures of experiments: figures of matplotlib that are read on white and on black, as SVG and as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from ..backend.quiet import unreported
from ..diagnostics.result import GREY, figure_for, finished

__all__ = ["as_file", "as_png", "as_svg", "drawn"]

WIDTH, HEIGHT = 7.0, 4.0
"""Inches: letters of 10 points are read at the width of a page."""


@unreported
def drawn(draw: Callable[[Any], None]) -> Any:
    """A figure into which ``draw`` has drawn, with grey text and lines on no background.

    Raises:
        TinygradRnnError: matplotlib is not installed, or cannot be loaded.
    """
    figure = figure_for(WIDTH, HEIGHT)
    draw(figure)
    for ax in figure.axes:
        if hasattr(ax, "_colorbar"):  # its own labels, no grid
            ax.tick_params(colors=GREY, which="both")
            for text in (ax.xaxis.label, ax.yaxis.label):
                text.set_color(GREY)
        else:
            finished(ax)
    for text in figure.texts:
        text.set_color(GREY)
    engine = figure.get_layout_engine()
    if engine is not None:  # once, and not again for each format
        engine.execute(figure)
        figure.set_layout_engine("none")
    return figure


@unreported
def as_svg(figure: Any) -> str:
    """The picture as an element that a page takes in, its text as text; the same figure gives the same bytes."""
    from matplotlib import rc_context

    image = io.StringIO()
    with rc_context({"svg.hashsalt": "lab", "svg.fonttype": "none"}):
        figure.savefig(image, format="svg", metadata={"Date": None, "Creator": None})
    text = image.getvalue()
    return text[text.index("<svg") :]


def as_file(svg: str) -> bytes:
    """An SVG element as a file of its own."""
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}'.encode()


@unreported
def as_png(figure: Any, background: str = "white") -> bytes:
    """The picture on a background, 150 points to the inch."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=150, facecolor=background, metadata={"Software": None})
    return image.getvalue()

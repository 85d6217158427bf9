"""The picture of a run: loss above, gradient norm below, drawn by matplotlib; and how pictures get into the folder."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .run_folder import RunFolder

__all__ = ["draw_curve", "drawn"]


def draw_curve(folder: RunFolder, clip: float) -> str | None:
    """Draw ``curve.png`` from the metrics; None, or the reason why it could not be drawn."""
    return drawn(folder, folder.curve, lambda figure: _draw(figure, folder, clip))


def drawn(folder: RunFolder, path: Path, draw: Callable[[Any], None]) -> str | None:
    """Draw a picture of the folder.

    Args:
        folder: of the run.
        path: of the picture.
        draw: draws into a figure of matplotlib.

    Returns:
        None, or the reason why it could not be drawn.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "matplotlib is not installed; pip install 'tinygrad-rnn[plot]'"
    # A broken installation, such as one built for another NumPy, raises more than ImportError.
    except Exception as error:
        return f"matplotlib cannot be imported ({error})"
    try:
        figure = Figure(figsize=(8, 6), layout="constrained")
        draw(figure)
        # Drawn in memory: the folder alone writes files, and atomically.
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=120)
        folder.write(path, image.getvalue())
    except Exception as error:  # a run that is done and saved must not end with an error about its picture
        return str(error) or type(error).__name__
    return None


def _draw(figure: Any, folder: RunFolder, clip: float) -> None:
    records = list(folder.records())
    updates = [record["update"] for record in records]
    evaluated = [record for record in records if "validation" in record]

    loss, norm = figure.subplots(2, 1, sharex=True)
    loss.plot(updates, [record["loss"] for record in records], color="tab:blue", alpha=0.3, linewidth=0.8)
    loss.plot(updates, _smooth([record["loss"] for record in records]), color="tab:blue", label="training, smoothed")
    if evaluated:
        points = [record["update"] for record in evaluated], [record["validation"] for record in evaluated]
        loss.plot(*points, "o-", color="tab:orange", label="validation")
    loss.set_ylabel("bits per character")
    loss.legend()
    loss.grid(alpha=0.3)

    norms = [record["gradient_norm"] for record in records]
    norm.plot(updates, norms, color="tab:green", linewidth=0.8)
    if norms and min(norms) > 0 and max(norms) > 30 * min(norms):
        norm.set_yscale("log")
    norm.set_ylabel("gradient norm before clipping")
    norm.set_xlabel("update")
    if clip:
        norm.axhline(clip, color="black", linestyle="--", linewidth=0.8, label=f"clipped at {clip:g}")
        norm.legend()
    norm.grid(alpha=0.3)


def _smooth(values: list[float], keep: float = 0.9) -> list[Any]:
    """Exponential moving average, corrected for its start: sum_k keep^k v_(t-k) / sum_k keep^k."""
    smoothed, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        smoothed.append(total / weight)
    return smoothed

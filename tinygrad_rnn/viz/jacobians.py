"""A gradient that failed its check: the Jacobians that differ, side by side, with the worst entry ringed."""

from __future__ import annotations

from typing import Any

import numpy as np

from .heat import COLUMNS, heat, raster, shown_whole
from .markup import Html, box, clipped, code, note, tag

__all__ = ["mismatch"]

DIFFERENCE = "difference: analytical - numerical"
AROUND = 5
"""Of large Jacobians, so many rows and columns to each side of the worst entry are shown as numbers."""
BESIDE = "display:inline-block;vertical-align:top;margin:2px 16px 2px 0;max-width:100%"


def mismatch(message: str, found: Any) -> Html:
    """A gradient that failed its check: the difference of the Jacobians, its worst entry ringed, and both beside it.

    Args:
        message: of the error.
        found: the ``Mismatch``, or None where no entry is to blame.
    """
    if found is None:
        return box("gradcheck failed", tag("pre", clipped(message, 4000), style="white-space:pre-wrap;background:none"))
    a, n = (np.asarray(j, np.float64) for j in (found.analytical_jacobian, found.numerical_jacobian))
    with np.errstate(invalid="ignore"):
        jacobians = {DIFFERENCE: a - n, "analytical": a, "numerical": n}
    worst = _flat(found.input_index, found.input_shape), _flat(found.output_index, found.output_shape)
    name = f" '{found.input_name}'" if found.input_name else ""
    axes = f"rows: entries of {found.place}{name}; columns: entries of {found.output_name}"
    parts: list[Any] = [
        note(clipped(axes)),
        note("the worst entry has a heavy frame; entries that agree are faint, their differences dots"),
    ]
    if not shown_whole(a.shape):
        pictures = [
            tag(
                "div",
                tag("div", title),
                raster(j, f"{title}, {a.shape[0]} by {a.shape[1]}", ringed=[worst]),
                style=BESIDE,
            )
            for title, j in jacobians.items()
        ]
        parts += [tag("div", *pictures), note("around the worst entry:")]
    window = tuple(_around(place, length) for place, length in zip(worst, a.shape, strict=True))
    right = ~np.asarray(found.wrong_entries, bool)[window]
    start = tuple(each.start for each in window)
    ringed = [tuple(place - first for place, first in zip(worst, start, strict=True))]
    heads = (
        _entries(found.output_shape, window[1].start, window[1].stop),
        _entries(found.input_shape, window[0].start, window[0].stop),
    )
    tables = [
        tag(
            "div",
            tag("div", title),
            heat(j[window], ringed=ringed, muted=right, dotted=j is jacobians[DIFFERENCE], heads=heads),
            style=BESIDE,
        )
        for title, j in jacobians.items()
    ]
    both = tag("div", *tables[1:], style="display:inline-block;white-space:nowrap;overflow-x:auto;max-width:100%")
    lines = [tag("div", code(clipped(line.strip(), 400))) for line in str(found).split("\n")]
    return box("gradcheck: the Jacobians differ", *lines, *parts, tag("div", tables[0], both))


def _flat(index: tuple[int, ...], shape: tuple[int, ...]) -> int:
    return int(np.ravel_multi_index(index, shape)) if shape else 0


def _entries(shape: tuple[int, ...], start: int, stop: int) -> list[str]:
    """The indices of the entries of an array, flattened."""
    if len(shape) <= 1:
        return [str(k) for k in range(start, stop)]
    return [", ".join(map(str, map(int, np.unravel_index(k, shape)))) for k in range(start, stop)]


def _around(place: int, length: int) -> slice:
    """All of an axis, if a table holds it, else what is near a place."""
    if length <= COLUMNS:
        return slice(0, length)
    start = min(max(place - AROUND, 0), length - 2 * AROUND - 1)
    return slice(start, start + 2 * AROUND + 1)

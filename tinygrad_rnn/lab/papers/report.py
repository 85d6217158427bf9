"""The table of published against reached: as text, as JSON, as a page, with a picture of each row."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ...diagnostics.result import COLOURS, GREY, MARKERS, number, plain
from ...errors import TinygradRnnError
from ...viz.markup import Html, tag
from ..page import document, grid
from ..pictures import as_svg, drawn
from .recipe import MARKS, Arm, Reached, Recipe

__all__ = ["as_page", "as_text", "drawing", "picture", "row_of", "summary"]

WIDTH = 56
"""Letters of each of the two columns of a row."""

NO_FIGURE = "none that was read in the paper"


def row_of(recipe: Recipe, size: Any, seed: int, reached: Reached) -> dict[str, Any]:
    """A row as JSON has it; of published figures those alone that may be printed as the paper's."""
    found: dict[str, Any] = {"name": recipe.name, "title": recipe.title, "source": recipe.source}
    found |= {"task": recipe.task, "size": size, "seed": seed, "words": reached.words, "passed": reached.passed}
    found["paper"] = dataclasses.asdict(recipe.paper)
    found["here"] = dataclasses.asdict(recipe.method(size))
    found["published"] = [
        {"text": p.text, "mark": p.mark, "read": MARKS[p.mark], "where": p.where} for p in recipe.published if p.printed
    ]
    found["reached"] = [
        plain({f.name: getattr(arm, f.name) for f in dataclasses.fields(arm)})
        | {"words": recipe.words(size, arm.solved)}
        for arm in reached.arms
    ]
    found["checks"] = [
        {"name": c.name, "value": plain(c.value), "must be": c.demanded, "passed": c.passed, "why": c.why}
        for c in reached.checks
    ]
    return found | {"note": reached.note}


def _counts(arm: Mapping[str, Any]) -> str:
    parts = [f"{arm['sequences']:,} sequences", f"{arm['updates']:,} updates"] if arm["updates"] else []
    return ", ".join([*parts, f"{arm['seconds']:.1f} s"])


def _reached(row: Mapping[str, Any]) -> list[str]:
    texts = []
    for arm in row["reached"]:
        name = f"{arm['name']}: " if arm["name"] else ""
        texts.append(f"{name}{arm['figure']}; {_counts(arm)}{'' if arm['solved'] else '; stopping rule not met'}")
    return texts


def _published(row: Mapping[str, Any]) -> list[str]:
    return [f"{p['text']} [{p['mark']}: {p['where']}]" for p in row["published"]] or [NO_FIGURE]


FIELDS = {"net": "net", "init": "init", "optimiser": "optimiser", "stopping": "stopping rule", "size": "size"}


def as_text(row: Mapping[str, Any]) -> str:
    """A row for a terminal: the paper's side, and ours."""
    lines = [f"{row['name']}: {row['title']}", f"  {row['words'].upper()}", f"  {row['source']}"]
    pairs = [("figure", _published(row), _reached(row))]
    pairs += [(name, [row["paper"][key]], [row["here"][key]]) for key, name in FIELDS.items()]
    lines.append(f"  {'':13}  {'published':{WIDTH}}  reached here, seed {row['seed']}")
    for name, left, right in pairs:
        wrapped = [[line for text in side for line in _wrapped(text)] for side in (left, right)]
        for k in range(max(map(len, wrapped))):
            cells = [side[k] if k < len(side) else "" for side in wrapped]
            lines.append(f"  {name if k == 0 else '':13}  {cells[0]:{WIDTH}}  {cells[1]}".rstrip())
    lines += textwrap.wrap(row["note"], 2 * WIDTH, initial_indent="  ", subsequent_indent="  ")
    lines += [
        f"  CHECK FAILED: {check['name']}: {number(check['value'])} is not {check['must be']}"
        for check in row["checks"]
        if not check["passed"]
    ]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ") or [""]


def summary(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The headings and the lines of the short table: one line for each net of each row; seeds of one net together."""
    together: dict[tuple[str, str], list[tuple[Any, Any]]] = {}
    for row in rows:
        for arm in row["reached"]:
            together.setdefault((row["name"], arm["name"]), []).append((row, arm))
    lines = []
    for (name, which), found in together.items():
        solved = [arm for _, arm in found if arm["solved"]]
        counts = sorted(arm["sequences"] for arm in solved)
        words = sorted({arm["words"] for _, arm in found})
        seconds = sum(arm["seconds"] for _, arm in found)
        published = _published(found[0][0])[0]
        lines.append(
            [
                name,
                which,
                published,
                f"{len(solved)} of {len(found)}" if len(found) > 1 else ("yes" if solved else "no"),
                f"{counts[len(counts) // 2]:,}" if counts else "-",
                f"{seconds:.1f}",
                "; ".join(words),
            ]
        )
    return ["row", "net", "published", "solved", "after sequences", "CPU s", "words"], lines


def picture(recipe: Recipe, reached: Reached) -> str | None:
    """The learning curves of a row as SVG; None if it has none.

    Raises:
        TinygradRnnError: matplotlib is not installed.
    """
    if reached.draw is not None:
        return as_svg(drawn(reached.draw))
    curves = [arm for arm in reached.arms if len(next(iter(arm.curve.values()), ())) > 1]
    return as_svg(drawn(lambda figure: _curves(figure, curves))) if curves else None


def _curves(figure: Any, arms: Sequence[Arm]) -> None:
    """One axes for each quantity, the nets in it by colour and marker."""
    across = next(iter(arms[0].curve))
    quantities = [key for key in arms[0].curve if key != across]
    axes = figure.subplots(1, len(quantities), squeeze=False)[0]
    for ax, key in zip(axes, quantities, strict=True):
        for k, arm in enumerate(arms):
            if key in arm.curve:
                x, y = arm.curve[next(iter(arm.curve))], arm.curve[key]
                every = max(1, len(x) // 12)
                ax.plot(
                    x,
                    y,
                    color=COLOURS[k],
                    marker=MARKERS[k],
                    markevery=every,
                    markersize=4,
                    linewidth=1.2,
                    label=arm.name,
                )
        if key == "test loss":
            ax.set_yscale("log")
            if arms[0].baseline is not None:
                ax.axhline(arms[0].baseline, color=GREY, linestyle="--", linewidth=1, label="without memory")
        ax.set_xlabel(across)
        ax.set_ylabel(key)
        if ax.get_legend_handles_labels()[1]:
            ax.legend(fontsize=8)


def as_page(rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, str]) -> str:
    """The page of all rows, with nothing beside it.

    Args:
        rows: as :func:`row_of`.
        pictures: by "name-seed" of a row, its picture as an SVG element.
    """
    title = "Classic tables: published against reached"
    parts: list[Any] = [tag("h1", title)]
    marks = "; ".join([f"{mark}: {text}" for mark, text in MARKS.items() if mark in "PCS"])
    parts.append(tag("p", f"Figures of papers are marked. {marks}. Seconds are of one processor.", class_="small"))
    parts.append(grid(*summary(rows)))
    for row in rows:
        parts += [tag("h2", f"{row['title']}"), tag("p", row["source"], class_="source"), tag("p", row["task"])]
        passed = row["passed"]
        said = [tag("b", row["words"]), f", seed {row['seed']}. {row['note']}"]
        parts.append(tag("div", *said, class_="verdict"))
        sides = [["figure", _lines(_published(row)), _lines(_reached(row))]]
        sides += [[name, row["paper"][key], row["here"][key]] for key, name in FIELDS.items()]
        parts.append(grid(["", "published", "reached here"], sides))
        svg = pictures.get(f"{row['name']}-{row['seed']}")
        if svg:
            parts.append(tag("figure", Html(svg)))
        checked = [
            [c["name"], number(c["value"]), c["must be"], "yes" if c["passed"] else "NO", c["why"]]
            for c in row["checks"]
        ]
        parts.append(grid(["check", "value", "must be", "is so", "why this bound"], checked))
        if not passed:
            parts.append(tag("p", "A check failed.", class_="fail"))
    return document(title, *parts, style="body { max-width: 75rem } figure { max-width: 46rem }")


def _lines(texts: Sequence[str]) -> Html:
    return tag("td", *[tag("div", text) for text in texts])


def drawing(recipe: Recipe, reached: Reached) -> str | None:
    """:func:`picture`, and None where matplotlib is not installed."""
    try:
        return picture(recipe, reached)
    except TinygradRnnError:
        return None

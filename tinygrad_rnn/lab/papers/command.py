"""``tinygrad-rnn lab papers``: run recipes, print what was published beside what is reached, leave a page.

The folder gets ``papers.json``, ``papers.html`` and ``NAME-SEED.svg`` of every row, all after each row, so that Ctrl-C
leaves what is done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg

from ...errors import UsageError
from ...serialization.atomic import atomic_write
from ...tape.observe.text_table import table
from ..experiment import Size
from ..pictures import as_file
from ..processes import be_ready, performed
from .recipes import RECIPES, find
from .report import as_page, as_text, drawing, row_of, summary

__all__ = ["Order", "perform", "run"]

SEEDS = 5
"""How many seeds ``--full`` runs of each recipe."""


class Order(NamedTuple):
    """What is to be run."""

    name: str
    size: Size
    seed: int


def perform(order: Order) -> tuple[dict[str, Any], str | None]:
    """Run a recipe: its row, and its picture as SVG."""
    recipe = find(order.name)
    reached = recipe.reach(order.size, order.seed)
    return row_of(recipe, order.size, order.seed, reached), drawing(recipe, reached)


def run(names: Sequence[str], full: bool, seed: int, jobs: int, out: Path) -> int:
    """Run what is named, or all.

    Args:
        names: of recipes; none: all that have the size.
        full: the papers' sizes, :data:`SEEDS` seeds each from ``seed`` on; else one seed.
        seed: of all random numbers.
        jobs: processes side by side.
        out: the folder.

    Returns:
        The exit status: 1 if a check of a row failed.

    Raises:
        UsageError: no such recipe, no jobs, or a folder that cannot be made.
    """
    if list(names) == ["list"]:
        for recipe in RECIPES:
            print(f"{recipe.name:<20} {recipe.seconds:>4.0f} s  {'' if recipe.quick else '--full  '}{recipe.title}")
        return 0
    chosen = [find(name) for name in dict.fromkeys(names)] or [r for r in RECIPES if full or r.quick]
    long = [recipe.name for recipe in chosen if not (full or recipe.quick)]
    if long:
        raise UsageError(f"{', '.join(long)}: longer than a quick row; give --full")
    be_ready(jobs, out)
    seeds = range(seed, seed + SEEDS) if full else [seed]
    orders = [Order(recipe.name, "full" if full else "quick", each) for recipe in chosen for each in seeds]
    begun, rows, pictures = time.perf_counter(), [], {}
    for row, svg in performed(perform, orders, jobs, "row"):
        rows.append(row)
        if svg is not None:
            pictures[f"{row['name']}-{row['seed']}"] = svg
        _written(rows, pictures, out)
        print(as_text(row) + "\n", flush=True)
    heads, lines = summary(rows)
    print(table(heads, lines, [4, 5]))
    failed = [row for row in rows if not row["passed"]]
    passed = f"{len(rows) - len(failed)} of {len(rows)} rows passed their checks"
    print(f"\n{passed} in {time.perf_counter() - begun:.0f} s: {out / 'papers.html'}")
    return 1 if failed else 0


def _written(rows: Sequence[dict[str, Any]], pictures: dict[str, str], out: Path) -> None:
    found = {"tinygrad_rnn": tg.__version__, "numpy": np.__version__, "rows": rows}
    atomic_write(out / "papers.json", [json.dumps(found, indent=1).encode()])
    last = f"{rows[-1]['name']}-{rows[-1]['seed']}"
    if last in pictures:
        atomic_write(out / f"{last}.svg", [as_file(pictures[last])])
    atomic_write(out / "papers.html", [as_page(rows, pictures).encode()])

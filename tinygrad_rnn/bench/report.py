"""What the benchmarks print and write: a line for each work, the table of ratios, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..tape.observe.text_table import table
from .measure import Result

__all__ = ["describe", "summary", "write_json"]


def describe(result: Result) -> str:
    """The medians of everybody, in one line."""
    medians = "  ".join(f"{name} {result.median(name):.4g}" for name in result.values)
    return f"  {result.work}  [{result.unit}]  {medians}"


def summary(results: Sequence[Result]) -> str:
    """One line for each work and pair: the ratio, its quartiles, and whether the goal was met."""
    rows = []
    for result in results:
        for ours, peer in result.pairs():
            lower, middle, upper = result.ratio(peer, ours)
            goal = result.goals.get(ours, {}).get(peer)
            verdict = "" if goal is None else f"<= {goal:g}  {'yes' if middle <= goal else 'NO'}"
            rows.append((result.work, ours, peer, f"{middle:.2f}", f"{lower:.2f} .. {upper:.2f}", verdict))
    return table(("work", "ours", "against", "ratio", "quartiles", "goal"), rows, right=(3,))


def write_json(path: Path, facts: dict[str, Any], results: Sequence[Result], complete: bool) -> None:
    """Everything that was measured, every single number; ``complete`` is false after an interruption."""
    content = {"machine": facts, "complete": complete, "results": [_plain(result) for result in results]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _plain(result: Result) -> dict[str, Any]:
    ratios = []
    for ours, peer in result.pairs():
        quartiles = dict(zip(("lower", "median", "upper"), result.ratio(peer, ours), strict=True))
        ratios.append({"ours": ours, "peer": peer, **quartiles, "goal": result.goals.get(ours, {}).get(peer)})
    return {"work": result.work, result.quantity: result.values, "first run": result.first, "ratios": ratios}

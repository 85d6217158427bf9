"""Everything that was found, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .bounds import Machine, bounds

__all__ = ["markdown"]

Found = Mapping[str, Mapping[str, Mapping[str, Any]]]
LAYERS = ("rnn", "gru", "lstm")


def markdown(found: Found, notes: Mapping[str, str]) -> str:
    """The tables of all families.

    Args:
        found: rows by family.
        notes: how each family ended.
    """
    parts = ["# Measured on a GPU", _facts(found)]
    parts += ["## How the families ended", _table(("family", "end"), notes.items())]
    checks = {key: row for name, rows in found.items() if name.startswith("check") for key, row in rows.items()}
    parts += [_checks(checks), _layers(found), _steps(found)]
    for family in ("cells", "loops", "job", "optimisers", "host", "micro", "latency", "tilings"):
        if found.get(family):
            parts += [f"## {family.capitalize()}", _plain(found[family])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(found: Found) -> str:
    facts = found.get("micro", {}).get("device", {})
    return ", ".join(f"{name} {_shown(value)}" for name, value in facts.items())


def _checks(rows: Mapping[str, Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    judged = {key: row for key, row in rows.items() if "right" in row or "failed" in row}
    wrong = {key: row for key, row in judged.items() if not row.get("right")}
    worst = max((row["error"] for row in judged.values() if row.get("right")), default=0.0)
    lines = [
        "## Values and gradients against float64",
        f"{len(judged) - len(wrong)} of {len(judged)} works are right; the largest relative error of these is "
        f"{worst:.1e}.",
        str(rows.get("kernels", {}).get("note", "")),
    ]
    return "\n\n".join([*lines, _plain(wrong)] if wrong else lines)


def _layers(found: Found) -> str:
    rows = [(key, row) for family in LAYERS for key, row in found.get(family, {}).items()]
    if not rows:
        return ""
    columns = ("forward", "both", "cudnn forward", "cudnn both", "ratio", "goal", "cells ratio", "error", "failed")
    met = [row["ratio"] <= row["goal"] for _, row in rows if "ratio" in row]
    head = "## Layers, milliseconds: forward; forward and backward; cuDNN's; ours over cuDNN's\n\n"
    table = _table(("layer", *columns), ([key, *(row.get(c, "") for c in columns)] for key, row in rows))
    return f"{head}{sum(met)} of {len(met)} ratios meet their goal.\n\n{table}"


def _steps(found: Found) -> str:
    machine = _machine(found)
    lines = []
    for family in LAYERS:
        for key, row in found.get(family, {}).items():
            if "forward" not in row or "packed" in key or "num_layers" in key:
                continue
            least = bounds(machine, row["kind"], row["H"], row["N"])
            per = row["forward"] * 1e3 / row["T"]
            largest = max(least["arithmetic"], least["memory"])
            lines.append([key, per, *least.values(), per / largest])
    if not lines:
        return ""
    names = ("layer", "forward", "arithmetic", "weights from the cache", "memory", "over the largest but the cache's")
    return "## Microseconds per time step, against what it must take\n\n" + _table(names, lines)


def _machine(found: Found) -> Machine:
    facts, copy = found.get("micro", {}).get("device", {}), found.get("micro", {}).get("copy", {})
    if "multiprocessors" not in facts:
        return Machine()
    rate = copy.get("GB per second, read and written")
    return Machine.of(facts["multiprocessors"], facts["clock in MHz"], rate)


def _plain(rows: Mapping[str, Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    return _table(("", *columns), ([key, *(row.get(c, "") for c in columns)] for key, row in rows.items()))


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([_shown(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return str(value).replace("|", "/").replace("\n", " ")

"""Run the families, each in a process of its own, and write the tables."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tinygrad_rnn.backend.gpu import cupy_access
from tinygrad_rnn.errors import UsageError

from .families import FAMILIES
from .places import Places
from .rows import Rows
from .tables import markdown

__all__ = ["add_arguments", "main", "run"]


DRY_SECONDS = 240
"""For a family of a dry run, which a busy machine may keep waiting."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the program."""
    parser.add_argument("--out", type=Path, default=Path("gpu-bench"), help="folder for the tables", metavar="DIR")
    parser.add_argument("--only", default=",".join(FAMILIES), help="families, of %(default)s", metavar="FAMILY,...")
    parser.add_argument("--quick", action="store_true", help="a part of the shapes")
    parser.add_argument("--dry-run", action="store_true", help="small sizes on the CPU: does everything run?")
    parser.add_argument("--seconds", type=float, default=420.0, help="for all (default %(default)s)", metavar="S")


def run(out: Path, only: str, quick: bool, dry_run: bool = False, seconds: float = 420.0) -> int:
    """Run the families named in ``only``, and write ``gpu.json`` and ``gpu.md`` into ``out``.

    Returns:
        0 if every family came to its end and every check was right, else 1.

    Raises:
        UsageError: an unknown family, or no GPU.
    """
    names = only.split(",")
    unknown = [name for name in names if name not in FAMILIES]
    if unknown:
        raise UsageError(f"--only: there is no family {unknown[0]!r}; choose from {', '.join(FAMILIES)}")
    reason = None if dry_run else cupy_access.unavailable_reason()
    if reason is not None:
        raise UsageError(f"there is nothing to measure: {reason}")
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    found: dict[str, dict[str, Any]] = {}
    notes: dict[str, str] = {}

    def one(name: str) -> None:
        begin = time.monotonic()
        left = end - begin
        limit = FAMILIES[name].seconds if not dry_run else DRY_SECONDS
        note = _child(name, out, quick, dry_run, min(limit, left)) if left > 5 else "no time left"
        notes[name] = f"{note}, {time.monotonic() - begin:.0f} s"

    for group in _groups([name for name in FAMILIES if name in names]):
        with ThreadPoolExecutor(len(group)) as pool:
            list(pool.map(one, group))
        for name in group:
            path = out / f"{name}.json"
            found[name] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            print(f"{name}: {notes[name]}, {len(found[name])} rows", flush=True)
        (out / "gpu.json").write_text(json.dumps({"notes": notes, "rows": found}, indent=1), encoding="utf-8")
        (out / "gpu.md").write_text(markdown(found, notes), encoding="utf-8")
    print(f"written: {out / 'gpu.md'}")
    rows = [row for family in found.values() for row in family.values()]
    wrong = sum("failed" in row or row.get("right") is False for row in rows)
    print(f"{wrong} of {len(rows)} rows are wrong or failed")
    return int(wrong > 0 or any(not note.startswith("done") for note in notes.values()))


def _groups(names: Sequence[str]) -> list[list[str]]:
    """What runs at the same time: the families that may, then each of the others alone."""
    together = [name for name in names if FAMILIES[name].together]
    return [together] * bool(together) + [[name] for name in names if name not in together]


def _child(name: str, out: Path, quick: bool, dry_run: bool, seconds: float) -> str:
    """Run one family; how it ended."""
    path = out / f"{name}.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", __package__, "--family", name, "--out", str(out)]
    command += ["--quick"] * quick + ["--dry-run"] * dry_run
    with open(out / f"{name}.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"stopped after {seconds:.0f} s"
    return "done" if status == 0 else f"exit status {status}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The program by itself."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", allow_abbrev=False)
    add_arguments(parser)
    parser.add_argument("--family", choices=list(FAMILIES), help=argparse.SUPPRESS)
    options = vars(parser.parse_args(arguments))
    family = options.pop("family")
    if family is not None:
        rows = Rows(options["out"] / f"{family}.json")
        FAMILIES[family].run(rows, Places.on(options["dry_run"], options["quick"]))
        return 0
    try:
        return run(**options)
    except UsageError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2

"""``tinygrad-rnn lab``: run experiments of the laboratory, and make a page of each.

    tinygrad-rnn lab list
    tinygrad-rnn lab 5 spectral-radius ... | all   [--full] [--broken] [--seed N] [--jobs N] [--out DIR]
    tinygrad-rnn lab papers [NAME ...]             [--full] [--seed N] [--jobs N] [--out DIR]

Of each experiment DIR gets a folder with ``result.json``, ``figure.svg``, ``figure.png``, ``page.html`` and, where it
has a smallest case, ``tape.html``, the debugger; and DIR itself ``index.html``.
Of papers see :mod:`.papers`: DIR gets ``papers.json``, ``papers.html`` and a picture of each row.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg

from ..errors import TinygradRnnError, UsageError
from .processes import be_ready, performed

if TYPE_CHECKING:
    from .experiment import Experiment, Result, Size

__all__ = ["add_arguments", "run"]

OUT = Path("lab-results")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    text = "`list`, `all`, numbers and names of experiments, or `papers` and names of recipes (default: list)"
    parser.add_argument("what", nargs="*", default=["list"], metavar="WHAT", help=text)
    parser.add_argument("--full", action="store_true", help="more seeds, longer sequences, real training: minutes")
    parser.add_argument("--broken", action="store_true", help="also run the broken twins, each of which must fail")
    parser.add_argument("--seed", type=_count, default=0, metavar="N", help="of all random numbers (default 0)")
    parser.add_argument("--jobs", type=_count, default=1, metavar="N", help="processes side by side (default 1)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"where pages go (default {OUT})")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return int(text)


class Outcome(NamedTuple):
    """What came of one experiment: a line, or more for a reader who asked for it alone."""

    number: int
    passed: bool
    line: str
    details: str


class Order(NamedTuple):
    """What is to be done: an experiment, and how."""

    number: int
    size: Size
    seed: int
    broken: bool
    folder: Path


def run(what: Sequence[str], full: bool, broken: bool, seed: int, jobs: int, out: Path) -> int:
    """Run what is named.

    Returns:
        the exit status: 1 if a check failed, or if a broken twin passed the check that it was to fail.

    Raises:
        UsageError: no such experiment, no jobs, or a folder that cannot be made.
    """
    from .catalogue import experiments, files, find

    if list(what[:1]) == ["papers"]:
        from .papers.command import run as run_papers

        if broken:
            raise UsageError("--broken is for experiments: recipes have no broken twins")
        return run_papers(what[1:], full, seed, jobs, out)
    if list(what) == ["list"]:
        for each in experiments():
            print(f"{each.number:>3}  {each.name:<24} {each.claim}")
        return 0
    numbers = list(files()) if list(what) == ["all"] else list(dict.fromkeys(find(word).number for word in what))
    be_ready(jobs, out)
    orders = [Order(number, "full" if full else "quick", seed, broken, out) for number in numbers]
    begun = time.perf_counter()
    failed = []
    for outcome in performed(perform, orders, jobs, "experiment"):
        print(outcome.line)
        if len(orders) == 1 or not outcome.passed:
            print(outcome.details)
        if not outcome.passed:
            failed.append(outcome.number)
    _write_index(out)
    if len(orders) > 1:
        passed = f"{len(orders) - len(failed)} of {len(orders)} experiments passed"
        print(f"{passed} in {time.perf_counter() - begun:.0f} s: {out / 'index.html'}")
    return 1 if failed else 0


def perform(order: Order) -> Outcome:
    """Run one experiment and write its folder."""
    from .catalogue import find

    experiment = find(order.number)
    folder = order.folder / f"{experiment.number:02}-{experiment.name}"
    folder.mkdir(parents=True, exist_ok=True)
    named = f"{experiment.number:>3}  {experiment.name:<24}"
    begun = time.perf_counter()
    try:
        result = experiment(order.size, order.seed)
        seconds = time.perf_counter() - begun
        twins = [twin(order.size, order.seed) for twin in experiment.twins] if order.broken else []
    except Exception as error:
        from ..serialization.atomic import atomic_write

        atomic_write(folder / "error.txt", [traceback.format_exc().encode()])
        text = f"{type(error).__name__}: {error} (the traceback is in {folder / 'error.txt'})"
        return Outcome(order.number, False, f"{named} an error", text)
    (folder / "error.txt").unlink(missing_ok=True)
    # a twin that passes shows that the check it names cannot fail
    unfound = [t.mistake for t, r in zip(experiment.twins, twins, strict=False) if r.check(t.fails).passed]
    problem = _written(experiment, order, result, twins, seconds, folder)
    passed = result.passed and not unfound
    said = result.verdict if result.passed else "a check failed"
    line = f"{named} {said:<20} {len(result.checks):>2} checks  {seconds:6.2f} s"
    details = ["", experiment.claim, f"source: {experiment.source}", "", result.table()]
    if twins:
        found = [f"  {t.mistake}: {r.check(t.fails)}" for t, r in zip(experiment.twins, twins, strict=True)]
        details += ["", "mistakes that this finds:", *found]
    details += [f"NOT FOUND: {mistake}" for mistake in unfound]
    details += ["", f"no page: {problem}" if problem else str(folder / "page.html")]
    return Outcome(order.number, passed, line, "\n".join(details))


def _written(
    experiment: Experiment, order: Order, result: Result, twins: Sequence[Result], seconds: float, folder: Path
) -> str | None:
    """Write the files of an experiment; the reason if there is no page."""
    from ..serialization.atomic import atomic_write
    from .page import page
    from .pictures import as_file, as_png, as_svg

    found: dict[str, Any] = {"number": experiment.number, "name": experiment.name, "title": experiment.title}
    found |= {"claim": experiment.claim, "source": experiment.source, "size": order.size, "seed": order.seed}
    found |= {"seconds": round(seconds, 3), "tinygrad_rnn": tg.__version__, "numpy": np.__version__}
    found |= result.to_json()
    found["broken"] = [
        {"mistake": t.mistake, "fails": t.fails, **r.to_json()} for t, r in zip(experiment.twins, twins, strict=False)
    ]
    atomic_write(folder / "result.json", [json.dumps(found, indent=1).encode()])
    how = f"tinygrad-rnn lab {experiment.name} --seed {order.seed}{' --full' if order.size == 'full' else ''}"
    how += " --broken" if order.broken else ""
    try:
        svg = ""
        figure = result.figure()
        if figure is not None:
            svg = as_svg(figure)
            atomic_write(folder / "figure.svg", [as_file(svg)])
            atomic_write(folder / "figure.png", [as_png(figure)])
        tape = experiment.tape()
        if tape is not None:
            atomic_write(folder / "tape.html", [tg.viz.debugger(tape, title=experiment.title).html.encode()])
        text = page(experiment, result, twins, picture=svg, tape=None if tape is None else "tape.html", how=how)
    except TinygradRnnError as error:  # of packages that are not installed
        return str(error)
    atomic_write(folder / "page.html", [text.encode()])
    return None


def _write_index(out: Path) -> None:
    """The page of all experiments whose folders are there, from this run or an earlier one."""
    from ..serialization.atomic import atomic_write
    from .page import index

    entries = []
    for path in sorted(out.glob("[0-9][0-9]-*/result.json")):
        with contextlib.suppress(ValueError, OSError):
            entry = json.loads(path.read_text(encoding="utf-8"))
            picture, written = path.with_name("figure.svg"), path.with_name("page.html")
            if written.exists():
                entry["page"] = written.relative_to(out).as_posix()
                entry["picture"] = picture.relative_to(out).as_posix() if picture.exists() else None
                entries.append(entry)
    if entries:
        atomic_write(out / "index.html", [index(entries).encode()])

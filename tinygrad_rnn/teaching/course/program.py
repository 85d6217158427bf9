"""``tinygrad-rnn course``: thirty exercises, from the chain rule to a GRU by hand and the errors of the sources.

    tinygrad-rnn course start  [FOLDER]
    tinygrad-rnn course check  [NAME | FILE ...]   [--folder DIR]
    tinygrad-rnn course hint   NAME                [--folder DIR]
    tinygrad-rnn course status                     [--folder DIR]

A NAME is an exercise's name or number.  Exit status of ``check``: 0 if all that was checked is right, 1 if not.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

from ...errors import UsageError
from ...tape.observe.text_table import table
from .catalogue import UNITS, exercises, find
from .exercise import Exercise
from .folder import PROGRESS, Progress, begun, check_file, files_of, start

__all__ = ["add_arguments", "run"]

FOLDER = Path("course")
ACTIONS = ("start", "check", "hint", "status")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    what = "start: write the exercises into a folder; check: say what is right, and name the mistake in what is not; "
    what += "hint: the next of three; status: what is done (the default)"
    parser.add_argument("action", nargs="?", default="status", choices=ACTIONS, help=what)
    more = "names, numbers or files of exercises (check: all that are begun; hint: the next one); of start the folder"
    parser.add_argument("what", nargs="*", metavar="NAME", help=more)
    where = f"the folder of the course (default: the one that the current folder is in, or {FOLDER} in it)"
    parser.add_argument("--folder", type=Path, metavar="DIR", help=where)


def run(action: str, what: Sequence[str], folder: Path | None) -> int:
    """Run the command.

    Returns:
        the exit status.

    Raises:
        UsageError: no such exercise, no folder of the course, or one that holds something else.
        OSError: a file cannot be read or written.
    """
    if action == "start":
        return _start(what, folder)
    progress = _progress(folder)
    if action == "check":
        return _check(what, progress)
    if action == "hint":
        return _hint(what, progress)
    if what:
        raise UsageError("course status takes no names")
    print(_status(progress))
    return 0


def _start(what: Sequence[str], folder: Path | None) -> int:
    if len(what) > 1 or (what and folder is not None):
        raise UsageError("course start takes one folder")
    root = Path(what[0]) if what else folder or FOLDER
    written, kept = start(root)
    first, _ = files_of(exercises()[0], root)
    print(f"{written} files written into {root}" + (f", {kept} were there and are as they were" if kept else ""))
    print(f"Begin with {first} or the notebook beside it, then: tinygrad-rnn course check {exercises()[0].name}")
    return 0


def _progress(folder: Path | None) -> Progress:
    """The progress in the folder that was named, or found around or below the current one."""
    if folder is not None:
        if not (folder / PROGRESS).exists():
            raise UsageError(f"{folder} is no folder of the course: tinygrad-rnn course start {folder}")
        return Progress(folder)
    found = Progress.around(Path.cwd())
    if found is not None:
        return found
    if (FOLDER / PROGRESS).exists():
        return Progress(FOLDER)
    raise UsageError("there is no folder of the course here: tinygrad-rnn course start")


def _check(what: Sequence[str], progress: Progress) -> int:
    wanted = _named(what, progress) if what else [(e, files_of(e, progress.root)[0]) for e in exercises()]
    if not what:
        wanted = [(exercise, path) for exercise, path in wanted if path.exists() and begun(exercise, progress.root)]
        if not wanted:
            print("Nothing is begun yet. " + _next(progress))
            return 0
    right = 0
    for exercise, path in wanted:
        if not path.exists():
            raise UsageError(f"{path} is not there: tinygrad-rnn course start {progress.root} writes it again")
        verdict = check_file(exercise, path)
        print(verdict)
        if verdict.begun:
            progress.note(verdict)
        right += verdict.passed
    if len(wanted) > 1:
        print(f"\n{right} of {len(wanted)} are right. " + _next(progress))
    elif right:
        print(_next(progress))
    elif verdict.begun:
        left = len(wanted[0][0].hints) - progress.of(verdict.exercise)["hints"]
        print(f"{left} hints left: tinygrad-rnn course hint {verdict.exercise}" if left else "no hints left")
    return 0 if right == len(wanted) else 1


def _named(what: Sequence[str], progress: Progress) -> list[tuple[Exercise, Path]]:
    """The exercises that words mean, each with its script."""
    found = []
    for word in what:
        path = Path(word)
        if path.suffix == ".ipynb":
            raise UsageError(f"{word} is a notebook: its last cell checks it")
        if path.suffix == ".py":
            if not path.is_file():
                raise UsageError(f"there is no file {word}")
            found.append((find(path.stem.partition("-")[2] or path.stem), path))
        else:
            exercise = find(word)
            found.append((exercise, files_of(exercise, progress.root)[0]))
    return found


def _hint(what: Sequence[str], progress: Progress) -> int:
    if len(what) > 1:
        raise UsageError("course hint takes one name")
    waiting = [e for e in exercises() if not progress.passed(e.name)] or exercises()
    exercise = find(what[0]) if what else waiting[0]
    entry = progress.of(exercise.name)
    shown = entry["hints"] = min(entry["hints"] + 1, len(exercise.hints))
    progress.write()
    print(f"{exercise.name}, {shown} of {len(exercise.hints)} hints")
    for number, text in enumerate(exercise.hints[:shown], 1):
        print(f"    {number}. {text}")
    return 0


def _status(progress: Progress) -> str:
    rows = []
    for exercise in exercises():
        entry = progress.exercises.get(exercise.name, {})
        state = "right" if entry.get("passed") else "begun" if entry.get("tries") else "-"
        tries, hints = entry.get("tries") or "", entry.get("hints") or ""
        rows.append(
            [str(exercise.unit), str(exercise.number), exercise.name, state, str(tries), str(hints), exercise.title]
        )
    done = sum(progress.passed(exercise.name) for exercise in exercises())
    text = table(["unit", "no", "exercise", "state", "tries", "hints", "what"], rows, [0, 1, 4, 5])
    names = "\n".join(f"{unit.number}  {unit.title}" for unit in UNITS)
    return f"{text}\n\n{names}\n\n{done} of {len(rows)} are right in {progress.root}. {_next(progress)}"


def _next(progress: Progress) -> str:
    """What to do now."""
    for exercise in exercises():
        if not progress.passed(exercise.name):
            path, _ = files_of(exercise, progress.root)
            with contextlib.suppress(ValueError):
                path = path.relative_to(Path.cwd())
            return f"Next: {exercise.number}, {exercise.name}, in {path}"
    return "That was all of them: read the engine itself, docs/how-the-tape-works.md."

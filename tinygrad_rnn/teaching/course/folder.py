"""The learner's folder: the exercises as files to be filled in, and how far they have come.

    course/
        progress.json
        1-the-chain-rule-and-vjps/
            01-chain-rule.py    01-chain-rule.ipynb
            ...

A file that is there is never overwritten.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import linecache
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...serialization.atomic import atomic_write
from .catalogue import UNITS, exercises
from .checking import Verdict, judge, unreadable_file
from .exercise import Exercise

__all__ = ["PROGRESS", "Progress", "check_file", "files_of", "note_down", "start"]

PROGRESS = "progress.json"
VERSION = 1


def files_of(exercise: Exercise, root: Path) -> tuple[Path, Path]:
    """Where the script and the notebook of an exercise are."""
    unit = UNITS[exercise.unit - 1]
    folder = root / f"{unit.number}-{re.sub('[^a-z]+', '-', unit.title.lower())}"
    stem = f"{exercise.number:02}-{exercise.name}"
    return folder / f"{stem}.py", folder / f"{stem}.ipynb"


def script(exercise: Exercise) -> str:
    """The file that the learner fills in."""
    text = exercise.text.replace("\\", "\\\\").replace('"""', "'''")
    head = f'"""{exercise.number}. {exercise.title}\n\n{text}\n\nCheck:  tinygrad-rnn course check {exercise.name}\n'
    head += f'Hint:   tinygrad-rnn course hint {exercise.name}\n"""\n\n'
    return f"{head}{exercise.starter}"


def notebook(exercise: Exercise) -> str:
    """The same as a notebook, whose last cell checks."""

    def cell(kind: str, number: int, text: str) -> dict[str, Any]:
        found: dict[str, Any] = {"cell_type": kind, "id": f"{exercise.name}-{number}"[:64], "metadata": {}}
        found["source"] = text.splitlines(keepends=True)
        return found if kind == "markdown" else found | {"execution_count": None, "outputs": []}

    ask = f'from tinygrad_rnn import teaching\n\nteaching.check("{exercise.name}", {exercise.function})'
    cells = [
        cell("markdown", 1, f"# {exercise.number}. {exercise.title}\n\n{exercise.text}"),
        cell("code", 2, exercise.starter.rstrip("\n")),
        cell("markdown", 3, f"A hint: `tinygrad-rnn course hint {exercise.name}` at the command line."),
        cell("code", 4, ask),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    made = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def start(root: Path) -> tuple[int, int]:
    """Write the files of all exercises into a folder.

    Returns:
        how many files were written, and how many were there and left as they are.

    Raises:
        OSError: the folder cannot be written.
        UsageError: it holds something else already.
    """
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file: name a folder for the course")
    known = [root / PROGRESS, *(path for exercise in exercises() for path in files_of(exercise, root))]
    if root.is_dir() and any(root.iterdir()) and not any(path.exists() for path in known):
        raise UsageError(f"{root} holds something else: name an empty or a new folder for the course")
    root.mkdir(parents=True, exist_ok=True)
    if not (root / PROGRESS).exists():
        Progress(root).write()
    written = kept = 0
    for exercise in exercises():
        for path, text in zip(files_of(exercise, root), (script(exercise), notebook(exercise)), strict=True):
            if path.exists():
                kept += 1
                continue
            path.parent.mkdir(exist_ok=True)
            atomic_write(path, [text.encode()])
            written += 1
    return written, kept


class Progress:
    """How far the learner has come, in ``progress.json``.

    Attributes:
        root: the folder.
        exercises: by name: how often it was checked ("tries"), when it was right for the first time ("passed"), how
            many hints were read ("hints"), and the last finding ("said").

    Raises:
        UsageError: the file cannot be read as what it should be.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.exercises: dict[str, dict[str, Any]] = {}
        path = root / PROGRESS
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            newer = found["version"] > VERSION
            self.exercises = {str(name): dict(entry) for name, entry in found["exercises"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(
                f"{path} is damaged: delete it, and tinygrad-rnn course start {root} counts anew; your answers stay"
            ) from None
        if newer:
            raise UsageError(f"{path} is of a newer version of this package")

    @classmethod
    def around(cls, place: Path) -> Progress | None:
        """That of the folder in which a place is; None if it is in no folder of the course."""
        for root in (place, *place.parents):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if "exercises" in json.loads((root / PROGRESS).read_text(encoding="utf-8")):
                    return cls(root)
        return None

    def of(self, name: str) -> dict[str, Any]:
        """The entry of an exercise."""
        return self.exercises.setdefault(name, {"tries": 0, "passed": None, "hints": 0, "said": None})

    def passed(self, name: str) -> bool:
        """Whether it was right once."""
        return bool(self.exercises.get(name, {}).get("passed"))

    def note(self, verdict: Verdict) -> None:
        """Note down a finding; an answer that was not begun is no try."""
        entry = self.of(verdict.exercise)
        entry["tries"] += 1
        entry["said"] = verdict.headline
        if verdict.passed and not entry["passed"]:
            entry["passed"] = datetime.datetime.now().isoformat(timespec="seconds")
        self.write()

    def write(self) -> None:
        """Write the file."""
        text = json.dumps({"version": VERSION, "exercises": self.exercises}, indent=1)
        atomic_write(self.root / PROGRESS, [text.encode()])


def note_down(verdict: Verdict) -> None:
    """Note down a finding in the folder of the course that the process works in, if it is one."""
    with contextlib.suppress(OSError, UsageError):  # a check is worth its finding without a place to write
        progress = Progress.around(Path.cwd())
        if progress is not None and verdict.begun:
            progress.note(verdict)


def begun(exercise: Exercise, root: Path) -> bool:
    """Whether the learner has written anything into the script."""
    path, _ = files_of(exercise, root)
    try:
        return path.read_text(encoding="utf-8") != script(exercise)
    except UnicodeDecodeError:
        return True


def check_file(exercise: Exercise, path: Path) -> Verdict:
    """Run the learner's script and check the function in it.

    Raises:
        OSError: the file cannot be read.
        KeyboardInterrupt: Ctrl-C; what the script raises otherwise is part of the finding.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        code = compile(text, str(path), "exec")
    except SyntaxError as error:
        line = f" in line {error.lineno}: {(error.text or '').strip()}" if error.lineno else ""  # none of null bytes
        return unreadable_file(exercise, f"{path.name} is no Python: {error.msg}{line}")
    except ValueError as error:  # bytes that are no text; null bytes, in Python 3.10
        return unreadable_file(exercise, f"{path.name} is no Python: {error}")
    names: dict[str, Any] = {"__name__": exercise.name, "__file__": str(path)}
    linecache.checkcache(str(path))
    with in_folder(path.parent):
        try:
            exec(code, names)
        except Exception as error:
            return unreadable_file(exercise, f"{path.name} raised {type(error).__name__}: {error}", error)
        except SystemExit:
            return unreadable_file(exercise, f"{path.name} ended the program by itself")
        answer = names.get(exercise.function)
        if not callable(answer):
            return unreadable_file(exercise, f"there is no function {exercise.function} in {path.name}")
        return judge(exercise, answer)


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Modules beside the learner's script can be imported by it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))

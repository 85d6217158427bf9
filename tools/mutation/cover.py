"""Which test runs which line of the package: a pytest plugin that writes it down, with how long each test takes.

The map is kept.  What was edited since is found out anew: tests whose file has changed are traced again, and lines of
the package that have moved are followed by their text.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import pathlib
import re
import sys
import time
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

import pytest

__all__ = ["Cover", "Map"]

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = str(ROOT / "tinygrad_rnn") + os.sep


class Map:
    """The tests by line, and what they were traced with.

    Attributes:
        lines: ``"ops/shape.py:12"`` -> tests.
        seconds: how long each test took while it was traced.
        tests, sources: the text of every test file (as a hash) and of every file of the package.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        known = json.loads(path.read_text()) if path.exists() else {}
        self.tests: dict[str, str] = known.get("tests", {})
        self.sources: dict[str, str] = known.get("sources", {})
        self.seconds: dict[str, float] = known.get("seconds", {})
        names = known.get("names", [])
        self.words: dict[str, set[str]] = {}
        lines = known.get("lines", {})
        self.lines: dict[str, set[str]] = {line: {names[k] for k in run} for line, run in lines.items()}

    def named(self, names: frozenset[str]) -> set[str]:
        """The tests that have one of these names among the words of their parameters."""
        if not self.words:
            for test in self.seconds:
                for word in set(re.split(r"\W+", test.partition("[")[2])):
                    self.words.setdefault(word, set()).add(test)
        return {test for name in names for test in self.words.get(name, ())}

    def save(self) -> None:
        names = sorted({test for run in self.lines.values() for test in run})
        number = {test: k for k, test in enumerate(names)}
        lines = {line: sorted(number[test] for test in run) for line, run in self.lines.items()}
        self.path.parent.mkdir(exist_ok=True)
        known = {"tests": self.tests, "sources": self.sources, "seconds": self.seconds, "names": names, "lines": lines}
        self.path.write_text(json.dumps(known))

    def stale(self, files: list[str]) -> list[str]:
        """Those test files that are new or have changed; what is known of them, and of files that are gone, is lost."""
        now = {file: _hash(ROOT / file) for file in files}
        changed = {file for file in {*self.tests, *now} if self.tests.get(file) != now.get(file)}
        if changed:
            self.lines = {
                line: {test for test in run if test.split("::")[0] not in changed} for line, run in self.lines.items()
            }
            self.tests = {file: digest for file, digest in self.tests.items() if file not in changed}
        return sorted(changed & set(now))

    def follow(self) -> None:
        """Move the lines to where their text is now."""
        for path in sorted(pathlib.Path(PACKAGE).rglob("*.py")):
            file, text = path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8")
            before = self.sources.get(file, text)
            self.sources[file] = text
            if before == text:
                continue
            old = {key: self.lines.pop(key) for key in list(self.lines) if key.rpartition(":")[0] == file}
            matcher = difflib.SequenceMatcher(None, before.split("\n"), text.split("\n"), False)
            for _, i, k, j, m in matcher.get_opcodes():
                for step in range(max(k - i, m - j)):  # lines that were rewritten: by their place
                    if i + step < max(k, i + 1) and j + step < max(m, j + 1):
                        moved = old.get(f"{file}:{i + step + 1}")
                        if moved:
                            self.lines.setdefault(f"{file}:{j + step + 1}", set()).update(moved)

    def add(self, found: dict[str, Any], files: list[str]) -> None:
        """What a traced run of these test files has found."""
        self.tests.update({file: _hash(ROOT / file) for file in files})
        for line, run in found["lines"].items():
            self.lines.setdefault(line, set()).update(run)
        self.seconds.update(found["seconds"])


def _hash(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


class Cover:
    """Traces lines of chosen parts of the package while a test runs."""

    def __init__(self, parts: tuple[str, ...], target: pathlib.Path) -> None:
        self.prefixes = tuple(PACKAGE + part.replace("/", os.sep) for part in parts)
        self.target = target
        self.lines: dict[str, set[str]] = {}
        self.seconds: dict[str, float] = {}
        self.wanted: dict[CodeType, bool] = {}
        self.failed: set[str] = set()  # a test that fails on the right program tells nothing about wrong ones
        self.test = ""

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        wanted = self.wanted.get(code)
        if wanted is None:
            wanted = self.wanted[code] = code.co_filename.startswith(self.prefixes)
        if not wanted:
            return None
        self.note(code.co_filename, frame.f_lineno)
        return self.line

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.note(frame.f_code.co_filename, frame.f_lineno)
        return self.line

    def note(self, file: str, line: int) -> None:
        self.lines.setdefault(f"{file[len(PACKAGE) :]}:{line}", set()).add(self.test)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        self.test = item.nodeid
        began = time.process_time()
        sys.settrace(self.trace)
        try:
            return (yield)
        except BaseException:
            self.failed.add(item.nodeid)
            raise
        finally:
            sys.settrace(None)
            self.seconds[item.nodeid] = time.process_time() - began

    def pytest_sessionfinish(self) -> None:
        found = {line: sorted(tests - self.failed) for line, tests in self.lines.items()}
        self.target.write_text(json.dumps({"lines": found, "seconds": self.seconds}))

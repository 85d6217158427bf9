"""Which test runs which line of the package: a pytest plugin that writes it down, with how long each test takes."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

import pytest

PACKAGE = str(pathlib.Path(__file__).parents[2] / "tinygrad_rnn") + os.sep


class Cover:
    """Traces lines of chosen parts of the package while a test runs."""

    def __init__(self, parts: tuple[str, ...], target: pathlib.Path) -> None:
        self.prefixes = tuple(PACKAGE + part.replace("/", os.sep) for part in parts)
        self.target = target
        self.lines: dict[str, set[str]] = {}  # "ops/shape.py:12" -> tests
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
        began = time.perf_counter()
        sys.settrace(self.trace)
        try:
            return (yield)
        except BaseException:
            self.failed.add(item.nodeid)
            raise
        finally:
            sys.settrace(None)
            self.seconds[item.nodeid] = time.perf_counter() - began

    def pytest_sessionfinish(self) -> None:
        found = {line: sorted(tests - self.failed) for line, tests in self.lines.items()}
        self.target.write_text(json.dumps({"lines": found, "seconds": self.seconds}))

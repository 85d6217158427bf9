"""Trying mutants: the tests that run the changed line, until one of them fails.

Most mutants change the inside of a function.  For those, one process imports the package and collects the suite once,
and is forked for each (see ``swap``).  A mutant that changes what runs at import is loaded in a process of its own.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import inspect
import json
import os
import pathlib
import resource
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tools.mutation.cover import PACKAGE, ROOT, Map
from tools.mutation.mutate import Mutation
from tools.mutation.swap import Functions, changed_codes, compiled

__all__ = ["ELSEWHERE", "KILLED", "QUIET", "SURVIVED", "TIMED_OUT", "UNCHANGED", "UNTESTED"]
__all__ += ["Result", "run"]

ELSEWHERE = ("train", "test_docs.py", "mutants", "mutation", "support", "clients", "serialization", "utils")
SUITE = ["tests", *(f"--ignore=tests/{part}" for part in ELSEWHERE)]
QUIET = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=no"]
QUIET += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what is loaded once for all is loaded before
KILLED, SURVIVED, TIMED_OUT, UNTESTED = "killed", "survived", "timed out", "no test"
UNCHANGED = "nothing is changed"  # a control
SECOND_LOOK = 10  # code: the copy of the process could not make this mutant

Queue = list[tuple[str, Mutation]]
Done = Callable[["Result"], None]


class Result(NamedTuple):
    """What became of one mutant."""

    file: str
    mutation: Mutation
    outcome: str


def tests_for(file: str, mutation: Mutation, known: Map, budget: float) -> tuple[list[str], float]:
    """Tests that run the changed line, then those that run its statement, then its file, as far as the budget goes.

    Lines that run when the module is imported belong to no test.  For these, tests whose parameters name what the line
    defines come first, and the wider circles follow.  Also the seconds that these tests take.
    """
    statement = [f"{file}:{line}" for line in range(mutation.start, mutation.end + 1)]
    whole = [line for line in known.lines if line.rpartition(":")[0] == file]
    chosen: dict[str, None] = {}
    spent = 0.0
    here = known.lines.get(f"{file}:{mutation.line}", set())
    named = set() if here and mutation.line != mutation.start else known.named(mutation.names)
    circles = [{test for line in lines for test in known.lines.get(line, ())} for lines in (statement, whole)]
    for circle in (here, named, *circles):
        found = circle - set(chosen)
        for test in _varied(found, known.seconds):
            cost = known.seconds.get(test, 1.0) / 2 + 0.002  # tracing took longer than running does
            if spent + cost > budget and chosen:
                return list(chosen), spent
            spent += cost
            chosen[test] = None
    return list(chosen), spent


def _varied(tests: set[str], seconds: dict[str, float]) -> list[str]:
    """The quickest case of every test function, then the second quickest of each, and so on."""
    functions: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests, key=lambda t: (seconds.get(t, 1.0), t)):
        functions[test.split("[")[0]].append(test)
    ranked = [(rank, seconds.get(test, 1.0), test) for cases in functions.values() for rank, test in enumerate(cases)]
    return [test for _, _, test in sorted(ranked)]


def forked(work: Callable[[], int], seconds: float) -> int:
    """Start a copy of this process that does some work, for so many seconds at most, and exits with its result."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        code = work()
    finally:
        os._exit(code)


def pool(queue: Queue, start: Callable[[str, Mutation], int | str], finish: Done, jobs: int) -> None:
    """Try all mutants of a queue, some at once."""
    running: dict[int, tuple[str, Mutation, float]] = {}
    waiting = list(reversed(queue))
    while waiting or running:
        while waiting and len(running) < jobs:
            file, mutation = waiting.pop()
            begun = start(file, mutation)
            if isinstance(begun, str):
                finish(Result(file, mutation, begun))
            else:
                running[begun] = file, mutation, time.monotonic()
        for pid, (file, mutation, began) in list(running.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del running[pid]
                finish(Result(file, mutation, _outcome(os.waitstatus_to_exitcode(status))))
            elif time.monotonic() - began > 1800:  # far beyond its CPU time: it sleeps
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _outcome(code: int) -> str:
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return TIMED_OUT
    return {0: SURVIVED, SECOND_LOOK: "second look"}.get(code, KILLED)


class Server:
    """A pytest plugin: when everything is collected, copies of the process run the mutants."""

    def __init__(self, queue: Queue, known: Map, jobs: int, budget: float, finish: Done, listed: pathlib.Path) -> None:
        self.queue, self.known, self.jobs, self.budget, self.finish = queue, known, jobs, budget, finish
        self.listed = listed
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        self.listed.write_text(json.dumps(list(items)))
        functions = Functions(PACKAGE)
        trees: dict[str, ast.Module] = {}

        def start(file: str, mutation: Mutation) -> int | str:
            tests, spent = tests_for(file, mutation, self.known, self.budget)
            if not tests:
                return UNTESTED
            path = PACKAGE + file
            if file not in trees:
                trees[file] = ast.parse((ROOT / "tinygrad_rnn" / file).read_text(encoding="utf-8"))
            changed = trees[file] if mutation.change == UNCHANGED else mutation.build()
            pairs = changed_codes(path, trees[file], changed)

            def work() -> int:
                if not functions.exchange(pairs or []):
                    return SECOND_LOOK
                chosen = [items[test] for test in tests if test in items]
                for item, following in zip(chosen, [*chosen[1:], None], strict=True):
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                    if self.failed:
                        return 1
                return 0

            return "second look" if pairs is None else forked(work, 20 + 5 * spent)

        pool(self.queue, start, self.finish, self.jobs)
        return True


class Loader(importlib.abc.Loader):
    """Loads one module from a changed tree."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self.name = ".".join(["tinygrad_rnn", *file.removesuffix(".py").removesuffix("/__init__").split("/")])
        self.path, self.tree = PACKAGE + file, tree

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self.name:
            return None
        package = self.path.endswith("__init__.py")
        return importlib.util.spec_from_file_location(
            name, self.path, loader=self, submodule_search_locations=[os.path.dirname(self.path)] if package else None
        )

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(compiled(self.tree, self.path), module.__dict__)


def load(file: str, tree: ast.Module) -> None:
    """Import one module from a changed tree, before pytest puts a finder of its own before all others."""
    loader = Loader(file, tree)
    sys.meta_path.insert(0, loader)
    importlib.import_module(loader.name)


def run_at_import() -> set[str]:
    """The lines of functions that are called while the package is imported, as ``"ops/shape.py:12"``."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        found: set[str] = set()

        def note(frame: Any, event: str, argument: Any) -> None:
            code = frame.f_code
            if code.co_filename.startswith(PACKAGE) and code.co_flags & inspect.CO_NEWLOCALS:
                file = code.co_filename[len(PACKAGE) :]
                found.update(f"{file}:{line}" for _, _, line in code.co_lines() if line)

        sys.settrace(note)
        importlib.import_module("tests.support.primitives")  # it imports all of the package
        sys.settrace(None)
        with os.fdopen(writer, "w") as out:
            json.dump(sorted(found), out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        result = set(json.load(lines))
    os.waitpid(pid, 0)
    return result


def run(queue: Queue, known: Map, jobs: int, budget: float, show: Done) -> list[Result]:
    """Try all mutants: by exchange of code, then anew where that cannot be or may have come too late."""
    results: list[Result] = []
    again: Queue = []
    imported = run_at_import()
    listed = pathlib.Path(tempfile.mkdtemp()) / "tests.json"

    def finish(result: Result) -> None:
        changed = result.mutation.change != UNCHANGED
        unsure = changed and result.outcome == SURVIVED and f"{result.file}:{result.mutation.line}" in imported
        if result.outcome == "second look" or unsure:
            again.append((result.file, result.mutation))
        else:
            results.append(result)
            show(result)

    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        number = {id(mutation): k for k, (_, mutation) in enumerate(queue)}

        def send(result: Result) -> None:
            os.write(writer, f"{number[id(result.mutation)]} {result.outcome}\n".encode())

        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = pytest.main(["-s", *SUITE, *QUIET], plugins=[Server(queue, known, jobs, budget, send, listed)])
        os._exit(int(code))
    os.close(writer)
    with os.fdopen(reader) as lines:
        for line in lines:
            k, outcome = line.rstrip("\n").split(" ", 1)
            finish(Result(*queue[int(k)], outcome))
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise SystemExit("the suite could not be collected: run pytest tests")
    there = set(json.loads(listed.read_text()))

    def start(file: str, mutation: Mutation) -> int | str:
        tests, spent = tests_for(file, mutation, known, budget)
        tests = [test for test in tests if test in there]

        def work() -> int:
            load(file, mutation.build())
            few = tests[:30]  # most are noticed soon; each part of the suite costs time to collect
            parts = [part for part in (few, tests[30:]) if part]
            return int(any(pytest.main([*part, "-x", *QUIET]) for part in parts))

        return forked(work, 40 + 5 * spent) if tests else UNTESTED

    def last(result: Result) -> None:
        results.append(result)
        show(result)

    pool(again, start, last, jobs)
    return results

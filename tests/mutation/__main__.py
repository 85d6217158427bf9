"""How many small mistakes in the package would the tests notice?  ``python -m tests.mutation tape ops``

Each mutant is one small change to one file.  The tests that run the changed line are run on it until one fails.  First
a traced run of the suite finds which tests run which lines; it is kept and used again.

    --sample N      try N mutants of each part, drawn evenly (default: 300; 0 for all)
    --seed S        which ones
    --jobs J        processes at once (default: 2)
    --budget T      seconds of tests for one mutant (default: 40)
    --file PATH     mutants of one file only
    --again LOG     only those that survived in an earlier run, from what it printed
    --remap         trace again
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import json
import os
import pathlib
import random
import re
import signal
import sys
import time
from collections import defaultdict
from typing import Any, NamedTuple

from tests.mutation.mutate import Mutation, mutations

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "tinygrad_rnn"
ELSEWHERE = ("train", "test_docs.py", "mutants", "mutation", "support", "clients", "serialization", "utils")
SUITE = ["tests", *(f"--ignore=tests/{part}" for part in ELSEWHERE)]
PARTS = ["tape", "ops", "autograd", "optim"]
QUIET = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=no", "-W", "ignore"]
MAP = ROOT / ".mutation" / "map.json"
KILLED, SURVIVED, TIMED_OUT, UNTESTED = "killed", "survived", "timed out", "no test"


class Result(NamedTuple):
    """What became of one mutant."""

    file: str
    mutation: Mutation
    outcome: str


class Loader(importlib.abc.Loader):
    """Loads one module from a changed tree."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

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
        exec(compile(self.tree, self.path, "exec"), module.__dict__)


def traced(parts: list[str]) -> dict[str, Any]:
    """The map from lines to tests, made by a traced run of the suite in a process of its own."""
    MAP.parent.mkdir(exist_ok=True)
    pid = os.fork()
    if pid == 0:
        import pytest

        from tests.mutation.cover import Cover

        code = pytest.main([*SUITE, *[q for q in QUIET if q != "-x"]], plugins=[Cover(tuple(parts), MAP)])
        os._exit(int(code))
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit("the traced run of the suite failed")
    found: dict[str, Any] = json.loads(MAP.read_text())
    return found


def tests_for(file: str, mutation: Mutation, known: dict[str, Any], budget: float) -> list[str]:
    """Tests that run the changed line, then those that run its statement, then its file, as far as the budget goes.

    Lines that run when the module is imported belong to no test, so the wider circles are always asked too.
    """
    lines, seconds = known["lines"], known["seconds"]
    statement = [f"{file}:{line}" for line in range(mutation.start, mutation.end + 1)]
    whole = [key for key in lines if key.rpartition(":")[0] == file]
    chosen: dict[str, None] = {}
    spent = 0.0
    for circle in ([f"{file}:{mutation.line}"], statement, whole):
        found = {test for key in circle for test in lines.get(key, ())} - set(chosen)
        for test in _varied(found, seconds):
            spent += seconds.get(test, 1.0) / 3  # tracing took longer than running does
            if spent > budget and chosen:
                return list(chosen)
            chosen[test] = None
    return list(chosen)


def _varied(tests: set[str], seconds: dict[str, float]) -> list[str]:
    """The quickest case of every test function, then the second quickest of each, and so on."""
    functions: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests, key=lambda t: seconds.get(t, 1.0)):
        functions[test.split("[")[0]].append(test)
    ranked = [(rank, seconds.get(test, 1.0), test) for cases in functions.values() for rank, test in enumerate(cases)]
    return [test for _, _, test in sorted(ranked)]


def attempt(file: str, mutation: Mutation, tests: list[str]) -> int:
    """Start a process that runs the tests on the mutant; its exit status is 0 if none of them fails."""
    pid = os.fork()
    if pid:
        return pid
    name = ".".join(["tinygrad_rnn", *file.removesuffix(".py").removesuffix("/__init__").split("/")])
    sys.meta_path.insert(0, Loader(name, str(PACKAGE / file), mutation.build()))  # type: ignore[arg-type]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.setpgid(0, 0)
    code = 1
    try:
        import pytest

        code = int(pytest.main([*tests, *QUIET]))
    finally:
        os._exit(code)


def run(queue: list[tuple[str, Mutation]], known: dict[str, Any], jobs: int, budget: float) -> list[Result]:
    """Try all mutants, some at once."""
    results: list[Result] = []
    running: dict[int, tuple[str, Mutation, float]] = {}
    waiting = list(reversed(queue))
    while waiting or running:
        while waiting and len(running) < jobs:
            file, mutation = waiting.pop()
            tests = tests_for(file, mutation, known, budget)
            if not tests:
                results.append(Result(file, mutation, UNTESTED))
                continue
            running[attempt(file, mutation, tests)] = file, mutation, time.monotonic() + 3 * budget + 20
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            file, mutation, _ = running.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            results.append(Result(file, mutation, SURVIVED if code == 0 else TIMED_OUT if code == -9 else KILLED))
            show(results, len(queue))
        elif pid == 0:
            time.sleep(0.02)
        for late, (_, _, deadline) in running.items():
            if time.monotonic() > deadline:
                os.kill(late, signal.SIGKILL)
    return results


def show(results: list[Result], total: int) -> None:
    last = results[-1]
    if last.outcome not in (KILLED, TIMED_OUT):
        print(f"  {last.outcome}: {last.file}:{last.mutation.line} {last.mutation.change}", flush=True)
    if len(results) % 25 == 0:
        print(f"  {len(results)} of {total}", flush=True)


def report(results: list[Result]) -> None:
    """The score of each file, and of all."""
    by_file: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_file[result.file].append(result)
    print(f"\n{'file':32s} mutants  killed   score")
    for file, found in [*sorted(by_file.items()), ("all", results)]:
        dead = sum(r.outcome in (KILLED, TIMED_OUT) for r in found)
        print(f"{file:32s} {len(found):7d} {dead:7d} {dead / max(len(found), 1):7.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("parts", nargs="*", default=["tape", "ops"])
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--budget", type=float, default=40.0)
    parser.add_argument("--file", default=None)
    parser.add_argument("--again", type=pathlib.Path, default=None)
    parser.add_argument("--remap", action="store_true")
    args = parser.parse_args()
    os.chdir(ROOT)
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    for module in ("numpy", "pytest", "hypothesis", "hypothesis.extra.numpy", "torch"):
        if importlib.util.find_spec(module):
            importlib.import_module(module)  # loaded once, shared by every process
    known = json.loads(MAP.read_text()) if MAP.exists() and not args.remap else traced(PARTS)
    queue: list[tuple[str, Mutation]] = []
    survived = re.findall(r"^  (?:survived|no test): (.*)$", args.again.read_text(), re.M) if args.again else None
    for part in args.parts:
        found = []
        for path in sorted((PACKAGE / part).rglob("*.py")):
            file = path.relative_to(PACKAGE).as_posix()
            if args.file in (None, file):
                found += [(file, mutation) for mutation in mutations(path.read_text(encoding="utf-8"))]
        if survived is not None:
            found = [(file, m) for file, m in found if f"{file}:{m.line} {m.change}" in survived]
        random.Random(args.seed).shuffle(found)
        queue += found[: args.sample] if args.sample else found
        print(f"{part}: {len(found)} mutants, {min(len(found), args.sample or len(found))} tried", flush=True)
    report(run(queue, known, args.jobs, args.budget))


if __name__ == "__main__":
    main()

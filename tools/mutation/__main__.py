"""How many small mistakes in the package would the tests notice: ``python -m tools.mutation tape ops``.

Each mutant is one small change to one file.  The tests that run the changed line are run on it until one fails.  First
a traced run of the suite finds which tests run which lines; it is kept, and brought up to date for what was edited.
All happens in a copy of the repository, so that one can go on working meanwhile.

    --sample N      try N mutants of each part, drawn evenly (default: 200; 0 for all)
    --seed S        which ones
    --jobs J        processes at once (default: 2)
    --budget T      seconds of tests for one mutant (default: 15)
    --file PATH     mutants of one file only, such as ops/shape.py
    --control N     also N unchanged programs, at which no test may fail (default: 5)
    --again LOG     only those that survived in an earlier run, from what it printed

Kernels that are compiled (by Numba, for CUDA) are left out: no trace and no exchange reaches what runs there, and tests
hold them against the NumPy kernels, which are mutated.

Mutants that no test can tell from the original are listed with the reason in ``equivalent.txt`` and counted apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict

import pytest

from tools.mutation.cover import PACKAGE, ROOT, Cover, Map
from tools.mutation.equivalents import Equivalents
from tools.mutation.mutate import Mutation, mutations
from tools.mutation.trial import ELSEWHERE, KILLED, QUIET, TIMED_OUT, UNCHANGED, Result, run

PARTS = ["tape", "kernels", "ops", "autograd", "optim"]
COMPILED = ("kernels/recurrent/numba", "kernels/recurrent/cuda")  # what runs there is no Python; --file asks for it
COPY = "TINYGRAD_RNN_MUTATION_MAP"  # set in the process that works on the copy: where the map is kept


def in_a_copy(arguments: list[str]) -> int:
    """Run this program again in a copy of the repository."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = pathlib.Path(folder) / "copy"
        ignored = shutil.ignore_patterns("__pycache__", ".*", "runs", "build", "dist")
        shutil.copytree(ROOT, copy, ignore=ignored)
        places = {COPY: str(ROOT / ".mutation" / "map.json"), "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        places["ROWS"] = "apart"  # a mutant needs the rows that reach it, not their whole table
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        command = [sys.executable, "-m", "tools.mutation", *arguments]
        return subprocess.run(command, cwd=copy, env={**os.environ, **threads, **places}).returncode


def up_to_date(known: Map) -> Map:
    """The map from lines to tests; what it lacks is found by a traced run in a process of its own."""
    known.follow()
    found = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")]
    files = sorted(path.as_posix() for path in found if path.parts[1] not in ELSEWHERE)
    stale = known.stale(files)
    if stale:
        print(f"tracing {len(stale)} of {len(files)} files of tests", flush=True)
        target = pathlib.Path("traced.json")
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(int(pytest.main([*stale, *QUIET], plugins=[Cover(tuple(PARTS), target)])))
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) not in (0, 1):
            raise SystemExit("the traced run of the suite failed")
        known.add(json.loads(target.read_text()), stale)
    known.save()
    return known


def queued(args: argparse.Namespace) -> tuple[list[tuple[str, Mutation]], dict[str, int]]:
    """The mutants to try, and how many there are in each part."""
    queue: list[tuple[str, Mutation]] = []
    sizes = {}
    survived = re.findall(r"^  (?:survived|no test): (.*)$", args.again.read_text(), re.M) if args.again else None
    for part in args.parts:
        found = []
        for path in sorted(pathlib.Path(PACKAGE, part).rglob("*.py")):
            file = path.relative_to(PACKAGE).as_posix()
            if args.file == file or (args.file is None and not file.startswith(COMPILED)):
                found += [(file, mutation) for mutation in mutations(path.read_text(encoding="utf-8"))]
        if survived is not None:
            found = [(file, m) for file, m in found if described(file, m) in survived]
        random.Random(args.seed).shuffle(found)
        sizes[part] = len(found)
        queue += found[: args.sample] if args.sample else found
        print(f"{part}: {len(found)} mutants, {min(len(found), args.sample or len(found))} tried", flush=True)
    return queue, sizes


def described(file: str, mutation: Mutation) -> str:
    """``file:line change``, as lists show a mutant."""
    return f"{file}:{mutation.line} {mutation.change}"


def report(results: list[Result], equivalent: list[tuple[str, Mutation]], sizes: dict[str, int]) -> None:
    """The score of each file and each part, with its standard error, and of all, each part with its weight."""
    by_file: dict[str, list[Result]] = defaultdict(list)
    by_part: dict[str, list[Result]] = {part: [] for part in sizes}
    for result in results:
        by_file[result.file].append(result)
        by_part[result.file.split("/")[0]].append(result)
    print(f"\n{'file':32s} mutants  killed   score")
    for file, found in sorted(by_file.items()):
        print(f"{file:32s} {len(found):7d} {_dead(found):7d} {_dead(found) / len(found):7.1%}")
    print()
    share = variance = 0.0
    for part, found in by_part.items():
        n, same = max(len(found), 1), sum(file.split("/")[0] == part for file, _ in equivalent)
        score = _dead(found) / n
        error = math.sqrt(score * (1 - score) / n * max(1 - n / max(sizes[part], 1), 0.0))
        print(f"{part}: {score:.1%} +- {error:.1%} of {len(found)} mutants; {same} more are equivalent")
        weight = sizes[part] / max(sum(sizes.values()), 1)
        share, variance = share + weight * score, variance + (weight * error) ** 2
    outcomes = [result.outcome for result in results]
    dead = f"{outcomes.count(KILLED)} killed and {outcomes.count(TIMED_OUT)} timed out of {len(results)}"
    print(f"{' and '.join(sizes)}: {share:.1%} +- {math.sqrt(variance):.1%}, by weight ({dead})")


def _dead(results: list[Result]) -> int:
    return sum(r.outcome in (KILLED, TIMED_OUT) for r in results)


def main(arguments: list[str]) -> int:
    """Run what the command line asks for; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation")
    parser.add_argument("parts", nargs="*", default=["tape", "ops"])
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--budget", type=float, default=15.0)
    parser.add_argument("--file", default=None)
    parser.add_argument("--control", type=int, default=5)
    parser.add_argument("--again", type=lambda name: pathlib.Path(name).resolve(), default=None)
    args = parser.parse_args(arguments)
    if COPY not in os.environ:
        return in_a_copy([str(args.again) if args.again == pathlib.Path(a).resolve() else a for a in arguments])
    for module in ("numpy", "hypothesis", "hypothesis.extra.numpy", "torch"):
        if importlib.util.find_spec(module):
            importlib.import_module(module)  # loaded once, shared by every process
    known = up_to_date(Map(pathlib.Path(os.environ[COPY])))
    queue, sizes = queued(args)
    equivalents = Equivalents()
    same = [(file, m) for file, m in queue if equivalents.reason(file, m)]
    queue = [(file, m) for file, m in queue if not equivalents.reason(file, m)]
    control = [(file, m._replace(change=UNCHANGED)) for file, m in queue[:: max(len(queue) // max(args.control, 1), 1)]]
    control = control[: args.control]
    done = 0

    def show(result: Result) -> None:
        nonlocal done
        done += 1
        if result.mutation.change == UNCHANGED:
            if result.outcome == KILLED:
                print(f"  CONTROL FAILED: {result.file}:{result.mutation.line}", flush=True)
        elif result.outcome not in (KILLED, TIMED_OUT):
            print(f"  {result.outcome}: {described(result.file, result.mutation)}", flush=True)
        if done % 25 == 0:
            print(f"  {done} of {len(queue)}", flush=True)

    results = run([*control, *queue], known, args.jobs, args.budget, show)
    noticed = sum(r.outcome == KILLED for r in results if r.mutation.change == UNCHANGED)
    report([r for r in results if r.mutation.change != UNCHANGED], same, sizes)
    print(f"control: tests failed at {noticed} of {len(control)} programs without any change")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

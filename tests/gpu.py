"""Everything that needs a GPU, in one go: ``python -m tests.gpu --out DIR``, or ``make gpu OUT=DIR``.

    1. the tests marked ``gpu``, shared among processes, and beside them every fused path against float64
    2. all measurements, one after the other, with the machine to themselves
    3. a little of everything under compute-sanitizer, if it is there

Nothing is installed and nothing is fetched.  Each part has a time limit, all together stay under eight minutes, and
what is there when a limit is reached is kept.  ``DIR/summary.md`` tells all of it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.families import FAMILIES
from tinygrad_rnn.backend.gpu import cupy_access

BENCH = "benchmarks.gpu"
ROOT = Path(__file__).parents[1]
LIMITS = {"tests": 165.0, "times": 240.0, "sanitizer": 45.0}
"""Seconds; the first two parts may use what the ones before left."""
SANITIZERS = ("compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer", "/opt/cuda/bin/compute-sanitizer")
ENDED = re.compile(r"(PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b")
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; 0 if nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=max(1, min(12, (os.cpu_count() or 2) - 4)))
    parser.add_argument("--quick", action="store_true", help="a part of the shapes")
    parser.add_argument("--dry-run", action="store_true", help="without a GPU: does everything run?")
    options = parser.parse_args(arguments)
    reason = None if options.dry_run else cupy_access.unavailable_reason()
    if reason is not None:
        print(f"make gpu: there is no GPU to test: {reason}", file=sys.stderr)
        return 2
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    more = ["--quick"] * options.quick + ["--dry-run"] * options.dry_run
    status = _first(out, options.processes, more)
    print(f"[{time.monotonic() - begin:.0f} s] the times", flush=True)
    others = ",".join(name for name, family in FAMILIES.items() if not family.together)
    status += _wait([_bench(out / "times", others, more, LIMITS["times"])], LIMITS["times"] + 10)
    print(f"[{time.monotonic() - begin:.0f} s] the sanitizer", flush=True)
    status += _sanitize(out, options.dry_run)
    status += not options.dry_run and not _ends(out)[0]["passed"]  # tests that are all skipped show nothing
    summary = _summary(out)
    (out / "summary.md").write_text(summary, encoding="utf-8")
    print(f"{summary}\n[{time.monotonic() - begin:.0f} s] written: {out / 'summary.md'}", flush=True)
    return min(status, 1)


def _start(command: Sequence[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment}
    with open(log, "wb") as file:
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT)


def _wait(processes: Sequence[subprocess.Popen[bytes]], seconds: float) -> int:
    """Wait for all, end those that take longer than ``seconds``; how many did not end well."""
    end = time.monotonic() + seconds
    bad = 0
    for process in processes:
        try:
            bad += process.wait(timeout=max(end - time.monotonic(), 0.1)) not in (0, 5)  # 5: no test in this part
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
            bad += 1
    return bad


def _bench(out: Path, only: str, more: Sequence[str], seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", BENCH, "--out", str(out), "--only", only]
    return _start([*command, "--seconds", str(seconds), *more], out / "program.log")


def _first(out: Path, processes: int, more: Sequence[str]) -> int:
    """The tests, and the checks beside them, which compile all kernels for the times."""
    print("[0 s] the tests, and every fused path against float64", flush=True)
    checks = ",".join(name for name, family in FAMILIES.items() if family.together)
    running = [_bench(out / "checks", checks, more, LIMITS["tests"] - 5)]
    chosen = ["tests/cuda"] if "--dry-run" in more else ["tests"]
    test = [sys.executable, "-m", "pytest", "-p", "tests.support.shard", "-m", "gpu", "-v", "-rf", "--tb=short"]
    test += ["-p", "no:cacheprovider", *chosen]
    for k in range(processes):
        running.append(
            _start(test, out / "tests" / f"{k + 1}.log", SHARD=f"{k + 1}/{processes}", ROWS="apart", **THREADS)
        )
    return _wait(running, LIMITS["tests"])


def _sanitize(out: Path, dry: bool) -> int:
    found = next((shutil.which(name) for name in SANITIZERS if shutil.which(name)), None)
    if found is None or dry:
        (out / "sanitizer.txt").write_text("compute-sanitizer is not there\n")
        return 0
    running = []
    for tool in ("memcheck", "racecheck"):
        command = [found, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m", f"{BENCH}.sanitize"]
        running.append(_start(command, out / f"sanitizer-{tool}.log"))
    status = _wait(running, LIMITS["sanitizer"])
    lines = [f"{tool}: exit status {p.returncode}" for tool, p in zip(("memcheck", "racecheck"), running, strict=True)]
    (out / "sanitizer.txt").write_text("\n".join(lines) + "\n")
    return status


def tests_told(text: str) -> tuple[Counter[str], list[str]]:
    """How the tests in a log ended, and the names of those that failed.

    A test that was running when the log ends is one that did not end.
    """
    ends: Counter[str] = Counter()
    failed = []
    for line in text.splitlines():
        if line.startswith("tests/") and "::" in line:
            found = ENDED.search(line)
            ends[found[1].lower() if found else "not ended"] += 1
            if found and found[1] in ("FAILED", "ERROR"):
                failed.append(line.split(" ")[0])
    return ends, failed


def _ends(out: Path) -> tuple[Counter[str], list[str]]:
    """How the tests of all logs ended, and the names of those that failed."""
    ends: Counter[str] = Counter()
    failed: list[str] = []
    for log in sorted((out / "tests").glob("*.log")):
        more, names = tests_told(log.read_text(encoding="utf-8", errors="replace"))
        ends += more
        failed += names
    return ends, failed


def _summary(out: Path) -> str:
    ends, failed = _ends(out)
    parts = ["# Tests marked gpu", ", ".join(f"{count} {end}" for end, count in sorted(ends.items())) or "none"]
    parts += ["\n".join(f"- {name}" for name in sorted(set(failed)))] if failed else []
    parts += ["# compute-sanitizer", (out / "sanitizer.txt").read_text(encoding="utf-8").strip()]
    for folder in ("checks", "times"):
        path = out / folder / "gpu.md"
        parts.append(path.read_text(encoding="utf-8") if path.exists() else f"({folder}: nothing was written)")
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())

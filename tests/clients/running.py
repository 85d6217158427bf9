"""Run a script in a process of its own, under the alias or with PyTorch itself, and compare what two runs printed."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Sequence

HERE = pathlib.Path(__file__).parent
NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?")


def run(
    script: str | os.PathLike[str],
    *arguments: str,
    real: bool = False,
    seed: int | None = None,
    cwd: str | os.PathLike[str] | None = None,
    module: bool = False,
    path: str = "",
) -> list[str]:
    """The lines that the script prints.

    Raises:
        AssertionError: it fails; the message is the end of what it wrote to its error stream.
    """
    options = [*(["--real"] if real else []), *(["--seed", str(seed)] if seed is not None else [])]
    options += ["-m"] if module else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONPATH": path, "PYTHONUTF8": "1"}
    environment |= {"MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1", "CI": "1"}
    command = [sys.executable, str(HERE / "alias.py"), *options, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, cwd=cwd)
    tail = (done.stderr or done.stdout)[-3000:]
    assert done.returncode == 0, f"{script} under {'PyTorch' if real else 'the alias'} failed:\n{tail}"
    return done.stdout.splitlines()


def assert_same_lines(ours: Sequence[str], theirs: Sequence[str], rtol: float, atol: float = 0.0) -> int:
    """The same text, and in it the same numbers but for ``rtol`` and ``atol``; gives how many numbers there were.

    A number without a point or an exponent must be the same to the digit.
    """
    assert len(ours) == len(theirs), f"{len(ours)} lines, not {len(theirs)}"
    count = 0
    for line, (mine, other) in enumerate(zip(ours, theirs, strict=True), 1):
        assert NUMBER.sub("#", mine) == NUMBER.sub("#", other), f"line {line}:\n{mine}\n{other}"
        for a, b in zip(NUMBER.findall(mine), NUMBER.findall(other), strict=True):
            count += 1
            if a == b:
                continue
            assert not (a.isdigit() and b.isdigit()), f"line {line}: {a} is not {b}:\n{mine}\n{other}"
            assert abs(float(a) - float(b)) <= rtol * abs(float(b)) + atol, (
                f"line {line}: {a}, not {b}:\n{mine}\n{other}"
            )
    return count

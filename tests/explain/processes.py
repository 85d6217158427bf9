"""Run scripts with Python alone and under ``tinygrad-rnn explain``, as processes."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from typing import Any, NamedTuple

REPOSITORY = pathlib.Path(__file__).parents[2]
SAID = re.compile(r"^tinygrad-rnn: (.*)$", re.MULTILINE)


class Ran(NamedTuple):
    """What a process did."""

    status: int
    output: str
    errors: str

    @property
    def said(self) -> list[str]:
        """Our own lines on the error stream."""
        return SAID.findall(self.errors)

    @property
    def others(self) -> str:
        """What else is there: the script's."""
        return SAID.sub("", self.errors).rstrip("\n")


def start(command: list[str], folder: pathlib.Path, **more: Any) -> subprocess.Popen[str]:
    """Start Python in a folder, with this package on its path."""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    env |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", **more.pop("env", {})}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | more
    return subprocess.Popen([sys.executable, *command], cwd=folder, env=env, text=True, **pipes)


def python(folder: pathlib.Path, *words: object, given: str = "", **more: Any) -> Ran:
    """``python words...``."""
    process = start(list(map(str, words)), folder, **more)
    output, errors = process.communicate(given, timeout=300)
    return Ran(process.returncode, output, errors)


def explain(folder: pathlib.Path, *words: object, **more: Any) -> Ran:
    """``tinygrad-rnn explain words...``."""
    return python(folder, "-m", "tinygrad_rnn", "explain", *words, **more)

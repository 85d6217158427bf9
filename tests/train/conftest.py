"""What the tests of the training program share: a small text, a small run, and processes to kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tinygrad_rnn.train.cli import main

SMALL = "--hidden 8 --embedding 4 --batch 4 --bptt 8 --updates 30 --eval-every 10 --checkpoint-every 7 --quiet".split()


@pytest.fixture(autouse=True)
def _signals_are_as_in_a_terminal() -> Iterator[None]:
    """A shell's background job ignores SIGINT, nohup SIGHUP; what these tests start would inherit it."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    usual |= {signal.SIGHUP: signal.SIG_DFL} if hasattr(signal, "SIGHUP") else {}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def small() -> list[str]:
    """Options of a run that takes a fraction of a second."""
    return list(SMALL)


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of some 4,000 characters, 24 different ones."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("the cat sat on the mat; a big dog had run up, jumping very quickly.\n" * 60, encoding="utf-8")
    return path


@pytest.fixture
def pictures() -> None:
    """Asked for by tests that look at the curve of a run: drawing it takes longer than a small run."""


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "pictures" not in request.fixturenames:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


@pytest.fixture(scope="session")
def without_matplotlib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that, on the path of a process, hides matplotlib from it."""
    folder = tmp_path_factory.mktemp("without_matplotlib")
    (folder / "matplotlib.py").write_text("raise ImportError")
    return folder


@pytest.fixture
def start(
    request: pytest.FixtureRequest, tmp_path: Path, without_matplotlib: Path
) -> Callable[..., subprocess.Popen[str]]:
    """Start the program with arguments as a process of its own, in an empty folder."""
    hidden = [] if "pictures" in request.fixturenames else [str(without_matplotlib)]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *hidden])

    def start(*arguments: object, env: Mapping[str, str] = os.environ, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tinygrad_rnn", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**env, "PYTHONPATH": path},
            cwd=tmp_path,
            **more,
        )

    return start


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., tuple[int, str, str]]:
    """Run the program with arguments to its end: exit status, output, errors.

    With NumPy's kernels, or those that ``kernels`` names, or (None) those of a user: loading Numba takes longer than a
    small run.
    """

    def run(
        *arguments: object, kernels: str | None = "numpy", env: Mapping[str, str] = os.environ, **more: Any
    ) -> tuple[int, str, str]:
        chosen = {"TINYGRAD_RNN_KERNELS": kernels} if kernels else {}
        process = start(*arguments, env={**env, **chosen}, **more)
        output, errors = process.communicate(timeout=120)
        return process.returncode, output, errors

    return run


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the program in an empty folder, assert that it refuses properly, and return what it said."""
    monkeypatch.chdir(tmp_path)

    def mistake(*arguments: object) -> str:
        before = contents(tmp_path)
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        output, errors = capsys.readouterr()
        assert contents(tmp_path) == before
        assert output == ""
        assert errors.startswith("tinygrad-rnn: error: ") and errors.endswith("\n") and errors.count("\n") == 1
        return errors

    return mistake


@pytest.fixture(scope="session")
def a_finished_run(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", "--text", str(text), "--out", str(folder), "--diagnose", "10", *SMALL]) == 0
    return folder


@pytest.fixture
def finished(a_finished_run: Path, tmp_path: Path) -> Path:
    """The folder of a finished run, to be spoilt."""
    return shutil.copytree(a_finished_run, tmp_path / "finished")

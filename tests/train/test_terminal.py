"""Standard output and standard error that are closed, full, or read by nobody: training goes on and saves."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tinygrad_rnn import terminal
from tinygrad_rnn.serialization import load
from tinygrad_rnn.train.cli import main

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


class Broken(io.StringIO):
    """A stream that takes so many characters and then fails."""

    def __init__(self, number: int, room: int) -> None:
        super().__init__()
        self.number, self.room, self.failures = number, room, 0

    def write(self, text: str) -> int:
        self.room -= len(text)
        if self.room < 0:
            self.failures += 1
            raise OSError(self.number, os.strerror(self.number))
        return super().write(text)


def shell(folder: Path, line: str) -> tuple[int, str, str]:
    """What a line of a shell says in which ``PROGRAM`` is the program."""
    program = f"{sys.executable} -m tinygrad_rnn"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    env["TINYGRAD_RNN_KERNELS"] = "numpy"  # no Numba to load
    done = subprocess.run(
        ["bash", "-c", line.replace("PROGRAM", program)], cwd=folder, env=env, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("room", [0, 100])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO, None])
def test_a_run_does_not_end_because_of_a_stream(
    tmp_path: Path, text: Path, small: list[str], monkeypatch: pytest.MonkeyPatch, name: str, room: int, number: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    small.remove("--quiet")
    stream = None if number is None else Broken(number, room)
    other = io.StringIO()
    monkeypatch.setattr(sys, "stdout", other)
    monkeypatch.setattr(sys, "stderr", other)
    monkeypatch.setattr(sys, name, stream)
    assert main(["train", "--text", str(text), "--out", "run", *small]) == 0
    assert getattr(sys, name) is stream
    assert load("run/checkpoint.safetensors")["update"] == 30 and Path("run", "result.json").exists()
    assert stream is None or stream.failures == 1  # and then it was left alone
    told = "what was to be printed could not be written" in other.getvalue()
    assert told == (name == "stdout" and number in (errno.ENOSPC, errno.EIO))


def test_a_mistake_is_a_mistake_also_where_it_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (None, Broken(errno.EIO, 0)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(["train", "--lr", "-1"]) == 2


def test_a_sample_that_nobody_can_read_is_an_error(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["sample", str(finished)]) == 2
    assert capsys.readouterr().err == (
        "tinygrad-rnn: error: standard output is closed: there is nothing to write the sample to\n"
    )


@posix
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("PROGRAM train OPTIONS >&- 2>&- <&-", 0),
        ("PROGRAM train OPTIONS > /dev/full 2> /dev/full", 0),
        ("PROGRAM sample ../finished > /dev/full", 2),
    ],
)
def test_streams_of_a_process(tmp_path: Path, finished: Path, text: Path, line: str, status: int) -> None:
    (tmp_path / "here").mkdir()
    options = f"--text {text} --out run --hidden 8 --embedding 4 --batch 4 --bptt 8 --updates 30"
    found, _, errors = shell(tmp_path / "here", line.replace("OPTIONS", options))
    assert found == status and "Traceback" not in errors and "Exception" not in errors, errors
    if "train" in line:
        assert load(tmp_path / "here" / "run" / "checkpoint.safetensors")["update"] == 30
        assert (tmp_path / "here" / "run" / "metrics.jsonl").read_text().count("\n") == 30
    elif status == 2:
        assert errors == "tinygrad-rnn: error: No space left on device\n"


@pytest.mark.parametrize("terminal_or_not", [True, False])
def test_control_characters_of_a_model_reach_files_but_no_terminal(
    tmp_path: Path,
    text: Path,
    small: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal_or_not: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log").write_text(text.read_text().replace(" ", "\x1b[2J"))
    assert main(["train", "--text", "log", "--out", "run", *small]) == 0
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal_or_not, raising=False)
    assert main(["sample", "run", "--length", "300"]) == 0
    written = capsys.readouterr().out
    assert ("\x1b" in written, "\\x1b" in written) == (not terminal_or_not, terminal_or_not)


def test_printable_leaves_every_language_as_it_is() -> None:
    for text in ("日本\u3000語", "नमस्\u200dते", "a\tb\nc", "é\xa0«»", "😀\u200d😀"):
        assert terminal.printable(text) == text
    assert terminal.printable("a\r\nb\rc") == "a\nb\\rc"


@posix
@pytest.mark.parametrize("moment", ["numpy", "tinygrad_rnn.train.cli"])
def test_ctrl_c_while_the_program_is_loaded_leaves_no_traceback(tmp_path: Path, moment: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {moment!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_rnn", "train"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@posix
def test_an_interrupt_that_was_caught_in_generated_code_does_not_end_the_process_by_its_signal(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import sys\n"
        "from tinygrad_rnn.terminal import ctrl_c_raises\n"
        "with ctrl_c_raises():\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        status = 130\n"
        "sys.exit(status)\n"
    )
    # as a module, which Python ends in another way than a file
    assert subprocess.run([sys.executable, "-m", "program"], cwd=tmp_path, check=False).returncode == 130

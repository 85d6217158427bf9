"""A stop request at every line of the loop: what the program says is saved is saved, and a resumed run has it all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.support import profiles
from tinygrad_rnn.serialization import load
from tinygrad_rnn.train import diagnosis, interrupt, loop, run_folder, trainer
from tinygrad_rnn.train.cli import main

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

WATCHED = {str(module.__file__) for module in (loop, trainer, run_folder, interrupt, diagnosis)}
OPTIONS = "--hidden 4 --embedding 2 --batch 2 --bptt 4 --updates 4 --eval-every 1 --checkpoint-every 1000 --diagnose 2"
FILES = ("checkpoint.safetensors", "config.json", "samples.txt", "result.json", "flow.jsonl")

Line = tuple[str, int]


class Lines:
    """Counts the lines that run in the watched files within ``with Lines(act) as lines:``.

    ``act`` is called with the number of each among all of them, and with where it is.
    """

    def __init__(self, act: Callable[[int, Line], None]) -> None:
        self.act, self.count = act, 0

    def __enter__(self) -> Lines:
        self.before = sys.gettrace()
        sys.settrace(self.calls)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self.before)

    def calls(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self.lines if frame.f_code.co_filename in WATCHED else None

    def lines(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.count += 1
            self.act(self.count, (frame.f_code.co_filename, frame.f_lineno))
        return self.lines


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: Path) -> list[str]:
    """An empty folder to run in; the options of a run of a few updates whose evaluations are short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "SAMPLE_LENGTH", 2)
    (tmp_path / "text.txt").write_text(text.read_text()[:400])
    return ["--text", "text.txt", "--quiet", *OPTIONS.split()]


def metrics(folder: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def saved(folder: str) -> int | None:
    path = Path(folder, FILES[0])
    return load(path)["update"] if path.exists() else None


def end_of_process(folder: str) -> None:
    """Let go of the folder, as the end of the process does where the interrupt came between two lines of closing it."""
    if Path(folder).exists():
        for number in map(int, os.listdir("/dev/fd")):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(number), os.stat(folder)):
                    os.close(number)


def assert_told_the_truth(errors: str, folder: str) -> None:
    """What the one line of a stopped run says is saved is what the checkpoint holds."""
    assert errors.startswith("tinygrad-rnn: ") and errors.count("\n") == 1
    if stopped := re.search(r"stopped after update (\d+), everything is saved\. Go on with: ", errors):
        assert saved(folder) == int(stopped[1]) == len(metrics(folder))
    elif at_once := re.search(r"interrupted; saved is update (\d+)\. Go on with: ", errors):
        assert saved(folder) == int(at_once[1])
    else:
        assert saved(folder) is None and "interrupted" in errors


def assert_resumed_is_whole(folder: str, options: list[str]) -> None:
    again = ["--resume", folder, "--quiet"] if saved(folder) is not None else ["--out", folder, *options]
    assert main(["train", *again]) == 0
    for name in FILES:
        assert Path(folder, name).read_bytes() == Path("whole", name).read_bytes(), name
    assert metrics(folder) == metrics("whole")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_at_any_line(place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Line] = []
    with Lines(lambda number, line: seen.append(line)):
        assert main(["train", "--out", "whole", *place]) == 0
    assert len(seen) > 400 and {file for file, _ in seen} == WATCHED
    numbers: dict[Line, list[int]] = {}
    for number, line in enumerate(seen, 1):
        numbers.setdefault(line, []).append(number)
    moments = sorted({n for found in numbers.values() for n in (found[0], found[len(found) // 2], found[-1])})
    if not profiles.THOROUGH:  # of the loop itself some of all, of the rest a few
        mine = [n for n in moments if seen[n - 1][0] == loop.__file__]
        moments = sorted({*mine[::4], *moments[::19]})
    statuses = set()
    for moment in moments:
        hits = []

        def send(number: int, line: Line, moment: int = moment, hits: list[Line] = hits) -> None:
            if number == moment:
                hits.append(line)
                # The others would end this process outside the loop, where there is nothing to save.
                handled = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) is not signal.SIG_DFL]
                signal.raise_signal((*handled, signal.SIGINT)[moment % (len(handled) + 1)])

        folder = f"at {moment}"
        capsys.readouterr()
        with Lines(send):
            status = main(["train", "--out", folder, *place])
        errors = capsys.readouterr().err
        end_of_process(folder)
        assert hits == [seen[moment - 1]]
        assert status in {128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP}, (hits, errors)
        statuses.add(status)
        assert_told_the_truth(errors, folder)
        assert_resumed_is_whole(folder, place)
    assert len(statuses) == 3


@pytest.fixture
def stopped(place: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Start a run in which a method of a class of the program sends signals at its second call; what it said."""
    assert main(["train", "--out", "whole", *place]) == 0

    def stopped(
        owner: Any, name: str, *numbers: signal.Signals, look: Callable[[], None] = lambda: None
    ) -> tuple[int, str]:
        real, calls = getattr(owner, name), []

        def sending(*arguments: Any) -> Any:
            calls.append(name)
            if len(calls) == 2:
                for number in numbers:
                    signal.raise_signal(number)
            return real(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, sending)
            capsys.readouterr()
            status = main(["train", "--out", "run", *place])
        errors = capsys.readouterr().err
        assert_told_the_truth(errors, "run")
        look()
        assert_resumed_is_whole("run", place)
        return status, errors

    return stopped


INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@pytest.mark.parametrize("numbers", [[INT], [TERM], [HUP], [TERM] * 4, [HUP, TERM] * 2, [INT, TERM]])
def test_in_an_evaluation_a_request_waits_for_it(stopped: Any, numbers: list[signal.Signals]) -> None:
    status, errors = stopped(trainer.Trainer, "evaluate", *numbers)
    assert status == 128 + numbers[0] and "stopped after update 2, everything is saved" in errors


def test_a_second_ctrl_c_gives_the_evaluation_up_and_the_resumed_run_makes_up_for_it(stopped: Any) -> None:
    def look() -> None:
        assert load("run/checkpoint.safetensors")["validation"][-1][0] == 1
        assert ["validation" in record for record in metrics("run")] == [True, False]
        assert Path("run", "samples.txt").read_text().count("--- update ") == 1

    status, errors = stopped(trainer.Trainer, "evaluate", INT, INT, look=look)
    assert status == 130 and "stopped after update 2, everything is saved" in errors


def test_a_second_ctrl_c_waits_for_an_update(stopped: Any) -> None:
    status, errors = stopped(trainer.Trainer, "step", INT, INT)
    assert status == 130 and "stopped after update 2, everything is saved" in errors


def test_a_third_ctrl_c_stops_at_once(stopped: Any) -> None:
    status, errors = stopped(trainer.Trainer, "step", INT, INT, INT)
    assert status == 130 and "interrupted; saved is update 0" in errors


def test_nothing_interrupts_a_save(stopped: Any) -> None:
    status, errors = stopped(run_folder.RunFolder, "save", *[INT] * 5)  # the first is made before the first update
    assert status == 130 and "stopped after update 4, everything is saved" in errors


def test_what_was_ignored_stays_ignored() -> None:
    """As under nohup, or of a background job of a script."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in interrupt.SIGNALS}
    try:
        with interrupt.StopRequest() as stop:
            for number in before:
                assert signal.getsignal(number) is signal.SIG_IGN
                signal.raise_signal(number)
        assert stop.signal is None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

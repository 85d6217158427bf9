"""``tinygrad-rnn lab``: what it prints, what it leaves, and how it ends."""

from __future__ import annotations

import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tinygrad_rnn.lab import catalogue, program
from tinygrad_rnn.lab.experiment import Check, Experiment, Result, Size, Twin
from tinygrad_rnn.lab.pictures import as_png
from tinygrad_rnn.train.cli import main

FILES = {"figure.png", "figure.svg", "page.html", "result.json", "tape.html"}


def test_one_experiment_prints_its_table_and_leaves_its_page(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", "spectral-radius", "--broken", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "false as stated" in said and "nilpotent net explodes: 1.414 is not >" in said
    folder = tmp_path / "05-spectral-radius"
    assert {path.name for path in folder.iterdir()} == FILES
    result = json.loads((folder / "result.json").read_text())
    assert result["passed"] and result["size"] == "quick" and len(result["checks"]) == 4
    page = (folder / "page.html").read_text()
    for word in (
        "<math",
        "<svg",
        "It would be false if",
        "np.tanh(8 - 2 * star)",
        "tape.html",
        "Mistakes that this finds",
    ):
        assert word in page, word
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert "05-spectral-radius/page.html" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(("background", "red"), [("white", 255), ("black", 0)])
def test_a_picture_is_saved_on_the_background_that_is_asked_for(background: str, red: int) -> None:
    image = pytest.importorskip("matplotlib.image")
    figure = Result([], "holds", "", draw=lambda figure: figure.subplots().plot([0, 1])).figure()
    pixels = (image.imread(io.BytesIO(as_png(figure, background))) * 255).astype(int)
    assert (pixels[..., 3] == 255).all() and pixels[0, 0, 0] == red


def test_the_list_has_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(catalogue.files())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["spectral-radios"], "is it 'spectral-radius'?"),
        (["51"], "there is no experiment '51'"),
        (["5", "--jobs", "0"], "--jobs must be at least 1"),
        (["5", "--seed", "-1"], "expected a number"),
        (["5", "--out", __file__], "is not a folder"),
    ],
)
def test_mistakes_are_told_in_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out


def failing(size: Size, seed: int) -> Result:
    return Result([Check("one is two", 1.0, "==", 2.0, "it is not")], "holds", "it was to")


def passing(size: Size, seed: int) -> Result:
    return Result([Check("one is two", 2.0, "==", 2.0, "it is")], "holds", "it was to")


def raising(size: Size, seed: int) -> Result:
    raise ZeroDivisionError("by zero")


def planted(function: Any, *twins: Twin) -> Experiment:
    experiment = Experiment(function, 3, "A test", source="none", seconds=0.1, full_seconds=0.1)
    experiment.twins += twins
    return experiment


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        (planted(failing), "one is two: 1 is not == 2|NO"),
        (planted(passing, Twin("two is two", "one is two", passing)), "NOT FOUND: two is two"),
        (planted(raising), "ZeroDivisionError: by zero"),
    ],
    ids=["check", "twin", "error"],
)
def test_what_fails_is_told_and_ends_with_status_1(
    experiment: Experiment,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(catalogue, "find", lambda which: experiment)
    order = program.Order(3, "quick", 0, True, tmp_path)
    outcome = program.perform(order)
    assert not outcome.passed and re.search(message, outcome.details)
    assert program.run(["3"], False, True, 0, 1, tmp_path) == 1
    assert re.search(message, capsys.readouterr().out)


def test_several_processes_give_the_same_numbers(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = list(catalogue.files())[:2]
    results = []
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        assert main(["lab", *map(str, numbers), "--jobs", jobs, "--out", str(out)]) == 0
        found = [json.loads(path.read_text()) for path in sorted(out.glob("*/result.json"))]
        results.append([{**each, "seconds": 0} for each in found])
    assert results[0] == results[1] and len(results[0]) == len(numbers)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_it_and_keeps_what_is_done(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "tinygrad_rnn", "lab", "all", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/page.html")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in errors and "interrupted" in errors
    for path in tmp_path.glob("*/result.json"):
        assert json.loads(path.read_text())["checks"] is not None

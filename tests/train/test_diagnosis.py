"""``train --diagnose``: its rows are the monitor's, the training is the same, and a resumed run goes on with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn import diagnostics
from tinygrad_rnn.bench import cases
from tinygrad_rnn.serialization import load
from tinygrad_rnn.train import diagnosis
from tinygrad_rnn.train.cli import main
from tinygrad_rnn.train.config import Config
from tinygrad_rnn.train.run_folder import RunFolder
from tinygrad_rnn.train.text import Corpus
from tinygrad_rnn.train.trainer import Trainer

Mistake = Callable[..., str]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: Path, small: list[str]) -> Callable[..., Path]:
    """Train in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def train(name: str, *options: object) -> Path:
        assert main(["train", "--text", str(text), "--out", name, *small, *map(str, options)]) == 0
        return tmp_path / name

    return train


ODD = [
    b'{"update": 10}\n',
    b'{"update": 10, "layer": "l", "half_life": "x"}\n',
    b'{"update": 10, "layer": "l", "half_life": []}\n',
]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "flow.jsonl").read_text().splitlines()]


def test_the_rows_are_those_of_a_monitor_and_the_training_does_not_notice(
    train: Callable[..., Path], text: Path
) -> None:
    options = ("--layers", 2, "--dropout", 0.2, "--seed", 5)
    alone, watched = train("alone", *options), train("watched", *options, "--diagnose", 7)
    trainer = Trainer(
        Config(hidden=8, embedding=4, batch=4, bptt=8, layers=2, dropout=0.2, seed=5), Corpus.of(text.read_text())
    )
    with diagnostics.Monitor(trainer.model, 7, optimizer=trainer.optimizer, seed=5) as monitor:
        for _ in range(30):
            trainer.step()
    assert rows_of(watched) == json.loads(monitor.to_json())["rows"]
    assert [(row["update"], row["layer"]) for row in rows_of(watched)] == [
        (update, f"rnn layer {layer}") for update in (7, 14, 21, 28) for layer in (0, 1)
    ]
    assert (
        not (alone / "flow.jsonl").exists()
        and (alone / "result.json").read_bytes() == (watched / "result.json").read_bytes()
    )
    a, b = (load(folder / "checkpoint.safetensors")["model"] for folder in (alone, watched))
    assert all((a[name].numpy() == b[name].numpy()).all() for name in a)
    norms = [json.loads(line)["gradient_norm"] for line in (watched / "metrics.jsonl").read_text().splitlines()]
    for row in rows_of(watched):
        total = np.sqrt(np.exp(2 * np.array(list(row["gradient"].values()))).sum())
        np.testing.assert_allclose(total, norms[row["update"] - 1], rtol=1e-5)


def test_resumed_from_an_earlier_checkpoint_it_drops_rows_and_makes_them_again(
    train: Callable[..., Path], small: list[str], tmp_path: Path
) -> None:
    whole = train("whole", "--diagnose", 4)
    train("part", "--diagnose", 4, "--updates", 14)
    early = (tmp_path / "part" / "checkpoint.safetensors").read_bytes()
    assert main(["train", "--resume", "part", "--updates", "26"]) == 0
    (tmp_path / "part" / "checkpoint.safetensors").write_bytes(early)
    # Killed after its last save, in the middle of a row.
    lines = (tmp_path / "part" / "flow.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "part" / "flow.jsonl").write_bytes(b"".join(lines) + lines[-1][:100])
    assert main(["train", "--resume", "part", "--updates", "30"]) == 0
    for name in ("flow.jsonl", "checkpoint.safetensors", "result.json"):
        assert (whole / name).read_bytes() == (tmp_path / "part" / name).read_bytes(), name


def test_moved_away_it_begins_anew_and_killed_then_has_no_row_twice(train: Callable[..., Path]) -> None:
    run = train("run", "--diagnose", 3)
    (run / "flow.jsonl").unlink()
    first = (run / "checkpoint.safetensors").read_bytes()
    assert main(["train", "--resume", "run", "--updates", "40"]) == 0
    (run / "checkpoint.safetensors").write_bytes(first)  # its size of flow.jsonl is that of the file moved away
    assert main(["train", "--resume", "run", "--updates", "45"]) == 0
    assert [row["update"] for row in rows_of(run)] == [33, 36, 39, 42, 45]


def test_what_follows_the_last_save_is_not_read(train: Callable[..., Path]) -> None:
    run = train("run", "--diagnose", 10)
    with open(run / "flow.jsonl", "ab") as file:
        file.write(bytes(50) + b"\n")  # as a file system may leave it after a loss of power
    assert main(["train", "--resume", "run", "--updates", "40"]) == 0
    assert [row["update"] for row in rows_of(run)] == [10, 20, 30, 40]


def test_a_resumed_run_can_begin_change_and_end_it(train: Callable[..., Path]) -> None:
    run = train("run")
    for updates, every in ((36, 3), (44, 4), (50, 0)):
        assert main(["train", "--resume", "run", "--updates", str(updates), "--diagnose", str(every)]) == 0
        assert json.loads((run / "config.json").read_text())["diagnose"] == every
    assert [row["update"] for row in rows_of(run)] == [33, 36, 40, 44]


@pytest.mark.parametrize("line", [b"{\n", b"3\n", b'{"update": true}\n', b"[" * 3000 + b"\n", b"\xff\n", *ODD])
def test_a_damaged_row_is_named(mistake: Mistake, train: Callable[..., Path], line: bytes) -> None:
    run = train("run", "--diagnose", 5)
    lines = (run / "flow.jsonl").read_bytes().splitlines(keepends=True)
    (run / "flow.jsonl").write_bytes(b"".join([lines[0], line, *lines[2:]])[: sum(map(len, lines))])
    assert "flow.jsonl is damaged in line 2" in mistake("train", "--resume", run)


def test_the_progress_bar_and_the_report_say_how_far_back(
    run: Run, tmp_path: Path, text: Path, small: list[str]
) -> None:
    small.remove("--quiet")
    status, output, errors = run("train", "--out", "run", "--text", text, *small, "--diagnose", 10)
    assert status == 0, errors
    rows = rows_of(tmp_path / "run")
    assert [row["update"] for row in rows] == [10, 20, 30]
    life = rows[-1]["half_life"]
    steps = f"memory {round(life)} step" if isinstance(life, float) else "memory without end"
    assert steps in errors.replace("\r", "\n").strip().splitlines()[-1]
    assert "gradients through time are halved: rnn layer 0 " in output and "(update 30)" in output
    assert "(no picture of the reach of gradients: " in output and "pip install 'tinygrad-rnn[plot]'" in output
    assert not (tmp_path / "run" / "flow.png").exists() and str(Path("run", "flow.jsonl")) in output
    # Resumed, it says so from the beginning.
    status, _output, errors = run("train", "--resume", "run", "--updates", 32)
    assert status == 0 and steps in errors.replace("\r", "\n").strip().splitlines()[-1]


@pytest.mark.usefixtures("pictures")
def test_without_an_update_to_watch_it_says_so(train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    run = train("run", "--diagnose", 100)
    output = capsys.readouterr().out
    assert "no update was watched" in output and "halved" not in output
    assert (run / "flow.jsonl").read_bytes() == b"" and not (run / "flow.png").exists()


def test_without_it_nothing_of_it_is_loaded(tmp_path: Path, text: Path, small: list[str]) -> None:
    program = (
        "import sys; from tinygrad_rnn.train.cli import main; assert main(sys.argv[1:]) == 0\n"
        "print(*[name for name in sys.modules if 'diagnos' in name and 'autograd' not in name], file=sys.stderr)"
    )
    for options, loaded in ((), False), (("--diagnose", "9"), True):
        done = subprocess.run(
            [sys.executable, "-c", program, "train", "--text", str(text), *small, *options],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TINYGRAD_RNN_KERNELS": "numpy"},
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=True,
        )
        assert ("tinygrad_rnn.diagnostics" in done.stderr) is loaded, done.stderr


@pytest.mark.usefixtures("pictures")
def test_the_picture_has_named_axes_and_a_curve_for_each_update(train: Callable[..., Path]) -> None:
    figure_class = pytest.importorskip("matplotlib.figure").Figure
    run = train("run", "--diagnose", 5, "--layers", 4)
    assert (run / "flow.png").read_bytes().startswith(b"\x89PNG")
    figure = figure_class(layout="constrained")
    diagnosis._draw(figure, rows_of(run))
    axes = figure.get_axes()
    decays, (bar, life, norm) = axes[:4], axes[4:]
    assert [ax.get_title() for ax in decays] == [f"rnn layer {k}" for k in range(4)]
    for ax in decays:
        assert ax.get_xlabel() == "lag (steps)" and len({line.get_color() for line in ax.lines}) == 6
    first = next(row for row in rows_of(run) if row["layer"] == "rnn layer 0")
    np.testing.assert_allclose(decays[0].lines[0].get_ydata(), np.array(first["decay"]) / np.log(10))
    assert "partial" in decays[0].get_ylabel() and bar.get_ylabel() == "update"
    assert (life.get_ylabel(), norm.get_xlabel()) == ("half-life (steps)", "update")
    assert len(life.lines) == 4 and len({(line.get_color(), line.get_marker()) for line in life.lines}) == 4
    assert norm.get_ylabel().startswith("gradient norm") and list(norm.lines[0].get_xdata()) == [5, 10, 15, 20, 25, 30]


@pytest.mark.usefixtures("pictures")
def test_numbers_that_are_not_finite_are_drawn_too(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    row = {"update": 1, "layer": "rnn layer 0", "half_life": "inf", "lags": [0, 1], "decay": [0.0, "-inf"]}
    nan = {"half_life": "nan", "decay": ["nan", "inf"], "gradient": {"w": "nan"}}
    failed = {"update": 3, "layer": "rnn layer 0", "error": "reads gates", "gradient": {"w": 2000.0}}
    rows = [row | {"gradient": {"w": "-inf", "v": "inf"}}, row | nan | {"update": 2}, failed]
    folder = RunFolder(tmp_path)
    for some in (rows, rows[:1], rows[2:]):
        folder.flow.write_text("".join(json.dumps(one) + "\n" for one in some))
        assert diagnosis.draw_flow(folder) is None
        folder.flow_picture.unlink()
    assert diagnosis.reach_of(folder) == "gradients through time are halved: rnn layer 0 unknown (update 3)"
    folder.flow.write_text(json.dumps(rows[0]) + "\n")
    assert diagnosis.reach_of(folder) == "gradients through time are halved: rnn layer 0 never (update 1)"
    folder.flow.write_text("{")
    assert "is damaged" in diagnosis.reach_of(folder) and diagnosis.draw_flow(folder)


def test_what_it_costs_is_a_share_of_what_a_watched_update_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(self: cases.Session, work: str, jobs: Any, **more: Any) -> Any:
        assert list(jobs) == [cases.OURS, cases.UNWATCHED]
        return cases.Result(work, "ms", 1e3, {cases.OURS: [3.0, 5.0], cases.UNWATCHED: [1.0, 2.0]})

    monkeypatch.setattr(cases.Session, "measure", measured)
    result = cases._diagnosed(cases.Session(), 100)
    assert result.values == {cases.OURS: [1.02, 2.03], cases.UNWATCHED: [1.0, 2.0]}
    assert result.pairs() == [(cases.OURS, cases.UNWATCHED)] and result.goals[cases.OURS][cases.UNWATCHED] == 1.02

"""A run that was killed, interrupted or extended gives the same bits as one that was left alone."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.serialization import load

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

Start = Callable[..., subprocess.Popen[str]]
Run = Callable[..., tuple[int, str, str]]

RUNS = {
    "lstm": "--cell lstm --updates 600",
    "gru, two layers, dropout, adam": "--cell gru --layers 2 --dropout 0.3 --optimizer adam --updates 400",
    "lstm, two layers, dropout, diagnosed": "--layers 2 --dropout 0.2 --updates 400 --diagnose 3",
    "rnn, no momentum, no clipping": "--cell rnn --momentum 0 --lr 0.1 --clip 0 --updates 600",
}
SIZES = "--hidden 8 --embedding 4 --batch 4 --bptt 8 --eval-every 90 --checkpoint-every 7 --quiet"


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The metrics without the one thing that no two runs share."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def assert_same_run(a: Path, b: Path) -> None:
    diagnosed = ["flow.jsonl"] * json.loads((a / "config.json").read_text())["diagnose"]
    for name in ("checkpoint.safetensors", "config.json", "samples.txt", "result.json", *diagnosed[:1]):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    assert metrics(a) == metrics(b)
    assert not list(a.glob(".*")) and not list(b.glob(".*"))


def wait_until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    """Until something has happened, or the process has ended."""
    while process.poll() is None and not happened():
        time.sleep(0.002)


def file_number(path: Path) -> int | None:
    """Another one for every file that was renamed to ``path``."""
    return path.stat().st_ino if path.exists() else None


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS.keys())
def test_killed_at_random_moments_and_resumed(start: Start, run: Run, tmp_path: Path, text: Path, options: str) -> None:
    options += f" --text {text} {SIZES}"
    assert run("train", "--out", "whole", *options.split(), kernels=None)[0] == 0
    checkpoint = tmp_path / "killed" / "checkpoint.safetensors"
    moments = random.Random(options)
    process = start("train", "--out", "killed", *options.split())
    reached = []
    for kill in range(5):
        if kill != 2:  # once, anywhere in the start of the program; else after some progress
            before = file_number(checkpoint)
            wait_until(process, lambda before=before: file_number(checkpoint) != before)  # type: ignore[misc]
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        reached.append(load(checkpoint)["update"])
        process = start("train", "--resume", "killed", "--quiet")
    else:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert reached == sorted(reached) and len(set(reached)) >= 3  # it was in the middle, several times
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    losses = [record["loss"] for record in metrics(tmp_path / "whole")]
    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:20])  # it did learn: there is something to keep


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_update_saves_and_says_how_to_resume(
    start: Start, run: Run, tmp_path: Path, text: Path, number: signal.Signals
) -> None:
    options = f"--text {text} --updates 30000 --checkpoint-every 100000 {SIZES}".split()
    process = start("train", "--out", "run", *options)
    log = tmp_path / "run" / "metrics.jsonl"
    wait_until(process, lambda: log.exists() and log.read_bytes().count(b"\n") > 50)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number
    done = load(tmp_path / "run" / "checkpoint.safetensors")["update"]
    assert 50 < done < 30000 and len(metrics(tmp_path / "run")) == done  # no update lost, none half done
    line = f"tinygrad-rnn: stopped after update {done}, everything is saved. Go on with: "
    assert errors.startswith(line) and errors.endswith("train --resume run\n") and errors.count("\n") == 1
    assert run("train", "--resume", "run", "--updates", done + 100, "--quiet", kernels=None)[0] == 0
    assert run("train", "--out", "whole", *options, "--updates", done + 100, kernels=None)[0] == 0
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_finished_run_can_be_extended(run: Run, tmp_path: Path, text: Path, small: list[str]) -> None:
    assert run("train", "--out", "whole", "--text", text, *small, "--updates", 45)[0] == 0
    assert run("train", "--out", "extended", "--text", text, *small, "--updates", 15)[0] == 0
    assert run("train", "--resume", "extended", "--updates", 45)[0] == 0
    assert_same_run(tmp_path / "whole", tmp_path / "extended")


@pytest.mark.usefixtures("pictures")
def test_resuming_a_finished_run_changes_nothing(run: Run, tmp_path: Path, text: Path, small: list[str]) -> None:
    assert run("train", "--out", "run", "--text", text, *small)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.suffix != ".png"}
    status, output, _ = run("train", "--resume", "run")
    assert status == 0 and "after 30 updates" in output
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.suffix != ".png"}


@pytest.mark.usefixtures("pictures")
def test_what_a_killed_run_had_begun_is_cut_off(run: Run, tmp_path: Path, text: Path, small: list[str]) -> None:
    assert run("train", "--out", "run", "--text", text, *small)[0] == 0
    for name in ("checkpoint.safetensors", "config.json", "result.json", "curve.png"):
        (tmp_path / "run" / f".{name}.0123abcd.tmp").write_bytes(b"half")
    with open(tmp_path / "run" / "metrics.jsonl", "a") as file:
        file.write('{"update": 31, "loss": 2.\n{"upd')
    with open(tmp_path / "run" / "samples.txt", "a") as file:
        file.write("--- update 40")
    assert run("train", "--resume", "run", "--updates", 45)[0] == 0
    assert [record["update"] for record in metrics(tmp_path / "run")] == list(range(1, 46))
    assert (tmp_path / "run" / "samples.txt").read_text().count("--- update 40") == 1
    assert not list((tmp_path / "run").glob(".*"))


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(run: Run, tmp_path: Path, text: Path) -> None:
    options = f"--text {text} --optimizer sgd --lr 1e38 --clip 0 {SIZES}".split()
    status, _output, errors = run("train", "--out", "run", *options, "--checkpoint-every", 1000)
    assert status == 1 and "Traceback" not in errors
    assert "training diverged: at update" in errors and "Use a lower learning rate" in errors
    saved = load(tmp_path / "run" / "checkpoint.safetensors")
    assert all(math.isfinite(value.sum().item()) for value in saved["model"].values())
    assert run("train", "--resume", "run", "--lr", 0.1, "--updates", 5, "--quiet")[0] == 0

"""A checkpoint whose checksum is right and whose contents are not: one line, and nothing is built of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.serialization import load, save
from tinygrad_rnn.train.cli import main

Saved = dict[str, Any]
Mistake = Callable[..., str]

MODEL = ("config", "alphabet", "model")
REST = ("text_digest", "update", "chunk", "validation", "samples_bytes", "random_state", "state", "optimizer")


def spoil(finished: Path, change: Callable[[Saved], object]) -> None:
    path = finished / "checkpoint.safetensors"
    saved = load(path)
    change(saved)
    save(saved, path)


@pytest.mark.parametrize("part", [*MODEL, *REST])
def test_a_part_is_missing(mistake: Mistake, finished: Path, part: str) -> None:
    spoil(finished, lambda saved: saved.pop(part))
    for command in ("train", "--resume"), ("sample",):
        if command != ("sample",) or part in MODEL:
            assert f"checkpoint.safetensors is damaged, or was not written by this program: it has no {part!r}" in (
                mistake(*command, finished)
            )


@pytest.mark.parametrize("part", [*MODEL, *REST])
@pytest.mark.parametrize("value", [3.5, "three", True, [[1]], {"a": 1}, (1, 2), np.zeros(3), tg.zeros(3), -1])
def test_a_part_is_something_else(mistake: Mistake, finished: Path, part: str, value: Any) -> None:
    spoil(finished, lambda saved: saved.update({part: value}))
    said = mistake("train", "--resume", finished)
    assert "is damaged" in said or (part == "text_digest" and "another text" in said)
    if part in MODEL:
        assert "is damaged" in mistake("sample", finished)


@pytest.mark.parametrize("value", [3.5, "three", True, None, [1], -1])
def test_the_size_of_the_flow_is_something_else(mistake: Mistake, finished: Path, value: Any) -> None:
    spoil(finished, lambda saved: saved.update(flow_bytes=value))
    assert "is damaged, or was not written by this program: its 'flow_bytes' is" in mistake(
        "train", "--resume", finished
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden", 10_000),
        ("hidden", 2**31 - 1),
        ("hidden", "8"),
        ("hidden", None),
        ("layers", 100_000),
        ("layers", 2**31 - 1),
        ("embedding", 10**6),
        ("cell", "gru"),
        ("cell", ["lstm"]),
        ("cell", "x" * 10**6),
        ("lr", "fast"),
        ("lr", True),
        ("device", 3),
        ("device", "\x1b]0;owned\x07"),
        ("batch", 2.0),
        ("seed", [1]),
        ("diagnose", True),
        ("diagnose", "3"),
        ("dropout", {"a": 1}),
        ("text", 7),
        ("text", ["a", 7]),
        ("text", "nul\0"),
        ("encoding", 7),
    ],
)
def test_a_configuration_that_asks_for_something_else(mistake: Mistake, finished: Path, field: str, value: Any) -> None:
    spoil(finished, lambda saved: saved["config"].update({field: value}))
    for command in ("train", "--resume"), ("sample",):
        said = mistake(*command, finished)
        assert "is damaged" in said and len(said) < 600 and "\x1b" not in said


def test_a_small_file_that_asks_for_a_large_model_takes_no_memory(finished: Path, tmp_path: Path) -> None:
    """With half a gigabyte to take, which a hidden size of 10,000 would need a dozen times."""
    spoil(finished, lambda saved: saved["config"].update(hidden=10_000))
    program = (
        "import resource, sys; from tinygrad_rnn.train.cli import main\n"
        "with open('/proc/self/statm') as file: now = int(file.read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (now + 2**29, now + 2**29))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    if sys.platform != "linux":
        pytest.skip("needs Linux to limit memory")
    for command in (["train", "--resume"], ["sample"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *command, str(finished)],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert done.returncode == 2 and "asks for a weight" in done.stderr, done.stderr


CHANGES: dict[str, Callable[[Saved], object]] = {
    "a weight too few": lambda saved: saved["model"].pop("output.bias"),
    "a weight of another name": lambda saved: saved["model"].update(x=saved["model"].pop("output.bias")),
    "a weight of another shape": lambda saved: saved["model"].update({"output.bias": tg.zeros(3)}),
    "a weight of another dtype": lambda saved: saved["model"].update(
        {"output.bias": saved["model"]["output.bias"].double()}
    ),
    "a weight that is not finite": lambda saved: saved["model"].update(
        {"output.bias": saved["model"]["output.bias"] / 0}
    ),
    "a weight that is a number": lambda saved: saved["model"].update({"output.bias": 1.0}),
    "an empty alphabet": lambda saved: saved.update(alphabet=""),
    "an alphabet out of order": lambda saved: saved.update(alphabet=saved["alphabet"][::-1]),
    "another alphabet": lambda saved: saved.update(alphabet=saved["alphabet"][:-1] + "é"),
    "a state of another rank": lambda saved: saved.update(state=tuple(part[0] for part in saved["state"])),
    "half a state": lambda saved: saved.update(state=saved["state"][0]),
    "a state of another batch": lambda saved: saved.update(state=tuple(part[:, :2] for part in saved["state"])),
    "a validation of one number": lambda saved: saved.update(validation=[[10]]),
    "a validation of strings": lambda saved: saved.update(validation=[["a", "b"]]),
    "a place beyond the text": lambda saved: saved.update(chunk=10**9),
    "an update of long ago": lambda saved: saved.update(update=-1),
    "more updates than lines": lambda saved: saved.update(update=31),
    "a random state of other words": lambda saved: saved.update(random_state=np.zeros(5, np.uint8)),
    "an optimiser without state": lambda saved: saved["optimizer"].pop("state"),
    "an optimiser that has not begun": lambda saved: saved["optimizer"].update(state={}),
    "a moment of another shape": lambda saved: saved["optimizer"]["state"][0].update(momentum_buffer=tg.zeros(2)),
    "a moment of another name": lambda saved: saved["optimizer"]["state"].update({0: {"exp_avg": tg.zeros(2)}}),
    "a moment that is a list": lambda saved: saved["optimizer"]["state"].update({0: [1]}),
    "a moment of no weight": lambda saved: saved["optimizer"]["state"].update({99: {}}),
    "no dict": lambda saved: saved["optimizer"].update(state=[]),
}
RIGHT_FOR_A_SAMPLE = {name for name in CHANGES if "weight" not in name or "moment" in name} - {
    "an empty alphabet",
    "an alphabet out of order",
}


@pytest.mark.parametrize("name", CHANGES)
def test_parts_that_do_not_fit_each_other(mistake: Mistake, finished: Path, name: str) -> None:
    spoil(finished, CHANGES[name])
    options = ["--updates", 40] if name == "more updates than lines" else []
    said = mistake("train", "--resume", finished, *options)
    assert "is damaged" in said or "metrics.jsonl ends after update 30, but the checkpoint is of update 31" in said
    if name not in RIGHT_FOR_A_SAMPLE:
        assert "is damaged" in mistake("sample", finished)


def test_how_to_step_is_taken_from_the_configuration_not_from_the_optimiser(finished: Path) -> None:
    spoil(finished, lambda saved: saved["optimizer"].update(param_groups="nonsense"))
    assert main(["train", "--resume", str(finished), "--updates", "31", "--quiet"]) == 0


def test_no_escape_sequence_of_a_file_reaches_the_terminal(mistake: Mistake, finished: Path) -> None:
    spoil(finished, lambda saved: saved["config"].update(text="/tmp/\x1b]0;owned\x07\x9b31m\u202egpj.txt"))
    said = mistake("train", "--resume", finished)
    assert "\\x1b]0;owned\\x07\\x9b31m\\u202egpj.txt: No such file" in said and said.count("\n") == 1

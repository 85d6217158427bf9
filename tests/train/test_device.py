"""The main job on a GPU, and on the strict double of CuPy: the same curve as on the CPU, and nobody waits in a step."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import emulated, emulator, fakecupy
from tinygrad_rnn.backends import recurrent
from tinygrad_rnn.kernels.cuda_elementwise import cross_entropy, embedding
from tinygrad_rnn.serialization import load
from tinygrad_rnn.train.cli import main
from tinygrad_rnn.train.config import Config
from tinygrad_rnn.train.text import Corpus
from tinygrad_rnn.train.trainer import Trainer

RUNS = {
    "lstm, sgd": [],
    "gru, two layers, dropout, adam": "--cell gru --layers 2 --dropout 0.3 --optimizer adam".split(),
    "rnn, no clipping": "--cell rnn --lr 0.1 --clip 0".split(),
}
SMALL = "--hidden 8 --embedding 4 --batch 4 --bptt 8 --updates 30 --eval-every 30 --checkpoint-every 30 --quiet".split()
CLOSE = 1e-4
"""Bits per character: float32 sums in another order, over thirty updates."""


def curve(folder: Path) -> list[list[float]]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [[r["update"], r["loss"], r["gradient_norm"], r.get("validation", 0.0)] for r in records]


def train(folder: Path, text: Path, *options: object) -> list[list[float]]:
    assert main(["train", "--out", str(folder), "--text", str(text), *map(str, options)]) == 0
    return curve(folder)


@pytest.mark.parametrize("name", RUNS)
def test_the_curve_is_that_of_the_cpu(name: str, tmp_path: Path, text: Path, device_xp: Any) -> None:
    here = train(tmp_path / "cpu", text, *SMALL, *RUNS[name])
    there = train(tmp_path / "cuda", text, *SMALL, *RUNS[name], "--device", "cuda")
    assert len(there) == 30
    np.testing.assert_allclose(there, here, rtol=0, atol=CLOSE)
    assert here[-1][1] < here[0][1] - 0.1
    texts = [(tmp_path / d / "samples.txt").read_text().splitlines()[0].split(",")[0] for d in ("cpu", "cuda")]
    assert texts[0] == texts[1]
    assert load(tmp_path / "cuda" / "checkpoint.safetensors")["config"]["device"] == "cuda"


def test_a_run_goes_on_on_the_other_device(tmp_path: Path, text: Path, device_xp: Any) -> None:
    options = RUNS["gru, two layers, dropout, adam"]
    whole = train(tmp_path / "whole", text, *SMALL, *options)
    for first, second in (("cuda", "cpu"), ("cpu", "cuda")):
        folder = tmp_path / first
        train(folder, text, *SMALL, *options, "--updates", 14, "--device", first)
        assert main(["train", "--resume", str(folder), "--updates", "30", "--device", second, "--quiet"]) == 0
        np.testing.assert_allclose(curve(folder), whole, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_never_waits_for_the_device(cell: str, optimizer: str, text: Path, double: Any) -> None:
    options = {"cell": cell, "optimizer": optimizer, "lr": 0.01, "layers": 2, "dropout": 0.2, "device": "cuda"}
    config = Config(hidden=8, embedding=4, batch=4, bptt=8, **options)
    trainer = Trainer(config, Corpus.of(text.read_text()))
    before = double.syncs
    results = [trainer.step() for _ in range(trainer.chunks + 2)]  # over the end of the text
    assert double.syncs == before
    assert all(np.isfinite(loss.item()) and norm.item() > 0 for loss, norm in results)


def test_the_log_waits_once_for_many_updates(tmp_path: Path, text: Path, double: Any) -> None:
    options = ["--device", "cuda", "--eval-every", 1000, "--checkpoint-every", 1000]
    counts = []
    for updates in (41, 81):
        before = double.syncs
        train(tmp_path / str(updates), text, *SMALL, *options, "--updates", updates)
        counts.append(double.syncs - before)
    assert counts[1] - counts[0] == 2  # forty updates more: two looks at the losses


@emulator.needs_compiler
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_with_all_kernels_of_a_gpu_emulated_a_step_is_that_of_the_cpu(
    cell: str, text: Path, double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, losses = Corpus.of(text.read_text()), []
    gpu = emulator.Emulator()
    for device in ("cpu", "cuda"):
        if device == "cuda":
            gpu.install(monkeypatch)
            monkeypatch.setattr(fakecupy, "RawModule", partial(_module, fakecupy.RawModule))
            emulated.launches.clear()
        config = Config(hidden=8, embedding=4, batch=3, bptt=4, cell=cell, lr=0.1, layers=2, device=device)
        trainer = Trainer(config, corpus)
        before = double.syncs
        results = [trainer.step() for _ in range(3)]
        assert double.syncs == before
        losses.append([[loss.item(), norm.item()] for loss, norm in results])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    model = ["rows_of_table", "row_losses", "all_losses", "logit_gradients", "add_rows"]
    assert emulated.launches == [*model, "squares", "root_of_sum", "scale", "sgd"] * 3
    assert [name for name, _ in gpu.launches] == (["persistent_forward"] * 2 + ["persistent_backward"] * 2) * 3


def _module(inner: Any, code: str, **options: Any) -> Any:
    """Kernels over many arrays take a table by value, and their threads never wait; others are emulated in full."""
    simple = "struct Table" in code or code in (cross_entropy.SOURCE, embedding.SOURCE)
    return (emulated.RawModule if simple else inner)(code=code, **options)


@pytest.mark.skipif(emulated.COMPILER is None, reason="g++ is not installed")
def test_with_kernels_that_take_all_parameters_the_curve_is_the_same(tmp_path: Path, text: Path) -> None:
    here = train(tmp_path / "cpu", text, *SMALL, "--optimizer", "adam")
    with emulated.device(), recurrent.only("numpy"):
        there = train(tmp_path / "cuda", text, *SMALL, "--optimizer", "adam", "--device", "cuda")
        kinds = list(emulated.launches)
    np.testing.assert_allclose(there, here, rtol=0, atol=CLOSE)
    of_losses = ["rows_of_table", "row_losses", "all_losses"]  # of updates, and of evaluations
    assert kinds.count("row_losses") == kinds.count("all_losses") > 30
    step = ["logit_gradients", "add_rows", "squares", "root_of_sum", "scale", "adam"]
    assert [kind for kind in kinds if kind not in of_losses] == step * 30

"""A run from the outside: what it prints, what it leaves, what its model writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinygrad_rnn.backend.cpu import environment
from tinygrad_rnn.serialization import load, load_arrays
from tinygrad_rnn.train.cli import main
from tinygrad_rnn.train.config import Config
from tinygrad_rnn.train.interrupt import StopRequest
from tinygrad_rnn.train.restart import restart_with_settings, what_was_set
from tinygrad_rnn.train.text import Corpus
from tinygrad_rnn.train.trainer import Trainer

Run = Callable[..., tuple[int, str, str]]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("pictures")
def test_a_run_leaves_its_files_and_says_where(
    folder: Path, text: Path, small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert main(["train", "--text", str(text), *small]) == 0
    run = folder / "runs" / "001"
    names = {"config.json", "metrics.jsonl", "checkpoint.safetensors", "samples.txt", "result.json", "curve.png"}
    assert {path.name for path in run.iterdir()} == names
    output = capsys.readouterr().out
    result = json.loads((run / "result.json").read_text())["validation_bits_per_character"]
    assert f"validation loss: {result:.4f} bits per character after 30 updates" in output
    assert all(str(Path("runs", "001", name)) in output for name in names)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["update"] for record in records] == list(range(1, 31))
    assert [record["update"] for record in records if "validation" in record] == [10, 20, 30]
    assert records[-1]["validation"] == result
    assert all(record["gradient_norm"] > 0 and record["seconds"] > 0 for record in records)
    assert (run / "samples.txt").read_text().count("--- update ") == 3
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run / "config.json").read_text())["hidden"] == 8


def test_a_second_run_gets_a_folder_of_its_own(folder: Path, text: Path, small: list[str]) -> None:
    for _ in range(2):
        assert main(["train", "--text", str(text), *small]) == 0
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["001", "002"]


def test_the_weights_can_be_read_by_name(folder: Path, text: Path, small: list[str]) -> None:
    main(["train", "--text", str(text), "--out", "run", *small])
    arrays = load_arrays("run/checkpoint.safetensors")
    assert arrays["model.rnn.weight_hh_l0"].shape == (32, 8)
    assert (
        arrays["model.rnn.weight_hh_l0"] == load("run/checkpoint.safetensors")["model"]["rnn.weight_hh_l0"].numpy()
    ).all()


def test_the_same_seed_gives_the_same_checkpoint_and_another_another(
    folder: Path, text: Path, small: list[str]
) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert main(["train", "--text", str(text), "--out", name, "--seed", seed, *small]) == 0
    a, b, c = (Path(name, "checkpoint.safetensors").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.usefixtures("pictures")
def test_without_matplotlib_there_is_no_picture_and_no_failure(
    folder: Path, text: Path, small: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"] + ["matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["train", "--text", str(text), "--out", "run", *small]) == 0
    assert "matplotlib is not installed" in capsys.readouterr().out
    assert not Path("run", "curve.png").exists()


def test_the_progress_bar_shows_loss_gradient_and_speed(run: Run, text: Path, small: list[str]) -> None:
    small.remove("--quiet")
    status, _output, errors = run("train", "--text", text, *small)
    assert status == 0
    last = errors.replace("\r", "\n").strip().splitlines()[-1]
    assert "30/30" in last and " bits/char, gradient " in last and " chars/s" in last


def test_the_loss_at_the_start_is_that_of_guessing(text: Path) -> None:
    corpus = Corpus.of(text.read_text())
    trainer = Trainer(Config(hidden=8, embedding=4, batch=4, bptt=8, lr=1e-6), corpus)
    bits = np.log2(len(corpus.alphabet))
    # The initial weights are small, not zero: the logits of an untrained model spread by a few tenths.
    assert trainer.evaluate() == pytest.approx(bits, abs=0.4)
    assert trainer.step()[0].item() / np.log(2) == pytest.approx(bits, abs=0.4)


def test_evaluation_and_sampling_do_not_change_training(text: Path) -> None:
    config = Config(hidden=8, embedding=4, batch=4, bptt=8, dropout=0.3, layers=2)
    corpus = Corpus.of(text.read_text())
    plain = Trainer(config, corpus)
    losses = [plain.step()[0].item() for _ in range(5)]
    looked_at = Trainer(config, corpus)
    for loss in losses:
        looked_at.evaluate()
        assert looked_at.model.training
        assert looked_at.step()[0].item() == loss


def test_reading_starts_again_from_zeros_at_the_end_of_the_text(text: Path) -> None:
    config = Config(hidden=8, embedding=4, batch=4, bptt=200, lr=1e-30)  # so small that no weight changes
    trainer = Trainer(config, Corpus.of(text.read_text()))
    assert trainer.chunks == 4
    losses = [trainer.step()[0].item() for _ in range(2 * trainer.chunks)]
    assert losses[: trainer.chunks] == losses[trainer.chunks :]
    assert len(set(losses)) == trainer.chunks  # and each chunk is another piece of text


def test_samples_follow_prompt_seed_and_temperature(
    folder: Path, text: Path, small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train", "--text", str(text), "--out", "run", *small])

    def sample(*options: str) -> str:
        capsys.readouterr()
        assert main(["sample", "run", "--prompt", "the ", "--length", "40", *options]) == 0
        return capsys.readouterr().out[:-1]

    assert sample().startswith("the ") and len(sample()) == 44
    assert sample() == sample() != sample("--seed", "1")
    assert sample("--temperature", "0") == sample("--temperature", "0", "--seed", "1")
    assert sample("--temperature", "0") == sample("--temperature", "1e-300")


def test_a_trained_model_writes_its_text(folder: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--hidden 32 --embedding 8 --batch 8 --bptt 16 --optimizer adam --lr 0.02 --updates 250 --quiet"
    assert main(["train", "--text", str(text), "--out", "run", *options.split()]) == 0
    capsys.readouterr()
    main(["sample", "run", "--prompt", "the cat sat", "--length", "57", "--temperature", "0"])
    assert capsys.readouterr().out[:-1] == text.read_text()[:68]


def test_the_first_ctrl_c_only_asks_and_the_third_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        assert stop.signal is None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
            assert stop.signal == signal.SIGINT
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_the_terminal_cannot_show_is_escaped(run: Run, tmp_path: Path, small: list[str]) -> None:
    (tmp_path / "greek.txt").write_text("αβγ δε " * 500, encoding="utf-8")
    status, output, _errors = run(
        "train", "--text", "greek.txt", *small, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert status == 0 and "\\u03b" in output


def test_interrupted_at_once_there_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*unused: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygrad_rnn.train.commands.read_text", interrupted)
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "tinygrad-rnn: interrupted\n"


def test_a_reader_that_has_had_enough_is_no_error(start: Start, folder: Path, text: Path, small: list[str]) -> None:
    assert main(["train", "--text", str(text), "--out", "run", *small]) == 0
    process = start("sample", "run", "--prompt", "the ", "--length", 1000)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141


def test_an_empty_folder_is_as_good_as_none(folder: Path, text: Path, small: list[str]) -> None:
    (folder / "empty").mkdir()
    assert main(["train", "--text", str(text), "--out", "empty", *small]) == 0
    assert (folder / "empty" / "result.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="a program cannot replace itself elsewhere")
def test_a_run_is_started_anew_with_what_the_environment_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda *program: starts.append(program))
    wish = {"OPENBLAS_CORETYPE": "SkylakeX"}
    monkeypatch.setattr(
        environment, "faster_kernel", lambda: next((v for k, v in wish.items() if k not in os.environ), None)
    )
    said = {"OMP_NUM_THREADS": "3", "OPENBLAS_CORETYPE": "Zen", "OPENBLAS_THREAD_TIMEOUT": "26"}
    monkeypatch.setattr(os, "environ", dict(said))
    restart_with_settings()
    assert starts == [] and os.environ == said and what_was_set() is None

    monkeypatch.setattr(os, "environ", {})
    restart_with_settings()
    restart_with_settings()  # which is what the program does that was started
    assert starts == [(sys.executable, [sys.executable, *sys.orig_argv[1:]])]
    assert os.environ.items() >= {**wish, **dict.fromkeys(environment.THREADS, "1")}.items()
    assert "OPENBLAS_THREAD_TIMEOUT" not in os.environ  # with one thread nobody waits
    line = what_was_set()
    assert line is not None and "OPENBLAS_CORETYPE=SkylakeX" in line and "1 thread" in line

    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "3"})
    restart_with_settings()
    assert os.environ.items() >= {**wish, "OMP_NUM_THREADS": "3", "OPENBLAS_THREAD_TIMEOUT": "18"}.items()
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    line = what_was_set()
    assert line is not None and "threads sleep between products" in line


def test_a_run_says_what_was_set_for_it(run: Run, text: Path, small: list[str]) -> None:
    environment_as_it_is = {k: v for k, v in os.environ.items() if k not in (*environment.THREADS, environment.KERNEL)}
    options = [o for o in small if o != "--quiet"]
    status, output, errors = run("train", "--text", text, *options, env=environment_as_it_is)
    assert status == 0, errors
    assert output.count("set for this run: ") == 1 and "1 thread for products" in output
    assert (
        "set for this run"
        not in run(
            "train",
            "--text",
            text,
            *options,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"},
        )[1]
    )


def test_help_and_version() -> None:
    for arguments in (["--help"], ["train", "--help"], ["sample", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0

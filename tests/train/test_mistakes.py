"""Every mistake on the command line: one clear line, exit status 2, and nothing on the disk made or changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinygrad_rnn.backend.gpu import cupy_access
from tinygrad_rnn.serialization import load, save, save_arrays

Check = Callable[..., str]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--lr -1", "--lr must be a positive number, got -1.0"),
        ("--lr 0", "--lr must be a positive number, got 0.0"),
        ("--lr nan", "--lr must be a positive number, got nan"),
        ("--lr inf", "--lr must be a positive number, got inf"),
        ("--lr fast", "argument --lr: invalid float value: 'fast'"),
        ("--momentum 1", "--momentum must be at least 0 and less than 1, got 1.0"),
        ("--momentum -0.1", "--momentum must be at least 0 and less than 1, got -0.1"),
        ("--momentum nan", "--momentum must be at least 0 and less than 1, got nan"),
        ("--optimizer adam --momentum 0.5", "--momentum belongs to --optimizer sgd"),
        ("--optimizer rmsprop", "--optimizer must be one of sgd, adam, got rmsprop"),
        ("--clip -1", "--clip must be a positive number, or 0 for no clipping, got -1.0"),
        ("--clip nan", "--clip must be a positive number, or 0 for no clipping, got nan"),
        ("--dropout 1", "--dropout must be at least 0 and less than 1, got 1.0"),
        ("--cell transformer", "--cell must be one of rnn, lstm, gru, got transformer"),
        ("--hidden 0", "--hidden must be a whole number of at least 1, got 0"),
        ("--hidden -3", "--hidden must be a whole number of at least 1, got -3"),
        ("--hidden 2.5", "argument --hidden: invalid int value: '2.5'"),
        ("--hidden 99999999999", "--hidden must be at most"),
        ("--embedding 0", "--embedding must be"),
        ("--layers 0", "--layers must be"),
        ("--batch 0", "--batch must be"),
        ("--bptt 0", "--bptt must be"),
        ("--updates 0", "--updates must be"),
        ("--eval-every 0", "--eval-every must be"),
        ("--checkpoint-every 0", "--checkpoint-every must be"),
        ("--diagnose -1", "--diagnose must be a whole number from 0 to 2147483647, got -1"),
        ("--diagnose 2147483648", "--diagnose must be a whole number from 0 to"),
        ("--diagnose 1.5", "argument --diagnose: invalid int value: '1.5'"),
        ("--diagnose often", "argument --diagnose: invalid int value: 'often'"),
        ("--diagnose", "argument --diagnose: expected one argument"),
        ("--seed -1", "--seed must be a whole number from 0 to 2**64 - 1, got -1"),
        ("--seed 18446744073709551616", "--seed must be"),
        ("--device tpu", "--device must be cpu, cuda or cuda:<number>, got tpu"),
        ("--device cuda:x", "--device must be"),
        ("--no-such-option", "unrecognized arguments: --no-such-option"),
        ("--hidd 3", "unrecognized arguments: --hidd 3"),
        ("--lr", "argument --lr: expected one argument"),
    ],
)
def test_a_value_that_makes_no_sense(mistake: Check, options: str, said: str) -> None:
    assert said in mistake("train", *options.split())


@pytest.mark.parametrize("arguments", [[], ["frain"], ["sample"]])
def test_an_incomplete_command(mistake: Check, arguments: list[str]) -> None:
    mistake(*arguments)


# the text ------------------------------------------------------------------------------------------------------


def test_no_such_text(mistake: Check) -> None:
    assert "cannot read the text" in mistake("train", "--text", "none.txt")


def test_a_folder_as_text(mistake: Check, tmp_path: Path) -> None:
    assert "Is a directory" in mistake("train", "--text", tmp_path)


def test_an_empty_text(mistake: Check, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert "empty.txt is empty" in mistake("train", "--text", "empty.txt")


def test_undecodable_bytes(mistake: Check, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1") * 1000)
    assert "not UTF-8: byte 0xe9 at position 3" in mistake("train", "--text", "latin.txt")


def test_a_text_too_short_for_batch_and_bptt(mistake: Check, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("abc " * 500)
    said = mistake("train", "--text", "short.txt")
    assert "has 2,000 characters, too few for --batch 32 and --bptt 64: 2,277 are needed" in said


# the device ----------------------------------------------------------------------------------------------------


def test_cuda_without_cupy(mistake: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)  # makes the import fail
    cupy_access.unavailable_reason.cache_clear()
    said = mistake("train", "--device", "cuda")
    cupy_access.unavailable_reason.cache_clear()
    assert "--device cuda" in said and "CuPy cannot be imported" in said and "pip install" in said


def test_cuda_without_a_gpu(mistake: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    class Runtime:
        @staticmethod
        def getDeviceCount() -> int:
            raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    cupy = type("cupy", (), {"cuda": type("cuda", (), {"runtime": Runtime}), "ndarray": type("ndarray", (), {})})
    monkeypatch.setitem(__import__("sys").modules, "cupy", cupy)
    cupy_access.unavailable_reason.cache_clear()
    said = mistake("train", "--device", "cuda")
    cupy_access.unavailable_reason.cache_clear()
    assert "no GPU answers" in said and "no CUDA-capable device is detected" in said


# the run folder ------------------------------------------------------------------------------------------------


def test_a_run_is_not_overwritten(mistake: Check, finished: Path) -> None:
    said = mistake("train", "--out", finished)
    assert "exists and is not empty: give another, or go on with --resume" in said


def test_a_folder_with_anything_in_it_is_not_used(mistake: Check, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("precious")
    assert "exists and is not empty" in mistake("train", "--out", "thesis")


def test_a_file_as_run_folder(mistake: Check, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "--out file is a file" in mistake("train", "--out", "file")
    assert "there is no run folder file" in mistake("train", "--resume", "file")


def test_a_file_on_the_way_to_the_run_folder(mistake: Check, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "Not a directory" in mistake("train", "--out", "file/run")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_place_that_cannot_be_written(mistake: Check, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "Permission denied: locked/run" in mistake("train", "--out", "locked/run")


def test_a_file_system_that_cannot_be_written(mistake: Check) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("needs a file system on which nothing can be made")
    mistake("train", "--out", "/proc/run")


def test_no_such_run(mistake: Check) -> None:
    assert "there is no run folder none" in mistake("train", "--resume", "none")
    assert "there is no run folder none" in mistake("sample", "none")


def test_a_folder_without_checkpoint(mistake: Check, finished: Path) -> None:
    (finished / "checkpoint.safetensors").unlink()
    assert "has no checkpoint.safetensors" in mistake("train", "--resume", finished)
    assert "has no checkpoint.safetensors" in mistake("sample", finished)


def test_a_run_that_another_process_is_training(mistake: Check, finished: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    other = os.open(finished, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    try:
        assert "another process is training in" in mistake("train", "--resume", finished)
    finally:
        os.close(other)


# the checkpoint ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 7, 100, 5000])
def test_a_truncated_checkpoint(mistake: Check, finished: Path, keep: int) -> None:
    checkpoint = finished / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    assert "is damaged" in mistake("train", "--resume", finished)
    assert "is damaged" in mistake("sample", finished)


def test_a_flipped_bit_in_a_weight(mistake: Check, finished: Path) -> None:
    checkpoint = finished / "checkpoint.safetensors"
    blob = bytearray(checkpoint.read_bytes())
    blob[-1] ^= 1
    checkpoint.write_bytes(blob)
    assert "checksum" in mistake("train", "--resume", finished)
    assert "checksum" in mistake("sample", checkpoint)


def test_a_checkpoint_of_another_version(mistake: Check, finished: Path) -> None:
    save_arrays({}, finished / "checkpoint.safetensors", {"format": "tinygrad_rnn", "version": "9"})
    assert "has version 9 of the format; this tinygrad_rnn reads version 1" in mistake("train", "--resume", finished)


def test_a_checkpoint_of_something_else(mistake: Check, finished: Path) -> None:
    save({"weights": np.zeros(3)}, finished / "checkpoint.safetensors")
    assert "is not the checkpoint of a training run" in mistake("train", "--resume", finished)
    assert "is not the checkpoint of a training run" in mistake("sample", finished)


# resuming ------------------------------------------------------------------------------------------------------


def test_another_text(mistake: Check, finished: Path, text: Path) -> None:
    other = finished.parent / "other.txt"
    other.write_text(text.read_text().replace("cat", "car"))
    assert "the run was trained on another text than" in mistake("train", "--resume", finished, "--text", other)


def test_the_text_is_gone(mistake: Check, finished: Path) -> None:
    checkpoint = finished / "checkpoint.safetensors"
    saved = load(checkpoint)
    saved["config"]["text"] = str(finished / "gone.txt")
    save(saved, checkpoint)
    assert "gone.txt: No such file" in mistake("train", "--resume", finished)


@pytest.mark.parametrize("options", ["--hidden 9", "--cell gru", "--seed 5", "--momentum 0", "--batch 2"])
def test_an_option_that_would_make_it_another_run(mistake: Check, finished: Path, options: str) -> None:
    said = mistake("train", "--resume", finished, *options.split())
    assert f"{options.split()[0]} cannot change when a run is resumed" in said


def test_fewer_updates_than_done(mistake: Check, finished: Path) -> None:
    assert "has done 30 updates already" in mistake("train", "--resume", finished, "--updates", 29)


def test_both_a_new_folder_and_an_old_one(mistake: Check, finished: Path) -> None:
    assert "not both" in mistake("train", "--resume", finished, "--out", "new")


# sampling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--prompt", ""], "--prompt is empty"),
        (["--prompt", "caté"], "--prompt has characters that the model has never seen: 'é'"),
        (["--length", "0"], "--length must be at least 1, got 0"),
        (["--temperature", "-1"], "--temperature must be 0 or a positive number, got -1.0"),
        (["--temperature", "nan"], "--temperature must be 0 or a positive number, got nan"),
        (["--seed", "-1"], "--seed must be a whole number from 0"),
    ],
)
def test_a_sample_that_cannot_be_drawn(mistake: Check, finished: Path, options: list[str], said: str) -> None:
    assert said in mistake("sample", finished, *options)

"""A run folder that came from elsewhere, or was damaged: nothing outside it is written, nothing in it is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinygrad_rnn.serialization import load, save
from tinygrad_rnn.train import run_folder
from tinygrad_rnn.train.cli import main

Mistake = Callable[..., str]
FILES = ("checkpoint.safetensors", "config.json", "metrics.jsonl", "samples.txt", "result.json", "curve.png")
FILES += ("flow.jsonl", "flow.png")
posix = pytest.mark.skipif(os.name != "posix", reason="needs links and pipes")


@posix
@pytest.mark.parametrize("name", FILES)
def test_a_link_is_not_followed(mistake: Mistake, finished: Path, tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    content = (finished / name).read_bytes() if (finished / name).exists() else b"precious"
    precious.write_bytes(content)
    (finished / name).unlink(missing_ok=True)
    (finished / name).symlink_to(precious)
    said = mistake("train", "--resume", finished, "--updates", 40)
    assert f"{name} is a symbolic link, not a file: a run writes only files of its own. Move it away" in said
    assert precious.read_bytes() == content


@posix
@pytest.mark.parametrize("name", FILES)
def test_a_link_that_leads_nowhere_makes_no_file_there(mistake: Mistake, finished: Path, name: str) -> None:
    (finished / name).unlink(missing_ok=True)
    (finished / name).symlink_to(finished.parent / "nowhere")
    mistake("train", "--resume", finished, "--updates", 40)
    assert not (finished.parent / "nowhere").exists()


@posix
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_refused_before_the_first_update(
    mistake: Mistake, finished: Path, name: str, make: Callable[[Path], None]
) -> None:
    (finished / name).unlink(missing_ok=True)
    make(finished / name)
    said = mistake("train", "--resume", finished, "--updates", 40)
    kind = "a pipe" if make is os.mkfifo else "a folder"
    assert f"{name} is {kind}, not a file" in said or f"has no {name}" in said


@posix
@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("name", FILES)
def test_a_second_name_of_a_file_keeps_its_content(finished: Path, tmp_path: Path, name: str) -> None:
    """As in a copy of the folder that was made with ``cp -al``."""
    if not (finished / name).exists():
        pytest.skip("matplotlib is not installed")
    os.link(finished / name, tmp_path / "other")
    before = (tmp_path / "other").read_bytes()
    assert main(["train", "--resume", str(finished), "--updates", "40", "--quiet"]) == 0
    assert (tmp_path / "other").read_bytes() == before
    assert (finished / "metrics.jsonl").read_text().count("\n") == 40


def test_a_link_that_comes_between_look_and_write_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):
        run_folder._Log(tmp_path / "metrics.jsonl", 0)
    run_folder.RunFolder(tmp_path).write(tmp_path / "metrics.jsonl", b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "metrics.jsonl").is_symlink()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('["update": 3}', "is damaged in line 3"),
        ("", "is damaged in line 3"),
        ("3", "is damaged in line 3 (not the record of update 3)"),
        ('{"update": 4, "loss": 1.0, "gradient_norm": 1.0}', "is damaged in line 3 (not the record of update 3)"),
        ('{"update": 3, "loss": "x", "gradient_norm": 1.0}', "is damaged in line 3"),
        ('{"update": 3, "loss": 1.0}', "is damaged in line 3"),
        ("[" * 10**5, "is damaged in line 3"),
        ("\x1b[2J", "is damaged in line 3"),
        (" " * 10**6, "is damaged in line 3"),
    ],
)
def test_a_damaged_line_of_the_metrics_is_found_first(mistake: Mistake, finished: Path, line: str, said: str) -> None:
    metrics = finished / "metrics.jsonl"
    lines = metrics.read_text().splitlines()
    metrics.write_text("\n".join([*lines[:2], line, *lines[3:]]) + "\n")
    for updates in (30, 40):
        assert said in mistake("train", "--resume", finished, "--updates", updates)


def test_metrics_of_other_bytes_and_too_few_lines(mistake: Mistake, finished: Path) -> None:
    metrics = finished / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(b"".join([*lines[:2], b"\xff\xfe\n", *lines[3:]]))
    assert "is damaged in line" in mistake("train", "--resume", finished, "--updates", 40)
    metrics.write_bytes(b"".join(lines[:12]))
    said = mistake("train", "--resume", finished, "--updates", 40)
    assert "metrics.jsonl ends after update 12, but the checkpoint is of update 30. Mend it, or move it away" in said


def test_without_its_metrics_a_run_goes_on(finished: Path) -> None:
    (finished / "metrics.jsonl").unlink()
    assert main(["train", "--resume", str(finished), "--updates", "30", "--quiet"]) == 0
    assert main(["train", "--resume", str(finished), "--updates", "32", "--quiet"]) == 0
    assert main(["train", "--resume", str(finished), "--updates", "33", "--quiet"]) == 0
    lines = (finished / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["update"] for line in lines] == [31, 32, 33]


def test_a_folder_where_a_leftover_was_does_not_stop_a_run(finished: Path) -> None:
    (finished / ".checkpoint.safetensors.0123abcd.tmp").mkdir()
    assert main(["train", "--resume", str(finished), "--updates", "31", "--quiet"]) == 0


@pytest.mark.parametrize("left", ["nothing", "logs", "half a checkpoint"])
def test_a_run_killed_before_its_first_save_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Mistake, text: Path, small: list[str], left: str
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    if left != "nothing":
        (folder / "metrics.jsonl").touch()
        (folder / "samples.txt").touch()
    if left == "half a checkpoint":
        (folder / ".checkpoint.safetensors.0123abcd.tmp").write_bytes(b"half")
    assert "ended before its first save (then begin again with --out run)" in mistake("train", "--resume", "run")
    assert main(["train", "--text", str(text), "--out", "run", *small]) == 0
    assert not list(folder.glob(".*"))


def test_a_folder_with_somebody_elses_file_of_a_name_of_ours_is_not_taken(
    mistake: Mistake, tmp_path: Path, text: Path, small: list[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "samples.txt").write_text("blood, 0 positive")
    assert "is not empty" in mistake("train", "--text", text, "--out", "run", *small)


class FullDisk:
    """From a call on, every write to a file fails as on a full disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.left = after
        monkeypatch.setattr(os, "fsync", self.counted(os.fsync))
        monkeypatch.setattr(run_folder, "FileIO", self.file)

    def counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments)

        return call

    def file(self, *arguments: Any, **more: Any) -> Any:
        import io

        made = io.FileIO(*arguments, **more)
        disk = self

        class Limited:
            write = staticmethod(disk.counted(made.write))

            def __getattr__(self, name: str) -> Any:
                return getattr(made, name)

        return Limited()


@pytest.mark.parametrize("after", [0, 2, 3, 9, 20, 47])
def test_a_full_disk_is_told_with_the_file_and_with_what_is_saved(
    tmp_path: Path,
    text: Path,
    small: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    after: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        FullDisk(patched, after)
        capsys.readouterr()
        assert main(["train", "--text", str(text), "--out", "run", *small]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("tinygrad-rnn: error: No space left on device: run/") and errors.count("\n") == 1
    assert any(name in errors for name in FILES) and ".tmp" not in errors
    checkpoint = Path("run", FILES[0])
    if "saved is update" in errors:
        update = load(checkpoint)["update"]
        assert f"saved is update {update}. Go on with: " in errors
    if checkpoint.exists():
        assert main(["train", "--resume", "run", "--quiet"]) == 0
        assert main(["train", "--text", str(text), "--out", "whole", *small]) == 0
        for name in ("checkpoint.safetensors", "samples.txt", "result.json"):
            assert Path("run", name).read_bytes() == Path("whole", name).read_bytes()
    assert not list(Path("run").glob(".*"))


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs a small file system of its own")
def test_a_small_disk_that_fills_up(tmp_path: Path, text: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", disk], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        options = "--hidden 8 --embedding 4 --batch 4 --bptt 8 --updates 3000 --quiet --eval-every 20"
        arguments = ["train", "--text", str(text), "--out", str(disk / "run"), *options.split()]
        done = subprocess.run(
            [sys.executable, "-m", "tinygrad_rnn", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TINYGRAD_RNN_KERNELS": "numpy"},
        )
        saved = load(disk / "run" / "checkpoint.safetensors")["update"]
        assert done.returncode == 2 and saved > 0
        assert f"No space left on device: {disk}/run/" in done.stderr and f"saved is update {saved}. Go" in done.stderr
        shutil.copytree(disk / "run", tmp_path / "moved")
    finally:
        subprocess.run(["umount", disk], check=True)
    assert main(["train", "--resume", str(tmp_path / "moved"), "--updates", str(saved + 5), "--quiet"]) == 0


@pytest.mark.usefixtures("pictures")
def test_a_picture_that_cannot_be_drawn_ends_no_run(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = pytest.importorskip("matplotlib.figure")

    def fail(*unused: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(figure.Figure, "savefig", fail)
    assert main(["train", "--resume", str(finished), "--quiet"]) == 0
    assert "(no picture of the loss: [Errno 28] No space left on device)" in capsys.readouterr().out


def test_other_kernels_than_before_are_told_in_one_line(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--resume", str(finished), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    path = finished / "checkpoint.safetensors"
    saved = load(path)
    saved["computed_with"].update(Numba="0.1.0", BLAS="OpenBLAS 0.1, kernels for Prescott")
    save(saved, path)
    assert main(["train", "--resume", str(finished), "--quiet", "--updates", "31"]) == 0
    errors = capsys.readouterr().err
    assert errors.startswith("tinygrad-rnn: until now the run was computed with BLAS OpenBLAS 0.1, kernels for Presc")
    assert "; Numba 0.1.0, now " in errors and errors.count("\n") == 1
    assert main(["train", "--resume", str(finished), "--quiet", "--updates", "32"]) == 0
    assert capsys.readouterr().err == ""

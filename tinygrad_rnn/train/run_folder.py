"""The files that a run leaves, and how they stay consistent with each other.

    checkpoint.safetensors   the whole state after some update; replaced atomically
    config.json              the hyper-parameters, to read
    metrics.jsonl            one line per update, appended
    samples.txt              text that the model wrote at each evaluation, appended
    result.json              the validation loss at the end
    curve.png                loss and gradient norm over the updates

The appended files are forced to the disk before a checkpoint is written, so they are never behind it.  They may be
ahead of it, by what a killed run did after its last checkpoint: going on from the checkpoint cuts that off first.
"""

from __future__ import annotations

import collections
import itertools
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..errors import UsageError
from ..serialization import atomic_write, is_leftover, load, remove_leftovers, save

__all__ = ["RunFolder"]

CHECKPOINT = "checkpoint.safetensors"


class RunFolder:
    """A run's folder.  Within ``with folder:`` it is open for training, and no other process can have it so.

    Raises:
        UsageError: from ``with``, if another process is training in the folder, or a new one is not empty.
    """

    def __init__(self, path: Path, new: bool = False) -> None:
        self.path = path
        self.checkpoint = path / CHECKPOINT
        self.config = path / "config.json"
        self.metrics = path / "metrics.jsonl"
        self.samples = path / "samples.txt"
        self.result = path / "result.json"
        self.curve = path / "curve.png"
        self._new = new
        self._metrics: IO[str] | None = None
        self._samples: IO[str] | None = None
        self._lock: int | None = None

    # making and finding --------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | None, parent: str = "runs") -> RunFolder:
        """A new folder: ``path``, or for None the next free number in ``parent``.

        ``path`` must not exist, be empty, or hold no more than a run that was killed before its first save leaves.

        Raises:
            UsageError: it is a file.
            OSError: it cannot be made.
        """
        if path is None:
            return cls(_numbered(Path(parent)))
        folder = Path(path)
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"--out {path} is a file, not a folder")
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, new=True)

    @classmethod
    def open(cls, path: str) -> RunFolder:
        """The existing run folder ``path``.

        Raises:
            UsageError: no such folder, or no checkpoint in it.
        """
        return cls(cls.find(path).parent)

    @staticmethod
    def find(path: str) -> Path:
        """The checkpoint of the run in the folder ``path``.

        Raises:
            UsageError: no such folder, or no checkpoint in it.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise UsageError(f"there is no run folder {path}")
        if not (folder / CHECKPOINT).is_file():
            raise UsageError(
                f"the folder {path} has no {CHECKPOINT}: it is not a run, or ended before its first save "
                f"(then begin again with --out {path})"
            )
        return folder / CHECKPOINT

    def __enter__(self) -> RunFolder:
        try:
            self._take()
            if self._new and not all(self._is_of_a_stillborn(entry) for entry in self.path.iterdir()):
                there = f"--out {self.path} exists and is not empty"
                raise UsageError(f"{there}: give another, or go on with --resume {self.path}")
            return self
        except BaseException:
            self.close()
            raise

    def __exit__(self, *error: object) -> None:
        self.close()

    def _take(self) -> None:
        """Lock the folder for this process; the operating system unlocks it when the process ends, however it ends."""
        try:
            import fcntl
        except ImportError:  # Windows
            return
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another process is training in {self.path}") from error
        except OSError:  # a file system without locks
            pass

    def _is_of_a_stillborn(self, entry: Path) -> bool:
        """Whether this is what a run leaves that ends before its first save: logs without a line, half a checkpoint."""
        if entry.is_symlink() or not entry.is_file():
            return False
        if is_leftover(entry, self.checkpoint):
            return True
        return entry in (self.metrics, self.samples) and not entry.stat().st_size

    # while training ------------------------------------------------------------------------------------------

    def open_logs(self, updates: int = 0, samples: int = 0) -> None:
        """Open the appended files, keeping what belongs to the first ``updates`` updates: ``samples`` bytes of text."""
        for path in (self.checkpoint, self.config, self.result, self.curve):
            remove_leftovers(path)
        _cut(self.metrics, _bytes_of_updates(self.metrics, updates))
        _cut(self.samples, samples)
        self._metrics = self.metrics.open("a", encoding="utf-8", buffering=1)  # to be followed while it grows
        self._samples = self.samples.open("a", encoding="utf-8", newline="\n")

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to the metrics."""
        assert self._metrics is not None
        self._metrics.write(json.dumps(record) + "\n")

    def last_record(self) -> dict[str, Any]:
        """The last line of the metrics; empty if there is none."""
        return next(iter(collections.deque(self.records(), maxlen=1)), {})

    def replace_last_record(self, record: dict[str, Any]) -> None:
        """Put ``record`` in the place of the last line of the metrics, which is never missing meanwhile."""
        assert self._metrics is not None
        lines = self.metrics.read_bytes().splitlines(keepends=True)
        self._metrics.close()
        if lines:
            atomic_write(self.metrics, [*lines[:-1], (json.dumps(record) + "\n").encode()])
        self._metrics = self.metrics.open("a", encoding="utf-8", buffering=1)

    def add_sample(self, text: str) -> None:
        """Append ``text`` to the samples."""
        assert self._samples is not None
        self._samples.write(text)

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint ``state``; the appended files are on the disk before it is."""
        assert self._metrics is not None and self._samples is not None
        for file in (self._metrics, self._samples):
            file.flush()
            os.fsync(file.fileno())
        save({**state, "samples_bytes": self.samples.stat().st_size}, self.checkpoint)

    def load(self) -> Any:
        """What ``save`` wrote."""
        return load(self.checkpoint)

    def write_json(self, path: Path, values: dict[str, Any]) -> None:
        """Write a small file for people and scripts to read."""
        atomic_write(path, [(json.dumps(values, indent=2) + "\n").encode()])

    def records(self) -> Iterator[dict[str, Any]]:
        """The lines of the metrics."""
        if self._metrics is not None:
            self._metrics.flush()
        with self.metrics.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    def files(self) -> list[Path]:
        """What is there for the user to look at."""
        known = (self.config, self.metrics, self.checkpoint, self.samples, self.result, self.curve)
        return [path for path in known if path.exists()]

    def resume_command(self) -> str:
        """What to type to go on with this run, given how this program was started."""
        program = "python -m tinygrad_rnn"
        if Path(sys.argv[0]).stem == "tinygrad-rnn":
            program = "tinygrad-rnn" if shutil.which("tinygrad-rnn") else sys.argv[0]
        return f"{program} train --resume {shlex.quote(str(self.path))}"

    def close(self) -> None:
        """Close the files and let others have the folder."""
        for file in (self._metrics, self._samples):
            if file is not None:
                file.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _numbered(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / f"{number:03d}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
    raise AssertionError("unreachable")


def _bytes_of_updates(path: Path, updates: int) -> int:
    """Where the line of update ``updates`` ends in a metrics file; a line may be damaged only after that."""
    end = 0
    if updates and path.exists():
        with path.open("rb") as file:
            for line in itertools.islice(file, updates):
                end += len(line)
    return end


def _cut(path: Path, length: int) -> None:
    if path.exists() and path.stat().st_size > length:
        os.truncate(path, length)

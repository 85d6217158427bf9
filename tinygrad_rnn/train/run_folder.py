"""The run folder: the files of a run, consistent with each other even if the run is killed.

    checkpoint.safetensors   the whole state after some update; replaced atomically
    config.json              the hyper-parameters, to read
    metrics.jsonl            one line per update, appended
    samples.txt              text that the model wrote at each evaluation, appended
    result.json              the validation loss at the end
    curve.png                loss and gradient norm over the updates
    flow.jsonl               with --diagnose one line per watched update and recurrent layer, appended
    flow.png                 with --diagnose how far back gradients reach

The appended files are flushed to the disk before a checkpoint is written, so they are never behind it.  They may be
ahead of it, by the updates of a killed run after its last checkpoint: resuming truncates them first.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..serialization import atomic_file, is_leftover, load, remove_leftovers, save

__all__ = ["RunFolder"]

CHECKPOINT = "checkpoint.safetensors"

LONGEST_LINE = 1 << 16  # of the metrics: a hundred times the length of a line that we write

KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class RunFolder:
    """A run's folder.  ``with folder:`` opens it for training and locks it against other processes.

    Raises:
        UsageError: from ``with``, if another process is training in the folder, a new one is not empty, or a file that
            a run writes is a link or not a regular file.
    """

    def __init__(self, path: Path, new: bool = False) -> None:
        self.path = path
        self.checkpoint = path / CHECKPOINT
        self.config = path / "config.json"
        self.metrics = path / "metrics.jsonl"
        self.samples = path / "samples.txt"
        self.result = path / "result.json"
        self.curve = path / "curve.png"
        self.flow = path / "flow.jsonl"
        self.flow_picture = path / "flow.png"
        self._new = new
        self._metrics: _Log | None = None
        self._samples: _Log | None = None
        self._flow: _Log | None = None
        self._lock: int | None = None

    # making and finding --------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | None, parent: str = "runs") -> RunFolder:
        """A new folder: ``path``, or for None the next free number in ``parent``.

        ``path`` must not exist, or be empty, or contain only the remains of a run killed before its first save.

        Raises:
            UsageError: ``path`` is a file.
            OSError: the folder cannot be created.
        """
        if path is None:
            # Made just now, hence empty: not ``new``.
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
            # Locked before it is looked at: another process may be filling it.
            self._take()
            if self._new and not all(self._is_of_a_stillborn(entry) for entry in self.path.iterdir()):
                there = f"--out {self.path} exists and is not empty"
                raise UsageError(f"{there}: give another, or go on with --resume {self.path}")
            self.require_own_files()
            return self
        except BaseException:
            self.close()
            raise

    def __exit__(self, *error: object) -> None:
        self.close()

    def _take(self) -> None:
        """Lock the folder for this process; the operating system releases the lock when the process ends in any way."""
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
        """Whether a file remains of a run killed before its first save: an empty log, half a checkpoint."""
        if entry.is_symlink() or not entry.is_file():
            return False
        if is_leftover(entry, self.checkpoint):
            return True
        return entry in (self.metrics, self.samples, self.flow) and not entry.stat().st_size

    def require_own_files(self) -> None:
        """Check that every file that a run writes is a regular file if it exists.

        A folder from elsewhere may contain a link in its place, whose target would be overwritten.

        Raises:
            UsageError: one is a link, a folder, a pipe or a device.
        """
        for path in self._known():
            with contextlib.suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if not stat.S_ISREG(mode):
                    kind = next((name for is_kind, name in KINDS if is_kind(mode)), "a device")
                    raise UsageError(f"{path} is {kind}, not a file: a run writes only files of its own. Move it away")

    # while training ------------------------------------------------------------------------------------------

    def lines_until(self, updates: int) -> int:
        """The number of lines of the metrics that belong to the first ``updates`` updates.

        That is one per update, or, if the file was moved away once, one per update since then.

        Raises:
            UsageError: a line is damaged or missing; the message names it.
        """
        lines, last, remedy = 0, 0, "Mend it, or move it away to go on without"
        try:
            # Resumed from before the first update, nothing in the file counts.
            for record in self.records() if updates else ():
                if not _is_record(record) or (lines and record["update"] != last + 1):
                    raise ValueError(f"not the record of update {last + 1}")
                if record["update"] > updates:
                    break
                lines, last = lines + 1, record["update"]
                if last == updates:
                    break
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self.metrics} is damaged in line {lines + 1} ({error}). {remedy}") from error
        if lines and last < updates:
            ends = f"{self.metrics} ends after update {last}, but the checkpoint is of update {updates}"
            raise UsageError(f"{ends}. {remedy}")
        return lines

    def rows_until(self, updates: int, saved: int) -> int:
        """The number of bytes of flow.jsonl that belong to the first ``updates`` updates.

        ``saved`` is the size at that time, which the file has not if it was moved away since.

        Raises:
            UsageError: a line is damaged; the message names it.
        """
        end = 0
        with contextlib.suppress(FileNotFoundError), self.flow.open("rb") as file:
            for number, line in enumerate(file, 1):
                if end + len(line) > saved or not line.endswith(b"\n"):
                    break
                try:
                    row = json.loads(line)
                    if not isinstance(row, dict) or type(row.get("update")) is not int or "layer" not in row:
                        raise ValueError("not a row about a layer")
                    float(row.get("half_life", "nan"))
                except (ValueError, TypeError, RecursionError) as error:
                    remedy = "Mend it, or move it away to go on without"
                    raise UsageError(f"{self.flow} is damaged in line {number} ({error}). {remedy}") from error
                if row["update"] > updates:
                    break
                end += len(line)
        return end

    def open_logs(self, lines: int = 0, samples: int = 0, flow: int | None = None) -> None:
        """Open the appended files.

        Args:
            lines: of the metrics, which are kept.
            samples: bytes of text that are kept.
            flow: bytes of flow.jsonl that are kept; None: there is none.
        """
        # Safe under the lock, which rules out that another process is writing them.
        for path in (self.checkpoint, self.config, self.result, self.curve, self.flow_picture):
            remove_leftovers(path)
        self._metrics = _Log(self.metrics, _bytes_of_lines(self.metrics, lines))
        self._samples = _Log(self.samples, samples)
        self._flow = None if flow is None else _Log(self.flow, flow)

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to the metrics."""
        assert self._metrics is not None
        self._metrics.append(_line(record))

    def log_flow(self, rows: list[dict[str, Any]]) -> None:
        """Append lines to flow.jsonl."""
        assert self._flow is not None
        self._flow.append(b"".join(_line(row) for row in rows))

    def flow_rows(self) -> Iterator[dict[str, Any]]:
        """The lines of flow.jsonl; none if there is no file.

        Raises:
            ValueError: a line is not JSON.
        """
        with contextlib.suppress(FileNotFoundError), self.flow.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    def last_record(self) -> dict[str, Any]:
        """The last line of the metrics; empty if there is none."""
        return next(iter(collections.deque(self.records(), maxlen=1)), {})

    def replace_last_record(self, record: dict[str, Any]) -> None:
        """Replace the last line of the metrics, atomically."""
        assert self._metrics is not None
        if lines := self.metrics.read_bytes().splitlines(keepends=True):
            self._metrics.replace([*lines[:-1], _line(record)])

    def add_sample(self, text: str) -> None:
        """Append ``text`` to the samples."""
        assert self._samples is not None
        self._samples.append(text.encode("utf-8", "surrogatepass"))

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint ``state``, after flushing the appended files to the disk."""
        assert self._metrics is not None and self._samples is not None
        self._metrics.force()
        self._samples.force()
        sizes = {"samples_bytes": self.samples.stat().st_size}
        if self._flow is not None:
            self._flow.force()
            sizes["flow_bytes"] = self.flow.stat().st_size
        # A link that was put there after the check is replaced, not followed.
        with atomic_file(self.checkpoint, follow_links=False) as file:
            save({**state, **sizes}, file)

    def load(self) -> Any:
        """The state that ``save`` wrote."""
        return load(self.checkpoint)

    def write_json(self, path: Path, values: dict[str, Any]) -> None:
        """Write a small file for people and scripts to read."""
        self.write(path, (json.dumps(values, indent=2) + "\n").encode())

    def write(self, path: Path, content: bytes) -> None:
        """Write one of the files of the folder, atomically."""
        with atomic_file(path, follow_links=False) as file:
            file.write(content)

    def records(self) -> Iterator[dict[str, Any]]:
        """The lines of the metrics; none if there is no file.

        Raises:
            ValueError: a line is not JSON.
        """
        with contextlib.suppress(FileNotFoundError), self.metrics.open(encoding="utf-8") as file:
            # Bounded: a damaged file may be one line of gigabytes. A line that is cut here is not valid JSON.
            while line := file.readline(LONGEST_LINE):
                yield json.loads(line)

    def _known(self) -> tuple[Path, ...]:
        always = self.config, self.metrics, self.checkpoint, self.samples, self.result, self.curve
        return *always, self.flow, self.flow_picture

    def files(self) -> list[Path]:
        """The files of the run that exist, for the user to look at."""
        return [path for path in self._known() if path.exists()]

    def resume_command(self) -> str:
        """The command that resumes this run, spelt as this program was started."""
        program = "python -m tinygrad_rnn"
        if Path(sys.argv[0]).stem == "tinygrad-rnn":
            program = "tinygrad-rnn" if shutil.which("tinygrad-rnn") else sys.argv[0]
        return f"{program} train --resume {shlex.quote(str(self.path))}"

    def close(self) -> None:
        """Close the files and unlock the folder."""
        for file in (self._metrics, self._samples, self._flow):
            if file is not None:
                file.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _numbered(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / f"{number:03d}"
        # Not "if it does not exist": two runs that start together must get two numbers.
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
    raise AssertionError("unreachable")


class _Log:
    """An append-only file without a buffer.

    It can be followed while it grows, and closing it cannot fail.

    Args:
        path: the file; a regular one, or none yet.
        length: bytes to keep of it.  A file with a second hard link (a copy made by ``cp -al``) is replaced by a copy,
            so that the other name keeps its content.
    """

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        self._file = self._open()
        with self._named():
            there = os.fstat(self._file.fileno())
            if there.st_nlink > 1:
                self.replace([path.read_bytes()[:length]])
            elif there.st_size > length:
                self._file.truncate(length)

    def append(self, content: bytes) -> None:
        """Write ``content``, all of it, at the end."""
        with self._named():
            # A raw write may take less than it is given, as on a disk that is nearly full.
            while content:
                content = content[self._file.write(content) :]

    def replace(self, chunks: list[bytes]) -> None:
        """Replace the content by ``chunks``, atomically."""
        with atomic_file(self._path, follow_links=False) as file:
            file.writelines(chunks)
        self._file.close()
        self._file = self._open()

    def force(self) -> None:
        """Flush to the disk."""
        with self._named():
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> FileIO:
        # Do not follow a link, and do not block on a pipe without a reader.
        careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        return FileIO(self._path, "ab", opener=lambda path, flags: os.open(path, flags | careful, 0o666))

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Add the file's name to an error: that of a full disk has none."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or os.fspath(self._path)
            raise


def _line(record: dict[str, Any]) -> bytes:
    return (json.dumps(record) + "\n").encode()


def _is_record(record: Any) -> bool:
    if not isinstance(record, dict) or type(record.get("update")) is not int:
        return False
    numbers = [record.get("loss"), record.get("gradient_norm"), record.get("validation", 0.0)]
    return all(type(number) in (int, float) for number in numbers)


def _bytes_of_lines(path: Path, lines: int) -> int:
    """The offset of the end of line number ``lines``; a killed run may have damaged the file after it."""
    end = 0
    if lines:
        with path.open("rb") as file:
            for line in itertools.islice(file, lines):
                end += len(line)
    return end

"""Writing a file so that nobody ever sees half of it.

The bytes go to a temporary file in the same folder (a rename is atomic only within a file system), are forced to
the disk, and the temporary file is renamed over the old one; then the folder itself is forced to the disk, for
without that a power cut may undo the rename.  Killed at any moment, the old file or the new one is there, whole.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["atomic_write", "remove_leftovers"]


def atomic_write(path: str | os.PathLike[str], chunks: Iterable[Any]) -> None:
    """Write ``chunks``, one after the other, as the file ``path``; a symbolic link is followed, not replaced.

    Raises:
        OSError: the folder does not exist or cannot be written, or the disk is full; ``path`` is as it was.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> atomic_write(folder / "greeting", [b"good ", b"day"])
    >>> [p.name for p in folder.iterdir()], (folder / "greeting").read_bytes()
    (['greeting'], b'good day')
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    # Not tempfile.mkstemp: its files are private (mode 0600), and the rename would make the target so.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with open(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files that a process killed while it wrote ``path`` left beside it.

    Call it only where no other process can be writing ``path``.
    """
    target = Path(os.path.realpath(path))
    for leftover in target.parent.glob(f".{target.name}.*.tmp"):
        leftover.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder, and its renames need no such help
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

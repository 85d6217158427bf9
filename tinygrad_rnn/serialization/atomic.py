"""Atomic file writes: readers find the old file or the new one, never half of one.

The bytes go to a temporary file in the same folder (a rename is atomic only within a file system), are forced to
the disk, and the temporary file is renamed over the old one; then the folder itself is forced to the disk,
because otherwise a power cut may undo the rename.  Killed at any moment, the old file or the new one is there, whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

__all__ = ["atomic_file", "atomic_write", "is_leftover", "remove_leftovers"]


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
    with atomic_file(path) as file:
        for chunk in chunks:
            file.write(chunk)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], *, follow_links: bool = True) -> Iterator[IO[bytes]]:
    """A file open for writing that becomes ``path`` at the end of the ``with`` block, if that ends without an error.

    Args:
        path: the file to make or to replace.
        follow_links: where ``path`` is a symbolic link, write the file that it names; False: replace the link.

    Raises:
        OSError: as :func:`atomic_write`; its ``filename`` is ``path``.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> import tinygrad_rnn as tg
    >>> with tg.serialization.atomic_file(folder / "notes.txt") as file:
    ...     _ = file.write(b"all or nothing")
    >>> (folder / "notes.txt").read_text()
    'all or nothing'
    """
    target = Path(os.path.realpath(path) if follow_links else path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        # Not tempfile.mkstemp: its files are private (mode 0600), and the rename would make the target so.
        # O_BINARY: without it Windows would write two bytes for each newline.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with open(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        # Also after a Ctrl-C; and if that came just after the rename, there is nothing to remove.
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise
        # Outside of the clean-up: by now the new file is in place.
        _sync_folder(target.parent)
    except OSError as error:  # a full disk names no file, and users do not know the temporary one
        if error.filename in (None, temporary, os.fspath(temporary)):
            error.filename, error.filename2 = os.fspath(path), None
        raise


def is_leftover(entry: Path, path: Path) -> bool:
    """Whether the name of ``entry`` is one that :func:`atomic_write` gives a file while it writes ``path``.

    >>> is_leftover(Path(".a.0123abcd.tmp"), Path("a")), is_leftover(Path(".a.tmp"), Path("a"))
    (True, False)
    """
    return re.fullmatch(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.tmp", entry.name) is not None


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed processes have left beside ``path``.

    One that cannot be removed stays: it takes space, and does no harm.  Call it only when no other process can be
    writing ``path``.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> import tinygrad_rnn as tg
    >>> tg.serialization.remove_leftovers(folder / "model.safetensors")  # nothing was left
    """
    target = Path(os.path.realpath(path))
    for entry in target.parent.iterdir():
        if is_leftover(entry, target):
            with contextlib.suppress(OSError):
                entry.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder, and its renames need no such help
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

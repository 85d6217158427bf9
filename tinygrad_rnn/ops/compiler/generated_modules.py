"""Modules of generated text, with a file of each in the user's cache.

A text is run as it was made in this process; what a file says is never run.  The file is there for others: Numba keeps
machine code beside the source of a function, debuggers show its lines.  It has a name made of the hash of its text, and
is written again where it does not say what it should.

The folder belongs to the user, and no one else may write to it: Numba unpickles what it finds there.  Where there is
no such folder the text has no file, and Numba compiles it in every process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
import threading
from pathlib import Path
from types import ModuleType

__all__ = ["file_of", "files", "folder", "load", "place", "refusal"]

NAME = "tinygrad_rnn_cell_"
"""What the names of modules and of their files begin with."""

_modules: dict[str, ModuleType] = {}
_lock = threading.Lock()


def load(text: str) -> ModuleType:
    """The module of a text; the same one for the same text."""
    with _lock:
        found = _modules.get(text)
        if found is None:
            found = _modules[text] = _run(text)
        return found


def folder() -> Path | None:
    """Where the files are: a folder that this user alone can write to; None where there is none."""
    try:
        path = place()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path if refusal(path) is None else None
    except (OSError, RuntimeError):  # a user without a home
        return None


def place() -> Path:
    """Where the folder is, or would be.

    Raises:
        RuntimeError: the user has no home.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "tinygrad_rnn" / "cells"


def refusal(path: Path) -> str | None:
    """Why a folder that exists is not used; None if it is."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):  # a link could lead to a folder of another user
        return "it is no folder"
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        return "it belongs to another user"
    if hasattr(os, "getuid") and found.st_mode & 0o077:
        return "others than its owner have access to it: its permissions must be 0700"
    return None


def files() -> list[Path]:
    """The files of all cells: their texts, and the machine code that Numba keeps of them.

    Raises:
        OSError: the folder cannot be read.
        RuntimeError: the user has no home.
    """
    where = place()
    found = [] if refusal(where) is not None else [*where.iterdir(), *_listed(where / "__pycache__")]
    return [path for path in found if path.name.startswith(NAME)]


def _listed(path: Path) -> list[Path]:
    return [] if path.is_symlink() or not path.is_dir() else list(path.iterdir())


def file_of(text: str) -> Path | None:
    """The file that a text has, or would have; None where it has none."""
    where = folder()
    return None if where is None else where / f"{_name(text)}.py"


def _name(text: str) -> str:
    return NAME + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _run(text: str) -> ModuleType:
    name = _name(text)
    file = _written(text, f"{name}.py")
    module = ModuleType(name)
    module.__file__ = None if file is None else str(file)
    sys.modules[name] = module  # where Numba looks when it reads machine code from the disk
    code = compile(text, f"<{name}>" if file is None else str(file), "exec", dont_inherit=True)
    try:
        exec(code, module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _written(text: str, name: str) -> Path | None:
    """The file of a text, or None if there can be none."""
    where = folder()
    if where is None:
        return None
    path = where / name
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if not path.is_symlink() and path.read_text(encoding="utf-8") == text:
            return path
    try:
        handle, new = tempfile.mkstemp(dir=where, prefix=name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, path)  # whole or not at all, whatever other processes do
    except OSError:
        return None
    return path

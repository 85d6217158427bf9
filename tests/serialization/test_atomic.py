"""A file is the old one or the new one: after an error, and after being killed at any moment."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinygrad_rnn.serialization import atomic_file, atomic_write, remove_leftovers

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and permissions")


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, [b"old"])

    def chunks() -> Iterator[bytes]:
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, chunks())
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@posix
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        atomic_write(tmp_path / "file", [b"x"])
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*unused: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file"
    for call in (os, "fsync"), (os, "replace"), (os, "open"):
        with monkeypatch.context() as patched, pytest.raises(OSError) as caught:
            patched.setattr(*call, full)
            atomic_write(path, [b"x"])
        assert caught.value.filename == str(path) and caught.value.errno == errno.ENOSPC
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError) as caught:
        atomic_write(tmp_path / "no folder" / "file", [b"x"])
    assert caught.value.filename == str(tmp_path / "no folder" / "file")


@posix
def test_a_symbolic_link_is_replaced_where_it_must_not_be_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("precious")
    with atomic_file(tmp_path / "link", follow_links=False) as file:
        file.write(b"x")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "link").read_bytes() == b"x"


@posix
def test_a_symbolic_link_is_followed_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    atomic_write(tmp_path / "link", [b"x"])
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "file").read_bytes() == b"x"


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("file", ".file.0a1b2c3d.tmp", "other.tmp", ".filed.0.tmp"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".file.00000000.tmp").mkdir()  # of somebody else's, and no reason to stop
    remove_leftovers(tmp_path / "file")
    (tmp_path / ".file.00000000.tmp").rmdir()
    assert {p.name for p in tmp_path.iterdir()} == {"file", "other.tmp", ".filed.0.tmp"}


WRITER = """
import sys
from tinygrad_rnn.serialization import atomic_write
for n in range(10**9):
    atomic_write(sys.argv[1], [bytes([n % 251]) * 50_000] * 4)
    if n == 0:
        print("writing", flush=True)
"""


@posix
def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    moments = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"writing\n"
        time.sleep(moments.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        blob = path.read_bytes()
        assert len(blob) == 200_000 and len(set(blob)) == 1

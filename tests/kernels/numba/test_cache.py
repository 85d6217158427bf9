"""Machine code that is kept on the disk: whatever happens to the files, a function computes, and is kept again."""

from __future__ import annotations

import errno
import importlib.util
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from tinygrad_rnn.kernels.recurrent.numba import jit

SOURCE = """
from tinygrad_rnn.kernels.recurrent.numba.jit import compiled

@compiled
def twice(x):
    return 2 * x.sum()
"""


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Gives the function as a new process would have it, with nothing but the files."""
    monkeypatch.setattr(jit.numba.core.config, "CACHE_DIR", "")
    (tmp_path / "kernel.py").write_text(SOURCE)

    def load() -> Any:
        spec = importlib.util.spec_from_file_location("kernel", tmp_path / "kernel.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.twice

    return load


def called(function: Any) -> int:
    """Call it; how often it was taken from the disk."""
    assert function(np.arange(3.0)) == 6
    return int(sum(function.stats.cache_hits.values()))


def files(folder: Path, ending: str) -> list[Path]:
    return sorted(folder.rglob(f"*.{ending}"))


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_a_damaged_file_of_the_cache_is_written_anew(fresh: Callable[[], Any], tmp_path: Path, ending: str) -> None:
    assert called(fresh()) == 0
    assert called(fresh()) == 1
    (path,) = files(tmp_path, ending)
    intact = path.read_bytes()
    half = len(intact) // 2
    harm = [
        b"",
        intact[:1],
        intact[:half],
        intact[:-1],
        b"\0" * len(intact),
        intact[:half] + b"\0" * (len(intact) - half),
    ]
    for damaged in [*harm, b"x" * 100, pickle.dumps(3), pickle.dumps((1, 2, 3))]:
        path.write_bytes(damaged)
        assert called(fresh()) == 0
        assert called(fresh()) == 1


@pytest.mark.parametrize("place", ["_save_data", "_save_index"])
def test_a_cache_that_cannot_be_written_is_no_error(
    fresh: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(jit.CheckedFiles, place, full)
        assert called(fresh()) == 0
    assert called(fresh()) == 0
    assert called(fresh()) == 1

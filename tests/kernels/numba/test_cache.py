"""Compilation, and machine code on the disk: whatever happens to it, a function computes, and is kept again."""

from __future__ import annotations

import errno
import importlib.util
import os
import pickle
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import FrameType
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


# interrupts ----------------------------------------------------------------------------------------------------------


def interrupted_in(name: str, run: Callable[[], object]) -> None:
    """``run()`` with an interrupt at the first call of a function of that name."""
    sent: list[str] = []

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == name and not sent:
            sent.append(name)
            signal.raise_signal(signal.SIGINT)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
        assert sent


@pytest.mark.parametrize(
    "moment", ["_raw_object_cache_notify", "_compile_for_args", "finalize_object", "serialize_using_object_code"]
)
def test_an_interrupt_while_a_function_is_compiled_is_not_lost(fresh: Callable[[], Any], moment: str) -> None:
    handler, function = signal.getsignal(signal.SIGINT), fresh()
    with pytest.raises(KeyboardInterrupt):
        interrupted_in(moment, lambda: called(function))
    assert signal.getsignal(signal.SIGINT) is handler
    called(function)


@pytest.mark.parametrize(("kind", "moment"), [(weakref.WeakKeyDictionary, "remove"), (weakref.WeakSet, "_remove")])
def test_an_interrupt_while_a_weak_table_drops_a_key_is_not_lost(kind: Any, moment: str) -> None:
    class Key:
        """What can be referred to weakly."""

    class Dispatcher:
        """What Numba makes of a function, but for the machine code."""

        done = False

        def _compile_for_args(self) -> None:
            key, table = Key(), kind()
            table.add(key) if kind is weakref.WeakSet else table.setdefault(key, 1)
            del key
            assert not len(table)
            self.done = True

    made: Any = jit.interruptible(Dispatcher())  # type: ignore[type-var]
    with pytest.raises(KeyboardInterrupt):
        interrupted_in(moment, made._compile_for_args)
    assert made.done


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_what_a_program_does_with_interrupts_it_does_while_one_compiles(fresh: Callable[[], Any], handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        interrupted_in("_raw_object_cache_notify", lambda: called(fresh()))
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_compiles_without_touching_handlers(fresh: Callable[[], Any]) -> None:
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(called(fresh())))
    other.start()
    other.join()
    assert found == [0]

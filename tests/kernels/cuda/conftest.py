"""What the tests of CUDA kernels share: an emulated GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import arrays
from tests.support.emulator import Emulator
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.cuda import layer


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An H200, as far as kernels can tell: the strict double of CuPy, with an emulator for compiler and device."""
    monkeypatch.setattr(dispatch, "_broken", {})
    monkeypatch.setattr(layer, "_given_up", {})
    with arrays.module("double"):
        emulator = Emulator()
        emulator.install(monkeypatch)
        yield emulator

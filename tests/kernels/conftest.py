"""What tests of kernels share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tinygrad_rnn.backend.cpu.threads import get_num_threads, set_num_threads
from tinygrad_rnn.kernels.recurrent import threads


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every piece of work is worth a second thread."""
    before = get_num_threads()
    monkeypatch.setattr(threads, "WORTHWHILE", 1)
    set_num_threads(2)
    yield
    set_num_threads(before)

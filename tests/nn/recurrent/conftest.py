"""Layers of these tests stay composed where ``impl`` is "auto": a test of machine code asks for it."""

from __future__ import annotations

import pytest

from tinygrad_rnn.nn.recurrent import compiled_steps


@pytest.fixture(autouse=True)
def no_machine_code_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compiled_steps.PATIENCE, "numba", float("inf"))

"""Laws that hold in this package and in PyTorch are tested in both: ``lib`` is each in turn."""

from __future__ import annotations

import importlib
from typing import Any

import pytest


@pytest.fixture(params=["tinygrad_rnn", "torch"])
def lib(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


@pytest.fixture
def checkpoint(lib: Any) -> Any:
    return importlib.import_module(lib.__name__ + ".utils.checkpoint").checkpoint

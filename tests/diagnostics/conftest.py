"""Layers of these tests run by NumPy's kernels, which need not be compiled; some ask for others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tinygrad_rnn as tg


@pytest.fixture(autouse=True)
def numpy_kernels() -> Iterator[None]:
    with tg.backends.recurrent.only("numpy"):
        yield

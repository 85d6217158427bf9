"""The array modules that tests run on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_rnn.backend.gpu import cupy_access


def no_gpu_reason() -> str | None:
    """Why tests marked ``gpu`` cannot run here; None if they can."""
    return cupy_access.unavailable_reason()


@contextmanager
def module(name: str) -> Iterator[Any]:
    """``numpy``, ``cupy``, or ``double``: the stand-in installed as cupy for as long as the block runs."""
    if name != "double":
        yield np if name == "numpy" else importlib.import_module("cupy")
        return
    from tests.support import fakecupy

    before = {key: sys.modules.get(key) for key in fakecupy.MODULES}
    reason = cupy_access.unavailable_reason
    fakecupy.install()
    cupy_access.unavailable_reason = lambda: None  # type: ignore[assignment]
    try:
        yield fakecupy
    finally:
        cupy_access.unavailable_reason = reason
        for key, value in before.items():
            if value is None:
                sys.modules.pop(key, None)
            else:
                sys.modules[key] = value

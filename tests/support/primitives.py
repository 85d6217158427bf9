"""The registry with everything in it that the package declares, and small helpers for tests that run over it."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tinygrad_rnn.autograd import extension
from tinygrad_rnn.tape.primitive import REGISTRY
from tinygrad_rnn.testing.sample_calls import SAMPLES

__all__ = ["CHECKED", "REGISTRY", "SAMPLED", "reached", "same"]

for _name in ("nn", "nn.functional", "optim", "autograd", "testing", "special"):
    importlib.import_module(f"tinygrad_rnn.{_name}")

PARTS = {"output"}  # not an operation: it marks the outputs of a fused one
CHECKED = sorted(name for name, p in REGISTRY.items() if name not in PARTS | extension._own and hasattr(p, "apply"))
"""Every primitive that the package declares and that can be applied; tests declare some of their own."""

SAMPLED = [name for name in CHECKED if name in SAMPLES and name != "move"]
"""Those of them with samples; moving between devices needs two of them."""


def reached(result: Any) -> tuple[Any, ...]:
    """One output or several, as a tuple."""
    return result if isinstance(result, tuple) else (result,)


def same(a: Any, b: Any) -> None:
    """Equal in shape, dtype and every bit that matters."""
    if a is None or b is None or not hasattr(a, "dtype"):
        assert a is b or a == b
        return
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)

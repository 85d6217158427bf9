"""A watch on global state: a test, or a row of a table, leaves it as it found it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.tape.modes import state

__all__ = ["left_as_found"]


@contextmanager
def left_as_found() -> Iterator[None]:
    """Raise AssertionError if what runs inside changed global state.

    The default generator is put back without asking.
    """
    random_state = tg.get_rng_state()
    before = _global_state()
    try:
        yield
    finally:
        after = _global_state()
        state.recording, state.watchers = True, ()
        tg.set_default_dtype(tg.float32)
        tg.set_rng_state(random_state)
    leaked = [f"{name}: {before[name]} -> {after[name]}" for name in before if before[name] != after[name]]
    assert not leaked, f"the test leaked global state: {'; '.join(leaked)}"


def _global_state() -> dict[str, Any]:
    return {
        "recording": tg.is_grad_enabled(),
        "watchers": state.watchers,
        "default dtype": tg.get_default_dtype(),
        "numpy's floating point errors": np.geterr(),
        "numpy's print options": {k: v for k, v in np.get_printoptions().items() if k != "override_repr"},
        "default device": tg.get_default_device(),
        "deterministic algorithms": tg.get_deterministic_debug_mode(),
        "module cupy": sys.modules.get("cupy"),
    }

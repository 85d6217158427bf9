"""What all tests share: array modules, and a watch on global state."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support import arrays, measured, profiles
from tinygrad_rnn.tape.modes import defaults, state

defaults.warned_of_float = True  # it comes once in a process: a test of it switches it on again


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``thorough`` are left out unless they are asked for; those marked ``gpu`` need one."""
    if not profiles.THOROUGH and "thorough" not in (config.option.markexpr or ""):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("thorough")])
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
    no_gpu = arrays.no_gpu_reason() if any(item.get_closest_marker("gpu") for item in items) else None
    for item in items:
        if item.get_closest_marker("gpu") and no_gpu:
            item.add_marker(pytest.mark.skip(reason=no_gpu))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    measured.show(terminalreporter)


@pytest.fixture(params=["numpy", "double", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An array module: numpy, a strict double of cupy that runs anywhere, and cupy itself."""
    with arrays.module(request.param) as found:
        yield found


@pytest.fixture(params=["double", pytest.param("cupy", marks=pytest.mark.gpu)])
def device_xp(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An array module of device arrays: the strict double, and cupy itself."""
    with arrays.module(request.param) as found:
        yield found


@pytest.fixture
def double() -> Iterator[Any]:
    """The strict double of cupy: refuses what cupy refuses, and counts transfers to the host."""
    with arrays.module("double") as found:
        yield found


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """A test leaves global state as it found it; the default generator is put back without asking."""
    random_state = tg.get_rng_state()
    before = _global_state()
    yield
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

"""What all tests share: array modules, and a watch on global state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support import arrays, measured, profiles, rows, state
from tinygrad_rnn.backend.random.generator import fork_rng
from tinygrad_rnn.tape.modes import defaults

defaults.warned_of_float = True  # it comes once in a process: a test of it switches it on again


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``thorough`` are left out unless they are asked for; those marked ``gpu`` need one."""
    if not profiles.THOROUGH and "thorough" not in (config.option.markexpr or ""):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("thorough")])
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
    no_gpu = arrays.no_gpu_reason() if any(item.get_closest_marker("gpu") for item in items) else None
    for item in items:
        if item.get_closest_marker("gpu") and no_gpu:
            table = item.callspec.params.get("rows", ()) if hasattr(item, "callspec") else ()
            item.add_marker(pytest.mark.skip(reason=rows.counted(table, no_gpu)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    measured.show(terminalreporter)
    rows.show(terminalreporter)


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


@pytest.fixture(scope="session")
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The cache of compiled cells: not the user's, and one for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    return str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache")


@pytest.fixture(autouse=True)
def no_users_cache(cache_of_tests: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that tests generate go to a folder of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", cache_of_tests)


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """A test leaves global state as it found it."""
    with state.left_as_found():
        yield


@pytest.fixture(autouse=True)
def same_numbers_each_time() -> Iterator[None]:
    """A test draws the same numbers alone and among others, whichever process runs it after whichever tests."""
    legacy = np.random.get_state()
    with fork_rng():
        tg.manual_seed(0)
        np.random.seed(0)
        yield
    np.random.set_state(legacy)

"""Kernels that these tests generate go to a folder of their own, not to the user's cache."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def no_users_cache(cache_of_tests: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", cache_of_tests)

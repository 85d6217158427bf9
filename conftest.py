"""What every run of pytest shares, of the tests and of the examples in docstrings: hypothesis' profile, the heap."""

import gc
from collections.abc import Generator

import pytest

from tests.support import profiles

profiles.load()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave what collecting the tests makes, some million objects, out of every garbage collection."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()

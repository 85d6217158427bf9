"""What every run of pytest shares, of the tests and of the examples in docstrings: hypothesis' profile, the heap."""

import gc

from tests.support import profiles

profiles.load()


def pytest_collection_finish() -> None:
    """Leave out of every later garbage collection what collecting the tests made: some million objects."""
    gc.collect()
    gc.freeze()

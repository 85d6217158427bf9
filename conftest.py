"""Hypothesis' profile for every run of pytest: of the tests, and of the examples in docstrings."""

from tests.support import profiles

profiles.load()

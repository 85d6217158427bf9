"""A part of the tests, so that several processes can share them: ``-p tests.support.shard`` with ``SHARD=2/8``."""

from __future__ import annotations

import os

import pytest

__all__ = ["part"]

FIRST = ("kernels/cuda", "one_kernel", "train/test_device", "tests/cuda")
"""Where a GPU is likeliest to find something."""


def part(names: list[str], which: str) -> list[int]:
    """The numbers of the tests in part ``"k/n"`` (k from 1), those that matter most first."""
    k, n = map(int, which.split("/"))
    order = sorted(range(len(names)), key=lambda i: not any(word in names[i] for word in FIRST))
    return order[k - 1 :: n]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    chosen = [item for item in items if item.get_closest_marker("gpu")]
    items[:] = [chosen[i] for i in part([item.nodeid for item in chosen], os.environ.get("SHARD", "1/1"))]

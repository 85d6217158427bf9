"""A pytest plugin that adds a readable report to failures of gradcheck.

Where the package is installed pytest loads it (entry point ``pytest11``); ``-p no:tinygrad_rnn`` disables it.  Below
the traceback, which stops at the user's own line, it shows the worst entry, the slopes beside it, the suspect
operation, and a map of the Jacobian with the wrong entries marked.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from ..autograd.diagnosis import GradcheckError, Mismatch

__all__ = ["picture", "pytest_runtest_makereport"]

LARGEST = (40, 100)
"""Jacobians with more rows or columns are not drawn."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Add a section to the report of a test that failed in gradcheck."""
    report = yield
    if call.excinfo is not None:
        for error in _failures(call.excinfo.value):
            # Reading it runs the diagnosis: here, once for a failing test, and not for each example that hypothesis
            # tried.
            if error.mismatch is not None:
                report.sections.append(("gradcheck", f"{error.mismatch}\n{picture(error.mismatch)}"))
    return report


def _failures(error: BaseException | None) -> Iterator[GradcheckError]:
    """The gradcheck failures behind an exception: itself, its causes, the members of a group."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:  # chains of causes may be circular
            continue
        seen.add(id(found))
        if isinstance(found, GradcheckError):
            yield found
        # Exception groups have ``exceptions``; __context__ is followed because tests wrap failures without "from".
        waiting += [found.__cause__, found.__context__, *getattr(found, "exceptions", ())]


def picture(mismatch: Mismatch) -> str:
    """The Jacobian as a map: a row for each input entry, a column for each output entry.

    ``.`` is right, ``x`` wrong, ``0`` a gradient that is missing, ``-`` one with the wrong sign.
    """
    a, n, wrong = mismatch.analytical_jacobian, mismatch.numerical_jacobian, mismatch.wrong_entries
    if a.shape[0] > LARGEST[0] or a.shape[1] > LARGEST[1]:
        return f"(a Jacobian of {a.shape[0]} by {a.shape[1]} is too large to draw)"
    rows = []
    for row in range(a.shape[0]):
        marks = []
        for column in range(a.shape[1]):
            if not wrong[row, column]:
                marks.append(".")
            elif a[row, column] == 0:
                marks.append("0")
            elif abs(a[row, column] + n[row, column]) <= 1e-3 * abs(n[row, column]):
                marks.append("-")
            else:
                marks.append("x")
        rows.append("    " + "".join(marks))
    return "\n".join(["input entries (down) by output entries: . right, x wrong, 0 missing, - wrong sign", *rows])

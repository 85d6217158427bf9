"""Which dtype a result has, for each dtype of the input and each ``dtype=``: PyTorch's, in one table.

A line of ``dtype_results.txt`` is ``expression => result of each case``.  The cases of an expression of ``x`` are the
dtypes of ``x`` (``DTYPES``); those of ``d`` are no dtype and then each of them.  An expression of both has a line for
each ``x``, which is named before it.  In place of a dtype:

    -   refused, as in PyTorch
    +   answered, though PyTorch refuses
    ~   refused, though PyTorch answers: complex leaves, complex random numbers
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tests.support.rows import together
from tinygrad_rnn import errors

TABLE = Path(__file__).with_name("dtype_results.txt")
ROWS = [row.split(" => ") for row in TABLE.read_text(encoding="utf-8").splitlines()]
DTYPES = "bool uint8 int8 int16 int32 int64 float16 float32 float64 complex64 complex128".split()
rows = pytest.mark.parametrize(("expression", "expected"), ROWS, ids=[row[0] for row in ROWS])


def results(t: Any, row: str, refusals: type[Exception] | tuple[type[Exception], ...]) -> list[str]:
    """What stands in the table, with "-" for each refusal."""
    of, _, expression = row.rpartition(": ")
    wanted = re.search(r"\bd\b", expression) is not None
    cases = [(of, d) for d in [None, *DTYPES]] if wanted else [(x, None) for x in DTYPES]
    return [result(t, expression, x, d, refusals) for x, d in cases]


def result(t: Any, expression: str, x: str, d: str | None, refusals: Any) -> str:
    names: dict[str, Any] = {"t": t, "d": d and getattr(t, d)}
    if x:
        names["x"] = t.tensor([[1, 0, 1], [1, 1, 0]]).to(getattr(t, x))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = eval(expression, names)
    except refusals:
        return "-"
    if isinstance(found, tuple):
        return ",".join([str(y.dtype).removeprefix("torch.") for y in found])
    return str(found.dtype).removeprefix("torch.") if hasattr(found, "dtype") else type(found).__name__


@together
@rows
def test_results_have_these_dtypes(expression: str, expected: str) -> None:
    found = results(tg, expression, errors.TinygradRnnError)
    marks = expected.split(" ")
    assert [f if mark != "+" or f == "-" else "+" for f, mark in zip(found, marks, strict=True)] == [
        mark if mark != "~" else "-" for mark in marks
    ]


@together
@rows
def test_pytorchs_have_them(expression: str, expected: str) -> None:
    torch = pytest.importorskip("torch")
    found = results(torch, expression, Exception)
    marks = expected.split(" ")
    assert [f if mark != "~" or f == "-" else "~" for f, mark in zip(found, marks, strict=True)] == [
        mark if mark != "+" else "-" for mark in marks
    ]

"""What operations give, in one table that needs no other library; where PyTorch is installed, it gives the same.

One expression in a line of ``results.txt``, and how its result prints.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn  # noqa: F401

TABLE = Path(__file__).with_name("results.txt")
ROWS = [row.split(" => ", 1) for row in TABLE.read_text(encoding="utf-8").splitlines()]
rows = pytest.mark.parametrize(("expression", "expected"), ROWS, ids=[row[0] for row in ROWS])


def printed(t: Any, expression: str) -> str:
    def put(x: Any, index: Any, value: Any) -> Any:
        x[index] = value
        return x

    def grad(f: Any, values: list[float]) -> Any:
        """The gradient of the sum, in double precision."""
        x = t.tensor(values, dtype=t.float64, requires_grad=True)
        f(x).sum().backward()
        return x.grad

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eval(expression, {"t": t, "put": put, "grad": grad})  # noqa: S307
    return re.sub(r"\s+", " ", repr(result))


@rows
def test_the_result_prints_so(expression: str, expected: str) -> None:
    assert printed(tg, expression) == expected


@rows
def test_pytorchs_prints_so(expression: str, expected: str) -> None:
    torch = pytest.importorskip("torch")
    assert printed(torch, expression) == expected


def test_a_name_of_a_dtype_is_one_and_no_device() -> None:
    """PyTorch knows no names of dtypes."""
    assert tg.ones(2).to("float64").dtype == tg.float64
    assert tg.ones(2, dtype=tg.float64).to("int64").dtype == tg.int64


ARRAY = np.array([2.0, np.nan, -1.0])


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (tg.isnan, [False, True, False]), (tg.isfinite, [True, False, True]), (tg.signbit, [False, False, True]),
        (lambda a: tg.isclose(a, a), [True, False, True]), (lambda a: tg.lt(a, 1), [False, False, True]),
        (lambda a: tg.argmax(a[[0, 2]]), 0), (lambda a: tg.all(a > 0), False),
        (lambda a: tg.where(a > 0, a, 0), [2, 0, 0]), (lambda a: tg.count_nonzero(a), 3),
        (lambda a: tg.sort(a[[0, 2]])[1], [1, 0]), (lambda a: tg.argwhere(a > 1), [[0]]),
    ],
)  # fmt: skip
def test_questions_about_raw_arrays_are_answered_with_numbers(f: Any, expected: Any) -> None:
    assert np.asarray(f(ARRAY)).tolist() == expected
    found = f(tg.tensor(ARRAY))
    assert isinstance(found, tg.Tensor) and found.tolist() == expected


def test_a_product_of_two_operands_is_one_record() -> None:
    a, b = tg.ones(2, 3, requires_grad=True), tg.ones(3, 4)
    for product, name in ((tg.einsum("ij,jk->ki", a, b), "Contract"), (tg.tensordot(a, b, 1), "Contract")):
        assert product.grad_fn.name() == f"{name}Backward0"
        assert product.grad_fn.next_functions[0][0].name() == "AccumulateGrad"


def test_the_gradient_of_a_long_bias_and_of_other_dtypes_is_summed_over_rows() -> None:
    """They take the plain sum, not the fast product."""
    for dtype, rows in ((tg.float16, 3), (tg.float64, 1 << 16), (tg.float32, 5)):
        bias = tg.zeros(2, dtype=dtype, requires_grad=True)
        (tg.ones(rows, 2, dtype=dtype) + bias).sum().backward()
        assert bias.grad.dtype == dtype and bias.grad.tolist() == [rows, rows]

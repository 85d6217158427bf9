"""What is said where arguments of an operation do not fit: PyTorch's sentence, which operation, and what it got."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import DeviceError, DtypeError, ShapeRuntimeError
from tinygrad_rnn.ops.dtypes import promote
from tinygrad_rnn.tape.apply import primitive
from tinygrad_rnn.tape.modes import quietly
from tinygrad_rnn.tape.primitive import REGISTRY


@pytest.mark.parametrize(
    ("left", "right", "sizes", "axis"),
    [
        ((2, 3), (2, 4), (3, 4), 1),
        ((2, 1, 3), (4, 1, 3), (2, 4), 0),
        ((3,), (2, 4), (3, 4), 1),
        ((5, 2, 3), (4, 3), (2, 4), 1),
        ((4, 3), (5, 2, 3), (4, 2), 1),
        ((1, 0), (3, 2), (0, 2), 1),
    ],
)
def test_shapes_that_do_not_broadcast_are_named_with_the_last_axis_that_differs(
    left: Any, right: Any, sizes: tuple[int, int], axis: int
) -> None:
    a, b = tg.zeros(*left), tg.zeros(*right)
    expected = (
        f"The size of tensor a ({sizes[0]}) must match the size of tensor b ({sizes[1]}) at non-singleton dimension "
        f"{axis}. %s(): shapes {list(left)} and {list(right)} do not broadcast"
    )
    for name, call in (("add", lambda: a + b), ("mul", lambda: a * b), ("where", lambda: tg.where(a > 0, 1.0, b))):
        with pytest.raises(ShapeRuntimeError) as caught:
            call()
        assert str(caught.value) == expected % name
        assert isinstance(caught.value.__cause__, ValueError)


def test_of_three_arguments_the_first_two_that_do_not_fit_are_named() -> None:
    with pytest.raises(ShapeRuntimeError, match=r"tensor a \(3\) .* tensor b \(4\) .*: shapes \[2, 3\] and \[4\] do"):
        tg.where(tg.zeros(2, 1) > 0, tg.zeros(2, 3), tg.zeros(4))


def test_types_that_an_operation_has_no_meaning_for_are_named() -> None:
    x = tg.ones(2)
    for call, sentence in (
        (lambda: x.bitwise_and(x), "bitwise_and() is not implemented for float32, float32: "),
        (lambda: tg.bitwise_and(x, 1.5), "bitwise_and() is not implemented for float32, float: "),
        (lambda: ~x, "bitwise_not() is not implemented for float32: "),
        (lambda: -(x > 0), "neg() is not implemented for bool: "),
    ):
        with pytest.raises(DtypeError) as caught:
            call()
        assert str(caught.value).startswith(sentence) and isinstance(caught.value.__cause__, TypeError)


def failing(error: Exception) -> Any:
    def forward(*arrays: Any) -> Any:
        raise error

    return forward


@pytest.mark.parametrize("error", [ValueError("another"), AttributeError("broadcast"), ZeroDivisionError("broadcast")])
def test_an_error_that_says_something_else_stays_as_it_is(error: Exception) -> None:
    x, y = tg.ones(2), tg.ones(3)
    two = primitive("failing_two", failing(error), (None, None), promote=promote)
    many = primitive("failing_many", failing(error), (None, None), ("", ""))
    one = primitive("failing_one", failing(error), lambda g, y, a: g)
    try:
        for call in (lambda: two(x, y), lambda: many(x, y), lambda: one(x)):
            with pytest.raises(type(error)) as caught:
                call()
            assert caught.value is error
    finally:
        for name in ("failing_one", "failing_two", "failing_many"):
            del REGISTRY[name]


@pytest.mark.parametrize("form", ["of one", "of two", "of any"])
def test_a_function_that_fails_with_an_error_of_its_own_is_not_run_again(form: str) -> None:
    runs: list[int] = []

    def forward(*arrays: Any) -> Any:
        runs.append(1)
        raise RuntimeError("of its own")

    x = tg.ones(2)
    if form == "of one":
        f = primitive("failing", forward, lambda g, y, a: g)
    else:
        f = primitive("failing", forward, (None, None), promote=promote if form == "of two" else None)
    try:
        with pytest.raises(RuntimeError, match="^of its own$"):
            f(*([x] if form == "of one" else [x, x]))
    finally:
        del REGISTRY["failing"]
    assert runs == [1]
    with pytest.raises(RuntimeError, match="^of its own$"):
        quietly(forward, x)
    assert runs == [1, 1]


def test_quiet_within_quiet_gives_the_result_and_no_warning() -> None:
    assert quietly(quietly, quietly, np.divide, 1.0, np.zeros(1)) == np.inf


def test_arrays_of_two_devices_are_told_apart(double: Any) -> None:
    here, there = tg.tensor(np.ones(2)), tg.as_tensor(double.asarray([1.0, 2.0]))
    for call in (lambda: here + there, lambda: there * here, lambda: tg.cat([here, there])):
        with pytest.raises(DeviceError, match="found at least two devices, cuda:0 and cpu!"):
            call()
    assert (there * 2.0 + np.float64(1.0)).is_cuda

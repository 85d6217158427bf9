"""Result types are PyTorch's, for every mixture of types, of tensors with axes, 0-d tensors and Python numbers."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.rows import together

torch: Any = pytest.importorskip("torch")

TYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]

UNARY = """abs neg exp log tanh sigmoid sqrt square sign relu reciprocal rsqrt sin cos tan asin acos atan sinh
cosh asinh acosh atanh exp2 expm1 log1p log2 log10 floor ceil round trunc frac isnan isfinite isinf
logical_not bitwise_not clone positive sum prod amax argmax mean var cumsum_0 cumprod_0 softmax_0
logsumexp_0 norm all any sort median_0 cummax_0 flip_0 tril_ unique nonzero zeros_like ones_like
count_nonzero signbit isposinf""".split()

BINARY = {
    "add": lambda t, x, y: x + y,
    "sub": lambda t, x, y: x - y,
    "mul": lambda t, x, y: x * y,
    "div": lambda t, x, y: x / y,
    "pow": lambda t, x, y: x**y,
    "floordiv": lambda t, x, y: x // y,
    "mod": lambda t, x, y: x % y,
    "fmod": lambda t, x, y: t.fmod(x, y),
    "trunc div": lambda t, x, y: t.div(x, y, rounding_mode="trunc"),
    "and": lambda t, x, y: x & y,
    "xor": lambda t, x, y: x ^ y,
    "shift": lambda t, x, y: x << y,
    "eq": lambda t, x, y: x == y,
    "lt": lambda t, x, y: x < y,
    "ge": lambda t, x, y: x >= y,
    "where": lambda t, x, y: t.where(t.tensor([True, False, True]), x, y),
    "clamp": lambda t, x, y: t.clamp(x, min=y),
    "logical_or": lambda t, x, y: t.logical_or(x, t.tensor(y) if isinstance(y, (bool, int, float)) else y),
}
TENSORS_ONLY = {
    "maximum": lambda t, x, y: t.maximum(x, y),
    "atan2": lambda t, x, y: t.atan2(x, y),
    "cat": lambda t, x, y: t.cat([x.reshape(-1), y.reshape(-1)]),
    "stack": lambda t, x, y: t.stack([x.expand(3), y.expand(3)]),
    "masked_fill": lambda t, x, y: x.masked_fill(t.tensor([True, False, True]), y.reshape(-1)[0]),
    "result_type": lambda t, x, y: t.zeros(1, dtype=t.result_type(x, y)),
    "promote_types": lambda t, x, y: t.zeros(1, dtype=t.promote_types(x.dtype, y.dtype)),
}


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def attempt(f: Callable[..., Any], *args: Any) -> Any:
    try:
        with quiet():
            return f(*args)
    except Exception as error:
        return error


def apply(t: Any, name: str, x: Any) -> Any:
    function, _, dim = name.partition("_")
    if dim == "0":
        return getattr(t, function)(x, 0) if function != "flip" else x.flip(0)
    return x.reshape(1, 3).tril() if name == "tril_" else getattr(t, name)(x)


def leaves(result: Any) -> list[Any]:
    return [leaf for item in result for leaf in leaves(item)] if isinstance(result, tuple) else [result]


def compare(ours: Any, theirs: Any, what: str) -> None:
    """Where PyTorch gives a result we give the same one; where it refuses we may do more."""
    if isinstance(theirs, Exception):
        return
    assert not isinstance(ours, Exception), f"{what}: PyTorch gives {theirs}, we raise {ours!r}"
    for got, expected in zip(leaves(ours), leaves(theirs), strict=True):
        assert str(got.dtype) == str(expected.dtype), f"{what}: {got} and PyTorch's {expected}"
        tolerance = {"float16": 4e-3, "float32": 1e-6, "float64": 1e-14}.get(got.dtype.name, 0)
        a, b = got.numpy().astype(np.float64), expected.numpy().astype(np.float64)
        np.testing.assert_allclose(a, b, tolerance, tolerance, err_msg=what)


def numbers(dtype: str) -> np.ndarray:
    return np.array([0, 1, 1] if dtype == "bool" else [3, 1, 2]).astype(dtype)


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_every_type(name: str) -> None:
    for dtype in TYPES:
        x = numbers(dtype) / 4 if name in ("asin", "acos", "atanh") and dtype.startswith("f") else numbers(dtype)
        if name == "atanh" and not dtype.startswith("f"):
            x = x * 0
        x = x.astype(dtype)
        ours, theirs = (attempt(apply, t, name, t.tensor(x)) for t in (tg, torch))
        compare(ours, theirs, f"{name} of {dtype}")


@pytest.mark.parametrize("name", [*BINARY, *TENSORS_ONLY])
def test_mixtures_of_every_two_types(name: str) -> None:
    f = (BINARY | TENSORS_ONLY)[name]
    for one, two in itertools.product(TYPES, TYPES):
        for first, second in [((3,), (3,)), ((3,), ()), ((), (3,)), ((), ())]:
            x, y = (numbers(d)[1:2].reshape(()) if s == () else numbers(d) for d, s in ((one, first), (two, second)))
            y = np.maximum(y, 1).astype(two) if name in ("div", "floordiv", "mod", "fmod", "trunc div") else y
            ours, theirs = (attempt(f, t, t.tensor(x), t.tensor(y)) for t in (tg, torch))
            compare(ours, theirs, f"{name} of {one}{list(first)} and {two}{list(second)}")


@pytest.mark.parametrize("name", BINARY)
def test_mixtures_with_python_numbers(name: str) -> None:
    f = BINARY[name]
    for dtype, number, shape in itertools.product(TYPES, [True, 2, 2.5, np.float64(2.5)], [(3,), ()]):
        x = numbers(dtype) if shape else numbers(dtype)[1:2].reshape(())
        for swapped in (False, True):
            if swapped and name in ("fmod", "trunc div", "clamp", "logical_or"):
                continue
            theirs_number = number.item() if swapped and isinstance(number, np.float64) else number  # NumPy's, there
            ours, theirs = (
                attempt(f, t, *((given, t.tensor(x)) if swapped else (t.tensor(x), given)))
                for t, given in ((tg, number), (torch, theirs_number))
            )
            compare(ours, theirs, f"{name} of {dtype}{list(shape)} and {number!r}, swapped: {swapped}")


@pytest.mark.parametrize("values", [3, 2.5, True, [1, 2], [1, 2.5], [True, 1], [True, False], [], [[]], [[1], [2]]])
def test_values_get_pytorchs_types(values: Any) -> None:
    compare(tg.tensor(values), torch.tensor(values), f"tensor({values})")


@pytest.mark.parametrize("values", [np.float64(1), [np.float64(1)], [np.float32(1)], np.ones(2, np.int8)])
def test_numpy_values_keep_their_types(values: Any) -> None:
    compare(tg.tensor(values), torch.tensor(values), f"tensor({values})")


CREATED = """zeros(2, 3)|ones((2,))|full((2,), 1)|full((2,), 1.5)|full((2,), True)|full((), 3)|arange(5)
arange(1, 2.5, 0.5)|arange(0, 1, 0.1)|arange(5, 0, -2)|arange(3, dtype=t.float64)|linspace(0, 1, 5)
linspace(0, 1, 1)|linspace(0, 1, 0)|eye(2, 3)|eye(2)|logspace(0, 2, 3)|zeros(0)|zeros(())
tril_indices(3, 4, 1)|triu_indices(3, 4)|full_like(t.tensor([1, 2]), 1.5)
zeros_like(t.tensor([1]), dtype=t.float32)|tensor([1, 2]).new_zeros(2)|tensor([1]).new_tensor([1.5])
tensor([1]).new_full((2,), 7)|tensor([1, 2], dtype=t.bool)|tensor(1.5, dtype=t.int32)
arange(3).new_ones((1, 2))|as_tensor([1, 2])|asarray([1.5])|linspace(0, 10, 5, dtype=t.int64)|arange(2.0)
arange(t.tensor(3))|tensor([1., 2.]).to(t.float16)|tensor([1.7]).long()|tensor([0.5]).bool()
tensor([300]).byte()|tensor([1]).type(t.float32)|tensor([1]).type('torch.DoubleTensor')|tensor([1]).half()
tensor([1]).to(t.ones(1))|tensor([1.5]).int()|tensor([1, 2]).view(t.int32)
tensor([1]).type_as(t.ones(1, dtype=t.float64))"""


@together
@pytest.mark.parametrize("expression", CREATED.replace("\n", "|").split("|"))
def test_created_tensors_are_pytorchs(expression: str) -> None:
    compare(*[eval(f"t.{expression}", {"t": t}) for t in (tg, torch)], expression)


def test_the_default_type_is_that_of_floats_and_of_functions_of_integers() -> None:
    tg.set_default_dtype(tg.float64)
    torch.set_default_dtype(torch.float64)
    try:
        for expression in ["tensor(1.)", "zeros(1)", "exp(t.tensor([1]))", "tensor([1]) / 2", "tensor([1]) * 2.5"]:
            compare(*[eval(f"t.{expression}", {"t": t}) for t in (tg, torch)], expression)
        assert repr(tg.tensor([1.0])) == repr(torch.tensor([1.0]))
    finally:
        tg.set_default_dtype(tg.float32)
        torch.set_default_dtype(torch.float32)

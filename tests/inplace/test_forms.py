"""Every in-place form has the values and the gradients of the operation that it is named after."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.rows import together
from tinygrad_rnn.ops.inplace import FORMS, OPERATORS, RESHAPING

rng = np.random.default_rng(5)
X = rng.uniform(0.1, 0.9, (4, 3))
OTHER, THIRD = rng.uniform(0.1, 0.9, (4, 3)), rng.uniform(0.1, 0.9, 3)
MASK = rng.uniform(size=(4, 3)) < 0.5
BITS = "bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor gcd lcm".split()

TWO = """
add atan2 arctan2 copysign div divide eq float_power floor_divide fmod ge greater greater_equal gt hypot le less
less_equal logical_and logical_or logical_xor lt mul multiply ne not_equal pow remainder sub subtract true_divide xlogy
""".split()

# What a form is applied to besides the tensor: tensors that require grad come first.
ARGUMENTS: dict[str, tuple[list[Any], list[Any]]] = {
    **{name: ([OTHER], []) for name in TWO},
    "addbmm": ([rng.uniform(size=(2, 4, 2)), rng.uniform(size=(2, 2, 3))], []),
    "addcdiv": ([OTHER, THIRD], []),
    "addcmul": ([OTHER, THIRD], []),
    "addmm": ([rng.uniform(size=(4, 2)), rng.uniform(size=(2, 3))], []),
    "addr": ([rng.uniform(size=4), THIRD], []),
    "clamp": ([], [0.3, 0.6]),
    "clip": ([], [0.3, 0.6]),
    "clamp_max": ([], [0.6]),
    "clamp_min": ([], [0.3]),
    "cumprod": ([], [0]),
    "cumsum": ([], [0]),
    "index_add": ([OTHER[:2]], [0, np.array([1, 1])]),
    "index_copy": ([OTHER[:2]], [0, np.array([3, 1])]),
    "index_fill": ([], [0, np.array([2]), 1.5]),
    "index_put": ([OTHER[:2]], [(tg.tensor([3, 1]),)]),
    "lerp": ([OTHER], [0.3]),
    "masked_fill": ([], [MASK, 1.5]),
    "masked_scatter": ([OTHER], [MASK]),
    "scatter": ([OTHER[:2]], [0, np.array([[1, 2, 0], [3, 0, 2]])]),
    "scatter_add": ([OTHER[:2]], [0, np.array([[1, 1, 0], [1, 0, 2]])]),
}
LAST = {
    "index_add",
    "index_copy",
    "index_put",
    "masked_scatter",
    "scatter",
    "scatter_add",
}  # the tensor comes after the rest
ELSEWHERE = {"addmv", "baddbmm"}  # of vectors, of three axes

HAVE = [name for name in FORMS if hasattr(tg.Tensor, name)]


def as_tensor(value: Any) -> Any:
    return tg.tensor(value) if isinstance(value, np.ndarray) else value


def outcome(name: str, method: str, start: Any) -> list[Any]:
    tensors, rest = ARGUMENTS.get(name, ([], []))
    x = tg.tensor(start, requires_grad=True)
    given = [tg.tensor(value, requires_grad=True) for value in tensors]
    others = [as_tensor(value) for value in rest]
    memory = tg.zeros(4, 5, dtype=tg.float64) + 0.5
    memory[:, 1:4] = x
    target = memory[:, 1:4]
    y = getattr(target, method)(*others, *given) if name in LAST else getattr(target, method)(*given, *others)
    if method.endswith("_"):
        assert y is target and y.dtype == tg.float64
        y = memory[:, 1:4]
    weights = tg.tensor(np.cos(np.arange(12.0)).reshape(4, 3))
    found = tg.autograd.grad((y.double() * weights).sum() + x.sum(), [x, *given], allow_unused=True)
    zeros = [np.zeros(t.shape) for t in (x, *given)]
    return [y.detach().double().numpy(), *[z if g is None else g.numpy() for z, g in zip(zeros, found, strict=True)]]


@together
@pytest.mark.parametrize("name", [name for name in HAVE if name not in BITS and name not in ELSEWHERE])
def test_an_in_place_form_is_its_operation_and_a_write(name: str) -> None:
    start = X + 1 if name in ("acosh", "arccosh") else X
    plain, written = outcome(name, name, start), outcome(name, f"{name}_", start)
    for a, b in zip(plain, written, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", [name for name in HAVE if name in BITS])
def test_an_in_place_form_on_bits(name: str) -> None:
    x, other = tg.tensor([5, 3, 12]), tg.tensor([1, 2, 1])
    arguments = () if name == "bitwise_not" else (other,)
    expected = getattr(x, name)(*arguments)
    same = getattr(x, f"{name}_")(*arguments)
    assert same is x and x.tolist() == expected.tolist() and x.dtype == tg.int64


def test_in_place_forms_of_products() -> None:
    v, m, b, p = tg.ones(2), tg.ones(2, 3), tg.ones(2, 2, 2), tg.ones(2, 2, 3)
    assert v.addmv_(m, tg.ones(3)).tolist() == [4, 4]
    assert b.baddbmm_(p, p.transpose(1, 2)).tolist() == [[[4, 4], [4, 4]]] * 2


@pytest.mark.parametrize("name", [name for name in OPERATORS if hasattr(tg.Tensor, f"__i{name}__")])
def test_augmented_assignment_is_its_operator_and_a_write(name: str) -> None:
    whole = name in ("and", "or", "xor", "lshift", "rshift")
    x = tg.tensor([5, 3, 12]) if whole else tg.tensor([5.0, 3.0, 12.0])
    other = 2 if whole else tg.tensor([2.0, 4.0, 0.5])
    expected = getattr(x, f"__{name}__")(other)
    same = getattr(x, f"__i{name}__")(other)
    assert same is x and x.tolist() == expected.tolist()


@pytest.mark.parametrize("name", RESHAPING)
def test_shape_changing_forms(name: str) -> None:
    arguments = {"squeeze": (), "t": (), "unsqueeze": (1,)}.get(name, (0, 1))
    x = tg.tensor(X[:1])
    expected = getattr(x, name)(*arguments)
    assert getattr(x, f"{name}_")(*arguments) is x
    assert x.shape == expected.shape and x.numpy().tolist() == expected.numpy().tolist()
    with tg.no_grad():
        w = tg.tensor(X[:1], requires_grad=True)
        getattr(w, f"{name}_")(*arguments)
    assert w.is_leaf and w.shape == expected.shape
    w.sum().backward()
    assert w.grad.shape == expected.shape


def test_the_forms_that_pytorch_has_are_there() -> None:
    names = "abs add ceil clamp clip cos div exp floor index_add log masked_fill masked_scatter mul neg pow reciprocal"
    names += " relu round rsqrt scatter sigmoid sign sin sqrt square sub tan tanh tril triu trunc copy fill zero normal"
    for name in names.split():
        assert hasattr(tg.Tensor, f"{name}_"), name

"""Primitives of one's own are like the package's: recorded, differentiated to every order, and checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.autograd import extension, primitive
from tinygrad_rnn.ops import sum_to
from tinygrad_rnn.tape.primitive import REGISTRY


@pytest.fixture(autouse=True)
def registry_is_put_back() -> Iterator[None]:
    before, own = dict(REGISTRY), set(extension._own)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)
    extension._own.clear()
    extension._own.update(own)


def product() -> Any:
    @primitive(lambda g, y, a, b: sum_to(g * b, a.shape), lambda g, y, a, b: sum_to(g * a, b.shape), saves=("b", "a"))
    def times(a: Any, b: Any) -> Any:
        """The product."""
        return np.multiply(a, b)

    return times


def leaves(*values: Any) -> Any:
    return [tg.tensor(v, dtype=tg.float64, requires_grad=True) for v in values]


def test_it_is_recorded_and_has_every_order() -> None:
    times = product()
    a, b = leaves([2.0, 3.0], [5.0, 7.0])
    y = times(times(a, b), a)  # a^2 b
    assert y.grad_fn.name() == "TimesBackward0" and times.__doc__ == "The product."
    assert tg.autograd.gradcheck(times, (a, b)) and tg.autograd.gradgradcheck(times, (a, b))
    (first,) = tg.autograd.grad(y.sum(), a, create_graph=True)
    (second,) = tg.autograd.grad(first.sum(), a)
    assert first.tolist() == [20.0, 42.0] and second.tolist() == [10.0, 14.0]


def test_it_may_have_a_formula() -> None:
    formula = tg.autograd.Formula(r"\sin(a)", a=r"\bar{y} \odot \cos(a)")

    @primitive(lambda g, y, a: g * tg.cos(a), saves=("a",), formula=formula)
    def sine(a: Any) -> Any:
        return np.sin(a)

    record = sine(tg.ones(1, requires_grad=True))._node
    assert record.primitive.formula is formula and str(formula).startswith(r"y = \sin(a)")
    assert product() and REGISTRY["times"].formula is None


def test_on_raw_arrays_it_just_computes() -> None:
    assert type(product()(np.ones(2), np.ones(2))) is np.ndarray


def test_broadcasting_is_summed_by_the_vjp() -> None:
    times = product()
    a, b = leaves([[2.0], [3.0]], [5.0, 7.0])
    times(a, b).sum().backward()
    assert a.grad.tolist() == [[12.0], [12.0]] and b.grad.tolist() == [5.0, 5.0]


def test_only_what_is_declared_is_saved() -> None:
    times = product()
    (a,) = leaves([2.0, 3.0])
    b = tg.tensor([5.0, 7.0], dtype=tg.float64)
    node = times(a, b).grad_fn
    assert node.args[0] is node.parents[0] and node.args[1] is b._data and node.ans is None


def test_without_a_declaration_everything_is_saved() -> None:
    @primitive(lambda g, y, a, b: g * y / a, None)
    def power(a: Any, b: Any) -> Any:
        return a * b

    (a,) = leaves(3.0)
    y = power(a, np.float64(2.0))
    y.backward()
    assert a.grad.item() == 2.0


def test_keyword_arguments_are_passed_to_every_function() -> None:
    @primitive(lambda g, y, a, by: g * by, saves=("",))
    def scaled(a: Any, by: float) -> Any:
        return a * by

    (a,) = leaves([1.0, 2.0])
    scaled(a, by=3.0).sum().backward()
    assert a.grad.tolist() == [3.0, 3.0]


def test_a_cotangent_of_another_dtype_is_converted() -> None:
    @primitive(lambda g, y, a: g * np.float64(2.0), saves=("",))
    def twice(a: Any) -> Any:
        return a * 2

    x = tg.tensor([1.0], requires_grad=True)
    twice(x).sum().backward()
    assert x.grad.dtype == tg.float32 and x.grad.item() == 2.0


def test_it_may_be_defined_again() -> None:
    product()
    times = product()
    assert REGISTRY["times"].apply is times


# mistakes ----------------------------------------------------------------------------------------------------------


def identity(a: Any, b: Any = None) -> Any:
    return a * 1


def test_a_name_of_the_package_is_taken() -> None:
    with pytest.raises(ValueError, match="there is an operation 'tanh' already; choose another with name="):
        primitive(lambda g, y, a: g, name="tanh")(identity)


@pytest.mark.parametrize(
    ("vjps", "options", "sentence"),
    [
        ((), {}, "identity has no vjp"),
        ((None,), {}, "identity has no vjp"),
        ((print,) * 3, {}, r"3 vjps for identity, which has 2 positional argument\(s\)"),
        ((print,) * 2, {"saves": ("a",)}, r"identity has 2 vjp\(s\), but saves= says of 1 of them what they read"),
        ((print,), {"saves": ("b",)}, "saves.0. of identity is 'b'; expected letters of 'ya'"),
        ((print,), {"formula": tg.autograd.Formula("a", b="0")}, r"equations of \(b\), and .* with vjps are \(a\)"),
    ],
)
def test_a_declaration_that_does_not_fit(vjps: Any, options: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        primitive(*vjps, **options)(identity)


def test_a_tensor_that_would_get_no_gradient() -> None:
    f = primitive(lambda g, y, a: g, saves=("",))(identity)
    (a,) = leaves(1.0)
    with pytest.raises(TypeError, match="argument 'b' is a Tensor given by keyword"):
        f(a, b=a)
    with pytest.raises(TypeError, match=r"argument 1 is a Tensor, but only 1 vjp\(s\) were declared"):
        f(a, a)


def test_the_vjp_of_one_tensor_still_gets_all_arguments() -> None:
    @primitive(lambda g, y, a, b: 2 * g, saves=("",))
    def doubled_plus(a: Any, b: Any) -> Any:
        return 2 * a + b

    (a,) = leaves([1.0, 2.0])
    doubled_plus(a, np.array([3.0, 4.0])).sum().backward()
    assert a.grad.tolist() == [2.0, 2.0]


def test_a_vjp_that_reads_what_it_did_not_declare() -> None:
    f = primitive(lambda g, y, a: g * a, saves=("",), name="undeclared")(identity)
    (a,) = leaves(1.0)
    with pytest.raises(RuntimeError, match=r"It may have read a value .*; not saved were: a, y. Add what it reads"):
        f(a).backward()


def test_a_vjp_with_an_error_of_its_own_shows_it() -> None:
    f = primitive(lambda g, y, a: g.no_such_method(), name="broken")(identity)
    (a,) = leaves(1.0)
    with pytest.raises(AttributeError, match="no_such_method"):
        f(a).backward()


def test_a_vjp_that_forgets_to_sum_over_broadcast_axes() -> None:
    f = primitive(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a, name="unsummed")(lambda a, b: a * b)
    a, b = leaves([1.0, 2.0], [[1.0], [2.0], [3.0]])
    with pytest.raises(RuntimeError, match=r"gave a cotangent of shape \[3, 2\] for an argument of shape \[2\]"):
        f(a, b).sum().backward()


def test_a_vjp_that_leaves_the_tape_is_found_when_it_is_recorded() -> None:
    f = primitive(lambda g, y, a: np.asarray(getattr(g, "_data", g)) * 2, saves=("",), name="leaving")(lambda a: a * 2)
    (a,) = leaves([1.0])
    assert tg.autograd.grad(f(a).sum(), a)[0].item() == 2.0
    with pytest.raises(RuntimeError, match=r"returned a ndarray while being recorded \(create_graph=True\)"):
        tg.autograd.grad(f(a).sum(), a, create_graph=True)


def test_a_vjp_may_compare_values_of_no_axes() -> None:
    """NumPy turns a 0-d array into a scalar at its first operation: ``where`` must take it."""

    @primitive(lambda g, y, a: tg.where(a > 0, g, 0.1 * g), saves=["a"])
    def leaking(a: Any) -> Any:
        return np.where(a > 0, a, 0.1 * a)

    for value in (1.0, -1.0):
        tg.testing.assert_gradients(leaking, tg.tensor(value, dtype=tg.float64, requires_grad=True), order=2)

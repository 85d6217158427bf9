"""Every wrong backward is found by the line that the documentation gives, and is called by its name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.support.profiles import THOROUGH
from tests.testing.wrong_backwards import BROADCAST, NATURAL, Natural, Wrong, dc, dx, right, value
from tinygrad_rnn.autograd import GradcheckError
from tinygrad_rnn.tape.primitive import REGISTRY
from tinygrad_rnn.testing import (
    CheckFailed,
    assert_gradients,
    assert_laws,
    assert_no_nan,
    broadcastable_shapes,
    laid_out,
    tensors,
)
from tinygrad_rnn.testing import gradients as under_test

EXAMPLES = settings(
    max_examples=200,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
named = pytest.mark.parametrize("wrong", BROADCAST, ids=lambda w: w.name)
natural = pytest.mark.parametrize("wrong", NATURAL, ids=lambda w: w.name)


@pytest.fixture
def scrap() -> Iterator[None]:
    """Primitives declared in a test leave the registry with it."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def leaf(values: Any, layout: str = "contiguous") -> tg.Tensor:
    return laid_out(tg.tensor(values, dtype=tg.float64), layout).requires_grad_()


@st.composite
def pairs(draw: Any, /) -> tuple[tg.Tensor, tg.Tensor]:
    """Two tensors that broadcast: what a user draws for a function of two arguments."""
    x, c = draw(broadcastable_shapes(2))
    return draw(tensors(x)), draw(tensors(c))


def failure(check: Any, strategy: Any) -> BaseException:
    """What a property test ends with: one exception, never a group of them."""

    def test(drawn: Any) -> None:
        check(drawn)

    with pytest.raises((GradcheckError, CheckFailed, tg.errors.InplaceError)) as caught:
        EXAMPLES(given(strategy)(test))()
    return caught.value


# f(x, c) = c x / sqrt(1 + x^2) -------------------------------------------------------------------------------------


def test_the_right_backward_passes() -> None:
    apply = Wrong("Right", right, "").function().apply

    @settings(EXAMPLES, max_examples=200 if THOROUGH else 25)
    @given(pairs())
    def check(both: Any) -> None:
        assert_gradients(apply, both, order=2)
        assert_laws(apply, both)
        assert_no_nan(apply, both)

    check()


QUICK = ("Swapped", "SignBelowZero", "WrongFarOut", "Transposed", "FloatOfBoth", "Noise")  # others run by thorough
LAYOUTS = {"Transposed": "strided", "NegativeStrides": "reversed"}


@named
def test_a_wrong_backward_is_named_at_the_smallest_example(wrong: Wrong) -> None:
    apply = wrong.function().apply
    layout = LAYOUTS.get(wrong.name)
    inputs = [leaf(wrong.at[0] if layout is None else [1.0, 1.0], layout or "contiguous"), leaf(wrong.at[1])]
    with pytest.raises((GradcheckError, tg.errors.InplaceError)) as caught:
        assert_gradients(apply, inputs, order=wrong.order)
    assert re.search(wrong.says.format(name=wrong.name), str(caught.value)), str(caught.value)
    assert "kink" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [w if w.name in QUICK else pytest.param(w, marks=pytest.mark.thorough) for w in BROADCAST],
    ids=lambda w: w.name,
)
def test_a_wrong_backward_is_found_by_the_default_line(wrong: Wrong) -> None:
    apply = wrong.function().apply
    error = failure(lambda both: assert_gradients(apply, both, order=2), pairs())
    assert re.search(wrong.says.format(name=wrong.name), str(error)), str(error)
    assert "kink" not in str(error)


@pytest.mark.parametrize("wrong", [w for w in BROADCAST if w.laws], ids=lambda w: w.name)
def test_what_breaks_a_law_is_named_by_it(wrong: Wrong) -> None:
    with pytest.raises((CheckFailed, tg.errors.InplaceError), match=wrong.laws):
        assert_laws(wrong.function().apply, [leaf([[0.5], [1.25]]), leaf([1.0, 2.0])])


def test_a_vjp_that_fails_for_a_strided_cotangent_is_told_so(scrap: None) -> None:
    @tg.autograd.primitive(lambda g, y, a: g * (1.0 if raw(g).flags.c_contiguous else 2.0), saves=[""])
    def fails_for_strided_cotangents(a: Any) -> Any:
        return a * 1.0

    def raw(g: Any) -> Any:
        return g._data if isinstance(g, tg.Tensor) else g

    error = failure(lambda x: assert_gradients(fails_for_strided_cotangents, [x]), tensors((3,)))
    assert "backward depends on how its cotangent lies in memory" in str(error)


def test_nan_far_out_is_found_by_a_wide_range_and_by_a_law() -> None:
    def backward(g: Any, x: Any, c: Any) -> Any:
        far = tg.abs(x) > 300
        return g * tg.where(far, float("nan"), dx(x, c)), g * dc(x)

    apply = Wrong("NanFarOut", backward, "").function().apply
    both = [leaf([0.5, -1.0]), leaf(2.0)]
    assert_gradients(apply, both, order=2)
    with pytest.raises(CheckFailed, match=r"the gradient of input 0 is nan at \(0,\), where the inputs are multiplied"):
        assert_no_nan(apply, both)
    assert_no_nan(apply, both, scales=(1e-3, 100))
    error = failure(lambda x: assert_gradients(apply, [x, leaf(1.0)]), tensors((), low=-1000, high=1000))
    assert "the analytical gradient is not finite" in str(error) and "NanFarOut([], [])" in str(error)


# one argument ------------------------------------------------------------------------------------------------------


def check_natural(wrong: Natural, func: Any, examples: int) -> None:
    shown: list[float] = []

    def check(x: tg.Tensor) -> None:
        shown[:] = x.flatten().tolist()
        assert_gradients(func, [x], order=2)

    with pytest.raises(GradcheckError) as caught:
        settings(EXAMPLES, max_examples=examples)(given(tensors())(check))()
    report = str(caught.value)
    assert re.search(rf"in record 0 of 1, {wrong.name}\d*\(\[\]\) .*, which has a wrong vjp", report), report
    assert "values left the tape" not in report and "kink" not in report
    assert shown == [1.0] or (wrong.name == "PowerTooLow" and len(shown) == 1), shown  # 3x is right at 1


@natural
def test_a_natural_mistake_in_a_function_is_named(wrong: Natural) -> None:
    check_natural(wrong, wrong.function(), 200 if THOROUGH else 25)


@natural
def test_a_natural_mistake_in_a_primitive_is_named(wrong: Natural, scrap: None) -> None:
    check_natural(wrong, wrong.primitive(), 200 if THOROUGH else 25)


@natural
@pytest.mark.parametrize("x", [1 / 64, 1 / 16, 0.5, -1.25, 2.0])
def test_a_natural_mistake_is_named_wherever_it_is_found(wrong: Natural, x: float, scrap: None) -> None:
    """At 1/64 some errors are just above what the check allows: the operation is looked for at its tolerance."""
    for func in (wrong.function(), wrong.primitive()):
        with pytest.raises(GradcheckError, match=rf"{wrong.name}\d*\(\[\]\) .*, which has a wrong vjp"):
            assert_gradients(func, [leaf(x)], order=1, rtol=1e-9)


# cost --------------------------------------------------------------------------------------------------------------


def test_a_failing_property_test_finds_out_what_is_wrong_once_and_is_not_traced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, asked, traced = 0, 0, 0
    original = under_test._Attempt._diagnosis

    def counted(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        return original(*args)

    monkeypatch.setattr(under_test._Attempt, "_diagnosis", counted)
    apply = next(w for w in BROADCAST if w.name == "SecondOff").function().apply

    def look(x: Any, c: Any) -> Any:
        nonlocal traced
        traced += "scrutineer" in str(getattr(sys.gettrace(), "__self__", ""))
        return apply(x, c)

    def check(x: tg.Tensor, c: tg.Tensor) -> None:
        nonlocal calls
        calls += 1
        assert_gradients(look, [x, c], order=2)

    phases = [Phase.generate, Phase.shrink, Phase.explain]
    with pytest.raises(GradcheckError, match="has a right vjp with a wrong derivative"):
        settings(EXAMPLES, phases=phases)(given(tensors((2, 2)), tensors((2,)))(check))()
    assert calls > 20 and asked <= 2 and traced == 0


def test_one_fault_is_one_failure() -> None:
    """Hypothesis tells failures apart by class and line: a group of two would hide that they are one."""
    kinky = lambda x: tg.abs(x) * tg.where(x > 0.4, x.detach(), x)  # noqa: E731
    lines = set()
    for x in (0.0, 1.0, 0.4, 2.0):
        with pytest.raises(GradcheckError) as caught:
            assert_gradients(kinky, [leaf(x)], order=2)
        lines.add((type(caught.value), caught.tb.tb_next.tb_lineno, caught.value.__context__))  # type: ignore[union-attr]
        str(caught.value)
    assert len(lines) == 1


# no false alarms ---------------------------------------------------------------------------------------------------

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SMOOTH = {
    "tanh": (tg.tanh, FLOATS),
    "sigmoid": (tg.sigmoid, FLOATS),
    "log": (tg.log, st.floats(0.01, 1e6)),
    "exp": (tg.exp, st.floats(-50, 50)),
    "cube": (lambda x: x**3, st.floats(-1e6, 1e6)),
    "softmax": (lambda x: tg.softmax(x, -1), st.floats(-1e3, 1e3)),
    "logsumexp": (lambda x: tg.logsumexp(x, -1), st.floats(-1e3, 1e3)),
    "silu": (tg.nn.functional.silu, st.floats(-1e3, 1e3)),
    "softclip": (lambda x: value(x, 1.0), st.floats(-1e3, 1e3)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_right_functions_pass_on_the_floats_of_hypothesis(name: str) -> None:
    func, floats = SMOOTH[name]

    @settings(EXAMPLES, max_examples=200 if THOROUGH else 40)
    @given(st.lists(floats, min_size=1, max_size=4))
    def check(values: list[float]) -> None:
        assert_gradients(func, [leaf(values)])
        assert_laws(func, [leaf(values)])

    with np.errstate(all="ignore"):
        check()

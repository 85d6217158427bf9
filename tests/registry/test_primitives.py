"""Laws of every registered primitive, at arguments drawn from the public table of samples.

A primitive that somebody adds is tested from then on; without a row in the table the first test here fails.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.support.measured import measured
from tests.support.primitives import CHECKED, REGISTRY, SAMPLED, reached, same
from tests.support.profiles import examples
from tinygrad_rnn.tape.primitive import Primitive
from tinygrad_rnn.tape.tensor import Tensor, as_array, wrap
from tinygrad_rnn.testing import Call, assert_gradients, assert_laws, samples
from tinygrad_rnn.testing.gradients import application
from tinygrad_rnn.testing.sample_calls import INEXACT, SAMPLES

SLOW = {"lstm", "gru", "rnn"}  # whole layers: a second-order check composes every step
FLAT = {"sign", "floor", "ceil", "round", "trunc", "floor_divide", "truncated_divide"}  # the derivative is 0 everywhere

every = pytest.mark.parametrize("name", SAMPLED)
exact = pytest.mark.parametrize("name", [name for name in SAMPLED if name not in INEXACT])

ALIASES = {"true_divide", "concat", "concatenate"}  # the primitives behind div and cat, under PyTorch's other names


def count(name: str, ci: int) -> int:
    return examples(ci=max(ci // 3, 3) if name in SLOW else ci)


def test_every_primitive_has_samples() -> None:
    missing = sorted(set(CHECKED) - set(SAMPLES))
    assert not missing, f"add rows to tinygrad_rnn/testing/sample_calls/ for: {', '.join(missing)}"


def test_every_row_belongs_to_a_primitive() -> None:
    assert sorted(set(SAMPLES) - set(REGISTRY)) == []


@exact
def test_gradients_of_first_and_second_order_are_right(name: str, record_property: Callable[..., None]) -> None:
    """Against complex steps or extrapolated differences, whose own error is some 1e-10 of the terms."""
    worst = [0.0, 0.0]
    orders = tried = 0
    signal = 0.0

    @settings(max_examples=count(name, 8))
    @given(samples(name))
    def check(call: Call) -> None:
        nonlocal worst, orders, tried, signal
        report = assert_gradients(*application(name, *call), order=2, min_signal=0)
        worst = [max(pair) for pair in zip_longest(worst, report.by_order, fillvalue=0.0)]
        orders, tried, signal = max(orders, len(report.by_order)), tried + 1, max(signal, report.signal)

    check()
    row = {
        "primitive": name, "examples": tried, "largest gradient": signal,
        "worst relative error, order 1": worst[0], "worst relative error, order 2": worst[1] if orders > 1 else None,
    }  # fmt: skip
    measured(record_property, "gradients of every primitive, float64", row)
    assert signal > 0.01 or name in FLAT, "no example had a gradient to speak of: the samples test nothing"


@pytest.mark.thorough
@exact
def test_gradients_of_third_order_are_right(name: str) -> None:
    if name in SLOW:
        pytest.skip("composed three times over, a layer of three steps is a tape of ten thousand records")

    @settings(max_examples=50)
    @given(samples(name))
    def check(call: Call) -> None:
        assert_gradients(*application(name, *call), order=3, rtol=1e-6, min_signal=0)

    check()


@exact
def test_laws_hold(name: str) -> None:
    """Linear, adjoint, deterministic; nothing is written to, no gradient shares memory."""

    @settings(max_examples=count(name, 4))
    @given(samples(name))
    def check(call: Call) -> None:
        assert_laws(*application(name, *call))

    check()


@every
def test_forward_neither_writes_to_its_arguments_nor_depends_on_their_layout(name: str) -> None:
    @settings(max_examples=count(name, 5))
    @given(samples(name))
    def check(call: Call) -> None:
        apply, inputs = application(name, *call)
        before = [a._data.copy() if isinstance(a, Tensor) else a for a in inputs]
        result = reached(apply(*inputs))
        for a, kept in zip(inputs, before, strict=True):
            same(a._data if isinstance(a, Tensor) else a, kept)
        compact = [wrap(np.array(a._data, order="C")) if isinstance(a, Tensor) else a for a in inputs]
        for y, z in zip(result, reached(apply(*compact)), strict=True):
            assert y.shape == z.shape
            np.testing.assert_allclose(y._data, z._data, rtol=1e-13, atol=1e-13)  # sums in another order

    check()


@every
def test_raw_arrays_give_raw_arrays_of_the_same_values(name: str) -> None:
    @settings(max_examples=count(name, 5))
    @given(samples(name))
    def check(call: Call) -> None:
        if call.function is not None:
            return  # what is called takes tensors only
        apply, inputs = application(name, *call)
        recorded = reached(apply(*inputs))
        plain = reached(apply(*[a._data if isinstance(a, Tensor) else a for a in inputs]))
        for y, z in zip(recorded, plain, strict=True):
            assert isinstance(y, Tensor) and not isinstance(z, Tensor)
            same(as_array(z), y._data)

    check()


@every
def test_nothing_is_recorded_without_need(name: str) -> None:
    @settings(max_examples=3)
    @given(samples(name))
    def check(call: Call) -> None:
        apply, inputs = application(name, *call)
        with tg.no_grad():
            assert not any(y.requires_grad for y in reached(apply(*inputs)) if isinstance(y, Tensor))
        constant = [a.detach() if isinstance(a, Tensor) else a for a in inputs]
        assert not any(y.requires_grad for y in reached(apply(*constant)) if isinstance(y, Tensor))

    check()


@exact
def test_it_saves_what_it_declares_and_reads_no_more(name: str) -> None:
    """What no vjp declared is absent from the node, and the gradients come out all the same."""
    primitive = REGISTRY[name]
    if primitive.vjp_all is not None:
        pytest.skip("one joint vjp: it saves nothing, or a residual of its own")

    @settings(max_examples=count(name, 5))
    @given(samples(name), st.data())
    def check(call: Call, data: st.DataObject) -> None:
        apply, inputs = application(name, *call)
        wanted = [k for k, a in enumerate(inputs) if isinstance(a, Tensor) and a.requires_grad]
        assume(wanted)
        subset = data.draw(st.lists(st.sampled_from(wanted), min_size=1, unique=True))
        given_ = [wrap(a._data) if k in wanted and k not in subset else a for k, a in enumerate(inputs)]
        (y,) = reached(apply(*given_))
        node = y.grad_fn
        assume(node is not None and node.primitive is primitive)
        letters = "".join(primitive.saves[k] for k in subset)
        for k, value in enumerate(node.args):
            saved = value is not None and value is not node.parents[k]
            assert not saved or chr(97 + k) in letters or not isinstance(given_[k], Tensor)
        assert (node.ans is None) == ("y" not in letters)
        seed = np.random.default_rng(0).standard_normal(y.shape)
        some = tg.autograd.grad(y, [given_[k] for k in subset], wrap(seed), allow_unused=True)
        every_one = tg.autograd.grad(apply(*inputs), [inputs[k] for k in wanted], wrap(seed), allow_unused=True)
        for k, g in zip(subset, some, strict=True):
            same(g._data, every_one[wanted.index(k)]._data)

    check()


@exact
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_lower_precision_stays_what_it_is(name: str, dtype: str) -> None:
    """Values and gradients keep the dtype of their inputs, and agree with float64 to its precision."""

    @settings(max_examples=count(name, 3))
    @given(samples(name))
    def check(call: Call) -> None:
        if name == "cast":
            return
        apply, inputs = application(name, *call)
        low = [_cast(a, dtype) for a in inputs]
        params = {k: _cast(v, dtype) for k, v in call.params.items()}
        apply_low, _ = application(name, call.args, params, call.function)
        expected, found = reached(apply(*inputs)), reached(apply_low(*low))
        for y, z in zip(expected, found, strict=True):
            assert z.dtype == (dtype if y.dtype.kind == "f" else y.dtype)
        if dtype == "float16" and any(not np.isfinite(z._data).all() for z in found):
            return
        live = [(y, z) for y, z in zip(expected, found, strict=True) if y.requires_grad]
        leaves = [(a, b) for a, b in zip(inputs, low, strict=True) if isinstance(a, Tensor) and a.requires_grad]
        if not live or not leaves:
            return
        precise = tg.autograd.grad([y for y, _ in live], [a for a, _ in leaves], _ones(live, 0), allow_unused=True)
        rounded = tg.autograd.grad([z for _, z in live], [b for _, b in leaves], _ones(live, 1), allow_unused=True)
        tolerance = {"float32": 1e-3, "float16": 0.2}[dtype]  # not about accuracy: no upcast, no garbage
        for g, h in zip(precise, rounded, strict=True):
            assert (g is None) == (h is None)
            if g is not None:
                assert h.dtype == dtype and h.shape == g.shape
                scale = np.abs(g._data).max(initial=1.0)
                np.testing.assert_allclose(h._data, g._data, rtol=tolerance, atol=tolerance * scale)

    check()


def _floating(value: Any) -> bool:
    return getattr(value, "dtype", None) is not None and value.dtype.kind == "f"


def _cast(a: Any, dtype: str) -> Any:
    if isinstance(a, Tensor) and _floating(a):
        return wrap(a._data.astype(dtype)).requires_grad_(a.requires_grad)
    return a.astype(dtype) if _floating(a) and not isinstance(a, Tensor) else a


def _ones(pairs: list[Any], which: int) -> list[Tensor]:
    return [wrap(np.ones(pair[which].shape, pair[which].dtype)) for pair in pairs]


def test_a_primitive_is_registered_with_one_declaration_for_each_vjp() -> None:
    with pytest.raises(ValueError, match="2 vjps, but 1 declarations"):
        Primitive("two_vjps_one_declaration", np.negative, (None, None), ("",))
    assert "two_vjps_one_declaration" not in REGISTRY


def test_what_a_vjp_reads_is_declared_by_the_letters_of_its_arguments() -> None:
    for saves in (("?y", ""), ("y", "c"), ("1", "a")):
        with pytest.raises(ValueError, match="but there are only a, b, y"):
            Primitive("reads_what_is_not_there", np.add, (None, None), saves)
    assert "reads_what_is_not_there" not in REGISTRY


def test_every_primitive_is_called_by_its_name() -> None:
    """Errors, records and nodes say the name under which one finds the function."""
    for name, primitive in REGISTRY.items():
        if hasattr(primitive, "apply"):
            assert primitive.name == name == primitive.apply.__name__ == primitive.apply.__qualname__
    public = {**vars(tg.nn.functional), **vars(tg)}
    wrong = [
        (name, function.__name__)
        for name, function in public.items()
        if name in REGISTRY and getattr(function, "__name__", name) != name
    ]
    assert wrong == []


def test_every_public_function_has_its_own_name() -> None:
    """An error that names the function names one that there is."""
    for module in (tg, tg.nn.functional, tg.nn.init, tg.autograd):
        for name in module.__all__:
            thing = getattr(module, name)
            if isinstance(thing, FunctionType) and name not in ALIASES:
                assert thing.__name__ == name or getattr(module, thing.__name__) is thing

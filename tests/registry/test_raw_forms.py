"""Raw forms of vjps, which unrecorded sweeps call, agree with the mathematics that is declared."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad_rnn as tg
from tests.support.primitives import CHECKED, REGISTRY, SAMPLED, reached
from tests.support.profiles import examples
from tinygrad_rnn.tape.modes import state
from tinygrad_rnn.tape.node import Node
from tinygrad_rnn.tape.partial_gradient import Part
from tinygrad_rnn.tape.primitive import Primitive
from tinygrad_rnn.tape.sweep import contributions
from tinygrad_rnn.tape.tensor import Tensor, wrap
from tinygrad_rnn.testing import Call, samples
from tinygrad_rnn.testing.gradients import application


def has_raw_forms(p: Primitive) -> bool:
    """But for fused ones: the mathematics of those is that of a composition, which is there for Tensors alone."""
    if p.vjp_all is not None and not p.saves_anything:
        return p.raw_vjp_all is not p.vjp_all
    return any(raw is not vjp for raw, vjp in zip(p.raw_vjps, p.vjps, strict=True))


NAMES = [name for name in SAMPLED if has_raw_forms(REGISTRY[name])]
TOLERANCE = 1e-12  # sums in another order, of some ten terms around 1


def given_by(vjps: Sequence[Any], vjp_all: Any, node: Node, g: Any) -> list[Any]:
    """What these vjps contribute on raw arrays, inside a sweep."""
    p = node.primitive
    before, memo = (p.raw_vjps, p.raw_vjp_all), state.here.memo
    p.raw_vjps, p.raw_vjp_all, state.here.memo = tuple(vjps), vjp_all, {}
    try:
        needs = tuple([parent is not None for parent in node.parents])
        with np.errstate(all="ignore"):
            found = contributions(node, p, g, needs, record=False)
            return [part.start() if isinstance(part, Part) else part for part in found]
    finally:
        (p.raw_vjps, p.raw_vjp_all), state.here.memo = before, memo


def agree(found: Any, expected: Any) -> None:
    assert (found is None) == (expected is None)
    if expected is not None:
        assert not isinstance(found, Tensor) and not isinstance(expected, Tensor)
        assert found.shape == expected.shape and found.dtype == expected.dtype
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * scale)


def names_in(function: Any, seen: set[Any]) -> set[str]:
    """The names that a function uses, and the private functions of its module that it calls."""
    function = inspect.unwrap(function)
    if function in seen or not isinstance(function, FunctionType):
        return set()
    seen.add(function)
    names = set(function.__code__.co_names)
    helpers = [function.__globals__.get(name) for name in names if name.startswith("_")]
    own = [helper for helper in helpers if getattr(helper, "__module__", "") == function.__module__]
    return names.union(*[names_in(helper, seen) for helper in own])


def test_vjps_are_mathematics() -> None:
    """None in ops/ and nn/ asks for the type of its arrays or for the device that holds them: raw forms do."""
    asking = {
        f"{name}: {', '.join(sorted(wrong))}"
        for name in CHECKED
        for vjp in (*REGISTRY[name].vjps, REGISTRY[name].vjp_all)
        if getattr(vjp, "__module__", "").startswith(("tinygrad_rnn.ops", "tinygrad_rnn.nn"))
        if (wrong := names_in(vjp, set()) & {"ndarray", "on_gpu", "type", "isinstance"})
    }
    assert asking == set()


def test_there_are_raw_forms() -> None:
    assert {"tanh", "sigmoid", "add", "matmul", "linear", "sum"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_raw_forms_agree_with_the_mathematics(name: str) -> None:
    """On the same arrays: values, shape and dtype."""
    compared = 0

    @settings(max_examples=examples(ci=40))
    @given(samples(name))
    def check(call: Call) -> None:
        nonlocal compared
        apply, inputs = application(name, *call)
        nodes = [y.grad_fn for y in reached(apply(*inputs)) if isinstance(y, Tensor) and y.grad_fn is not None]
        for node in nodes:
            p = node.primitive
            if has_raw_forms(p):
                g = np.random.default_rng(0).standard_normal(node.shape).astype(node.dtype)
                raw = given_by(p.raw_vjps, p.raw_vjp_all, node, g)
                for found, expected in zip(raw, given_by(p.vjps, p.vjp_all, node, g), strict=True):
                    agree(found, expected)
                    compared += 1

    check()
    assert compared > 5


@pytest.mark.parametrize("name", SAMPLED)
def test_recorded_and_unrecorded_sweeps_agree(name: str) -> None:
    """``create_graph`` changes what is called, and no number: for vjps of one argument, and of several at once."""

    @settings(max_examples=examples(ci=5))
    @given(samples(name))
    def check(call: Call) -> None:
        apply, inputs = application(name, *call)
        leaves = [a for a in inputs if isinstance(a, Tensor) and a.requires_grad]
        outputs = [y for y in reached(apply(*inputs)) if isinstance(y, Tensor) and y.requires_grad]
        if not leaves or not outputs:
            return
        rng = np.random.default_rng(0)
        seeds = [wrap(rng.standard_normal(y.shape).astype(y._data.dtype)) for y in outputs]
        options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
        plain = tg.autograd.grad(outputs, leaves, seeds, **options)
        recorded = tg.autograd.grad(outputs, leaves, seeds, create_graph=True, **options)
        for found, expected in zip(plain, recorded, strict=True):
            agree(None if found is None else found._data, None if expected is None else expected._data)

    check()

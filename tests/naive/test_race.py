"""The engine and the naive tape run the same random session: build, sweep, accumulate, detach, forget."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

import tinygrad_rnn as tg
from tests.naive.naive_tape import NaiveTape
from tests.support.profiles import QUIET, examples
from tinygrad_rnn.errors import GraphError
from tinygrad_rnn.tape.primitive import REGISTRY
from tinygrad_rnn.testing import arrays, shapes

LARGEST = 20.0
SMOOTH = ["neg", "tanh", "sigmoid", "square", "clone"]
PAIRS = ["add", "sub", "mul"]


class Session(RuleBasedStateMachine):
    """Each value is a pair: a tensor of the engine, and its number on the naive tape."""

    values = Bundle("values")

    def __init__(self) -> None:
        super().__init__()
        self.naive = NaiveTape()
        self.leaves: list[tuple[tg.Tensor, int]] = []
        self.expected: dict[int, np.ndarray] = {}
        self.swept: set[int] = set()  # naive numbers whose graph a sweep has been through without retain_graph

    def _apply(self, name: str, pairs: list[tuple[tg.Tensor, int]], **params: Any) -> Any:
        tensors, numbers = [t for t, _ in pairs], [n for _, n in pairs]
        number = self.naive.apply(name, *numbers, **params)
        value = self.naive.values[number]
        if np.abs(value).max(initial=0) > LARGEST:
            self.naive.values.pop()
            self.naive.records.pop()
            return pairs[0]
        return REGISTRY[name].apply(*tensors, **params), number

    def _below(self, number: int) -> set[int]:
        seen = {number}
        for result, _, numbers, _ in reversed(self.naive.records):
            if result in seen:
                seen.update(numbers)
        return seen

    @rule(target=values, array=arrays(shapes(0, 2, 1, 3)))
    def make_leaf(self, array: np.ndarray) -> Any:
        pair = tg.tensor(array, dtype=tg.float64, requires_grad=True), self.naive.leaf(array)
        self.leaves.append(pair)
        return pair

    @rule(target=values, array=arrays(shapes(0, 2, 1, 3)))
    def make_constant(self, array: np.ndarray) -> Any:
        return tg.tensor(array, dtype=tg.float64), self.naive.leaf(array)

    @rule(target=values, name=st.sampled_from(SMOOTH), pair=values)
    def curve(self, name: str, pair: Any) -> Any:
        return self._apply(name, [pair])

    @rule(target=values, name=st.sampled_from(PAIRS), first=values, second=values)
    def combine(self, name: str, first: Any, second: Any) -> Any:
        try:
            np.broadcast_shapes(first[0].shape, second[0].shape)
        except ValueError:
            return first
        return self._apply(name, [first, second])

    @rule(target=values, first=values, second=values)
    def multiply_matrices(self, first: Any, second: Any) -> Any:
        a, b = first[0].shape, second[0].shape
        if not a or not b or a[-1] != (b[-2] if len(b) > 1 else b[0]):
            return first
        return self._apply("matmul", [first, second])

    @rule(target=values, pair=values, keepdims=st.booleans())
    def add_up(self, pair: Any, keepdims: bool) -> Any:
        return self._apply("sum", [pair], axes=tuple(range(pair[0].ndim))[:1], keepdims=keepdims)

    @rule(target=values, pair=values, data=st.data())
    def index(self, pair: Any, data: st.DataObject) -> Any:
        if pair[0].ndim == 0:
            return pair
        n = pair[0].shape[0]
        rows = st.lists(st.integers(-n, n - 1), min_size=1, max_size=3).map(np.array)
        return self._apply("getitem", [pair], index=data.draw(st.integers(-n, n - 1) | rows))

    @rule(target=values, pairs=st.lists(values, min_size=1, max_size=3))
    def stack(self, pairs: list[Any]) -> Any:
        same = [pair for pair in pairs if pair[0].shape == pairs[0][0].shape and pair[0].ndim < 2]
        return self._apply("stack", same, dim=0) if same else pairs[0]

    @rule(target=values, pair=values, how=st.sampled_from(["detach", "no_grad", "data"]))
    def cut(self, pair: Any, how: str) -> Any:
        t, number = pair
        if how == "no_grad":
            with tg.no_grad():
                t = t.clone()
        else:
            t = t.detach() if how == "detach" else t.data
        assert not t.requires_grad
        return t, self.naive.leaf(self.naive.values[number])

    @rule(pair=values, retain=st.booleans())
    def backward(self, pair: Any, retain: bool) -> None:
        t, number = pair
        below = self._below(number)
        seed = np.random.default_rng(number).standard_normal(t.shape)
        try:
            t.backward(tg.tensor(seed, dtype=tg.float64), retain_graph=retain)
        except GraphError as error:
            assert not t.requires_grad or (below & self.swept and "a second time" in str(error))
            # a sweep that fails in the middle may have delivered: take over what the engine has now
            self._adopt()
            return
        found = self.naive.gradients(number, seed)
        for _, leaf in self.leaves:
            if leaf in found and leaf in below:
                self.expected[leaf] = self.expected.get(leaf, 0.0) + found[leaf]
        if not retain:
            self.swept |= below

    def _adopt(self) -> None:
        self.expected = {leaf: t.grad.numpy().copy() for t, leaf in self.leaves if t.grad is not None}

    @precondition(lambda self: len(self.leaves) > 0)
    @rule(pair=values, data=st.data())
    def ask_for_a_gradient(self, pair: Any, data: st.DataObject) -> None:
        """``grad`` accumulates nowhere, whatever else happens."""
        t, number = pair
        leaf, leaf_number = data.draw(st.sampled_from(self.leaves))
        if not t.requires_grad or self._below(number) & self.swept:
            return
        seed = np.ones(t.shape)
        found = tg.autograd.grad(t, leaf, tg.tensor(seed, dtype=tg.float64), retain_graph=True, allow_unused=True)[0]
        expected = self.naive.gradients(number, seed).get(leaf_number)
        if found is None:
            assert expected is None
        else:
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max(initial=1))

    @precondition(lambda self: len(self.leaves) > 0)
    @rule(data=st.data())
    def forget_a_gradient(self, data: st.DataObject) -> None:
        leaf, number = data.draw(st.sampled_from(self.leaves))
        leaf.grad = None
        self.expected.pop(number, None)

    @rule(pair=consumes(values))
    def drop(self, pair: Any) -> None:
        """The tensor goes; what was computed from it stays right."""

    @invariant()
    def gradients_agree(self) -> None:
        for t, number in self.leaves:
            expected = self.expected.get(number)
            if expected is None:
                assert t.grad is None
            else:
                assert t.grad is not None
                scale = np.abs(expected).max(initial=1.0)
                np.testing.assert_allclose(t.grad.numpy(), expected, rtol=1e-9, atol=1e-9 * scale)

    def teardown(self) -> None:
        gc.collect(0)


TestSession = Session.TestCase
TestSession.settings = settings(
    max_examples=examples(25, 1000), stateful_step_count=30, deadline=None, suppress_health_check=QUIET
)

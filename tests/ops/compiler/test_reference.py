"""References of programs: the traced steps as operations on Tensors, with derivatives of every order."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.ops.compiler.cells import CELLS, Cell, weights
from tests.ops.compiler.test_program import compiled, traced
from tinygrad_rnn.ops.compiler.program import Program
from tinygrad_rnn.ops.compiler.replay import check
from tinygrad_rnn.ops.compiler.trace import Refused
from tinygrad_rnn.ops.linalg import linear
from tinygrad_rnn.tape.node import Leaf
from tinygrad_rnn.tape.tensor import Tensor


def second_order(c: Cell, run: Any, rows: int, size: int) -> list[Any]:
    """What a step gives, its gradients, and the gradients of a function of these."""
    random = np.random.default_rng(2)
    x, *states = [tg.tensor(random.normal(size=(rows, w)), requires_grad=True) for w in (size, *c.widths)]
    masks = [tg.tensor(m) for ms in c.masks(random, rows, rows) for m in ms]
    after = run(x, tuple(states), *masks)
    after = (after,) if isinstance(after, Tensor) else tuple(after)
    leaves = [x, *states, *[p for p in c.parameters.values() if p.requires_grad]]
    # random directions: in a sum of squares some derivatives would cancel
    loss = sum((y * tg.tensor(random.normal(size=y.shape))).sum() for y in after)
    first = tg.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
    directions = [random.normal(size=leaf.shape) for leaf in leaves]
    of_first = [(g * tg.tensor(d)).sum() for g, d in zip(first, directions, strict=True) if g is not None]
    of_first = [g for g in of_first if g.requires_grad]
    second: Any = (None,) * len(leaves)
    if of_first:
        second = tg.autograd.grad(sum(of_first), leaves, allow_unused=True)
    return [None if g is None else g.detach().numpy() for g in (*after, *first, *second)]


def of_program(c: Cell, program: Program) -> Any:
    def run(x: Any, states: Any, *masks: Any) -> Any:
        matrices, vectors = program.prelude.run(c.parameters)
        return program.reference.run(x, states, tuple(matrices), tuple(vectors), masks)

    return run


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", CELLS)
def test_a_reference_is_the_step_in_values_and_derivatives_of_two_orders(name: str, rows: int) -> None:
    c = CELLS[name](5, 6)
    run = of_program(c, compiled(c, 5))
    for one, other in zip(second_order(c, run, rows, 5), second_order(c, c.step, rows, 5), strict=True):
        if other is None or one is None:
            assert one is None or not one.any()
            assert other is None or not other.any()
        else:
            scale = max(1.0, np.abs(other).max())
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12 * scale)


def test_second_derivatives_are_not_negligible() -> None:
    c = CELLS["lstm"](5, 6)
    results = second_order(c, of_program(c, compiled(c, 5)), 3, 5)
    assert all(np.abs(g).max() > 1e-2 for g in results[-7:])


P = weights(W=(6, 5), U=(6, 6))


class Doubled(tg.autograd.Function):
    """With a gradient that is not its own, of any order."""

    @staticmethod
    def forward(ctx: Any, a: Any) -> Any:
        ctx.save_for_backward(a)
        return a * 2

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (a,) = ctx.saved_tensors
        return g * tg.sin(a)


class Scaled(tg.autograd.Function):
    """With an argument that is given by name."""

    @staticmethod
    def forward(ctx: Any, a: Any, *, by: Any) -> Any:
        ctx.by = by
        return a * by

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * (ctx.by + 0.5)


def without_history(x: Any, s: Any) -> Any:
    with tg.no_grad():
        gate = tg.sigmoid(linear(x, P["W"]))
    return tg.tanh(linear(s[0], P["U"])) * gate + s[0].detach() * s[0]


def partly(w: Any) -> Any:
    with tg.no_grad():
        fixed = tg.tanh(w)
    return fixed + w


HISTORIES: dict[str, Any] = {
    "no_grad": without_history,
    "detach": lambda x, s: tg.tanh(linear(x, P["W"]).detach() * s[0] + s[0].detach() * linear(s[0], P["U"]).data),
    "a custom Function": lambda x, s: Doubled.apply(tg.tanh(linear(x, P["W"]) + s[0])) * s[0],
    "a custom Function of a custom Function": lambda x, s: Doubled.apply(Doubled.apply(tg.tanh(x @ P["W"].T)) * s[0]),
    "a custom Function with a keyword": lambda x, s: Scaled.apply(tg.tanh(linear(x, P["W"]) + s[0]), by=0.3) * s[0],
    "a custom Function at the end": lambda x, s: Doubled.apply(s[0] * tg.tanh(linear(x, P["W"]))),
    "a weight without history": lambda x, s: tg.tanh(linear(x, P["W"])) + linear(s[0], P["U"].detach()),
    "custom Functions of weights": lambda x, s: linear(x, Doubled.apply(P["W"])) + s[0] * Doubled.apply(P["U"][0]),
    "a part of the weights without history": lambda x, s: tg.tanh(linear(s[0], partly(P["U"]))) * x[:, :1],
    "sizes": lambda x, s: tg.ones(len(x), 6, dtype=tg.float64) * s[0] + P["W"][0, :1].expand(len(x), 6) * x[:, :1],
}


@pytest.mark.parametrize("what", HISTORIES)
def test_histories_that_end_and_derivatives_of_the_user_are_those_of_the_step(what: str) -> None:
    c = Cell(P, HISTORIES[what], (6,))
    run = of_program(c, compiled(c, 5))
    found = 0
    for one, other in zip(second_order(c, run, 4, 5), second_order(c, c.step, 4, 5), strict=True):
        assert (one is None) == (other is None) or not np.any(one if other is None else other)
        if one is not None and other is not None:
            np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)
            found += one.size
    assert found > 50


def test_what_was_seen_of_a_step_is_all_that_its_reference_needs() -> None:
    """The step is not called again: its parameters may be others by then."""
    c = CELLS["LayerNorm"](5, 6)
    program = compiled(c, 5)
    other = {name: p.detach() * 0.5 for name, p in c.parameters.items()}
    matrices, vectors = program.prelude.run(other)
    random = np.random.default_rng(0)
    x, s = (tg.tensor(random.normal(size=(7, n))) for n in (5, 6))
    (found,) = program.reference.run(x, (s,), tuple(matrices), tuple(vectors))
    module = c.step
    module.load_state_dict(other)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found.numpy(), module(x, (s,)).detach().numpy())


MISTAKES: dict[str, Any] = {
    "no_grad": lambda v: {"history": True},
    "detach": lambda v: {"operation": "clone", "history": True} if v.operation == "detach" else {},
    "a custom Function": lambda v: {"custom": False, "function": None, "operation": "tanh"} if v.custom else {},
    "sizes": lambda v: {"args": (v.args[0], 0.5)} if v.operation == "mul" else {},
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_wrong_reference_is_found_by_the_check(what: str) -> None:
    program, one = traced(Cell(P, HISTORIES[what], (6,)), 5)
    made: dict[Any, Any] = {}
    for v in program.reference.values:
        changed = dataclasses.replace(v, **MISTAKES[what](v))
        made[v] = dataclasses.replace(changed, args=tuple([made.get(a, a) for a in changed.args]))
    results = tuple([made[v] for v in program.reference.results])
    reference = dataclasses.replace(program.reference, values=tuple(made.values()), results=results)
    with pytest.raises(Refused, match="of the reference differs"):
        check(dataclasses.replace(program, reference=reference), one)


def test_a_value_that_gets_a_history_of_its_own_is_refused() -> None:
    def step(x: Any, s: Any) -> Any:
        a = tg.tanh(s[0]).detach().requires_grad_()
        assert isinstance(a._node, Leaf)
        return a * s[0]

    with pytest.raises(Refused, match="it gives a value a history of its own"):
        compiled(Cell({}, step, (6,)), 5)


def test_a_custom_function_that_is_given_a_value_of_the_step_by_name_is_refused() -> None:
    with pytest.raises(Refused, match="reference differs|cannot be applied again"):
        compiled(Cell({}, lambda x, s: Scaled.apply(s[0], by=x[:, :1].detach()), (6,)), 5)


def test_the_number_of_sequences_as_a_number_is_refused() -> None:
    with pytest.raises(Refused, match=r"mul\(\) with 7 in one run and 11 in another"):
        compiled(Cell({}, lambda x, s: s[0] * len(x), (6,)), 5)

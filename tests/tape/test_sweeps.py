"""Sweeps of a tape, one after the other and within each other, and what is data in them rather than text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad_rnn as tg
from tests.support.profiles import examples
from tests.support.shares import is_rounded
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, GraphError
from tinygrad_rnn.tape.observe.records import Reference
from tinygrad_rnn.testing import Program, programs


def leaf(*values: Any) -> tg.Tensor:
    return tg.tensor(np.array(values), dtype=tg.float64, requires_grad=True)


def test_a_sweep_says_what_it_started_from() -> None:
    w = leaf(0.5, 2.0)
    with tg.Tape() as tape:
        a = w * 2
        b = tg.tanh(a)
        c, d = tg.stack([a, b]).unbind()
        g = tg.tensor([3.0, -1.0], dtype=tg.float64)
        tg.autograd.backward([a, b, d, w], [g, g * 2, g * 3, g * 4], retain_graph=True)
        tg.autograd.grad(c.sum(), w, create_graph=True)
    first, second = tape.sweeps
    assert [target.kind for target, _ in first.seeds] == ["record"] * 3 + ["leaf"]
    assert [tape.record_of(t).number for t in (a, b, d)] == [target.number for target, _ in first.seeds[:3]]
    assert [value.tolist() for _, value in first.seeds] == [[3.0, -1.0], [6.0, -2.0], [9.0, -3.0], [12.0, -4.0]]
    assert [(target.kind, value.tolist()) for target, value in second.seeds] == [("record", 1.0)]
    with tg.Tape() as tape:
        (a * 1).sum().backward()
    assert tape.sweeps[0].seeds[0][0] == Reference("record", 1)


def test_shares_of_two_backward_passes_add_up_to_the_gradient() -> None:
    w = leaf(0.1, 0.7)
    with tg.Tape() as tape:
        for x in (0.3, 1.7):
            (w * x + w * w).sum().backward()
    assert [s.kind for s in tape.sweeps] == ["backward"] * 2 and [s.number for s in tape.sweeps] == [0, 1]
    shares = tape.shares(w)
    assert [s.sweep for s in shares] == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(shares.total(), w.grad.numpy())  # type: ignore[union-attr]
    first = tape.shares(w, sweep=0)
    assert len(first) == 3 and np.all(first.total() < shares.total())
    assert [s.value.tolist() for s in tape.shares(w, sweep=tape.sweeps[-1])] == [
        s.value.tolist() for s in tape.shares(w, sweep=-1)
    ]
    assert tape.steps is tape.sweeps[1].steps


@settings(max_examples=examples(25, 500))
@given(programs(max_steps=8))
def test_of_several_sweeps_the_total_is_the_gradient_bit_by_bit(program: Program) -> None:
    leaves = program.tensors()
    rng = np.random.default_rng(0)
    with tg.Tape() as tape:
        for _ in range(3):
            outputs = [y for y in program(*leaves) if not y.is_leaf]
            if outputs:
                seeds = [tg.tensor(rng.standard_normal(y.shape)) for y in outputs]
                tg.autograd.backward(outputs, seeds)
    for t in leaves:
        if t.grad is not None:
            shares = tape.shares(t)
            assert {s.sweep for s in shares} == {0, 1, 2}
            if any(is_rounded(tape, s) for s in shares):
                rounding = 1e-14 * sum(np.abs(s.value).max() for s in shares)
                np.testing.assert_allclose(shares.total(), t.grad.numpy(), rtol=0, atol=rounding)
            else:
                np.testing.assert_array_equal(shares.total(), t.grad.numpy())


def test_sweeps_of_grad_are_told_from_those_that_add_to_the_gradient() -> None:
    w = leaf(3.0)
    with tg.Tape() as tape:
        y = w * w
        tg.autograd.grad(y, w, retain_graph=True)
        assert [s.value.tolist() for s in tape.shares(w)] == [[3.0], [3.0]]  # there is no other
        y.backward(inputs=[w])
    assert [s.kind for s in tape.sweeps] == ["grad", "backward"]
    assert {s.sweep for s in tape.shares(w)} == {1} and {s.sweep for s in tape.shares(w, sweep=0)} == {0}


def test_a_sweep_that_failed_has_its_error_and_no_shares_of_what_it_did_not_reach() -> None:
    class Breaks(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise ZeroDivisionError("broken")

    w = leaf(3.0)
    with tg.Tape() as tape:
        y = Breaks.apply(w) * w
        with pytest.raises(ZeroDivisionError):
            y.backward()
        assert tape.sweeps[0].error == "ZeroDivisionError: broken" and w.grad is None
        with pytest.raises(GraphError, match="was not used by anything that the last sweep went through"):
            tape.shares(w)
        (w * 2).backward()
    assert tape.sweeps[1].error is None and "ended by ZeroDivisionError" in repr(tape.sweeps[0])
    np.testing.assert_array_equal(tape.shares(w).total(), w.grad.numpy())  # type: ignore[union-attr]


def test_a_sweep_within_a_sweep_is_deeper() -> None:
    layer = tg.nn.LSTM(2, 3)
    with tg.Tape() as tape:
        layer(tg.ones(3, 1, 2))[0].sum().backward(create_graph=True)
        layer(tg.ones(3, 1, 2))[0].sum().backward()
    assert {step.depth for step in tape.sweeps[0].steps} == {0, 1}
    assert {step.depth for step in tape.sweeps[1].steps} == {0}
    assert all(step.depth == 1 for step in tape.sweeps[0].steps if step.name.startswith("alias#"))


def test_what_a_sweep_recorded_is_told_from_what_the_program_computed() -> None:
    x = leaf(2.0)
    with tg.Tape() as tape:
        y = (x * x * x).sum()
        tg.autograd.grad(y, x, retain_graph=True)
        (g,) = tg.autograd.grad(y, x, create_graph=True)
        (g * g).sum().backward()
    before = [r.sweep for r in tape]
    assert before[:3] == [None] * 3 and before[-2:] == [None] * 2 and set(before[3:-2]) == {1}


def test_shares_asked_for_while_a_sweep_is_under_way_are_those_so_far() -> None:
    w, v = leaf(2.0), leaf(3.0)
    found: list[int] = []
    tape = tg.Tape()
    v.register_hook(lambda g: found.append(len(tape.sweeps[0].uses().get(id(v._node), []))))
    with tape:
        (w * v + v).backward()
    assert found == [2] and len(tape.shares(w)) == 1 and len(tape.shares(v)) == 2


def test_questions_about_sweeps_that_are_not_there() -> None:
    w = leaf(3.0)
    with tg.Tape() as tape:
        (w * w).backward()
        (w * w).backward()
    with pytest.raises(ArgumentError, match="this tape has watched 2 sweeps, and no sweep 2"):
        tape.shares(w, sweep=2)
    with pytest.raises(ArgumentTypeError, match="sweep must be a Sweep or its number, not str"):
        tape.shares(w, sweep="last")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"no leaf on this tape has the name 'v'; there are w"):
        tape.shares("v")
    with pytest.raises(GraphError, match="was not used by anything that any sweep went through"):
        tape.shares(leaf(1.0))
    assert tape.shares("w")[0].record is tape[0]


# references ----------------------------------------------------------------------------------------------------------


def test_references_say_what_the_text_says() -> None:
    x, w = leaf(3.0), leaf(1.0)
    before = x * 1
    with tg.Tape() as tape:
        _ = (before * w + 2) * w
        tape.backward(_)
    assert [r.references for r in tape] == [
        (Reference("earlier", before.grad_fn.index), Reference("leaf", 0)),  # type: ignore[union-attr]
        (Reference("record", 0), Reference("constant")),
        (Reference("record", 1), Reference("leaf", 0)),
    ]
    assert [step.target for step in tape.steps][:3] == [Reference("record", k) for k in (2, 1, 0)]
    assert [step.is_leaf for step in tape.steps] == [False, False, False, False, True, True]
    assert [(c.to, c.target.kind, c.target.number) for c in tape.steps[0].contributions] == [
        ("%1", "record", 1),
        ("w", "leaf", 0),
    ]
    assert [step.target.kind for step in tape.steps[3:]] == ["earlier", "leaf", "leaf"]


def test_outputs_of_a_fused_layer_are_told_apart() -> None:
    lstm = tg.nn.LSTM(2, 3)
    with tg.Tape() as tape:
        output, (h, c) = lstm(tg.ones(2, 1, 2))
        (output.sum() + c.sum() * h.sum()).backward()
    number = next(r.number for r in tape if r.name == "lstm")
    uses = {r.references[0] for r in tape if r.name == "sum"}
    assert uses == {Reference("record", number, k) for k in range(3)}
    targets = {c.target for s in tape.steps for c in s.contributions if c.target.number == number and c.to[0] == "%"}
    assert targets == uses and {f"%{number}.{k}" for k in range(3)} <= {
        c.to for s in tape.steps for c in s.contributions
    }


def test_names_that_come_later_reach_what_the_sweep_showed() -> None:
    with tg.Tape() as tape:
        y = leaf(2.0) * 3
        y.backward()
    assert [s.name for s in tape.steps] == ["%0", "leaf0"]
    t = tape.leaves[0].node.tensor() if tape.leaves[0].node is not None else None
    assert t is None  # nobody holds it
    w = leaf(1.0)
    with tg.Tape() as tape:
        (w * 3).backward()
    tape.name(weight=w)
    assert [s.name for s in tape.steps] == ["%0", "weight"] and tape.steps[0].contributions[0].to == "weight"


# totals --------------------------------------------------------------------------------------------------------------


@settings(max_examples=examples(25, 500))
@given(programs(max_steps=10))
def test_each_contribution_leads_from_one_sum_to_the_next_and_the_last_is_the_cotangent(program: Program) -> None:
    leaves = program.tensors()
    with tg.Tape(totals=True) as tape:
        outputs = program(*leaves)
        used = [y for y in outputs if not y.is_leaf]
        if not used:
            return
        seeds = [tg.tensor(np.full(y.shape, 0.5 + k)) for k, y in enumerate(used)]
        tg.autograd.backward(used, seeds)
    sums: dict[Reference, Any] = {}
    seeded = {y._node.index for y in used if y._node is not None}
    for step in tape.steps:
        if step.target in sums:
            np.testing.assert_allclose(sums.pop(step.target), step.cotangent, rtol=1e-12, atol=1e-12)
        for c in step.contributions:
            if c.target in sums:
                np.testing.assert_array_equal(c.before, sums[c.target])
            elif c.node is not None and c.node.index not in seeded:
                assert c.before is None
            np.testing.assert_array_equal(c.after, c.value if c.before is None else c.before + c.value)
            sums[c.target] = c.after
    assert not sums


def test_what_a_sweep_starts_from_is_in_the_sums() -> None:
    w = leaf(2.0)
    with tg.Tape(totals=True) as tape:
        h = w * 2
        y = h * 3
        tg.autograd.backward([y, h], [leaf(1.0), leaf(5.0)])
    (c,) = tape.steps[0].contributions
    assert (c.before, c.value, c.after) == ([5.0], [3.0], [8.0]) and tape.steps[1].cotangent == [8.0]


def test_sums_are_kept_only_where_they_are_asked_for() -> None:
    w = leaf(3.0)
    with tg.Tape() as tape:
        (w * w).backward()
    assert [(c.before, c.after) for c in tape.steps[0].contributions] == [(None, None)] * 2
    with tg.Tape(totals=True) as tape:
        (w * w).backward()
    assert [(c.before, c.after) for c in tape.steps[0].contributions] == [(None, [3.0]), ([3.0], [6.0])]

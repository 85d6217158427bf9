"""A tape for each call of backward or grad of a long program: the one that is wanted, whole, and no other."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.support.profiles import examples
from tinygrad_rnn.autograd.checkpoint import checkpoint
from tinygrad_rnn.tape.modes import Watcher
from tinygrad_rnn.tape.observe.calls import Calls, joined
from tinygrad_rnn.tape.observe.watcher import watching
from tinygrad_rnn.testing import Program, programs


def leaf(*values: Any) -> tg.Tensor:
    return tg.tensor(np.array(values), dtype=tg.float64, requires_grad=True)


def operations(tape: tg.Tape | None) -> list[str]:
    assert tape is not None
    return [f"{record.name}({', '.join(record.inputs)})" for record in tape]


def train(w: tg.Tensor, updates: int) -> list[Any]:
    """The gradients of so many updates."""
    gradients = []
    for k in range(updates):
        w.grad = None
        (w * (k + 1)).sum().backward()
        gradients.append(w.grad.numpy().copy())
        with tg.no_grad():
            w -= 0.1 * w.grad
    return gradients


@pytest.mark.parametrize(("call", "number"), [(None, 5), (1, 1), (2, 2), (4, 4), (5, 5)])
def test_the_call_that_is_wanted_is_there_alone(call: int | None, number: int) -> None:
    w = leaf(1.0, -2.0)
    with Calls(call) as calls:
        gradients = train(w, 5)
    tape = calls.tape()
    assert calls.count == 5 and operations(tape) == ["mul(w, const)", "sum(%0)"]
    assert tape is not None and len(tape.sweeps) == 1 and tape.sweeps[0].kind == "backward"
    assert (tape.shares("w").total() == gradients[number - 1]).all() and (tape.shares("w").total() == number).all()
    assert len(tape.leaves) == len(tape.leaves[0].values) == 1  # not those of the calls before


def test_a_call_that_never_came_has_no_tape() -> None:
    w = leaf(1.0)
    for call, stopped, there in ((3, False, False), (3, True, True), (4, True, False), (9, True, False)):
        with Calls(call) as calls:
            train(w, 2)
        assert (calls.tape(stopped=stopped) is not None) == there, (call, stopped)
        assert not calls.is_empty


def test_without_any_call_the_tape_is_the_forward_pass() -> None:
    w = leaf(1.0)
    with Calls() as calls:
        tg.tanh(w)
    assert operations(calls.tape()) == ["tanh(w)"] and calls.count == 0
    with Calls() as calls:
        tg.tanh(tg.ones(1))
    assert calls.tape() is None and calls.is_empty
    with Calls(1) as calls:
        tg.tanh(w)
    assert calls.tape() is None and not calls.is_empty


def test_what_follows_the_last_call_is_not_on_its_tape() -> None:
    w = leaf(1.0)
    with Calls() as calls:
        train(w, 2)
        tg.tanh(w)
        w.detach_().requires_grad_()
    assert operations(calls.tape()) == ["mul(w, const)", "sum(%0)"]
    assert operations(calls.tape(stopped=True)) == ["tanh(w)"]  # where the program stopped


def test_all_is_one_tape() -> None:
    w = leaf(1.0)
    with Calls("all") as calls:
        train(w, 3)
        tg.tanh(w)
    tape = calls.tape()
    assert tape is not None and len(tape.sweeps) == calls.count == 3 and len(tape.records) == 7


def test_the_graph_of_a_gradient_is_on_the_tape_of_the_call_that_goes_through_it() -> None:
    w = leaf(0.5, 2.0)
    with Calls() as calls:
        train(w, 3)
        (g,) = tg.autograd.grad((w**3).sum(), w, create_graph=True)
        (g * g).sum().backward()
    tape = calls.tape()
    assert tape is not None and calls.count == 5
    assert [(sweep.number, sweep.kind) for sweep in tape.sweeps] == [(0, "grad"), (1, "backward")]
    assert operations(tape)[:2] == ["pow_number(w)", "sum(%0)"] and {record.sweep for record in tape} == {None, 0}
    with tg.Tape() as expected:
        (g,) = tg.autograd.grad((w**3).sum(), w, create_graph=True)
        (g * g).sum().backward()
    assert_same(tape, expected)


def assert_same(tape: tg.Tape, expected: tg.Tape) -> None:
    """All that two tapes of one computation say; what is there twice on one may be there once on the other."""
    assert tape.table("record", "operation", "name", "result", "value") == expected.table(
        "record", "operation", "name", "result", "value"
    )
    for one, other in zip(tape, expected, strict=True):
        assert (one.number, one.references, one.sweep) == (other.number, other.references, other.sweep)
    assert [repr(leaf) for leaf in tape.leaves] == [repr(leaf) for leaf in expected.leaves]
    for mine, theirs in zip(tape.leaves, expected.leaves, strict=True):
        assert mine.number == theirs.number
        np.testing.assert_equal(mine.values, theirs.values)
    assert len(tape.sweeps) == len(expected.sweeps)
    for a, b in zip(tape.sweeps, expected.sweeps, strict=True):
        assert (a.number, a.kind, a.error) == (b.number, b.kind, b.error)
        assert [target for target, _ in a.seeds] == [target for target, _ in b.seeds]
        for c, d in zip(a.steps, b.steps, strict=True):
            assert repr(c) == repr(d) and (c.target, c.depth) == (d.target, d.depth)
            assert (c.record is None) == (d.record is None)
            assert [x.target for x in c.contributions] == [x.target for x in d.contributions]
    tg.Tape.from_json(tape.to_json())  # every reference leads somewhere


def test_samples_that_two_losses_have_in_common() -> None:
    w, v = leaf(0.5, 2.0), leaf(1.0, -1.0)

    def step() -> None:
        made = tg.tanh(w * 2)
        (made.detach() * v).sum().backward()
        (made * v).sum().backward()

    with Calls() as calls:
        for _ in range(3):
            step()
    with tg.Tape() as expected:
        step()
    tape = calls.tape()
    assert tape is not None
    assert_same(tape, expected)
    assert all(step.target.kind != "earlier" for sweep in tape.sweeps for step in sweep.steps)
    with Calls(5) as calls:  # the first of two losses goes through nothing of the round before
        for _ in range(3):
            step()
    found = calls.tape()
    assert found is not None and len(found.sweeps) == 1 and "mul(const, v)" in operations(found)


def test_a_state_that_is_never_detached_keeps_its_tape() -> None:
    w = leaf(0.5)

    def run(calls: int) -> None:
        h = tg.ones(1, dtype=tg.float64)
        for _ in range(calls):
            h = tg.tanh(w * h)
            h.sum().backward(retain_graph=True)

    with Calls() as calls:
        run(4)
    with tg.Tape() as expected:
        run(4)
    tape = calls.tape()
    assert tape is not None and len(tape.sweeps) == 4
    assert_same(tape, expected)


def test_leaves_of_both_tapes_keep_their_names_apart() -> None:
    w = leaf(0.5)
    with Calls() as calls:
        for value in (1.0, 2.0):
            x = leaf(value)
            if value == 1.0:
                kept = w + x
                kept.sum().backward(retain_graph=True)
            else:
                with tg.no_grad():
                    w *= 3.0
                y = w * x
                (y + kept).sum().backward()
    tape = calls.tape()
    assert tape is not None
    assert [leaf.name for leaf in tape.leaves] == ["w", "x", "x (2)"]
    assert [[value.tolist() for value in leaf.values] for leaf in tape.leaves] == [[[0.5], [1.5]], [[1.0]], [[2.0]]]
    assert operations(tape)[2] == "mul(w, x (2))" and tape[2].references[0].version == 1
    assert tape[2].variable == "y" and tape[0].variable == "kept"


class Cut(Watcher):
    """Tells the first tape of so many records, and the second of the rest."""

    def __init__(self, first: tg.Tape, second: tg.Tape, records: int) -> None:
        self.now, self.second, self.records = first, second, records

    def recorded(self, node: Any, output: Any) -> None:
        if not self.records:
            self.turn()
        self.records -= 1
        self.now.recorded(node, output)

    def turn(self) -> None:
        self.now = self.second

    def applied(self, *args: Any) -> None:
        self.now.applied(*args)

    def sweep_begins(self, seeds: Any) -> None:
        self.turn()
        self.now.sweep_begins(seeds)

    def reached(self, *args: Any) -> None:
        self.now.reached(*args)

    def contributed(self, *args: Any) -> None:
        self.now.contributed(*args)

    def sweep_ends(self, error: BaseException | None) -> None:
        self.now.sweep_ends(error)


@settings(max_examples=examples(40, 1000))
@given(programs(max_steps=10), st.integers(0, 10))
def test_a_program_cut_anywhere_is_whole_again(program: Program, cut: int) -> None:
    leaves = program.tensors()
    one, two, expected = tg.Tape(), tg.Tape(), tg.Tape()
    for tape in (one, two, expected):  # names are looked for in the innermost frame, which is that of a Cut here
        tape.name(**{f"v{k}": t for k, t in enumerate(leaves)})
    with expected, watching(Cut(one, two, cut)):
        outputs = [y for y in program(*leaves) if not y.is_leaf]
        if outputs:
            tg.autograd.backward(outputs, [tg.ones_like(y) for y in outputs])
    for record in [*one, *two, *expected]:
        record.variables = [None] * len(record.variables)  # so are those of results
    assert_same(joined(one, two), expected)


def test_a_program_of_two_tapes_put_together_is_that_of_one() -> None:
    w, x = leaf(0.5, 1.5), leaf(2.0, -1.0)

    def first() -> tuple[tg.Tensor, tg.Tensor]:
        a = tg.tanh(w * x)
        b, c = tg.stack([a, a * 2]).unbind()
        return b, c

    def second(b: tg.Tensor, c: tg.Tensor) -> None:
        d = b * c + w
        d.sum().backward()

    with tg.Tape() as expected:
        b, c = first()
        second(b, c)
    with tg.Tape() as one:
        b, c = first()
    with tg.Tape() as two:
        second(b, c)
    assert any(step.target.kind == "earlier" for step in two.steps)
    assert_same(joined(one, two), expected)


def test_what_no_later_call_reaches_is_let_go() -> None:
    w = leaf(1.0)
    alive = []
    with Calls() as calls:
        for _ in range(5):
            y = w * 2
            alive.append(weakref.ref(y._node))
            y.backward()
            del y
    gc.collect()
    assert [reference() is not None for reference in alive] == [False] * 4 + [True]
    del calls


def test_a_sweep_that_fails_is_a_call() -> None:
    w = leaf(1.0)
    with Calls() as calls:
        train(w, 1)
        y = tg.exp(w)
        y.backward()
        with pytest.raises(tg.errors.GraphError):
            y.backward()
    tape = calls.tape()
    assert tape is not None and calls.count == 3
    assert [sweep.error is None for sweep in tape.sweeps] == [True, False]


def test_a_sweep_within_a_sweep_is_no_call_of_its_own() -> None:
    w = leaf(0.5, 2.0)
    with Calls() as calls:
        y = checkpoint(lambda a: tg.tanh(a).sum(), w)
        y.backward()
    assert calls.count == 1


def test_names_and_stacks_end_with_the_program() -> None:
    def program() -> None:
        w = leaf(1.0)
        h = w * 2
        h.sum().backward()

    def runner() -> None:
        w = "of the runner"
        with calls:
            program()
        del w

    calls = Calls()
    runner()
    tape = calls.tape()
    assert tape is not None
    assert [line.function for line in tape.records[0].stack] == ["program"]
    assert tape.records[0].variable == "h"

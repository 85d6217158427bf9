"""A gradient as a sum in words: its numbers are those of the tape."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.taped_programs import PROGRAMS, Program, epochs, fused, sweep_that_fails, tanh_rnn, taped, weight
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError
from tinygrad_rnn.tape.observe.tape import Tape


def shrinking(steps: int = 40) -> tuple[Any, Tape]:
    """A tanh RNN whose gradient falls below the rounding of float32."""
    tg.manual_seed(0)
    W, U, x, h = (weight(3, 3) * 0.4).detach().requires_grad_(), weight(3, 2), tg.randn(steps, 2), tg.zeros(3)
    with tg.Tape() as tape:
        for t in range(steps):
            a = W @ h + U @ x[t]
            h = tg.tanh(a)
        loss = (h * h).sum()
        loss.backward()
    return W, tape


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("values", ["all", 3, "shapes"])
def test_leaves_and_records_of_all_programs_are_explained(program: Program, values: Any) -> None:
    tape = taped(program, values=values)
    for leaf in tape.leaves:
        found = tape.explain(leaf.name)
        assert leaf.name in str(found) and str(found) == repr(found) == found.text
        for s in found.sums:
            shares = tape.shares(leaf.name, s.sweep)
            assert [term.record for term in s.terms] == [share.record for share in shares]
    for record in tape.records[:40:6]:
        assert f"%{record.number}" in str(tape.explain(record)) or record.variable
        assert str(tape.explain(record)) == str(tape.explain(record.number))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_tape_that_was_read_from_json_says_the_same(program: Program) -> None:
    tape = taped(program)
    again = Tape.from_json(tape.to_json())
    for leaf in tape.leaves:
        assert str(again.explain(leaf.name)) == str(tape.explain(leaf.name))
    for n in range(0, len(tape), max(7, len(tape) // 8)):
        assert str(again.explain(n)) == str(tape.explain(n))


def test_the_numbers_are_those_of_the_shares() -> None:
    W, tape = shrinking()
    (s,) = tape.explain(W).sums
    shares = [share.value.astype(np.float64) for share in tape.shares(W)]
    total = W.grad.numpy().astype(np.float64)
    assert s.total.norm == pytest.approx(float(np.linalg.norm(total)), rel=1e-12)
    for term, share in zip(s.terms, shares, strict=True):
        norm = float(np.linalg.norm(share))
        assert term.size.norm == pytest.approx(norm, rel=1e-12)
        if norm == 0:
            assert term.part is None and term.cosine is None and term.size.kind == "zero"
            continue
        assert term.cosine == pytest.approx(
            float((share * total).sum()) / norm / float(np.linalg.norm(total)), rel=1e-9
        )
        assert term.part == pytest.approx(float((share * total).sum() / (total * total).sum()), rel=1e-9)
    # each share was rounded when it was added
    assert sum(term.part or 0 for term in s.terms) == pytest.approx(1, abs=40 * float(np.finfo(np.float32).eps))
    assert s.terms[-1].so_far.norm == s.total.norm


def test_without_the_shares_that_are_said_to_be_lost_the_sum_is_the_same_to_the_bit() -> None:
    W, tape = shrinking()
    (s,) = tape.explain(W).sums
    lost = [k for k, term in enumerate(s.terms) if term.changes is False]
    assert 10 < len(lost) < 39
    shares = [share.value for share in tape.shares(W)]
    kept = [value for k, value in enumerate(shares) if k not in lost]
    total = kept[0]
    for value in kept[1:]:
        total = total + value
    assert np.array_equal(total, W.grad.numpy())
    before = shares[0]
    for k, value in enumerate(shares[1:], 1):
        assert (k in lost) == np.array_equal(before + value, before)
        before = before + value
    count = len([k for k in lost if shares[k].any()])
    assert f"{count} shares are below the rounding of the sum" in str(tape.explain(W))


def test_the_time_step_that_contributes_most_is_named() -> None:
    W, tape = shrinking()
    norms = [float(np.linalg.norm(share.value)) for share in tape.shares(W)]
    largest = tape.shares(W)[int(np.argmax(norms))].record
    assert largest is not None
    text = str(tape.explain(W))
    assert f"The largest share is that of %{largest.number} (t={largest.number // 4})" in text
    assert "W @ h" in text and "... 4 more" in text


def test_tensors_records_numbers_and_names_are_the_same_question() -> None:
    _, tape = shrinking(3)
    record = tape.records[-2]
    assert record.name == "mul"
    by_number = str(tape.explain(record.number))
    assert str(tape.explain(record)) == by_number == str(tape.explain(record.number - len(tape)))
    assert "The cotangent of %12" in by_number
    assert "A sweep started from loss" in str(tape.explain("loss"))


def test_computed_tensors() -> None:
    x = weight(3)
    with tg.Tape() as tape:
        h = tg.tanh(x)
        y = (h * h + h).sum()
        y.backward()
    for what in (h, "h", 0, tape[0]):
        found = tape.explain(what)
        (s,) = found.sums
        assert len(s.terms) == 3 and "The cotangent of h (%0 = tanh(x), float32[3])" in str(found)
        total = sum(share.value for share in [c for step in tape.steps for c in step.contributions if c.to == "%0"])
        assert s.total.norm == pytest.approx(float(np.linalg.norm(total)), rel=1e-6)
    assert "h * h, as a" in str(tape.explain(h)) and "h * h, as b" in str(tape.explain(h))
    assert "x.grad (float32[3]) is one share, of its one use" in str(tape.explain(x))


def test_views_are_uses_of_what_they_show() -> None:
    W = weight(2, 3)
    with tg.Tape() as tape:
        for _ in range(2):
            (tg.randn(1, 3) @ W.T).sum().backward()
    text = str(tape.explain(W))
    assert text.count("· @ W.T") == 2
    assert "W.grad in sweep 0 (backward)" in text and "W.grad in sweep 1 (backward)" in text
    assert "W.grad is the sum over the sweeps 0 and 1" in text


def test_outputs_of_a_fused_record_and_how_to_open_it() -> None:
    rnn, x = tg.nn.RNN(2, 3), tg.randn(5, 1, 2)
    with tg.Tape() as tape:
        out, last = rnn(x)
        (out.sum() + (last * 2).sum()).backward()
    assert "tape.expand(0).explain('rnn.weight_hh_l0')" in str(tape.expand and tape.explain(rnn.weight_hh_l0))
    assert len(tape.expand(0).explain("rnn.weight_hh_l0").sums[0].terms) == 5
    found = tape.explain(out)
    assert "The cotangent of out" in str(found) and found.sums[0].total.norm == pytest.approx(15**0.5)
    assert tape.explain(last).sums[0].total.norm == pytest.approx(2 * 3**0.5)
    assert len(tape.explain(0).sums) == 2
    assert "The cotangent of last" in str(tape.explain(0)) and taped(fused) is taped(fused)


def test_returned_gradients_are_told_from_those_that_are_added() -> None:
    w = weight(2)
    with tg.Tape() as tape:
        tg.autograd.grad((w * w).sum(), w)
        (w * 3).sum().backward()
    text = str(tape.explain(w))
    assert "The gradient of w in sweep 0 (autograd.grad)" in text and "w.grad in sweep 1 (backward)" in text


def test_what_no_gradient_came_to_is_said_with_the_reason() -> None:
    w, unused = weight(2), weight(2)
    with tg.Tape() as tape:
        y = w * 2
        z = unused * 3
    assert "has watched no backward pass yet" in str(tape.explain(w))
    with tape:
        y.sum().backward()
    assert "had no part in what the sweep went through" in str(tape.explain(unused))
    assert "had no part" in str(tape.explain(z))
    assert "neither used nor computed" in str(tape.explain(weight(3)))
    failed = taped(sweep_that_fails)
    assert "It ended with ValueError" in str(failed.explain("w"))


def test_what_the_tape_did_not_keep_is_not_made_up() -> None:
    tape = taped(tanh_rnn, values="shapes")
    found = tape.explain("W")
    assert "The tape did not keep these arrays" in str(found) and "part" not in str(found).split("\n")[2]
    assert all(term.part is None and term.size.kind == "unknown" for term in found.sums[0].terms)
    some = taped(tanh_rnn, values=3).explain("W")
    assert all(term.size.kind in ("number", "zero") for term in some.sums[0].terms)


def test_parts_of_gradients_that_cancel_and_of_zero() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    with tg.Tape() as tape:
        (w.sum() - w.sum()).backward()
    (s,) = tape.explain(w).sums
    assert s.total.kind == "zero" and all(term.part is None and term.cosine is None for term in s.terms)


@pytest.mark.parametrize("scale", [1e-160, 1e160])
def test_cosines_of_very_small_and_very_large_shares(scale: float) -> None:
    w = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
    with tg.Tape() as tape:
        ((w * (3 * scale)).sum() + (w * scale).sum()).backward()
    (s,) = tape.explain(w).sums
    assert [term.cosine for term in s.terms] == pytest.approx([1, 1])
    assert sorted(term.part or 0 for term in s.terms) == pytest.approx([0.25, 0.75])


def test_shares_that_are_not_finite_are_named() -> None:
    w = tg.tensor([0.0, 1.0], requires_grad=True)
    with tg.Tape() as tape:
        (tg.log(w).sum() + w.sum()).backward()
    text = str(tape.explain(w))
    assert "1 share is not finite; the first is that of %0" in text and re.search(r"%0 .*inf .*not finite", text)


def test_questions_without_an_answer_are_refused() -> None:
    tape = taped(tanh_rnn)
    with pytest.raises(ArgumentError, match="'nope'; there are W, U, a, h, loss"):
        tape.explain("nope")
    with pytest.raises(ArgumentError, match=r"'h' is the name of 30 results, %3, %7, %11, \.\.\., %119"):
        tape.explain("h")
    for number in (len(tape), -len(tape) - 1):
        with pytest.raises(ArgumentError, match="no record"):
            tape.explain(number)
    for what in (None, 1.5, True, [1]):
        with pytest.raises(ArgumentTypeError, match="expected a Tensor"):
            tape.explain(what)  # type: ignore[arg-type]
    assert len(taped(epochs).explain("W").sums) == 3

"""What a tape shows is what was: values when they were recorded, arguments, leaves by version, within a budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad_rnn as tg
from tests.support.profiles import examples
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.tape.observe.values import Summary, short, size_of_norm
from tinygrad_rnn.tape.primitive import REGISTRY
from tinygrad_rnn.testing import Program, programs


def leaf(*values: Any) -> tg.Tensor:
    return tg.tensor(np.array(values), dtype=tg.float64, requires_grad=True)


def test_a_value_is_what_it_was_when_it_was_recorded() -> None:
    w = leaf(1.0, 2.0)
    with tg.Tape() as tape:
        y = w * 3 + 1
        y.mul_(10.0)
        y[0] = 0.0
    with tg.no_grad():
        y.fill_(-1.0)
    assert [r.value.tolist() for r in tape[:3]] == [[3.0, 6.0], [4.0, 7.0], [40.0, 70.0]]
    assert y.tolist() == [-1.0, -1.0] and tape[3].value.tolist() == [0.0, 70.0]


def test_values_of_a_fused_layer_are_copies_too() -> None:
    lstm = tg.nn.LSTM(2, 3)
    with tg.Tape() as tape:
        output, _ = lstm(tg.ones(2, 1, 2))
        fused = next(r for r in tape if r.name == "lstm")
        before = [np.array(value) for value in fused.value]
        with tg.no_grad():
            output.fill_(9.0)
    assert len(before) == 3 and any(np.any(value) for value in before)
    for value, was in zip(fused.value, before, strict=True):
        np.testing.assert_array_equal(value, was)


def test_what_a_recorded_sweep_shows_does_not_change_with_the_gradient() -> None:
    x = leaf(2.0)
    seed = tg.tensor([1.0], dtype=tg.float64)
    with tg.Tape() as tape:
        (x * x).backward(seed, create_graph=True)
    seed.fill_(7.0)
    assert x.grad is not None
    x.grad.detach().fill_(5.0)
    assert tape.steps[0].cotangent.tolist() == [1.0] and tape.steps[-1].cotangent.tolist() == [4.0]
    assert [type(c.value) for s in tape.steps for c in s.contributions] == [np.ndarray] * 2


@settings(max_examples=examples(40, 1000))
@given(programs(max_steps=12))
def test_each_record_gives_its_value_when_it_is_run_again_on_its_arguments(program: Program) -> None:
    """The forward function of the primitive on ``record.arguments`` and ``params``: bit for bit, for every record."""
    with tg.Tape() as tape:
        outputs = program(*program.tensors())
        with tg.no_grad():  # what comes later changes nothing
            for y in outputs:
                if not y.is_leaf and not y._is_view():
                    y.fill_(3.0)
    for record in tape:
        primitive = REGISTRY[record.name]
        if primitive.name in ("view_write", "setitem", "forget", "output"):
            continue
        again = primitive.forward(*record.arguments, **record.params)
        np.testing.assert_array_equal(again, record.value, err_msg=repr(record))


def test_a_leaf_has_a_value_for_each_version_that_was_used() -> None:
    w, x = leaf(1.0), leaf(10.0)
    optimizer = tg.optim.SGD([w], lr=0.5)
    with tg.Tape() as tape:
        for _ in range(3):
            optimizer.zero_grad()
            (w * x + w).sum().backward()
            optimizer.step()
    by_name = {found.name: found for found in tape.leaves}
    assert [value.tolist() for value in by_name["w"].values] == [[1.0], [-4.5], [-10.0]]
    assert len(by_name["x"].values) == 1
    uses = [r.references[0].version for r in tape if r.name == "mul"]
    assert uses == [0, 1, 2] and [r.arguments[0].tolist() for r in tape if r.name == "mul"] == [[1.0], [-4.5], [-10.0]]


def test_a_leaf_whose_memory_is_exchanged_has_a_new_version() -> None:
    w = leaf(1.0)
    with tg.Tape() as tape:
        _ = w * 2
        w.data = tg.tensor([5.0], dtype=tg.float64)
        _ = w * 2
        _ = w * 3
    assert [value.tolist() for value in tape.leaves[0].values] == [[1.0], [5.0]]
    assert [r.references[0].version for r in tape] == [0, 1, 1]
    assert tape[1].arguments[0] is tape[2].arguments[0]  # one copy for each version


def test_an_argument_that_was_written_to_without_recording_has_its_value_at_the_use() -> None:
    w = leaf(1.0)
    with tg.Tape() as tape:
        h = w * 2
        with tg.no_grad():
            h.add_(1.0)
        _ = h * 5
        _ = h * 6
    assert tape[0].value.tolist() == [2.0] and tape[1].arguments[0].tolist() == [3.0] and tape[1].value.tolist() == [15]
    assert tape[1].arguments[0] is tape[2].arguments[0]


def test_arguments_are_shared_with_the_values_of_the_records_that_made_them() -> None:
    w = leaf(1.0, 2.0)
    constant = tg.tensor([4.0, 5.0], dtype=tg.float64)
    with tg.Tape() as tape:
        h = w * constant
        y = h * constant
    assert tape[1].arguments[0] is tape[0].value and tape[1].arguments[1] is tape[0].arguments[1]
    assert tape[0].arguments[0] is tape.leaves[0].values[0]
    constant.fill_(0.0)
    assert tape[0].arguments[1].tolist() == [4.0, 5.0] and y.requires_grad


def test_what_is_saved_has_the_names_of_the_arguments() -> None:
    x, W, b = leaf(1.0, 2.0).reshape(1, 2), leaf([3.0, 4.0]), leaf(0.5)
    with tg.Tape() as tape:
        y = tg.nn.functional.linear(x, W, b)
        z = tg.tanh(y) + y * 2.0
        tg.exp(z).sum().backward()
    saved = [(r.name, {name: np.asarray(value).tolist() for name, value in r.saved.items()}) for r in tape]
    assert saved[0] == ("linear", {"x": [[1.0, 2.0]], "weight": [[3.0, 4.0]]})
    assert saved[1] == ("tanh", {"y": tape[1].value.tolist()}) and saved[2] == ("mul", {"b": 2.0})
    assert saved[3] == ("add", {}) and list(saved[4][1]) == ["y"] and saved[5] == ("sum", {})
    assert tape[0].node is not None and tape[0].node.args is None  # freed by the sweep; the tape has copies


def test_what_a_custom_function_saved() -> None:
    class Square(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x * x
            ctx.save_for_backward(x, y, tg.ones(1))
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 2 * g * ctx.saved_tensors[0]

    with tg.Tape() as tape:
        Square.apply(leaf(3.0))
    assert {name: value.tolist() for name, value in tape[0].saved.items()} == {
        **{"argument 0": [3.0], "output 0": [9.0], "saved by it": [1.0]}
    }
    assert tape[0].arguments[0].tolist() == [3.0]


# budgets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [3, "shapes"])
def test_a_budget_keeps_summaries_of_larger_arrays(values: Any) -> None:
    w, v = leaf(1.0, 2.0, 3.0), leaf(*range(1, 11))
    with tg.Tape(values=values) as tape:
        (w * 2).sum().backward()
        (v * np.nan).sum().backward()
    small, large = tape[0].value, tape[2].value
    assert tape.values == values and isinstance(large, Summary) and large.shape == (10,) and large.size == 10
    if values == "shapes":
        assert isinstance(small, Summary) and repr(small) == "float64[3]"
        assert (small.norm, small.minimum, small.head.size) == (None, None, 0)
        assert repr(tape.shares(w)[0]).startswith("float64[3] from %0 = mul(w, const)")
    else:
        assert small.tolist() == [2.0, 4.0, 6.0] and tape.shares(w)[0].value.tolist() == [2.0, 2.0, 2.0]
        argument: Any = tape[2].arguments[0]
        assert (argument.minimum, argument.maximum, argument.norm) == (1.0, 10.0, pytest.approx(385**0.5, rel=1e-15))
        assert argument.head.tolist() == list(range(1, 9)) and argument.dtype == tg.float64
        assert (large.minimum, large.maximum) == (None, None) and large.norm is not None and np.isnan(large.norm)
    assert "[10]" in tape.table("value")


@pytest.mark.parametrize("values", [-1, "some", 2.5, True, None])
def test_a_budget_that_is_none_is_refused(values: Any) -> None:
    with pytest.raises(ArgumentError, match="values must be 'all', 'shapes' or the number of entries"):
        tg.Tape(values=values)


def test_norms_neither_overflow_nor_vanish() -> None:
    for kind in (np.float16, np.float32, np.float64):
        tiny = np.full(4, np.finfo(kind).smallest_subnormal)
        assert size_of_norm(tiny) == 2 * float(tiny[0]) > 0
        huge = np.full(4, np.finfo(kind).max / 4)
        assert size_of_norm(huge) == pytest.approx(2 * float(huge[0]), rel=1e-12)
    assert size_of_norm(np.array([3 + 4j])) == 5 and size_of_norm(np.array([True] * 9)) == 3
    assert size_of_norm(np.array([1.0, -np.inf])) == np.inf and np.isnan(size_of_norm(np.array([1.0, np.nan])))
    assert size_of_norm(np.empty(0)) == 0
    assert short(np.full(9, 1e-30, np.float32)) == "float32[9] of norm 3e-30"


@pytest.mark.parametrize("dtype", [tg.float16, tg.float32, tg.complex64])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,)])
def test_empty_arrays_and_numbers_of_any_type_have_a_text(dtype: Any, shape: tuple[int, ...]) -> None:
    if dtype is tg.complex64:
        w = tg.ones(*shape, requires_grad=True) if shape else tg.tensor(1.0, requires_grad=True)
        with tg.Tape() as tape:
            y = w.to(tg.complex64) * 2j
    else:
        w = tg.ones(*shape, dtype=dtype, requires_grad=True) if shape else tg.tensor(1.0, dtype=dtype).requires_grad_()
        with tg.Tape() as tape:
            y = w * 2
    assert tape[-1].value.shape == shape == y.shape and tape[-1].value.dtype == y.dtype
    assert str(tape) and all(short(r.value) for r in tape)
    summary = Summary.of(tape[-1].value)
    assert summary.size == y.numel() and str(summary)


# arrays of a device --------------------------------------------------------------------------------------------------


def test_arrays_of_a_device_stay_there_until_they_are_shown_or_written(xp: Any) -> None:
    W = tg.as_tensor(xp.asarray(np.array([[0.5, -0.25], [1.0, 2.0]]))).requires_grad_()
    h = tg.as_tensor(xp.asarray(np.array([[1.0, 2.0]])))
    with tg.Tape(totals=True) as tape:
        for t in range(2):
            with tape.at(t=t):
                h = tg.tanh(h @ W.T)
        h.sum().backward()
        with tg.no_grad():
            W -= 1
        _ = W * 2
    assert {type(r.value) for r in tape} == {xp.ndarray}
    assert all(type(c.after) is xp.ndarray for s in tape.steps for c in s.contributions)
    assert [len(leaf.values) for leaf in tape.leaves] == [2] and tape.leaves[0].name == "W"
    shares = tape.shares(W)
    assert [s.record.time for s in shares if s.record is not None] == [1, 0]
    total = tg.as_tensor(shares.total())
    assert (total - W.grad).abs().max().item() < 1e-12
    assert str(tape) and tape.table("value") and all(map(repr, tape.steps))
    again = tg.Tape.from_json(tape.to_json())
    assert again.table("value") == tape.table("value")
    with tg.Tape(values=2) as small:
        (W * 2).sum().backward()
    assert isinstance(small[0].value, Summary) and isinstance(small[0].value.norm, float)

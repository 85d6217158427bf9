"""The tape as an object: what it lists, what it shows of a sweep, and shares that add up to the gradient exactly."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad_rnn as tg
from tests.support.profiles import examples
from tests.support.shares import is_rounded
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, GraphError
from tinygrad_rnn.tape.modes import state
from tinygrad_rnn.tape.multi_output import fused
from tinygrad_rnn.tape.observe.text_table import table
from tinygrad_rnn.tape.observe.watcher import Watching
from tinygrad_rnn.tape.tensor import wrap
from tinygrad_rnn.testing import Program, programs


def leaf(*values: Any) -> tg.Tensor:
    return tg.tensor(np.array(values), dtype=tg.float64, requires_grad=True)


def recurrent() -> tuple[tg.Tape, tg.Tensor, tg.Tensor]:
    """One weight used three times; the tape of it, the weight and the loss."""
    W = leaf(0.5, -0.25)
    h = tg.tensor([1.0, 2.0], dtype=tg.float64)
    with tg.Tape() as tape:
        for x in (1.0, -1.0, 2.0):
            h = tg.tanh(W * h + x)
        loss = h.sum()
    return tape, W, loss


# the list ----------------------------------------------------------------------------------------------------------


def test_records_are_listed_in_order_with_names_shapes_and_lines() -> None:
    tape, _, _ = recurrent()
    assert [r.name for r in tape] == ["mul", "add", "tanh"] * 3 + ["sum"]
    assert len(tape) == 10 and repr(tape) == "<Tape of 10 records>"
    assert [r.number for r in tape] == list(range(10)) and tape[-1].name == "sum" and len(tape[2:4]) == 2
    first = tape[0]
    assert (first.shape, first.dtype, first.inputs) == ((2,), np.dtype("float64"), ("W", "const"))
    assert tape[3].inputs == ("W", "%2") and tape[9].inputs == ("%8",)
    assert repr(tape[3]) == "%3 = mul(W, %2) : float64[2]"
    assert first.line is not None and first.line.text == "h = tg.tanh(W * h + x)" and first.line.function == "recurrent"
    np.testing.assert_array_equal(first.value, [0.5, -0.5])


def test_only_what_happens_inside_is_recorded() -> None:
    x = leaf(1.0)
    before = x * 2
    with tg.Tape() as tape:
        inside = before * 3
        with tg.no_grad():
            _ = inside * 4
    _ = inside * 5
    assert [r.name for r in tape] == ["mul"]
    assert tape[0].inputs[0].startswith("mul#")  # made before: no record of this tape
    with tape:  # it may be opened again, and goes on
        _ = inside * 6
    assert [r.inputs[0] for r in tape][1] == "%0"


def test_leaves_are_named_after_variables_modules_or_as_told() -> None:
    model = tg.nn.Linear(2, 1)
    with tg.Tape() as tape:
        y = model(tg.ones(1, 2)) + sum([leaf(1.0).float()])
    assert tape[-1].inputs[0].startswith("%")
    tape.name(model)
    assert "weight" in tape[0].inputs and "bias" in tape[0].inputs
    x = leaf(1.0)
    with tg.Tape() as tape:
        _ = [t * 2 for t in [x]]
    tape.name(renamed=x)
    assert tape[0].inputs == ("renamed", "const")
    assert y.requires_grad


def test_nameless_leaves_get_numbers() -> None:
    with tg.Tape() as tape:
        _ = leaf(1.0) * leaf(2.0)
    assert tape[0].inputs == ("leaf0", "leaf1")


def test_the_table_has_a_line_for_each_record() -> None:
    tape, _, _ = recurrent()
    head, *lines = str(tape).splitlines()
    assert head.split() == ["record", "operation", "name", "result", "saved", "bytes", "line"]
    assert len(lines) == 10 and lines[0].startswith("%0") and "mul(W, const)" in lines[0] and "float64[2]" in lines[0]
    assert "test_tape.py:" in lines[0] and "h = tg.tanh(W * h + x)" in lines[0]
    narrow = tape.table("operation", "value").splitlines()
    assert narrow[0].split() == ["operation", "value"] and narrow[1].endswith(" [ 0.5, -0.5]")
    with pytest.raises(
        ArgumentError, match=r"Tape.table\(\): no column 'size'; there are record, operation, name, result"
    ):
        tape.table("size")


def test_a_record_that_no_line_of_the_user_made_has_an_empty_cell() -> None:
    tape, _, _ = recurrent()
    tape[1].line = None
    assert tape.table("record", "line").splitlines()[2] == "%1"


def test_columns_of_a_table_are_aligned() -> None:
    text = table(("name", "n"), [("a", "1"), ("long", "100")], right=(1,))
    assert text == "name    n\na       1\nlong  100"


def test_long_values_are_shown_by_shape_and_norm() -> None:
    x = leaf(*np.full(16, 0.5))
    with tg.Tape() as tape:
        y = (x * 2).sum() + 0 * x[:6].sum()
        y.backward()
    assert tape.table("value").splitlines()[1] == "float64[16] of norm 4"
    assert tape.table("value").splitlines()[2] == "16"
    assert any("[0.5, 0.5, 0.5, 0.5, 0.5, 0.5]" in line for line in tape.table("value").splitlines())
    assert "cotangent 1" in repr(tape.steps[0])


# the sweep ---------------------------------------------------------------------------------------------------------


def test_steps_of_a_sweep_show_cotangents_and_contributions() -> None:
    x, y = leaf(2.0), leaf(3.0)
    with tg.Tape() as tape:
        z = x * y + x
    steps = tape.backward(z, leaf(10.0))
    assert steps is tape.steps and [s.name for s in steps] == ["%1", "%0", "y", "x"]
    add, mul, _, last = steps
    assert add.record is tape[1] and [c.to for c in add.contributions] == ["%0", "x"]
    assert [(c.to, c.position, c.value.tolist()) for c in mul.contributions] == [("x", 0, [30.0]), ("y", 1, [20.0])]
    assert last.record is None and last.cotangent.tolist() == [40.0] and last.contributions == []
    assert x.grad is not None and x.grad.tolist() == [40.0]
    assert repr(mul) == "%0 = mul(x, y) : float64[1]\n    cotangent [10.]\n    -> x: [30.]\n    -> y: [20.]"
    assert repr(last) == "x (leaf)\n    cotangent [40.]"


def test_what_a_step_shows_does_not_change_as_the_sweep_goes_on() -> None:
    x = leaf(1.0, 2.0)
    with tg.Tape() as tape:
        z = (x[0] * x[1] + x[0]).sum()
        z.backward()
    shown = [c.value for s in tape.steps for c in s.contributions if c.to == "x"]
    np.testing.assert_array_equal(sum(shown), x.grad.numpy())  # type: ignore[union-attr]
    x.grad.zero_()  # type: ignore[union-attr]
    assert any(np.any(value) for value in shown)


def test_the_last_sweep_is_shown() -> None:
    x = leaf(1.0)
    with tg.Tape() as tape:
        y = x * 2
        y.backward(leaf(1.0), retain_graph=True)
        assert tape.steps[0].cotangent.tolist() == [1.0]
        y.backward(leaf(5.0))
    assert tape.steps[0].cotangent.tolist() == [5.0]


@settings(max_examples=examples(40, 2000))
@given(programs(max_steps=15))
def test_shares_add_up_to_the_gradient_bit_by_bit(program: Program) -> None:
    """Same dtype, same order: ``((s0 + s1) + s2) + ...`` is ``.grad``, exactly, unless an entry was read twice."""
    leaves = program.tensors()
    with tg.Tape() as tape:
        outputs = program(*leaves)
    assert [r.name for r in tape] == [s.name for s in program.steps]
    rng = np.random.default_rng(0)
    seeds = [wrap(rng.standard_normal(y.shape)) for y in outputs]
    used = [(y, s) for y, s in zip(outputs, seeds, strict=True) if not y.is_leaf]
    if not used:
        return
    tape.backward([y for y, _ in used], [s for _, s in used])
    for t in leaves:
        if t.grad is None:
            with pytest.raises(GraphError, match="was not used by anything that the last sweep went through"):
                tape.shares(t)
            continue
        shares = tape.shares(t)
        total = shares.total()
        assert total.dtype == t.dtype
        if any(is_rounded(tape, s) for s in shares):
            rounding = 1e-14 * sum(np.abs(s.value).max() for s in shares)
            np.testing.assert_allclose(total, t.grad.numpy(), rtol=0, atol=rounding)
        else:
            np.testing.assert_array_equal(total, t.grad.numpy())
        uses = [s.record.node.parents[s.position] for s in shares if s.record is not None and not s.through]
        assert len(shares) == sum(s.record is not None for s in shares) and all(used is t._node for used in uses)


def test_shares_of_a_tied_weight_come_from_its_uses_latest_first() -> None:
    tape, W, loss = recurrent()
    tape.backward(loss)
    shares = tape.shares(W)
    assert [s.record.number for s in shares if s.record] == [6, 3, 0] and {s.position for s in shares} == {0}
    assert repr(shares[0]).endswith("from %6 = mul(W, %5) : float64[2]")


def test_a_fused_layer_is_one_record_with_its_outputs_as_places() -> None:
    layer = tg.nn.LSTM(2, 3)
    with tg.Tape() as tape:
        output, (h, c) = layer(tg.ones(4, 1, 2))
        loss = output.sum() + c.sum() + h.sum()
    names = [r.name for r in tape]
    assert names.count("lstm") == 1 and len(names) < 12
    fused = next(r for r in tape if r.name == "lstm")
    assert (
        tape.record_of(output).name in ("lstm", "reshape", "getitem", "transpose", "stack", "cat")
        and fused.saved_bytes > 0
    )
    tape.backward(loss)
    assert not any(s.name.startswith("output#") for s in tape.steps)
    weight = layer.weight_hh_l0
    np.testing.assert_array_equal(tape.shares(weight)[0].value, weight.grad.numpy())


@functools.cache
def pair() -> Any:
    """A fused primitive of two outputs, the sum and the difference of its arguments."""
    return fused(
        "pair_of_tests",
        lambda a, b: ((a + b, a - b), None),
        lambda gs, residual, a, b, needs: [gs[0], gs[0]],
        lambda a, b: (a + b, a - b),
    )


def test_outputs_of_a_fused_primitive_are_places_in_its_record_and_none_where_no_gradient_came() -> None:
    x, w = leaf(3.0), leaf(1.0)
    with tg.Tape() as tape:
        total, difference = pair()(x, w)
        y = total * 10
        z = difference * 2
    assert [r.name for r in tape] == ["pair_of_tests", "mul", "mul"]
    assert [r.inputs for r in tape] == [("x", "w"), ("%0.0", "const"), ("%0.1", "const")]
    assert tape.record_of(total) is tape.record_of(difference) is tape[0] and tape.record_of(z) is tape[2]
    assert tape.table("value").splitlines() == ["value", "[4.], [2.]", "[40.]", "[4.]"]
    assert [repr(step).split("\n") for step in tape.backward(y)] == [
        ["%1 = mul(%0.0, const) : float64[1]  # y", "    cotangent [1.]", "    -> %0.0: [10.]"],
        [
            "%0 = pair_of_tests(x, w) : float64[1]  # total, difference",
            *("    cotangent [10.], None", "    -> x: [10.]", "    -> w: [10.]"),
        ],
        ["w (leaf)", "    cotangent [10.]"],
        ["x (leaf)", "    cotangent [10.]"],
    ]


def test_what_a_sweep_shows_of_what_was_recorded_before_the_tape() -> None:
    x, w = leaf(3.0), leaf(1.0)
    before = pair()(x, w)[0] * 1
    with tg.Tape() as tape:
        y = before * 2
    steps = tape.backward(y)
    node = before.grad_fn
    assert node is not None
    fused_node = node.parents[0].parents[0]  # type: ignore[union-attr]
    names = ["%0", f"mul#{node.index}", f"pair_of_tests#{fused_node.index}"]  # type: ignore[union-attr]
    assert [step.name for step in steps] == [*names, "w", "x"]
    assert [step.record for step in steps] == [tape[0], None, None, None, None]
    assert repr(steps[2]).startswith(f"{names[2]} (recorded before this tape)\n")
    assert repr(tape.shares(x)[0]) == "[2.] from something recorded before this tape"
    assert [c.to for c in steps[1].contributions] == [f"{names[2]}.0"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1 / 3, "0.3333"),
        ([1 / 3, 2 / 3], "[0.3333, 0.6667]"),
        ([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "[[1., 2., 3.], [4., 5., 6.]]"),
        ([1 / 3] * 7, "float64[7] of norm 0.8819"),
        ([[2.0] * 4] * 4, "float64[4, 4] of norm 8"),
    ],
)
def test_up_to_six_numbers_are_shown_to_four_digits_more_by_their_norm(value: Any, shown: str) -> None:
    x = tg.tensor(value, dtype=tg.float64, requires_grad=True)
    with tg.Tape() as tape:
        _ = x * 1
    assert tape.table("value").splitlines()[1].strip() == shown


def test_a_leaf_is_named_after_a_global_variable_too_but_first_after_a_local_one() -> None:
    space = {"tg": tg, "x": leaf(1.0), "y": leaf(2.0)}
    exec("def run(y):\n    with tg.Tape() as tape:\n        x * y\n    return tape", space)
    run: Any = space["run"]
    assert run(space["y"])[0].inputs == ("x", "y")
    assert run(space["x"])[0].inputs == ("y", "y")


def test_a_write_is_listed_with_what_it_makes_of_the_family() -> None:
    x = leaf(1.0, 2.0)
    with tg.Tape() as tape:
        y = x * 2
        part = y[:1]
        part.normal_()
        part.mul_(x[1])
    assert [r.node.name() for r in tape] == [
        *("MulBackward0", "GetitemBackward0", "ForgetBackward0", "CopySlices", "GetitemBackward0"),
        *("GetitemBackward0", "MulBackward0", "CopySlices", "GetitemBackward0"),
    ]
    assert [r.inputs for r in tape][2:5] == [("%1",), ("%0", "%2"), ("%3",)]  # at last the part of the new value
    assert [r.inputs for r in tape][6:] == [("%4", "%5"), ("%3", "%6"), ("%7",)]
    np.testing.assert_array_equal(tape[7].value, y._data)


def test_of_equal_watchers_the_innermost_goes() -> None:
    first, second, third = Watching(), Watching(), Watching()
    with first, second, third:
        with first:
            assert state.watchers == (first, second, third, first)
        assert state.watchers == (first, second, third)
    assert state.watchers == ()


def test_a_tape_that_is_opened_within_itself_sees_everything_once() -> None:
    x = leaf(2.0)
    with tg.Tape() as tape:
        with tape:
            y = x * x
        z = y * 3
        tape.backward(z)
    assert state.watchers == ()
    assert [r.name for r in tape] == ["mul", "mul"] and len(tape.sweeps) == 1 and len(tape.steps) == 3


def test_the_record_of_a_tensor() -> None:
    tape, W, loss = recurrent()
    assert tape.record_of(loss) is tape[9]
    for other in (W, leaf(1.0) * 2):
        with pytest.raises(GraphError, match="this tensor was not computed by a record of this tape"):
            tape.record_of(other)


def test_questions_that_have_no_answer_are_errors() -> None:
    tape, W, _ = recurrent()
    with pytest.raises(GraphError, match="this tape has watched no backward pass yet"):
        tape.shares(W)
    with pytest.raises(ArgumentTypeError, match=r"shares\(\): expected a Tensor, or the name of a leaf, got int"):
        tape.shares(3)  # type: ignore[arg-type]


# memory ------------------------------------------------------------------------------------------------------------


def test_memory_says_what_is_held_and_by_which_record() -> None:
    x = leaf(*np.linspace(0, 1, 100))
    with tg.Tape() as tape:
        a = tg.tanh(x)  # 800 bytes: its output
        b = x * 2  # nothing: a number is no array
        c = a * b  # 800 more: a is the output of the first record, counted there
        d = c.reshape(10, 10)
        loss = d.sum()
    report = tape.memory()
    assert [(record.name, size) for record, size in report.by_record] == [("tanh", 800), ("mul", 800)]
    assert report.total == 1600
    assert str(report).splitlines() == [
        "bytes  held by",
        f"  800  {tape[0]!r}",
        f"  800  {tape[2]!r}",
        " 1600  in all",
    ]
    loss.backward()
    assert tape.memory().total == 0 and tape.memory().by_record == []


def test_memory_counts_views_of_one_array_once() -> None:
    x = leaf(*np.linspace(0, 1, 10))
    with tg.Tape() as tape:
        y = x * x  # noqa: F841  (both arguments saved: one array)
        z = x[:5] * x[5:]  # noqa: F841  (views of it)
    assert tape.memory().total == 80 and len(tape.memory().by_record) == 1
    assert [r.saved_bytes for r in tape] == [160, 0, 0, 80]


def test_memory_names_the_largest_first_and_finds_what_a_custom_function_keeps() -> None:
    class Kept(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.table = {"rows": [x.detach()], "numbers": np.ones(30)}  # x again: it is counted once
            ctx.one = tg.ones(25, dtype=tg.float64)
            ctx.myself, ctx.function, ctx.module = ctx, np.tanh, np  # these hold nothing for the sweep
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    x = leaf(*np.linspace(0, 1, 5))
    with tg.Tape() as tape:
        y = x.exp()
        z = Kept.apply(y)
        w = tg.cat([z, z, z, z]).exp()  # noqa: F841
    found = tape.memory()
    assert [(record.name, size) for record, size in found.by_record] == [("Kept", 440), ("exp", 160), ("exp", 40)]
    assert found.total == 640


def test_a_tape_costs_nothing_when_it_is_closed() -> None:
    x = leaf(1.0)
    with tg.Tape() as tape:
        pass
    _ = x * 2
    assert len(tape) == 0 and tape.memory().total == 0
    with pytest.raises(ZeroDivisionError), tg.Tape() as tape:
        _ = x * 3
        _ = 1 / 0
    _ = x * 4
    assert len(tape) == 1

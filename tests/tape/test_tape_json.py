"""A tape as JSON and back: everything that is shown, and every number exactly."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad_rnn as tg
from tests.support.profiles import examples
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, GraphError
from tinygrad_rnn.nn.utils.rnn import pack_padded_sequence
from tinygrad_rnn.tape.observe.values import Summary
from tinygrad_rnn.testing import Program, programs


def leaf(*values: Any) -> tg.Tensor:
    return tg.tensor(np.array(values), dtype=tg.float64, requires_grad=True)


def same(a: Any, b: Any) -> bool:
    """Whether two values are of one type and shape and have the same bits."""
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Summary):
        sizes = ("norm", "minimum", "maximum", "shape", "dtype")
        return same(a.head, b.head) and all(repr(getattr(a, k)) == repr(getattr(b, k)) for k in sizes)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return type(a) is type(b) and repr(a) == repr(b)


def check_round_trip(tape: tg.Tape) -> tg.Tape:
    """Read what was written, and compare all that there is to see; give the tape that was read."""
    text = tape.to_json()
    again = tg.Tape.from_json(text)
    assert again.to_json() == text
    assert str(again) == str(tape) and again.table("value", "where") == tape.table("value", "where")
    assert len(again) == len(tape) and again.values == tape.values
    for old, new in zip(tape, again, strict=True):
        assert repr(old) == repr(new) and new.node is None
        assert (old.references, old.argument_names, old.variables) == (
            new.references,
            new.argument_names,
            new.variables,
        )
        assert same(old.value, new.value) and same(old.arguments, new.arguments)
        assert list(old.saved) == list(new.saved) and same(list(old.saved.values()), list(new.saved.values()))
        assert (old.saved_bytes, old.stack, old.line) == (new.saved_bytes, new.stack, new.line)
        assert [line.text for line in old.stack] == [line.text for line in new.stack]
    assert [repr(leaf) for leaf in tape.leaves] == [repr(leaf) for leaf in again.leaves]
    assert all(same(a.values, b.values) for a, b in zip(tape.leaves, again.leaves, strict=True))
    assert [(s.kind, s.error, s.number) for s in tape.sweeps] == [(s.kind, s.error, s.number) for s in again.sweeps]
    for one, other in zip(tape.sweeps, again.sweeps, strict=True):
        assert [target for target, _ in one.seeds] == [target for target, _ in other.seeds]
        assert same([value for _, value in one.seeds], [value for _, value in other.seeds])
        assert [repr(step) for step in one.steps] == [repr(step) for step in other.steps]
        for a, b in zip(one.steps, other.steps, strict=True):
            assert same(a.cotangent, b.cotangent) and (a.target, a.depth, a.is_leaf) == (b.target, b.depth, b.is_leaf)
            for c, d in zip(a.contributions, b.contributions, strict=True):
                assert (c.target, c.position, c.to) == (d.target, d.position, d.to)
                assert same([c.value, c.before, c.after], [d.value, d.before, d.after])
    for found in tape.leaves:
        try:
            old_shares = tape.shares(found.name)
        except GraphError:
            with pytest.raises(GraphError):
                again.shares(found.name)
            continue
        for s, t in zip(old_shares, again.shares(found.name), strict=True):
            assert same(s.value, t.value) and repr(s) == repr(t)
            assert (s.sweep, s.position, s.through) == (t.sweep, t.position, t.through)
    return again


@settings(max_examples=examples(25, 500))
@given(programs(max_steps=10))
def test_any_program_comes_back_as_it_was(program: Program) -> None:
    leaves = program.tensors()
    with tg.Tape(totals=True) as tape:
        outputs = [y for y in program(*leaves) if not y.is_leaf]
        if outputs:
            tg.autograd.backward(outputs, [tg.tensor(np.ones(y.shape)) for y in outputs])
    check_round_trip(tape)


def test_layers_sweeps_and_scopes_come_back() -> None:
    model = tg.nn.Sequential(tg.nn.LSTM(2, 3, bidirectional=True, impl="composed"))
    packed = pack_padded_sequence(tg.randn(3, 2, 2), tg.tensor([3, 2]))
    fused = tg.nn.GRU(2, 3)
    before = leaf(1.0) * 2
    with tg.Tape() as tape:
        y = model(packed)[0].data
        with tape.at(t=7):
            z = fused(tg.ones(2, 1, 2))[0].square().sum() + y.sum() + before.sum().float()
        tg.autograd.grad(z, fused.weight_hh_l0, retain_graph=True)
        z.backward(retain_graph=True)
        z.backward(create_graph=True)
    again = check_round_trip(tape)
    assert {r.time for r in again} >= {0, 1, 2, 7} and {r.module for r in again} >= {"model.0", "fused"}
    assert [s.kind for s in again.sweeps] == ["grad", "backward", "backward"]
    assert any(step.depth for step in again.sweeps[2].steps)


def test_numbers_of_every_type_are_exact() -> None:
    special = [0.0, -0.0, 1 / 3, np.nan, np.inf, -np.inf, 5e-324, 1.7976931348623157e308]
    kinds = [np.float16, np.float32, np.float64, np.complex64, np.complex128]
    whole = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.bool_]
    w = leaf(1.0)
    with tg.Tape() as tape:
        for kind in kinds:
            with np.errstate(all="ignore"):
                values = np.array(special).astype(kind)
            _ = tg.tensor(values) * tg.tensor(values).requires_grad_() if values.dtype.kind == "f" else w * 1
            record = tape[-1]
            record.arguments = (values, *record.arguments[1:])
        for kind in whole:
            _ = w * 1
            tape[-1].arguments = (
                np.array([0, 1, np.iinfo(kind).max if kind is not np.bool_ else 1], kind),
                np.array(7, kind),
            )
        _ = w * 1
        tape[-1].arguments = (
            float("nan"),
            -np.inf,
            2**70,
            True,
            1 / 3,
            complex(np.inf, -0.0),
            None,
            np.empty((2, 0), "f2"),
        )
        for number in (1e308, -0.0, 0.1):
            _ = w * number
    again = check_round_trip(tape)
    assert same(again[len(kinds) + len(whole)].arguments[:3], (float("nan"), -np.inf, 2**70))
    assert again[-2].arguments[1] == 0 and np.signbit(again[-2].arguments[1])
    assert f'{{"int":"{2**70}"}}' in tape.to_json()  # which JavaScript would round
    json.loads(tape.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_layouts_and_byte_orders_do_not_matter() -> None:
    w = leaf(*range(6))
    values = np.arange(6, dtype=">f4").reshape(2, 3).T
    with tg.Tape() as tape:
        _ = w.reshape(2, 3).T * 2
    tape[0].arguments = (values,)
    read = tg.Tape.from_json(tape.to_json())[0].arguments[0]
    np.testing.assert_array_equal(read, values)
    assert read.dtype == np.float32 and read.dtype.isnative
    check_round_trip(tg.Tape.from_json(tape.to_json()))


@pytest.mark.parametrize("values", ["all", 3, "shapes"])
def test_budgets_come_back(values: Any) -> None:
    w = leaf(1.0, np.inf, 3.0, -np.nan)
    with tg.Tape(values=values, totals=True) as tape:
        (w * w + w[:2].sum()).sum().backward()
    again = check_round_trip(tape)
    assert isinstance(again[0].value, np.ndarray) == (values == "all")


def test_parameters_come_back_as_far_as_they_are_data() -> None:
    x = tg.tensor(np.arange(24.0).reshape(2, 3, 4), requires_grad=True)
    with tg.Tape() as tape:
        _ = x[..., 1:3:1, None]
        _ = x[tg.tensor([1, 0, 1])]
        _ = x.permute(2, 0, 1)
        _ = x.to(tg.float32)
        _ = x.sum(-1)
        part = (x * 1)[0]
        part.mul_(2.0)
    again = check_round_trip(tape)
    assert again[0].params["index"] == (Ellipsis, slice(1, 3, 1), None)
    np.testing.assert_array_equal(np.asarray(again[1].params["index"]).reshape(-1), [1, 0, 1])
    for old, new in zip(tape[2:5], again[2:5], strict=True):
        assert old.params == new.params
    assert "getitem" in repr(again[-2].params) + repr(again[-1].params)


def test_named_tuples_among_the_parameters_are_data_by_name() -> None:
    scores = leaf([1.0, 2.0, 0.5], [0.0, 1.0, 4.0])
    packed = tg.nn.utils.rnn.pack_padded_sequence(tg.randn(3, 2, 1), [3, 1])
    with tg.Tape() as tape:
        tg.nn.functional.cross_entropy(scores, tg.tensor([2, 0])).backward()
        tg.nn.LSTM(1, 2, bidirectional=True)(packed)
    again = check_round_trip(tape)
    case, options = again[0].params["case"], again[2].params["options"]
    np.testing.assert_array_equal(case["classes"], [2, 0])
    assert (case["divisor"], case["scale"]) == (2, None)
    assert options["sizes"] == (2, 1, 1) and options["reverse"] is True and options["step_masks"] == ()


def test_arrays_are_stored_once_and_can_be_read_by_others() -> None:
    w = leaf(0.5, -0.25)
    with tg.Tape() as tape:
        (w + 1.0).sum().backward()
    plain = json.loads(tape.to_json())
    cotangent = plain["sweeps"][0]["steps"][1]["cotangent"]
    assert plain["sweeps"][0]["steps"][1]["contributions"][0][2] == cotangent == plain["shares"]["0"][0][3]
    assert len({tuple(map(str, entry)) for entry in plain["arrays"]}) == len(plain["arrays"])
    name, shape, data = plain["arrays"][plain["leaves"][0]["values"][0]]
    assert np.frombuffer(base64.b64decode(data), "<f8").reshape(shape).tolist() == [0.5, -0.25] and name == "float64"
    assert plain["lines"][plain["records"][0]["line"]][3] == "(w + 1.0).sum().backward()"
    assert "def test_arrays_are_stored_once" in plain["sources"][__file__]
    assert "sources" not in json.loads(tape.to_json(sources=False))


def test_a_tape_that_was_read_is_there_to_be_looked_at() -> None:
    w = leaf(2.0)
    with tg.Tape() as tape:
        y = w * 3
        y.backward()
    again = tg.Tape.from_json(tape.to_json())
    assert again.memory().total == 0 and repr(again) == repr(tape)
    refusals = {
        "be opened": lambda: again.__enter__(),
        "run a backward pass": lambda: again.backward(y),
        "find the shares of a tensor: give the name of a leaf": lambda: again.shares(w),
        "expand a record": lambda: again.expand(0),
    }
    for what, refused in refusals.items():
        with pytest.raises(GraphError, match=f"read from JSON is there to be looked at, and cannot {what}"):
            refused()
    with pytest.raises(GraphError, match="was not computed by a record of this tape"):
        again.record_of(y)


def test_what_is_no_tape_is_refused() -> None:
    with tg.Tape() as tape:
        leaf(2.0).sum().backward()
    good = json.loads(tape.to_json())
    with pytest.raises(ArgumentTypeError, match="expected the text that to_json"):
        tg.Tape.from_json(good)
    with pytest.raises(ArgumentError, match="this is no JSON"):
        tg.Tape.from_json("{")
    for other in ([], {}, {"format": "netron"}):
        with pytest.raises(ArgumentError, match="this is JSON, but no tape"):
            tg.Tape.from_json(json.dumps(other))
    with pytest.raises(ArgumentError, match="a tape of version 2; this release reads version 1"):
        tg.Tape.from_json(json.dumps(good | {"version": 2}))
    with pytest.raises(ArgumentError, match="there is version 1 of the format, and no version 2"):
        tape.to_json(version=2)
    first = good["records"][0]
    damaged: list[dict[str, Any]] = [
        {"records": [first | {"inputs": [["x", 0, 0]]}]},
        {"records": [first | {"value": 99}]},
        {"records": [first | {"dtype": "float31"}]},
        {"records": 3},
        {"values": "some"},
        {"arrays": [["float64", [3], "AAAA"]] * len(good["arrays"])},
        {"arrays": [["object", [1], ""]] * len(good["arrays"])},
        {"arrays": [["float64", [1], "%"]] * len(good["arrays"])},
        {"shares": {"0": [[0, 99, 0, 0, []]]}},
    ]
    for part in damaged:
        with pytest.raises(ArgumentError, match=r"a damaged tape|values must be"):
            tg.Tape.from_json(json.dumps(good | part))
    for key in set(good) - {"sources"}:
        with pytest.raises(ArgumentError):
            tg.Tape.from_json(json.dumps({k: v for k, v in good.items() if k != key}))


def test_records_that_were_read_have_their_formulas() -> None:
    x = leaf(1.0, 2.0)
    with tg.Tape() as tape:
        (x.tanh() * x).sum().backward()
    again = tg.Tape.from_json(tape.to_json())
    assert [record.formula for record in again] == [record.formula for record in tape]
    assert [record.formula.value for record in again if record.formula] == [
        r"y = \tanh(a)",
        r"y = a \odot b",
        r"y_{i} = \sum_{k} a_{ik}",
    ]

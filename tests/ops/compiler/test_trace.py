"""Traces of single steps: what is seen, and what is refused with which reason."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn.functional as F
from tinygrad_rnn.ops.compiler.trace import Mask, Refused, Trace, trace
from tinygrad_rnn.ops.recurrent.cells import lstm_cell
from tinygrad_rnn.tape.modes import state
from tinygrad_rnn.tape.primitive import REGISTRY
from tinygrad_rnn.tape.tensor import Tensor

INPUT, H = 3, 4


def weight(*shape: int, seed: int = 0) -> Tensor:
    return tg.tensor(np.random.default_rng(seed).uniform(-0.5, 0.5, shape), requires_grad=True)


def lstm() -> tuple[dict[str, Tensor], Callable[..., Any]]:
    p = {
        "weight_ih": weight(4 * H, INPUT),
        "weight_hh": weight(4 * H, H),
        "bias_ih": weight(4 * H),
        "bias_hh": weight(4 * H),
    }
    return p, lambda x, s: lstm_cell(x, *s, *p.values())


def operations(t: Trace) -> list[str]:
    return [v.operation for v in t.values[: t.forward]]


def test_the_lstm_is_the_operations_of_its_equations_in_their_order() -> None:
    p, step = lstm()
    t, _ = trace(step, INPUT, (H, H), p)
    assert operations(t) == [
        *["input"] * 7,
        *["linear", "linear", "add", "getitem", "getitem", "getitem", "getitem"],
        *["sigmoid", "sigmoid", "tanh", "mul", "mul", "add", "sigmoid", "tanh", "mul"],
    ]
    assert [v.name for v in t.values[:7]] == ["x", "state 0", "state 1", *p]
    assert t.new_states[0] is t.values[t.forward - 1] and t.new_states[1].operation == "add"


def test_a_module_and_its_equations_are_one_graph() -> None:
    cell = tg.nn.LSTMCell(INPUT, H).double()
    of_module, _ = trace(cell, INPUT, (H, H), dict(cell.named_parameters()))
    of_equations, _ = trace(
        lambda x, s: lstm_cell(x, *s, *cell.parameters()), INPUT, (H, H), dict(cell.named_parameters())
    )
    assert str(of_module) == str(of_equations)


def test_the_graph_computes_again_what_the_step_and_its_gradients_were() -> None:
    p, step = lstm()
    for t in trace(step, INPUT, (H, H), p):
        known: dict[int, Any] = {}
        for v in t.values:
            if v.operation == "input":
                known[v.number] = v.array
            else:
                args = [known[a.number] if hasattr(a, "number") else a for a in v.args]
                known[v.number] = REGISTRY[v.operation].forward(*args, **v.params)
                np.testing.assert_array_equal(known[v.number], v.array)
        assert np.abs(t.gradients[t.states[0].number].array).max() > 1e-3  # type: ignore[union-attr]


def test_gradients_are_those_of_the_engine() -> None:
    p, step = lstm()
    t, _ = trace(step, INPUT, (H, H), p)
    x, *s = [tg.tensor(v.array, requires_grad=True) for v in (t.x, *t.states)]
    after = step(x, s)
    loss = sum((a * tg.tensor(g.array)).sum() for a, g in zip(after, t.seeds, strict=True))
    leaves = [x, *s, *p.values()]
    for g, v in zip(tg.autograd.grad(loss, leaves), (t.x, *t.states, *t.parameters.values()), strict=True):
        found = t.gradients[v.number]
        assert found is not None
        np.testing.assert_allclose(found.array, g.numpy(), rtol=1e-13, atol=1e-15)


def test_constants_are_seen_on_either_side_and_as_arrays() -> None:
    fixed = tg.tensor([0.1, 0.2, 0.3, 0.4], dtype=tg.float64)
    t, _ = trace(lambda x, s: (1 - s[0]) * fixed, INPUT, (H,), {})
    assert operations(t) == ["input", "input", "sub", "constant", "mul"]
    assert t.values[2].args == (1, t.states[0]) and t.values[3].array is fixed._data


def test_two_probes_have_batches_that_divide_no_size() -> None:
    a, b = trace(lambda x, s: s[0], 35, (11,), {})
    assert (a.rows, b.rows) == (13, 17)
    assert a.new_states == a.states and not np.isin(a.x.array, b.x.array).any()


# refusals ------------------------------------------------------------------------------------------------------------


class Counter:
    calls = 0


def counted(x: Any, s: Any) -> Any:
    Counter.calls += 1
    return s[0] * Counter.calls


def hooked(register: Callable[..., Any]) -> Callable[..., Any]:
    """A step with a module that has a hook, beside one that has none."""
    linear, plain = tg.nn.Linear(H, H).double(), tg.nn.Linear(H, H).double()
    register(linear)
    for p in [*linear.parameters(), *plain.parameters()]:
        p.requires_grad = False
    return lambda x, s: tg.tanh(plain(s[0])) + linear(s[0])


def hook_on_a_tensor(x: Any, s: Any) -> Any:
    a = tg.tanh(s[0])
    a.register_hook(lambda g: g.clamp(-1, 1))
    return a * 2


def hook_on_a_node(x: Any, s: Any) -> Any:
    a = tg.tanh(s[0])
    a.grad_fn.register_hook(lambda inner, outer: None)
    return a * 2


def retained(x: Any, s: Any) -> Any:
    a = tg.tanh(s[0])
    a.retain_grad()
    return a * 2


class Dropping(tg.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = tg.nn.Dropout(0.5)

    def forward(self, x: Any, s: Any) -> Any:
        return self.drop(s[0])


def caught(x: Any, s: Any) -> Any:
    try:
        return s[0] * s[0][0, 0].item()
    except Exception:
        return s[0]


def in_place(x: Any, s: Any) -> Any:
    a = s[0] * 2
    a += 1
    return a


def item_written(x: Any, s: Any) -> Any:
    a = s[0] * 2
    a[:, 0] = 0
    return a


OTHER = tg.ones(H, dtype=tg.float64, requires_grad=True)
DOUBLED = 2 * OTHER
BRANCH = "a branch on them would not be seen"
UNRECORDED = "numbers that no operation made"
REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "item": (lambda x, s: s[0] if s[0].sum().item() > 0.3 else 2 * s[0], r"t\.item\(\) takes .*" + BRANCH),
    "float, the same way in both probes": (lambda x, s: s[0] if float(s[0].max()) < 100 else x, r"float\(t\) takes"),
    "bool": (lambda x, s: s[0] if (s[0] < 100).all() else x, r"bool\(t\) takes"),
    "int": (lambda x, s: s[0] * int(s[0].detach().sum()), r"int\(t\) takes"),
    "tolist": (lambda x, s: s[0] if s[0].tolist()[0][0] < 0 else 2 * s[0], r"t\.tolist\(\) takes"),
    "numpy": (lambda x, s: s[0] * s[0].detach().numpy().mean(), r"t\.numpy\(\) takes"),
    "asarray": (lambda x, s: s[0] * np.asarray(s[0].detach()).mean(), r"array\(t\) takes"),
    "a parameter that was not named": (lambda x, s: s[0] * OTHER, "requires grad and is not among the parameters"),
    "what was computed before": (lambda x, s: s[0] * DOUBLED, "it reads what mul made"),
    "several results": (lambda x, s: tg.sort(s[0], 1)[0], "it reads what|several|numbers"),
    "equal": (lambda x, s: s[0] if tg.equal(s[0], s[0]) else x, r"equal\(\) takes .*" + BRANCH),
    "allclose": (lambda x, s: s[0] if tg.allclose(s[0], s[0]) else x, r"allclose\(\) takes"),
    "is_nonzero": (lambda x, s: s[0] if tg.is_nonzero(s[0].detach().sum()) else x, r"bool\(t\) takes"),
    "in": (lambda x, s: s[0] if 2 in s[0] else x + s[0], r"bool\(t\) takes"),
    "a refusal that the step catches": (caught, r"t\.item\(\) takes"),
    "dropout": (Dropping(), r"dropout\(\) with " + UNRECORDED),
    "noise": (lambda x, s: s[0] + tg.randn(*s[0].shape, dtype=tg.float64), UNRECORDED),
    "one number drawn": (lambda x, s: s[0] * tg.rand((), dtype=tg.float64), UNRECORDED),
    "a counter": (counted, r"mul\(\) with 1 in one run and 2 in another: " + UNRECORDED),
    "batch mean": (lambda x, s: s[0] - s[0].mean(0), "a mean over the batch"),
    "batch size": (lambda x, s: s[0] if len(s[0]) == 5 else 2 * s[0], "depends on the values, or on the number of seq"),
    "add in place": (in_place, r"__iadd__\(\) writes in place"),
    "an entry written": (item_written, "writes in place"),
    "an activation in place": (lambda x, s: (s[0] * 2).tanh_(), r"tanh_\(\) writes in place"),
    "a forward hook": (
        hooked(lambda m: m.register_forward_hook(lambda *_: None)),
        "it has a hook on the module Linear",
    ),
    "a pre-hook": (
        hooked(lambda m: m.register_forward_pre_hook(lambda *_: None)),
        "it has a hook on the module Linear",
    ),
    "a backward hook": (
        hooked(lambda m: m.register_full_backward_hook(lambda *_: None)),
        "it has a hook on the module Linear, which would not run at every step",
    ),
    "a hook on a tensor": (hook_on_a_tensor, "it has a hook on a tensor"),
    "a hook on a node": (hook_on_a_node, "it has a hook on a node"),
    "retain_grad": (retained, "it has a hook on a tensor"),
    "argmax": (lambda x, s: s[0] * tg.argmax(s[0].detach(), 1)[:, None], "the step makes whole numbers"),
    "another width": (
        lambda x, s: s[0][:, :2],
        r"state 0 has the shape \(N, 2\) after the step, and \(N, 4\) before it",
    ),
    "too few states": (lambda x, s: (s[0], s[0]), "is given 1 states and gives 2"),
    "no tensor": (lambda x, s: None, "gives NoneType"),
    "another dtype": (lambda x, s: s[0].float(), "state 0 is float32 after the step, and float64 before it"),
}


def test_masks_and_emitted_values_are_inputs_and_results() -> None:
    def step(x: Any, s: Any, keep: Any, noise: Any) -> Any:
        h = tg.where(keep, s[0], tg.tanh(s[0] * noise))
        return h, h * x[:, :1], x

    masks: Any = {"step_masks": (Mask(H, True),), "sequence_masks": (H,)}
    for t in trace(step, INPUT, (H,), {}, emitted=2, **masks):
        assert [(m.name, m.array.dtype.kind) for m in t.masks] == [("mask 0", "b"), ("mask 1", "f")]
        assert t.step_masks == 1 and t.masks[0].array.any() and not t.masks[0].array.all()
        assert not {m.number for m in t.masks} & set(t.gradients)
        assert t.emitted[0].operation == "mul" and t.emitted[1] is t.x
        assert [g.name for g in t.emitted_seeds] == ["cotangent of emitted 0", "cotangent of emitted 1"]
        assert [g.shape for g in t.emitted_seeds] == [(t.rows, H), (t.rows, INPUT)]


@pytest.mark.parametrize(
    "emit, reason",
    [
        (lambda x: (), "is given 1 states, is to emit 1 values and gives 1"),
        (lambda x: (x[:, 0],), r"emitted value 0 has the shape \(N\); it must be \(N, K\)"),
        (lambda x: (x.float(),), "emitted value 0 is float32, and the states float64"),
        (lambda x: (x > 0,), "emitted value 0 is bool, and the states float64"),
    ],
)
def test_what_cannot_be_emitted_is_refused(emit: Any, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        trace(lambda x, s: (s[0] * 2, *emit(x)), INPUT, (H,), {}, emitted=1)


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_says_why_and_where(what: str) -> None:
    step, reason = REFUSED[what]
    Counter.calls = 0
    with pytest.raises(Refused, match=reason) as caught:
        trace(step, INPUT, (H,), {})
    assert caught.value.line is not None and caught.value.line.file == __file__
    assert caught.value.line.text and caught.value.line.text in str(caught.value)


def test_other_dtypes_are_refused_before_anything_runs() -> None:
    with pytest.raises(Refused, match="computes in float16"):
        trace(lambda x, s: s[0], INPUT, (H,), {}, np.float16)
    with pytest.raises(Refused, match="parameter w is float32, and the input float64"):
        trace(lambda x, s: s[0], INPUT, (H,), {"w": tg.ones(2)})


def test_tracing_leaves_nothing_behind() -> None:
    def fails(x: Any, s: Any) -> Any:
        tg.randn(3)
        raise ZeroDivisionError("by nought")

    tg.manual_seed(0)
    expected = tg.rand(3).tolist()
    tg.manual_seed(0)
    names = ("item", "__bool__", "numpy")
    before = [vars(Tensor)[name] for name in names]
    with pytest.raises(Refused, match="it raises ZeroDivisionError for 5 sequences: by nought"):
        trace(fails, INPUT, (H,), {})
    assert [vars(Tensor)[name] for name in names] == before
    assert not state.here.watchers and not state.here.spelled_out
    assert tg.rand(3).tolist() == expected


def test_gradients_of_parameters_are_left_alone() -> None:
    p, step = lstm()
    trace(step, INPUT, (H, H), p)
    assert all(w.grad is None for w in p.values())


def test_hooks_on_parameters_are_no_part_of_a_step_and_stay() -> None:
    p, step = lstm()
    expected, _ = trace(step, INPUT, (H, H), p)
    seen: list[Any] = []
    handle = p["weight_hh"].register_hook(lambda g: seen.append(g) or 2 * g)
    found, _ = trace(step, INPUT, (H, H), p)
    assert str(found) == str(expected) and not seen
    p["weight_hh"].sum().backward()
    assert len(seen) == 1
    handle.remove()


def test_hooks_of_all_modules_are_refused_while_they_are_there() -> None:
    cell = tg.nn.LSTMCell(INPUT, H).double()
    handle = tg.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        with pytest.raises(Refused, match="it has a hook on the module LSTMCell"):
            trace(cell, INPUT, (H, H), dict(cell.named_parameters()))
    finally:
        handle.remove()
    trace(cell, INPUT, (H, H), dict(cell.named_parameters()))


def test_other_threads_may_convert_while_one_traces() -> None:
    found: list[float] = []

    def step(x: Any, s: Any) -> Any:
        thread = threading.Thread(target=lambda: found.append(tg.tensor(2.0).item()))
        thread.start()
        thread.join()
        return s[0]

    trace(step, INPUT, (H,), {})
    assert found == [2.0, 2.0]


def test_layer_norm_and_other_fused_operations_are_spelled_out() -> None:
    t, _ = trace(lambda x, s: F.layer_norm(s[0], (H,)), INPUT, (H,), {})
    assert "layer_norm" not in operations(t) and "mean" in operations(t)


def test_a_tape_that_the_user_keeps_does_not_show_probes() -> None:
    with tg.Tape() as tape:
        a = weight(2) * 2
        trace(lambda x, s: tg.tanh(s[0]), INPUT, (H,), {})
        a = a + 1
    assert [record.name for record in tape if "tanh" in record.name] == [] != [record.name for record in tape]


def test_modules_without_hooks_are_traced_while_a_tape_is_open() -> None:
    """An open tape has every call of a module go the way of hooks, which a step must not have."""
    layer = tg.nn.Linear(H, H, dtype=tg.float64)
    with tg.Tape():
        t, _ = trace(lambda x, s: tg.tanh(layer(s[0])), INPUT, (H,), {"W": layer.weight, "b": layer.bias})
    assert "linear" in operations(t)


def test_a_step_of_positive_numbers_is_probed_with_such() -> None:
    one, other = trace(lambda x, s: tg.log(s[0]) * 0.1, INPUT, (H,), {})
    assert one.states[0].array.min() > 0 and other.states[0].array.min() > 0
    assert np.isfinite(one.new_states[0].array).all()


def test_a_step_that_gives_no_numbers_is_refused() -> None:
    with pytest.raises(Refused, match="gives inf or nan for numbers between"):
        trace(lambda x, s: tg.log(-s[0] * s[0]), INPUT, (H,), {})


@pytest.mark.parametrize("width", [2, 5, 7, 11])
def test_widths_and_columns_that_look_like_a_batch_are_told_from_it(width: int) -> None:
    """The first primes that divide neither 3 nor 34 are 5, 7, 11: as a slice, as a number of columns, as a column."""

    def step(x: Any, s: Any) -> Any:
        part = tg.tanh(s[0][:, :width]).sum(1)[:, None]
        return s[0] * part + s[0][:, width][:, None]

    one, other = trace(step, 3, (34,), {})
    assert one.rows != width != other.rows
    assert str(one.new_states[0].operation) == "add"


def test_a_trace_does_not_take_back_what_other_threads_draw() -> None:
    tg.manual_seed(1)
    expected = tg.rand(6)
    tg.manual_seed(1)
    found: list[Any] = []

    def step(x: Any, s: Any) -> Any:
        if not found:
            other = threading.Thread(target=lambda: found.append(tg.rand(4)))
            other.start(), other.join()
        return s[0] + x * tg.rand(4, dtype=x.dtype)

    with pytest.raises(Refused):
        trace(step, 4, (4,), {}, np.float64)
    assert tg.equal(tg.cat([found[0], tg.rand(2)]), expected)

"""What a tape calls things: leaves wherever the program keeps them, results after the variables that hold them."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import runpy
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentTypeError


def leaf(*values: Any) -> tg.Tensor:
    return tg.tensor([float(v) for v in values], requires_grad=True)


class Pair(NamedTuple):
    W: tg.Tensor
    b: tg.Tensor


@dataclasses.dataclass
class Cell:
    W: tg.Tensor
    gates: dict[str, Any]


class Slotted:
    __slots__ = ("W",)

    def __init__(self, W: tg.Tensor) -> None:
        self.W = W


KEPT = {"deep": {"deeper": [leaf(1.0)]}}


def name_of(use: Any) -> str:
    """What the tape calls the leaf that ``use`` uses first."""
    with tg.Tape() as tape:
        use()
    return tape[0].inputs[0]


def test_a_stack_has_no_lines_of_runpy(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("def f():\n    return w * 2\nf()\n")
    w = tg.ones(1, requires_grad=True)
    with tg.Tape() as tape:
        runpy.run_path(str(script), {"w": w})
    here = test_a_stack_has_no_lines_of_runpy.__name__
    assert [line.function for line in tape[0].stack] == ["f", "<module>", here]


def test_leaves_in_containers_and_attributes_have_the_way_to_them_for_a_name() -> None:
    P = {"f": leaf(1.0), 3: leaf(2.0), 'a"b': leaf(3.0)}
    layers = [leaf(1.0), (leaf(2.0), leaf(3.0))]
    pair = Pair(leaf(1.0), leaf(2.0))
    cell = Cell(leaf(1.0), {"i": [leaf(2.0)]})
    slotted = Slotted(leaf(1.0))
    ordered = collections.OrderedDict(k=leaf(1.0))
    model = tg.nn.Sequential(tg.nn.Linear(1, 1), tg.nn.Sequential(tg.nn.Linear(1, 1)))
    assert name_of(lambda: P["f"] * 2) == 'P["f"]'
    assert name_of(lambda: P[3] * 2) == "P[3]"
    assert name_of(lambda: P['a"b'] * 2) == "P['a\"b']"
    assert name_of(lambda: layers[0] * 2) == "layers[0]"
    assert name_of(lambda: layers[1][1] * 2) == "layers[1][1]"
    assert name_of(lambda: pair.b * 2) == "pair.b"
    assert name_of(lambda: cell.W * 2) == "cell.W"
    assert name_of(lambda: cell.gates["i"][0] * 2) == 'cell.gates["i"][0]'
    assert name_of(lambda: slotted.W * 2) == "slotted.W"
    assert name_of(lambda: ordered["k"] * 2) == 'ordered["k"]'
    assert name_of(lambda: model[0].weight * 2) == "model.0.weight"
    assert name_of(lambda: model[1][0].bias * 2) == "model.1.0.bias"
    assert name_of(lambda: KEPT["deep"]["deeper"][0] * 2) == 'KEPT["deep"]["deeper"][0]'  # a global


def test_a_variable_comes_before_a_way_and_a_short_way_before_a_long_one() -> None:
    holder = {"list": [leaf(1.0)], "short": None}
    holder["short"] = holder["list"][0]  # type: ignore[index]
    assert name_of(lambda: holder["short"] * 2) == 'holder["short"]'
    W = holder["short"]
    assert name_of(lambda: (holder, W * 2)) == "W"


def test_parameters_of_a_module_that_runs_have_its_path() -> None:
    class Net(tg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tg.nn.Linear(2, 2)
            self.W = tg.nn.Parameter(tg.ones(2))

        def forward(self, x: Any) -> Any:
            return self.inner(x) * self.W

    net = Net()
    with tg.Tape() as tape:
        net(tg.ones(1, 2))
        Net()(tg.ones(1, 2))
    assert [r.inputs for r in tape[:2]] == [("const", "net.inner.weight", "net.inner.bias"), ("%0", "net.W")]
    assert tape[2].inputs[1:] == ("Net.inner.weight", "Net.inner.bias")  # of a module without a variable
    assert [r.module for r in tape] == ["net.inner", "net", "Net.inner", "Net"]


def test_leaves_that_a_variable_held_one_after_the_other_are_told_apart() -> None:
    with tg.Tape() as tape:
        for k in range(3):
            w = leaf(k)
            _ = w * 2
    assert [r.inputs[0] for r in tape] == ["w", "w (2)", "w (3)"]


def test_a_large_container_does_not_hold_the_program_up() -> None:
    data = [[float(k)] * 3 for k in range(100_000)]
    late = [*data, leaf(1.0)]
    assert name_of(lambda: late[-1] * 2) == "leaf0"  # not found, and not looked for without end
    many = [[float(k)] * 100 for k in range(100)]
    many[1][50] = leaf(1.0)  # type: ignore[call-overload]
    many[99][50] = leaf(1.0)  # type: ignore[call-overload]
    assert name_of(lambda: many[1][50] * 2) == "many[1][50]"
    assert name_of(lambda: many[99][50] * 2) == "leaf0"


def test_objects_are_read_and_not_called() -> None:
    class Loud:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"asked for {name}")

        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        __hash__ = None  # type: ignore[assignment]

        @property
        def weight(self) -> Any:
            raise AssertionError("a property")

    loud = Loud()
    kept = {"loud": loud, "self": None, "w": leaf(1.0)}
    kept["self"] = kept
    assert name_of(lambda: (loud, kept["w"] * 2)) == 'kept["w"]'


# results -------------------------------------------------------------------------------------------------------------


def test_results_have_the_variable_that_holds_them_first() -> None:
    W = leaf(0.5)
    h = tg.ones(1)
    with tg.Tape() as tape:
        for _ in range(2):
            a = W * h
            h = tg.tanh(a)
            other = h
        loss = h.sum()
        loss.backward()
    assert [r.variable for r in tape] == ["a", "h", "a", "h", "loss"] and other is h
    assert repr(tape[1]) == "%1 = tanh(%0) : float32[1]  # h"
    assert tape.table("record", "name").splitlines()[1].split() == ["%0", "a"]


def test_results_are_found_in_functions_that_call_each_other_and_in_containers() -> None:
    W = leaf(0.5)

    def step(h: tg.Tensor) -> tg.Tensor:
        inner = W * h
        return inner * 2

    states = []
    gates: dict[str, tg.Tensor] = {}
    with tg.Tape() as tape:
        states.append(W * 3)
        gates["f"] = states[0] * 2
        out = step(gates["f"])
        for _ in range(20):
            states.append(out * 2)
        out = out * 3
    assert [r.variable for r in tape[:4]] == ["states[0]", 'gates["f"]', "inner", "out"]
    assert [r.variable for r in tape[4:24]] == [f"states[{k}]" for k in range(1, 21)]
    assert tape[24].variable == "out"


def test_the_outputs_of_a_fused_layer_have_a_name_each() -> None:
    lstm = tg.nn.LSTM(2, 3)
    with tg.Tape() as tape:
        output, (h, _) = lstm(tg.ones(2, 1, 2))
        _ = output * 1
    fused = next(r for r in tape if r.name == "lstm")
    assert fused.variables[0] == "output" and fused.variable is not None
    assert (fused.variables[1] or tape.record_of(h).variable) == "h"


def test_names_can_be_given_to_results() -> None:
    w = leaf(1.0)
    with tg.Tape() as tape:
        y = w * 2
        _ = y * 3
    assert tape[0].variable == "y" and tape[1].variable is None
    tape.name(doubled=y, sixfold=_, weight=w)
    assert [r.variable for r in tape] == ["doubled", "sixfold"] and tape[0].inputs == ("weight", "const")
    with pytest.raises(ArgumentTypeError, match=r"Tape.name\(\): y must be a Tensor, not int"):
        tape.name(y=3)  # type: ignore[arg-type]


def test_gates_and_states_of_composed_layers_have_the_names_of_their_equations() -> None:
    for kind, names in (("LSTM", {"i", "f", "g", "o", "c", "h"}), ("GRU", {"r", "z", "n", "h"}), ("RNN", {"a", "h"})):
        layer = getattr(tg.nn, kind)(2, 3, impl="composed")
        with tg.Tape() as tape:
            layer(tg.ones(3, 1, 2))
        for t in range(3):
            named = collections.Counter(r.variable for r in tape if r.time == t)
            assert all(named[name] == 1 for name in names), (kind, t, named)
        for name in names - {"x"}:
            (last,) = {r.number for r in tape if r.time == 2 and r.variable == name}
            assert tape[last].name in ("tanh", "sigmoid", "add", "mul"), tape[last]


def test_rows_of_a_state_are_not_called_by_the_name_of_the_state() -> None:
    """Of packed sequences a step gets the first rows of h, which is that of the step before."""
    layer = tg.nn.GRU(2, 3, impl="composed")
    with tg.Tape() as tape:
        layer(tg.nn.utils.rnn.pack_padded_sequence(tg.ones(3, 2, 2), tg.tensor([3, 1])))
    assert [(r.time, r.name, r.shape) for r in tape if r.variable == "h"] == [
        *((0, "add", (2, 3)), (1, "add", (1, 3)), (2, "add", (1, 3)))
    ]


def test_names_in_equations_are_those_of_what_is_assigned() -> None:
    cell = tg.ops.recurrent.cells.lstm_cell
    W = {"weight_ih": leaf(*[0.5] * 8).reshape(4, 2), "weight_hh": leaf(*[0.25] * 4).reshape(4, 1)}
    with tg.Tape() as tape:
        cell(tg.ones(1, 2), tg.ones(1, 1), tg.ones(1, 1), **W)
        cell(tg.ones(1, 2), tg.ones(1, 1), tg.ones(1, 1), **W, weight_hr=leaf(2.0).reshape(1, 1))
    first = {r.variable: r for r in tape[: len(tape) // 2]}
    value = {name: first[name].value for name in "ifgoch"}
    np.testing.assert_allclose(value["h"], value["o"] * np.tanh(value["c"]), rtol=1e-6)
    np.testing.assert_allclose(value["c"], value["f"] * 1 + value["i"] * value["g"], rtol=1e-6)
    assert tape[-1].name == "linear" and tape[-1].variable == "h"  # the projected one


def test_of_a_term_that_is_composed_the_last_operation_is_what_is_assigned() -> None:
    given = {"weight_ih": tg.ones(3, 2), "weight_hh": tg.ones(3, 1), "norm_ih": leaf(1.0, 1.0, 1.0)}
    given["norm_hh"] = leaf(1.0, 1.0, 1.0)
    with tg.Tape() as tape:
        tg.ops.recurrent.cells.gru_cell(tg.ones(1, 2), tg.ones(1, 1), **given, reset_after=False)
    (inner,) = [r.number for r in tape if r.variable == "inner"]
    (n,) = [r.number for r in tape if r.variable == "n"]
    assert tape[n].inputs == (f"%{n - 1}",) and f"%{inner}" in tape[n - 1].inputs  # n = tanh(a["n"] + inner)


def test_the_lines_that_were_running_are_known_down_to_the_tape() -> None:
    w = leaf(1.0)

    def inner() -> tg.Tensor:
        return w * 2

    def outer() -> tg.Tensor:
        return inner()

    with tg.Tape() as tape:
        outer()
    stack = [line.function for line in tape[0].stack]
    assert stack == ["inner", "outer", "test_the_lines_that_were_running_are_known_down_to_the_tape"]
    assert tape[0].line is tape[0].stack[0] and tape[0].stack[1].text == "return inner()"


def test_a_tape_keeps_no_frame_and_no_tensor_alive() -> None:
    import weakref

    def run() -> tuple[tg.Tape, Any]:
        w = leaf(1.0)
        constant = tg.ones(1)
        with tg.Tape() as tape:
            _ = w * constant
        return tape, weakref.ref(constant)

    tape, reference = run()
    assert reference() is None and tape[0].arguments[1].tolist() == [1.0]
    gone = weakref.ref(tape)
    del tape
    assert gone() is None  # without the collector


def test_variables_in_which_a_shell_keeps_results_give_no_names() -> None:
    """IPython has ``_`` from its start on, so it comes before the user's own variable of the same tensor."""
    cell = "with tg.Tape() as tape:\n    _7 = {} * 2\n    _8 = _7.exp()\n    y = _8"
    for leaf_name in ("W", "held[0]"):
        W = leaf(1.0)
        space: dict[str, Any] = {"_": W, "__": W, "_12": W, "Out": {12: W}, "W": W, "held": [W]}
        if leaf_name != "W":
            del space["W"]
        space["tg"] = tg
        exec(cell.format(leaf_name), space)
        assert [found.name for found in space["tape"].leaves] == [leaf_name]
        assert [record.variable for record in space["tape"]] == [None, "y"]


def test_a_script_that_is_run_by_another_has_its_own_names(tmp_path: pathlib.Path) -> None:
    """Below it ``runpy`` holds the variables of the script in one of its own."""
    script = tmp_path / "script.py"
    script.write_text(
        "import tinygrad_rnn as tg\nw = tg.ones(2, requires_grad=True)\nh = w * 2\nloss = h.sum()\nloss.backward()\n"
    )
    with tg.Tape() as tape:
        runpy.run_path(str(script))
    assert [record.variable for record in tape] == ["h", "loss"] and tape.leaves[0].name == "w"

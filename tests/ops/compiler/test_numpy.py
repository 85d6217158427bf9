"""Kernels of programs in calls of NumPy: their text, what is in the loop, and the ways that only they have."""

from __future__ import annotations

import re
import threading
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.ops.compiler import sequences
from tests.ops.compiler.cells import CELLS, Cell, weights
from tests.ops.compiler.sequences import MODES, ROWS, STEPS, check, differences, given, numpy_kernel
from tests.ops.compiler.test_program import compiled
from tests.support.arrays import module as arrays_of
from tinygrad_rnn.kernels.recurrent import threads
from tinygrad_rnn.kernels.recurrent.interface import Cotangents, Gradients, Needs, Options
from tinygrad_rnn.kernels.recurrent.numpy import products, schedule
from tinygrad_rnn.kernels.recurrent.threads import SplitBatch
from tinygrad_rnn.ops.compiler.host_text import Generated
from tinygrad_rnn.ops.compiler.numpy_host import generate
from tinygrad_rnn.ops.linalg import linear

SOME = ["rnn", "lstm_with_peepholes", "states_of_two_widths", "LayerNorm", "lstm_with_projection_that_emits"]
SOME += ["masks_in_products_and_sums"]


def of(name: str, size: int = 5, hidden: int = 6) -> Generated:
    return generate(compiled(CELLS[name](size, hidden), size))


def loop(text: Generated, name: str) -> list[str]:
    """The calls that each step makes."""
    return [line for line in text.functions[name].lines if not re.match("#|else|if rest", line)]


# the text ------------------------------------------------------------------------------------------------------------


def test_an_lstm_has_one_tanh_for_its_gates_and_one_product_for_three_cotangents() -> None:
    text = of("lstm")
    assert "tanh(p0_0to4, out=z0_0to4)" in text.text
    assert "# state 0 @ weight_hh" in text.text and "# x @ weight_ih, before the loop" in text.text
    assert len(loop(text, "steps")) == 10
    assert len([line for line in loop(text, "steps_back") if line.startswith("multiply(b0_0to3")]) == 1
    assert len(loop(text, "steps_back")) == 11 and "sums" not in text.functions


@pytest.mark.parametrize("name", ["eight Linears", "lstm_with_peepholes"])
def test_what_depends_on_no_cotangent_costs_no_call_on_the_way_back(name: str) -> None:
    assert len(loop(of(name), "steps_back")) == len(loop(of("lstm"), "steps_back"))


def test_a_cell_without_products_of_its_state_has_little_in_its_loop() -> None:
    text = of("min_gru")
    assert len(loop(text, "steps")) == 2 and len(loop(text, "steps_back")) == 2
    assert not any("dot" in line or "matmul" in line for line in text.functions["steps"].lines)


def test_a_sigmoid_that_is_divided_by_has_the_relative_error_of_a_rounding() -> None:
    p = weights(W=(6, 5))
    p["W"]._data[:] = 8.0
    c = Cell(p, lambda x, s: tg.log(tg.sigmoid(linear(x, p["W"]) - s[0])) * 0.01, (6,))
    program = compiled(c, 5)
    x = np.full((1, 1, 5), -1.5)
    result = numpy_kernel(program).forward(x, (np.zeros((1, 6)),), given(c, program), Options())
    np.testing.assert_allclose(result.series[0], -0.6, rtol=1e-12)  # 0.01 log(sigmoid(-60))


def planted(text: str) -> list[tuple[str, str]]:
    """The text, with one mistake in each, and the function that has it."""
    changes = {"add(": "subtract(", "subtract(": "add(", "multiply(": "add(", "tanh(": "negative(", "dot": None}
    found, function = [], ""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if line.startswith("def "):
            function = line[4:].partition("(")[0]
        if line.lstrip().startswith(("#", "def", '"')) or " = f." in line or " in visits" in line or "rest" in line:
            continue
        for old, new in changes.items():
            if old in line and not line.lstrip().startswith("else"):
                changed = line.replace(old, f"f.{new}") if new else line[: len(line) - len(line.lstrip())] + "pass"
                found.append((function, "\n".join([*lines[:i], changed, *lines[i + 1 :]]) + "\n"))
    return found


@pytest.mark.parametrize(
    "name", ["lstm_with_peepholes", pytest.param("lstm_with_layer_norm", marks=pytest.mark.thorough)]
)
def test_a_mistake_in_any_line_of_the_text_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = compiled(CELLS[name](5, 6), 5)
    monkeypatch.setattr(sequences, "compiled", lambda c, size: program)  # once
    right = generate(program)
    mistakes = planted(right.text)
    assert len(mistakes) > 30
    for _, text in mistakes:
        kernel = numpy_kernel(program, right._replace(text=text))
        with np.errstate(all="ignore"), pytest.raises(AssertionError):
            differences(lambda program, kernel=kernel: kernel, name, 5, 6, MODES["forward"])  # type: ignore[misc]


# other ways to the same numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOME)
def test_halves_of_a_batch_in_two_threads_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_worthwhile", lambda x, states, options: options.sizes is None)
    for mode in ("forward", "reverse", "packed"):
        differences(lambda program: SplitBatch(numpy_kernel(program)), name, 5, 6, MODES[mode])


@pytest.mark.parametrize("name", SOME)
def test_weights_that_are_cut_into_blocks_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "multiplies_unpacked", lambda: True)
    monkeypatch.setattr(products, "UNPACKED", 9000)
    shapes = set()
    operands = products.PackedWeights.operands

    def seen(self: Any, *given: Any, **how: Any) -> Any:
        shapes.add((self.main.ndim, self.rest is None))
        return operands(self, *given, **how)

    monkeypatch.setattr(products.PackedWeights, "operands", seen)
    for mode in ("forward", "packed"):
        differences(numpy_kernel, name, 65, 70, MODES[mode])
    assert (4, False) in shapes


@pytest.mark.parametrize("name", SOME)
def test_a_sequence_in_parts_gives_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "ELEMENTS_IN_CACHE", 48)
    monkeypatch.setattr(products, "ROWS_OF_A_PRODUCT", 8)
    parts = []
    cut = schedule.Plan.parts

    def seen(self: Any, most_rows: int) -> Any:
        found = cut(self, most_rows)
        parts.append(len(found))
        return found

    monkeypatch.setattr(schedule.Plan, "parts", seen)
    for options in MODES.values():
        differences(numpy_kernel, name, 5, 6, options)
    assert len(parts) == 2 * len(MODES) and min(parts[1::2]) > 1


@pytest.mark.parametrize("name", [*SOME, "lstm", "gru", "eight Linears"])
def test_one_sequence_gives_the_same(name: str) -> None:
    """The weights of its blocks are one weight."""
    for options in (Options(cells=True), Options(cells=True, reverse=True), Options(cells=True, sizes=(1, 1, 1, 1))):
        differences(numpy_kernel, name, 5, 6, options, batch=1)


@pytest.mark.parametrize("name", SOME)
def test_a_few_steps_use_weights_as_they_are(name: str) -> None:
    differences(numpy_kernel, name, 5, 6, Options(cells=True, sizes=(4, 3)))
    differences(numpy_kernel, name, 5, 6, Options(cells=True, sizes=(4,), reverse=True))


@pytest.mark.parametrize("name", SOME)
def test_sequences_of_all_lengths_and_none(name: str) -> None:
    for sizes in ((4, 3, 2, 1), (3, 1, 1), (1, 1)):
        differences(numpy_kernel, name, 5, 6, Options(cells=True, sizes=sizes))


def states_of_x_alone(p: Any, x: Any, s: Any) -> Any:
    """Packed, they stayed as they were."""
    a = linear(x, p["V"])
    return tg.tanh(tg.relu(a)), tg.tanh(a)


def a_cotangent_overwritten_before_its_blocks_are_read(p: Any, x: Any, s: Any) -> Any:
    m = s[1]
    return tg.tanh(tg.relu(tg.cat([m[:, 2:], m[:, :2]], 1))), tg.tanh(linear(tg.cat([m, tg.tanh(m)], 1), p["wide"]))


def blocks_of_a_new_state_that_the_old_one_has_not(p: Any, x: Any, s: Any) -> Any:
    a = linear(x, p["V"])
    return tg.tanh(a * a[:, 1][:, None]), tg.softmax(s[0], 1)


def the_adjoint_of_two_products_read_twice(p: Any, x: Any, s: Any) -> Any:
    a = s[0] * p["v"]
    return tg.tanh(linear(a, p["W"])) * tg.sigmoid(linear(a, p["U"])), s[0]


def a_row_of_one_number_without_any_vector(p: Any, x: Any, s: Any) -> Any:
    a = linear(x, p["V"])
    a = a - a.amax(1, keepdim=True)
    return tg.tanh(s[1]), tg.tanh(tg.cat([(s[0] + s[1])[:, :2], a[:, 2:]], 1))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "step",
    [
        states_of_x_alone,
        a_cotangent_overwritten_before_its_blocks_are_read,
        blocks_of_a_new_state_that_the_old_one_has_not,
        the_adjoint_of_two_products_read_twice,
        a_row_of_one_number_without_any_vector,
    ],
)
def test_what_random_cells_found(step: Any, mode: str) -> None:
    p = weights(V=(4, 3), W=(4, 4), U=(4, 4), v=(4,), wide=(4, 8))
    check(numpy_kernel, Cell(p, lambda x, s: step(p, x, s), (4, 4)), 3, MODES[mode])


# runs ----------------------------------------------------------------------------------------------------------------


class Runs:
    """Runs of one cell, each with numbers of its own."""

    def __init__(self, name: str, dtype: Any = np.float64) -> None:
        self.cell = CELLS[name](5, 6)
        program = compiled(self.cell, 5)
        self.kernel = numpy_kernel(program)
        self.weights = tuple([w.astype(dtype) for w in given(self.cell, program)])
        self.dtype = dtype

    def forward(self, seed: int, rows: int = ROWS) -> tuple[Any, ...]:
        random = np.random.default_rng(seed)
        x = random.normal(size=(STEPS, rows, 5)).astype(self.dtype)
        states = tuple([random.normal(size=(rows, w)).astype(self.dtype) for w in self.cell.widths])
        return x, states, self.kernel.forward(x, states, self.weights, Options(cells=True))

    def backward(self, x: Any, states: Any, result: Any) -> Gradients:
        needs = Needs(True, (True,) * len(states), (True,) * len(self.weights))
        cotangents = Cotangents(tuple([np.cos(y) for y in result.series]), (None,) * len(states))
        return self.kernel.backward(x, states, self.weights, Options(cells=True), result.residual, cotangents, needs)


def arrays(found: Gradients) -> list[Any]:
    return [found.x, *found.states, *found.weights]


@pytest.mark.parametrize("name", ["lstm_with_peepholes", "rnn", "LayerNorm"])
def test_runs_do_not_disturb_each_other(name: str) -> None:
    runs = Runs(name)
    alone = [arrays(runs.backward(*runs.forward(seed))) for seed in range(3)]
    begun = [runs.forward(seed) for seed in range(3)]
    other = runs.forward(9, rows=2)
    for run, expected in zip(begun, alone, strict=True):
        for _ in range(2):  # a residual serves any number of backward runs
            for one, two in zip(arrays(runs.backward(*run)), expected, strict=True):
                np.testing.assert_array_equal(one, two)
    assert runs.backward(*other).x.shape == (STEPS, 2, 5)  # type: ignore[union-attr]


def test_a_kernel_runs_in_several_threads_at_once() -> None:
    runs = Runs("lstm_with_peepholes")
    expected = {seed: arrays(runs.backward(*runs.forward(seed))) for seed in range(4)}
    wrong: list[int] = []

    def work(seed: int) -> None:
        for _ in range(30):
            found = arrays(runs.backward(*runs.forward(seed)))
            if not all(np.array_equal(a, b) for a, b in zip(found, expected[seed], strict=True)):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in expected]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 2e-5), (np.float16, 5e-2)])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "lstm_with_peepholes", "LayerNorm", "rnn with softplus"])
def test_numbers_of_fewer_bits(name: str, dtype: Any, tolerance: float) -> None:
    """A few hundred roundings of 6e-8 and of 5e-4."""
    exact, rough = Runs(name), Runs(name, dtype)
    x, states, expected = exact.forward(0)
    low = x.astype(dtype), tuple([s.astype(dtype) for s in states])
    found = rough.kernel.forward(*low, rough.weights, Options(cells=True))
    for one, two in zip([*found.series, *found.states], [*expected.series, *expected.states], strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance)
    for one, two in zip(arrays(rough.backward(*low, found)), arrays(exact.backward(x, states, expected)), strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance * np.abs(two).max())


def test_the_text_names_each_kind_of_table_once() -> None:
    """Letters of names are those that numpy_layout.py explains."""
    text = "".join([of(name).text for name in SOME])
    letters = set(re.findall(r"\b([a-z])\d+(?:_\w+)?\b", text))
    assert letters <= set("apzsqonxmeytuvkcdglbfhrijw")


def test_columns_that_nothing_reads_have_no_gradient_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "ELEMENTS_IN_CACHE", 48)
    p = weights(W=(12, 5), U=(12, 6))
    c = Cell(p, lambda x, s: tg.tanh(linear(x, p["W"])[:, :6] + linear(s[0], p["U"])[:, 6:]), (6,))
    check(numpy_kernel, c, 5, MODES["forward"])


# arrays of a GPU -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SOME, "lstm", "gru", "lstm with zoneout", "centred_in_part", "rnn with softplus"])
def test_arrays_of_another_module_stay_there_and_give_the_same(name: str) -> None:
    """The stand-in for CuPy refuses arrays of the host, and what CuPy lacks."""
    c = CELLS[name](5, 6)
    program = compiled(c, 5)
    random = np.random.default_rng(3)
    x, states = random.normal(size=(STEPS, ROWS, 5)), [random.normal(size=(ROWS, w)) for w in c.widths]
    of_steps, of_sequences = c.masks(random, STEPS * ROWS, ROWS)
    of_steps = [m.reshape(STEPS, ROWS, -1) for m in of_steps]
    needs = Needs(True, (True,) * len(states), (True,) * len(given(c, program)))

    def run(xp: Any) -> list[Any]:
        def masks(given: list[Any]) -> tuple[Any, ...]:
            return tuple([xp.asarray(m) for m in given])

        options = Options(step_masks=masks(of_steps), sequence_masks=masks(of_sequences))
        arguments = xp.asarray(x), masks(states), masks(given(c, program)), options
        kernel = numpy_kernel(program)
        result = kernel.forward(*arguments)
        cotangents = Cotangents(tuple([xp.cos(y) for y in result.series]), (None,) * len(states))
        found = kernel.backward(*arguments, result.residual, cotangents, needs)
        return [*result.series, *result.states, found.x, *found.states, *found.weights]

    expected = run(np)
    with arrays_of("double") as xp:
        for one, other in zip(run(xp), expected, strict=True):
            assert isinstance(one, xp.ndarray)
            np.testing.assert_allclose(one.get(), other, rtol=1e-12, atol=1e-12)

"""Compiled cells: over a sequence they are their steps, at every order, as one record on the tape."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.ops.compiler.cells import CELLS, Cell, weights
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.interface import Cell as AnyCell
from tinygrad_rnn.kernels.recurrent.interface import KernelUnavailable, Options
from tinygrad_rnn.ops.compiler import compiled, generated_modules, unit_loops
from tinygrad_rnn.ops.compiler.cell import CompiledCell, compile_step
from tinygrad_rnn.ops.compiler.trace import Refused
from tinygrad_rnn.ops.linalg import linear
from tinygrad_rnn.ops.recurrent.unroll import unroll
from tinygrad_rnn.tape.primitive import REGISTRY

STEPS, ROWS = 5, 4
SOME: list[Any] = ["lstm", "gru_with_the_reset_before_the_product", "states_of_two_widths", "LayerNorm"]
SOME += ["lstm_with_projection_that_emits", "masks_in_products_and_sums"]
SOME += [pytest.param(name, marks=pytest.mark.thorough) for name in CELLS if name not in SOME]
MODES: dict[str, dict[str, Any]] = {
    "forward": {},
    "reverse": {"reverse": True},
    "packed": {"sizes": (4, 4, 3, 1)},
    "packed, reverse": {"sizes": (4, 2, 2, 1), "reverse": True},
    "segments": {"segments": 3},
    "all states": {"cells": True},
    "stacked": {"stacked": True, "cells": True},
}


def made(c: Cell, size: int, name: str = "cell", dtype: Any = np.float64) -> CompiledCell:
    return compile_step(
        c.step,
        size,
        c.widths,
        c.parameters,
        dtype=dtype,
        emitted=len(c.emitted),
        step_masks=c.step_masks,
        sequence_masks=c.sequence_masks,
        name=name,
    )


class Work:
    """A cell over a sequence, with everything that it needs."""

    def __init__(self, name: str, size: int = 5, hidden: int = 6, steps: int = STEPS, sizes: Any = None) -> None:
        self.c, self.size = CELLS[name](size, hidden), size
        random = np.random.default_rng(1)
        rows = sum(sizes) if sizes else steps * ROWS
        shape = (rows,) if sizes else (steps, ROWS)
        self.x = tg.tensor(random.uniform(-0.9, 0.9, (*shape, size)), requires_grad=True)
        self.states = [tg.tensor(random.uniform(-0.9, 0.9, (ROWS, w)), requires_grad=True) for w in self.c.widths]
        of_steps, self.sequence_masks = self.c.masks(random, rows, ROWS)
        self.step_masks = [m.reshape(*shape, -1) for m in of_steps]
        self.parameters = [p for p in self.c.parameters.values() if p.requires_grad]

    def compiled(self, cell: CompiledCell, **options: Any) -> list[Any]:
        masks = {"step_masks": self.step_masks, "sequence_masks": self.sequence_masks}
        series, finals = cell.sequence(self.x, self.states, self.c.parameters, **masks, **options)
        return [*series, *finals]

    def composed(self, sizes: Any = None, reverse: bool = False, cells: bool = False, **_: Any) -> list[Any]:
        def step(x: Any, states: Any, *masks: Any) -> Any:
            after = self.c.step(x, states, *[tg.tensor(m) for m in masks])
            return (after,) if isinstance(after, tg.Tensor) else tuple(after)

        count = len(self.states)
        emit = [*range(count if cells else 1), *range(count, count + len(self.c.emitted))]
        masks = {"step_masks": self.step_masks, "sequence_masks": self.sequence_masks}
        series, finals = unroll(step, self.x, tuple(self.states), sizes=sizes, reverse=reverse, emit=emit, **masks)
        return [*series, *finals]

    def gradients(self, results: list[Any]) -> list[Any]:
        loss = sum((y * tg.arange(y.numel(), dtype=tg.float64).cos().reshape(y.shape)).sum() for y in results)
        return list(tg.autograd.grad(loss, [self.x, *self.states, *self.parameters], allow_unused=True))


def same(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if other is None or one is None:
            assert (one is None or not one.any()) and (other is None or not other.any())
            continue
        scale = max(1.0, float(other.abs().max()))
        one = one.detach().numpy().reshape(other.shape)
        np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-12, atol=1e-12 * scale)
        assert np.abs(one).max() > 1e-3


# one record, and what it gives ----------------------------------------------------------------------------------------

numba = pytest.mark.skipif(not dispatch.numba_installed(), reason="Numba is not installed")


@numba
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SOME)
def test_a_compiled_cell_over_a_sequence_is_its_steps(name: str, mode: str) -> None:
    options = MODES[mode]
    work = Work(name, sizes=options.get("sizes"))
    cell = made(work.c, work.size)
    results = work.compiled(cell, **options)
    expected = work.composed(**options)
    if options.get("stacked"):
        assert all(r.shape[0] == 1 for r in results[-cell.states :])
    same(results, expected)
    same(work.gradients(results), work.gradients(expected))


@numba
@pytest.mark.parametrize("name", SOME)
def test_gradients_of_gradients_are_those_of_the_steps(name: str) -> None:
    sizes = (4, 3, 1)
    work = Work(name, 3, 4, sizes=sizes)
    cell = made(work.c, work.size)

    def second(results: list[Any]) -> list[Any]:
        leaves = [work.x, *work.states, *work.parameters]
        loss = sum((y * y).sum() for y in results)
        first = tg.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
        squares = sum((g * g).sum() for g in first if g is not None)
        return list(tg.autograd.grad(squares, leaves, allow_unused=True))

    found = second(work.compiled(cell, sizes=sizes, reverse=True, cells=True))
    expected = second(work.composed(sizes=sizes, reverse=True, cells=True))
    same(found, expected)


@numba
def test_derivatives_are_numerical_ones() -> None:
    work = Work("states_of_two_widths", 2, 3, steps=2)
    cell = made(work.c, work.size)

    def run(x: Any, *others: Any) -> Any:
        states, rest = others[: cell.states], others[cell.states :]
        series, finals = cell.sequence(x, states, dict(zip(work.c.parameters, rest, strict=True)))
        return (*series, *finals)

    inputs = (work.x, *work.states, *work.c.parameters.values())
    assert tg.autograd.gradcheck(run, inputs)
    assert tg.autograd.gradgradcheck(run, inputs)


@numba
def test_the_tape_shows_one_record_with_the_name_of_the_cell() -> None:
    work = Work("lstm")
    cell = made(work.c, work.size, "my_lstm")
    with tg.Tape() as tape:
        series, _ = cell.sequence(work.x, work.states, work.c.parameters)
    assert [record.name for record in tape] == ["my_lstm"]
    assert series[0].grad_fn.name() == "MyLstmBackward0"
    assert "my_lstm" not in REGISTRY


def test_a_tape_that_the_user_keeps_does_not_show_how_a_step_is_compiled_and_checked() -> None:
    work = Work("lstm")
    with tg.Tape() as tape:
        made(work.c, work.size, "unseen")
    assert [record.name for record in tape] == [] and not tape.sweeps


@numba
def test_what_depends_on_parameters_alone_is_computed_once_for_a_call() -> None:
    work = Work("states_of_two_widths")
    cell = made(work.c, work.size, "two")
    with tg.Tape() as tape:
        cell.sequence(work.x, work.states, work.c.parameters)
    assert [record.name for record in tape] == ["exp", "two"]


@numba
def test_nothing_is_kept_for_a_backward_pass_that_cannot_come(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work("lstm")
    cell = made(work.c, work.size)
    kept = []
    start = dispatch._start

    def noted(*args: Any) -> Any:
        run = start(*args)
        kept.append(run.residual is not None)
        return run

    monkeypatch.setattr(dispatch, "_start", noted)
    work.compiled(cell)
    with tg.no_grad():
        work.compiled(cell)
    assert kept == [True, False]


# parameters -----------------------------------------------------------------------------------------------------------


@numba
def test_a_parameter_that_is_frozen_later_has_no_gradient() -> None:
    work = Work("lstm")
    cell = made(work.c, work.size)
    given = dict(work.c.parameters, weight_hh=work.c.parameters["weight_hh"].detach())
    assert cell.fits(given)
    (y,), _ = cell.sequence(work.x, work.states, given)
    whole = work.gradients([y])
    assert whole[3 + list(given).index("weight_hh")] is None and sum(g is None for g in whole) == 1
    same([g for g in whole if g is not None][:3], work.gradients(work.composed()[:1])[:3])


def test_a_cell_says_when_it_must_be_compiled_again() -> None:
    p = weights(W=(6, 5), U=(6, 6))
    frozen = dict(p, U=p["U"].detach())
    cell = compile_step(lambda x, s: tg.tanh(linear(x, p["W"]) + linear(s[0], frozen["U"])), 5, (6,), frozen, dtype="d")
    assert cell.fits(frozen) and cell.fits({k: t.detach() for k, t in p.items()})
    assert not cell.fits(p)  # which wants the gradient of U
    assert not cell.fits({"W": p["W"]}) and not cell.fits(dict(frozen, V=p["W"]))
    assert not cell.fits(dict(frozen, U=tg.zeros(6, 5, dtype=tg.float64)))
    assert not cell.fits({k: t.detach().float() for k, t in p.items()})


# kernels --------------------------------------------------------------------------------------------------------------


def test_a_compiled_cell_is_a_cell() -> None:
    cell: AnyCell = made(CELLS["lstm"](5, 6), 5, "one")
    assert (cell.name, cell.states) == ("one", 2)


@numba
def test_kernels_asked_for_by_name_are_those_that_run() -> None:
    work = Work("lstm")
    cell = made(work.c, work.size)
    with dispatch.only("numba"):
        same(work.compiled(cell), work.composed())
    with dispatch.only("cuda"), pytest.raises(KernelUnavailable, match="the arrays are on the CPU"):
        work.compiled(cell)
    x, *states = [t.detach().float() for t in (work.x, *work.states)]
    with pytest.raises(KernelUnavailable, match="several dtypes"):
        cell.sequence(x, states, work.c.parameters)
    bare = compile_step(lambda x, s: 0.5 * s[0] + tg.tanh(x[:, :1]), 5, (6,), {}, dtype=np.float64)
    with pytest.raises(KernelUnavailable, match="compiled for float64, not for float32"):
        bare.sequence(x, states[:1], {})


def test_an_operation_without_a_form_in_a_backend_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(unit_loops.FORMS, "tanh")
    cell = made(CELLS["rnn"](2, 9), 2, "odd")
    assert "tanh() has no form in compiled code" in cell.explain()
    with pytest.raises(KernelUnavailable, match="tanh"):
        cell.text("numba")
    with pytest.raises(KernelUnavailable, match="tanh"):
        cell.kernel("numba")
    assert not cell.compiled_already("numba", np.float64)


def test_the_text_of_a_backend_is_asked_for_by_its_name() -> None:
    cell = made(CELLS["rnn"](3, 3), 3)
    assert "def forward(" in cell.text("numba")
    with pytest.raises(ArgumentError, match="cuda, numba, numpy"):
        cell.text("torch")


SHAPES: list[Any] = [
    ((4, 2, 5), [(2, 6)], None),
    ((4, 2, 5), [(2, 6), (2, 5)], None),
    ((4, 2, 5), [(2, 6), (3, 6)], None),
    ((4, 2, 5), [(3, 6), (3, 6)], None),
    ((4, 2, 4), [(2, 6), (2, 6)], None),
    ((4, 5), [(2, 6), (2, 6)], None),
    ((4, 2, 5), [(2, 6), (2, 6)], (2, 2)),
    ((4, 5), [(2, 6), (2, 6)], (2, 1)),
    ((4, 5), [(2, 6), (2, 6)], (1, 2, 1)),
    ((4, 5), [(2, 6), (2, 6)], (3, 1)),
    ((2, 5), [(2, 6), (2, 6)], (2, 0)),
    ((), [(2, 6), (2, 6)], None),
]


@pytest.mark.parametrize(("x", "states", "sizes"), SHAPES)
def test_other_shapes_never_reach_a_kernel(x: Any, states: Any, sizes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    c = CELLS["lstm"](5, 6)
    cell = made(c, 5, "mine")
    monkeypatch.setattr(dispatch, "_start", None)
    with pytest.raises(ArgumentError, match=r"mine: expected x \(.*5\).* and states \(N, 6\), \(N, 6\); got x"):
        given = [tg.zeros(*s, dtype=tg.float64) for s in states]
        cell.sequence(tg.zeros(x, dtype=tg.float64), given, c.parameters, sizes=sizes)


def test_other_parameters_never_reach_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work("lstm")
    cell = made(work.c, work.size, "mine")
    monkeypatch.setattr(dispatch, "_start", None)
    smaller = dict(work.c.parameters, bias_hh=tg.zeros(23, dtype=tg.float64))
    with pytest.raises(ArgumentError, match="mine was compiled with parameters of other .* It has weight_ih, weight_h"):
        cell.sequence(work.x, work.states, smaller)


# compiling ------------------------------------------------------------------------------------------------------------


def test_cells_that_do_the_same_share_a_program_and_others_do_not() -> None:
    first, again, wider, other = (
        made(CELLS[name](5, hidden), 5) for name, hidden in [("lstm", 6), ("lstm", 6), ("lstm", 7), ("gru", 6)]
    )
    assert first.program is again.program
    assert len({id(cell.program) for cell in (first, wider, other)}) == 3
    assert first.text("numba") == wider.text("numba")


@pytest.mark.parametrize("k", range(4))
def test_what_differs_in_a_number_alone_is_another_program(k: int) -> None:
    p = weights(W=(6, 5), b=(6,))
    numbers = [(0.5, 2, 0.0), (0.25, 2, 0.0), (0.5, 3, 0.0), (0.5, 2, -0.0)]
    table = np.linspace(0, 1, 6)

    def made_with(factor: float, first: int, shift: float, table: Any) -> CompiledCell:
        def step(x: Any, s: Any) -> Any:
            return factor * tg.tanh(linear(x, p["W"], p["b"])) * s[0][:, first : first + 1] + shift * tg.tensor(table)

        return compile_step(step, 5, (6,), p, dtype=np.float64)

    base = made_with(*numbers[0], table)
    assert base.program is made_with(*numbers[0], table.copy()).program
    changed = made_with(*numbers[k], table + (k == 0))
    assert changed.program is not base.program


def test_a_program_in_memory_does_not_stand_for_a_step_that_does_more() -> None:
    p = weights(W=(6, 5))
    compile_step(lambda x, s: tg.tanh(linear(x, p["W"])) + s[0], 5, (6,), p, dtype=np.float64)

    def step(x: Any, s: Any) -> Any:
        y = tg.tanh(linear(x, p["W"])) + s[0]
        y._data[...] += 1  # behind the engine's back
        return y

    with pytest.raises(Refused, match="differs from that of the step itself"):
        compile_step(step, 5, (6,), p, dtype=np.float64)


def test_threads_may_compile_at_the_same_time() -> None:
    names = ["lstm", "gru", "lstm", "LayerNorm"] * 3
    found: dict[int, CompiledCell] = {}

    def work(k: int) -> None:
        found[k] = made(CELLS[names[k]](5, 6), 5, names[k])
        found[k].text("numba")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(names)
    for k, name in enumerate(names):
        assert found[k].program is found[names.index(name)].program
    assert len({id(cell.program) for cell in found.values()}) == 3


def test_nothing_of_the_probes_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    traces: list[Any] = []
    original = compiled.trace

    def spy(*args: Any, **options: Any) -> Any:
        probes = original(*args, **options)
        traces.extend(weakref.ref(probe) for probe in probes)
        traces.extend(weakref.ref(v.array) for probe in probes for v in probe.values if v.operation != "constant")
        return probes

    monkeypatch.setattr(compiled, "trace", spy)
    for name in ("lstm", "LayerNorm", "states_of_two_widths"):
        cell = made(CELLS[name](5, 6), 5)
        gc.collect()
        assert cell.program is not None
    assert len(traces) > 100 and not [ref for ref in traces if ref() is not None]


def test_a_cell_that_is_gone_takes_its_program_with_it() -> None:
    cell = made(CELLS["coupled_gates"](5, 6), 5)
    gone = weakref.ref(cell.program)
    del cell
    gc.collect()
    assert gone() is None


@numba
def test_machine_code_on_the_disk_is_noticed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(generated_modules, "_modules", {})
    work = Work("ind_rnn")
    cell = made(work.c, work.size)
    assert not cell.compiled_already("numba", np.float64)
    results = work.compiled(cell)
    assert not cell.compiled_already("numba", np.float64)  # of the way back there is none
    assert cell.compiled_already("numba", np.float64, backward=False)
    work.gradients(results)
    assert cell.compiled_already("numba", np.float64) and not cell.compiled_already("numba", np.float32)
    assert made(CELLS["ind_rnn"](7, 9), 7).compiled_already("numba", np.float64)  # of any size
    monkeypatch.setattr(compiled, "stamp", lambda: "another version")
    assert not cell.compiled_already("numba", np.float64)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert not cell.compiled_already("numba", np.float64)


def test_a_cuda_kernel_counts_as_compiled_once_this_process_has_it() -> None:
    cell = made(CELLS["lstm"](4, 7), 4)
    assert not cell.compiled_already("cuda", np.float32)
    cell.kernel("cuda")
    assert cell.compiled_already("cuda", np.float32)


# explaining -----------------------------------------------------------------------------------------------------------


def test_an_explanation_names_weights_and_counts_what_is_kept() -> None:
    found = made(CELLS["lstm"](5, 6), 5, "LSTM").explain().splitlines()
    assert found[:10] == [
        "LSTM: x of 5 columns, 2 states of 6 and 6 columns",
        "  before the loop, for all steps at once (or in the loop, where rows are few)",
        "    x @ weight_ih.T: 5 -> 24 columns",
        "  in the loop, at every step",
        "    state 0 @ weight_hh.T: 6 -> 24 columns",
        "    1 pass over the units",
        "    columns computed: sigmoid 18, mul 18, tanh 12, add 6",
        "  kept for the backward pass, for each step of each sequence",
        "    columns kept: sigmoid 18, tanh 6",
        "    with products and states 36 numbers: 144 bytes in float32, 288 bytes in float64",
    ]


def test_an_explanation_shows_segments_passes_and_what_is_hoisted() -> None:
    text = made(CELLS["gru_with_the_reset_before_the_product"](5, 6), 5).explain()
    assert "from parameters alone\n    weight_hh[:12]\n    weight_hh[12:]\n    bias_hh[:12]" in text
    lines = [line.strip() for line in text.splitlines()]
    at = lines.index("state 0 @ weight_hh[:12].T: 6 -> 12 columns")
    one = "1 pass over the units"
    assert lines[at + 1 : at + 4] == [one, "computed values @ weight_hh[12:].T: 6 -> 6 columns", one]
    normalised = made(CELLS["lstm_with_layer_norm"](5, 6), 5)
    assert "5 passes over the units" in normalised.explain()
    joined = made(CELLS["states_of_two_widths"](5, 6), 5).explain()
    assert "x @ W[0:5]: 5 -> 12" in joined and "state 0 @ W[5:11]: 6 -> 12" in joined and "exp(scale)" in joined
    masked = made(CELLS["masks_in_products_and_sums"](5, 6), 5)
    assert masked.explanation().masks == len(CELLS["masks_in_products_and_sums"](5, 6).step_masks) + len(
        CELLS["masks_in_products_and_sums"](5, 6).sequence_masks
    )


@numba
def test_the_numbers_of_an_explanation_are_those_in_memory() -> None:
    for name in ("lstm", "gru_with_the_reset_before_the_product", "LayerNorm", "rnn"):
        work = Work(name, steps=50)
        cell = made(work.c, work.size)
        kernel = cell.kernel("numba")
        matrices, vectors = cell.program.prelude.run(work.c.parameters)
        given = tuple([t._data for t in (*matrices, *vectors)])
        run = kernel.forward(work.x._data, tuple([s._data for s in work.states]), given, Options())
        tables = [a for a in run.residual if isinstance(a, np.ndarray) and a.ndim == 2]
        rows = 50 * ROWS
        kept = sum(t.shape[1] for t in tables)
        assert kept == cell.explanation().numbers, name
        assert all(rows <= len(t) <= rows + ROWS for t in tables)

"""Kernels of programs, of every backend: values and all gradients are those of the step, run one by one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.ops.compiler.cells import CELLS, Cell, weights
from tests.ops.compiler.sequences import (
    MODES,
    RESTORABLE,
    ROWS,
    SOME,
    STEPS,
    check,
    composed,
    differences,
    given,
    numba_kernel,
    numpy_kernel,
)
from tests.ops.compiler.test_program import compiled
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.kernels.recurrent.interface import Cotangents, Kernel, Needs, Options
from tinygrad_rnn.ops.compiler import numba_host, numpy_host
from tinygrad_rnn.ops.compiler.program import Program
from tinygrad_rnn.ops.linalg import linear

KERNELS: dict[str, Callable[[Program], Kernel[Any]]] = {"numpy": numpy_kernel}
TEXTS: dict[str, Callable[[Program], Any]] = {"numpy": numpy_host.generate}
if importlib.util.find_spec("numba") is not None:
    KERNELS["numba"] = numba_kernel
    TEXTS["numba"] = numba_host.generate


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("backend", KERNELS)
def test_a_compiled_cell_is_its_step_over_a_sequence(backend: str, name: str, mode: str) -> None:
    differences(KERNELS[backend], name, 5, 6, MODES[mode])


@pytest.mark.thorough
@pytest.mark.parametrize("size, hidden", [(5, 6), (3, 1), (4, 4)])
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("backend", KERNELS)
def test_every_compiled_cell_is_its_step_over_a_sequence(backend: str, name: str, size: int, hidden: int) -> None:
    for options in MODES.values():
        differences(KERNELS[backend], name, size, hidden, options)


@pytest.mark.parametrize("backend", KERNELS)
def test_gradients_that_are_not_wanted_are_none(backend: str) -> None:
    c = CELLS["lstm"](5, 6)
    program = compiled(c, 5)
    kernel = KERNELS[backend](program)
    weights = given(c, program)
    x, states = np.ones((STEPS, ROWS, 5)), (np.zeros((ROWS, 6)), np.zeros((ROWS, 6)))
    result = kernel.forward(x, states, weights, Options())
    assert len(result.series) == 1
    cotangents = Cotangents((np.ones_like(result.series[0]),), (None, None))
    every = kernel.backward(
        x, states, weights, Options(), result.residual, cotangents, Needs(True, (True, True), (True,) * 4)
    )
    for needs in (Needs(False, (True, False), (True, False, False, True)), Needs(True, (False, True), (False,) * 4)):
        found = kernel.backward(x, states, weights, Options(), result.residual, cotangents, needs)
        for one, other, wanted in zip(
            [found.x, *found.states, *found.weights],
            [every.x, *every.states, *every.weights],
            [needs.x, *needs.states, *needs.weights],
            strict=True,
        ):
            if wanted:
                np.testing.assert_array_equal(one, other)
            else:
                assert one is None
    assert kernel.forward(x, states, weights, Options(save=False)).residual is None


@pytest.mark.parametrize("backend", KERNELS)
def test_cotangents_of_emitted_values_that_do_not_arrive_are_nought(backend: str) -> None:
    c = CELLS["lstm_with_gates"](5, 6)
    program = compiled(c, 5)
    kernel = KERNELS[backend](program)
    weights = given(c, program)
    x, states = np.ones((STEPS, ROWS, 5)), (np.zeros((ROWS, 6)), np.zeros((ROWS, 6)))
    needs = Needs(True, (True, True), (True,) * 4)
    for options, count in ((Options(), 1), (Options(cells=True), 2)):
        result = kernel.forward(x, states, weights, options)
        assert len(result.series) == count + 4
        g = np.random.default_rng(0).normal(size=result.series[0].shape)
        found = []
        for nothing in (None, np.zeros_like(g)):
            cotangents = Cotangents((g, *[nothing] * (count - 1), nothing, nothing, g, nothing), (None, None))
            found.append(kernel.backward(x, states, weights, options, result.residual, cotangents, needs))
        np.testing.assert_array_equal(found[0].x, found[1].x)
        for one, other in zip(found[0].weights, found[1].weights, strict=True):
            assert np.abs(one).max() > 1e-2
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "step_masks, sequence_masks, message",
    [
        ((), (np.ones((ROWS, 4)),), "2 masks of a step and 1 of a sequence, got 0 and 1"),
        ((np.ones((STEPS, ROWS, 4), bool), np.ones((STEPS, ROWS, 5))), (np.ones((ROWS, 3)),), "4 rows of 4 columns"),
        (
            (np.ones((STEPS, ROWS, 4), bool), np.ones((ROWS, 5))),
            (np.ones((ROWS, 4)),),
            r"mask 1 must .* got float64 \(",
        ),
        ((np.ones((STEPS, ROWS, 4)), np.ones((STEPS, ROWS, 5))), (np.ones((ROWS, 4)),), "mask 0 must .* and be bool"),
    ],
)
@pytest.mark.parametrize("backend", KERNELS)
def test_masks_that_do_not_fit_are_refused(backend: str, step_masks: Any, sequence_masks: Any, message: str) -> None:
    c = CELLS["lstm_with_projection_that_emits"](5, 6)
    program = compiled(c, 5)
    weights = given(c, program)
    states = tuple([np.ones((ROWS, w)) for w in c.widths])
    options = Options(step_masks=step_masks, sequence_masks=sequence_masks)
    with pytest.raises(ArgumentError, match=message):
        KERNELS[backend](program).forward(np.ones((STEPS, ROWS, 5)), states, weights, options)


@pytest.mark.parametrize("steps, rows", [(0, 2), (3, 0), (0, 0)])
@pytest.mark.parametrize("backend", KERNELS)
def test_there_may_be_no_steps_and_no_sequences(backend: str, steps: int, rows: int) -> None:
    c = CELLS["lstm_with_peepholes"](5, 6)
    program = compiled(c, 5)
    kernel = KERNELS[backend](program)
    weights = given(c, program)
    x, states = np.ones((steps, rows, 5)), (np.full((rows, 6), 0.5), np.full((rows, 6), 0.25))
    result = kernel.forward(x, states, weights, Options(cells=True))
    assert [y.shape for y in result.series] == [(steps, rows, 6)] * 2
    ends = tuple([np.full((rows, 6), 2.0) for _ in states])
    needs = Needs(True, (True, True), (True,) * len(weights))
    cotangents = Cotangents(tuple([np.ones_like(y) for y in result.series]), ends)
    found = kernel.backward(x, states, weights, Options(cells=True), result.residual, cotangents, needs)
    for one, other in zip([*result.states, *found.states], [*states, *ends], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.x is not None and found.x.shape == x.shape
    for one, w in zip(found.weights, weights, strict=True):
        np.testing.assert_array_equal(one, np.zeros_like(w))


@pytest.mark.parametrize("backend", KERNELS)
def test_columns_that_nothing_reads_have_no_gradient(backend: str) -> None:
    p = weights(W=(12, 5), U=(12, 6), a=(12,), b=(12,))

    def step(x: Any, s: Any) -> Any:
        return tg.tanh(linear(x, p["W"], p["a"])[:, :6] + linear(s[0], p["U"], p["b"])[:, 6:])

    check(KERNELS[backend], Cell(p, step, (6,)), 5, MODES["packed"])


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "lstm_with_peepholes", "LayerNorm", "states_of_two_widths"])
@pytest.mark.parametrize("backend", KERNELS)
def test_saturated_gates_and_what_is_no_number_are_those_of_the_step(backend: str, name: str) -> None:
    c = CELLS[name](5, 6)
    program = compiled(c, 5)
    kernel = KERNELS[backend](program)
    random = np.random.default_rng(2)
    x, states = random.normal(size=(STEPS, ROWS, 5)), tuple([random.normal(size=(ROWS, w)) for w in c.widths])
    x[:, 0] *= 800  # of one sequence each
    x[:, 1] *= -800
    x[2, 2] = np.nan
    gs = [random.normal(size=(STEPS * ROWS, w)) for w in c.widths]
    ends = [np.zeros((ROWS, w)) for w in c.widths]
    with np.errstate(all="ignore"):
        expected, gradients = composed(c, x, states, Options(cells=True), gs, ends)
        result = kernel.forward(x, states, given(c, program), Options(cells=True))
        dys = tuple([g.reshape(y.shape) for g, y in zip(gs, result.series, strict=True)])
        needs = Needs(True, (True,) * len(states), (False,) * len(given(c, program)))
        found = kernel.backward(
            x, states, given(c, program), Options(cells=True), result.residual, Cotangents(dys, tuple(ends)), needs
        )
    assert np.isnan(expected[0].reshape(STEPS, ROWS, -1)[2:, 2]).all() and np.isnan(expected[0]).mean() < 0.2
    for one, other in zip([*result.series, *result.states], expected, strict=True):
        np.testing.assert_allclose(one.reshape(other.shape), other, rtol=1e-11, atol=1e-11)
    for one, other in zip([found.x, *found.states], gradients, strict=False):
        assert one is not None
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["rnn", *[pytest.param(n, marks=pytest.mark.thorough) for n in RESTORABLE[1:]]])
def test_a_restored_residual_gives_the_same_gradients(backend: str, name: str, mode: str) -> None:
    c, options = CELLS[name](5, 6), MODES[mode]
    program = compiled(c, 5)
    kernel: Any = KERNELS[backend](program)
    weights = given(c, program)
    random = np.random.default_rng(1)
    rows = sum(options.sizes or (ROWS,) * STEPS)
    x = random.normal(size=(rows, 5) if options.sizes else (STEPS, ROWS, 5))
    states = (random.normal(size=(ROWS, *c.widths)),)
    result = kernel.forward(x, states, weights, options)
    again = kernel.restore(x, states, weights, options, result.series[0])
    series = tuple([random.normal(size=y.shape) for y in result.series])
    cotangents = Cotangents(series, (random.normal(size=states[0].shape),))
    needs = Needs(True, (True,), (True,) * len(weights))
    one, other = (
        kernel.backward(x, states, weights, options, residual, cotangents, needs)
        for residual in (result.residual, again)
    )
    for a, b in zip([one.x, *one.states, *one.weights], [other.x, *other.states, *other.weights], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.x is not None and np.abs(one.x).max() > 1e-3


# the text ------------------------------------------------------------------------------------------------------------

WITH_SIZES = {
    "maxima_and_norms": "a sum over a row of one number, times its length",
    "rnn with variance": "the same",
    "rnn with columns": "slices of a fixed width",
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("backend", TEXTS)
def test_the_text_is_python_and_has_no_sizes(backend: str, name: str) -> None:
    programs = [compiled(CELLS[name](i, h), i) for i, h in [(5, 6), (5, 6), (7, 10)]]
    small, again, large = (TEXTS[backend](program).text for program in programs)
    assert small == again
    assert small == large or name in WITH_SIZES
    compile(small, name, "exec")


@pytest.mark.parametrize("backend", TEXTS)
def test_names_of_parameters_cannot_become_code(backend: str) -> None:
    name = 'W"""\nraise SystemExit\n"""'
    p = {name: weights(W=(6, 5))["W"]}
    program = compiled(Cell(p, lambda x, s: tg.tanh(linear(x, p[name])) * s[0], (6,)), 5)
    text = TEXTS[backend](program).text
    assert "SystemExit" not in text and "# x @ a computed weight" in text

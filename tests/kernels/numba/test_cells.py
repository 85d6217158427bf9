"""Laws that hold for the compiled kernel of every cell: RNN, GRU, LSTM, and cells that others could write.

That the numbers are those of the step, run one by one, is tested in ``tests/ops/compiler/test_numba.py``.
"""

from __future__ import annotations

import functools
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba")

from tests.ops.compiler.cells import CELLS
from tests.ops.compiler.sequences import numba_kernel
from tests.ops.compiler.test_program import compiled
from tinygrad_rnn.backend.cpu.threads import set_num_threads
from tinygrad_rnn.kernels.recurrent.interface import Cotangents, Gradients, Needs, Options, Run
from tinygrad_rnn.ops.compiler import replay
from tinygrad_rnn.ops.compiler.text_kernel import CellKernel
from tinygrad_rnn.tape.modes import within

STEPS, ROWS, SIZE, HIDDEN = 5, 3, 4, 6
PACKED = (3, 3, 2, 1, 1)

QUICK = ["lstm", "gru", "rnn", "lstm_with_peepholes", "states_of_two_widths", "LayerNorm", "lstm_with_projection"]
LATER = [
    *["lstm_with_layer_norm", "lstm_with_zoneout", "gru_with_the_reset_before_the_product", "gru_with_layer_norm"],
    *["rnn_with_relu", "coupled_gates", "recurrent_highway", "sru", "min_gru", "ind_rnn", "antisymmetric"],
    *["softmax_over_units", "leaky_integrator", "a_state_that_stays", "a_gate_for_all_units", "products_of_products"],
    *["eight Linears", "Sequential of joined inputs", "LSTMCell", "maxima_and_norms", "swapped_halves"],
]
EVERY = [*QUICK, *[pytest.param(name, marks=pytest.mark.thorough) for name in LATER]]


class Work(NamedTuple):
    """A kernel, and arrays for it."""

    kernel: CellKernel
    x: Any
    states: tuple[Any, ...]
    weights: tuple[Any, ...]
    parameters: Any

    def run(self, options: Options = Options(cells=True), needs: Needs | None = None) -> tuple[Run, Gradients]:  # noqa: B008
        """Forward, and backward with cotangents of everything."""
        result = self.kernel.forward(self.x, self.states, self.weights, options)
        random = np.random.default_rng(2)
        series, ends = (
            tuple([random.normal(size=a.shape).astype(a.dtype) for a in of]) for of in (result.series, result.states)
        )
        given = Cotangents(series, ends)
        needs = needs or self.needs(lambda _: True)
        copies = [g.copy() for g in (*series, *ends)]
        found = self.kernel.backward(self.x, self.states, self.weights, options, result.residual, given, needs)
        for g, before in zip((*series, *ends), copies, strict=True):
            np.testing.assert_array_equal(g, before)
            assert not any(np.shares_memory(g, d) for d in flat(result, found)[1] if d is not None)
        return result, found

    def needs(self, wanted: Any) -> Needs:
        """Of argument k in the order x, states, weights."""
        count = len(self.states)
        of = [bool(wanted(k)) for k in range(1 + count + len(self.weights))]
        return Needs(of[0], tuple(of[1 : 1 + count]), tuple(of[1 + count :]))


def flat(result: Run, found: Gradients) -> tuple[list[Any], list[Any]]:
    return [*result.series, *result.states], [found.x, *found.states, *found.weights]


@functools.cache
def made(name: str) -> tuple[CellKernel, Any, tuple[Any, ...]]:
    c = CELLS[name](SIZE, HIDDEN)
    program = compiled(c, SIZE)
    weights = tuple([t._data for ts in within(False, program.prelude.run, c.parameters) for t in ts])
    return numba_kernel(program), c.parameters, weights


def work(name: str, sizes: Any = None, steps: int = STEPS, rows: int = ROWS) -> Work:
    kernel, parameters, weights = made(name)
    random = np.random.default_rng(1)
    x = random.normal(size=(steps, rows, SIZE) if sizes is None else (sum(sizes), SIZE))
    states = tuple([random.normal(size=(rows, w)) for w in kernel.program.widths])
    return Work(kernel, x, states, weights, parameters)


@pytest.mark.parametrize("name", EVERY)
def test_what_is_not_needed_is_not_computed_and_the_rest_is_unchanged(name: str) -> None:
    w = work(name, PACKED)
    options = Options(sizes=PACKED, cells=True)
    arrays = [w.x, *w.states, *w.weights]
    copies = [a.copy() for a in arrays]
    outputs, whole = flat(*w.run(options))
    count = len(whole)
    for wanted in [*[{k} for k in range(count)], set(), set(range(0, count, 2))]:
        _, part = flat(*w.run(options, w.needs(lambda k, wanted=wanted: k in wanted)))
        assert {k for k, g in enumerate(part) if g is not None} == wanted
        for k in wanted:
            np.testing.assert_array_equal(part[k], whole[k])
    for a, before in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(a, before)
    for one, other in [*combinations([*whole, *outputs], 2), *product([*whole, *outputs], arrays)]:
        assert not np.shares_memory(one, other)


@pytest.mark.parametrize("name", EVERY)
def test_a_residual_serves_any_number_of_times(name: str) -> None:
    w = work(name)
    result, first = w.run()
    kept = [a.copy() for a in (*result.series, *result.states)]
    random = np.random.default_rng(2)
    series, ends = (tuple([random.normal(size=a.shape) for a in of]) for of in (result.series, result.states))
    args = w.x, w.states, w.weights, Options(cells=True), result.residual, Cotangents(series, ends)
    again = w.kernel.backward(*args, w.needs(lambda _: True))
    for a, b in zip(flat(result, first)[1], flat(result, again)[1], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, before in zip((*result.series, *result.states), kept, strict=True):
        np.testing.assert_array_equal(a, before)
    unsaved = w.kernel.forward(w.x, w.states, w.weights, Options(cells=True, save=False))
    assert unsaved.residual is None
    for a, b in zip((*unsaved.series, *unsaved.states), kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", EVERY)
def test_arrays_of_any_layout_give_the_same(name: str) -> None:
    w = work(name)

    def other(a: Any) -> Any:
        b = np.asfortranarray(a) if a.ndim > 1 else np.repeat(a, 2)[::2]
        b.flags.writeable = False
        return b

    strange = w._replace(x=other(w.x), states=tuple(map(other, w.states)), weights=tuple(map(other, w.weights)))
    for one, two in zip(flat(*w.run()), flat(*strange.run()), strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", EVERY)
def test_one_row_stands_for_a_gradient_that_repeats_it(name: str) -> None:
    w = work(name)
    result = w.kernel.forward(w.x, w.states, w.weights, Options(cells=True))
    rows = [np.random.default_rng(3).normal(size=y.shape[-1]) for y in result.series]
    series = tuple([np.broadcast_to(row, y.shape) for row, y in zip(rows, result.series, strict=True)])
    found = []
    for given in (series, tuple([g.copy() for g in series])):
        args = w.x, w.states, w.weights, Options(cells=True), result.residual
        cotangents = Cotangents(given, (None,) * len(w.states))
        found.append(w.kernel.backward(*args, cotangents, w.needs(lambda _: True)))
    for a, b in zip(flat(result, found[0])[1], flat(result, found[1])[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert max(np.abs(a).max() for a in flat(result, found[0])[1]) > 0.01


@pytest.mark.parametrize("name", EVERY)
def test_nan_reaches_what_depends_on_it_and_nothing_else(name: str) -> None:
    w = work(name)
    w.x[2, 1, 0] = np.nan
    with np.errstate(all="ignore"):
        result, found = w.run()
        after, _ = replay.forward(w.kernel.program, w.x, list(w.states), w.parameters)
    for y, table in zip(result.series, after, strict=True):
        np.testing.assert_array_equal(np.isnan(y), np.isnan(np.asarray(table)[-STEPS:].reshape(y.shape)))
        assert np.isfinite(y[:, 0]).all() and np.isfinite(y[:2]).all()
    assert found.x is not None and np.isfinite(found.x[:, [0, 2]]).all()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("steps, rows", [(0, 2), (3, 0)])
def test_nothing_gives_the_first_states_and_no_gradient_of_a_weight(name: str, steps: int, rows: int) -> None:
    w = work(name, steps=steps, rows=rows)
    result, found = w.run()
    assert [y.shape[:2] for y in result.series] == [(steps, rows)] * len(result.series)
    for a, b in zip(result.states, w.states, strict=True):
        np.testing.assert_array_equal(a, b)
    for d, weight in zip(found.weights, w.weights, strict=True):
        np.testing.assert_array_equal(d, np.zeros_like(weight))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("sizes", [None, PACKED])
def test_two_threads_give_the_same(name: str, sizes: Any, two_threads: None) -> None:
    w = work(name, sizes)
    options = Options(sizes=sizes, cells=True)
    shared = flat(*w.run(options))
    set_num_threads(1)
    for one, other in zip(shared, flat(*w.run(options)), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)

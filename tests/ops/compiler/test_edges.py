"""Compiled cells at the edges of numbers and sizes: single precision, nan, infinities, gates that are shut, H = 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

import tinygrad_rnn as tg
from tests.ops.compiler.cells import Cell, weights
from tests.ops.compiler.test_cell import Work, made
from tinygrad_rnn.ops.compiler.cell import CompiledCell
from tinygrad_rnn.ops.compiler.trace import Refused
from tinygrad_rnn.ops.linalg import linear
from tinygrad_rnn.tape.modes import quietly

SOME = ["lstm", "gru", "rnn_with_relu", "lstm_that_emits_its_cells"]
_cells: dict[str, CompiledCell] = {}


def compiled(work: Work, name: str) -> CompiledCell:
    if name not in _cells:
        _cells[name] = made(work.c, 5)
    return _cells[name]


def both(work: Work, name: str, gs: list[Any] | None = None) -> list[list[Any]]:
    """Results and gradients, compiled and composed, as arrays."""
    found = []
    for run in (lambda **k: work.compiled(compiled(work, name), **k), work.composed):
        results = run(cells=True)
        pairs = zip(results, gs or [np.cos(np.arange(y.numel())).reshape(y.shape) for y in results], strict=True)
        loss = sum((y * tg.tensor(g)).sum() for y, g in pairs)
        gradients = tg.autograd.grad(loss, [work.x, *work.states, *work.parameters], allow_unused=True)
        arrays = [y.detach().numpy() for y in results]
        found.append([*arrays, *[np.zeros(1) if g is None else g.numpy() for g in gradients]])
    return found


BAD = [np.inf, -np.inf, np.nan, 1e200, -1e200]


def into_x(work: Work, bad: float) -> None:
    work.x._data[1, 2, 3] = bad


def into_a_state(work: Work, bad: float) -> None:
    work.states[-1]._data[1, 2] = bad


def into_a_weight(work: Work, bad: float) -> None:
    work.parameters[0]._data[1, 2] = bad


@pytest.mark.parametrize("name", SOME)
def test_numbers_are_bad_where_those_of_the_step_are_and_nowhere_else(name: str) -> None:
    seen = 0
    for put in (into_x, into_a_state, into_a_weight):
        for bad in BAD:
            work = Work(name)
            put(work, bad)
            ours, theirs = quietly(both, work, name)
            for one, other in zip(ours, theirs, strict=True):
                finite = np.isfinite(other)
                one = one.reshape(other.shape)
                np.testing.assert_array_equal(np.isfinite(one), finite)
                np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
                np.testing.assert_allclose(one[finite], other[finite], rtol=1e-11, atol=1e-12)
                seen += (~finite).sum()
    assert seen > 100


def test_a_cotangent_that_is_nan_goes_where_it_goes_in_the_step() -> None:
    for name in SOME:
        work = Work(name)
        shapes = [y.shape for y in work.composed(cells=True)]
        gs = [np.ones(shape) for shape in shapes]
        gs[0][2, 1, 0] = np.nan
        ours, theirs = quietly(both, work, name, gs)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(np.isnan(one.reshape(other.shape)), np.isnan(other))
        if name == "rnn_with_relu":  # which passes no gradient where it is shut
            continue
        assert np.isnan(theirs[len(shapes)]).any() and not np.isnan(theirs[len(shapes)]).all()


@pytest.mark.parametrize("scale", [30.0, 1e3, 1e6])
@pytest.mark.parametrize("name", [*SOME, "lstm_with_zoneout", "LayerNorm", "softmax_over_units"])
def test_shut_and_open_gates_give_what_they_give_in_the_step(name: str, scale: float) -> None:
    """A sigmoid that is 0 loses what it is multiplied by: tanh(c') is no quotient then."""
    work = Work(name)
    work.x._data[...] *= scale
    ours, theirs = both(work, name)
    for one, other in zip(ours, theirs, strict=True):
        largest = max(1.0, np.abs(other).max())
        np.testing.assert_allclose(one.reshape(other.shape), other, rtol=1e-11, atol=1e-12 * largest)


@pytest.mark.parametrize("name", ["lstm", "gru_with_the_reset_before_the_product", "LayerNorm", "rnn with gelu"])
def test_single_precision_is_single_throughout_and_as_exact(name: str) -> None:
    work, exact = Work(name), Work(name)
    values = {}
    for dtype, w in ((np.float32, work), (np.float64, exact)):
        if dtype == np.float32:
            for p in w.c.parameters.values():
                p._data = p._data.astype(np.float32)
            w.x, *w.states = [t.detach().float().requires_grad_() for t in (w.x, *w.states)]
        cell = made(w.c, 5, dtype=dtype)
        results = w.compiled(cell, cells=True)
        loss = sum((y * y).sum() for y in results)
        gradients = tg.autograd.grad(loss, [w.x, *w.states, *w.parameters])
        values[dtype] = [t.detach().numpy() for t in (*results, *gradients)]
    for one, other in zip(values[np.float32], values[np.float64], strict=True):
        assert one.dtype == np.float32 and other.dtype == np.float64
        # 5 steps of sums of 5 and 6 terms, of numbers of order 1
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * max(1, np.abs(other).max()))
        assert np.abs(other).max() > 1e-3


@pytest.mark.parametrize("name", ["lstm", "lstm_with_layer_norm", "states_of_two_widths", "lstm_with_gates"])
@pytest.mark.parametrize("size, hidden", [(1, 1), (3, 1)])
def test_one_unit_is_enough(name: str, size: int, hidden: int) -> None:
    work = Work(name, size, hidden)
    cell = made(work.c, size)
    found, expected = work.compiled(cell), work.composed()
    for one, other in zip([*found, *work.gradients(found)], [*expected, *work.gradients(expected)], strict=True):
        if other is not None:
            scale = max(1.0, float(other.abs().max()))
            one = one.detach().numpy().reshape(other.shape)
            np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-12, atol=1e-12 * scale)


def test_an_input_without_columns_is_refused() -> None:
    p = weights(W=(4, 0), U=(4, 4))
    with pytest.raises(Refused, match="or a parameter without entries"):
        made(Cell(p, lambda x, s: tg.tanh(linear(x, p["W"]) + linear(s[0], p["U"])), (4,)), 0)
    with pytest.raises(Refused, match="an input, a state, a mask"):
        made(Cell({}, lambda x, s: s[0] * 2, (4,)), 0)


@pytest.mark.parametrize("steps, rows", [(0, 4), (3, 0)])
def test_there_may_be_nothing_to_do(steps: int, rows: int) -> None:
    for name in ("lstm_with_projection_that_emits", "masks_in_products_and_sums", "LayerNorm"):
        work = Work(name)
        work.x = tg.tensor(work.x._data[:steps, :rows], requires_grad=True)
        work.states = [tg.tensor(s._data[:rows], requires_grad=True) for s in work.states]
        work.step_masks = [m[:steps, :rows] for m in work.step_masks]
        work.sequence_masks = [m[:rows] for m in work.sequence_masks]
        results = work.compiled(made(work.c, 5), cells=True)
        assert [y.shape[:2] for y in results[: -len(work.states)]] == [(steps, rows)] * (
            len(results) - len(work.states)
        )
        gradients = work.gradients(results)
        for g, t in zip(gradients, [work.x, *work.states, *work.parameters], strict=True):
            assert g is None or g.shape == t.shape
        assert not any(g is not None and g.numpy().any() for g in gradients[1 + len(work.states) :])


def test_what_the_cotangent_of_x_alone_needs_is_left_out_where_x_needs_none() -> None:
    work = Work("lstm_of_a_function_of_x")
    cell = made(work.c, 5)
    assert "if len(dx) and low < stop:" in cell._compiled.text("numba")
    found = []
    for wanted in (True, False):
        work.x.requires_grad = wanted
        loss = sum((y * y).sum() for y in work.compiled(cell))
        leaves = [*([work.x] if wanted else []), *work.states, *work.parameters]
        found.append([g.numpy() for g in tg.autograd.grad(loss, leaves)])
    assert np.abs(found[0][0]).max() > 1e-3
    for one, other in zip(found[0][1:], found[1], strict=True):
        np.testing.assert_array_equal(one, other)

"""NumPy's kernels in two threads: the same numbers as in one, where the work is worth it, and only there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.flat_kernels import FlatKernel
from tinygrad_rnn.backend.cpu.threads import get_num_threads, set_num_threads
from tinygrad_rnn.kernels.recurrent import dispatch, threads
from tinygrad_rnn.kernels.recurrent.interface import Cotangents, Gradients, Needs, Options, Run

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu"}),
    ("GRU", {"bidirectional": True}),
    ("LSTM", {"bidirectional": True, "bias": False}),
    ("LSTM", {"proj_size": 3}),
    ("LSTM", {"return_cells": True}),
]


@pytest.fixture
def worthwhile(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every batch of two is worth two threads."""
    before = get_num_threads()
    for name in ("STEPS", "ROWS", "WORK"):
        monkeypatch.setattr(threads, name, 1)
    set_num_threads(2)
    yield
    set_num_threads(before)


def results(layer: Any, x: Any) -> list[Any]:
    """Outputs, final states and all gradients, for cotangents that differ from entry to entry."""
    layer.zero_grad()
    x.grad = None
    with tg.backends.recurrent.only("numpy"):
        output, states, *cells = layer(x)
        outputs = [output, *(states if isinstance(states, tuple) else (states,)), *cells]
        total = sum((y * tg.arange(y.numel()).reshape(y.shape).cos()).sum() for y in outputs)
        total.backward()
    return [a.detach().numpy().copy() for a in (*outputs, x.grad, *[p.grad for p in layer.parameters()])]


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batches that were split, as that happens."""
    seen: list[int] = []
    both = threads.SplitBatch._both

    def spy(self: Any, run: Any, batch: int) -> Any:
        seen.append(batch)
        return both(self, run, batch)

    monkeypatch.setattr(threads.SplitBatch, "_both", spy)
    return seen


@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_halves_give_what_the_whole_gives(
    kind: str, options: dict[str, Any], batch: int, worthwhile: None, split: list[int]
) -> None:
    tg.manual_seed(0)
    layer = getattr(tg.nn, kind)(4, 6, dtype=tg.float64, **options)
    x = tg.randn(7, batch, 4, dtype=tg.float64, requires_grad=True)
    got = results(layer, x)
    runs = 2 * layer._directions
    assert split == [batch] * runs
    set_num_threads(1)
    expected = results(layer, x)
    assert split == [batch] * runs
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.shape == theirs.shape and np.abs(theirs).max() > 1e-3
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13 * max(np.abs(theirs).max(), 1))


def test_what_is_not_worth_it_stays_whole(split: list[int]) -> None:
    before = get_num_threads()
    set_num_threads(2)
    try:
        for T, N, H in ((8, 16, 354), (7, 16, 354), (8, 14, 400), (8, 16, 352)):
            with tg.backends.recurrent.only("numpy"), tg.no_grad():
                tg.nn.RNN(2, H)(tg.zeros(T, N, 2))
    finally:
        set_num_threads(before)
    assert split == [16]


def test_packed_sequences_stay_whole(worthwhile: None, split: list[int]) -> None:
    packed = tg.nn.utils.rnn.pack_padded_sequence(tg.randn(4, 3, 2), [4, 2, 1])
    with tg.backends.recurrent.only("numpy"):
        tg.nn.GRU(2, 3)(packed)[0].data.sum().backward()
    assert split == []


def test_gradients_that_are_not_wanted_are_not_computed(worthwhile: None) -> None:
    kernel = FlatKernel(threads.SplitBatch(dispatch.LSTM.kernel("numpy")), "lstm")
    arrays = [np.ones(s) for s in ((3, 2, 4), (2, 5), (2, 5), (20, 4), (20, 5), (20,), (20,))]
    outputs, residual = kernel.forward(*arrays)
    assert kernel.forward(*arrays, save=False)[1] is None
    needs = [False, True, False, True, False, False, True, False]
    found = kernel.backward([None, outputs[1], None], residual, *arrays, None, needs=needs)
    assert [g is not None for g in found] == needs


def test_errors_and_silence_are_those_of_the_caller(worthwhile: None) -> None:
    kernel = FlatKernel(threads.SplitBatch(dispatch.GRU.kernel("numpy")), "gru")
    arrays = [np.full(s, 1e300) for s in ((3, 2, 4), (2, 5), (15, 4), (15, 5))]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel.forward(*arrays)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        kernel.forward(*arrays)


class Left(NamedTuple):
    options: Options


class Scaled:
    """A kernel without weights: ``y = x * mask of the step * mask of the sequence``, and these back."""

    def forward(self, x: Any, states: Any, weights: Any, options: Options) -> Run:
        y = x * options.step_masks[0] * options.sequence_masks[0]
        return Run((y,), (states[0] * options.sequence_masks[0],), Left(options))

    def backward(self, x: Any, states: Any, weights: Any, options: Options, left: Any, gs: Any, needs: Any) -> Any:
        for mine, theirs in zip(options.step_masks + options.sequence_masks, left[0][-2] + left[0][-1], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        (dy,), (dh,) = gs
        dx = dy * options.step_masks[0] * options.sequence_masks[0]
        return Gradients(dx, (dh * options.sequence_masks[0],), ())


def test_a_residual_may_be_a_plain_tuple(split: list[int]) -> None:
    """Of a batch that stays whole, large or not."""
    for mode in ("lstm", "gru", "rnn"):
        kernel = FlatKernel(threads.SplitBatch(dispatch.CELLS[mode].kernel("numpy")), mode)
        gates = {"lstm": 4, "gru": 3, "rnn": 1}[mode]
        states = [(32, 5)] * (1 + (mode == "lstm"))
        arrays = [np.ones(s) for s in ((3, 32, 4), *states, (gates * 5, 4), (gates * 5, 5), (gates * 5,), (gates * 5,))]
        outputs, residual = kernel.forward(*arrays)
        assert type(residual) is tuple and not isinstance(residual, threads.Halves)
        found = kernel.backward([np.ones_like(y) for y in outputs], residual, *arrays, needs=[True] * len(arrays))
        assert [g.shape for g in found[: len(arrays)]] == [a.shape for a in arrays]
    assert split == []


def test_each_half_has_its_own_masks(worthwhile: None, split: list[int]) -> None:
    rng = np.random.default_rng(0)
    x, h, of_steps, of_sequences = (rng.random(s) for s in ((3, 5, 2), (5, 2), (3, 5, 2), (5, 2)))
    options = Options(step_masks=(of_steps,), sequence_masks=(of_sequences,))
    whole, halves = Scaled(), threads.SplitBatch(Scaled())
    gs = Cotangents((x + 1,), (h + 1,))
    found = []
    for kernel in (whole, halves):
        run = kernel.forward(x, (h,), (), options)
        back = kernel.backward(x, (h,), (), options, run.residual, gs, Needs(True, (True,), ()))
        found.append([*run.series, *run.states, back.x, *back.states])
    assert split == [5, 5]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)

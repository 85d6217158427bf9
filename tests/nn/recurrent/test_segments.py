"""Checkpointing in segments of time: the same numbers in less memory, whatever else the layer does."""

from __future__ import annotations

import gc
import math
import threading
import tracemalloc
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.golden.recurrent_cases import random_layer_case, run_layer
from tinygrad_rnn.backend.cpu.threads import get_num_threads, set_num_threads
from tinygrad_rnn.backend.memory import release_memory
from tinygrad_rnn.errors import ArgumentError, InplaceError
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.checkpointing import cut

TOLERANCE = 1e-12
"""Sums of a few dozen float64 numbers of order 1 to 10, added in another order."""

KINDS = ("RNN", "LSTM", "GRU")


def made(kind: str, segments: Any, **options: Any) -> Any:
    tg.manual_seed(0)
    return getattr(tg.nn, kind)(2, 3, dtype=tg.float64, checkpoint_segments=segments, **options)


def sequence(steps: int = 7, batch: int = 2) -> tg.Tensor:
    values = np.random.default_rng(0).standard_normal((steps, batch, 2))
    return tg.tensor(values, requires_grad=True)


def everything(layer: Any, x: tg.Tensor) -> list[np.ndarray]:
    """Output, final state and all first gradients."""
    tg.manual_seed(1)
    output, final = layer(x)
    states = list(final) if isinstance(final, tuple) else [final]
    total = sum((y * y).sum() for y in (output, *states))
    found = tg.autograd.grad(total, [x, *layer.parameters()])
    return [t.detach().numpy() for t in (output, *states, *found)]


def same(left: list[np.ndarray], right: list[np.ndarray]) -> None:
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
    assert max(np.abs(a).max() for a in right) > 1e-2


# numbers -------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**9), st.sampled_from([2, 3, 100]), st.sampled_from(["fused", "composed"]))
@settings(max_examples=60, deadline=None)
def test_segments_change_no_number_in_any_configuration(seed: int, segments: Any, impl: str) -> None:
    case = random_layer_case(Random(seed))
    plain = run_layer(tg, case, "float64", impl=impl)
    cut_up = run_layer(tg, case, "float64", impl=impl, checkpoint_segments=segments)
    assert list(plain) == list(cut_up)
    for key, array in plain.items():
        np.testing.assert_allclose(cut_up[key], array, rtol=1e-11, atol=1e-11, err_msg=f"{case}: {key}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 3, "dropout": 0.5},
        {"num_layers": 2, "dropout": 0.5, "locked_dropout": True, "bidirectional": True},
        {"weight_dropout": 0.5},
        {"zoneout": 0.4},
        {"recurrent_dropout": 0.4, "zoneout": 0.2, "bidirectional": True},
        {"layer_norm": True, "skip": "residual", "num_layers": 2},
        {"learn_state": True},
    ],
)
def test_random_options_draw_the_same_numbers_again(kind: str, options: dict[str, Any]) -> None:
    x = sequence()
    same(everything(made(kind, 3, **options), x), everything(made(kind, None, **options), x))


@pytest.mark.parametrize("options", [{"return_cells": True}, {"return_gates": True}, {"peepholes": True}])
def test_what_is_returned_besides_is_the_same(options: dict[str, Any]) -> None:
    found = []
    for segments in (3, None):
        x = sequence()
        output, _, *more = made("LSTM", segments, bidirectional=True, **options)(x)
        extra = [value for item in more for value in (item.values() if isinstance(item, dict) else [item])]
        (output.square().sum() + sum(value.square().sum() for value in extra)).backward()
        found.append([t.detach().numpy() for t in (output, *extra, x.grad)])
    same(*found)


@pytest.mark.parametrize("impl", ["fused", "composed"])
@pytest.mark.parametrize("kind", KINDS)
def test_second_order_is_the_same(kind: str, impl: str) -> None:
    found = []
    for segments in (3, None):
        layer, x = made(kind, segments, impl=impl, num_layers=2, bidirectional=True), sequence()
        leaves = [x, *layer.parameters()]
        first = tg.autograd.grad(layer(x)[0].square().sum(), leaves, create_graph=True)
        second = tg.autograd.grad(sum(g.square().sum() for g in first), leaves)
        found.append([t.detach().numpy() for t in (*first, *second)])
    same(*found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_that_is_retained_can_be_swept_again(kind: str) -> None:
    layer, x = made(kind, 3), sequence()
    loss = layer(x)[0].square().sum()
    first = tg.autograd.grad(loss, [x, *layer.parameters()], retain_graph=True)
    second = tg.autograd.grad(loss, [x, *layer.parameters()])
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_rnn_layer_can_be_cut_as_well(kind: str) -> None:
    found = []
    for segments in (3, None):
        tg.manual_seed(0)
        cell = getattr(tg.nn, kind + "Cell")(2, 3, dtype=tg.float64)
        found.append(everything(tg.nn.RNNLayer(cell, checkpoint_segments=segments), sequence()))
    same(*found)


def test_cuts_cover_every_step_once_in_the_order_of_the_visits() -> None:
    for steps in range(1, 12):
        for wish in (None, 0, 1, 2, 5, 100, "auto"):
            rows = [segment.rows for segment in cut((steps, 1, 2), None, False, wish)]
            assert [t for r in rows for t in range(r.start, r.stop)] == list(range(steps))
            assert [segment.rows for segment in cut((steps, 1, 2), None, True, wish)] == rows[::-1]
            assert all(r.stop > r.start for r in rows)
    packed = cut((7, 2), (4, 2, 1), False, 2)
    assert [(s.rows, s.sizes) for s in packed] == [(slice(0, 4), (4,)), (slice(4, 7), (2, 1))]


def test_the_number_is_chosen_by_the_steps_and_never_for_a_few_rows() -> None:
    chosen = {
        shape: len(cut((*shape, 2), None, False, "auto")) for shape in [(900, 1), (4096, 1), (10**8, 1), (400, 64)]
    }
    assert chosen == {(900, 1): 1, (4096, 1): 4, (10**8, 1): 10**4, (400, 64): 20}


# cost ----------------------------------------------------------------------------------------------------------------


def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps of every run of a kernel forward, from now on."""
    seen: list[int] = []
    start = dispatch._start

    def counted(kernel: str, cell: Any, x: Any, *rest: Any) -> Any:
        seen.append(len(x))
        return start(kernel, cell, x, *rest)

    monkeypatch.setattr(dispatch, "_start", counted)
    return seen


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_every_segment_but_the_last_runs_forward_twice(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x, seen = made(kind, 3), sequence(6), runs(monkeypatch)
    loss = layer(x)[0].sum()
    assert seen == [2, 2, 2]
    loss.backward()
    assert seen == [2, 2, 2, 2, 2]


@pytest.mark.parametrize("kernel", ["numba", "numpy"])
@pytest.mark.parametrize("batch", [2, 40])
def test_of_a_plain_rnn_nothing_runs_twice(kernel: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty sequences of 300 units go through NumPy's kernels in two halves."""
    if kernel == "numba":
        pytest.importorskip("numba")
    found = []
    for segments in (3, None):
        tg.manual_seed(0)
        layer = tg.nn.RNN(2, 300, dtype=tg.float64, checkpoint_segments=segments)
        x = sequence(24, batch)
        with dispatch.only(kernel):
            y, _ = layer(x)
            seen = runs(monkeypatch)
            y.square().sum().backward()
        assert seen == []
        found.append([t.numpy() for t in (y.detach(), x.grad, *[p.grad for p in layer.parameters()])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11 * np.abs(b).max())


@pytest.mark.parametrize("kind", KINDS)
def test_one_sequence_is_computed_again_a_segment_ahead(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    before, found, names = get_num_threads(), [], []
    start = dispatch._start

    def noted(*args: Any) -> Any:
        names.append(threading.current_thread().name)
        return start(*args)

    set_num_threads(2)
    try:
        for segments in (5, None):
            layer, x = made(kind, segments), sequence(30, 1)
            with dispatch.only("numba"):
                loss = layer(x)[0].square().sum()
            names.clear()
            monkeypatch.setattr(dispatch, "_start", noted)
            loss.backward()
            monkeypatch.undo()
            found.append([t.numpy() for t in (x.grad, *[p.grad for p in layer.parameters()])])
            assert names == ["tinygrad_rnn prefetch"] * (0 if segments is None or kind == "RNN" else 4)
    finally:
        set_num_threads(before)
    same(*found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_that_ran_forward_runs_again(kind: str) -> None:
    with dispatch.only("numpy"):
        loss = made(kind, 3)(sequence(6))[0].sum()
    with dispatch.only("cuda"):  # which nothing here could use
        loss.backward()


@pytest.mark.parametrize("kind", KINDS)
def test_without_recording_nothing_is_cut(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x, seen = made(kind, 3), sequence(6), runs(monkeypatch)
    with tg.no_grad():
        layer(x)
    assert seen == [6]


def peak(kind: str, segments: Any, steps: int, size: int = 32, whole: bool = True) -> int:
    """Bytes at the height of forward and backward, above what was there before.

    Counted twice, and the smaller number taken: other threads of this process, such as those that talk to the one that
    hands out the tests, add to what is counted.

    The output is held all the time; the loss is that of the ``whole`` output, or of the final state alone.  With
    NumPy's kernels: compiled ones keep memory for the next run, which is not counted.
    """
    tg.manual_seed(0)
    layer = getattr(tg.nn, kind)(size, size, checkpoint_segments=segments)
    x = tg.tensor(np.ones((steps, 1, size), np.float32))
    with tg.backends.recurrent.only("numpy"):
        layer(x[:9])[0].sum().backward()  # what is imported now is not counted
    counted = []
    for _ in range(2):
        layer.zero_grad()
        gc.collect()
        release_memory()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            with tg.backends.recurrent.only("numpy"):
                output, final = layer(x)
            (output * output if whole else final[0]).sum().backward()
            counted.append(tracemalloc.get_traced_memory()[1] - before)
        finally:
            tracemalloc.stop()
        del output, final
    return min(counted)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_inside_grows_as_the_square_root_of_the_length(kind: str) -> None:
    """From T to 4 T to 16 T, the second rise is 2 times the first; it would be 4 times if all were kept."""

    def inside(segments: Any, steps: int) -> int:
        return peak(kind, segments, steps, whole=False) - 32 * 4 * steps  # without the output, which is held

    low, middle, high = [inside(round(math.sqrt(steps)), steps) for steps in (500, 2000, 8000)]
    assert high - middle < 2 * math.sqrt(2) * (middle - low)
    assert inside(None, 2000) > 5 * middle


def test_an_lstm_in_segments_peaks_below_a_third() -> None:
    """One table of H per step, the output, for that and 4 gates, c, and 4 gradients of gates."""
    assert 0.05 < peak("LSTM", 64, 4000, whole=False) / peak("LSTM", None, 4000, whole=False) < 1 / 3


# mistakes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("impl", ["fused", "composed"])
def test_an_input_that_is_written_between_the_two_runs_is_refused(impl: str) -> None:
    layer, x = made("LSTM", 3, impl=impl), sequence().detach()
    loss = layer(x)[0].sum()
    x[0] = 0.0
    with pytest.raises(InplaceError):
        loss.backward()


@pytest.mark.parametrize("wish", [-1, 1.5, True, "many", (2,)])
def test_what_is_no_number_of_segments_is_refused(wish: Any) -> None:
    with pytest.raises(ArgumentError, match="checkpoint_segments must be a number of segments"):
        tg.nn.GRU(2, 3, checkpoint_segments=wish)


def test_the_option_is_shown() -> None:
    assert str(tg.nn.GRU(2, 3, checkpoint_segments="auto")) == "GRU(2, 3, checkpoint_segments=auto)"
    assert str(tg.nn.GRU(2, 3)) == "GRU(2, 3)"

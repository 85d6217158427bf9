"""The CUDA kernels and their drivers, from source to gradients, on an emulated GPU against float64 NumPy.

The emulation runs the kernels' own sources thread by thread in random order: what is checked here is their logic and
their synchronisation, the drivers' layouts and launches.  What only a GPU shows (the meaning of its instructions, its
memory's orders, speed) is left to the tests marked ``gpu``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.kernels.cuda.comparison import Case, numbers, run, worst_error
from tests.support import fakecupy
from tests.support.emulator import Emulator, LaunchError, needs_compiler
from tinygrad_rnn.backend.gpu.kernels import Gpu
from tinygrad_rnn.kernels.recurrent.cuda.cells import CELLS, Cell
from tinygrad_rnn.kernels.recurrent.cuda.tilings import (
    BARRIER,
    COUNTER,
    MESSAGES,
    Tiling,
    block_counts,
    candidates,
    using,
)

pytestmark = needs_compiler

TOLERANCES = {"float32": 1e-6, "float64": 1e-14}
"""Of norms: float32 (eps 6e-8) over sums of up to 512 products; the worst seen is 4e-7.  In float64 1e-15."""

MODES = ("lstm", "gru", "rnn")
FAILURES = (LaunchError, RuntimeWarning)  # a launch that fails makes the driver warn, which is an error in tests
SIGNALS = {"messages": MESSAGES, "barrier": BARRIER, "counter": COUNTER}


def cases(mode: str, size: int) -> list[Case]:
    """Equal and several lengths, either direction, absent arguments, sizes that are padded and odd."""
    odd = size - 3
    found = [
        Case(mode, 5, 3, size),
        Case(mode, 1, 2, odd, reverse=True, bias=False),
        Case(mode, 6, 5, odd, reverse=True),
        Case(mode, 6, 5, odd, lengths=(6, 4, 4, 1, 0)),
        Case(mode, 6, 5, size - 4, lengths=(6, 4, 4, 2, 1), reverse=True, given="y"),
        Case(mode, 3, 4, odd, lengths=(2, 2, 0, 0), reverse=True, given="h", bias=False),
        Case(mode, 3, 1, size, save=False),
    ]
    if mode == "lstm":
        found.append(Case(mode, 3, 2, size, given="c"))
    return [*found, Case("rnn", 4, 3, odd, nonlinearity="relu")] if mode == "rnn" else found


def cell(mode: str) -> Cell:
    return CELLS["tanh" if mode == "rnn" else mode]


def tiling(mode: str, hidden: int, ctas: int, sync: int, samples: int, held: float = 1.0) -> Tiling:
    whole = Tiling(cell(mode).rows, hidden, ctas, 256, 0, 0, sync, samples)
    part = {"held_forward": int(whole.k_each * held) // 4 * 4, "held_backward": int(whole.rows_each * held) // 4 * 4}
    return replace(whole, **part)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
def test_stepwise_kernels_equal_numpys(mode: str, dtype: str, emulated: Emulator, monkeypatch: Any) -> None:
    monkeypatch.setattr("tinygrad_rnn.kernels.recurrent.cuda.layer.choose", lambda *args: "asked for")
    for seed, case in enumerate(cases(mode, 40)):
        assert worst_error(case, fakecupy, dtype, seed) < TOLERANCES[dtype], case
    assert {name for name, _ in emulated.launches} == {"step_forward", "step_backward"}


TILINGS = [
    (32, 1, MESSAGES, 2, 1.0),
    (64, 2, MESSAGES, 2, 1.0),
    (64, 2, BARRIER, 1, 1.0),
    (64, 2, COUNTER, 4, 1.0),
    (128, 4, MESSAGES, 1, 0.5),
]


@pytest.mark.parametrize(("hidden", "ctas", "sync", "samples", "held"), TILINGS)
@pytest.mark.parametrize("mode", MODES)
def test_persistent_kernels_equal_numpys(
    mode: str, hidden: int, ctas: int, sync: int, samples: int, held: float, emulated: Emulator
) -> None:
    with using(tiling(mode, hidden, ctas, sync, samples, held)):
        for seed, case in enumerate(cases(mode, hidden)):
            emulated.lag = 100 * (seed % 2)
            assert worst_error(case, fakecupy, seed=seed) < TOLERANCES["float32"], case
    assert {name for name, _ in emulated.launches} == {"persistent_forward", "persistent_backward"}


ALL_TILINGS = [
    pytest.param(mode, found, id=f"{mode}-{capability}-{size}-{found.ctas}-{found.samples}")
    for mode in MODES
    for capability in (90, 80)
    for size in (32, 64, 128, 256, 512)
    for ctas in (block_counts(cell(mode), size) if capability == 90 else [None])
    for found in candidates(cell(mode), size, Gpu(0, capability, 132, 227 * 1024), ctas)
]


@pytest.mark.thorough
@pytest.mark.parametrize(("mode", "found"), ALL_TILINGS)
def test_every_tiling_that_is_chosen_or_measured_equals_numpy(mode: str, found: Tiling, emulated: Emulator) -> None:
    with using(found):
        for seed, case in enumerate(cases(mode, found.hidden)[: None if found.hidden <= 128 else 4]):
            emulated.lag = 100 * (seed % 2)
            assert worst_error(case, fakecupy, seed=seed) < TOLERANCES["float32"], case


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("mode", MODES)
def test_schedules_do_not_change_a_bit(mode: str, signal: str, emulated: Emulator) -> None:
    samples = {"messages": 2, "barrier": 1, "counter": 4}[signal]
    case = Case(mode, 6, 5, 61, lengths=(6, 4, 4, 1, 0))
    arrays, gs = ([None if a is None else fakecupy.asarray(a) for a in some] for some in numbers(case, "float32"))
    with using(tiling(mode, 64, 2, SIGNALS[signal], samples)):
        first = run("cuda", case, arrays, gs)
        for lag in (0, 100, 1000):
            emulated.lag = lag
            for a, b in zip(first, run("cuda", case, arrays, gs), strict=True):
                np.testing.assert_array_equal(a, b)


def test_groups_that_must_run_together_are_launched_as_many_as_fit(emulated: Emulator) -> None:
    emulated.become(80, 5)  # two groups of two blocks at a time
    case = Case("gru", 3, 18, 64, lengths=(3,) * 9 + (2,) * 9)
    with using(tiling("gru", 64, 2, COUNTER, 4)):
        assert worst_error(case, fakecupy) < TOLERANCES["float32"]
    assert [blocks for _, blocks in emulated.launches] == [4, 4, 2] * 2


# Planted errors: each must be seen, or these tests prove nothing.
SINGLE_H = ("const int upcoming = ((k + 1) & 1) * SAMPLES * HIDDEN;", "const int upcoming = 0;")
SINGLE_H_READ = ("hidden + (k & 1) * SAMPLES * HIDDEN;", "hidden;")
RACES: dict[str, tuple[int, int, list[tuple[str, str]]]] = {
    "one buffer for h": (1, MESSAGES, [SINGLE_H, SINGLE_H_READ]),
    "one buffer for h, messages": (2, MESSAGES, [SINGLE_H, SINGLE_H_READ]),
    "one buffer for dz": (2, MESSAGES, [("dz_lines + (k & 1) * SAMPLES * LINE", "dz_lines")]),
    "no barrier at the end of a step": (1, MESSAGES, [("if (CTAS == 1) __syncthreads();", "if (CTAS == 1) ;")]),
    "no barrier of the cluster": (2, BARRIER, [("else if (SYNC == 1) meet_cluster();", "")]),
    "a counter that nobody waits for": (2, COUNTER, [("step * CTAS);", "0);")]),
    "dz used before it is complete": (
        2,
        MESSAGES,
        [("before = long_before;\n        __syncthreads();", "before = long_before;")],
    ),
    "messages not announced": (2, MESSAGES, [("if (tid == 0) expect(base, k & 1, BYTES);", "")]),
    "a wrong parity": (2, MESSAGES, [("(k - 1) >> 1 & 1", "k >> 1 & 1")]),
    "a message to the wrong place": (
        2,
        MESSAGES,
        [("HEADER + upcoming + n * HIDDEN + j -", "upcoming + n * HIDDEN + j -")],
    ),
    "rows of packed input taken for equal lengths": (2, MESSAGES, [("starts(starts_),", "starts(nullptr),")]),
    "a store beside an array": (1, MESSAGES, [("table[place] =", "table[place + H] =")]),
    "ended sequences go on": (2, MESSAGES, [("h[s] = runs ? h_after : h_before;", "h[s] = h_after;")]),
    "ended sequences lose their gradient": (2, MESSAGES, [("past[i] = runs ? beside : dh;", "past[i] = beside;")]),
}


@pytest.mark.parametrize("name", RACES)
def test_planted_errors_are_caught(name: str, emulated: Emulator) -> None:
    ctas, sync, edits = RACES[name]

    def edit(source: str) -> str:
        for old, new in edits:
            assert old in source
            source = source.replace(old, new)
        return source

    emulated.edit, emulated.lag = edit, 200
    case = Case("lstm", 6, 4, 32 * ctas, lengths=(6, 5, 3, 2))
    with using(tiling("lstm", 32 * ctas, ctas, sync, 2)):
        for seed in range(8):
            try:
                if not worst_error(case, fakecupy, seed=seed) < TOLERANCES["float32"]:
                    return
            except FAILURES:
                return
    pytest.fail(f"{name}: not noticed")

"""The CUDA kernels on a GPU against NumPy's in float64: what no emulation can tell.

A fallback to other kernels would warn, and warnings are errors in tests: what passes here has run as it was meant to.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, product
from typing import Any

import numpy as np
import pytest

from tests.kernels.cuda.comparison import Case, numbers, run, worst_error
from tests.support.flat_kernels import grouped
from tinygrad_rnn.backend.gpu.clusters import clusters_at_once
from tinygrad_rnn.backend.gpu.cupy_access import module
from tinygrad_rnn.backend.gpu.kernels import gpu
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.cuda import describe, explain
from tinygrad_rnn.kernels.recurrent.cuda.cells import CELLS
from tinygrad_rnn.kernels.recurrent.cuda.tilings import (
    BARRIER,
    COUNTER,
    Tiling,
    block_counts,
    candidates,
    choose,
    using,
)
from tinygrad_rnn.kernels.recurrent.interface import Options

pytestmark = pytest.mark.gpu

TOLERANCES = {"float32": 1e-5, "float64": 1e-12}
"""Relative to the norm of each output and gradient; float32 over up to a thousand steps."""

KINDS = {"lstm": ("lstm", {}), "gru": ("gru", {}), "tanh": ("rnn", {}), "relu": ("rnn", {"nonlinearity": "relu"})}
SIZES = (32, 64, 100, 128, 256, 300, 512)
BATCHES = ((1, 1000), (2, 1), (16, 128), (33, 17), (64, 64))  # N, T


def packed(batch: int, steps: int) -> tuple[int, ...]:
    """Lengths from all steps down to none."""
    return tuple(sorted((steps * (batch - n) // batch for n in range(batch)), reverse=True))


def grid() -> list[Any]:
    """Every kind, size and batch; the variants take turns."""
    variants = cycle([(False, False), (True, True), (False, True), (True, False), (True, True)])
    found = []
    for kind, size, (batch, steps) in product(KINDS, SIZES, BATCHES):
        mode, options = KINDS[kind]
        several, reverse = next(variants)
        lengths = packed(batch, steps) if several and batch > 1 else None
        case = Case(mode, steps, batch, size, inputs=17, lengths=lengths, reverse=reverse, **options)
        found.append(pytest.param(case, id=f"{kind}-{size}-{batch}-{steps}-{several}-{reverse}"))
    return found


def stepwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_rnn.kernels.recurrent.cuda.layer.choose", lambda *args: "asked for")


def test_the_kernels_of_this_gpu_are_named() -> None:
    assert describe().startswith("persistent")


@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_the_driver_tells_how_many_clusters_run_at_once(size: int) -> None:
    if gpu().capability < 90:
        pytest.skip("there are no clusters")
    found = clusters_at_once(size)
    assert found is not None and 1 <= found <= gpu().multiprocessors // size


@pytest.mark.parametrize("case", grid())
def test_persistent_kernels_equal_numpys(case: Case) -> None:
    cupy = module()
    arrays = [None if a is None else cupy.asarray(a) for a in numbers(case, "float32")[0]]
    assert explain(dispatch.CELLS[case.mode], *grouped(case.mode, arrays), Options(**case.params())).startswith(
        "persistent"
    )
    assert worst_error(case, cupy) < TOLERANCES["float32"]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("case", grid()[2::5])
def test_stepwise_kernels_equal_numpys(case: Case, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stepwise(monkeypatch)
    assert worst_error(case, module(), dtype) < TOLERANCES[dtype]


def every_tiling(mode: str, size: int) -> list[Tiling]:
    """Those that are chosen from, one of each other number of blocks, and every way to signal that this GPU has."""
    cell = CELLS["tanh" if mode == "rnn" else mode]
    own = candidates(cell, size, gpu())
    others = [ctas for ctas in block_counts(cell, size) if ctas != own[0].ctas]
    found = [*own, *(candidates(cell, size, gpu(), ctas)[2] for ctas in others)]
    if own[1].ctas > 1 and gpu().capability >= 90:
        found += [replace(own[1], sync=way) for way in (BARRIER, COUNTER)]
    return found


@pytest.mark.parametrize("mode", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("size", [32, 64, 128, 256, 512])
def test_every_tiling_and_way_to_signal_equals_numpy(mode: str, size: int) -> None:
    case = Case(mode, 40, 21, size, lengths=packed(21, 40))
    for tiling in every_tiling(mode, size):
        with using(tiling):
            assert worst_error(case, module()) < TOLERANCES["float32"], tiling


@pytest.mark.parametrize("size", [64, 128, 256, 512])
@pytest.mark.parametrize("mode", ["lstm", "gru", "rnn"])
def test_repeated_runs_agree_to_the_bit(mode: str, size: int) -> None:
    """An error that moves between runs is a race."""
    cupy = module()
    case = Case(mode, 300, 16, size, lengths=packed(16, 300))
    arrays, gs = ([None if a is None else cupy.asarray(a) for a in some] for some in numbers(case, "float32"))
    first = run("cuda", case, arrays, gs)
    for _ in range(20):
        for a, b in zip(first, run("cuda", case, arrays, gs), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", ["lstm", "gru", "rnn"])
def test_the_two_kinds_of_kernels_continue_each_other(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind forward, the other one back."""
    cupy = module()
    case = Case(mode, 50, 8, 128)
    arrays, gs = ([None if a is None else cupy.asarray(a) for a in some] for some in numbers(case, "float32"))
    expected = run("cuda", case, arrays, gs)
    calls = iter(range(100))

    def in_turns(*args: Any) -> Any:
        return "asked for" if next(calls) % 2 else choose(*args)

    monkeypatch.setattr("tinygrad_rnn.kernels.recurrent.cuda.layer.choose", in_turns)
    for a, b in zip(run("cuda", case, arrays, gs), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1.0, float(np.abs(b).max())))

"""Every configuration of the CUDA kernels compiles, for old and new GPUs, and keeps its weights in registers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.nvrtc import CompileError, compile_cuda, needs_nvrtc
from tinygrad_rnn.backend.gpu.kernels import Gpu
from tinygrad_rnn.kernels.recurrent.cuda.cells import CELLS, persistent_source, stepwise_source
from tinygrad_rnn.kernels.recurrent.cuda.tilings import BARRIER, SIZES, Tiling, block_counts, candidates

pytestmark = needs_nvrtc

GPUS = {
    75: Gpu(0, 75, 40, 64 << 10),
    80: Gpu(0, 80, 108, 163 << 10),
    90: Gpu(0, 90, 132, 227 << 10),
    100: Gpu(0, 100, 148, 227 << 10),
    120: Gpu(0, 120, 170, 99 << 10),
}

MOST_SPILLED = 96
"""Bytes stored and loaded by a thread.  The LSTM at size 512 and 8 samples needs 72, of which its loop over the steps
loads nine words; all others need none."""

USUAL = {(90, 64, 1, 1), (90, 256, 8, 4), (90, 512, 16, 1), (80, 128, 4, 2), (75, 512, 32, 1)}
"""Capability, size, blocks per group and samples of those that every run of the tests compiles."""


def configurations() -> list[Any]:
    found = []
    for name, cell in CELLS.items():
        for capability, gpu in GPUS.items():
            counts = {size: block_counts(cell, size) if capability == 90 else [None] for size in SIZES}
            for tiling in (t for size in SIZES for ctas in counts[size] for t in candidates(cell, size, gpu, ctas)):
                usual = (capability, tiling.hidden, tiling.ctas, tiling.samples) in USUAL and name != "relu"
                marks = () if usual else pytest.mark.thorough
                label = f"{name}-sm_{capability}-{tiling.hidden}-{tiling.ctas}-{tiling.samples}"
                found.append(pytest.param(name, capability, tiling, marks=marks, id=label))
    return found


@pytest.mark.parametrize(("name", "capability", "tiling"), configurations())
def test_persistent_kernels_compile_and_keep_their_weights_in_registers(
    name: str, capability: int, tiling: Tiling
) -> None:
    cell = CELLS[name]
    kernels = compile_cuda(persistent_source(cell), (*tiling.options(), *cell.options), capability)
    assert sorted(kernels) == ["persistent_backward", "persistent_forward"]
    for kernel in kernels.values():
        assert kernel.registers * tiling.threads <= 1 << 16
        assert kernel.spilled <= MOST_SPILLED
        assert kernel.stack <= MOST_SPILLED  # an array that is indexed at run time would lie there as a whole


def test_the_other_way_to_signal_within_clusters_compiles() -> None:
    tiling = replace(candidates(CELLS["gru"], 128, GPUS[90])[1], sync=BARRIER)
    assert compile_cuda(persistent_source(CELLS["gru"]), tiling.options(), 90)


@pytest.mark.parametrize("capability", GPUS)
@pytest.mark.parametrize("name", CELLS)
def test_stepwise_kernels_compile_and_spill_nothing(name: str, capability: int) -> None:
    cell = CELLS[name]
    for real in ("float", "double"):
        kernels = compile_cuda(stepwise_source(cell), (f"-DREAL={real}", *cell.options), capability)
        assert sorted(kernels) == ["step_backward", "step_forward"]
        assert all(kernel.spilled == kernel.stack == 0 for kernel in kernels.values())


@pytest.mark.parametrize("name", CELLS)
def test_weights_and_exchange_fit_into_the_shared_memory_of_the_gpu(name: str) -> None:
    for gpu in GPUS.values():
        for size in SIZES:
            samples = [tiling.samples for tiling in candidates(CELLS[name], size, gpu)]
            assert samples == [1, 2, 4, 8]


def test_an_error_in_a_source_is_reported_with_its_file() -> None:
    with pytest.raises(CompileError, match=r"stepwise\.cu\(\d+\): error"):
        compile_cuda(stepwise_source(CELLS["gru"]).replace("real v[SLOTS];", ""), ("-DREAL=float",), 80)

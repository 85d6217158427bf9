"""CUDA kernels of programs, from generated source to gradients, on an emulated GPU against the step in float64.

The emulation runs the sources thread by thread; what only a GPU shows is left to ``tests/kernels/cuda/test_on_gpu.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.ops.compiler.cells import CELLS
from tests.ops.compiler.sequences import MODES, compare_on
from tests.ops.compiler.test_program import compiled
from tests.support import arrays, fakecupy
from tests.support.emulator import Emulator, needs_compiler
from tests.support.nvrtc import compile_cuda, needs_nvrtc
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.backend.gpu.kernels import Gpu
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.cuda import layer, whole_sequences
from tinygrad_rnn.kernels.recurrent.cuda.cells import CELLS as BY_HAND
from tinygrad_rnn.kernels.recurrent.cuda.cells import persistent_source, scan_source
from tinygrad_rnn.kernels.recurrent.cuda.tilings import BARRIER, COUNTER, MESSAGES, Tiling, candidates, using
from tinygrad_rnn.kernels.recurrent.interface import Cotangents, Needs, Options
from tinygrad_rnn.ops.compiler.cell import compile_step
from tinygrad_rnn.ops.compiler.cuda_kernel import CellKernel, Generated, generate
from tinygrad_rnn.tape.tensor import wrap

SIZE, HIDDEN = 5, 6
WITHOUT_STEPS = Options(cells=True, sizes=(3, 3, 1))  # one of four sequences has none
EVERY_MODE = {**MODES, "without steps": WITHOUT_STEPS, "first states alone": Options(sizes=(4, 2), reverse=True)}

SINGLE = 3e-6
"""float32: errors of 6e-8 in each step of a few; the worst seen is 6e-7."""

GROWING = ["rnn with powers"]
"""Cells whose states grow to thousands within five steps, by third powers, and roundings of float32 with them."""

STEPWISE = [
    "lstm",
    "lstm_with_layer_norm",
    "gru_with_the_reset_before_the_product",
    "states_of_two_widths",
    "LayerNorm",
]
STEPWISE += ["lstm_with_projection_that_emits", "masks_in_products_and_sums", "lstm with zoneout", "recurrent_highway"]
STEPWISE += ["columns_that_are_read_twice", "leaky_integrator", "products_of_products", "a_gate_for_all_units"]
PERSISTENT = ["lstm", "gru", "rnn", "rnn_with_relu", "lstm_with_peepholes", "coupled_gates", "lstm with zoneout"]
PERSISTENT += ["antisymmetric", "lstm_with_zoneout"]
SCANNED = ["sru", "ind_rnn", "min_gru", "a_state_that_stays", "constants"]


def generated(name: str, size: int = SIZE, hidden: int = HIDDEN) -> Generated:
    return generate(compiled(CELLS[name](size, hidden), size))


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    monkeypatch.setattr(dispatch, "_broken", {})
    monkeypatch.setattr(layer, "_given_up", {})
    monkeypatch.setattr(whole_sequences, "_given_up", set())
    with arrays.module("double"):
        emulator = Emulator()
        emulator.install(monkeypatch)
        yield emulator


def check(
    name: str, options: Options, dtype: str, *, by_steps: bool = False, size: int = SIZE, hidden: int = HIDDEN
) -> None:
    tolerance = 1e-11 if dtype == "float64" else SINGLE
    compare_on(fakecupy, name, options, dtype, (size, hidden), tolerance, by_steps=by_steps)


def kinds(emulator: Emulator) -> set[str]:
    return {name.partition("_")[0] for name, _ in emulator.launches}


# every cell is its step ----------------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("name", STEPWISE)
def test_a_cell_step_by_step_is_its_step(name: str, emulated: Emulator) -> None:
    for options in EVERY_MODE.values():
        check(name, options, "float64", by_steps=True)
    assert kinds(emulated) == {"forward", "backward"}


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SCANNED)
def test_a_cell_without_products_of_states_is_scanned_in_one_launch(name: str, dtype: str, emulated: Emulator) -> None:
    for count, options in enumerate(EVERY_MODE.values(), 1):
        check(name, options, dtype)
        assert len(emulated.launches) == 2 * count
    assert kinds(emulated) == {"scan"}


@needs_compiler
@pytest.mark.parametrize("name", PERSISTENT)
def test_a_persistent_cell_is_its_step_in_one_launch(name: str, emulated: Emulator) -> None:
    for count, options in enumerate(EVERY_MODE.values(), 1):
        check(name, options, "float32")
        assert len(emulated.launches) == 2 * count
    assert kinds(emulated) == {"persistent"}


def tiling(name: str, hidden: int, ctas: int, sync: int, samples: int) -> Tiling:
    cell = generated(name).unit
    assert not isinstance(cell, str)
    whole = Tiling(cell.rows, hidden, ctas, 256, 0, 0, sync, samples)
    return replace(whole, held_forward=whole.k_each, held_backward=whole.rows_each)


@needs_compiler
@pytest.mark.parametrize(("sync", "samples"), [(MESSAGES, 2), (BARRIER, 1), (COUNTER, 4)])
@pytest.mark.parametrize("name", ["lstm_with_peepholes", "lstm with zoneout", "coupled_gates"])
def test_groups_of_blocks_compute_the_same(name: str, sync: int, samples: int, emulated: Emulator) -> None:
    with using(tiling(name, 64, 2, sync, samples)):
        for options in (MODES["forward"], MODES["packed, reverse"]):
            emulated.lag = 100 * (samples % 2)
            check(name, options, "float32", hidden=61)


@needs_compiler
@pytest.mark.thorough
@pytest.mark.parametrize("size, hidden", [(5, 6), (3, 1), (4, 4)])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_its_step_in_every_way(name: str, size: int, hidden: int, emulated: Emulator) -> None:
    for options in EVERY_MODE.values():
        check(name, options, "float64", by_steps=True, size=size, hidden=hidden)
        check(name, options, "float64", size=size, hidden=hidden)
        # norms over the three numbers of one unit make roundings of float32 a hundred times larger
        if name not in GROWING and hidden > 1:
            check(name, options, "float32", size=size, hidden=hidden)


# what runs where -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lstm_with_projection", "states are of several widths"),
        ("gru_with_the_reset_before_the_product", "multiplies computed values by a weight"),
        ("states_of_two_widths", "states are of several widths"),
        ("LayerNorm", "sums over the units of a row"),
        ("swapped_halves", "units read entries of other units"),
        ("recurrent_highway", "multiplies computed values by a weight"),
        ("lstm_that_emits_its_cells", "gives values beside its states"),
    ],
)
def test_a_cell_that_is_done_step_by_step_says_why(name: str, reason: str) -> None:
    unit = generated(name).unit
    assert isinstance(unit, str) and reason in unit


def test_an_explanation_tells_how_a_gpu_runs_a_cell() -> None:
    def told(name: str) -> str:
        c = CELLS[name](SIZE, HIDDEN)
        text = compile_step(c.step, SIZE, c.widths, c.parameters, dtype="float64").explain()
        return next(line for line in text.splitlines() if line.lstrip().startswith("cuda: "))

    assert told("lstm").endswith("(one launch for each sequence, in float32 and up to 512 units)")
    assert told("ind_rnn").endswith("(one launch for each sequence)")
    assert told("LayerNorm").endswith(
        "(a launch for each product and segment of a step: it sums over the units of a row)"
    )


@needs_compiler
def test_the_way_is_explained(emulated: Emulator) -> None:
    def how(name: str, hidden: int = HIDDEN, dtype: str = "float32") -> str:
        c = CELLS[name](SIZE, hidden)
        program = compiled(c, SIZE)
        kernel = CellKernel(program, generate(program))
        states = tuple([fakecupy.zeros((3, w), dtype) for w in c.widths])
        return kernel.explain(fakecupy.zeros((4, 3, SIZE), dtype), states)

    assert how("lstm") == "persistent: one launch, groups of 1 blocks, 1 sequences each"
    assert how("lstm", dtype="float64").startswith(
        "stepwise, 1 products and 1 kernels for each step: persistent kernels"
    )
    assert how("ind_rnn", dtype="float64").startswith("scan: one launch")
    assert how("LayerNorm") == "stepwise, 1 products and 1 kernels for each step: it sums over the units of a row"
    assert how("recurrent_highway").startswith("stepwise, 2 products and 2 kernels for each step")


@needs_compiler
def test_a_persistent_run_can_go_back_step_by_step(emulated: Emulator) -> None:
    emulated.failing = {"persistent_backward"}
    with pytest.warns(RuntimeWarning, match="run step by step on this GPU from now on"):
        check("lstm_with_peepholes", MODES["packed"], "float32")
    assert [name for name, _ in emulated.launches] == ["persistent_forward"] + ["backward_0"] * 4


@needs_compiler
def test_a_scan_that_fails_is_replaced_by_steps_with_one_warning(emulated: Emulator) -> None:
    emulated.failing = {"scan_backward"}
    with pytest.warns(RuntimeWarning, match="run step by step on this GPU from now on"):
        check("ind_rnn", MODES["packed"], "float32")
    check("ind_rnn", MODES["packed"], "float32")
    assert kinds(emulated) == {"scan", "backward", "forward"}


@needs_compiler
@pytest.mark.parametrize("name", ["lstm", "LayerNorm", "recurrent_highway", "sru"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_is_saved_where_no_gradient_is_asked_for(name: str, dtype: str, emulated: Emulator) -> None:
    c = CELLS[name](SIZE, HIDDEN)
    program = compiled(c, SIZE)
    kernel = CellKernel(program, generate(program))
    random = np.random.default_rng(0)
    x = fakecupy.asarray(random.normal(size=(7, SIZE)).astype(dtype))
    states = tuple([fakecupy.asarray(random.normal(size=(4, w)).astype(dtype)) for w in c.widths])
    weights = tuple(
        [fakecupy.asarray(t._data.astype(dtype)) for some in program.prelude.run(c.parameters) for t in some]
    )
    for reverse in (False, True):
        options = Options(sizes=(4, 2, 1), reverse=reverse, cells=True)
        saved = kernel.forward(x, states, weights, options)
        plain = kernel.forward(x, states, weights, options._replace(save=False))
        assert plain.residual is None
        for a, b in zip([*saved.series, *saved.states], [*plain.series, *plain.states], strict=True):
            np.testing.assert_array_equal(a.get(), b.get())


@needs_compiler
@pytest.mark.parametrize("name", ["lstm", "lstm_with_peepholes", "eight Linears", "sru"])
def test_only_what_is_needed_is_computed_and_arguments_stay_as_they_were(name: str, emulated: Emulator) -> None:
    c = CELLS[name](SIZE, HIDDEN)
    program = compiled(c, SIZE)
    kernel = CellKernel(program, generate(program))
    random = np.random.default_rng(0)
    host = [random.normal(size=(3, 2, SIZE)), *[random.normal(size=(2, w)) for w in c.widths]]
    host += [t._data for some in program.prelude.run(c.parameters) for t in some]
    given = [fakecupy.asarray(a.astype("float32")) for a in host]
    before = [a.get().copy() for a in given]
    split = 1 + len(c.widths)
    arguments = given[0], tuple(given[1:split]), tuple(given[split:]), Options()
    result = kernel.forward(*arguments)
    dy = fakecupy.asarray(random.normal(size=(3, 2, HIDDEN)).astype("float32"))
    cotangents = Cotangents((dy,), (None,) * len(c.widths))

    def gradients(*wanted: bool) -> list[Any]:
        needs = Needs(wanted[0], tuple(wanted[1:split]), tuple(wanted[split:]))
        found = kernel.backward(*arguments, result.residual, cotangents, needs)
        return [found.x, *found.states, *found.weights]

    everything = gradients(*[True] * len(given))
    memory = [a._a for a in everything]
    assert not any(np.shares_memory(a, b) for k, a in enumerate(memory) for b in memory[:k])
    for k in range(len(given)):
        alone = gradients(*[n == k for n in range(len(given))])
        assert [g is not None for g in alone] == [n == k for n in range(len(given))]
        np.testing.assert_array_equal(alone[k].get(), everything[k].get())
    for a, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(a.get(), b)


@needs_compiler
def test_a_compiled_cell_runs_on_device_arrays(emulated: Emulator) -> None:
    host = {
        k: p.detach().numpy().astype("float32")
        for k, p in CELLS["lstm_with_peepholes"](SIZE, HIDDEN).parameters.items()
    }
    p = {k: tg.tensor(a, requires_grad=True) for k, a in host.items()}
    cell = compile_step(
        lambda x, s: tg.ops.recurrent.cells.lstm_cell(x, *s, **p), SIZE, (HIDDEN, HIDDEN), p, dtype="float32"
    )
    x = np.random.default_rng(0).normal(size=(4, 3, SIZE)).astype("float32")
    zeros = np.zeros((3, HIDDEN), "float32")

    def run(of: Any) -> list[Any]:
        leaves = {k: wrap(of(a)).requires_grad_() for k, a in host.items()}
        (y,), ends = cell.sequence(wrap(of(x)), (wrap(of(zeros)), wrap(of(zeros))), leaves)
        total = (y * y).sum() + (ends[1] ** 3).sum()
        return [y, *tg.autograd.grad(total, list(leaves.values()))]

    with dispatch.only("numba" if dispatch.numba_installed() else "auto"):
        expected = run(lambda a: a)
    for a, b in zip(run(fakecupy.asarray), expected, strict=True):
        np.testing.assert_allclose(to_numpy(a.detach()._data), b.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert kinds(emulated) == {"persistent"}


@needs_compiler
def test_a_step_is_compiled_on_the_device_of_its_parameters(emulated: Emulator) -> None:
    host = CELLS["antisymmetric"](SIZE, HIDDEN).parameters
    there = {k: wrap(fakecupy.asarray(p.detach().numpy())).requires_grad_() for k, p in host.items()}
    decay = wrap(fakecupy.asarray(np.linspace(0.1, 0.9, HIDDEN)))

    def cell(p: Any, decay: Any) -> Any:
        def step(x: Any, s: Any) -> Any:
            return s[0] * decay + tg.tanh(s[0] @ (p["W"] - p["W"].T) + x @ p["V"].T + p["b"])

        return compile_step(step, SIZE, (HIDDEN,), p, dtype="float64")

    ours, expected = cell(there, decay), cell(host, tg.tensor(np.linspace(0.1, 0.9, HIDDEN)))
    assert ours.text("cuda") == expected.text("cuda")
    x, h = np.random.default_rng(0).normal(size=(3, 2, SIZE)), np.zeros((2, HIDDEN))
    (y,), _ = ours.sequence(wrap(fakecupy.asarray(x)), (wrap(fakecupy.asarray(h)),), there)
    with dispatch.only("numba" if dispatch.numba_installed() else "auto"):
        (other,), _ = expected.sequence(wrap(x), (wrap(h),), host)
    np.testing.assert_allclose(to_numpy(y.detach()._data), other.detach().numpy(), rtol=1e-12, atol=1e-12)
    assert kinds(emulated) == {"forward"}


# planted errors: each must be seen, or these tests prove nothing ------------------------------------------------------

PLANTED: dict[str, tuple[str, bool, str, str]] = {
    "the state of this step for that of the next": ("gru", True, "(size_t)next_row + n", "(size_t)state_row + n"),
    "ended sequences go on": ("gru", True, "n < next_count ?", "true ?"),
    "cotangents of final states at every step": ("gru", True, "n < next_count ? d0", "n < 0 ? d0"),
    "one half for cotangents": ("gru", True, "(size_t)there + n", "(size_t)here + n"),
    "cotangents of initial states lost": ("gru", True, "n < before_count ?", "true ?"),
    "a wrong sign on the way back": ("lstm", True, "real(1.0) - v", "real(1.0) + v"),
    "sums over a part of the row": ("LayerNorm", True, "u < w0; u += blockDim.x", "u < w0 - 1; u += blockDim.x"),
    "a sum that each thread has alone": ("LayerNorm", True, "own += swap_lanes(own, mask);", ";"),
    "totals that are not added up": ("lstm_with_peepholes", True, "totals_n[u] +=", "totals_n[u] ="),
    "a mask of another row": ("lstm with zoneout", True, "mask0 + ((size_t)row + n)", "mask0 + ((size_t)row)"),
    "emitted values elsewhere": ("lstm_with_gates", True, "out1_n[u] = ", "out1_n[0] = "),
    "another order of kept values": ("lstm_with_peepholes", False, "slot == 0 ? keep[0]", "slot == 0 ? keep[1]"),
    "a bias left out": ("lstm", False, "if (slot == 1) return", "if (slot == 5) return"),
    "a slope of another slot": ("lstm", False, "* s[1]", "* s[2]"),
    "sums for vectors of padded units and ended sequences": ("lstm_with_peepholes", False, "+= runs ?", "+= !runs ?"),
    "parameters of another unit": ("lstm_with_peepholes", False, "p[0] = vectors[4][j]", "p[0] = vectors[4][0]"),
    "the state that is read for the one that was": (
        "ind_rnn",
        False,
        "earlier[i][place] = state[i]",
        "earlier[i][place] = 0",
    ),
    "a scan that reads one step twice": ("ind_rnn", False, "load(k + 1);", "load(k);"),
    "a mask of the step before": (
        "lstm with zoneout",
        False,
        "masks[i][(size_t)(now.first",
        "masks[i][(size_t)(next.first",
    ),
}


@needs_compiler
@pytest.mark.parametrize("what", PLANTED)
def test_planted_errors_are_caught(what: str, emulated: Emulator) -> None:
    name, by_steps, old, new = PLANTED[what]
    edited = []

    def edit(text: str) -> str:
        edited.append(old in text)
        return text.replace(old, new)

    emulated.edit = edit
    with pytest.raises((AssertionError, RuntimeWarning, dispatch.KernelUnavailable)):
        for mode in ("packed", "packed, reverse"):
            check(name, MODES[mode], "float64" if by_steps else "float32", by_steps=by_steps)
    assert any(edited)


# compiling for real GPUs ---------------------------------------------------------------------------------------------

GPUS = {75: Gpu(0, 75, 40, 64 << 10), 80: Gpu(0, 80, 108, 163 << 10), 90: Gpu(0, 90, 132, 227 << 10)}
MORE = 6
"""Registers that a generated kernel may take beyond the one that is written by hand."""


SINE = 'extern "C" __global__ void sine(REAL* x) { x[0] = sin(x[0]) * cos(x[1]); }'
"""CUDA's own sine and cosine: in float64, to reduce large numbers, they keep 40 bytes on the stack."""


@needs_nvrtc
@pytest.mark.parametrize("capability", [75, 80, 90])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in STEPWISE[:6] else pytest.mark.thorough) for n in CELLS]
)
def test_steps_compile_and_spill_nothing(name: str, capability: int) -> None:
    for real in ("float", "double"):
        source = generated(name).steps.source
        kernels = compile_cuda(source, (f"-DREAL={real}",), capability)
        periodic = re.search(r"\b(sin|cos)_of\((?!float|double)", source) is not None
        stack = compile_cuda(SINE, (f"-DREAL={real}",), capability)["sine"].stack if periodic else 0
        assert all(kernel.spilled == 0 and kernel.stack <= stack for kernel in kernels.values())


@needs_nvrtc
@pytest.mark.parametrize("capability", [75, 80, 90])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in SCANNED[:2] else pytest.mark.thorough) for n in CELLS]
)
def test_scans_compile_and_spill_nothing(name: str, capability: int) -> None:
    unit = generated(name).unit
    if not isinstance(unit, str) and not unit.rows:
        for real in ("float", "double"):
            kernels = compile_cuda(scan_source(unit), (f"-DREAL={real}",), capability)
            assert sorted(kernels) == ["scan_backward", "scan_forward"]
            assert all(kernel.spilled == kernel.stack == 0 for kernel in kernels.values())


@needs_nvrtc
@pytest.mark.parametrize(
    ("capability", "hidden", "which"),
    [(90, 256, 2), (80, 128, 1)]
    + [
        pytest.param(*row, marks=pytest.mark.thorough)
        for row in [(90, 64, 0), (90, 512, 0), (90, 512, 3), (75, 512, 0)]
    ],
)
@pytest.mark.parametrize(
    ("name", "by_hand"), [("lstm", "lstm"), ("gru", "gru"), ("rnn", "tanh"), ("rnn_with_relu", "relu")]
)
def test_generated_units_take_no_more_registers_than_those_by_hand(
    name: str, by_hand: str, capability: int, hidden: int, which: int
) -> None:
    unit, other = generated(name).unit, BY_HAND[by_hand]
    assert not isinstance(unit, str)
    found = candidates(unit, hidden, GPUS[capability])[which]
    assert found == candidates(other, hidden, GPUS[capability])[which]
    ours = compile_cuda(persistent_source(unit), (*found.options(), *unit.options), capability)
    theirs = compile_cuda(persistent_source(other), (*found.options(), *other.options), capability)
    for kernel, resources in theirs.items():
        assert ours[kernel].registers <= resources.registers + MORE
        assert ours[kernel].spilled <= resources.spilled
        assert ours[kernel].stack <= resources.stack


@needs_nvrtc
@pytest.mark.thorough
@pytest.mark.parametrize("capability", GPUS)
@pytest.mark.parametrize("name", CELLS)
def test_every_tiling_of_every_cell_compiles(name: str, capability: int) -> None:
    unit = generated(name).unit
    if not isinstance(unit, str) and unit.rows:
        for hidden in (32, 64, 128, 256, 512):
            for found in candidates(unit, hidden, GPUS[capability]):
                kernels = compile_cuda(persistent_source(unit), (*found.options(), "-DALL_SERIES=1"), capability)
                assert all(kernel.registers * found.threads <= 1 << 16 for kernel in kernels.values())

"""Compiled kernels of programs: values and all gradients are those of the step, run one by one."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from tests.ops.compiler.cells import CELLS
from tests.ops.compiler.sequences import MODES, RESTORABLE, differences, numba_kernel
from tests.ops.compiler.test_program import compiled
from tinygrad_rnn.backend.cpu.threads import get_num_threads, set_num_threads
from tinygrad_rnn.kernels.recurrent import threads
from tinygrad_rnn.kernels.recurrent.numba import jit, products, schedule
from tinygrad_rnn.kernels.recurrent.numba.rows import plus, row_max
from tinygrad_rnn.ops.compiler import generated_modules, numba_text
from tinygrad_rnn.ops.compiler.numba_host import generate
from tinygrad_rnn.ops.compiler.numba_text import loops_of

# the text ------------------------------------------------------------------------------------------------------------


def test_an_lstm_replaces_its_slots_by_its_gates() -> None:
    program = compiled(CELLS["lstm"](5, 6), 5)
    layout, text = loops_of(program).layout, generate(program).text
    assert layout.columns == layout.slot_columns == 24
    assert [(run.source, run.add) for run in layout.runs] == [("x", False), ("s0", True)]
    statements = [line for line in text.splitlines() if "#" not in line]
    assert sum("= tanh(v" in line for line in statements) == 2  # tanh(c') is h' / o on the way back
    assert "s0_new[u] / (" in text
    assert "# x @ weight_ih" in text and "# back through state 0 @ weight_hh" in text


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "lstm_with_layer_norm", "lstm_with_projection"])
def test_the_text_is_the_same_where_x_is_as_wide_as_a_state(name: str) -> None:
    one, other = (generate(compiled(CELLS[name](size, 6), size)) for size in (5, 6))
    assert one.text == other.text and one.widths != other.widths


def test_host_and_loops_take_what_they_read_and_no_more() -> None:
    text = generate(compiled(CELLS["rnn"](5, 6), 5)).text
    takes = {line.split("(")[0]: line for line in text.splitlines() if line.startswith("def ")}
    for absent in ("gates", "vectors", "numbers", "scratch", "initial"):
        assert absent not in takes["def backward"]
    host = text[text.index("def run_backward") :]
    assert "np.zeros(matrix" not in host and "for " not in host and "gates" not in host


# residuals that follow from the states --------------------------------------------------------------------------------


def test_a_residual_follows_from_states_that_are_all_that_is_kept() -> None:
    assert [name for name in CELLS if generate(compiled(CELLS[name](5, 6), 5)).restorable] == RESTORABLE


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maxima_of_rows(dtype: Any) -> None:
    random = np.random.default_rng(0)
    for size in [1, 2, 7, 8, 9, 16, 17, 31, 100]:
        a = random.normal(size=size + 3).astype(dtype)
        assert row_max(a.copy(), size) == a[:size].max()
        for place in range(size):
            b = a.copy()
            b[place] = np.nan
            assert np.isnan(row_max(b, size))


def added_up(a: Any) -> Any:
    total = a.dtype.type(-0.0)
    for u in range(len(a)):
        total = plus(total, a[u] * a[u] if a[u] > 0 else -a[u] * a[u])
    return total


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_rows_are_vectorised_and_lose_no_infinity(dtype: Any) -> None:
    run = jit.compiled(added_up)
    random = np.random.default_rng(0)
    for size in [1, 2, 7, 8, 31, 32, 33, 100, 5000]:
        a = random.normal(size=size).astype(dtype)
        exact = np.sum(np.sign(a) * a.astype(np.longdouble) ** 2)
        assert abs(run(a) - exact) <= 8 * np.finfo(dtype).eps * np.sum(a.astype(np.longdouble) ** 2)
        for place in range(0, size, 1 + size // 50):
            for value in (np.nan, np.inf, -np.inf):
                b = a.copy()
                b[place] = value
                np.testing.assert_equal(run(b), dtype(value))
            b = np.append(a, dtype(np.inf))
            b[place] = -np.inf
            assert np.isnan(run(b))
    assert np.signbit(run(np.full(40, -0.0, dtype)))
    (text,) = [code for types, code in run.inspect_llvm().items() if types[0].dtype.bitwidth == 8 * dtype().itemsize]
    assert re.search(r"fadd reassoc contract <\d+ x (float|double)>", text)


# other ways to the same numbers ---------------------------------------------------------------------------------------

WAYS = ["lstm", "lstm_with_peepholes", "LayerNorm", "lstm_with_projection_that_emits"]


@pytest.mark.parametrize("name", WAYS)
def test_two_threads_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = get_num_threads()
    monkeypatch.setattr(threads, "WORTHWHILE", 1)
    set_num_threads(2)
    try:
        differences(numba_kernel, name, 5, 6, MODES["forward"])
        differences(numba_kernel, name, 5, 6, MODES["packed, reverse"])
    finally:
        set_num_threads(before)


@pytest.mark.parametrize("name", [*WAYS, "states_of_two_widths"])
def test_products_with_x_before_and_after_the_loop_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "ROWS_OF_A_STEP", 100)
    differences(numba_kernel, name, 5, 6, MODES["forward"])
    differences(numba_kernel, name, 5, 6, MODES["packed"])


@pytest.mark.parametrize("name", WAYS)
def test_without_openblas_plain_loops_do_the_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "gemm_address", lambda dtype: 0)
    differences(numba_kernel, name, 5, 6, MODES["reverse"])


def test_weights_of_more_than_a_strip_give_the_same() -> None:
    differences(numba_kernel, "lstm_with_peepholes", 70, 65, MODES["packed"])


@pytest.mark.thorough
@pytest.mark.parametrize("most", [0, 1_000_000])
@pytest.mark.parametrize("name", ["lstm_with_peepholes", "states_of_two_widths", "LayerNorm", "maxima_and_norms"])
def test_loops_that_are_split_give_the_same(name: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_text, "MOST_STREAMS", most)
    differences(numba_kernel, name, 5, 6, MODES["packed"])


# files ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(generated_modules, "_modules", {})
    return tmp_path / "tinygrad_rnn" / "cells"


def test_a_file_is_for_the_user_alone_and_says_what_runs(cache: Any) -> None:
    module = generated_modules.load("answer = 41 + 1\n")
    assert module.answer == 42 and generated_modules.load("answer = 41 + 1\n") is module
    (file,) = cache.glob("*.py")
    assert file.read_text() == "answer = 41 + 1\n" and module.__file__ == str(file)
    if os.name == "posix":
        assert cache.stat().st_mode & 0o777 == 0o700 and file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"answer = 0\n", b"", b"\xff\xfe", b"answer ="])
def test_a_damaged_or_foreign_file_does_not_run(cache: Any, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    generated_modules.load("answer = 7\n")
    (file,) = cache.glob("*.py")
    file.write_bytes(content)
    monkeypatch.setattr(generated_modules, "_modules", {})
    assert generated_modules.load("answer = 7\n").answer == 7
    assert file.read_text() == "answer = 7\n"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_folder_that_others_can_write_to_is_not_used(cache: Any) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    module = generated_modules.load("answer = 3\n")
    assert module.answer == 3 and module.__file__ is None and not list(cache.iterdir())


def test_a_cell_runs_where_there_is_no_cache(monkeypatch: pytest.MonkeyPatch, cache: Any) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("not a folder")
    differences(numba_kernel, "ind_rnn", 2, 3, MODES["forward"])

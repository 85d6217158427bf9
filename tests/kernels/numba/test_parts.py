"""The parts of the compiled kernels: their functions, memory and threads, and what is kept on disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.flat_kernels import grouped
from tinygrad_rnn.backend.cpu.threads import get_num_threads, one_blas_thread, set_num_threads
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.interface import KernelUnavailable, Options

ROOT = Path(__file__).parents[3]


def arguments(dtype: str = "float32", steps: int = 20) -> list[Any]:
    """Of an LSTM of ordinary size."""
    shapes: list[Any] = [(steps, 4, 3), (4, 5), (4, 5), (20, 3), (20, 5), (20,), (20,)]
    return [np.ones(shape, dtype) for shape in shapes]


def refused(mode: str, *arrays: Any, **options: Any) -> str | None:
    return tg.backends.recurrent.reasons(mode, *arrays, **options)["numba"]


# reasons, without Numba too ------------------------------------------------------------------------------------------


def test_without_numba_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "numba_installed", lambda: False)
    assert tg.backends.recurrent.reasons("lstm", *arguments())["numba"] == "Numba is not installed"


def test_what_they_do_not_compute_they_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "numba_installed", lambda: True)
    assert refused("lstm", *arguments()) is None
    assert "float16" in str(refused("lstm", *arguments("float16")))
    mixed = [*arguments()[:3], *arguments("float64")[3:]]
    assert "several dtypes" in str(refused("lstm", *mixed))
    assert refused("lstm", *arguments(), None) is None
    mixed = grouped("lstm", mixed)
    with dispatch.only("numba"), pytest.raises(KernelUnavailable, match="by name, but the arrays are of several"):
        dispatch.forward(dispatch.LSTM, *mixed, Options())
    projected = [*arguments(), np.ones((2, 5), np.float32)]
    assert refused("lstm", *projected) is None
    nothing = [np.ones(shape, np.float32) for shape in ((20, 4, 0), (4, 5), (4, 5), (20, 0), (20, 5))]
    assert "no columns" in str(refused("lstm", *nothing))


@pytest.mark.parametrize("mode", ["lstm", "gru"])
def test_a_large_weight_is_not_rearranged_for_a_step(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "numba_installed", lambda: True)
    states = [np.ones((1, 256), np.float32)] * (2 if mode == "lstm" else 1)
    weights = [np.ones((1024, 256), np.float32)] * 2
    step, steps = (np.ones((t, 1, 256), np.float32) for t in (1, 4))
    assert "few steps" in str(refused(mode, step, *states, *weights, save=False))
    assert refused(mode, steps, *states, *weights, save=False) is None
    assert refused(mode, step, *states, *weights, save=True) is None
    assert refused(mode, step, *states, weights[0], weights[1][:, :8], save=False) is None


def test_numba_is_imported_when_a_layer_runs_and_not_before() -> None:
    pytest.importorskip("numba")
    program = (
        "import sys, tinygrad_rnn as tg\n"
        "layer, x = tg.nn.RNN(3, 5), tg.ones(20, 4, 3)\n"
        "assert tg.backends.recurrent.reasons('rnn', *[p._data for p in layer.parameters()])\n"
        "assert 'numba' not in sys.modules\n"
        "layer(x)\n"
        "assert 'numba' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_a_numba_that_cannot_be_imported_leaves_the_work_to_numpy(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs another NumPy')\n")
    program = (
        "import warnings, tinygrad_rnn as tg\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    tg.nn.RNN(3, 5)(tg.ones(20, 4, 3))\n"
        "    tg.nn.RNN(3, 5)(tg.ones(20, 4, 3))\n"
        "assert len(seen) == 1 and 'Numba needs another NumPy' in str(seen[0].message), seen\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"PYTHONPATH": path})


def test_a_public_layer_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    asked = []
    start = dispatch._start

    def spy(kernel: str, *rest: Any) -> Any:
        asked.append(kernel)
        return start(kernel, *rest)

    monkeypatch.setattr(dispatch, "_start", spy)
    for layer in (tg.nn.LSTM(3, 5), tg.nn.GRU(3, 5), tg.nn.RNN(3, 5, nonlinearity="relu")):
        layer(tg.ones(20, 4, 3))[0].sum().backward()
        with tg.backends.recurrent.only("numpy"):
            layer(tg.ones(20, 4, 3))
    assert asked == ["numba", "numpy"] * 3


# functions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_are_right_to_three_units_in_the_last_place(dtype: str) -> None:
    numba = pytest.importorskip("numba")
    from tinygrad_rnn.kernels.recurrent.numba.activations import sigmoid, tanh

    @numba.njit
    def both(x: Any, t: Any, s: Any) -> None:
        for k in range(len(x)):
            t[k], s[k] = tanh(x[k]), sigmoid(x[k])

    tiny = 10.0 ** np.linspace(-35, 2, 20_001)
    x = np.concatenate([np.linspace(-87, 80, 40_001), np.linspace(-1, 1, 20_001), tiny, -tiny]).astype(dtype)
    x = x[(x >= -87) & (x <= 80)]
    t, s = np.empty_like(x), np.empty_like(x)
    both(x, t, s)
    wide = x.astype(np.longdouble)
    for got, want in ((t, np.tanh(wide)), (s, 1 / (1 + np.exp(-wide)))):
        there = want != 0
        assert float(np.max(np.abs(got - want)[there] / np.abs(want[there]))) <= 3 * np.finfo(dtype).eps
    edges = np.array([np.nan, np.inf, -np.inf, 800, -800, 0], dtype)
    t, s = np.empty_like(edges), np.empty_like(edges)
    both(edges, t, s)
    np.testing.assert_array_equal(t, np.array([np.nan, 1, -1, 1, -1, 0], dtype))
    np.testing.assert_array_equal(s, np.array([np.nan, 1, 0, 1, 0, 0.5], dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponentials_are_right_to_four_units_in_the_last_place(dtype: str) -> None:
    numba = pytest.importorskip("numba")
    from tinygrad_rnn.kernels.recurrent.numba.activations import exp, expm1

    @numba.njit
    def both(x: Any, e: Any, m: Any) -> None:
        for k in range(len(x)):
            e[k], m[k] = exp(x[k]), expm1(x[k])

    most = np.log(np.finfo(dtype).max) - 1e-3
    least = np.log(np.finfo(dtype).tiny) + 1e-3
    tiny = 10.0 ** np.linspace(-35, 0, 20_001)
    x = np.concatenate([np.linspace(least, most, 40_001), np.linspace(-45, 45, 20_001), tiny, -tiny]).astype(dtype)
    e, m = np.empty_like(x), np.empty_like(x)
    both(x, e, m)
    wide = x.astype(np.longdouble)
    for got, want in ((e, np.exp(wide)), (m, np.expm1(wide))):
        there = want != 0
        assert float(np.max(np.abs(got - want)[there] / np.abs(want[there]))) <= 4 * np.finfo(dtype).eps
    # beyond, and where results have fewer digits
    edges = np.array([np.nan, np.inf, -np.inf, 800, -800, 0, -0.0, 89, -104], dtype)
    e, m = np.empty_like(edges), np.empty_like(edges)
    both(edges, e, m)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(e, np.exp(edges), rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_allclose(m, np.expm1(edges), rtol=4 * np.finfo(dtype).eps)
        subnormal = np.linspace(least - 15, least, 1001).astype(dtype)
        e, m = np.empty_like(subnormal), np.empty_like(subnormal)
        both(subnormal, e, m)
        np.testing.assert_allclose(
            e, np.exp(subnormal), rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).smallest_subnormal
        )


# threads -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_blas_threads() -> Any:
    before = get_num_threads()
    set_num_threads(2)
    yield
    set_num_threads(before)


def test_shares_run_at_the_same_time_and_an_error_arrives_after_all_have_ended(two_blas_threads: None) -> None:
    import threading

    from tinygrad_rnn.kernels.recurrent.threads import share

    meeting, seen = threading.Barrier(3, timeout=20), []

    def work(number: int, offset: int) -> None:
        meeting.wait()  # all three are here, or this raises
        assert get_num_threads() == 2  # what was asked for, though BLAS itself uses one meanwhile
        seen.append(number + offset)
        if number == 1:
            raise KeyError("from the second")

    with pytest.raises(KeyError, match="from the second"):
        share(work, [(0,), (1,), (2,)], 10)
    assert sorted(seen) == [10, 11, 12]
    assert one_blas_thread.inside == 0 and get_num_threads() == 2
    share(work, [])
    assert len(seen) == 3


def test_the_number_of_threads_is_set_and_refused_as_in_pytorch(two_blas_threads: None) -> None:
    assert tg.get_num_threads() == 2
    with one_blas_thread:
        tg.set_num_threads(1)
        assert tg.get_num_threads() == 1
    assert tg.get_num_threads() == 1
    for wrong in (0, -1, 1.5, True, "2"):
        with pytest.raises(ArgumentError, match="positive integer"):
            tg.set_num_threads(wrong)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_process_has_threads_of_its_own() -> None:
    pytest.importorskip("numba")
    program = (
        "import os, tinygrad_rnn as tg\n"
        "from tinygrad_rnn.kernels.recurrent import threads\n"
        "tg.set_num_threads(2)\n"
        "done = []\n"
        "threads.share(done.append, [(0,), (1,)])\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    threads.share(done.append, [(2,), (3,)])\n"
        "    os._exit(sorted(done) != [0, 1, 2, 3])\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, timeout=60)
    assert done.returncode == 0


# on disk -------------------------------------------------------------------------------------------------------------


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    program = (
        "import sys, numpy as np\n"
        "from tinygrad_rnn.kernels.recurrent import dispatch\n"
        "import tinygrad_rnn.ops.recurrent.sequence\n"
        "a = [np.ones(s, np.float32) for s in ((4, 2, 3), (2, 5), (5, 3), (5, 5))]\n"
        "from tests.support.flat_kernels import FlatKernel\n"
        "kernel = FlatKernel(dispatch.RNN.kernel('numba'), 'rnn')\n"
        "y, left = kernel.forward(*a)\n"
        "kernel.backward([y[0], None], left, *a, needs=[True] * 6)\n"
        "cells = [m for name, m in sys.modules.items() if name.startswith('tinygrad_rnn_cell_')]\n"
        "(module,) = [m for m in cells if m.forward.signatures]\n"
        "stats = [f.stats for f in (module.forward, module.backward)]\n"
        "print(*[sum(getattr(s, kind).values()) for s in stats for kind in ('cache_hits', 'cache_misses')])\n"
    )
    found = []
    for _ in range(2):
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, check=True, env=environment, cwd=ROOT, capture_output=True, text=True)
        found.append(done.stdout.split())
    assert found == [["0", "1", "0", "1"], ["1", "0", "1", "0"]]


def test_an_edit_of_any_file_renews_what_was_kept(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    package = shutil.copytree(ROOT / "tinygrad_rnn", tmp_path / "tinygrad_rnn", ignore=shutil.ignore_patterns("*.nb?"))
    program = (
        "import numpy as np\n"
        "from tinygrad_rnn.kernels.recurrent.numba import products\n"
        "products.fill_strips(0, 1, np.ones((2, 2), np.float32), True, np.ones(4, np.float32))\n"
        "print(sum(products.fill_strips.stats.cache_hits.values()))\n"
    )
    kept = package / "kernels" / "recurrent" / "numba"
    found = []
    for edit in (False, False, True):
        with (kept / "activations.py").open("a") as file:  # which fill_strips does not even call
            file.write("\nLATER = 1\n" * edit)
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, check=True, env=environment, cwd=tmp_path, capture_output=True, text=True)
        found.append(done.stdout.strip())
    assert found == ["0", "1", "0"]

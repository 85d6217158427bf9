"""The command that looks at a machine: what it found, and one line for each problem."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from tinygrad_rnn.backend.cpu.blas import Blas, blas, faster_kernel
from tinygrad_rnn.backend.gpu import cupy_access
from tinygrad_rnn.bench.machine import cores
from tinygrad_rnn.ops.compiler import generated_modules
from tinygrad_rnn.train import doctor as program
from tinygrad_rnn.train.cli import main
from tinygrad_rnn.train.doctor import advice

FINE = Blas("OpenBLAS", "SkylakeX", 1)


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with nothing to mend: Numba, no GPU and no CuPy, the right kernels."""
    here(monkeypatch, "numba")
    monkeypatch.setattr(program, "faster_kernel", lambda: None)
    monkeypatch.setattr(program, "DRIVER", Path("/no/such/file"))
    monkeypatch.setattr(program, "version", lambda name: None)
    monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "18")
    return monkeypatch


def here(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Of the optional packages, just these can be found."""
    found = importlib.util.find_spec

    def find(name: str, *more: Any) -> Any:
        return (name in names or None) if name in ("numba", "cupy") else found(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_doctor_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("NumPy", "BLAS", "processor", "GPU", "fused layers"):
        assert word in out


def test_the_kernels_that_can_be_chosen_are_listed(healthy: pytest.MonkeyPatch) -> None:
    assert any("Numba" in kernel for kernel in program._kernels())
    here(healthy)
    assert not any("Numba" in kernel for kernel in program._kernels())


def test_a_healthy_machine_needs_nothing(healthy: pytest.MonkeyPatch) -> None:
    assert list(advice(FINE)) == []


def test_kernels_without_avx512_are_mended_by_a_variable(healthy: pytest.MonkeyPatch) -> None:
    healthy.setattr(program, "faster_kernel", lambda: "SkylakeX")
    ((problem, remedy),) = advice(Blas("OpenBLAS", "Haswell", 1))
    assert "Haswell" in problem and remedy.startswith("export OPENBLAS_CORETYPE=SkylakeX ")
    assert list(advice(FINE)) == []


def test_more_threads_than_cores_are_mended_by_a_variable(healthy: pytest.MonkeyPatch) -> None:
    ((problem, remedy),) = advice(Blas("OpenBLAS", "SkylakeX", 4096))
    assert "4096 threads" in problem and remedy == f"export OPENBLAS_NUM_THREADS={cores()}"


def test_threads_that_wait_in_busy_loops_are_mended_by_a_variable(healthy: pytest.MonkeyPatch) -> None:
    healthy.delenv("OPENBLAS_THREAD_TIMEOUT")
    problem, remedy = list(advice(Blas("scipy-openblas", "SkylakeX", 2)))[-1]
    assert "busy loops" in problem and remedy.startswith("export OPENBLAS_THREAD_TIMEOUT=18 ")
    assert list(advice(Blas("scipy-openblas", "SkylakeX", 1))) == []


def test_a_missing_numba_is_mended_by_its_extra(healthy: pytest.MonkeyPatch) -> None:
    here(healthy)
    ((problem, remedy),) = advice(FINE)
    assert problem.startswith("Numba is not installed") and remedy == "pip install 'tinygrad-rnn[fast]'"


def test_cupy_without_a_gpu_is_told_with_its_reason(healthy: pytest.MonkeyPatch) -> None:
    here(healthy, "numba", "cupy")
    healthy.setattr(cupy_access, "unavailable_reason", lambda: "CuPy is installed, but no GPU answers (it sleeps)")
    ((problem, remedy),) = advice(FINE)
    assert "no GPU answers (it sleeps)" in problem and remedy.startswith("nvidia-smi")


def test_a_driver_without_cupy_is_mended_by_its_extra(healthy: pytest.MonkeyPatch, tmp_path: Path) -> None:
    healthy.setattr(program, "DRIVER", tmp_path)
    ((problem, remedy),) = advice(FINE)
    assert "no CuPy" in problem and remedy.startswith("pip install 'tinygrad-rnn[cuda13]'")


def test_two_packages_of_cupy_are_one_too_many(healthy: pytest.MonkeyPatch) -> None:
    healthy.setattr(program, "version", lambda name: "13.6" if name.startswith("cupy") else None)
    ((_, remedy),) = advice(FINE)
    assert remedy == "pip uninstall cupy-cuda12x"


@pytest.mark.parametrize(
    ("cpuinfo", "wish"),
    [
        ("vendor_id : AuthenticAMD\nflags : avx2 avx512f avx512dq avx512vl sse\n", "SkylakeX"),
        ("vendor_id : AuthenticAMD\nflags : avx2 sse\n", None),
        ("vendor_id : GenuineIntel\nflags : avx2 avx512f avx512dq avx512vl sse\n", None),
    ],
)
def test_only_amd_processors_with_avx512_need_telling(
    cpuinfo: str, wish: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    assert faster_kernel(str(path)) == wish
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert faster_kernel(str(path)) is None


def test_blas_is_known_by_name() -> None:
    assert blas().name


@pytest.mark.parametrize(
    ("text", "most"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("?", None)]
)
def test_a_containers_share_of_the_cores_counts(text: str, most: int | None, tmp_path: Path) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(text)
    assert cores(str(path)) == (most if most is not None else cores("/no/such/file"))


# compiled cells ------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(generated_modules, "_modules", {})
    return tmp_path / "tinygrad_rnn" / "cells"


def test_compiled_cells_are_counted_and_cleared(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.cells() == f"none in {cache}: nothing was compiled yet"
    assert main(["doctor", "--clear-cells"]) == 0
    assert f"there is no {cache}" in capsys.readouterr().out and not cache.exists()
    for text in ("a = 1\n", "b = 2\n"):
        generated_modules.load(text)
    (cache / "__pycache__").mkdir()
    (cache / "__pycache__" / "tinygrad_rnn_cell_0.forward-1.py311.nbi").write_bytes(b"0" * 1_500_000)
    (cache / "notes").write_text("of the user")
    assert program.cells() == f"2 in {cache}, 1.5 MB"
    assert main(["doctor"]) == 0 and "compiled cells" in capsys.readouterr().out
    assert main(["doctor", "--clear-cells"]) == 0
    assert capsys.readouterr().out == f"2 compiled cells deleted from {cache}, 1.5 MB.\n"
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["notes"]
    assert program.cells() == f"0 in {cache}, 0.0 MB"
    assert generated_modules.load("a = 1\n").a == 1  # what runs in this process goes on


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_cells_in_a_folder_of_others_are_left_alone(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generated_modules.load("a = 1\n")
    cache.chmod(0o755)
    assert "0700" in program.cells()
    assert main(["doctor", "--clear-cells"]) == 2
    assert "are not deleted: others than its owner" in capsys.readouterr().err
    assert len(list(cache.glob("*.py"))) == 1
    other = cache.with_name("elsewhere")
    cache.rename(other)
    other.chmod(0o700)
    cache.symlink_to(other)
    assert main(["doctor", "--clear-cells"]) == 2
    assert "it is no folder" in capsys.readouterr().err and len(list(other.glob("*.py"))) == 1


def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", staticmethod(homeless))
    assert program.cells() == "no cache: Could not determine home directory."
    assert main(["doctor", "--clear-cells"]) == 2
    assert "home directory" in capsys.readouterr().err

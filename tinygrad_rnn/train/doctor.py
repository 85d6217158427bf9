"""``tinygrad-rnn doctor``: facts about this installation, and a remedy in one line for each problem."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .. import cuda
from ..backend.cpu.blas import Blas, blas, faster_kernel
from ..backend.cpu.environment import PATIENCE, SHORT
from ..backend.gpu import cupy_access
from ..bench.machine import cores, processor, version
from ..errors import UsageError
from ..kernels.recurrent.cuda import describe
from ..ops.compiler import generated_modules
from ..tape.observe.text_table import table
from ..terminal import describe_error

__all__ = ["doctor", "gpu_facts"]

OPTIONAL = ("numba", "matplotlib", "hypothesis", "torch", "cupy-cuda12x", "cupy-cuda13x")

DRIVER = Path("/proc/driver/nvidia/version")
"""Exists if NVIDIA's driver is loaded (Linux)."""


def doctor(clear_cells: bool = False) -> None:
    """Print the facts and the advice; or clear the cache of compiled cells.

    Raises:
        UsageError: the cache cannot be cleared.
    """
    if clear_cells:
        print(cleared())
        return
    library = blas()
    print(table(("what", "found"), list(facts(library))))
    problems = list(advice(library))
    print()
    for problem, remedy in problems:
        print(f"! {problem}\n  {remedy}")
    if not problems:
        print("Nothing to mend.")


def facts(library: Blas) -> Iterator[tuple[str, str]]:
    """Pairs of a name and a value."""
    yield "tinygrad_rnn", version("tinygrad-rnn") or "not installed, run from its sources"
    yield "Python", f"{platform.python_version()} ({sys.executable})"
    yield "processor", f"{processor()}, {cores()} cores for this process"
    yield "NumPy", np.__version__
    yield "BLAS", f"{library.name}, kernels for {library.kernel or 'unknown'}, {library.threads or 'unknown'} threads"
    for name in OPTIONAL:
        found = version(name)
        if found is not None:
            yield name, found
    yield "fused layers", "; ".join(_kernels())
    yield "compiled cells", cells()
    yield from gpu_facts()


def cells() -> str:
    """The cache of compiled cells: how many there are, their size, and where."""
    try:
        where = generated_modules.place()
        reason = generated_modules.refusal(where) if os.path.lexists(where) else "nothing was compiled yet"
        if reason is None:
            found = generated_modules.files()
            count, size = sum(path.suffix == ".py" for path in found), sum(path.lstat().st_size for path in found)
            return f"{count} in {where}, {size / 1e6:.1f} MB"
    except (OSError, RuntimeError) as error:
        return f"no cache: {describe_error(error) if isinstance(error, OSError) else error}"
    return f"none in {where}: {reason}"


def cleared() -> str:
    """Delete the cache of compiled cells, and nothing else that lies in its folder; what was done.

    Raises:
        UsageError: there is no such folder that is this user's own, or a file cannot be deleted.
    """
    try:
        where = generated_modules.place()
        if not os.path.lexists(where):
            return f"No cell was compiled yet: there is no {where}."
        reason = generated_modules.refusal(where)
        if reason is not None:
            raise UsageError(f"the cells in {where} are not deleted: {reason}")
        found = generated_modules.files()
        size = sum(path.lstat().st_size for path in found)
        for path in found:
            path.unlink(missing_ok=True)  # another process may clear it, too
    except (OSError, RuntimeError) as error:
        raise UsageError(describe_error(error) if isinstance(error, OSError) else str(error)) from error
    count = sum(path.suffix == ".py" for path in found)
    return f"{count} compiled cell{'' if count == 1 else 's'} deleted from {where}, {size / 1e6:.1f} MB."


def gpu_facts() -> Iterator[tuple[str, str]]:
    """Pairs of a name and a value: the GPU, its memory, the versions of CUDA, the kernels of recurrent layers there.

    Without a GPU, the reason.
    """
    reason = cupy_access.unavailable_reason()
    if reason is not None:
        yield "GPU", f"not usable: {reason}"
        return
    for number in range(cuda.device_count()):
        p = cuda.get_device_properties(number)
        name = "GPU" if cuda.device_count() == 1 else f"GPU {number}"
        free, total = cuda.mem_get_info(number)
        parts = [p.name, f"compute capability {p.major}.{p.minor}", f"{p.multi_processor_count} multiprocessors"]
        yield name, ", ".join([*parts, f"{free / 1e9:.0f} of {total / 1e9:.0f} GB free"])
    cupy = cupy_access.require()
    driver, built = cupy_access.release(cupy.cuda.runtime.driverGetVersion()), cupy_access.runtime_release()
    yield "CUDA", f"driver for {driver}, runtime {built}, CuPy {cupy.__version__}"
    yield "recurrent layers on the GPU", describe()


def advice(library: Blas) -> Iterator[tuple[str, str]]:
    """Pairs of a problem and its remedy."""
    kernel = faster_kernel()
    if kernel is not None and library.kernel not in (None, kernel):
        yield (
            f"OpenBLAS uses its {library.kernel} kernels on a processor with AVX-512",
            f"export OPENBLAS_CORETYPE={kernel}      # before Python starts; large products double in speed",
        )
    if library.threads is not None and library.threads > cores():
        yield (
            f"OpenBLAS uses {library.threads} threads on {cores()} cores",
            f"export OPENBLAS_NUM_THREADS={cores()}",
        )
    if (library.threads or 1) > 1 and PATIENCE not in os.environ and "openblas" in library.name.lower():
        yield (
            "OpenBLAS's threads wait for the next product in busy loops, which takes a core from recurrent layers",
            f"export {PATIENCE}={SHORT}      # before Python starts; an update took half the time",
        )
    if importlib.util.find_spec("numba") is None:
        yield (
            "Numba is not installed: recurrent layers use NumPy's kernels, which are slower at small sizes",
            "pip install 'tinygrad-rnn[fast]'",
        )
    cupy = importlib.util.find_spec("cupy") is not None
    reason = cupy_access.unavailable_reason() if cupy else None
    if reason is not None:
        yield f"the GPU cannot be used: {reason}", "nvidia-smi      # does the driver see a GPU?"
    if not cupy and DRIVER.exists():
        yield "there is a driver of NVIDIA, but no CuPy", cupy_access.INSTALL_LINE
    both = [name for name in ("cupy-cuda12x", "cupy-cuda13x") if version(name)]
    if len(both) > 1:
        yield "two packages of CuPy are installed, which break each other", f"pip uninstall {both[0]}"


def _kernels() -> list[str]:
    """The implementations of recurrent layers that are available here."""
    found = ["NumPy (float16, float32, float64)"]
    if importlib.util.find_spec("numba") is not None:
        found.append("compiled by Numba (float32, float64)")
    if not cupy_access.unavailable_reason():
        found.append("CUDA kernels, see below")
    return found

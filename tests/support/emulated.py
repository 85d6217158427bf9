"""CUDA kernels on the double of CuPy: compiled for the host by g++, their threads run one after the other.

For kernels whose threads wait for nobody, or the last of a block for the others before it.  Arguments go the way CuPy
sends them: behind pointers, arrays by address, NumPy scalars and one-element arrays by value; one of another size than
the kernel's parameter is refused.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
import tempfile
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from tests.support import arrays, fakecuda, fakecupy
from tinygrad_rnn.backend.gpu import kernels

__all__ = ["COMPILER", "RawModule", "device"]

COMPILER = shutil.which("g++")

BEFORE = """
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>
using std::exp;
using std::log;
using std::sqrt;
#define __global__
#define __device__ static
#define __restrict__
#define __shared__ static
#define __syncthreads()
struct Index { int x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;
template <class T> inline T atomicAdd(T* at, T more) { const T before = *at; *at += more; return before; }
"""
AFTER = """
template <class... A, size_t... I>
static void each(void (*kernel)(A...), void** arguments, std::index_sequence<I...>)
{
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++) kernel(*(A*)arguments[I]...);
}
template <class... A>
static int start(void (*kernel)(A...), int blocks, int threads, void** arguments, const long* sizes, int count)
{
    const long expected[] = {(long)sizeof(A)...};
    if (count != sizeof...(A)) return 1;
    for (int k = 0; k < count; k++) if (sizes[k] != expected[k]) return 2 + k;
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    each(kernel, arguments, std::index_sequence_for<A...>());
    return 0;
}
"""
ENTRY = """
extern "C" int start_{name}(int blocks, int threads, void** arguments, const long* sizes, int count)
{{ return start({name}, blocks, threads, arguments, sizes, count); }}
"""

launches: list[str] = []
"""The names of the kernels that ran, in order."""

_built: dict[str, ctypes.CDLL] = {}
_folder: tempfile.TemporaryDirectory[str] | None = None


def _library(code: str, options: Sequence[str]) -> ctypes.CDLL:
    global _folder
    names = re.findall(r"__global__ void (\w+)\(", code)
    source = BEFORE + code + AFTER + "".join(ENTRY.format(name=name) for name in names)
    key = hashlib.sha256(repr((source, tuple(options))).encode()).hexdigest()
    if key not in _built:
        _folder = _folder or tempfile.TemporaryDirectory()
        stem = Path(_folder.name) / key[:16]
        stem.with_suffix(".cpp").write_text(source)
        command = [str(COMPILER), *options, "-O1", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-shared", "-fPIC"]
        done = subprocess.run(
            [*command, str(stem.with_suffix(".cpp")), "-o", str(stem.with_suffix(".so"))],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError("\n".join(line for line in done.stderr.splitlines() if "error" in line))
        _built[key] = ctypes.CDLL(str(stem.with_suffix(".so")))
    return _built[key]


class RawModule:
    """``cupy.RawModule`` for the host."""

    def __init__(self, code: str, options: Sequence[str] = (), enable_cooperative_groups: bool = False) -> None:
        self._library = _library(code, options)

    def get_function(self, name: str) -> Any:
        entry = self._library[f"start_{name}"]

        def run(grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_mem: int = 0) -> None:
            held = [_behind_pointer(a) for a in args]
            pointers = (ctypes.c_void_p * len(held))(*[h.ctypes.data for h in held])
            sizes = (ctypes.c_long * len(held))(*[h.nbytes for h in held])
            answer = entry(int(grid[0]), int(block[0]), pointers, sizes, len(held))
            if answer:
                what = "their number" if answer == 1 else f"the size of number {answer - 2}"
                raise TypeError(f"{name}: the arguments do not fit the kernel: {what}")
            launches.append(name)

        run.kernel = types.SimpleNamespace(ptr=0)  # type: ignore[attr-defined]  # asked for to compile at once
        return run


def _behind_pointer(a: Any) -> Any:
    if a is None:
        return np.zeros(1, np.uint64)
    if isinstance(a, fakecupy.ndarray):
        return np.array([a.data.ptr], np.uint64)
    if isinstance(a, np.ndarray) and a.size == 1:
        return a
    if isinstance(a, np.generic):
        return np.array([a])
    raise TypeError(f"not an argument of a kernel: {type(a)}")


@contextmanager
def device() -> Iterator[Any]:
    """The double of CuPy with a GPU whose kernels run on the host."""
    with (
        arrays.module("double") as double,
        mock.patch.object(fakecupy, "RawModule", RawModule),
        mock.patch.object(fakecuda.Device, "compute_capability", "90"),
        mock.patch.multiple(kernels, _gpus={}, _modules={}, _kernels={}),
    ):
        launches.clear()
        yield double

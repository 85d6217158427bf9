"""CuPy's ``RawModule`` on a CPU: g++ compiles a kernel's own source against ``emulator.hpp``.

With it, drivers of kernels run on the strict double of CuPy as they do on a GPU.  A launch checks what a GPU would
not: the types of all arguments against the kernel's, that arrays are contiguous, that nothing is written next to
them (every array is launched as a copy between two guards of nan, so what is read there spoils a result), and that
cluster and grid agree.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import fakecuda, fakecupy

COMPILER = shutil.which("g++")
HERE = Path(__file__).parent
HEADERS = ("emulator.hpp", "emulator_exports.hpp")
FLAGS = "-O1 -std=c++17 -w -fPIC -shared -fvisibility=hidden -U_FORTIFY_SOURCE".split()
LETTERS = {"float32": "f", "float64": "d", "int32": "i", "uint32": "u"}
ALIGNMENT = 64  # bytes; the guards are a multiple of it
GUARD = 1 << 13  # elements; what is wrong by more may end the process

needs_compiler = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="the emulation of CUDA kernels needs Linux and g++"
)


class LaunchError(RuntimeError):
    """What went wrong in an emulated launch."""


class CompileError(RuntimeError):
    """What the compiler says."""


class Emulator:
    """An emulated GPU.

    Attributes:
        capability, multiprocessors: of the GPU.
        seed: of the schedule; every launch takes the next one.
        lag: how far single threads may fall behind.
        edit: applied to every source before it is compiled, to plant errors.
        launches: names of the kernels launched, with their numbers of blocks.
        failing: names of kernels whose compilation fails.
    """

    def __init__(self, capability: int = 90, multiprocessors: int = 132) -> None:
        self.capability, self.multiprocessors = capability, multiprocessors
        self.seed, self.lag = 0, 0
        self.edit: Callable[[str], str] = lambda source: source
        self.launches: list[tuple[str, int]] = []
        self.failing: set[str] = set()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the double of CuPy compile kernels and describe this GPU; its empty arrays are full of nan."""
        emulator = self

        class RawModule:
            def __init__(self, code: str, options: tuple[str, ...], enable_cooperative_groups: bool = False) -> None:
                self.code, self.options, self.cooperative = emulator.edit(code), options, enable_cooperative_groups

            def get_function(self, name: str) -> Function:
                if name in emulator.failing:
                    raise CompileError(f"error: {name} is made to fail")
                return Function(emulator, library(self.code, self.options), name, self)

        driver = types.SimpleNamespace(
            occupancyMaxActiveBlocksPerMultiprocessor=lambda ptr, threads, shared: 1,
            funcSetAttribute=lambda ptr, attribute, value: None,
        )
        monkeypatch.setattr(fakecupy, "RawModule", RawModule)
        self._monkeypatch = monkeypatch
        self.become(self.capability, self.multiprocessors)
        monkeypatch.setattr(fakecupy.cuda, "driver", driver, raising=False)
        monkeypatch.setattr(fakecupy, "empty", _nan, raising=False)
        monkeypatch.setattr(fakecupy, "empty_like", lambda a: _nan(a.shape, a.dtype), raising=False)

    def become(self, capability: int, multiprocessors: int) -> None:
        """Another GPU from now on."""
        self.capability, self.multiprocessors = capability, multiprocessors
        shared = 227 * 1024 if capability >= 90 else 99 * 1024

        class Device(fakecuda.Device):
            compute_capability = str(capability)
            attributes = {  # noqa: RUF012
                "MultiProcessorCount": multiprocessors,
                "MaxSharedMemoryPerBlockOptin": shared,
            }

        self._monkeypatch.setattr(fakecupy.cuda, "Device", Device)


def _nan(shape: Any, dtype: Any = float) -> Any:
    """Where CuPy's content is undefined, the worst one."""
    return fakecupy.asarray(np.full(shape, np.nan if np.dtype(dtype).kind == "f" else -1, dtype))


def library(code: str, options: tuple[str, ...]) -> ctypes.CDLL:
    """The compiled emulation of ``code``; kept among temporary files by what it is made from."""
    names = re.findall(r'extern "C" __global__ void[^(]*?(?:__launch_bounds__\([^)]*\)\s+CLUSTER\s+)?(\w+)\(', code)
    table = " ".join(f"EMULATED_KERNEL({name})" for name in names)
    text = f'#include "emulator.hpp"\n{code}\n#define EMULATED_KERNELS {table}\n#include "emulator_exports.hpp"\n'
    defines = [option for option in options if option.startswith("-D")]
    parts = [text, *defines, *((HERE / name).read_text() for name in HEADERS), *FLAGS]
    folder = Path(tempfile.gettempdir()) / f"tinygrad_rnn-emulator-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:24]}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            source, made = Path(scratch, "kernel.cpp"), Path(scratch, "kernel.so")
            source.write_text(text)
            command = [str(COMPILER), *FLAGS, *defines, f"-I{HERE}", str(source), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise CompileError(done.stderr)
            made.replace(path)  # whole or not at all: other processes may wait for it
    return ctypes.CDLL(str(path))


class Function:
    """A kernel of an emulated module, called as CuPy's RawKernel."""

    def __init__(self, emulator: Emulator, compiled: ctypes.CDLL, name: str, module: Any) -> None:
        self._emulator, self._library, self._name = emulator, compiled, name
        self._cooperative = module.cooperative
        define = dict(option[2:].split("=") for option in module.options if option.startswith("-D"))
        self._cluster = int(define.get("CTAS", 1)) if int(define.get("SYNC", 0)) else 1
        self._together = int(define.get("CTAS", 1))
        self.max_dynamic_shared_size_bytes = 48 * 1024
        self.kernel = types.SimpleNamespace(ptr=0)
        text = ctypes.create_string_buffer(400)
        if compiled.kernel_types(name.encode(), text, 400):
            raise CompileError(f"there is no kernel {name}")
        self.types = text.value.decode().split()

    def __call__(self, grid: Any, block: Any, arguments: tuple[Any, ...], *, shared_mem: int = 0) -> None:
        emulator = self._emulator
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise LaunchError("more dynamic shared memory than the kernel may have")
        if grid[0] % self._cluster or (self._cooperative and self._cluster > 1):
            raise LaunchError("a grid that is no multiple of the cluster, or a cooperative launch of clusters")
        if self._cooperative and grid[0] > emulator.multiprocessors:
            raise LaunchError("a cooperative launch that does not fit: CuPy would make it smaller")
        if self._cluster == 1 and self._together > 1 and not self._cooperative:
            raise LaunchError("blocks that wait for each other without a cooperative launch")
        if len(arguments) != len(self.types):
            raise LaunchError(f"{self._name} takes {len(self.types)} arguments, not {len(arguments)}")
        guarded = Guarded()
        values = [
            guarded.argument(a, t, f"{self._name}, {k}")
            for k, (a, t) in enumerate(zip(arguments, self.types, strict=True))
        ]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        text = ctypes.create_string_buffer(200)
        emulator.seed += 1
        emulator.launches.append((self._name, grid[0]))
        failed = self._library.launch(
            self._name.encode(), grid[0], block[0], self._cluster, ctypes.c_long(shared_mem),
            ctypes.c_uint(emulator.seed), emulator.lag, pointers, text, 200,
        )  # fmt: skip
        if failed:
            raise LaunchError(f"{self._name}: {text.value.decode()}")
        guarded.take_back()


class Guarded:
    """Copies of the arrays of one launch, between guards."""

    def __init__(self) -> None:
        self._copies: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by address: the array, its copy

    def argument(self, value: Any, kind: str, where: str) -> Any:
        """The argument as ctypes has it."""
        if not kind.endswith("*"):
            if not isinstance(value, np.generic) or LETTERS.get(str(value.dtype)) != kind:
                raise LaunchError(f"{where}: expected a NumPy scalar of type {kind}, got {value!r}")
            return {"i": ctypes.c_int, "f": ctypes.c_float, "d": ctypes.c_double}[kind](value.item())
        if value is None:
            return ctypes.c_void_p(None)
        if not isinstance(value, fakecupy.ndarray):
            raise LaunchError(f"{where}: expected a device array, got {type(value)}")
        array = value._a
        if LETTERS.get(str(array.dtype)) != kind[0] or not array.flags.c_contiguous:
            raise LaunchError(f"{where}: expected contiguous {kind}, got {array.dtype} with strides {array.strides}")
        return ctypes.c_void_p(self._copy(array).ctypes.data + GUARD * array.itemsize)

    def _copy(self, array: np.ndarray) -> np.ndarray:
        low, high = array.ctypes.data, array.ctypes.data + array.nbytes
        if low not in self._copies:
            for other, (known, _) in self._copies.items():
                if low < other + known.nbytes and other < high:
                    raise LaunchError("two arguments overlap")
            worst = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max
            room = np.full(array.size + 2 * GUARD + ALIGNMENT, worst, array.dtype)
            skip = (low - room.ctypes.data) % ALIGNMENT // array.itemsize
            copy = room[skip : skip + array.size + 2 * GUARD]  # as far from a multiple of ALIGNMENT as the array
            copy[GUARD:-GUARD] = array.reshape(-1)
            self._copies[low] = array, copy
        elif self._copies[low][0].nbytes != array.nbytes:
            raise LaunchError("two arguments overlap")
        return self._copies[low][1]

    def take_back(self) -> None:
        """The arrays get what the launch left in their copies."""
        for array, copy in self._copies.values():
            worst = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max
            guards = np.concatenate([copy[:GUARD], copy[-GUARD:]])
            if not np.array_equal(guards, np.full(2 * GUARD, worst, array.dtype), equal_nan=array.dtype.kind == "f"):
                raise LaunchError("a store next to an array")
            array.reshape(-1)[...] = copy[GUARD:-GUARD]

"""NVIDIA's run-time compiler without a GPU and without CuPy: the library of the package nvidia-cuda-nvrtc."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class CompileError(RuntimeError):
    """What the compiler says."""


class Resources(NamedTuple):
    """What a thread of one kernel takes."""

    registers: int
    stack: int  # bytes of local memory
    spilled: int  # bytes that are stored to and loaded from local memory, as the assembler counts them


def _library_path() -> Path | None:
    found = importlib.util.find_spec("nvidia")
    for folder in (found.submodule_search_locations or []) if found else []:
        for path in sorted(Path(folder).glob("*/lib/libnvrtc.so.*")) + sorted(Path(folder).glob("*/bin/nvrtc64*.dll")):
            return path
    return None


needs_nvrtc = pytest.mark.skipif(_library_path() is None, reason="compiling CUDA needs the package nvidia-cuda-nvrtc")


@functools.cache
def _library() -> Any:
    return ctypes.CDLL(str(_library_path()))


def compile_cuda(source: str, options: Sequence[str], architecture: int) -> dict[str, Resources]:
    """Compile for ``sm_<architecture>``, with CuPy's options: the resources of each kernel.

    Raises:
        CompileError: with the compiler's messages.
    """
    nvrtc, program = _library(), ctypes.c_void_p()
    every = ["-std=c++17", f"-arch=sm_{architecture}", "-ftz=true", "--device-as-default-execution-space"]
    every += ["--ptxas-options=-v", *options]
    texts = (ctypes.c_char_p * len(every))(*(option.encode() for option in every))
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None) == 0
    try:
        failed = nvrtc.nvrtcCompileProgram(program, len(every), texts)
        log = _text(nvrtc, program)
        if failed:
            raise CompileError(log)
        return _resources(log)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _text(nvrtc: Any, program: Any) -> str:
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    return log.value.decode()


REPORT = re.compile(
    r"entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)


def _resources(log: str) -> dict[str, Resources]:
    found = {
        name: Resources(int(registers), int(stack), int(stores) + int(loads))
        for name, stack, stores, loads, registers in REPORT.findall(log)
    }
    if not found:
        raise CompileError(f"no report of the assembler in {log!r}")
    return found

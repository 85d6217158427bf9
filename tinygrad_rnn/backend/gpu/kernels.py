"""CUDA kernels from source: compiled once per device, with the attributes that their launch needs.

CuPy compiles (NVRTC, with a cache on disk) and launches.  This module caches the compiled modules, sets the attributes
for large shared memory and large clusters, and turns every refusal into :class:`KernelError` with the reason.

Two traps of CuPy are handled here.  A cooperative launch whose grid does not fit is made *smaller*, with no more than a
warning: hence :meth:`Kernel.resident_blocks`.  And kernels with a cluster must not be launched as cooperative ones.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .cupy_access import module

__all__ = ["REALS", "Gpu", "Kernel", "KernelError", "Launch", "gpu", "kernel"]

REALS = {np.dtype(np.float32): ("-DREAL=float",), np.dtype(np.float64): ("-DREAL=double",)}
"""Compiler options for sources whose element type is ``REAL``, by dtype."""

LARGE_SHARED_MEMORY = 48 * 1024
PORTABLE_CLUSTER = 8
NON_PORTABLE_CLUSTER_SIZE_ALLOWED = 14  # of CUfunction_attribute, in cuda.h


class KernelError(Exception):
    """A kernel cannot be compiled or launched on this GPU; the text says why."""


class Gpu(NamedTuple):
    """The properties of a GPU that decide which kernels it can run."""

    number: int
    capability: int  # 10 * major + minor
    multiprocessors: int
    shared_memory: int  # bytes that one block can request


class Launch(NamedTuple):
    """The launch configuration of a kernel, without the number of blocks and the arguments."""

    threads: int
    shared: int = 0  # bytes of dynamic shared memory
    cluster: int = 1  # blocks per cluster, as compiled into the kernel
    cooperative: bool = False  # all blocks run at the same time


_gpus: dict[tuple[int, Any], Gpu] = {}
_modules: dict[tuple[Any, ...], Any] = {}
_kernels: dict[tuple[Any, ...], Kernel | str] = {}


def _cupy() -> Any:
    return sys.modules.get("cupy") or module()  # several times per run: a look-up is faster than an import


def gpu() -> Gpu:
    """The current device.  Its properties are cached, so that a call costs no more than the query of its number."""
    cuda = _cupy().cuda
    # The class is part of the key: a stand-in for CuPy in a test must not find what a real GPU answered.
    key = (cuda.runtime.getDevice(), cuda.Device)
    found = _gpus.get(key)
    if found is None:
        device = cuda.Device(key[0])
        capability = int(device.compute_capability)
        attributes = device.attributes if capability else {}
        found = _gpus[key] = Gpu(
            key[0],
            capability,
            int(attributes.get("MultiProcessorCount", 0)),
            int(attributes.get("MaxSharedMemoryPerBlockOptin", LARGE_SHARED_MEMORY)),
        )
    return found


class Kernel:
    """A compiled kernel and its launch: ``kernel(blocks, *arguments)``."""

    def __init__(self, function: Any, launch: Launch, multiprocessors: int) -> None:
        self._function = function
        self._compiled = function.kernel  # CuPy compiles here
        self._launch = launch
        self._multiprocessors = multiprocessors
        if launch.shared > LARGE_SHARED_MEMORY:  # CUDA refuses more unless the kernel asks for it
            function.max_dynamic_shared_size_bytes = launch.shared
        if launch.cluster > PORTABLE_CLUSTER:
            _cupy().cuda.driver.funcSetAttribute(self._compiled.ptr, NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)

    def __call__(self, blocks: int, *arguments: Any) -> None:
        """Launch on the current stream.  Arguments: contiguous arrays, NumPy scalars, None for a null pointer.

        Raises:
            KernelError: the driver refuses the launch.
        """
        try:
            self._function((blocks,), (self._launch.threads,), arguments, shared_mem=self._launch.shared)
        except Exception as error:
            raise KernelError(f"the launch is refused: {_short(error)}") from error

    @property
    def address(self) -> int:
        """The driver's handle of the kernel."""
        return int(self._compiled.ptr)

    def resident_blocks(self) -> int:
        """How many blocks can run at the same time on the whole GPU."""
        per_multiprocessor = _cupy().cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
            self._compiled.ptr, self._launch.threads, self._launch.shared
        )
        return int(per_multiprocessor) * self._multiprocessors


def kernel(source: str, name: str, options: Sequence[str], launch: Launch) -> Kernel:
    """The kernel ``name`` of ``source`` on the current device, compiled at the first request.

    Raises:
        KernelError: it cannot be compiled or loaded here.  The failure is cached: later requests raise it again.
    """
    cupy, device = _cupy(), gpu()
    # Cooperative or not belongs to the module, which CuPy compiles with other options; RawModule keeps stand-ins
    # apart.
    module_key = (cupy.RawModule, device.number, source, tuple(options), launch.cooperative)
    key = (module_key, name, launch)
    found = _kernels.get(key)
    if found is None:
        try:
            if module_key not in _modules:
                _modules[module_key] = cupy.RawModule(
                    code=source,
                    options=("-std=c++17", *options),
                    enable_cooperative_groups=launch.cooperative,
                )
            found = Kernel(_modules[module_key].get_function(name), launch, device.multiprocessors)
        except Exception as error:
            # The text alone is cached: an exception would keep the frames of the first caller alive.
            found = f"{name} does not compile or load: {_short(error)}"
        _kernels[key] = found
    if isinstance(found, str):
        raise KernelError(found)
    return found


def _short(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # NVRTC's log begins with warnings; the first line with "error" names the cause.
    telling = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "no message")
    return f"{type(error).__name__}: {telling.strip()[:200]}"

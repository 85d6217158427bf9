"""Occupancy of thread block clusters: how many of them a GPU runs at the same time.

The driver knows; CuPy has no function for it.  The blocks of a cluster share one part of the chip (a GPC), and the
number of multiprocessors in each part differs between GPUs of the same name.  The result is therefore less than
multiprocessors divided by blocks, and work divided among a few clusters more takes twice as long.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from .cupy_access import module
from .kernels import KernelError, Launch, gpu, kernel

__all__ = ["clusters_at_once"]

DRIVERS = ("libcuda.so.1", "nvcuda.dll")
LAUNCH = Launch(threads=256, shared=120 << 10)  # one block per multiprocessor, as our kernels
PROBE = """
extern "C" __global__ void __cluster_dims__(CTAS, 1, 1) probe(float* out)
{
    extern __shared__ float memory[];
    if (out) *out = memory[threadIdx.x];
}
"""


class LaunchConfig(ctypes.Structure):
    """``CUlaunchConfig`` of cuda.h."""

    _fields_ = [
        *((f"{kind}{axis}", ctypes.c_uint) for kind in ("grid", "block") for axis in "xyz"),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("count", ctypes.c_uint),
    ]


def clusters_at_once(size: int) -> int | None:
    """The number of clusters of ``size`` large blocks that the current GPU runs at a time; None if unknown."""
    driver = _driver()
    return None if driver is None else _asked(size, gpu().number, module().RawModule)


@functools.cache
def _driver() -> Any:
    # The library belongs to the driver, and CuPy does not export it; an old driver has no such function.
    for name in DRIVERS:
        try:
            return ctypes.CDLL(name).cuOccupancyMaxActiveClusters
        except (OSError, AttributeError):
            continue
    return None


@functools.cache
def _asked(size: int, device: int, compiler: Any) -> int | None:
    """``compiler`` is a key of the cache: it distinguishes a GPU from its stand-ins in tests."""
    try:
        probe = kernel(PROBE, "probe", (f"-DCTAS={size}",), LAUNCH._replace(cluster=size))
    except KernelError:
        return None
    # No attributes: the size of the cluster is compiled into the probe.
    config = LaunchConfig(gridx=size, gridy=1, gridz=1, blockx=LAUNCH.threads, blocky=1, blockz=1, shared=LAUNCH.shared)
    found = ctypes.c_int(0)
    failed = _driver()(ctypes.byref(found), ctypes.c_void_p(probe.address), ctypes.byref(config))
    return None if failed or found.value < 1 else found.value

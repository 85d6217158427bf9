"""CUDA kernels for gradients of activations, from the gradient ``g`` and the output ``y``: one launch instead of three.

In a loop over time on a GPU all arrays are small, and what takes the time is the launches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import on_gpu
from ...backend.gpu.kernels import REALS, KernelError, Launch, gpu, kernel
from ...source_line import warn_user
from ...typing import Array

__all__ = ["SOURCES", "slope"]

BODIES = {"tanh": "g[i] - g[i] * y[i] * y[i]", "sigmoid": "g[i] * (y[i] * (1 - y[i]))"}
"""What each activation's gradient is."""
LAUNCH = Launch(threads=256)
MOST_BLOCKS = 4096

SOURCE = """
extern "C" __global__ void {name}_slope(const REAL* g, const REAL* y, REAL* out, long long size)
{{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) out[i] = {body};
}}
"""

SOURCES = {name: SOURCE.format(name=name, body=body) for name, body in BODIES.items()}

_broken = False


def slope(name: str, g: Any, y: Any) -> Array | None:
    """The gradient of the argument, in new memory; None where the kernel cannot be used: then ``g`` is left as it is.

    Args:
        name: of an activation among :data:`SOURCES`.
        g, y: of one shape and dtype, without gaps in row-major order, on the current GPU.
    """
    global _broken
    if _broken or not on_gpu(g) or type(y) is not type(g):
        return None
    dtype, shape, here = g.dtype, g.shape, gpu()
    options, number = REALS.get(dtype), here.number
    if options is None or not here.capability or y.dtype != dtype or y.shape != shape or not g.size:
        return None
    if not (g.flags.c_contiguous and y.flags.c_contiguous and g.device.id == y.device.id == number):
        return None
    try:
        run = kernel(SOURCES[name], f"{name}_slope", options, LAUNCH)
    except KernelError as error:
        _broken = True
        warn_user(f"activations on the GPU go op by op from now on: {error}", RuntimeWarning)
        return None
    size = g.size
    out: Array = type(g)(shape, dtype)
    run(min(-(-size // LAUNCH.threads), MOST_BLOCKS), g, y, out, np.int64(size))
    return out

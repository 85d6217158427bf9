"""What ``tinygrad-rnn doctor`` tells of the GPU."""

from __future__ import annotations

from collections.abc import Iterator

from .. import cuda
from ..backend.gpu import cupy_access as door
from ..kernels.recurrent.cuda import describe

__all__ = ["gpu_facts"]


def gpu_facts() -> Iterator[tuple[str, str]]:
    """Pairs of what and which: the GPU, its memory, the versions of CUDA, the kernels that recurrent layers use there.

    Without a GPU, why.
    """
    reason = door.unavailable_reason()
    if reason is not None:
        yield "GPU", f"not usable: {reason}"
        return
    for number in range(cuda.device_count()):
        p = cuda.get_device_properties(number)
        name = "GPU" if cuda.device_count() == 1 else f"GPU {number}"
        free, total = cuda.mem_get_info(number)
        parts = [p.name, f"compute capability {p.major}.{p.minor}", f"{p.multi_processor_count} multiprocessors"]
        yield name, ", ".join([*parts, f"{free / 1e9:.0f} of {total / 1e9:.0f} GB free"])
    cupy = door.require()
    runtime = cupy.cuda.runtime
    driver, built = _release(runtime.driverGetVersion()), _release(runtime.runtimeGetVersion())
    yield "CUDA", f"driver for {driver}, runtime {built}, CuPy {cupy.__version__}"
    yield "recurrent layers on the GPU", describe()


def _release(number: int) -> str:
    """A version of CUDA as it is written.

    >>> _release(12040)
    '12.4'
    """
    return f"{number // 1000}.{number % 1000 // 10}"

"""GPU memory statistics: allocated, reserved, their maxima, free.

CuPy's pool keeps freed memory for the next array.  *Allocated* is the memory of arrays, *reserved* what the pool took
from the GPU.  CuPy does not record the maximum of the former.  It is recorded here at every allocation, from the first
request of the maximum on; that first request returns the reserved memory, an upper bound.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from ..backend import Device
from ..backend.gpu import cupy_access
from .devices import is_available, number_of

__all__ = ["empty_cache", "ipc_collect", "max_memory_allocated", "max_memory_reserved", "mem_get_info"]
__all__ += ["memory_allocated", "memory_reserved", "memory_summary", "reset_max_memory_allocated"]
__all__ += ["reset_peak_memory_stats"]


class _Peaks:
    """The maximum of allocated bytes by device, from the installation of the counting allocator on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._allocator: Any = None
        self.most: dict[int, int] = {}

    def watch(self) -> None:
        """Install the counting allocator."""
        cupy = cupy_access.require()
        with self._lock:
            inner = cupy.cuda.get_allocator()  # another library may have replaced ours since the last call
            if self._allocator is not None and inner == self._allocator:
                return
            pool, runtime, most = cupy.get_default_memory_pool(), cupy.cuda.runtime, self.most

            def allocate(size: int) -> Any:
                # Allocated first, so that ``held`` includes it.
                found = inner(size)
                device = runtime.getDevice()
                held = pool.used_bytes()
                # Without a lock, for which every allocation would pay: at worst the larger of two simultaneous values
                # is lost.
                if held > most.get(device, 0):
                    most[device] = held
                return found

            self._allocator = allocate
            cupy.cuda.set_allocator(allocate)

    def forget(self) -> None:
        """Reset in a child process: the thread that holds the lock may exist in the parent alone."""
        self._lock = threading.Lock()


_peaks = _Peaks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_peaks.forget)


def memory_allocated(device: Device | str | int | None = None) -> int:
    """Bytes of a GPU's memory that arrays use now; 0 without a GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.memory_allocated() <= tg.cuda.memory_reserved()
    """
    return _ask("used_bytes", device) if is_available() else 0


def memory_reserved(device: Device | str | int | None = None) -> int:
    """Bytes taken from a GPU, by arrays and by the pool's idle memory; 0 without a GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.memory_allocated() <= tg.cuda.memory_reserved()
    """
    return _ask("total_bytes", device) if is_available() else 0


def max_memory_allocated(device: Device | str | int | None = None) -> int:
    """The maximum of allocated bytes since :func:`reset_peak_memory_stats`; 0 without a GPU.

    Without a reset before, the reserved bytes, an upper bound: CuPy records no more of the past.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.max_memory_allocated() >= tg.cuda.memory_allocated()
    """
    if not is_available():
        return 0
    index = number_of(device)
    _peaks.watch()
    if index not in _peaks.most:
        return memory_reserved(index)
    # Arrays from before the counting began may be more than the counted maximum.
    return max(_peaks.most[index], memory_allocated(index))


def max_memory_reserved(device: Device | str | int | None = None) -> int:
    """The maximum of reserved bytes: those reserved now, since only :func:`empty_cache` returns memory.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.max_memory_reserved() >= tg.cuda.memory_reserved()
    """
    return memory_reserved(device)


def reset_peak_memory_stats(device: Device | str | int | None = None) -> None:
    """Restart the maximum at the bytes that are allocated now.

    Raises:
        DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.reset_max_memory_allocated()
    """
    index = number_of(device)
    _peaks.watch()
    _peaks.most[index] = memory_allocated(index)


reset_max_memory_allocated = reset_peak_memory_stats


def empty_cache() -> None:
    """Return the pool's idle memory to the GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.empty_cache()
    """
    if is_available():
        cupy_access.module().get_default_memory_pool().free_all_blocks()


def ipc_collect() -> None:
    """Nothing to collect: memory is not shared between processes.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.ipc_collect()
    """


def mem_get_info(device: Device | str | int | None = None) -> tuple[int, int]:
    """Free and total bytes of a GPU, over all processes.

    Raises:
        DeviceError: there is no GPU.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     free, total = tg.cuda.mem_get_info()
    """
    free, total = cupy_access.require().cuda.Device(number_of(device)).mem_info
    return int(free), int(total)


def memory_summary(device: Device | str | int | None = None, abbreviated: bool = False) -> str:
    """Allocated and reserved bytes as a line of text."""
    now, kept = memory_allocated(device), memory_reserved(device)
    return f"allocated {now:,} bytes (at most {max_memory_allocated(device):,}), reserved {kept:,} bytes"


def out_of_memory_error() -> type[BaseException]:
    """The exception of a GPU out of memory: CuPy's; MemoryError where there is no CuPy."""
    # For ``except``, which needs a class also where there is no GPU.
    if not is_available():
        return MemoryError
    error: type[BaseException] = cupy_access.module().cuda.memory.OutOfMemoryError
    return error


def _ask(what: str, device: Device | str | int | None) -> int:
    cupy = cupy_access.require()
    # The pool answers for the current device.
    with cupy.cuda.Device(number_of(device)):
        return int(getattr(cupy.get_default_memory_pool(), what)())

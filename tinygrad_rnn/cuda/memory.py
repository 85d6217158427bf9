"""What arrays hold of a GPU's memory.

CuPy keeps memory that was freed for the next array.  *Allocated* is what arrays hold now, *reserved* what was taken
from the GPU.  CuPy does not keep the maximum of the former, so it is counted by us, at every allocation, from the
first time that somebody asks for it; before that, the maximum reserved is given, which it cannot exceed.
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
    """The most bytes that arrays held on each device, once the counting allocator is installed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._allocator: Any = None
        self.most: dict[int, int] = {}

    def watch(self) -> None:
        """Count at every allocation from now on."""
        cupy = cupy_access.require()
        with self._lock:
            inner = cupy.cuda.get_allocator()
            if self._allocator is not None and inner == self._allocator:
                return
            pool, runtime, most = cupy.get_default_memory_pool(), cupy.cuda.runtime, self.most

            def allocate(size: int) -> Any:
                found = inner(size)
                device = runtime.getDevice()
                held = pool.used_bytes()
                if held > most.get(device, 0):
                    most[device] = held
                return found

            self._allocator = allocate
            cupy.cuda.set_allocator(allocate)

    def forget(self) -> None:
        """In a child process, which the thread that holds the lock did not come along to."""
        self._lock = threading.Lock()


_peaks = _Peaks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_peaks.forget)


def memory_allocated(device: Device | str | int | None = None) -> int:
    """Bytes of a GPU's memory that arrays hold now; 0 without a GPU."""
    return _ask("used_bytes", device) if is_available() else 0


def memory_reserved(device: Device | str | int | None = None) -> int:
    """Bytes that were taken from a GPU: those of arrays, and those kept for the next ones; 0 without a GPU."""
    return _ask("total_bytes", device) if is_available() else 0


def max_memory_allocated(device: Device | str | int | None = None) -> int:
    """The most bytes that arrays held since :func:`reset_peak_memory_stats`; 0 without a GPU.

    Without a reset before, the most that was reserved: CuPy does not tell more of the past.
    """
    if not is_available():
        return 0
    index = number_of(device)
    _peaks.watch()
    if index not in _peaks.most:
        return memory_reserved(index)
    return max(_peaks.most[index], memory_allocated(index))


def max_memory_reserved(device: Device | str | int | None = None) -> int:
    """The most bytes that were taken from a GPU: what is reserved now, since only :func:`empty_cache` gives back."""
    return memory_reserved(device)


def reset_peak_memory_stats(device: Device | str | int | None = None) -> None:
    """Start the maximum anew, from what arrays hold now.

    Raises:
        DeviceError: there is no GPU.
    """
    index = number_of(device)
    _peaks.watch()
    _peaks.most[index] = memory_allocated(index)


reset_max_memory_allocated = reset_peak_memory_stats


def empty_cache() -> None:
    """Give back the memory that no array holds."""
    if is_available():
        cupy_access.module().get_default_memory_pool().free_all_blocks()


def ipc_collect() -> None:
    """Nothing to collect: memory is not shared between processes."""


def mem_get_info(device: Device | str | int | None = None) -> tuple[int, int]:
    """Free and total bytes of a GPU, whoever uses them.

    Raises:
        DeviceError: there is no GPU.
    """
    free, total = cupy_access.require().cuda.Device(number_of(device)).mem_info
    return int(free), int(total)


def memory_summary(device: Device | str | int | None = None, abbreviated: bool = False) -> str:
    """What is allocated and reserved, as a line of text."""
    now, kept = memory_allocated(device), memory_reserved(device)
    return f"allocated {now:,} bytes (at most {max_memory_allocated(device):,}), reserved {kept:,} bytes"


def out_of_memory_error() -> type[BaseException]:
    """What is raised when a GPU has no memory left: CuPy's error; MemoryError where there is no CuPy."""
    if not is_available():
        return MemoryError
    error: type[BaseException] = cupy_access.module().cuda.memory.OutOfMemoryError
    return error


def _ask(what: str, device: Device | str | int | None) -> int:
    cupy = cupy_access.require()
    with cupy.cuda.Device(number_of(device)):
        return int(getattr(cupy.get_default_memory_pool(), what)())

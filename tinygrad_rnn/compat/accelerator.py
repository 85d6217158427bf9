"""The accelerator of this machine, of any kind: here a CUDA GPU that CuPy can use, or none.

>>> import tinygrad_rnn as tg
>>> device = tg.accelerator.current_accelerator() if tg.accelerator.is_available() else tg.device("cpu")
"""

from __future__ import annotations

from ..backend import Device
from ..cuda import current_device as current_device_index
from ..cuda import (
    current_stream,
    device_count,
    empty_cache,
    is_available,
    max_memory_allocated,
    max_memory_reserved,
    memory_allocated,
    memory_reserved,
    reset_peak_memory_stats,
    set_stream,
    synchronize,
)
from ..cuda import device as device_index
from ..cuda import set_device as set_device_index

__all__ = ["current_accelerator", "current_device_index", "current_stream", "device_count", "device_index"]
__all__ += ["empty_cache", "is_available", "max_memory_allocated", "max_memory_reserved", "memory_allocated"]
__all__ += ["memory_reserved", "reset_peak_memory_stats", "set_device_index", "set_stream", "synchronize"]


def current_accelerator(check_available: bool = False) -> Device | None:
    """The device ``cuda``; None where there is none."""
    # A build of PyTorch may have an accelerator that this machine lacks; here what cannot be used does not exist, so
    # that the argument changes nothing.
    return Device("cuda") if is_available() else None

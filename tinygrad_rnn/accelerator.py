"""The accelerator of this machine, whatever its kind: here a CUDA GPU that CuPy can use, or none.

>>> import tinygrad_rnn as tg
>>> device = tg.accelerator.current_accelerator() if tg.accelerator.is_available() else tg.device("cpu")
"""

from __future__ import annotations

from .backend import Device
from .cuda import device_count, is_available, synchronize

__all__ = ["current_accelerator", "device_count", "is_available", "synchronize"]


def current_accelerator(check_available: bool = False) -> Device | None:
    """The device ``cuda``; None where there is none."""
    return Device("cuda") if is_available() else None

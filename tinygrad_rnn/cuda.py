"""The GPU as PyTorch's scripts ask for it: is there one, how many, wait for it, seed it, what does it hold.

>>> import tinygrad_rnn as tg
>>> device = tg.device("cuda" if tg.cuda.is_available() else "cpu")

All answers come from CuPy; without it, or without a device that answers, there is no GPU, and
``tinygrad_rnn.backend.cuda.unavailable_reason()`` says why.
"""

from __future__ import annotations

import operator
from typing import Any

from .backend import Device, cuda

__all__ = ["current_device", "device_count", "empty_cache", "get_device_name", "is_available", "manual_seed"]
__all__ += ["manual_seed_all", "memory_allocated", "memory_reserved", "synchronize"]


def is_available() -> bool:
    """Whether arrays can live and be computed on a GPU here.

    >>> isinstance(is_available(), bool)
    True
    """
    return cuda.unavailable_reason() is None


def device_count() -> int:
    """The number of GPUs that can be used; 0 without CuPy."""
    return int(cuda.module().cuda.runtime.getDeviceCount()) if is_available() else 0


def current_device() -> int:
    """The number of the GPU on which new arrays are made.

    Raises:
        DeviceError: there is no GPU.
    """
    return int(cuda.require().cuda.Device().id)


def get_device_name(device: Device | str | int | None = None) -> str:
    """The name its maker gave it.

    Raises:
        DeviceError: there is no GPU.
    """
    properties = cuda.require().cuda.runtime.getDeviceProperties(_index(device))
    return str(properties["name"].decode())


def synchronize(device: Device | str | int | None = None) -> None:
    """Wait until the GPU has done all that it was asked to do.

    Raises:
        DeviceError: there is no GPU.
    """
    cuda.require().cuda.Device(_index(device)).synchronize()


def manual_seed(seed: int) -> None:
    """Nothing to seed: numbers for the GPU are drawn on the host, from the stream that ``tg.manual_seed`` seeds.

    Scripts call it beside ``manual_seed``, with a GPU or without, and it must not start the host's stream anew.
    """
    operator.index(seed)


manual_seed_all = manual_seed


def memory_allocated(device: Device | str | int | None = None) -> int:
    """Bytes of the GPU's memory that arrays hold now; 0 without a GPU."""
    return int(_pool(device).used_bytes()) if is_available() else 0


def memory_reserved(device: Device | str | int | None = None) -> int:
    """Bytes that were taken from the GPU: those of arrays, and those kept for the next ones; 0 without a GPU."""
    return int(_pool(device).total_bytes()) if is_available() else 0


def empty_cache() -> None:
    """Give back the memory that no array holds."""
    if is_available():
        cuda.module().get_default_memory_pool().free_all_blocks()


def _pool(device: Device | str | int | None) -> Any:
    cupy = cuda.require()
    with cupy.cuda.Device(_index(device)):
        return cupy.get_default_memory_pool()


def _index(device: Device | str | int | None) -> int:
    index = None if device is None else Device(device).index
    return current_device() if index is None else index

"""Arrays, devices and random streams: the only package that imports CuPy."""

from . import cuda
from .arrays import array_module, is_array, is_pinned, on_gpu, pinned, raw_array, to_numpy
from .device import CPU, Device, array_device, get_default_device, set_default_device, to_device, wanted
from .memory import aligned_empty

__all__ = [
    "CPU",
    "Device",
    "aligned_empty",
    "array_device",
    "array_module",
    "cuda",
    "get_default_device",
    "is_array",
    "is_pinned",
    "on_gpu",
    "pinned",
    "raw_array",
    "set_default_device",
    "to_device",
    "to_numpy",
    "wanted",
]

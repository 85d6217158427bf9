"""Arrays, devices, dtypes and random streams: the only package that imports CuPy."""

from .arrays import array_module, has_own_operators, is_array, is_pinned, on_gpu, pinned, raw_array, shown, to_numpy
from .device import CPU, Device, array_device, chosen_device, get_default_device, set_default_device, to_device
from .dtypes import (
    DTYPES,
    NUMBERS,
    as_dtype,
    check_numbers,
    class_name,
    dtype,
    not_implemented,
    only,
    scalar_name,
    tensor_type,
)
from .memory import aligned_empty

__all__ = [
    "CPU",
    "DTYPES",
    "NUMBERS",
    "Device",
    "aligned_empty",
    "array_device",
    "array_module",
    "as_dtype",
    "check_numbers",
    "chosen_device",
    "class_name",
    "dtype",
    "get_default_device",
    "has_own_operators",
    "is_array",
    "is_pinned",
    "not_implemented",
    "on_gpu",
    "only",
    "pinned",
    "raw_array",
    "scalar_name",
    "set_default_device",
    "shown",
    "tensor_type",
    "to_device",
    "to_numpy",
]

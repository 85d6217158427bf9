"""DLPack: tensors handed to other libraries and taken from them, sharing memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import check_numbers
from ..backend.gpu import cupy_access
from ..errors import ArgumentTypeError, ExportError
from ..tape.tensor import Tensor, as_array, wrap

__all__ = ["from_dlpack"]

HOST, GPU = 1, 2
"""Device types of the protocol."""


def dlpack(self: Tensor, **options: Any) -> Any:
    """A capsule over the memory of this tensor.

    Raises:
        ExportError: the tensor requires grad: writes to the memory would not be recorded.  Or it runs backwards
            through its memory, at which other libraries stop, PyTorch with the whole process.
    """
    if self.requires_grad:
        raise ExportError("Can't export tensors that require gradient, use tensor.detach()")
    if any(step < 0 for step in self._data.strides):
        raise ExportError("Can't export tensors with negative strides: use tensor.contiguous()")
    try:
        return self._data.__dlpack__(**options)
    except TypeError:  # NumPy before 2.1 knows no versions of the protocol
        return self._data.__dlpack__(stream=options.get("stream"))


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """The device type (1 the host, 2 a GPU) and its number."""
    kind, number = self._data.__dlpack_device__()
    return int(kind), int(number)


class _Capsule:
    """A bare capsule as an object of the protocol; such capsules come from the host."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return HOST, 0


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor over the memory of another library's array, on the host or a GPU.

    Raises:
        ArgumentTypeError: the object does not speak the protocol, or has no numbers.

    >>> import numpy as np
    >>> array = np.zeros(2)
    >>> t = from_dlpack(array)
    >>> array[0] = 5.0
    >>> t
    tensor([5., 0.], dtype=torch.float64)
    """
    if isinstance(ext_tensor, np.ndarray):
        check_numbers(ext_tensor.dtype)
        return wrap(ext_tensor)  # the protocol of NumPy before 2.1 would make it read-only
    if type(ext_tensor).__name__ == "PyCapsule":  # a type without a name before Python 3.13
        ext_tensor = _Capsule(ext_tensor)
    if not hasattr(ext_tensor, "__dlpack__") or not hasattr(ext_tensor, "__dlpack_device__"):
        raise ArgumentTypeError(
            f"from_dlpack(): expected an object with __dlpack__ and __dlpack_device__, got {type(ext_tensor).__name__}"
        )
    kind = int(ext_tensor.__dlpack_device__()[0])
    module: Any = np if kind == HOST else cupy_access.require()  # CuPy refuses memory of the host
    return wrap(as_array(module.from_dlpack(ext_tensor)))

"""Arrays whose element type the safetensors format lacks: stored as arrays of a type that it has.

    complex128                     float64, one more axis of 2: real and imaginary part
    datetime64, timedelta64        int64: the count of its units
    strings of n characters        uint32, one more axis of n: their code points, zeros at the end
    byte strings of n bytes        uint8, one more axis of n

The metadata lists them by name (``views``); other readers of the format find the numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import to_numpy
from ..typing import Array

__all__ = ["restore", "store"]

LAST_CODE_POINT = 0x10FFFF


def store(array: Array) -> tuple[Array, str | None]:
    """The array as it can be stored, and what it was; ``None`` where nothing had to be done.

    >>> store(np.array(["ab", "c"]))
    (array([[97, 98],
           [99,  0]], dtype=uint32), 'U2')
    """
    kind = array.dtype.kind
    if kind not in "cmMUS" or array.dtype.name == "complex64":
        return array, None
    host: npt.NDArray[Any] = to_numpy(array)
    native = host.astype(host.dtype.newbyteorder("="), order="C", copy=False)
    if kind in "mM":
        return native.view(np.int64), native.dtype.name
    if kind == "c":
        # complex256 depends on the machine: the safetensors writer refuses it.
        if native.dtype.name != "complex128":
            return array, None
        return native.reshape(-1).view(np.float64).reshape(*native.shape, 2), "complex128"
    unit = np.dtype(np.uint32 if kind == "U" else np.uint8)
    if native.itemsize == 0:  # an array of empty strings may have no memory at all
        native = native.astype(f"{kind}1")
    length = native.itemsize // unit.itemsize
    flat = np.frombuffer(native.tobytes(), unit)
    return flat.reshape(*native.shape, length), f"{kind}{length}"


def restore(stored: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The array that was stored in this form.

    Raises:
        ValueError, TypeError: it cannot have been.

    >>> restore(*store(np.array(["ab", "c"])))
    array(['ab', 'c'], dtype='<U2')
    """
    dtype, extra = np.dtype(name), True
    base: np.dtype[Any] = np.dtype(np.int64)
    if dtype.kind in "mM":
        extra = False
    elif name == "complex128":
        base = np.dtype(np.float64)
    elif dtype.kind in "US" and dtype.itemsize:
        base = np.dtype(np.uint32 if dtype.kind == "U" else np.uint8)
    else:
        raise ValueError("no array is stored so")
    parts = dtype.itemsize // base.itemsize
    if stored.dtype != base or (extra and (not stored.ndim or stored.shape[-1] != parts)):
        raise ValueError("an array is not stored so")
    # NumPy looks at code points only when an entry is read; a damaged file has to fail here.
    if dtype.kind == "U" and stored.size and stored.max() > LAST_CODE_POINT:
        raise ValueError("no characters have these numbers")
    if not extra:
        return stored.view(dtype)
    restored = np.empty(stored.shape[:-1], dtype)
    restored.reshape(-1).view(base).reshape(stored.shape)[...] = stored
    return restored

"""Array modules (NumPy and CuPy): which one an array belongs to, and copies between host and GPU.

The module always comes from the arrays themselves; there is no global "current module".  Elementwise code needs none
of this: ``np.tanh(x)`` of a CuPy array runs on the GPU, by NumPy's own dispatch protocol.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np

from ..errors import ArgumentTypeError
from ..typing import Array, CudaArray
from .gpu import cupy_access

__all__ = ["array_module", "has_own_operators", "is_array", "is_pinned", "on_gpu", "pinned", "raw_array", "shown"]
__all__ += ["to_numpy"]


class _Shown:
    """The form in which this package returns an array to users: a tensor.

    The tape sets ``tensor`` to its ``wrap``, which this lower layer cannot import.
    """

    tensor: Callable[[Array], Any] = staticmethod(lambda array: array)


shown = _Shown()


def on_gpu(x: object) -> TypeGuard[CudaArray]:
    """Whether ``x`` is a CuPy array.  If CuPy has not been imported, ``x`` cannot be a CuPy array."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, cupy.ndarray)


def array_module(x: object) -> Any:
    """The module (numpy or cupy) of a raw array."""
    # The exact type first: it answers nearly every call, and spares the look-up of CuPy.
    if type(x) is np.ndarray:
        return np
    cupy = sys.modules.get("cupy")
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


def is_array(x: object) -> bool:
    """Whether ``x`` is a NumPy array, a NumPy scalar or a CuPy array."""
    return isinstance(x, (np.ndarray, np.generic)) or on_gpu(x)


def to_numpy(x: Array) -> Any:
    """A NumPy array of the same values: ``x`` itself on the host, a copy from the GPU."""
    return cupy_access.module().asnumpy(x) if on_gpu(x) else np.asarray(x)


def pinned(x: Any) -> Any:
    """A copy of a host array in page-locked memory, from which copies to a GPU need not wait for the host.

    Raises:
        DeviceError: there is no GPU.
    """
    cupy_access.require()
    import cupyx

    out = cupyx.empty_pinned(x.shape, x.dtype)
    out[...] = x
    return out


def is_pinned(x: Array) -> bool:
    """Whether a host array uses page-locked memory from :func:`pinned`."""
    owner: Any = x
    while isinstance(owner, np.ndarray):  # a view: its base owns the memory
        owner = owner.base
    # NumPy keeps a foreign buffer behind a memoryview.
    if isinstance(owner, memoryview):
        owner = owner.obj
    # Compared by name, because CuPy, which has the class, may not be installed.
    return type(owner).__name__ == "PinnedMemoryPointer"


def has_own_operators(x: np.ndarray) -> bool:
    """Whether ``x`` is a masked array, a matrix or another of which ``x * y`` is not the product of entries."""
    # np.memmap and other subclasses that inherit ndarray's operators compute as plain arrays do.
    return type(x) is not np.ndarray and type(x).__mul__ is not np.ndarray.__mul__


def raw_array(x: object, op: str) -> Any:
    """``x`` if an operation can compute with it: an array or a Python number.

    Raises:
        ArgumentTypeError: for anything else, such as a list, which NumPy would silently turn into an array, or an array
            that overrides operators, such as a masked one, whose mask would be lost.
    """
    # Of NumPy's scalars numbers and bool alone; np.str_ and np.datetime64 fall through to the error at the end.
    if isinstance(x, np.generic):
        if x.dtype.kind in "biufc":
            return x
    elif isinstance(x, np.ndarray):
        if not has_own_operators(x):
            return x
        # We would compute with the plain entries, and silently lose the mask.
        raise ArgumentTypeError(
            f"{op}(): argument must be Tensor, not {type(x).__name__}: that is more than an array, and its operators "
            "mean something else. Give np.asarray(x), or of a masked array x.filled(value)"
        )
    elif isinstance(x, (int, float, complex)) or on_gpu(x):
        return x
    kind = type(x).__name__ if type(x).__name__ != "Tensor" else f"{type(x).__module__}.Tensor"  # of another library
    raise ArgumentTypeError(f"{op}(): argument must be Tensor, not {kind}. Make one with tinygrad_rnn.tensor(...)")

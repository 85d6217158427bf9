"""What a failed forward function means in the user's terms: types, devices and shapes that do not fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ..backend import on_gpu
from ..errors import DeviceError, NumberTooLarge, OutOfMemory, ShapeRuntimeError, UnsupportedDtype

__all__ = ["bind", "fail", "is_of_dtypes"]

bind: Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any] | None = None
"""What binds a call that a primitive cannot take as it is; given by ``ops``, which knows the signatures."""


def fail(name: str, error: Exception, *arrays: Any, mismatch: Any = None) -> NoReturn:
    """Raise what a failed forward means in the user's terms, or its own error where that is not known."""
    raised = error
    try:
        # first: what NumPy or CuPy says of a mixture names neither device
        if len({on_gpu(x) for x in arrays if hasattr(x, "dtype") and hasattr(x, "shape")}) > 1:
            raised = DeviceError(
                "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                f"In {name}(): move one of them with .to(device)"
            )
        else:
            # the primitive's own sentence comes before that of broadcasting
            raised = (mismatch(*arrays) if mismatch is not None else None) or _misfit(name, error, arrays) or error
        if raised is error:
            raise error
        raise raised from error
    finally:
        del error, raised  # an error holds this frame: if the frame held it too, both would wait for the collector


def _misfit(name: str, error: Exception, arrays: Sequence[Any]) -> Exception | None:
    """The error for types that an operation cannot take, or for shapes that do not broadcast."""
    if isinstance(error, TypeError) and is_of_dtypes(error):  # another TypeError is of a wrong call, and says so
        return UnsupportedDtype(f"{name}() is not implemented for {', '.join(map(_kind, arrays))}: {error}")
    if isinstance(error, MemoryError):
        return OutOfMemory(f"{name}(): can't allocate memory: {error}. Give parts of the data, or a smaller dtype")
    if isinstance(error, OverflowError):
        types = " and ".join([str(x.dtype) for x in arrays if hasattr(x, "dtype")])
        return NumberTooLarge(f"Overflow when unpacking long long: {name}() got an integer that {types} cannot hold")
    if not isinstance(error, ValueError) or "broadcast" not in str(error):  # NumPy has no class for it
        return None
    for left, right in itertools.combinations([tuple(getattr(x, "shape", ())) for x in arrays], 2):
        # from the last, as shapes are aligned: PyTorch names the first misfit from there
        for axis in range(1, min(len(left), len(right)) + 1):
            if left[-axis] != right[-axis] and 1 not in (left[-axis], right[-axis]):
                return ShapeRuntimeError(
                    f"The size of tensor a ({left[-axis]}) must match the size of tensor b ({right[-axis]}) at "
                    f"non-singleton dimension {max(len(left), len(right)) - axis}. {name}(): shapes {list(left)} and "
                    f"{list(right)} do not broadcast"
                )
    return None


def is_of_dtypes(error: Exception) -> bool:
    """Whether NumPy complains about element types, and not Python about arguments."""
    text = str(error)
    return "ufunc" in text or "numpy boolean" in text or "dtype" in text or "Cannot interpret" in text


def _kind(x: Any) -> str:
    return str(x.dtype) if hasattr(x, "dtype") else type(x).__name__

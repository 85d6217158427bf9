"""Values on the host: a tensor as a NumPy array, as lists, as a number; bound to Tensor by ``methods.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import to_numpy
from ..errors import ArgumentError, ArgumentTypeError, GraphError, ShapeError, ShapeRuntimeError
from ..source_line import warn_user
from ..tape.modes import defaults, state
from ..tape.tensor import Tensor

__all__ = ["METHODS"]


def numpy(self: Tensor, *, force: bool = False) -> Any:
    """The values as a NumPy array, sharing memory on the host.

    Raises:
        GraphError: the tensor requires grad and operations are recorded: what is computed with the array would
            not be (``force=True`` detaches it and copies from a GPU).
        ArgumentTypeError: the tensor is on a GPU.
    """
    if not force:
        if self._node is not None and state.recording:  # under no_grad() nothing could be lost, so PyTorch allows it
            raise GraphError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.is_cuda:
            raise ArgumentTypeError(
                f"can't convert {self.device} device type tensor to numpy. "
                "Use Tensor.cpu() to copy the tensor to host memory first."
            )
    return to_numpy(self._data)


def tolist(self: Tensor) -> Any:
    """The values as nested Python lists; a plain number for a 0-d tensor."""
    return self._data.tolist()


def item(self: Tensor) -> Any:
    """The value of a tensor with one entry, as a Python number.

    Raises:
        ShapeRuntimeError: it has more entries or none.
    """
    if self._data.size != 1:  # of any shape: [[3.]] is one number
        raise ShapeRuntimeError(
            f"a Tensor with {self._data.size} elements cannot be converted to Scalar: its shape is {self.shape}"
        )
    return self._data.item()


def _float(self: Tensor) -> float:
    if self._node is not None and not defaults.warned_of_float:  # array[0] = t comes here too
        defaults.warned_of_float = True
        warn_user(
            "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\nConsider "
            "using tensor.detach() first: the number has no history, so no gradient passes through it",
        )
    return float(_one(self))


def _int(self: Tensor) -> int:
    return int(_one(self))


def _complex(self: Tensor) -> complex:
    return complex(_one(self))


def _one(self: Tensor) -> Any:
    """The one value that ``float(t)`` converts."""
    if self._data.size != 1:
        raise ShapeError(
            f"only one element tensors can be converted to Python scalars: the shape of this one is {self.shape}"
        )
    return self._data.item()


def _index(self: Tensor) -> int:
    # a float as an index is a mistake, also where it is whole
    if self._data.dtype.kind not in "iub" or self._data.size != 1:
        raise ArgumentTypeError("only integer tensors of a single element can be converted to an index")
    return int(self._data.item())


def _bool(self: Tensor) -> bool:
    if self._data.size != 1:
        raise ShapeRuntimeError(
            f"Boolean value of Tensor with {'no values' if not self._data.size else 'more than one value'} "
            f"is ambiguous: its shape is {self.shape}. Use any() or all()"
        )
    return bool(self._data.item())


def _len(self: Tensor) -> int:
    if self._data.ndim == 0:
        raise ArgumentTypeError("len() of a 0-d tensor")
    return len(self._data)


def _array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Any:
    """What ``np.asarray`` takes: as :meth:`numpy`, in another dtype or as a copy where that is asked for.

    Raises:
        GraphError: as :meth:`numpy`; so also of tensors inside a list that NumPy makes an array of.
        ArgumentError: ``copy=False``, but another dtype needs a copy.
    """
    if self._node is not None and state.recording:
        raise GraphError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead. NumPy asked for "
            "the values, and an array of them has no history: for np.array([x, y]) of tensors use tg.stack([x, y])"
        )
    values = numpy(self)  # which refuses a tensor on a GPU: the copy to the host is to be asked for
    if dtype is None or values.dtype == dtype:
        return values.copy() if copy else values
    if copy is False:  # NumPy 2 asks so for memory that is shared, which another dtype has not
        raise ArgumentError(
            f"Unable to avoid copy while creating an array as requested: the tensor is {values.dtype}, and "
            f"{np.dtype(dtype)} was asked for. Leave out copy=False"
        )
    return values.astype(dtype)


METHODS: dict[str, Any] = {
    "numpy": numpy,
    "tolist": tolist,
    "item": item,
    "__float__": _float,
    "__int__": _int,
    "__complex__": _complex,
    "__index__": _index,
    "__bool__": _bool,
    "__len__": _len,
    "__array__": _array,
}

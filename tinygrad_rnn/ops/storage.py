"""Which memory a tensor has: ``new``, of the same kind as another, ``resize_``, ``resize_as_`` and ``set_``.

They come from the time before ``new_zeros`` and ``view``, and the ``init_hidden`` of many a recurrent program begins
with ``weight.new(layers, batch, size).zero_()``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import is_array
from ..errors import ArgumentRuntimeError, ArgumentTypeError, InplaceError
from ..tape.inplace.writes import check_write
from ..tape.tensor import Tensor, wrap
from ..typing import Array, Size
from .creation import empty, new_tensor

__all__ = ["METHODS"]


def new(self: Tensor, *args: Any, size: Any = None, device: Any = None) -> Tensor:
    """A tensor of this dtype and device, in PyTorch's old way: what it is depends on what is given.

    Args:
        args: nothing, for a tensor without entries; sizes, or a Size, for one of that shape, whose values are those
            that the memory happens to have; a list or an array, for its values; a tensor, for one that shares its
            memory.
        size: the shape, by name.
        device: another one.

    Returns:
        The tensor.  It requires no gradient, unless it shares the memory of one that does.

    Raises:
        ArgumentTypeError: what is given is none of these, or a tensor of another dtype.
        ArgumentRuntimeError: a negative size.

    >>> import tinygrad_rnn as tg
    >>> weight = tg.nn.LSTM(2, 3).weight_hh_l0
    >>> weight.new(1, 2, 3).zero_()
    tensor([[[0., 0., 0.],
             [0., 0., 0.]]])
    >>> weight.new([1, 2]), weight.new().shape
    (tensor([1., 2.]), torch.Size([0]))
    """
    place = self.device if device is None else device
    if size is not None and not args:
        args = (Size(size) if isinstance(size, (list, tuple)) else size,)
    if len(args) == 1 and isinstance(args[0], Tensor):
        (other,) = args
        if other.dtype != self.dtype or other.device != self.device:
            wanted, got = (f"{t.dtype} on {t.device}" for t in (self, other))
            raise ArgumentTypeError(f"new(): expected a tensor of {wanted}, got one of {got}: use .to() or .type_as()")
        shared: Tensor = other.view(other.shape)
        return shared
    if len(args) == 1 and isinstance(args[0], str):
        raise ArgumentTypeError("new(): invalid data type 'str'")
    sizes: Sequence[Any] = args[0] if len(args) == 1 and isinstance(args[0], Size) else args or (0,)
    if all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in sizes):
        _check_sizes(sizes)
        made: Tensor = empty(tuple(sizes), dtype=self.dtype, device=place)
        return made
    if len(args) > 1:
        raise ArgumentTypeError(f"new(): expected sizes, or one sequence or tensor, got {len(args)} arguments")
    if not (isinstance(args[0], (list, tuple, range)) or (is_array(args[0]) and args[0].ndim)):
        raise ArgumentTypeError(f"new(): data must be a sequence (got {type(args[0]).__name__})")
    return new_tensor(self, list(args[0]) if isinstance(args[0], range) else args[0], device=place)


def resize_(self: Tensor, *size: Any, memory_format: Any = None) -> Tensor:
    """Another shape for this tensor: the entries are those that follow each other in its memory.

    Where the memory is too small, there is new memory: the old entries first, then zeros (in PyTorch, what is there).
    Views taken before keep the old shape, and the old memory.

    Args:
        size: the shape, as numbers or as one tuple.
        memory_format: accepted for PyTorch's signature.

    Raises:
        InplaceError: this tensor requires a gradient, which would have the old shape.
        ArgumentRuntimeError: a negative size.

    >>> import tinygrad_rnn as tg
    >>> tg.arange(6.0).resize_(2, 2)
    tensor([[0., 1.],
            [2., 3.]])
    """
    shape = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (list, tuple)) else size
    if self.requires_grad:
        raise InplaceError("cannot resize variables that require grad: view() or a slice gives another shape")
    _check_sizes(shape)
    if tuple(self.shape) == shape:
        return self
    check_write(self, "resize_", False)
    wanted = math.prod(shape)
    memory = _from_here(self._data)
    if memory.size < wanted:
        grown = np.zeros_like(memory, shape=(wanted,))  # of NumPy's or CuPy's, after the array
        grown[: memory.size] = memory
        self.data = wrap(grown.reshape(shape))
        return self
    resized = wrap(memory[:wanted].reshape(shape))
    if wanted and memory.base is not None:
        resized._versions = self._own_versions()
    self.data = resized
    return self


def resize_as_(self: Tensor, other: Tensor, memory_format: Any = None) -> Tensor:
    """``resize_`` to the shape of another tensor.

    >>> import tinygrad_rnn as tg
    >>> tg.ones(2).resize_as_(tg.zeros(2, 1)).shape
    torch.Size([2, 1])
    """
    return resize_(self, tuple(other.shape))


def set_(self: Tensor, source: Any = None, storage_offset: Any = None, size: Any = None, stride: Any = None) -> Tensor:
    """Take the memory of another tensor: from now on a write to one is a write to both.

    Args:
        source: a tensor of the same dtype; nothing, for a tensor without entries.
        storage_offset, size, stride: of PyTorch's signature; index the source instead.

    Raises:
        InplaceError: this is a leaf that requires grad, and recording is on.
        ArgumentRuntimeError: the source has another dtype or is on another device.

    >>> import tinygrad_rnn as tg
    >>> x, y = tg.zeros(2, 2), tg.ones(3)
    >>> y[0] = x.set_(y).sum()
    >>> x
    tensor([3., 1., 1.])
    """
    if storage_offset is not None or size is not None or stride is not None:
        raise ArgumentTypeError("set_(): a part of a memory cannot be set here: give a slice or view, x.set_(y[1:])")
    other = empty(0, dtype=self.dtype, device=self.device) if source is None else source
    if other.dtype != self.dtype:
        raise ArgumentRuntimeError(f"Could not set tensor of type {other.dtype} to a tensor of type {self.dtype}")
    if other.device != self.device:
        raise ArgumentRuntimeError(f"Could not set tensor on {other.device} to a tensor on {self.device}")
    check_write(self, "set_", other.requires_grad)
    self.data = other
    return self


def _check_sizes(sizes: Sequence[Any]) -> None:
    for n in sizes:
        if n < 0:
            raise ArgumentRuntimeError(f"Trying to create tensor with negative dimension {n}: {list(map(int, sizes))}")


def _from_here(a: Array) -> Array:
    """The entries in memory from the first one of an array on, as one axis: a view, or a copy where there is none."""
    base = a
    while isinstance(base.base, type(a)):
        base = base.base
    flat = base.T if not base.flags.c_contiguous else base
    if base.dtype != a.dtype or not flat.flags.c_contiguous:
        return a.reshape(-1)
    first = a.__array_interface__["data"][0] if isinstance(a, np.ndarray) else a.data.ptr
    start = base.__array_interface__["data"][0] if isinstance(base, np.ndarray) else base.data.ptr
    memory: Array = flat.reshape(-1)[(first - start) // a.itemsize :]
    return memory


METHODS = {"new": new, "resize_": resize_, "resize_as_": resize_as_, "set_": set_}

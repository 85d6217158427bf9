"""Conversion between dtypes, devices and memory layouts, and queries about them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import (
    NUMBERS,
    Device,
    array_module,
    as_dtype,
    dtype,
    is_pinned,
    on_gpu,
    pinned,
    scalar_name,
    tensor_type,
    to_device,
)
from ..errors import ArgumentError, ArgumentRuntimeError, ArgumentTypeError, GraphError, ShapeRuntimeError
from ..tape.apply import Applied, primitive
from ..tape.formula import Formula
from ..tape.modes import defaults
from ..tape.tensor import Tensor, wrap
from .dtypes import cast
from .elementwise import clone
from .shape import axis_of, reshape, sizes_of

__all__ = ["is_complex", "is_floating_point", "is_inference", "is_nonzero", "is_tensor", "numel"]

_move: Applied = primitive(
    "move",
    lambda a, device, source: to_device(a, device),
    lambda g, y, a, device, source: _move(g, device=source, source=device),
    formula=Formula("a", a=r"\bar{y}"),
)


def to(self: Tensor, *args: Any, device: Any = None, dtype: Any = None, copy: bool = False, **_: Any) -> Tensor:
    """This tensor in another dtype, on another device, or both (``to("cuda")``, ``to(float64)``, ``to(other)``).

    Itself if it is so already, unless ``copy`` is set.
    """
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, (Device, int)) and not isinstance(arg, bool):  # a bool is an int, too: an option
            device = arg
        elif isinstance(arg, str) and not _names_dtype(arg):
            device = arg
        elif arg is not None and not isinstance(arg, bool):
            dtype = arg
    options = [arg for arg in args if isinstance(arg, bool)]  # non_blocking, copy
    copy = copy or options[1:] == [True]
    out = self
    if device is not None and not _there(self.device, Device(device)):  # a move is recorded: the gradient moves back
        out = _move(out, device=str(Device(device)), source=str(out.device))
    if dtype is not None and as_dtype(dtype, "to") != out._data.dtype:
        out = cast(out, dtype=as_dtype(dtype, "to"))
    return clone(out) if copy and out is self else out  # converted or moved, it is a copy already


def _there(here: Device, target: Device) -> bool:
    return here.type == target.type and target.index in (None, here.index)  # "cuda" without a number is any of them


def _names_dtype(name: str) -> bool:
    try:
        np.dtype(name)
    except TypeError:
        return False
    return True


def _to_dtype(dtype: Any) -> Callable[[Tensor], Tensor]:
    def convert(self: Tensor) -> Tensor:
        return to(self, dtype=dtype)

    convert.__doc__ = f"This tensor in {dtype.__name__.rstrip('_')}; itself if it is that already."
    return convert


def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """This tensor in another dtype; without one the name of PyTorch's tensor type, ``"torch.FloatTensor"``.

    Args:
        dtype: a dtype, the name of a tensor type, or the class of one: ``FloatTensor``; ``Tensor`` stands for the
            default float type.

    Raises:
        ArgumentError: another class or name. ArgumentTypeError: none of these.
    """
    if dtype is None:
        return tensor_type(self.dtype, self.is_cuda)
    chosen, device = _named_type(dtype)
    return to(self, dtype=chosen, device=device)


def _named_type(given: Any) -> tuple[Any, str | None]:
    """The dtype that a user named, and the place if the name has one: ``"torch.cuda.FloatTensor"``."""
    if isinstance(given, str) and given.endswith("Tensor"):
        words = {"": defaults.dtype} | {scalar_name(known): known for known in NUMBERS}
        for place, prefix in (("cuda", "torch.cuda."), ("cpu", "torch.")):
            word = given.removeprefix(prefix).removesuffix("Tensor")
            if given.startswith(prefix) and word in words:
                return words[word], place
    elif isinstance(given, type) and not issubclass(given, np.generic):
        if issubclass(given, Tensor):
            return defaults.dtype, None
        legacy = getattr(given, "dtype", None)  # of a class such as torch.FloatTensor
        if isinstance(legacy, dtype):
            return legacy, "cpu"
    elif given is None or isinstance(given, (str, type, dtype, np.dtype)):
        return as_dtype(given, "type"), None
    else:
        raise ArgumentTypeError(f"dtype must be a type, str, or dtype object: type() got {given!r}")
    name = given if isinstance(given, str) else given.__name__
    raise ArgumentError(f"invalid type: '{name}'. Types are tinygrad_rnn.float32, \"torch.FloatTensor\" ...")


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """This tensor on a GPU, the current one by default.  The copy never waits: ``non_blocking`` has no effect."""
    return to(self, device="cuda" if device is None else device)


def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """This tensor in the host's memory."""
    return to(self, device="cpu")


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in page-locked memory, which a GPU reads without the host; the tensor itself if it is there already.

    Raises:
        ArgumentRuntimeError: the tensor is on a GPU. DeviceError: there is no GPU.
    """
    if self.is_cuda:
        raise ArgumentRuntimeError(f"cannot pin '{type_(self)}' only dense CPU tensors can be pinned")
    if is_pinned(self._data):
        return self
    copied: Tensor = clone(self)
    copied._data = pinned(copied._data)
    return copied


# memory ------------------------------------------------------------------------------------------------------------


def contiguous(self: Tensor) -> Tensor:
    """This tensor if it is contiguous in row-major order, else a copy that is."""
    if self._data.flags.c_contiguous:
        return self
    out: Tensor = _in_row_order(self)
    return out


_in_row_order = primitive(
    "contiguous",
    lambda a: a.copy(order="C"),  # never the same memory, which would make it a view
    lambda g, y, a: g,
    formula=Formula("a", a=r"\bar{y}"),
)


def view(self: Tensor, *shape: Any) -> Tensor:
    """The same memory in another shape (one size may be -1), or its bytes as another dtype.

    Raises:
        ShapeRuntimeError: the number of entries differs, or the strides do not allow it without a copy.
    """
    if len(shape) == 1 and not isinstance(shape[0], (int, tuple, list)):
        return _bytes_as(self, as_dtype(shape[0]))
    out: Tensor = reshape(self, *shape)
    # reshape() copies where strides allow no view, and view() may not
    if self._data.size and not array_module(self._data).may_share_memory(self._data, out._data):
        raise ShapeRuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            f"contiguous subspaces). Use .reshape(...) instead. view({', '.join(map(str, sizes_of(shape)))}) of a "
            f"tensor of shape {list(self.shape)} with strides {stride(self)}"
        )
    return out


def _bytes_as(self: Tensor, dtype: Any) -> Tensor:
    out = wrap(self._data.view(dtype))  # unrecorded: no gradient passes through bits
    out._versions = self._own_versions()  # one memory: a write to either shows in both
    return out


def stride(self: Tensor, dim: int | None = None) -> Any:
    """The distance in memory between neighbours along each axis, or along one, counted in entries."""
    steps = tuple(step // self._data.itemsize for step in self._data.strides)  # NumPy counts bytes
    return steps if dim is None else steps[dim]


def data_ptr(self: Tensor) -> int:
    """The address of the first entry."""
    data = self._data
    pointer: Any = data.data.ptr if on_gpu(data) else data.ctypes.data
    return int(pointer)


def storage_offset(self: Tensor) -> int:
    """The offset of the first entry in the memory that this is a view of, counted in entries."""
    base = self._base
    return 0 if base is None else (data_ptr(self) - data_ptr(base)) // self.itemsize


def deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """A leaf like this one with a copy of the values and of the gradient.

    Raises:
        GraphError: this tensor was computed: its history cannot be copied.
    """
    if not self.is_leaf:
        raise GraphError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment. "
            f"This one comes from {self.grad_fn}: copy x.detach() instead"
        )
    if id(self) not in memo:  # a tensor met twice is copied once: tied weights stay tied
        memo[id(self)] = twin = wrap(self._data.copy()).requires_grad_(self.requires_grad)
        if self.grad is not None:
            twin.grad = copy.deepcopy(self.grad, memo)
    found: Tensor = memo[id(self)]
    return found


def reduce_ex(self: Tensor, protocol: Any) -> Any:
    """What pickle keeps of a tensor: its values, whether it requires grad, its class.  History and gradient stay."""
    return restored, (type(self), self._data, self.requires_grad)


def restored(kind: type[Tensor], values: Any, requires_grad: bool) -> Tensor:
    """The leaf that was pickled."""
    out = kind.__new__(kind)  # not kind(...): the constructor of a Parameter takes other arguments
    out._data, out._node, out._versions = values, None, None
    return out.requires_grad_() if requires_grad else out


def shallow(self: Tensor) -> Tensor:
    """A leaf over the same memory: a write to either is seen in both."""
    out = restored(type(self), self._data, self.requires_grad)
    out._versions = self._own_versions()  # one memory, so that a write to one is seen where the other was saved
    return out


# questions ---------------------------------------------------------------------------------------------------------


def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a Tensor.

    >>> import tinygrad_rnn as tg
    >>> tg.is_tensor(tg.ones(1)), tg.is_tensor([1.0])
    (True, False)
    """
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the entries are real floating-point numbers."""
    return input.dtype.kind == "f"


def is_inference(input: Tensor) -> bool:
    """Whether it is one of PyTorch's inference tensors: never, what is made under ``inference_mode`` is ordinary."""
    return False


def is_complex(input: Tensor) -> bool:
    """Whether the entries are complex numbers."""
    return input.dtype.kind == "c"


def is_nonzero(input: Tensor) -> bool:
    """Whether the one entry is not 0.

    >>> import tinygrad_rnn as tg
    >>> tg.is_nonzero(tg.tensor([0.5]))
    True
    """
    return bool(input)


def numel(input: Tensor) -> int:
    """The number of entries."""
    count: int = input._data.size
    return count


def size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or the length of one axis."""
    if dim is None:
        return self.shape
    shape = self._data.shape
    return shape[axis_of(dim, len(shape))]


def get_device(self: Tensor) -> int:
    """The number of the GPU, -1 on the host."""
    index = self.device.index
    return -1 if index is None else index


METHODS: dict[str, Any] = {
    "to": to,
    "type": type_,
    "type_as": lambda self, other: to(self, other),
    "double": _to_dtype(np.float64),
    "float": _to_dtype(np.float32),
    "half": _to_dtype(np.float16),
    "long": _to_dtype(np.int64),
    "int": _to_dtype(np.int32),
    "short": _to_dtype(np.int16),
    "char": _to_dtype(np.int8),
    "byte": _to_dtype(np.uint8),
    "bool": _to_dtype(np.bool_),
    "cfloat": _to_dtype(np.complex64),
    "cdouble": _to_dtype(np.complex128),
    "cpu": cpu,
    "cuda": cuda,
    "pin_memory": pin_memory,
    "is_pinned": lambda self, device=None: is_pinned(self._data),
    "is_cuda": property(lambda self: self.device.type == "cuda"),
    "nbytes": property(lambda self: self._data.nbytes),
    "itemsize": property(lambda self: self._data.itemsize),
    "contiguous": contiguous,
    "view": view,
    "view_as": lambda self, other: view(self, tuple(other.shape)),
    "reshape_as": lambda self, other: reshape(self, tuple(other.shape)),
    "stride": stride,
    "data_ptr": data_ptr,
    "storage_offset": storage_offset,
    "element_size": lambda self: self.itemsize,
    "is_contiguous": lambda self: bool(self._data.flags.c_contiguous),
    "is_same_size": lambda self, other: self.shape == other.shape,
    "is_signed": lambda self: self.dtype.kind in "ifc",
    "is_floating_point": is_floating_point,
    "is_complex": is_complex,
    "is_inference": is_inference,
    "is_nonzero": is_nonzero,
    "size": size,
    "dim": lambda self: self.ndim,
    "ndimension": lambda self: self.ndim,
    "numel": numel,
    "nelement": numel,
    "get_device": get_device,
    "__deepcopy__": deepcopy,
    "__copy__": shallow,
    "__reduce_ex__": reduce_ex,
}

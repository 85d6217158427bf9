"""The one place where operations are bound to Tensor.

``Tensor`` cannot import operations, which are written in terms of it; so its operators and methods are given to
it here, when ``tinygrad_rnn.ops`` is imported.  The table is all there is: a name on the left, a function on the
right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Device, to_device
from ..tape import hooks
from ..tape.backward import tensor_backward
from ..tape.format import format_tensor, tensor_repr
from ..tape.primitive import primitive
from ..tape.tensor import Tensor
from ..typing import Value
from . import comparison, dtypes, elementwise, index, inplace, linalg, reduce, shape, softmaxes

__all__ = ["bind"]


def _reflected(f: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    return lambda self, other: f(other, self)


def _or_not_implemented(f: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    def compare(self: Value, other: Value) -> Value:
        if other is None or isinstance(other, (str, dict, set)):
            return NotImplemented
        return f(self, other)

    return compare


_move = primitive(
    "move",
    lambda a, device: to_device(a, device),
    (lambda g, y, a, device: _move(g, device="cuda" if device == "cpu" else "cpu"),),
    ("",),
)


def to(self: Tensor, *args: Any, device: Any = None, dtype: Any = None, copy: bool = False, **_: Any) -> Tensor:
    """This tensor in another dtype, on another device, or both (``to("cuda")``, ``to(float64)``, ``to(other)``)."""
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, (Device, int)) or (isinstance(arg, str) and arg.split(":")[0] in ("cpu", "cuda")):
            device = arg
        elif arg is not None and not isinstance(arg, bool):
            dtype = arg
    out = self
    if device is not None and Device(device).type != self.device.type:
        out = _move(out, device=str(Device(device)))
    if dtype is not None and dtypes.as_dtype(dtype) != out._data.dtype:
        out = dtypes.cast(out, dtype=dtypes.as_dtype(dtype))
    return elementwise.clone(out) if copy and out is self else out


def _to_dtype(dtype: Any) -> Callable[[Tensor], Tensor]:
    return lambda self: to(self, dtype=np.dtype(dtype))


def size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or the length of one axis."""
    return self.shape if dim is None else self.shape[shape.axis_of(dim, self.ndim)]


def iterate(self: Tensor) -> Any:
    """The slices along the first axis."""
    return (self[k] for k in range(len(self)))


METHODS: dict[str, Any] = {
    # operators
    "__add__": elementwise.add,
    "__radd__": _reflected(elementwise.add),
    "__sub__": elementwise.sub,
    "__rsub__": _reflected(elementwise.sub),
    "__mul__": elementwise.mul,
    "__rmul__": _reflected(elementwise.mul),
    "__truediv__": elementwise.div,
    "__rtruediv__": _reflected(elementwise.div),
    "__pow__": elementwise.pow,
    "__rpow__": _reflected(elementwise.pow),
    "__matmul__": linalg.matmul,
    "__rmatmul__": _reflected(linalg.matmul),
    "__neg__": elementwise.neg,
    "__abs__": elementwise.abs,
    "__invert__": comparison.logical_not,
    "__eq__": _or_not_implemented(comparison.eq),
    "__ne__": _or_not_implemented(comparison.ne),
    "__lt__": comparison.lt,
    "__le__": comparison.le,
    "__gt__": comparison.gt,
    "__ge__": comparison.ge,
    "__getitem__": index.getitem,
    "__iter__": iterate,
    # element-wise
    **{name: getattr(elementwise, name) for name in elementwise.__all__},
    **{name: getattr(comparison, name) for name in comparison.__all__ if name != "compare"},
    # shape
    "broadcast_to": shape.expand,
    **{name: getattr(shape, name) for name in shape.__all__ if name not in ("cat", "stack", "sum_to", "broadcast_to")},
    "view": shape.reshape,
    "size": size,
    "T": property(lambda self: shape.permute(self, tuple(range(self.ndim))[::-1])),
    "mT": property(lambda self: shape.swapaxes(self, -1, -2)),
    "t": lambda self: shape.swapaxes(self, 0, 1) if self.ndim > 1 else self,
    "dim": lambda self: self.ndim,
    "numel": lambda self: self._data.size,
    # reductions, products, indexing
    **{name: getattr(reduce, name) for name in reduce.__all__},
    **{name: getattr(softmaxes, name) for name in softmaxes.__all__},
    "matmul": linalg.matmul,
    "gather": index.gather,
    "index_select": index.index_select,
    "scatter_add": index.scatter_add,
    # types and devices
    "to": to,
    "float": _to_dtype(np.float32),
    "double": _to_dtype(np.float64),
    "half": _to_dtype(np.float16),
    "long": _to_dtype(np.int64),
    "int": _to_dtype(np.int32),
    "bool": _to_dtype(np.bool_),
    "cpu": lambda self: to(self, device="cpu"),
    "cuda": lambda self, device=None: to(self, device="cuda" if device is None else device),
    # as text
    "__repr__": tensor_repr,
    "__format__": format_tensor,
    # the graph
    "backward": tensor_backward,
    **hooks.METHODS,
}


METHODS.update(inplace.methods(METHODS))


def bind() -> None:
    """Give Tensor its operators and methods."""
    for name, function in METHODS.items():
        setattr(Tensor, name, function)


bind()

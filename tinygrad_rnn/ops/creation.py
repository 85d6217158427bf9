"""Tensors from values: ``tensor``, ``zeros``, ``arange`` and the like."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Device, array_module, cuda, is_array, to_device
from ..errors import ArgumentTypeError
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .dtypes import as_dtype, get_default_dtype
from .shape import sizes_of

__all__ = ["arange", "as_tensor", "empty", "empty_like", "eye", "from_numpy", "full", "full_like", "linspace"]
__all__ += ["ones", "ones_like", "tensor", "zeros", "zeros_like"]


def module_of(device: Any) -> Any:
    """The array module in which to make something on ``device``."""
    return np if device is None or Device(device).type == "cpu" else cuda.require()


def finish(data: Array, requires_grad: bool) -> Tensor:
    """A new tensor over ``data``, as a leaf if gradients are wanted."""
    out = wrap(data)
    return out.requires_grad_() if requires_grad else out


def _values(data: Any, dtype: Any) -> Array:
    """An array of the values, in the default float where they are Python floats."""
    if isinstance(data, Tensor):
        data = data._data
    elif isinstance(data, (list, tuple)):
        data = _plain(data)
    if is_array(data):
        return data if dtype is None else data.astype(as_dtype(dtype))
    try:
        values = np.array(data)
    except ValueError as error:
        raise ArgumentTypeError(f"tensor(): the rows of a nested list must have equal lengths ({error})") from error
    if values.dtype.kind not in "biufc":
        raise ArgumentTypeError(f"tensor(): values of type {type(data).__name__} cannot become a tensor")
    if dtype is not None:
        return values.astype(as_dtype(dtype))
    if isinstance(data, (list, tuple)) and _holds_arrays(data):
        return values
    if values.dtype.kind == "f":
        return values.astype(get_default_dtype())
    return values.astype(np.complex64) if values.dtype.kind == "c" else values


def _plain(data: Any) -> Any:
    """Nested lists with tensors inside them replaced by their arrays."""
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    return data._data if isinstance(data, Tensor) else data


def _holds_arrays(data: Any) -> bool:
    while isinstance(data, (list, tuple)):
        if not data:
            return False
        data = data[0]
    return is_array(data)


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of the values.

    Args:
        data: numbers, nested lists of them, an array or a tensor.
        dtype: by default float32 for Python floats, int64 for ints, bool for bools, else that of the array.

    >>> import tinygrad_rnn as tg
    >>> tg.tensor([1, 2.5])
    tensor([1.0000, 2.5000])
    """
    values = _values(data, dtype)
    values = values.copy() if is_array(values) and not isinstance(values, np.generic) else np.array(values)
    return finish(values if device is None else to_device(values, device), requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, sharing memory where it is an array; a tensor of the right type is returned as it is."""
    if isinstance(data, Tensor) and dtype is None and device is None:
        return data
    if isinstance(data, Tensor):
        moved: Tensor = data.to(dtype=dtype, device=device)
        return moved
    values = np.asarray(_values(data, dtype)) if not is_array(data) else _values(data, dtype)
    return wrap(values if device is None else to_device(values, device))


def from_numpy(array: Any) -> Tensor:
    """A tensor over a NumPy array, sharing its memory."""
    if not isinstance(array, np.ndarray):
        raise ArgumentTypeError(f"expected np.ndarray (got {type(array).__name__})")
    return wrap(array)


def _filled(name: str, doc: str) -> Any:
    def make(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        chosen = get_default_dtype() if dtype is None else as_dtype(dtype)
        return finish(getattr(module_of(device), name)(sizes_of(size), dtype=chosen), requires_grad)

    def make_like(like: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        chosen = like.dtype if dtype is None else as_dtype(dtype)
        xp = array_module(like._data) if device is None else module_of(device)
        return finish(getattr(xp, name)(like._data.shape, dtype=chosen), requires_grad)

    make.__name__ = make.__qualname__ = name
    make_like.__name__ = make_like.__qualname__ = f"{name}_like"
    make.__doc__ = f"A tensor of the given size {doc}."
    make_like.__doc__ = f"A tensor of the size and dtype of ``like`` {doc}."
    return make, make_like


zeros, zeros_like = _filled("zeros", "full of zeros")
ones, ones_like = _filled("ones", "full of ones")
empty, empty_like = _filled("empty", "with unset values")


def full(size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the given size full of one value; its dtype follows the value."""
    values = module_of(device).full(sizes_of((size,)), fill_value, dtype=_values(fill_value, dtype).dtype)
    return finish(values, requires_grad)


def full_like(like: Tensor, fill_value: Any, dtype: Any = None) -> Tensor:
    """A tensor of the size and dtype of ``like`` full of one value."""
    chosen = like.dtype if dtype is None else as_dtype(dtype)
    return wrap(array_module(like._data).full(like._data.shape, fill_value, dtype=chosen))


def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Evenly spaced values from ``start`` up to but without ``end``; int64 unless a number is a float."""
    if end is None:
        start, end = 0, start
    floats = any(isinstance(v, float) or (hasattr(v, "dtype") and v.dtype.kind == "f") for v in (start, end, step))
    chosen = as_dtype(dtype) if dtype is not None else get_default_dtype() if floats else np.dtype(np.int64)
    xp = module_of(device)
    return wrap(xp.arange(*[float(v) if floats else int(v) for v in (start, end, step)]).astype(chosen))


def linspace(start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """``steps`` evenly spaced values from ``start`` to ``end``, both included."""
    chosen = get_default_dtype() if dtype is None else as_dtype(dtype)
    return wrap(module_of(device).linspace(start, end, steps).astype(chosen))


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The matrix with ones on the diagonal and zeros elsewhere."""
    return wrap(module_of(device).eye(n, m, dtype=get_default_dtype() if dtype is None else as_dtype(dtype)))

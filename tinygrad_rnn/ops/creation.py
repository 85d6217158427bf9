"""Tensors from values: ``tensor``, ``zeros``, ``arange`` and the like."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backend import Device, array_module, as_dtype, check_numbers, chosen_device, is_array, not_implemented, to_device
from ..backend.gpu import cupy_access
from ..backend.quiet import converted, unreported
from ..errors import ArgumentError, ArgumentTypeError, DeviceError, ShapeRuntimeError
from ..tape.modes import defaults, quietly
from ..tape.tensor import Tensor, as_array, wrap
from ..typing import Array, DType, Size, Value
from .dtypes import common_type, fitting, number_type
from .shape import sizes_of

__all__ = ["arange", "as_tensor", "asarray", "empty", "empty_like", "eye", "from_numpy", "full", "full_like"]
__all__ += ["linspace", "logspace", "ones", "ones_like", "tensor", "zeros", "zeros_like"]


def module_of(device: Any) -> Any:
    """The array module in which to make something on ``device``."""
    device = chosen_device(device)
    if device is None or Device(device).type == "cpu":
        return np
    index = Device(device).index
    return cupy_access.require() if index is None else _Elsewhere(cupy_access.require(), index)


class _Elsewhere:
    """CuPy's functions on a GPU that need not be the current one."""

    def __init__(self, cupy: Any, index: int) -> None:
        if index >= cupy.cuda.runtime.getDeviceCount():
            raise DeviceError(f"CUDA error: invalid device ordinal: there is no GPU of the number {index}")
        self._cupy, self._index = cupy, index

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._cupy.cuda.Device(self._index):  # CuPy allocates on the current GPU
                return getattr(self._cupy, name)(*args, **kwargs)

        return call


def finish(data: Array, requires_grad: bool) -> Tensor:
    """A new tensor over ``data``, as a leaf if gradients are wanted."""
    out = wrap(data)
    return out.requires_grad_() if requires_grad else out


@unreported
def _values(data: Any, dtype: Any) -> Any:
    """An array of the values, or NumPy's number; in the default float where they are Python floats."""
    if isinstance(data, Tensor):
        data = data._data
    elif isinstance(data, (list, tuple)):
        data = _plain(data)
    elif isinstance(data, np.ndarray) or (hasattr(data, "__array__") and not is_array(data)):
        data = np.asarray(data)  # a plain array also of a matrix, whose sums and products mean something else
    if is_array(data):
        check_numbers(data.dtype)
        if dtype is None:
            return data
        wished = as_dtype(dtype, "tensor")
        # NumPy would warn of the imaginary parts that it drops, PyTorch does not
        return (data.real if data.dtype.kind == "c" and wished.kind in "iuf" else data).astype(wished)
    try:
        values = np.array(data)
    except ValueError as error:
        raise ArgumentError(f"{_ragged(data)}: the rows of a nested list must have equal lengths") from error
    # NumPy makes objects of integers beyond 64 bits, and of what is no number
    if (values.dtype == np.object_ and _odd_type(data) == "object") or _beyond_int64(values, data, dtype):
        raise ArgumentError(f"Overflow when unpacking long long: the integers of a tensor have 64 bits, got {data}")
    if values.dtype.kind not in "biufc":
        raise ArgumentTypeError(f"new(): invalid data type '{_odd_type(data)}': a tensor holds numbers")
    if dtype is not None:
        return _converted(values, as_dtype(dtype, "tensor"))
    if isinstance(data, (list, tuple)) and _holds_arrays(data):  # NumPy's promotion of arrays is not PyTorch's
        types = [t.newbyteorder("=") for t in dict.fromkeys(_types(data))]
        for t in types:
            check_numbers(t)
        return values.astype(functools.reduce(common_type, types), copy=False)
    if values.dtype.kind == "f":  # Python's floats, which NumPy takes for float64
        return values.astype(defaults.dtype)
    return values.astype(np.result_type(defaults.dtype, np.complex64)) if values.dtype.kind == "c" else values


def _converted(values: Array, dtype: DType) -> Array:
    """Python's numbers in a dtype; one outside its range is an error, as in a list it is no result of arithmetic."""
    if values.dtype.kind == "c" and dtype.kind not in "cb":
        whole = "'complex' object cannot be interpreted as an integer"
        raise ArgumentTypeError(f"{whole if dtype.kind in 'iu' else 'must be real number, not complex'}: got {dtype}")
    if dtype.kind in "iu" and values.dtype.kind in "iuf":
        bounds = np.iinfo(dtype)
        # to an unsigned type PyTorch lets -max wrap, and nothing below
        fits = (values >= (bounds.min if dtype.kind == "i" else -bounds.max)) & (values <= bounds.max)
        if not fits.all():
            fitting(values[~fits].flat[0], dtype, "tensor")
    if values.dtype.kind == "c" and dtype.kind in "iuf":
        whole = "'complex' object cannot be interpreted as an integer"
        said = "must be real number, not complex" if dtype.kind == "f" else whole
        raise ArgumentTypeError(f"{said}: a tensor of {dtype} holds no imaginary parts")
    return values.astype(dtype)


def _ragged(data: Any, axis: int = 0) -> str:
    """Where a nested list is not rectangular, in PyTorch's words."""
    lengths = [len(item) if hasattr(item, "__len__") else 0 for item in data]
    for length in lengths:
        if length != lengths[0] or length == 0:
            return f"expected sequence of length {lengths[0]} at dim {axis + 1} (got {length})"
    return _ragged([row for item in data for row in item], axis + 1)


def _beyond_int64(values: Array, data: Any, dtype: Any) -> bool:
    """Whether Python's integers were too large for int64: then NumPy takes uint64, as it does of arrays of it."""
    return values.dtype == np.uint64 and dtype is None and not _holds_arrays(data)


def _odd_type(data: Any) -> str:
    """The type of the first item in a nested list that is not a number."""
    if isinstance(data, (list, tuple)):
        return next((_odd_type(item) for item in data if not isinstance(item, (int, float, complex))), "object")
    return type(data).__name__


def _plain(data: Any) -> Any:
    """Nested lists with tensors inside them replaced by their arrays; one of a single entry counts as a number."""
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    if not isinstance(data, Tensor):
        return data
    # PyTorch converts tensors of one entry by item()
    return data._data.reshape(()) if data._data.size == 1 else data._data


def _types(data: Any) -> Iterator[np.dtype[Any]]:
    """The type of each array and number in a nested list."""
    for item in data if isinstance(data, (list, tuple)) else [data]:
        if isinstance(item, (list, tuple)):
            yield from _types(item)
        else:
            yield item.dtype if is_array(item) else number_type(item)


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
    # tensor() never shares memory
    values = values.copy() if is_array(values) and not isinstance(values, np.generic) else np.array(values)
    place = chosen_device(device)
    return finish(values if place is None else to_device(values, place), requires_grad)


def construct(self: Tensor, *args: Any) -> None:
    """PyTorch's legacy constructor: ``Tensor(2, 3)`` has that shape, ``Tensor([1, 2])`` those values, in float32.

    An array of float32 is wrapped as it is, sharing memory; another is converted to float32.
    """
    if len(args) == 1 and is_array(args[0]):
        check_numbers(args[0].dtype)
        self._data = as_array(args[0]).astype(np.float32, copy=False)
    elif len(args) == 1 and isinstance(args[0], Size):
        self._data = np.empty(args[0], np.float32)
    elif all(isinstance(a, (int, np.integer)) for a in args):
        self._data = np.empty(args or 0, np.float32)  # Tensor() has no entries, where zeros(()) has one
    elif len(args) == 1:
        self._data = unreported(np.array)(args[0], np.float32)
    else:
        raise ArgumentTypeError("Tensor(): expected sizes, a sequence of values, or one array")
    self._node = self._versions = None


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, sharing memory where it is an array; a tensor of the right type is returned as it is."""
    if isinstance(data, Tensor) and dtype is None and device is None:
        return data
    if isinstance(data, Tensor):
        moved: Tensor = data.to(dtype=dtype, device=device)
        return moved
    # np.asarray, because a number has no memory to share
    values = np.asarray(_values(data, dtype)) if not is_array(data) else _values(data, dtype)
    place = chosen_device(device)
    return wrap(values if place is None else to_device(values, place))


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """``obj`` as a tensor.

    Args:
        copy: True copies, False shares the memory or is refused, None shares it where it can be shared.

    Raises:
        ArgumentError: ``copy=False`` of what has no memory to share, or another dtype or device.

    >>> import tinygrad_rnn as tg
    >>> x = tg.ones(2)
    >>> tg.asarray(x) is x, tg.asarray(x, copy=True).fill_(2), x
    (True, tensor([2., 2.]), tensor([1., 1.]))
    """
    before = obj._data if isinstance(obj, Tensor) else obj
    made = as_tensor(obj, dtype, device)
    shared = is_array(before) and (made._data is before or np.may_share_memory(made._data, before))
    if copy is False and not shared:
        raise ArgumentError(
            "can't alias arbitrary sequence into a tensor, or one of another dtype or device: copy=None"
        )
    if copy and shared:
        made = made.clone()
    return made.detach().requires_grad_() if requires_grad and not made.requires_grad else made


def from_numpy(array: Any) -> Tensor:
    """A tensor over a NumPy array, sharing its memory.

    >>> import numpy as np
    >>> import tinygrad_rnn as tg
    >>> a = np.zeros(2)
    >>> t = tg.from_numpy(a)
    >>> a[0] = 1  # the memory is shared
    >>> t
    tensor([1., 0.], dtype=torch.float64)
    """
    if not isinstance(array, np.ndarray):
        raise ArgumentTypeError(f"expected np.ndarray (got {type(array).__name__})")
    check_numbers(array.dtype)
    return wrap(np.asarray(array))


def _filled(name: str, doc: str) -> Any:
    def make(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        if not size:
            raise ArgumentTypeError(f'{name}() missing 1 required positional arguments: "size"')
        chosen = defaults.dtype if dtype is None else as_dtype(dtype, name)
        shape = sizes_of(size)
        if any(n < 0 for n in shape):
            raise ShapeRuntimeError(f"{name}: Dimension size must be non-negative. Got {list(shape)}")
        return finish(getattr(module_of(device), name)(shape, dtype=chosen), requires_grad)

    def make_like(like: Value, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        raw = like._data if isinstance(like, Tensor) else like
        chosen = raw.dtype if dtype is None else as_dtype(dtype, make_like.__name__)
        xp = array_module(raw) if device is None else module_of(device)
        return finish(getattr(xp, name)(raw.shape, dtype=chosen), requires_grad)

    make.__name__ = make.__qualname__ = name
    make_like.__name__ = make_like.__qualname__ = f"{name}_like"
    make.__doc__ = f"A tensor of the given size {doc}."
    make_like.__doc__ = f"A tensor of the size and dtype of ``like`` {doc}."
    return make, make_like


zeros, zeros_like = _filled("zeros", "full of zeros")
ones, ones_like = _filled("ones", "full of ones")
empty, empty_like = _filled("empty", "with unset values")


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the given size full of one value; its dtype follows the value."""
    value = fill_value._data if isinstance(fill_value, Tensor) else fill_value
    # by the rules of tensor(): True gives bool, 1 int64, 1.0 the default float
    chosen = _values(value, None).dtype if dtype is None else as_dtype(dtype, "full")
    value = fitting(value, chosen, "full") if isinstance(value, (int, float, complex)) else value
    return finish(module_of(device).full(sizes_of((size,)), value, dtype=chosen), requires_grad)


def full_like(
    like: Value, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of the size and dtype of ``like`` full of one value."""
    raw = like._data if isinstance(like, Tensor) else like
    xp = array_module(raw) if device is None else module_of(device)
    chosen = raw.dtype if dtype is None else as_dtype(dtype, "full_like")
    value = fitting(fill_value, chosen, "full_like") if isinstance(fill_value, (int, float, complex)) else fill_value
    return finish(xp.full(raw.shape, value, dtype=chosen), requires_grad)


# evenly spaced, and matrices ---------------------------------------------------------------------------------------


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Evenly spaced values from ``start`` up to but without ``end``; int64 unless a number is a float.

    Raises:
        ShapeRuntimeError: the step is 0 or leads away from the end.

    >>> import tinygrad_rnn as tg
    >>> tg.arange(1, 2.5, 0.5)
    tensor([1.0000, 1.5000, 2.0000])
    """
    if end is None:
        start, end = 0, start
    # of Python, whose integers do not wrap in the differences below
    numbers = [v.item() if hasattr(v, "item") else v for v in (start, end, step)]
    if numbers[2] == 0:
        raise ShapeRuntimeError("step must be nonzero")
    if (numbers[1] - numbers[0]) * numbers[2] < 0:
        raise ShapeRuntimeError(
            f"upper bound and lower bound inconsistent with step sign: arange({', '.join(map(str, numbers))})"
        )
    floats = any(isinstance(v, float) for v in numbers)
    chosen = as_dtype(dtype, "arange") if dtype is not None else defaults.dtype if floats else np.dtype(np.int64)
    if chosen.kind in "bc":
        raise not_implemented("arange_cpu", chosen)
    for number in () if floats else numbers:
        if not -(1 << 63) <= number < 1 << 63:
            raise ArgumentError(f"value cannot be converted to type int64 without overflow: arange() got {number}")
    length = math.ceil((numbers[1] - numbers[0]) / numbers[2])
    xp = module_of(device)
    # PyTorch computes start + k step in double, and rounds each value once
    working = np.float64 if floats else np.int64
    values = xp.arange(length, dtype=working) * xp.asarray(numbers[2], working) + xp.asarray(numbers[0], working)
    return finish(converted(values, chosen), requires_grad)


def linspace(
    start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``steps`` evenly spaced values from ``start`` to ``end``, both included."""
    if steps < 0:
        raise ShapeRuntimeError(f"number of steps must be non-negative, got {steps}")
    chosen = defaults.dtype if dtype is None else as_dtype(dtype, "linspace")
    if chosen.kind == "b":
        raise not_implemented("linspace_cpu", chosen)
    start, end = float(start), float(end)
    for number in (start, end):
        fitting(number, chosen, "linspace")
    # in double, rounded once
    return finish(module_of(device).linspace(start, end, steps).astype(chosen), requires_grad)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``base`` to the powers from ``start`` to ``end``, evenly spaced."""
    chosen = defaults.dtype if dtype is None else as_dtype(dtype, "logspace")
    if chosen.kind == "b":
        raise not_implemented("logspace_cpu", chosen)
    powers = module_of(device).linspace(float(start), float(end), steps)
    values = quietly(lambda: (float(base) ** powers).astype(chosen))  # base ** power may be infinite, which is a result
    return finish(values, requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The matrix with ones on the diagonal and zeros elsewhere.

    Raises:
        ShapeRuntimeError: a negative size.
    """
    for name, size in (("n", n), ("m", m)):
        if size is not None and size < 0:
            raise ShapeRuntimeError(f"{name} must be greater or equal to 0, got {size} in eye()")
    chosen = defaults.dtype if dtype is None else as_dtype(dtype, "eye")
    return finish(module_of(device).eye(n, m, dtype=chosen), requires_grad)


# of the dtype and device of another --------------------------------------------------------------------------------


def new_tensor(self: Tensor, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of the values, of this dtype and device unless others are given."""
    place = self.device if device is None else device
    return tensor(data, self.dtype if dtype is None else dtype, place, requires_grad)


def _new(make: Any) -> Any:
    def new(self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        chosen, place = self.dtype if dtype is None else dtype, self.device if device is None else device
        out: Tensor = make(*size, dtype=chosen, device=place, requires_grad=requires_grad)
        return out

    new.__name__ = new.__qualname__ = f"new_{make.__name__}"
    new.__doc__ = f"As ``{make.__name__}``, of this dtype and device unless others are given."
    return new


new_zeros, new_ones, new_empty, new_full = _new(zeros), _new(ones), _new(empty), _new(full)

"""Assignment: ``x[i] = v`` in all NumPy forms, ``copy_`` and ``fill_``, with gradients to x and to v.

    x' = x with v at i          dx = g with zeros at i          dv = g at i, summed over the axes that v was broadcast

Where an index array names a place twice, the last value written stays, and only it gets the gradient of the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import NUMBERS, array_module, class_name, is_array, on_gpu, tensor_type, to_device
from ..errors import ArgumentTypeError, InplaceError, ShapeRuntimeError
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..tape.inplace.writes import check_memory, check_write, commit, stamped
from ..tape.modes import state
from ..tape.node import Leaf, Node
from ..tape.primitive import REGISTRY
from ..tape.tensor import Tensor
from ..typing import Array, Shape, V, Value
from .dtypes import cast, fitting
from .elementwise import where
from .index import _index_error, getitem, numbers_first, raw_index
from .shape import sum_to, too_many_axes

__all__ = ["copy_", "fill_", "overwrite", "setitem", "zero_"]


def _replaced(a: Array, v: Array, index: Any, last: Array | None) -> Array:
    out = a.copy()
    out[index] = v
    return out


def _setitem_vjps(
    g: Value, y: Any, a: Any, v: Any, needs: Sequence[bool], index: Any, last: Array | None
) -> list[Value | None]:
    """The cotangents of the old values and of those written over them."""
    of_a = assign(g, 0, index=index, last=None) if needs[0] else None
    return [of_a, written_vjp(g[index], v.shape, last) if needs[1] else None]


def written_vjp(at_place: V, shape: Shape, last: Array | None) -> V:
    """The cotangent of the values, of ``shape``, from that of the place that they were broadcast to."""
    if last is not None:
        at_place = where(last, at_place, 0)
    missing = len(shape) - at_place.ndim  # NumPy lets the values have more axes, of size 1, than the place
    return sum_to(at_place, shape) if missing <= 0 else sum_to(at_place, shape[missing:]).reshape(shape)


assign = primitive(
    "setitem",
    _replaced,
    vjp_all=_setitem_vjps,
    formula=Formula(
        r"y_{j} = \begin{cases} v_{i} & j = \iota(i) \\ a_{j} & \text{otherwise} \end{cases}",
        a=r"\bar{a}_{j} = \begin{cases} 0 & j = \iota(i) \\ \bar{y}_{j} & \text{otherwise} \end{cases}",
        v=r"\operatorname{sum}_{v}(\bar{y}_{\iota(i)})",
    ),
    doc="``a`` with ``v`` in place of ``a[index]``.",
)
SETITEM = REGISTRY["setitem"]
SETITEM.backward_name = "IndexPutBackward0"


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """``self[index] = value``: into the memory of this tensor, which its views share.

    Args:
        index: numbers, slices, None, Ellipsis, masks, index arrays, lists or tensors, and tuples of them.
        value: a tensor or a number; it is broadcast to the place and converted to this dtype.

    Raises:
        InplaceError: this is a leaf that requires grad, or a view of one, and recording is on.
        IndexOutOfRange: the index does not fit this shape.
        ShapeRuntimeError: the value does not broadcast to the place.

    >>> import tinygrad_rnn as tg
    >>> h = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> outputs = tg.zeros(3, 2)
    >>> outputs[1] = h * h
    >>> outputs.sum().backward()
    >>> h.grad
    tensor([2., 4.])
    """
    basic = type(index) is int or type(index) is slice  # the usual ones need no copy
    if not basic:
        index = raw_index(index, array_module(self._data))
        if type(index) is tuple and (steps := numbers_first(index)):
            return setitem(getitem(self, steps[0]), steps[1], value)  # as reading there
        basic = _is_basic(index)
    if isinstance(value, Tensor) and basic and value._is_view() and _is_place(self, index, value):
        check_write(self, "__setitem__", value._node is not None)
        return  # the last step of self[index] += ..., whose write to a view of this memory is done
    _assign(self, index, basic, value, "__setitem__")


def _assign(self: Tensor, index: Any, basic: bool, value: Any, op: str) -> Tensor:
    check_memory(self, op)
    data = self._data
    v, values = _converted(self, value, op)
    recording = state.here.recording
    node = v._node if recording and isinstance(v, Tensor) else None
    recorded = recording and (node is not None or self._node is not None)
    last = None
    try:
        if not basic:
            place = data
            last = _last_written(index, data, values) if recorded else None
        else:
            place = data if index is Ellipsis else data[_open(index)]
        check_write(self, op, node is not None, place)  # before the write: what is refused leaves the memory as it was
        if basic:
            place[...] = values
        else:
            data[index] = values
    except IndexError as error:
        raise _index_error(self, index, error) from error
    except ValueError as error:
        raise _shape_error(data, index, values, error) from error
    if recorded:
        parents = (self._node, node)
        # saves nothing: both vjps need shapes alone
        node = Node(SETITEM, parents, parents, {"index": index, "last": last}, None, (), data.shape, data.dtype)
        for watcher in state.watchers:
            watcher.recorded(node, data)
    return commit(self, node, op, place)


def _converted(self: Tensor, value: Any, op: str) -> tuple[Any, Any]:
    """The value as a tensor (for its history) or number, and as what NumPy can assign."""
    data = self._data
    if isinstance(value, Tensor):
        if on_gpu(value._data) != on_gpu(data):
            value = value.to(device=self.device)
        if value._data.dtype != data.dtype:
            # no gradient passes a whole number, or from a real to a complex one
            fits = data.dtype.kind in "fc" and not (data.dtype.kind == "f" and value._data.dtype.kind == "c")
            value = cast(value if fits else value.detach(), dtype=data.dtype)
        return value, value._data
    if isinstance(value, (bool, int, float, complex)):
        if data.dtype.kind != "f" or type(value) is not float or not -65504 <= value <= 65504:  # these fit any float
            value = fitting(value, data.dtype, op)
        return value, value
    # what PyTorch takes here: NumPy's numbers in x[i] = v, lists in copy_
    admitted = isinstance(value, np.generic) if op == "__setitem__" else isinstance(value, (list, tuple))
    if admitted or (is_array(value) and op != "__setitem__"):
        values = to_device(np.asarray(value) if not is_array(value) else value, self.device)
        if values.dtype.newbyteorder("=") in NUMBERS:
            return value, values.astype(data.dtype)
    remedy = ". Make a tensor of it: tinygrad_rnn.tensor(...)" if isinstance(value, (list, tuple, np.ndarray)) else ""
    raise ArgumentTypeError(f"can't assign a {class_name(value)} to a {tensor_type(data.dtype)}{remedy}")


def _is_basic(index: Any) -> bool:
    """Whether ``x[index]`` is a view of x."""
    return all(i is None or i is Ellipsis or type(i) is slice or type(i) is int for i in _as_tuple(index))


def _open(index: Any) -> Any:
    """A basic index that gives an array and no number, also where it names one entry."""
    if not isinstance(index, tuple):
        return index, Ellipsis
    return index if Ellipsis in index else (*index, Ellipsis)


def _is_place(self: Tensor, index: Any, value: Tensor) -> bool:
    """Whether a view is ``self[index]`` itself, so that there is nothing to assign."""
    parent, p, params, recorded = value._view
    # whether the history of self knows of the write to the view
    followed = type(value._node) is not Leaf and (recorded or not state.recording)
    return parent is self and p.name == "getitem" and bool(params["index"] == index) and followed


def _as_tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _last_written(index: Any, data: Array, values: Any) -> Array | None:
    """Which entries of the place stay: None for all of them, else False where a later entry goes to the same place.

    Raises:
        InplaceError: on a GPU, where no order is kept, and the values may differ.
    """
    if not _names_twice(index, data.shape):
        return None
    if on_gpu(data) and getattr(values, "size", 1) > 1:
        raise InplaceError(
            "__setitem__(): the index names a place twice, and on a GPU it is not defined which value stays, nor which "
            "one gets the gradient. Use index_add_() to sum them, or remove duplicates from the index"
        )
    try:
        place = np.arange(data.size).reshape(data.shape)[_on_host(index)]
    except IndexError:  # the assignment raises it again, with the right sentence
        return None
    winner = np.empty(data.size, np.int64)
    winner[place] = np.arange(place.size).reshape(place.shape)  # NumPy writes in order, so the last one stays
    last: Array = array_module(data).asarray(winner[place] == np.arange(place.size).reshape(place.shape))
    return last


def _on_host(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple([_on_host(i) for i in index])
    return index.get() if on_gpu(index) else index


def _names_twice(index: Any, shape: Shape) -> bool:
    """Whether an index names a place twice.  Only index arrays can, so only their axes are looked at."""
    items = _as_tuple(_on_host(index))
    free = len(shape) - sum(_axes_used(i) for i in items)
    coordinates: list[Any] = []
    lengths: list[int] = []
    axis = 0
    for i in items:
        used = free if i is Ellipsis else _axes_used(i)
        if used and (isinstance(i, int) or is_array(i)):
            coordinates.extend(np.nonzero(i) if _is_mask(i) else (i,))
            lengths.extend(shape[axis : axis + used])
        axis += used
    try:
        # wrap: negative numbers count from the end
        numbers = np.ravel_multi_index(np.broadcast_arrays(*coordinates), lengths, mode="wrap")
    except ValueError:
        return False  # the index does not fit, as the assignment will say
    return np.unique(numbers).size < numbers.size


def _is_mask(i: Any) -> bool:
    return isinstance(i, (bool, np.bool_)) or (is_array(i) and i.dtype.kind == "b")


def _axes_used(i: Any) -> int:
    """How many axes one item of an index stands for."""
    if i is None or i is Ellipsis:
        return 0
    return np.ndim(i) if _is_mask(i) else 1


def _shape_error(data: Array, index: Any, values: Any, error: ValueError) -> Exception:
    """In PyTorch's words: the value does not broadcast to the place."""
    place, got = list(data[index].shape), list(np.shape(values))
    if not _is_basic(index):
        return ShapeRuntimeError(
            f"shape mismatch: value tensor of shape {got} cannot be broadcast to indexing result of shape {place}"
        )
    while len(got) > len(place) and got[0] == 1:  # PyTorch does not speak of leading axes of size 1
        del got[0]
    if len(got) > len(place):
        return ShapeRuntimeError(too_many_axes(len(place), len(got)))
    for axis in range(1, len(got) + 1):
        expected = place[-axis]
        if got[-axis] not in (1, expected):
            break
    return ShapeRuntimeError(
        f"The expanded size of the tensor ({expected}) must match the existing size ({got[-axis]}) at non-singleton "
        f"dimension {len(place) - axis}.  Target sizes: {place}.  Tensor sizes: {got}"
    )


# whole tensors -----------------------------------------------------------------------------------------------------


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Copy the values of ``src`` here, broadcast to this shape and converted to this dtype.

    >>> import tinygrad_rnn as tg
    >>> tg.zeros(2, 2).copy_(tg.tensor([1.0, 2.0]))
    tensor([[1., 2.],
            [1., 2.]])
    """
    return _assign(self, ..., True, src, "copy_")


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every entry to one number, or to a 0-d tensor, which gets the sum of the cotangent."""
    number = type(value) is float or type(value) is int  # np.ndim makes an array of a number
    ndim = 0 if number else np.ndim(value._data if isinstance(value, Tensor) else value)
    if ndim > 0:
        raise ShapeRuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {ndim} dimensions.")
    return _assign(self, ..., True, value, "fill_")


def zero_(self: Tensor) -> Tensor:
    """Set every entry to 0."""
    if self._node is None or not state.here.recording:  # no history to cut: one fill, nothing to convert
        return overwrite(self, _zero, "zero_")
    return _assign(self, ..., True, 0, "zero_")


def _zero(array: Array) -> None:
    array.fill(0)


def overwrite(self: Tensor, fill: Any, op: str) -> Tensor:
    """Have ``fill(array)`` overwrite all of this memory; no gradient passes to the old values."""
    check_memory(self, op)
    if self._node is None and not self._is_view():
        fill(self._data)
        return stamped(self, op)
    check_write(self, op, False)
    fill(self._data)
    return commit(self, None, op)

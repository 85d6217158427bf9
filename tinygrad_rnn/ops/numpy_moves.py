"""NumPy's functions that only move or write entries: NumPy itself gives the destinations.

It is applied to the *numbers* of the entries in place of the entries, and the result says which entry belongs where:
``np.insert(t, 1, u)`` reads the entries of ``t`` and ``u`` at ``np.insert([0, 1, 2], 1, 3) = [0, 3, 1, 2]``.  So each
keyword means what it means in NumPy, and the one operation that is recorded is an indexing, which has every order.

Axes are moved and shapes changed in the same way, by asking what NumPy makes of the shape; those results are views.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentTypeError
from ..tape.tensor import Tensor, wrap
from ..typing import Value
from . import assign, elementwise, index, shape, sorting, splitting
from .dtypes import cast
from .numpy_operands import alike, each, raw, tensor_of, tensors_in

__all__ = ["FILLED", "MOVED", "PERMUTED", "RESHAPED", "SPLIT", "VALUES", "WRITTEN"]

Form = Callable[..., Any]


def reordered(function: Any) -> Form:
    """Axes moved.  An array without entries whose axis k has the size k shows where they go."""

    def permute(a: Any, *args: Any, **kwargs: Any) -> Any:
        a = tensor_of(a)
        if function is np.transpose and not args and not kwargs:  # there is nothing to ask NumPy
            return shape.reverse_axes(a)
        return shape.permute(a, *function(blank(range(a.ndim)), *args, **kwargs).shape)

    return permute


def blank(sizes: Any) -> Any:
    """An array of this shape that takes no memory."""
    return np.ndarray(tuple(sizes), np.int8, bytes(1), 0, (0,) * len(sizes))


def reshaped(function: Any) -> Form:
    """The same entries in the same order in another shape."""

    def reshape(a: Any, *args: Any, **kwargs: Any) -> Any:
        a = tensor_of(a)
        return shape.reshape(a, function(blank(a.shape), *args, **kwargs).shape)

    return reshape


def reshaped_all(function: Any) -> Form:
    """The same for any number of arrays."""
    one = reshaped(function)
    return lambda *arrays: one(arrays[0]) if len(arrays) == 1 else tuple([one(a) for a in arrays])


def moved(function: Any, *names: str, zeros: bool = False) -> Form:
    """Entries of the arguments ``names`` moved, repeated or left out; with ``zeros`` beside them where NumPy has 0."""
    signature = inspect.signature(function)

    def move(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        # entry number 0 is a zero, which NumPy's own 0 names
        sources: list[Tensor] = [wrap(np.zeros(1, np.bool_))] if zeros else []
        count = len(sources)

        def number(x: Any) -> Any:
            nonlocal count
            source = tensor_of(x)
            sources.append(source)
            strides = np.argsort([-step for step in source._data.strides], kind="stable")  # its order in memory
            numbers = np.empty([source.shape[k] for k in strides], np.int64).transpose(np.argsort(strides))
            numbers[...] = np.arange(count, count + numbers.size).reshape(numbers.shape)
            count += numbers.size
            return numbers

        for name in names:
            if name in bound.arguments:
                bound.arguments[name] = each(bound.arguments[name], number)
        others = {key: raw(value) for key, value in bound.arguments.items() if key not in names}
        bound.arguments.update(others)
        places = function(*bound.args, **bound.kwargs)
        line = shape.cat([shape.reshape(t, (-1,)) for t in alike(*sources)])
        return each(places, lambda p: index.getitem(line, p) if isinstance(p, (np.ndarray, np.integer)) else p)

    return move


def flattened(function: Any) -> Form:
    """One array, of which a list of numbers is an array too: ``np.pad([t, u], 1)``."""
    move = moved(function, next(iter(inspect.signature(function).parameters)))
    return lambda a, *args, **kwargs: move(tensor_of(a), *args, **kwargs)


def _filled(function: Any) -> Form:
    move = moved(function, next(iter(inspect.signature(function).parameters)), zeros=True)
    return lambda a, *args, **kwargs: move(tensor_of(a), *args, **kwargs)


def _insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    arr = tensor_of(arr)
    return moved(np.insert, "arr", "values")(arr, obj, cast(tensor_of(values), dtype=arr.dtype), axis)


def _append(arr: Any, values: Any, axis: Any = None) -> Any:
    return moved(np.append, "arr", "values")(tensor_of(arr), tensor_of(values), axis)


def _by_order(function: Any, order: Any) -> Form:
    """Sorted, or partly: NumPy says in which order the entries are, by the function that gives their places."""

    def sort(a: Any, *args: Any, **kwargs: Any) -> Any:
        a = tensor_of(a)
        bound = inspect.signature(function).bind(a, *args, **kwargs)
        axis = bound.arguments.get("axis", -1)
        if axis is None:
            a, axis = shape.reshape(a, (-1,)), -1
        bound.arguments["axis"] = axis
        bound.arguments["a"] = a._data
        return flattened(np.take_along_axis)(a, order(*bound.args, **bound.kwargs), axis)

    return sort


def _trim_zeros(filt: Any, *args: Any, **kwargs: Any) -> Any:
    """NumPy's result is a view of its argument; its address says where it begins."""
    a = tensor_of(filt)
    values = a._data.copy()
    kept = np.trim_zeros(values, *args, **kwargs)
    first = (kept.ctypes.data - values.ctypes.data) // values.itemsize if kept.size else 0
    starts = np.unravel_index(first, values.shape) if values.size else (0,) * values.ndim
    return a[tuple([slice(int(start), int(start) + n) for start, n in zip(starts, kept.shape, strict=True)])]


def _sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    a = tensor_of(a)
    np.sort(np.zeros(0), kind=kind, order=order, stable=stable)  # raises if it is illegal
    return sorting.sort(shape.reshape(a, (-1,)), -1)[0] if axis is None else sorting.sort(a, axis)[0]


def _places_of_parts(a: Any, kth: Any, axis: int = -1, *args: Any, **kwargs: Any) -> Any:
    """Where the entries of ``np.partition`` stood, in its own order: ``np.argpartition`` has another."""
    # stable: equal entries are told apart by their places
    order = np.argsort(np.partition(a, kth, axis, *args, **kwargs), axis, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.argsort(a, axis, kind="stable"), axis)
    return places


# cutting -----------------------------------------------------------------------------------------------------------


def _cut(function: Any, axis_of_rank: Callable[[int], int] | None = None) -> Form:
    """Pieces along an axis, as views; whether they come out even NumPy says."""

    def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Value]:
        a, cuts = tensor_of(ary), raw(indices_or_sections)
        if axis_of_rank is not None:
            axis = axis_of_rank(a.ndim)
        function(np.broadcast_to(0, a.shape), cuts, *([] if axis_of_rank else [axis]))  # raises if it is illegal
        whole = int(cuts) if np.ndim(cuts) == 0 else [int(k) for k in cuts]
        return list(splitting.tensor_split(a, whole, axis))

    return split


def _select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The first choice whose condition holds."""
    conditions = [np.asarray(raw(c)) for c in condlist]
    np.select(conditions, [np.broadcast_to(0, np.shape(raw(c))) for c in choicelist])  # raises if it is illegal
    *choices, out = alike(*choicelist, default)
    # the first that holds is applied last, and wins
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        out = elementwise.where(wrap(condition), choice, out)
    return out


def _choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Any:
    parts = choices if isinstance(choices, (list, tuple)) else splitting.unbind(tensor_of(choices))
    return moved(np.choose, "choices")(raw(a), list(parts), None, mode)


def _pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    if mode not in ("constant", "edge", "reflect", "symmetric", "wrap") or kwargs.get("reflect_type", "even") != "even":
        raise ArgumentTypeError(
            f"np.pad(mode={mode!r}, ...): what is computed, not copied, has no form here that records. Use the modes "
            "constant, edge, reflect, symmetric or wrap, or np.concatenate what you computed"
        )
    a = tensor_of(array)
    if mode != "constant":
        return moved(np.pad, "array")(a, pad_width, mode=mode, **kwargs)
    values = kwargs.pop("constant_values", 0)
    if tensors_in(values):
        raise ArgumentTypeError("np.pad(constant_values=): a tensor has no form here that records: np.concatenate it")
    edge = np.pad(np.zeros(a.shape, a.dtype), pad_width, constant_values=values, **kwargs)
    inside = np.pad(np.ones(a.shape, np.bool_), pad_width)
    # outside the constants, in place of the zeros that were moved in
    return elementwise.where(wrap(inside), _filled(np.pad)(a, pad_width), wrap(edge))


def _broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    tensors = [tensor_of(a) for a in args]
    common = np.broadcast_shapes(*[t.shape for t in tensors])
    return tuple([shape.expand(t, common) for t in tensors])


def _meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    tensors = [tensor_of(x) for x in xi]
    lay_out: Any = np.meshgrid
    shapes = lay_out(*[np.zeros(t._data.size) for t in tensors], copy=False, sparse=True, indexing=indexing)
    grid = tuple([shape.reshape(t, s.shape) for t, s in zip(tensors, shapes, strict=True)])
    full = grid if sparse else _broadcast_arrays(*grid)
    return tuple([elementwise.clone(t) for t in full]) if copy else full


def _unique(function: Any) -> Form:
    """The distinct entries, each read at its first place, and the other results that NumPy was called for."""

    def unique(x: Any, *args: Any, **kwargs: Any) -> Any:
        a = tensor_of(x)
        axis = kwargs.get("axis") if len(args) < 4 else args[3]
        found = function(a._data, *args, **kwargs)
        values = found[0] if isinstance(found, tuple) else found
        if axis is None:
            chosen = _first_places(values, [a])  # of the forms of unique() not all give the places
        else:
            numbers = np.unique(a._data, return_index=True, axis=axis)[1]
            chosen = index.getitem(a, (*(slice(None),) * shape.axis_of(axis, a.ndim), numbers))
        if not isinstance(found, tuple):
            return chosen
        rest = [wrap(np.asarray(item)) for item in found[1:]]
        return found._make([chosen, *rest]) if hasattr(found, "_make") else (chosen, *rest)

    return unique


def _first_places(values: Any, sources: list[Tensor]) -> Any:
    """The entries of the sources that have these values, each from the first place where it stands."""
    line = shape.cat([shape.reshape(t, (-1,)) for t in alike(*sources)])
    order = np.argsort(line._data, kind="stable")
    return index.getitem(line, order[np.searchsorted(line._data[order], values)])


def _of_sets(function: Any) -> Form:
    def combine(ar1: Any, ar2: Any, *args: Any, **kwargs: Any) -> Any:
        sources = [tensor_of(ar1), tensor_of(ar2)]
        found = function(sources[0]._data, sources[1]._data, *args, **kwargs)
        if isinstance(found, tuple):
            return (_first_places(found[0], sources), *[wrap(part) for part in found[1:]])
        return cast(_first_places(found, sources), dtype=found.dtype)

    return combine


# writing -----------------------------------------------------------------------------------------------------------


def written(function: Any, source: str, arguments: Callable[..., Any]) -> Form:
    """Entries of the first argument replaced: the tensor is written to in place, which is recorded as such."""
    signature = inspect.signature(arguments)
    target = next(iter(signature.parameters))

    def write(*args: Any, **kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        a, values = given[target], tensor_of(given[source])
        if not isinstance(a, Tensor):
            raise ArgumentTypeError(
                f"np.{function.__name__}(): a tensor that requires grad cannot be written into an array, which has no "
                "history. Detach it, or write into a tensor"
            )
        given.update(raw(dict(given)))
        given.update({target: a._data.copy(), source: values._data})
        function(*bound.args, **bound.kwargs)  # raises if it is illegal
        numbers = np.arange(a._data.size).reshape(a.shape)
        given.update({target: numbers, source: np.arange(values._data.size).reshape(values.shape) + numbers.size})
        function(*bound.args, **bound.kwargs)
        line = shape.cat([shape.reshape(a, (-1,)), shape.reshape(cast(values, dtype=a.dtype), (-1,))])
        assign.copy_(a, index.getitem(line, numbers))  # one write of everything: it knows views, versions and history

    return write


# tables ------------------------------------------------------------------------------------------------------------

PERMUTED = {f: reordered(f) for f in (np.transpose, np.moveaxis, np.swapaxes, np.rollaxis, np.matrix_transpose)}
PERMUTED |= {np.linalg.matrix_transpose: reordered(np.linalg.matrix_transpose)}
RESHAPED: dict[Any, Form] = {np.squeeze: reshaped(np.squeeze), np.expand_dims: reshaped(np.expand_dims)}
RESHAPED |= {f: reshaped_all(f) for f in (np.atleast_1d, np.atleast_2d, np.atleast_3d)}
MOVED: dict[Any, Form] = {
    np.append: _append,
    np.block: moved(np.block, "arrays"),
    np.broadcast_arrays: _broadcast_arrays,
    np.choose: _choose,
    np.compress: moved(np.compress, "a"),
    np.delete: flattened(np.delete),
    np.extract: moved(np.extract, "arr"),
    np.flip: flattened(np.flip),
    np.fliplr: flattened(np.fliplr),
    np.flipud: flattened(np.flipud),
    np.insert: _insert,
    np.meshgrid: _meshgrid,
    np.pad: _pad,
    np.partition: _by_order(np.partition, _places_of_parts),
    np.repeat: flattened(np.repeat),
    np.resize: flattened(np.resize),
    np.roll: flattened(np.roll),
    np.rot90: flattened(np.rot90),
    np.select: _select,
    np.sort: _sort,
    np.take: flattened(np.take),
    np.take_along_axis: flattened(np.take_along_axis),
    np.tile: flattened(np.tile),
    np.trim_zeros: _trim_zeros,
    np.fft.fftshift: flattened(np.fft.fftshift),
    np.fft.ifftshift: flattened(np.fft.ifftshift),
    np.lib.stride_tricks.sliding_window_view: flattened(np.lib.stride_tricks.sliding_window_view),
}
SPLIT: dict[Any, Form] = {
    np.array_split: _cut(np.array_split),
    np.split: _cut(np.split),
    np.vsplit: _cut(np.vsplit, lambda rank: 0),
    np.hsplit: _cut(np.hsplit, lambda rank: min(rank - 1, 1)),
    np.dsplit: _cut(np.dsplit, lambda rank: 2),
}
FILLED: dict[Any, Form] = {f: _filled(f) for f in (np.diag, np.diagflat, np.tril, np.triu)}
VALUES: dict[Any, Form] = {f: _of_sets(f) for f in (np.union1d, np.intersect1d, np.setdiff1d, np.setxor1d)}
VALUES |= {f: _unique(f) for f in (np.unique, np.unique_all, np.unique_counts, np.unique_inverse, np.unique_values)}
WRITTEN: dict[Any, Form] = {
    np.copyto: written(np.copyto, "src", lambda dst, src, casting="same_kind", where=True: 0),
    np.put: written(np.put, "v", lambda a, ind, v, mode="raise": 0),
    np.place: written(np.place, "vals", lambda arr, mask, vals: 0),
    np.putmask: written(np.putmask, "values", lambda a, mask, values: 0),
    np.put_along_axis: written(np.put_along_axis, "values", lambda arr, indices, values, axis: 0),
    np.fill_diagonal: written(np.fill_diagonal, "val", lambda a, val, wrap=False: 0),
}

"""Operands and results of NumPy's functions: tensors from anything that stands for an array, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import NUMBERS, array_module, as_dtype, check_numbers, has_own_operators, is_array, raw_array
from ..tape.tensor import Tensor, as_array, wrap
from ..typing import Array, V
from . import shape
from .dtypes import cast
from .elementwise import sign

__all__ = ["alike", "each", "flat", "operand", "raw", "shown", "tensor_of", "tensors_in"]


CONTAINERS = (list, tuple, dict)


def tensors_in(value: Any) -> list[Tensor]:
    """The Tensors among arguments, also inside lists, tuples and dicts."""
    found: list[Tensor] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, CONTAINERS):
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, Tensor):
                found.append(item)
            elif isinstance(item, CONTAINERS):
                _collect(item, found)


def each(value: Any, f: Callable[[Any], Any]) -> Any:
    """``f`` of whatever lists, tuples and dicts hold, in containers of the same kind."""
    if not isinstance(value, CONTAINERS):
        return f(value)
    if isinstance(value, dict):
        return {key: each(item, f) for key, item in value.items()}
    items = [each(item, f) for item in value]
    # a named tuple takes its items one by one
    return value._make(items) if hasattr(value, "_make") else type(value)(items)


def raw(value: Any) -> Any:
    """Arguments with the arrays of tensors in their place."""
    if isinstance(value, Tensor):
        return value._data
    if not isinstance(value, CONTAINERS):
        return value
    if isinstance(value, dict):
        return {key: raw(item) for key, item in value.items()}
    items = [raw(item) for item in value]
    return value._make(items) if hasattr(value, "_make") else type(value)(items)


def shown(result: Any, tensors: list[Tensor]) -> Any:
    """A result of NumPy's with tensors in place of arrays.

    One over the memory of an argument shares its version counter: saved values notice writes to either.
    """

    def show(x: Any) -> Any:
        if isinstance(x, np.generic):
            return wrap(np.asarray(x)) if x.dtype in NUMBERS else x
        # a masked array or a matrix stays what it is
        if not is_array(x) or x.dtype not in NUMBERS or has_own_operators(x):
            return x
        out = wrap(as_array(x))
        for t in tensors:
            # a view: a write to it must be seen by the check for stale values
            if array_module(t._data).may_share_memory(t._data, out._data):
                out._versions = t._own_versions()
        return out

    return each(result, show)


def operand(x: Any) -> Any:
    """Tensors and numbers as they are; what else NumPy takes for an array as a tensor."""
    return x if isinstance(x, (Tensor, int, float, complex, np.generic)) else tensor_of(x)


def tensor_of(x: Any, like: Tensor | None = None) -> Any:
    """A tensor of what NumPy takes for an array: in the dtype NumPy gives it, in memory that nothing else writes to.

    A list with tensors in it is stacked, so that gradients flow to them.
    """
    if isinstance(x, Tensor):
        return x
    if isinstance(x, (list, tuple)) and tensors_in(x):
        return shape.stack(alike(*x))  # np.array() of the list would lose the history
    xp: Any = array_module(like._data) if like is not None else np
    values = as_array(raw_array(x, "numpy")).copy() if is_array(x) else xp.array(x)
    if values.dtype not in NUMBERS:
        values = values.astype(values.dtype.newbyteorder("="))
        check_numbers(values.dtype)
    return wrap(values)


def alike(*values: Any, dtype: Any = None) -> list[Any]:
    """Tensors of one dtype: NumPy's for a mixture of them, or the requested one.

    A Python number leaves the width to the others, as in NumPy's ufuncs.
    """
    if dtype is None and all(isinstance(x, Tensor) and x._data.dtype == values[0]._data.dtype for x in values):
        return list(values)
    first = next(iter(tensors_in(list(values))), None)
    tensors = [tensor_of(value, first) for value in values]
    weak = (bool, int, float, complex)
    # NumPy promotes Python's numbers by their kind alone
    kinds: list[Any] = [v if type(v) in weak else t.dtype for v, t in zip(values, tensors, strict=True)]
    common = as_dtype(np.result_type(*kinds) if dtype is None else dtype)
    return [t if t.dtype == common else cast(t, dtype=common) for t in tensors]


def flat(values: Array, a: V) -> Any:
    """``values``, computed from ``a`` by a function whose derivative is 0 wherever it has one."""
    return tensor_of(values) + cast(sign(a), dtype=values.dtype) * 0  # not a * 0, which is nan where a is infinite

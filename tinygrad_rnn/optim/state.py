"""Loading one parameter's state: copied, cast, moved; and naming a value in an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import array_device, array_module, is_array, to_device, to_numpy
from ..tape.tensor import Tensor, wrap

__all__ = ["describe", "restored"]

_HOST_SCALARS = frozenset({"step", "eta", "mu"})
"""Counts and rates that a step calculates with on the host; they keep their dtype."""


def describe(x: object) -> str:
    """What a value is, for an error: "Tensor (float32, shape (2, 3))" or "int"."""
    if isinstance(x, Tensor):
        return f"{type(x).__name__} ({x.dtype.name}, shape {tuple(x.shape)})"
    kind = type(x)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def restored(p: Tensor, value: Any, key: object = None) -> Any:
    """A copy of a saved value that fits the parameter ``p``.

    Tensors and arrays of any library become Tensors of ``p``'s dtype and device; dicts, lists and tuples are
    walked; ``step`` becomes a count on the host even where an old file holds a plain number.
    """
    if isinstance(value, Mapping):
        return {k: restored(p, v, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([restored(p, v) for v in value])
    if isinstance(value, Tensor):
        raw = value._data
    elif is_array(value):
        raw = value
    elif hasattr(value, "detach"):  # a torch tensor, perhaps on a GPU or part of a graph
        raw = np.asarray(value.detach().cpu())
    elif key in _HOST_SCALARS:
        return wrap(np.array(value, np.float32))
    else:
        return value
    if key in _HOST_SCALARS:
        return wrap(np.array(to_numpy(raw)))
    moved = to_device(raw, array_device(p._data))
    dtype = p._data.dtype if p._data.dtype.kind == "f" else raw.dtype
    return wrap(array_module(moved).array(moved, dtype=dtype))

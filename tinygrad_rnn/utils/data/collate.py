"""Collation of samples into a batch: tensors are stacked along a new first axis, containers entry by entry."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ...backend import is_array
from ...errors import ArgumentTypeError, ShapeRuntimeError
from ...ops import as_tensor, stack, tensor
from ...tape.tensor import Tensor

__all__ = ["default_collate", "default_convert"]


def default_collate(batch: Sequence[Any]) -> Any:
    """A batch from a list of samples.

    Tensors and arrays are stacked; numbers become a tensor (Python floats float64, as in PyTorch); text and bytes
    stay a sequence; mappings, named tuples, tuples and lists are collated entry by entry, a tuple becoming a list.

    Raises:
        ArgumentTypeError: samples of another kind.
        ShapeRuntimeError: lists of different lengths, or tensors of different shapes.

    >>> default_collate([{"x": 1.0, "name": "a"}, {"x": 2.0, "name": "b"}])
    {'x': tensor([1., 2.], dtype=torch.float64), 'name': ['a', 'b']}
    """
    # The first sample decides for all, as in PyTorch.
    first = batch[0]
    if isinstance(first, Tensor):
        stacked: Tensor = stack(list(batch))
        return stacked
    if is_array(first):
        return _collate_arrays(first, batch)
    # Python's alone: NumPy's scalars, np.float64 among them, were taken above with their own types.
    if isinstance(first, float):
        return tensor(list(batch), dtype=np.float64)
    if isinstance(first, int):
        return tensor(list(batch))
    # Before sequences: a string is a sequence of strings, without end.
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like_mapping(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    # Before other tuples: a named tuple's constructor takes its fields one by one.
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(entries) for entries in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        lengths = {len(sample) for sample in batch}
        if len(lengths) > 1:
            raise ShapeRuntimeError(
                f"each element in list of batch should be of equal size, but their lengths are {sorted(lengths)}. "
                "Pad them, or pass a collate_fn"
            )
        return _like_sequence(first, [default_collate(entries) for entries in zip(*batch, strict=True)])
    raise _unknown(type(first))


def _collate_arrays(first: Any, batch: Sequence[Any]) -> Tensor:
    if isinstance(first, np.generic):
        return as_tensor(np.array(batch))
    if first.dtype.kind in "SUOV":
        raise _unknown(first.dtype)
    stacked: Tensor = stack([as_tensor(sample) for sample in batch])
    return stacked


def _unknown(kind: Any) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {kind}. "
        "For other samples pass a collate_fn to the DataLoader"
    )


def default_convert(data: Any) -> Any:
    """A sample as a loader without batching returns it: arrays become tensors, other values are kept.

    >>> default_convert({"x": np.array([1, 2]), "name": "a"})
    {'x': tensor([1, 2]), 'name': 'a'}
    """
    if isinstance(data, Tensor):
        return data
    if is_array(data):
        # PyTorch refuses arrays of text and objects in a batch, but returns single ones as they are.
        return data if data.dtype.kind in "SUOV" else as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(value) for value in data))
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [default_convert(value) for value in data])
    return data


def _like_mapping(original: Any, entries: dict[Any, Any]) -> Any:
    """``entries`` in a mapping of the original's type, attributes included; a dict if it cannot be made."""

    def filled() -> Any:
        # What cannot be written to has to be made by its constructor; a copy keeps attributes that no constructor
        # knows.
        if not isinstance(original, MutableMapping):
            return type(original)(entries)
        made = copy.copy(original)
        made.update(entries)
        return made

    return _or_plain(filled, entries)


def _like_sequence(original: Any, entries: list[Any]) -> Any:
    """``entries`` in a sequence of the original's type; a list for tuples, and if it cannot be made."""

    def filled() -> Any:
        # PyTorch makes lists of tuples.
        if isinstance(original, tuple):
            return entries
        if not isinstance(original, MutableSequence):
            return type(original)(entries)
        made = copy.copy(original)
        for i, entry in enumerate(entries):
            made[i] = entry
        return made

    return _or_plain(filled, entries)


def _or_plain(make: Callable[[], Any], plain: Any) -> Any:
    try:
        return make()
    except TypeError:  # a constructor that takes other arguments, or a container that refuses items
        return plain

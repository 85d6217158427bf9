"""Nested values as JSON, with every array taken out and put in a table of its own.

A JSON object always has exactly one key, its tag, which says what it stands for:

    null, true, 1, 0.5, "text", [...]         themselves
    {"dict": {"key": ...}}                    a dict whose keys are all strings
    {"items": [[key, value], ...]}            a dict with other keys
    {"ordered": [[key, value], ...]}          an OrderedDict
    {"tuple": [...]}                          a tuple
    {"float": "nan"}                          nan, inf, -inf
    {"complex": [re, im]}, {"bytes": "hex"}   a complex number, a byte string
    {"dtype": "float32"}, {"device": "cpu"}   a NumPy dtype, a Device
    {"array": "name"}, {"tensor": "name"}     an array, a Tensor
    {"leaf": "name"}                          a Tensor that requires grad

An array or tensor that occurs several times (the same object) is stored once, and is one object again when read.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import Device, is_array
from ..errors import ArgumentTypeError
from ..tape.tensor import Tensor
from ..typing import Array

__all__ = ["Arrays", "flatten", "unflatten"]

Arrays = dict[str, Any]


def flatten(value: Any) -> tuple[Any, Arrays]:
    """``value`` as JSON data, and its arrays by name (the path to them, such as ``model.weight``).

    Raises:
        ArgumentTypeError: something in it is not of the kinds in the table above; the message says where.

    >>> flatten({"step": 3, "w": (np.zeros(2),)})
    ({'dict': {'step': 3, 'w': {'tuple': [{'array': 'w.0'}]}}}, {'w.0': array([0., 0.])})
    """
    return _Flattener().flatten(value)


class _Flattener:
    def __init__(self) -> None:
        self.arrays: Arrays = {}
        self.references: dict[int, Any] = {}  # by id; the caller's value keeps the objects alive meanwhile

    def flatten(self, value: Any) -> tuple[Any, Arrays]:
        return self.encode(value, ""), self.arrays

    def encode(self, value: Any, path: str) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return self.sequence(value, path)
        if isinstance(value, OrderedDict):
            return {"ordered": self.pairs(value, path)}
        if kind is dict:
            if all(type(key) is str for key in value):
                return {"dict": {key: self.encode(item, _join(path, key)) for key, item in value.items()}}
            return {"items": self.pairs(value, path)}
        if isinstance(value, tuple):
            return {"tuple": self.sequence(value, path)}
        if isinstance(value, Tensor) or is_array(value):
            return self.reference(value, path)
        if kind is complex:
            return {"complex": [self.encode(value.real, path), self.encode(value.imag, path)]}
        if kind is bytes:
            return {"bytes": value.hex()}
        if isinstance(value, np.dtype):
            return {"dtype": value.name}
        if isinstance(value, Device):
            return {"device": str(value)}
        raise ArgumentTypeError(
            f"save(): {path or 'the value'} is a {kind.__module__}.{kind.__qualname__}, which cannot be saved. "
            "Containers, numbers, strings, arrays and tensors can: of a module or an optimiser save its state_dict()"
        )

    def sequence(self, values: Any, path: str) -> list[Any]:
        return [self.encode(item, _join(path, i)) for i, item in enumerate(values)]

    def pairs(self, values: dict[Any, Any], path: str) -> list[Any]:
        return [[self.encode(key, path), self.encode(item, _join(path, key))] for key, item in values.items()]

    def reference(self, value: Tensor | Array, path: str) -> Any:
        if id(value) not in self.references:
            name = self.unused(path or "value")
            tag, self.arrays[name] = "array", value
            if isinstance(value, Tensor):
                tag, self.arrays[name] = ("leaf" if value.requires_grad else "tensor"), value._data
            self.references[id(value)] = {tag: name}
        return self.references[id(value)]

    def unused(self, name: str) -> str:
        candidate, n = name, 1
        while candidate in self.arrays or candidate == "__metadata__":
            n += 1
            candidate = f"{name}~{n}"
        return candidate


def unflatten(data: Any, arrays: dict[str, npt.NDArray[Any]]) -> Any:
    """The value that ``flatten`` took apart; it takes possession of ``arrays``.

    Raises:
        ValueError, TypeError, KeyError: the data is not what ``flatten`` makes, or does not fit the arrays.

    >>> unflatten(*flatten([1, ("a", None), {2: float("inf")}]))
    [1, ('a', None), {2: inf}]
    """
    objects: dict[str, Any] = {}  # what each array has become

    def array(name: str, make: Callable[[Any], Any]) -> Any:
        if name not in objects:
            objects[name] = make(arrays[name])
        return objects[name]

    def pairs(items: list[Any]) -> list[tuple[Any, Any]]:
        return [(decode(key), decode(item)) for key, item in items]

    decoders: dict[str, Callable[[Any], Any]] = {
        "dict": lambda table: {key: decode(item) for key, item in table.items()},
        "items": lambda items: dict(pairs(items)),
        "ordered": lambda items: OrderedDict(pairs(items)),
        "tuple": lambda items: tuple(decode(item) for item in items),
        "float": float,
        "complex": lambda parts: complex(*(decode(part) for part in parts)),
        "bytes": bytes.fromhex,
        "dtype": np.dtype,
        "device": Device,
        "array": lambda name: array(name, lambda stored: stored),
        "tensor": lambda name: array(name, Tensor),
        "leaf": lambda name: array(name, lambda stored: Tensor(stored).requires_grad_()),
    }

    def decode(item: Any) -> Any:
        if isinstance(item, list):
            return [decode(entry) for entry in item]
        if not isinstance(item, dict):
            return item
        ((tag, content),) = item.items()
        return decoders[tag](content)

    value = decode(data)
    if objects.keys() != arrays.keys():
        raise ValueError(f"arrays that nothing refers to: {sorted(arrays.keys() - objects.keys())}")
    return value


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)

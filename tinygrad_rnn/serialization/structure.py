"""A nested value as JSON data and a table of named arrays, and back: the form in which everything is saved.

The data holds no code.  A list, a number, a string, a bool and None stand for themselves; a JSON object has one key,
which says what it is:

    {"dict": {"key": ...}}                    a dict whose keys are strings
    {"items": [[key, value], ...]}            any other dict
    {"ordered": [[key, value], ...]}          an OrderedDict
    {"tuple": [...]}, {"size": [...]}         a tuple, a Size
    {"float": "nan"}                          nan, inf, -inf
    {"complex": [re, im]}, {"bytes": "hex"}   a complex number, a byte string
    {"scalar": ["float32", 0.5]}              a NumPy scalar
    {"dtype": "float32"}, {"device": "cpu"}   a NumPy dtype, a Device
    {"array": "name"}, {"tensor": "name"}     an array, a Tensor
    {"leaf": "name"}                          a Tensor that requires grad
    {"parameter": "name"}, {"fixed": "name"}  a Parameter that requires grad, or does not
    {"tensor": ["name", 1]}                   another Tensor with the memory of "name" (likewise the three above)

and, for layers and what else a program allows (see ``objects`` and ``allowed``):

    {"module": {...}}, {"object": {...}}      a Module, an object of an allowed class
    {"same": 3}                               the fourth of these objects once more
    {"named": {...}}, {"global": "name"}      an allowed named tuple; an allowed class or function itself

An array or tensor that occurs several times (the same object) is stored once, and is one object again when read;
tensors that share their memory are stored once, and share it again.
"""

from __future__ import annotations

import math
import operator
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import Device, dtype, is_array
from ..errors import ArgumentTypeError
from ..nn import Module, Parameter, UninitializedParameter
from ..tape.tensor import Size, Tensor, wrap
from ..typing import Array
from .allowed import full_name, name_of
from .objects import Objects, find, take_apart

__all__ = ["Arrays", "flatten", "unflatten"]

Arrays = dict[str, Any]
Place = Callable[[Array], Array]


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
        self.memory: dict[Any, tuple[str, int]] = {}  # who has this memory, and how many tensors do
        self.objects: dict[int, int] = {}

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
                return {"dict": self.table(value, path)}
            return {"items": self.pairs(value, path)}
        if isinstance(value, tuple):
            if kind is not tuple and (name := name_of(kind)):
                return {"named": {"class": name, "items": self.sequence(value, path)}}
            return {"size" if kind is Size else "tuple": self.sequence(value, path)}
        if isinstance(value, (np.bool_, np.number)):
            return {"scalar": [value.dtype.name, self.encode(value.item(), path)]}
        if isinstance(value, Tensor) or is_array(value):
            return self.reference(value, path)
        if kind is complex:
            return {"complex": [self.encode(value.real, path), self.encode(value.imag, path)]}
        if kind is bytes:
            return {"bytes": value.hex()}
        if isinstance(value, (np.dtype, dtype)):
            return {"dtype": value.name}
        if isinstance(value, Device):
            return {"device": str(value)}
        return self.object(value, path)

    def object(self, value: Any, path: str) -> Any:
        if callable(value) and not isinstance(value, Module) and (name := name_of(value)):
            return {"global": name}
        if id(value) in self.objects:
            return {"same": self.objects[id(value)]}
        parts = take_apart(value, path or "the value")
        if parts is None:
            raise ArgumentTypeError(
                f"save(): {path or 'the value'} is a {full_name(type(value))}, which cannot be saved. "
                "Containers, numbers, strings, arrays, tensors and modules can; of an optimiser save its state_dict(); "
                "a class or function of your own must be allowed: serialization.add_safe_globals([...])"
            )
        tag, name, tables = parts
        self.objects[id(value)] = len(self.objects)
        return {tag: {"class": name, **{key: self.table(table, path) for key, table in tables.items() if table}}}

    def sequence(self, values: Any, path: str) -> list[Any]:
        return [self.encode(item, _join(path, i)) for i, item in enumerate(values)]

    def pairs(self, values: dict[Any, Any], path: str) -> list[Any]:
        return [[self.encode(key, path), self.encode(item, _join(path, key))] for key, item in values.items()]

    def table(self, values: dict[str, Any], path: str) -> dict[str, Any]:
        return {key: self.encode(item, _join(path, key)) for key, item in values.items()}

    def reference(self, value: Tensor | Array, path: str) -> Any:
        if id(value) not in self.references:
            if isinstance(value, UninitializedParameter):
                raise ArgumentTypeError(f"save(): {path} has no shape yet. Run the module once, or save it without")
            tag, array, place = "array", value, None
            if isinstance(value, Tensor):
                tag, array = _kind_of(value), value._data
                place = _place(array)
            if place is not None and place in self.memory:
                name, others = self.memory[place]
                self.references[id(value)] = {tag: [name, others]}
                self.memory[place] = name, others + 1
            else:
                name = self.unused(path or "value")
                self.arrays[name] = array
                self.references[id(value)] = {tag: name}
                if place is not None:
                    self.memory[place] = name, 1
        return self.references[id(value)]

    def unused(self, name: str) -> str:
        candidate, n = name, 1
        while candidate in self.arrays or candidate == "__metadata__":
            n += 1
            candidate = f"{name}~{n}"
        return candidate


def _kind_of(value: Tensor) -> str:
    if isinstance(value, Parameter):
        return "parameter" if value.requires_grad else "fixed"
    return "leaf" if value.requires_grad else "tensor"


def _place(array: Array) -> Any:
    """Where these entries lie in memory, in a form that compares; None where that does not tell (no entries)."""
    if not isinstance(array, np.ndarray) or not array.size:
        return None
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str


def unflatten(data: Any, arrays: dict[str, npt.NDArray[Any]], place: Place = lambda array: array) -> Any:
    """The value that ``flatten`` took apart; it takes possession of ``arrays``.

    Args:
        data: what ``flatten`` made of the nesting.
        arrays: and of the arrays.
        place: what each tensor's array becomes first, on another device for instance.

    Raises:
        CheckpointError: the data names a class or function that is not allowed.
        ValueError, TypeError, KeyError: the data is not what ``flatten`` makes, or does not fit the arrays.

    >>> unflatten(*flatten([1, ("a", None), {2: float("inf")}]))
    [1, ('a', None), {2: inf}]
    """
    made: dict[Any, Any] = {}  # what each array has become, by name, or by name and number
    used: set[str] = set()
    objects = Objects()

    def array(key: Any, make: Callable[[Any], Any], first: Callable[[Any], Any]) -> Any:
        name, number = key if isinstance(key, list) else (key, 0)
        used.add(name)
        if (name, number) not in made:
            if (name, "memory") not in made:
                made[name, "memory"] = first(arrays[name])
            made[name, number] = make(made[name, "memory"])
        return made[name, number]

    def tensor(make: Callable[[Tensor], Tensor]) -> Callable[[Any], Tensor]:
        # Tensors made of one and the same first tensor share its memory, and the record of writes to it.
        return lambda key: array(key, make, lambda stored: wrap(place(stored)))

    def pairs(items: list[Any]) -> list[tuple[Any, Any]]:
        return [(decode(key), decode(item)) for key, item in items]

    def table(items: dict[str, Any]) -> dict[str, Any]:
        return {key: decode(item) for key, item in items.items()}

    def scalar(parts: list[Any]) -> Any:
        dtype = np.dtype(parts[0])
        if dtype.kind not in "biufc":
            raise ValueError(f"no scalars have dtype {dtype}")
        return dtype.type(decode(parts[1]))

    def named(parts: dict[str, Any]) -> Any:
        return tuple.__new__(find(parts["class"], tuple), [decode(item) for item in parts["items"]])

    decoders: dict[str, Callable[[Any], Any]] = {
        "dict": table,
        "items": lambda items: dict(pairs(items)),
        "ordered": lambda items: OrderedDict(pairs(items)),
        "tuple": lambda items: tuple(decode(item) for item in items),
        "size": lambda items: Size(operator.index(item) for item in items),
        "float": float,
        "complex": lambda parts: complex(*(decode(part) for part in parts)),
        "bytes": bytes.fromhex,
        "scalar": scalar,
        "dtype": dtype,
        "device": Device,
        "array": lambda name: array(name, lambda stored: stored, lambda stored: stored),
        "tensor": tensor(lambda stored: stored.detach()),
        "leaf": tensor(lambda stored: stored.detach().requires_grad_()),
        "parameter": tensor(Parameter),
        "fixed": tensor(lambda stored: Parameter(stored, requires_grad=False)),
        "named": named,
        "global": find,
        "same": objects.again,
        "module": lambda parts: objects.module(parts, table),
        "object": lambda parts: objects.plain(parts, table),
    }

    def decode(item: Any) -> Any:
        if isinstance(item, list):
            return [decode(entry) for entry in item]
        if not isinstance(item, dict):
            return item
        ((tag, content),) = item.items()
        return decoders[tag](content)

    value = decode(data)
    if used != arrays.keys():
        raise ValueError(f"arrays that nothing refers to: {sorted(arrays.keys() - used)}")
    return value


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)

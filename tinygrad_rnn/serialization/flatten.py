"""Flattening: a nested value as JSON data and a table of named arrays, the form in which everything is saved.

The data holds no code.  A list, a number, a string, a bool and None stand for themselves; a JSON object has one key,
which says what it is:

    {"dict": {"key": ...}}                    a dict whose keys are strings
    {"items": [[key, value], ...]}            any other dict
    {"ordered": [[key, value], ...]}          an OrderedDict; {"state_dict": [pairs, versions]} of Module.state_dict
    {"counter": [[key, count], ...]}          a Counter
    {"defaultdict": [made, [[key, ...]]]}     a defaultdict and what it makes of nothing
    {"tuple": [...]}, {"size": [...]}         a tuple, a Size
    {"set": [...]}, {"frozenset": [...]}      a set, a frozenset
    {"float": "nan"}, {"int": "hex"}          nan, inf, -inf; an integer of more than 1024 bits
    {"bytes": "hex"}, {"bytearray": "hex"}    bytes; long ones {"bytes": {"array": "name"}}
    {"text": "name"}                          a long string, an array of its bytes in UTF-8
    {"complex": [re, im]}, {"range": [...]}   and other kinds of plain data with parts: see ``plain_data``
    {"scalar": ["float32", 0.5]}              a NumPy scalar
    {"dtype": "float32"}, {"device": "cpu"}   a dtype, a Device; {"numpy_dtype": "float32"} one of NumPy's
    {"type": "float"}, {"type": "numpy.int8"} a class of plain data, or of NumPy scalars
    {"array": "name"}, {"tensor": "name"}     an array, a Tensor
    {"leaf": "name"}                          a Tensor that requires grad
    {"parameter": "name"}, {"fixed": "name"}  a Parameter that requires grad, or does not
    {"tensor": ["name", 1]}                   another Tensor with the memory of "name" (likewise the three above)

and, for layers and whatever else a program allows (see ``objects`` and ``allow_list``):

    {"module": {...}}, {"optimizer": {...}}   a Module, an optimiser
    {"object": {...}}, {"generator": {...}}   an object of a named class, a Generator with its state
    {"same": 3}                               the fourth of these objects once more
    {"named": {...}}, {"enum": ["class", "member"]}
    {"global": "name"}                        a named tuple, a member of an enumeration, a class or function itself

An array or tensor that occurs several times (the same object) is stored once, and is one object again when read;
tensors that share their memory are stored once, and share it again.  ``unflatten`` is the way back.
"""

from __future__ import annotations

import math
import sys
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Hashable, Iterable
from enum import Enum
from typing import Any, NoReturn

import numpy as np

from ..backend import Device, dtype, is_array, to_numpy
from ..backend.random.generator import Generator
from ..errors import ArgumentError, ArgumentTypeError
from ..nn import Parameter, UninitializedParameter
from ..tape.tensor import Tensor
from ..typing import Array, Size
from .allow_list import full_name, name_of
from .objects import own_name, take_apart
from .plain_data import KINDS, NAMES_OF_TYPES, scalar_parts
from .safetensors_file import printable

__all__ = ["DEEPEST", "Arrays", "Comparisons", "flatten"]

Arrays = dict[str, Any]

DEEPEST = 100
"""Levels of nesting.  Each needs up to six frames of Python, of a thousand that the program around has a part of."""

LONG = 1 << 16
"""Characters or bytes: longer texts become arrays."""

WIDEST = 1024
"""Bits: wider integers are written in base 16, since time for base 10 grows with the square of their length."""


def flatten(value: Any) -> tuple[Any, Arrays]:
    """``value`` as JSON data, and its arrays by name (the path to them, such as ``model.weight``).

    Raises:
        ArgumentTypeError: something in it is not of the kinds in the table above; the message says where.
        ArgumentError: it contains itself, or is nested too deeply; or too many keys have one hash.

    >>> flatten({"step": 3, "w": (np.zeros(2),)})
    ({'dict': {'step': 3, 'w': {'tuple': [{'array': 'w.0'}]}}}, {'w.0': array([0., 0.])})
    """
    return _Flattener().flatten(value)


class Comparisons:
    """Counts how often keys with one and the same hash have to be compared while dicts and sets are built.

    The time for a dict of n such keys grows with n * n, and integers, floats and tuples with one hash are easily
    made.  A million comparisons take less than a second; what people write needs a few.
    """

    MOST = 1_000_000

    def __init__(self) -> None:
        self.count = 0

    def too_many(self, keys: Iterable[Hashable]) -> bool:
        """Count those of another dict or set; whether there are too many now.

        Raises:
            Exception: what ``hash`` of a key raises.
        """
        alike: dict[int, list[Any]] = {}
        seen: dict[int, Any] = {}
        for key in keys:
            code = hash(key)
            if code in seen:
                alike.setdefault(code, [seen[code]]).append(key)
            else:
                seen[code] = key
        for group in alike.values():
            self.count += len(group) * (len(group) - 1) // 2 * max(map(_weight, group))
        return self.count > self.MOST


def _weight(key: Any) -> int:
    """How long a comparison takes, in those of two small integers."""
    if isinstance(key, (tuple, frozenset)):
        return 1 + sum(map(_weight, key))
    if isinstance(key, int):
        return 1 + key.bit_length() // 1024
    return 1 + len(key) // 256 if isinstance(key, (str, bytes)) else 1


class _Flattener:
    def __init__(self) -> None:
        self.arrays: Arrays = {}
        self.references: dict[int, Any] = {}  # by id; the caller's value keeps these objects alive
        self.memory: dict[Any, tuple[str, int]] = {}  # the array that has this memory, and how many tensors share it
        self.objects: dict[int, int] = {}
        self.around: list[Any] = []  # the modules whose submodules are being taken apart
        self.depth = 0
        self.comparisons = Comparisons()

    def flatten(self, value: Any) -> tuple[Any, Arrays]:
        return self.encode(value, ""), self.arrays

    def encode(self, value: Any, path: str) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            # Exact types throughout: IntEnum is an int and np.float64 a float, but they must come back as what they
            # were.
            return value
        if kind is int:
            return value if value.bit_length() <= WIDEST else {"int": hex(value)}
        if kind is str:
            # File names that are not UTF-8 reach Python as lone surrogates, which the strict codec refuses.
            return value if len(value) <= LONG else {"text": self.bytes(value.encode("utf-8", "surrogatepass"), path)}
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        # Before arrays, among which is_array() counts NumPy's scalars.
        if isinstance(value, np.generic):
            return self.scalar(value, path)
        if isinstance(value, Tensor) or is_array(value):
            return self.reference(value, path)
        self.depth += 1
        if self.depth > DEEPEST:
            raise ArgumentError(
                f"save(): the value contains itself, or is nested too deeply: {printable(path, 60)} is at level "
                f"{DEEPEST}. Make it flatter, for instance a list of the nodes in place of a chain of them"
            )
        encoded = self.compound(value, kind, path)
        # Without ``finally``: a flattener that raised is not used again.
        self.depth -= 1
        return encoded

    def compound(self, value: Any, kind: Any, path: str) -> Any:
        if kind is list:
            return self.sequence(value, path)
        if isinstance(value, Enum):  # first, since its members may also be tuples, numbers or strings
            return self.object(value, path)
        if isinstance(value, dict):
            if not (encoded := self.mapping(value, kind, path)):
                self.refuse(value, path)
            return encoded
        if isinstance(value, tuple):
            if kind is not tuple and (name := name_of(kind)):
                return {"named": {"class": name, "items": self.sequence(value, path)}}
            return {"size" if kind is Size else "tuple": self.sequence(value, path)}
        if kind is set or kind is frozenset:
            return {kind.__name__: self.sequence(_ordered(self.checked(value, path)), path)}
        if kind in KINDS:
            try:
                parts = KINDS[kind].apart(value)
            except ValueError as error:
                raise ArgumentTypeError(f"save(): {path or 'the value'} {error}, which cannot be saved") from error
            return {KINDS[kind].tag: self.sequence(parts, path)}
        if kind is bytes or kind is bytearray:
            return {kind.__name__: value.hex() if len(value) <= LONG else {"array": self.bytes(value, path)}}
        if isinstance(value, (np.dtype, dtype)):
            if value.kind == "V":  # records, and bytes of no kind
                self.refuse(value, path)
            # The name alone tells neither the byte order nor the length of strings.
            name = value.name if value.isnative and value.kind not in "US" else value.str
            return {"dtype" if isinstance(value, dtype) else "numpy_dtype": name}
        if isinstance(value, Device):
            return {"device": str(value)}
        return self.object(value, path)

    def mapping(self, value: dict[Any, Any], kind: Any, path: str) -> Any:
        if kind is dict:
            if all(type(key) is str for key in value):
                return {"dict": self.table(value, path)}
            return {"items": self.pairs(value, path)}
        if kind is OrderedDict:
            # PyTorch's state_dict carries the versions of its modules as an attribute.
            if hasattr(value, "_metadata"):
                return {"state_dict": [self.pairs(value, path), self.encode(value._metadata, _join(path, "_metadata"))]}
            return {"ordered": self.pairs(value, path)}
        if kind is Counter:
            return {"counter": self.pairs(value, path)}
        if isinstance(value, defaultdict) and kind is defaultdict:
            factory = self.encode(value.default_factory, _join(path, "default_factory"))
            return {"defaultdict": [factory, self.pairs(value, path)]}
        return None

    def scalar(self, value: np.generic, path: str) -> Any:
        parts = scalar_parts(value)
        if parts is None:
            self.refuse(value, path)
        return {"scalar": [parts[0], self.encode(parts[1], path)]}

    def object(self, value: Any, path: str) -> Any:
        if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
            if isinstance(value, type) and value in NAMES_OF_TYPES:
                return {"type": NAMES_OF_TYPES[value]}
            if name := name_of(value) or own_name(value):
                return {"global": name}
            self.refuse(value, path)
        if isinstance(value, Enum):
            kind = type(value)
            name = name_of(kind) or own_name(kind)
            # A combination of flags has a name, such as "A|B", but is no member that could be looked up.
            if name is None or value.name not in kind.__members__:
                self.refuse(value, path)
            return {"enum": [name, value.name]}
        if id(value) in self.objects:
            # An attribute may refer back to an outer module, but a walk over submodules, such as state_dict(), would
            # not end.
            if any(value is outer for outer in self.around):
                raise ArgumentTypeError(f"save(): {path or 'the value'} is a module that has itself among its modules")
            return {"same": self.objects[id(value)]}
        if isinstance(value, Generator):
            self.objects[id(value)] = len(self.objects)
            return {"generator": {"array": self.stored(np.asarray(to_numpy(_raw(value.get_state()))), path)}}
        parts = take_apart(value, path or "the value")
        if parts is None:
            self.refuse(value, path)
        tag, tables = parts
        # Numbered after the checks and before the parts, which may refer back to it; the reader counts in this order.
        self.objects[id(value)] = len(self.objects)
        wanted = {key: part for key, part in tables.items() if part or key == "groups"}  # no optimiser is without
        return {tag: {key: self.part(tag, key, value, part, path) for key, part in wanted.items()}}

    def part(self, tag: str, key: str, value: Any, part: Any, path: str) -> Any:
        if not isinstance(part, dict):
            return part if isinstance(part, str) else self.encode(part, _join(path, key))
        around = self.around
        # A module may be reached again through an attribute or an optimiser: that is not a cycle of submodules.
        self.around = [*around, value] if tag == "module" and key == "modules" else []
        encoded = self.table(part, _join(path, key) if tag == "optimizer" else path)
        self.around = around
        return encoded

    def refuse(self, value: Any, path: str) -> NoReturn:
        kind = type(value)
        advice = "Leave it out, or save what it holds as numbers, strings, containers, arrays or tensors"
        if isinstance(value, types.MethodType):
            advice = "Define it in the class, or delete the attribute before saving, or save the state_dict()"
        elif isinstance(value, types.FunctionType):
            advice = "Only a function at the top level of a module has a name that a file can hold"
        elif isinstance(value, (type, types.BuiltinFunctionType)):
            advice = "To be saved by its name it must be allowed: serialization.add_safe_globals([...])"
        elif kind is defaultdict or issubclass(kind, dict):
            advice = "Make it a dict: dict(...)"
        raise ArgumentTypeError(
            f"save(): {path or 'the value'} is a {full_name(kind)}, which cannot be saved. {advice}"
        )

    def sequence(self, values: Any, path: str) -> list[Any]:
        return [self.encode(item, _join(path, i)) for i, item in enumerate(values)]

    def pairs(self, values: dict[Any, Any], path: str) -> list[Any]:
        self.checked(values, path)
        return [
            [self.encode(key, path), self.encode(item, _join(path, _short(key, i)))]
            for i, (key, item) in enumerate(values.items())
        ]

    def checked(self, keys: Any, path: str) -> Any:
        if self.comparisons.too_many(keys):
            raise ArgumentError(f"save(): too many keys of {path or 'the value'} have the same hash: use other keys")
        return keys

    def table(self, values: dict[str, Any], path: str) -> dict[str, Any]:
        return {key: self.encode(item, _join(path, key)) for key, item in values.items()}

    def reference(self, value: Tensor | Array, path: str) -> Any:
        if id(value) not in self.references:
            if isinstance(value, UninitializedParameter):
                raise ArgumentTypeError(f"save(): {path} has no shape yet. Run the module once, or save it without")
            if isinstance(value, np.matrix):
                raise ArgumentTypeError(
                    f"save(): {path or 'the value'} is a matrix, which would come back as an array, with another "
                    "meaning of *. Save numpy.asarray(it)"
                )
            if "numpy.ma" in sys.modules and isinstance(value, np.ma.MaskedArray):  # np.ma is loaded by its name
                raise ArgumentTypeError(f"save(): {path or 'the value'} is masked. Save its data and its mask")
            if isinstance(value, Tensor):
                tag, array = _kind_of(value), value._data
                place = _place(array)
            else:
                tag, array, place = "array", value, None
            # The very same memory, shape and strides; a view of a part of it is stored on its own.
            if place is not None and place in self.memory:
                name, others = self.memory[place]
                self.references[id(value)] = {tag: [name, others]}
                self.memory[place] = name, others + 1
            else:
                name = self.stored(array, path)
                self.references[id(value)] = {tag: name}
                if place is not None:
                    self.memory[place] = name, 1
        return self.references[id(value)]

    def bytes(self, value: bytes | bytearray, path: str) -> str:
        return self.stored(np.frombuffer(value, np.uint8), path)

    def stored(self, array: Array, path: str) -> str:
        """Add an array to the table; its name there."""
        name = candidate = path or "value"
        n = 1
        # The format reserves ``__metadata__``.
        while candidate in self.arrays or candidate == "__metadata__":
            n += 1
            candidate = f"{name}~{n}"
        self.arrays[candidate] = array
        return candidate


def _raw(value: Any) -> Any:
    return value._data if isinstance(value, Tensor) else value


def _ordered(values: Any) -> Any:
    """A set's members in the same order in every process, where they have one: hashes of strings differ."""
    kinds = {type(value) for value in values}
    return sorted(values) if len(kinds) == 1 and kinds <= {str, int, bytes} else values


def _kind_of(value: Tensor) -> str:
    if isinstance(value, Parameter):
        return "parameter" if value.requires_grad else "fixed"
    return "leaf" if value.requires_grad else "tensor"


def _place(array: Array) -> Any:
    """A hashable description of the memory of an array; None where there is none to share (no entries)."""
    if not isinstance(array, np.ndarray) or not array.size:
        return None
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str


def _short(key: Any, number: int) -> object:
    """How a key appears in a path."""
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, int) and part.bit_length() > WIDEST for part in parts):
        return number  # Python refuses to write it in base 10
    return key if all(isinstance(part, (str, int, float, bool, type(None))) for part in parts) else number


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)

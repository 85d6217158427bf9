"""Unflattening: JSON data and a table of named arrays, back to a nested value.  See ``flatten`` for the form.

Whatever the data is, it gives a value or a CheckpointError, in time and memory in proportion to its length: nothing
is made as large as a number in the file says, and keys that have one hash are counted before a dict is made of them.
"""

from __future__ import annotations

import operator
import reprlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..backend import Device
from ..backend.dtypes import DTYPES
from ..backend.random.generator import Generator
from ..errors import CheckpointError
from ..nn import Parameter
from ..tape.tensor import Tensor, wrap
from ..typing import Array, Size
from .flatten import Comparisons
from .objects import Builder, damaged, find
from .plain_data import MAKERS, TYPES, scalar_of
from .safetensors_file import printable

__all__ = ["unflatten"]

T = TypeVar("T")
Place = Callable[[Array], Array]


def unflatten(data: Any, arrays: dict[str, npt.NDArray[Any]], place: Place = lambda array: array) -> Any:
    """The value that ``flatten`` took apart; it takes over ``arrays``.

    Args:
        data: what ``flatten`` made of the nesting.
        arrays: and of the arrays.
        place: what each tensor's array becomes first, on another device for instance.

    Raises:
        CheckpointError: the data is not what ``flatten`` makes, does not fit the arrays, or names a class or function
            that is not allowed.
        Exception: whatever ``place`` raises.

    >>> from tinygrad_rnn.serialization.flatten import flatten
    >>> unflatten(*flatten([1, ("a", None), {2: float("inf")}]))
    [1, ('a', None), {2: inf}]
    """
    reader = _Reader(arrays, place)
    try:
        value = reader.decode(data)
    except RecursionError:
        damaged("it is nested too deeply")
    if reader.used != arrays.keys():
        damaged(f"arrays that nothing refers to: {reprlib.repr(sorted(arrays.keys() - reader.used))}")
    return value


def _brief(part: Any) -> str:
    """A part in an error: objects of other kinds may be long, or have a ``repr`` that runs their code."""
    small = type(part) in (bool, int, float, type(None)) and (type(part) is not int or part.bit_length() < 200)
    return repr(part) if small else printable(repr(part[:40])) if type(part) is str else f"a {type(part).__name__}"


class _Reader:
    """Reads one file.  Methods stand for the tags; they refer to no closure, so nothing of it is left in a cycle."""

    def __init__(self, arrays: dict[str, npt.NDArray[Any]], place: Place) -> None:
        self.arrays = arrays
        self.place = place
        self.used: set[str] = set()
        self.memory: dict[str, Tensor] = {}  # the tensor that holds the memory of each array
        self.made: dict[tuple[str, int], Any] = {}
        self.builder = Builder()
        self.comparisons = Comparisons()

    def decode(self, item: Any) -> Any:
        kind = type(item)
        if kind is list:
            return list(map(self.decode, item))
        if kind is not dict:
            return item
        if len(item) != 1:
            damaged(f"a value of {len(item)} kinds")
        ((tag, content),) = item.items()
        if tag in MAKERS:
            return self.make(tag, MAKERS[tag], *self.read_list(content))
        if tag not in TAGS:
            damaged(f"a value of the unknown kind {printable(repr(tag), 60)}")
        return TAGS[tag](self, content)

    def make(self, tag: str, maker: Callable[..., T], *parts: Any) -> T:
        """What a constructor of the standard library or NumPy makes of parts that may be anything."""
        try:
            return maker(*parts)
        except Exception as error:
            shown = ", ".join(map(_brief, parts[:4]))
            raise CheckpointError(
                f"the file is damaged: no {tag} is made of {shown} ({type(error).__name__})"
            ) from error

    # containers -------------------------------------------------------------------------------------------------

    def read_list(self, items: Any) -> list[Any]:
        if type(items) is not list:
            damaged(f"{reprlib.repr(items)} where a list belongs")
        return list(map(self.decode, items))

    def table(self, items: Any) -> dict[str, Any]:
        if type(items) is not dict:
            damaged(f"{reprlib.repr(items)} where a table belongs")
        return dict(zip(items, map(self.decode, items.values()), strict=True))

    def pairs(self, items: Any) -> list[Any]:
        pairs = self.read_list(items)
        if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
            damaged("the entries of a dict are no pairs")
        self.check_keys([key for key, _ in pairs])
        return pairs

    def check_keys(self, keys: list[Any]) -> None:
        try:
            too_many = self.comparisons.too_many(keys)
        except Exception as error:
            raise CheckpointError(f"the file is damaged: a key has no hash ({type(error).__name__})") from error
        if too_many:
            damaged("too many keys have the same hash")

    def read_tuple(self, items: Any) -> tuple[Any, ...]:
        return tuple(self.read_list(items))

    def read_size(self, items: Any) -> Size:
        return Size(self.make("size", operator.index, item) for item in self.read_list(items))

    def read_set(self, items: Any) -> set[Any]:
        members = self.read_list(items)
        self.check_keys(members)
        return self.make("set", set, members)

    def read_frozenset(self, items: Any) -> frozenset[Any]:
        return frozenset(self.read_set(items))

    def read_items(self, items: Any) -> dict[Any, Any]:
        return self.make("dict", dict, self.pairs(items))

    def read_ordered(self, items: Any) -> OrderedDict[Any, Any]:
        return self.make("dict", OrderedDict, self.pairs(items))

    def read_state_dict(self, content: Any) -> OrderedDict[str, Any]:
        if type(content) is not list or len(content) != 2:
            damaged("a state_dict is no pair")
        state: OrderedDict[str, Any] = self.read_ordered(content[0])
        versions = self.decode(content[1])
        if type(versions) is not OrderedDict or not all(type(version) is dict for version in versions.values()):
            damaged("the versions of a state_dict are no tables")
        vars(state)["_metadata"] = versions
        return state

    def read_counter(self, items: Any) -> Counter[Any]:
        counter: Counter[Any] = Counter()
        # Not Counter.update, which adds to the counts and expects numbers.
        dict.update(counter, self.read_items(items))
        return counter

    def read_defaultdict(self, content: Any) -> defaultdict[Any, Any]:
        if type(content) is not list or len(content) != 2:
            damaged("a defaultdict is no pair")
        factory = self.decode(content[0])
        # Whatever is callable by now was found in the table of types or on the allow-list.
        if factory is not None and not callable(factory):
            damaged(f"a defaultdict cannot make {reprlib.repr(content[0])}")
        return defaultdict(factory, self.read_items(content[1]))

    # plain data -------------------------------------------------------------------------------------------------

    def read_float(self, text: Any) -> float:
        if text not in ("nan", "inf", "-inf"):
            damaged(f"there is no number {reprlib.repr(text)}")
        return float(text)

    def read_int(self, text: Any) -> int:
        return self.make("int", int, text, 16)

    def read_bytes(self, content: Any) -> bytes:
        if type(content) is str:
            return self.make("bytes", bytes.fromhex, content)
        array = self.decode(content)
        if type(array) is not np.ndarray or array.dtype != np.uint8 or array.ndim != 1:
            damaged("bytes are stored in another form")
        return array.tobytes()

    def read_bytearray(self, content: Any) -> bytearray:
        return bytearray(self.read_bytes(content))

    def read_text(self, name: Any) -> str:
        return self.make("text", bytes.decode, self.read_bytes({"array": name}), "utf-8", "surrogatepass")

    def read_scalar(self, content: Any) -> np.generic:
        return self.make("scalar", scalar_of, *self.read_list(content))

    def read_dtype(self, name: Any) -> Any:
        made = self.read_numpy_dtype(name)
        return DTYPES.get(made, made)  # without an entry for whatever a file names

    def read_numpy_dtype(self, name: Any) -> Any:
        made = self.make("dtype", np.dtype, name) if type(name) is str and len(name) < 40 else None
        # NumPy reads "i4, f8" as a record and "(3,)f8" as an array inside of an entry.
        if made is None or made.fields or made.subdtype:
            damaged(f"there is no dtype {printable(reprlib.repr(name), 60)}")
        return made

    def read_type(self, name: Any) -> type:
        if type(name) is not str or name not in TYPES:
            damaged(f"there is no type {printable(reprlib.repr(name), 60)}")
        return TYPES[name]

    def read_device(self, name: Any) -> Device:
        return self.make("device", Device, name)

    # arrays -----------------------------------------------------------------------------------------------------

    def stored(self, name: Any) -> npt.NDArray[Any]:
        if type(name) is not str or name not in self.arrays:
            damaged(f"it refers to an array {printable(reprlib.repr(name), 60)}, which is not there")
        self.used.add(name)
        return self.arrays[name]

    def tensor(self, key: Any, tag: str, make: Callable[[Tensor], Tensor]) -> Tensor:
        name, number = key if type(key) is list and len(key) == 2 else (key, 0)
        if type(number) is not int:
            damaged("the number of a tensor is none")
        array = self.stored(name)
        if (name, number) not in self.made:
            if name not in self.memory:
                self.memory[name] = wrap(self.place(array))
            # Tensors made of one and the same first tensor share its memory, and the record of writes to it.
            self.made[name, number] = self.make(tag, make, self.memory[name])
        made: Tensor = self.made[name, number]
        return made

    # objects ----------------------------------------------------------------------------------------------------

    def read_generator(self, content: Any) -> Generator:
        state = self.decode(content)
        made = self.make("generator", Generator().set_state, state)
        # ``flatten`` numbers generators among the objects, so they count here too.
        self.builder.made.append(made)
        return made

    def read_named(self, parts: Any) -> Any:
        if type(parts) is not dict or parts.keys() != {"class", "items"}:
            damaged("a named tuple without class or items")
        kind: Any = find(parts["class"], tuple)
        items = self.read_list(parts["items"])
        if len(items) != len(getattr(kind, "_fields", items)):
            damaged(f"a {parts['class']} of {len(items)} fields")
        # Not ``kind(*items)``: a subclass may have a ``__new__`` of its own, which must not run.
        return self.make("named tuple", tuple.__new__, kind, items)

    def read_enum(self, parts: Any) -> Any:
        if type(parts) is not list or len(parts) != 2 or type(parts[1]) is not str:
            damaged("a member of an enumeration without a name")
        kind: Any = find(parts[0], Enum)
        if parts[1] not in kind.__members__:
            raise CheckpointError(f"{parts[0]!r} has no member {printable(repr(parts[1]), 60)}")
        return kind.__members__[parts[1]]


TAGS: dict[str, Callable[[_Reader, Any], Any]] = {
    "dict": _Reader.table,
    "items": _Reader.read_items,
    "ordered": _Reader.read_ordered,
    "state_dict": _Reader.read_state_dict,
    "counter": _Reader.read_counter,
    "defaultdict": _Reader.read_defaultdict,
    "tuple": _Reader.read_tuple,
    "size": _Reader.read_size,
    "set": _Reader.read_set,
    "frozenset": _Reader.read_frozenset,
    "float": _Reader.read_float,
    "int": _Reader.read_int,
    "bytes": _Reader.read_bytes,
    "bytearray": _Reader.read_bytearray,
    "text": _Reader.read_text,
    "scalar": _Reader.read_scalar,
    "dtype": _Reader.read_dtype,
    "numpy_dtype": _Reader.read_numpy_dtype,
    "type": _Reader.read_type,
    "device": _Reader.read_device,
    "array": _Reader.stored,
    "tensor": lambda reader, key: reader.tensor(key, "tensor", Tensor.detach),
    "leaf": lambda reader, key: reader.tensor(key, "leaf", lambda stored: stored.detach().requires_grad_()),
    "parameter": lambda reader, key: reader.tensor(key, "parameter", Parameter),
    "fixed": lambda reader, key: reader.tensor(key, "parameter", lambda stored: Parameter(stored, requires_grad=False)),
    "generator": _Reader.read_generator,
    "named": _Reader.read_named,
    "enum": _Reader.read_enum,
    "global": lambda reader, name: find(name),
    "same": lambda reader, number: reader.builder.again(number),
    "module": lambda reader, parts: reader.builder.build("module", parts, reader.table),
    "optimizer": lambda reader, parts: reader.builder.build("optimizer", parts, reader.table),
    "object": lambda reader, parts: reader.builder.build("object", parts, reader.table),
}

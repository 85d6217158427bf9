"""Whole modules, and objects of allowed classes: as tables of plain values, and rebuilt from them without a call.

    {"class": "tinygrad_rnn.nn.Linear",       the name of the class; looked up, never imported
     "state": {"training": true, ...},        its attributes
     "parameters": {...}, "buffers": {...}, "modules": {...},         of a Module
     "not_saved": {"name": true}}             buffers that a state_dict leaves out

To rebuild, an empty object of the class is made and its attributes are put in place.  Neither ``__init__`` nor
``__new__`` nor ``__setstate__`` of the class runs; hooks, which are code, are refused when saving.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentTypeError, CheckpointError
from ..nn import Module, Parameter
from ..tape.tensor import Tensor
from .allowed import full_name, name_of, named

__all__ = ["Objects", "find", "take_apart"]

KINDS = {"parameters": Parameter, "buffers": Tensor, "modules": Module}
TABLES = {"parameters": "_parameters", "buffers": "_buffers", "modules": "_modules"}
TRANSIENT = "_non_persistent_buffers_set"
INNER = frozenset(vars(Module())) - {"training"}

Parts = tuple[str, str, dict[str, dict[str, Any]]]


def take_apart(value: Any, where: str) -> Parts | None:
    """What kind of object, the name of its class, and its tables; None for an object that is not allowed.

    A Module of any class can be written; to read it, the class must be allowed.

    Raises:
        ArgumentTypeError: a module with hooks, or of a class that could not be named when reading.
    """
    kind = type(value)
    name = name_of(kind)
    if isinstance(value, Module):
        if name is None and "<" in kind.__qualname__:
            raise ArgumentTypeError(
                f"save(): {where} is a {full_name(kind)}, a class made inside a function: nobody can name it when the "
                "file is read. Define the class at the top of a file, or save the state_dict()"
            )
        return "module", name or full_name(kind), _module_tables(value, where)
    if name is None or not hasattr(value, "__dict__") or not _is_plain(kind):
        return None
    return "object", name, {"state": vars(value)}


def _is_plain(kind: Any) -> bool:
    """Whether an empty object of this class can be made without a constructor of its own."""
    return isinstance(kind, type) and getattr(kind, "__new__", None) is object.__new__


def _module_tables(module: Module, where: str) -> dict[str, dict[str, Any]]:
    held = vars(module)
    for name, table in held.items():
        if name.endswith("_hooks") and name in INNER and table:
            raise ArgumentTypeError(
                f"save(): {where} has hooks ({name}), which are code: remove them first, or save the state_dict()"
            )
    tables = {key: held[name] for key, name in TABLES.items()}
    tables["not_saved"] = dict.fromkeys(sorted(held[TRANSIENT]), True)
    tables["state"] = {name: value for name, value in held.items() if name not in INNER}
    return tables


def find(name: str, base: type | None = None) -> Any:
    """The allowed class or function that a file names.

    Raises:
        CheckpointError: it is not allowed, or not a subclass of ``base``; the message says how to allow it.
    """
    found = named(name)
    if found is None:
        raise CheckpointError(
            f"Weights only load failed. The file holds {name!r}, which is neither a layer or function of this package "
            "nor on the list of allowed globals. If you trust it, import it and allow it: "
            f"with tinygrad_rnn.serialization.safe_globals([{name.rpartition('.')[2]}]): ..."
        )
    if base is not None and not (isinstance(found, type) and issubclass(found, base)):
        raise CheckpointError(f"{name!r} is allowed, but is no {base.__name__}, as the file says")
    return found


class Objects:
    """The objects of one file, in the order in which they begin."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def again(self, number: int) -> Any:
        """One of the objects that have begun already."""
        return self.made[number]

    def module(self, parts: dict[str, Any], table: Callable[[dict[str, Any]], dict[str, Any]]) -> Module:
        """The module that was taken apart into ``parts``; ``table`` decodes one of its tables."""
        built: Module = object.__new__(find(parts["class"], Module))
        Module.__init__(built)
        self.made.append(built)
        held = vars(built)
        for key in (key for key in parts if key in TABLES):  # in the order of writing, which numbered the objects
            entries = table(parts[key])
            if not all(entry is None or isinstance(entry, KINDS[key]) for entry in entries.values()):
                raise CheckpointError(f"the {key} of a {parts['class']} in the file are not all of that kind")
            held[TABLES[key]].update(entries)
        held[TRANSIENT].update(parts.get("not_saved", {}))
        state = table(parts.get("state", {}))
        if INNER & state.keys():
            raise CheckpointError(f"the attributes {sorted(INNER & state.keys())} of a module cannot come from a file")
        held.update(state)
        return built

    def plain(self, parts: dict[str, Any], table: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        """The object of an allowed class that was taken apart into ``parts``."""
        kind = find(parts["class"], object)
        if not _is_plain(kind):
            raise CheckpointError(f"{parts['class']!r} has a constructor of its own, which is not run")
        built = object.__new__(kind)
        self.made.append(built)
        vars(built).update(table(parts.get("state", {})))
        return built

"""Objects of named classes (modules, optimisers, others) as tables of plain values, rebuilt without a constructor.

    {"class": "tinygrad_rnn.nn.Linear",       the name of the class; looked up, never imported
     "state": {"training": true, ...},        its attributes
     "parameters": {...}, "buffers": {...}, "modules": {...},         of a Module
     "not_saved": {"name": true},             buffers that a state_dict leaves out
     "defaults": {...}, "groups": [...],      of an optimiser: its options, its groups with their parameters,
     "entries": {"0": [parameter, {...}]}}    and what it keeps for each parameter

To rebuild, an empty object of the class is made and its attributes are put in place.  Neither ``__init__`` nor
``__new__`` nor ``__setstate__`` of the class runs; hooks, which are code, are refused when saving.

No attribute that the class defines may come from a file: a method, property or slot in a file would be code by other
means.  The one exception is a class's plain default, such as ``reset_after = True``, which plain data may replace.
The same check is made when saving, so that no file is written that cannot be read.
"""

from __future__ import annotations

import functools
import reprlib
import types
from collections import defaultdict
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NoReturn

from ..errors import ArgumentRuntimeError, ArgumentTypeError, CheckpointError
from ..nn import Module, Parameter
from ..nn.utils.parametrize import is_parametrized
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler
from ..tape.tensor import Tensor
from .allow_list import full_name, name_of, named
from .safetensors_file import printable

__all__ = ["Builder", "damaged", "find", "own_name", "take_apart"]

KINDS = {"parameters": Parameter, "buffers": Tensor, "modules": Module}
TABLES = {"parameters": "_parameters", "buffers": "_buffers", "modules": "_modules"}
TRANSIENT = "_non_persistent_buffers_set"
INNER = frozenset(vars(Module())) - {"training"}
OF_OPTIMIZER = frozenset({"defaults", "state", "param_groups"})
PLAIN = (type(None), bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset, Enum)
# A class may hold None, so None cannot stand for "nothing".
MISSING = object()

Parts = tuple[str, dict[str, Any]]


def damaged(reason: str) -> NoReturn:
    """Refuse a file whose nesting :func:`~.flatten.flatten` did not make."""
    raise CheckpointError(f"the file is damaged: {reason}")


def find(name: Any, base: type | None = None) -> Any:
    """The allowed class or function that a file names.

    Raises:
        CheckpointError: it is not allowed, or not a subclass of ``base``; the message says how to allow it.
    """
    if type(name) is not str:
        damaged(f"the name of a class or function is {reprlib.repr(name)}")
    found = named(name)
    if found is None:
        last = name.rpartition(".")[2]
        raise CheckpointError(
            f"Weights only load failed. The file holds {printable(repr(name), 200)}, which is neither a layer or "
            "function of this package nor on the list of allowed globals. If you trust it, import it and allow it: "
            f"with tinygrad_rnn.serialization.safe_globals([{last if last.isidentifier() else '...'}]): ..."
        )
    if base is not None and not (isinstance(found, type) and issubclass(found, base)):
        raise CheckpointError(f"{name!r} is allowed, but is no {base.__name__}, as the file says")
    return found


def own_name(value: Any) -> str | None:
    """The name of a class or function of the program's own, by which it can be allowed; None if it has none.

    It need not be found under that name: the reader looks in the list of what is allowed, and imports nothing.
    """
    if not isinstance(value, (type, types.FunctionType)) or value.__module__ == "builtins":
        return None
    return None if "<" in value.__qualname__ else full_name(value)  # <lambda>, or <locals> of another function


# taking apart ---------------------------------------------------------------------------------------------------


def take_apart(value: Any, where: str) -> Parts | None:
    """What kind of object it is and its tables; None for an object that cannot be saved.

    An object of any class that can be named can be written; to read it, the class must be allowed.

    Raises:
        ArgumentTypeError: a module with hooks, or of a class that could not be named when reading; an attribute that
            would replace one of the class.
        ArgumentRuntimeError: a parametrised module, whose class is made as it is needed.
    """
    kind = type(value)
    name = name_of(kind) or own_name(kind)
    if isinstance(value, Module):
        if is_parametrized(value):
            raise ArgumentRuntimeError(
                "Serialization of parametrized modules is only supported through state_dict(): save "
                f"{where}.state_dict(), or first call nn.utils.parametrize.remove_parametrizations"
            )
        if name is None:
            raise ArgumentTypeError(
                f"save(): {where} is a {full_name(kind)}, a class made inside a function: nobody can name it when the "
                "file is read. Define the class at the top of a file, or save the state_dict()"
            )
        return "module", {"class": name, **_module_tables(value, where)}
    if name is None or not hasattr(value, "__dict__") or not _is_plain(kind):
        return None
    if isinstance(value, Optimizer):
        return "optimizer", {"class": name, **_optimizer_tables(value, where)}
    return "object", {"class": name, "state": _state(kind, vars(value), where)}


def _is_plain(kind: Any) -> bool:
    """Whether an empty object of this class can be made without a constructor, and has attributes alone.

    What is written in C, and slots, make its objects larger than their pointers to a dict and to weak references.
    """
    # Written in C, so the size below does not fit; but it holds attributes alone.
    if kind is types.SimpleNamespace:
        return True
    if not isinstance(kind, type) or getattr(kind, "__new__", None) is not object.__new__:
        return False
    pointers = (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)  # negative: outside of the object
    return kind.__basicsize__ == object.__basicsize__ + pointers * tuple.__itemsize__


def _empty(kind: Any) -> Any:
    return types.SimpleNamespace() if kind is types.SimpleNamespace else object.__new__(kind)


def _module_tables(module: Module, where: str) -> dict[str, Any]:
    held = vars(module)
    _check_hooks(held, INNER, where)
    tables: dict[str, Any] = {key: dict(held[name]) for key, name in TABLES.items()}
    tables["not_saved"] = dict.fromkeys(sorted(held[TRANSIENT]), True)
    tables["state"] = _state(type(module), {k: v for k, v in held.items() if k not in INNER}, where)
    return tables


def _optimizer_tables(optimizer: Optimizer, where: str) -> dict[str, Any]:
    held = vars(optimizer)
    fresh = vars(_empty_optimizer(Optimizer))
    _check_hooks(held, fresh, where)
    rest = {key: value for key, value in held.items() if key not in fresh and key not in OF_OPTIMIZER}
    return {
        "defaults": optimizer.defaults,
        "groups": optimizer.param_groups,
        "entries": {str(i): (key, dict(entry)) for i, (key, entry) in enumerate(optimizer.state.items())},
        "state": _state(type(optimizer), rest, where),
    }


def _check_hooks(held: Mapping[str, Any], own: Any, where: str) -> None:
    for name, table in held.items():
        if name.endswith("_hooks") and name in own and table:
            raise ArgumentTypeError(
                f"save(): {where} has hooks ({name}), which are code: remove them first, or save the state_dict()"
            )


def _state(kind: type, held: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The attributes to save: all but those that a ``cached_property`` computes again."""
    state = {k: v for k, v in held.items() if not isinstance(_of_class(kind, k), functools.cached_property)}
    for name, value in state.items():
        why = _replaces(kind, name, value)
        if why:
            raise ArgumentTypeError(
                f"save(): {where}.{name} {why}, and a file must not do that. Put it into a subclass, or delete the "
                f"attribute before saving, or save the state_dict()"
            )
    return state


def _replaces(kind: type, name: str, value: Any) -> str | None:
    """How an attribute of an object gets in the way of its class, if it does."""
    # ``__class__`` among them, which would make the object one of another class.
    if name[:2] == "__" == name[-2:]:
        return "has the name of a special method"
    held = _of_class(kind, name)
    # None in a class reserves a name for what is set later, of any kind.
    if held is MISSING or held is None or (isinstance(held, PLAIN) and not callable(value)):
        return None
    return f"replaces what the class {kind.__name__} defines under this name"


def _of_class(kind: type, name: str) -> Any:
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), MISSING)


# building -------------------------------------------------------------------------------------------------------


class Builder:
    """Builds the objects of one file, and keeps them in the order in which they begin."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.around: list[Module] = []  # the modules whose submodules are being built

    def again(self, number: Any) -> Any:
        """One of the objects that have begun already."""
        if type(number) is not int or not 0 <= number < len(self.made):
            damaged(f"it refers to object {reprlib.repr(number)} of {len(self.made)}")
        return self.made[number]

    def build(self, tag: str, parts: Any, table: Callable[[Any], dict[str, Any]]) -> Any:
        """The object that was taken apart into ``parts``; ``table`` decodes one of its tables.

        Raises:
            CheckpointError: its class is not allowed, or the parts are not those of such an object.
        """
        if type(parts) is not dict or "class" not in parts:
            damaged(f"an object without the name of its class: {reprlib.repr(parts)}")
        kind = find(parts["class"], {"module": Module, "optimizer": Optimizer}.get(tag, object))
        if tag == "object" and (not _is_plain(kind) or issubclass(kind, (Module, Optimizer))):
            raise CheckpointError(f"{parts['class']!r} has a constructor of its own, which is not run, or slots")
        if tag == "module":
            return self._module(kind, parts, table)
        return self._optimizer(kind, parts, table) if tag == "optimizer" else self._object(kind, parts, table)

    def _begin(self, built: Any) -> Any:
        self.made.append(built)
        return built

    def _module(self, kind: Any, parts: dict[str, Any], table: Callable[[Any], dict[str, Any]]) -> Module:
        built: Module = self._begin(object.__new__(kind))
        # The base class's alone, which makes the tables; the constructor of ``kind`` does not run.
        Module.__init__(built)
        held = vars(built)
        self.around.append(built)
        # Entries of these three need no check of their names: attributes of the class are found before them.
        for key in (key for key in parts if key in TABLES):  # in the order of writing, which numbered the objects
            entries = table(parts[key])
            if not all(entry is None or isinstance(entry, KINDS[key]) for entry in entries.values()):
                raise CheckpointError(f"the {key} of a {parts['class']} in the file are not all of that kind")
            if key == "modules" and any(entry is outer for entry in entries.values() for outer in self.around):
                raise CheckpointError(f"a {parts['class']} in the file has itself among its modules")
            held[TABLES[key]].update(entries)
        not_saved = parts.get("not_saved", {})
        if type(not_saved) is not dict or not not_saved.keys() <= held["_buffers"].keys():
            damaged(f"a {parts['class']} without some of its buffers")
        held[TRANSIENT].update(not_saved)
        # Only on the way out without an error: a builder that raised is not used again.
        self.around.pop()
        around, self.around = self.around, []  # what an attribute holds is no submodule
        state = self._state(kind, parts, table)
        self.around = around
        if INNER & state.keys():
            raise CheckpointError(f"the attributes {sorted(INNER & state.keys())} of a module cannot come from a file")
        if type(state.get("training", True)) is not bool:
            damaged(f"a {parts['class']} whose mode is neither training nor evaluation")
        held.update(state)
        return built

    def _optimizer(self, kind: Any, parts: dict[str, Any], table: Callable[[Any], dict[str, Any]]) -> Optimizer:
        built: Optimizer = self._begin(_empty_optimizer(kind))
        defaults = table(parts.get("defaults", {}))
        # As a table of one entry, because ``table`` is the one way to decode that we are given.
        groups = table({"groups": parts.get("groups")})["groups"]
        entries = table(parts.get("entries", {}))
        if type(groups) is not list or not all(map(_is_group, groups)):
            damaged(f"the groups of a {parts['class']} are no lists of parameters with their options")
        if not all(defaults.keys() <= group.keys() for group in groups):
            damaged(f"a group of a {parts['class']} lacks options")
        for entry in entries.values():
            if type(entry) is not tuple or len(entry) != 2 or type(entry[1]) is not dict:
                damaged(f"the state of a {parts['class']} is no table")
            if not isinstance(entry[0], (Tensor, str)):
                damaged(f"the state of a {parts['class']} belongs to no parameter")
        state = self._state(kind, parts, table)
        if not state.keys().isdisjoint(vars(built)):
            raise CheckpointError(f"the inner attributes of a {parts['class']} cannot come from a file")
        vars(built).update(state, defaults=defaults, param_groups=groups)
        built.state.update(entries.values())
        return built

    def _object(self, kind: Any, parts: dict[str, Any], table: Callable[[Any], dict[str, Any]]) -> Any:
        built = self._begin(_empty(kind))
        state = self._state(kind, parts, table)
        if issubclass(kind, LRScheduler) and not isinstance(state.get("optimizer"), Optimizer):
            damaged(f"a {parts['class']} without an optimiser")
        vars(built).update(state)
        return built

    def _state(self, kind: Any, parts: dict[str, Any], table: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        state = table(parts.get("state", {}))
        for name, value in state.items():
            why = _replaces(kind, name, value)
            if why:
                raise CheckpointError(f"the attribute {printable(repr(name), 100)} in the file {why}")
        return state


def _empty_optimizer(kind: Any) -> Any:
    """An optimiser without parameters, hooks and scratch memory.  No method of a subclass runs."""
    built = object.__new__(kind)
    Optimizer._prepare(built)
    built.state = defaultdict(dict)
    return built


def _is_group(group: Any) -> bool:
    return (
        type(group) is dict
        and type(group.get("params")) is list
        and all(isinstance(p, Tensor) for p in group["params"])
    )

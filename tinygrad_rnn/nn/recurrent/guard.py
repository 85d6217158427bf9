"""Guards of cells: whether all that a step may read is still as it was, without running it.

A compiled layer must notice that its cell does something else than what was traced.  To run the step and compare
(:mod:`tinygrad_rnn.ops.compiler.signature`) sees every change, and takes longer than a small kernel.  Most cells read
little: attributes of their modules, functions of this package, numbers.  Their code says what: a name in it is a local
variable, a global one, one of a closure, or an attribute.  If each that is read, and all that is reached from it, is
something that cannot change without becoming another object, then the step does the same as long as all of these are
the same objects.  That is a guard: a list of what was found where, and one comparison of identities for each call.

Everything else has no guard, and the step is run at every call: code that writes anywhere but to its local variables,
imports, or asks for attributes by computed names; lists, dictionaries, arrays and objects of the user's own classes;
functions of other libraries.  So side effects happen as often as without guards.

What is not looked for: other code put in the place of functions inside of this package.
"""

from __future__ import annotations

import builtins
import dis
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from operator import attrgetter, is_, itemgetter
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from ...tape.modes import defaults
from ...tape.tensor import Tensor
from ..module import Module
from ..module.hooks import ANYWHERE, CALLED

__all__ = ["Guard", "guard_of"]

PACKAGE = __name__.partition(".")[0]
PARTS = tuple([f"{PACKAGE}.{part}" for part in ("nn", "ops", "tape")])
FOLDERS = tuple([str(Path(__file__).parents[2] / part) for part in ("nn", "ops", "tape")])
"""Where functions of this package are that depend on their arguments alone, and on modes that are the same here."""

IMMUTABLE = (bool, int, float, complex, str, bytes, type(None), type(...), np.dtype, np.generic, np.ufunc, range)
"""Types of what is the same as long as it is the same object; tuples of these are too."""

BUILTINS = frozenset({"abs", "all", "any", "bool", "divmod", "enumerate", "filter", "float", "int", "isinstance"})
BUILTINS |= {"len", "list", "map", "max", "min", "pow", "range", "reversed", "round", "slice", "sorted", "str", "sum"}
BUILTINS |= {"super", "tuple", "zip", "ArithmeticError", "AssertionError", "IndexError", "KeyError", "RuntimeError"}
BUILTINS |= {"TypeError", "ValueError"}
"""What depends on its arguments alone, and reaches nothing by names that are computed, as ``getattr`` does."""

OF_CLASSES = frozenset({"__module__", "__doc__", "__qualname__", "__annotations__", "__dict__", "__weakref__"})
OF_CLASSES |= {"__init__", "__repr__", "__str__", "__firstlineno__", "__static_attributes__"}
"""Special names in a class that do not matter when its instances are called."""

READS = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"})
"""Instructions that read an attribute; others with a name write, delete or import."""

OF_CLOSURES = frozenset({"STORE_DEREF", "DELETE_DEREF"})
WRITES = frozenset({"STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE", "LOAD_BUILD_CLASS"})

OFF_LIMITS = frozenset({"grad", "grad_fn", "register_hook", "retain_grad", "requires_grad_"})
OFF_LIMITS |= {name for name in dir(Module) if callable(getattr(Module, name))}
OFF_LIMITS |= {name for name in {*vars(Module()), *dir(Module), *dir(Tensor)} if name.startswith("_")}
OFF_LIMITS -= {"forward", "double", "float", "half", "to", "type"}  # of tensors; of modules, twice is as good as once
"""Attributes that change from call to call, or change something, or lead to all others."""

UNSEEN = {name for name in vars(Module()) if name.endswith("_hooks") and name not in CALLED}
UNSEEN |= {name for name in vars(Module()) if name.endswith(("_kwargs", "_called", "_set"))}
"""Of the tables of a module, those that a call does not look at if there are no hooks."""

get_data, get_node = attrgetter("_data"), attrgetter("_node")


class _Unknown(Exception):
    """Something may be read that can change unnoticed."""


class Guard:
    """What a cell may read, as it was; made by :func:`guard_of`.

    Attributes:
        parameters: those of the cell, and its buffers, by name.
    """

    def __init__(self, cell: Module, parameters: Mapping[str, Tensor]) -> None:
        self.parameters = parameters
        self._dtype = defaults.dtype
        self._modules = [*cell.modules()]
        self._types: list[type[Module]] = [*map(type, self._modules)]
        self._seen: set[FunctionType] = set()
        self._functions: list[tuple[FunctionType, CodeType, Any, Any]] = []  # with defaults
        self._cells: list[tuple[Any, Any]] = []  # of closures, and what is in them
        self._globals: dict[tuple[int, str], tuple[Mapping[str, Any], str, Any]] = {}
        self._of_package: dict[int, ModuleType] = {}
        self._attributes: set[str] = set()  # names of them that code reads
        self._calls_super = False
        self._classes = {c: None for t in self._types for c in t.__mro__ if c is not object and not _ours(c)}
        self._read()
        of_modules = [m.__dict__ for m in self._modules]
        self._tables: list[Mapping[str, Any]] = [c.__dict__ for c in self._classes]
        for m in self._modules:
            self._tables += [m._parameters, m._buffers, m._modules]
        self._named: list[Mapping[str, Any]] = [*of_modules, *self._tables]
        self._names = [*chain.from_iterable(self._named)]
        # of a module all but what a call never looks at
        self._own = [(itemgetter(*[n for n in table if n not in UNSEEN]), table) for table in of_modules]
        self._values = self._current()
        self._forwards = [(t, t.forward) for t in dict.fromkeys(self._types)]
        self._hooks = [m.__dict__[name] for m in self._modules for name in CALLED]
        self._found = [*self._globals.values()]
        self._tensors = [*parameters.values()]
        self._arrays, self._nodes = [*map(get_data, self._tensors)], [*map(get_node, self._tensors)]

    def holds(self) -> bool:
        """Whether all of it is as it was."""
        if ANYWHERE or any(self._hooks) or self._dtype is not defaults.dtype:
            return False
        try:
            if [*chain.from_iterable(self._named)] != self._names:
                return False
            if not all(map(is_, self._current(), self._values)) or [*map(type, self._modules)] != self._types:
                return False
        except (RuntimeError, KeyError):  # another thread changes one of them
            return False
        for table, name, value in self._found:
            if table.get(name, ABSENT) is not value:
                return False
        for kind, forward in self._forwards:
            if kind.forward is not forward:
                return False
        for cell, contents in self._cells:
            if cell.cell_contents is not contents:
                return False
        for f, code, positional, named in self._functions:
            if f.__code__ is not code or f.__defaults__ is not positional or f.__kwdefaults__ != named:
                return False
        tensors = self._tensors
        return (
            all(map(is_, map(get_data, tensors), self._arrays)) and all(map(is_, map(get_node, tensors), self._nodes))
        ) or self._alike()

    def _current(self) -> list[Any]:
        """What is in the tables now; as many as there were, if they have the same names."""
        found: list[Any] = []
        for chosen, table in self._own:
            found += chosen(table)
        for named in self._tables:
            found += named.values()
        return found

    def _alike(self) -> bool:
        """Whether parameters with other arrays, or with other nodes, are the same for a compiled step."""
        arrays, nodes = [*map(get_data, self._tensors)], [*map(get_node, self._tensors)]
        for now, before in zip(arrays, self._arrays, strict=True):
            if type(now) is not type(before) or now.shape != before.shape or now.dtype != before.dtype:
                return False
        if [n is None for n in nodes] != [n is None for n in self._nodes] or len({*map(id, arrays)}) < len(arrays):
            return False
        self._arrays, self._nodes = arrays, nodes
        return True

    # what is read --------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Look at all that can be reached.

        Raises:
            _Unknown: some of it may change unnoticed.
        """
        for cls in self._classes:
            for name in cls.__dict__:
                if name.startswith("__") and name not in OF_CLASSES:
                    raise _Unknown(name)
        count: Any = None
        while count != (count := (len(self._attributes), len(self._seen), len(self._of_package), self._calls_super)):
            for kind in dict.fromkeys(self._types):
                for name in ("forward", *self._attributes):
                    found = [c for c in kind.__mro__ if name in c.__dict__]
                    for cls in found if self._calls_super else found[:1]:
                        if cls in self._classes:
                            self._member(cls.__dict__[name])
            for module in list(self._of_package.values()):
                for name in self._attributes & vars(module).keys():
                    self._global(vars(module), name)
        of_base = vars(Module()).keys()
        for m, kind in zip(self._modules, self._types, strict=True):
            # code of this package, of which such an object may have inherited, reads what it likes
            plain = all(c is Module or c is object or c in self._classes for c in kind.__mro__)
            for name, value in vars(m).items():
                if name not in of_base and (name == "forward" or name in self._attributes or not plain):
                    self._value(value)

    def _member(self, value: Any) -> None:
        """What a class has."""
        if isinstance(value, staticmethod):
            value = value.__func__
        if isinstance(value, property):
            if value.fget is None:
                raise _Unknown(value)
            value = value.fget
        self._value(value)

    def _global(self, table: Mapping[str, Any], name: str) -> None:
        """What has a name in a table of globals, or is built in."""
        value = table.get(name, ABSENT)
        self._globals[id(table), name] = table, name, value
        if value is not ABSENT:
            self._value(value)
        elif name not in BUILTINS or not hasattr(builtins, name):
            raise _Unknown(name)

    def _value(self, value: Any) -> None:
        """What code reads."""
        if isinstance(value, IMMUTABLE) and type(value).__module__ in ("builtins", "numpy", "numpy.dtypes"):
            return
        if type(value) is tuple:
            for v in value:
                self._value(v)
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, ModuleType):
            if value is not math:
                if value.__name__ != PACKAGE and not _ours_by_name(value.__name__):
                    raise _Unknown(value)
                self._of_package[id(value)] = value
        elif isinstance(value, type):
            if not (_ours(value) or value in self._classes or _built_in(value)):
                raise _Unknown(value)
        elif isinstance(value, BuiltinFunctionType):
            if not (_built_in(value) or value is getattr(math, value.__name__, None)):
                raise _Unknown(value)
        elif not any(value is known for known in (*self._modules, *self.parameters.values())):
            raise _Unknown(value)

    def _function(self, f: FunctionType) -> None:
        if f in self._seen:
            return
        self._seen.add(f)
        ours = f.__code__.co_filename.startswith(FOLDERS)
        for cell in f.__closure__ or ():
            try:
                contents = cell.cell_contents
            except ValueError:  # nothing yet
                raise _Unknown(f) from None
            if not ours:
                self._cells.append((cell, contents))
                self._value(contents)
            elif isinstance(contents, FunctionType):  # the user's may be inside one of ours, as in a decorator
                self._function(contents)
        if ours:
            return
        self._functions.append((f, f.__code__, f.__defaults__, f.__kwdefaults__ and dict(f.__kwdefaults__)))
        for value in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()):
            self._value(value)
        for code in _nested(f.__code__):
            self._code(code, f)

    def _code(self, code: CodeType, f: FunctionType) -> None:
        for instruction in dis.get_instructions(code):
            operation, name = instruction.opname, instruction.argval
            if operation in WRITES or (operation in OF_CLOSURES and name in f.__code__.co_freevars):
                raise _Unknown(operation)
            if operation == "LOAD_GLOBAL":
                self._global(f.__globals__, name)
                self._calls_super = self._calls_super or name == "super"
            elif operation in READS:
                if name.startswith("__") or name in OFF_LIMITS:
                    raise _Unknown(name)
                self._attributes.add(name)
            elif instruction.opcode in dis.hasname:
                raise _Unknown(operation)


ABSENT: Any = object()


def _nested(code: CodeType) -> Iterable[CodeType]:
    """A code, and those of the functions and comprehensions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _built_in(value: Any) -> bool:
    """A function or a class that is allowed."""
    return value.__name__ in BUILTINS and value is getattr(builtins, value.__name__, None)


def _ours_by_name(name: str) -> bool:
    return name in PARTS or name.startswith(tuple([f"{part}." for part in PARTS]))


def _ours(cls: Callable[..., Any]) -> bool:
    return _ours_by_name(cls.__module__)


def guard_of(cell: Module, parameters: Mapping[str, Tensor]) -> Guard | None:
    """The guard of a cell as it is now; None if its step may read what can change unnoticed.

    Args:
        cell: a user's.
        parameters: its parameters and buffers, by name.

    >>> import tinygrad_rnn as tg
    >>> __name__ = "a_program_of_a_user"  # what classes of this package have is not looked at
    >>> class Decay(tg.nn.Module):
    ...     rate = 0.9
    ...     def forward(self, x, h):
    ...         return self.rate * h + x
    >>> guard = guard_of(Decay(), {})
    >>> guard.holds()
    True
    >>> Decay.rate = 0.8
    >>> guard.holds()
    False
    """
    try:
        return Guard(cell, parameters)
    except _Unknown:
        return None

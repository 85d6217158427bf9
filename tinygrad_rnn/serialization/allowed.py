"""Which classes and functions a file may name: those of this package, and those that the program has allowed.

A file holds names, never code.  A name is looked up in a table made of objects that are loaded already; nothing is
imported because a file says so.

* Layers (classes of ``tinygrad_rnn.nn``) and functions of ``tinygrad_rnn`` and ``tinygrad_rnn.nn.functional``: always.
* Your own classes: while they are on the list, see :func:`add_safe_globals` and :class:`safe_globals`.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from .. import nn, ops
from ..errors import ArgumentTypeError
from ..nn.recurrent.options import StackOptions

__all__ = ["add_safe_globals", "clear_safe_globals", "get_safe_globals", "name_of", "named", "safe_globals"]

Global = type | Callable[..., Any]

_allowed: dict[str, Any] = {}


def add_safe_globals(safe_globals: list[Global | tuple[Global, str]]) -> None:
    """Allow files to name these classes and functions, from now on.

    Args:
        safe_globals: classes and functions; or pairs of one and the name under which files know it.

    Raises:
        ArgumentTypeError: something in the list is neither.

    >>> import tinygrad_rnn as tg
    >>> class Tagger(tg.nn.Module):
    ...     pass
    >>> add_safe_globals([Tagger])
    >>> get_safe_globals() == [Tagger]
    True
    >>> clear_safe_globals()
    """
    for item in safe_globals:
        value, name = item if isinstance(item, tuple) else (item, None)
        if not isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
            raise ArgumentTypeError(f"add_safe_globals() takes classes and functions, got {value!r}")
        _allowed[name or full_name(value)] = value


def get_safe_globals() -> list[Any]:
    """What is on the list now."""
    return list(_allowed.values())


def clear_safe_globals() -> None:
    """Take everything off the list."""
    _allowed.clear()


class safe_globals:
    """``with safe_globals([Tagger]): model = load(path)``: allowed inside the block, and no longer.

    Raises:
        ArgumentTypeError: something in the list is neither a class nor a function.
    """

    def __init__(self, safe_globals: list[Global | tuple[Global, str]]) -> None:
        self.added = safe_globals

    def __enter__(self) -> None:
        self.before = dict(_allowed)
        add_safe_globals(self.added)

    def __exit__(self, *exc: object) -> None:
        _allowed.clear()
        _allowed.update(self.before)


def full_name(value: Any) -> str:
    """The module and the qualified name of a class or function: ``__main__.Tagger``."""
    return f"{value.__module__}.{value.__qualname__}"


def name_of(value: Any) -> str | None:
    """The name by which files know an allowed class or function; None if it is not allowed."""
    for name, candidate in _own().items():
        if candidate is value:
            return name
    return next((name for name, candidate in _allowed.items() if candidate is value), None)


def named(name: str) -> Any:
    """The class or function that a file names; None if that name is not allowed."""
    return _allowed.get(name, _own().get(name))


def _own() -> dict[str, Any]:
    """Layers and functions of this package by their public names, whatever file they live in."""
    if not _table:
        for name in ops.__all__:
            _table[f"tinygrad_rnn.{name}"] = getattr(ops, name)
        for name in nn.functional.__all__:
            _table.setdefault(f"tinygrad_rnn.nn.functional.{name}", getattr(nn.functional, name))
        for name in nn.__all__:
            if isinstance(getattr(nn, name), type):
                _table[f"tinygrad_rnn.nn.{name}"] = getattr(nn, name)
        _table["tinygrad_rnn.nn.StackOptions"] = StackOptions
        _table["tinygrad_rnn.nn.utils.rnn.PackedSequence"] = nn.utils.rnn.PackedSequence
    return _table


_table: dict[str, Any] = {}

"""The allow-list: the classes and functions that a file may name, of this package and of the program.

A file holds names, never code.  A name is looked up in a table made of objects that are loaded already; nothing is
imported because a file says so.  Always allowed are

* layers (classes of ``tinygrad_rnn.nn``), optimisers and schedules, and five plain holders of attributes from the
  standard library;
* the functions that layers hold: those of ``tinygrad_rnn.nn.functional``, and the operations in ``HELD``.  All of
  them make tensors from tensors; none changes the state of the program.

Your own classes and functions are allowed while they are on the list, see :func:`add_safe_globals` and
:class:`safe_globals`.
"""

from __future__ import annotations

import argparse
import collections
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from .. import nn, ops, optim
from ..errors import ArgumentTypeError
from ..nn.recurrent.options import StackOptions

__all__ = [
    "add_safe_globals",
    "clear_safe_globals",
    "full_name",
    "get_safe_globals",
    "name_of",
    "named",
    "safe_globals",
]

Global = type | Callable[..., Any]
Listed = tuple[str, Any]

HELD = """
abs absolute acos acosh add all amax amin aminmax any argmax argmin asin asinh atan atan2 atanh bmm cat ceil clamp
clamp_max clamp_min clip clone cos cosh cummax cummin cumprod cumsum div divide dot eq equal exp exp2 expm1 fix flatten
floor fmod frac ge gt hypot inner isfinite isinf isnan le lerp linear log log10 log1p log2 log_softmax logaddexp
logical_and logical_not logical_or logical_xor logsumexp lt matmul max maximum mean median min minimum mm mul multiply
mv nansum ne neg negative norm outer permute positive pow prod reciprocal relu remainder reshape round rsqrt rsub
sigmoid sign sin sinh softmax softplus sort sqrt square squeeze stack std sub subtract sum tan tanh topk transpose
true_divide trunc unsqueeze var where
""".split()
"""Operations that a layer may hold as an attribute."""

HOLDERS = (collections.UserDict, collections.UserList, collections.ChainMap, argparse.Namespace, types.SimpleNamespace)

_always: dict[str, Any] = {}
_names: dict[int, str] = {}  # of the values of the former, by id
_everywhere: list[Listed] = []
_here: ContextVar[tuple[list[Listed], ...]] = ContextVar("tinygrad_rnn_safe_globals", default=())


def add_safe_globals(safe_globals: list[Global | tuple[Global, str]]) -> None:
    """Allow files to name these classes and functions, from now on and in all threads.

    Of an allowed class, neither the constructor nor ``__setstate__`` runs when a file is read: an empty object gets
    the attributes that the file holds, except those that the class defines (methods, properties, slots).  Three of
    its methods do run on what a stranger may have written there: ``__hash__`` and ``__eq__`` where an object is a key
    of a dict or a member of a set, and ``__del__`` when it is freed.  Allow a class only if these trust nothing.

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
    for item in _listed(safe_globals):
        _everywhere.append(item)


def get_safe_globals() -> list[Any]:
    """What is allowed here and now besides the names of this package: first what is allowed in all threads.

    >>> import tinygrad_rnn as tg
    >>> tg.serialization.get_safe_globals()
    []
    """
    return list(dict(_allowed()).values())


def clear_safe_globals() -> None:
    """Take everything off the list, and out of the blocks that this thread is in.

    >>> import tinygrad_rnn as tg
    >>> tg.serialization.clear_safe_globals()
    >>> tg.serialization.get_safe_globals()
    []
    """
    _everywhere.clear()
    _here.set(())


class safe_globals:
    """``with safe_globals([Tagger]): model = load(path)``: allowed inside the block, and no longer.

    Only the thread (or the asyncio task) that is in the block may load them; others may not.  Which methods of an
    allowed class run while a file is read is stated at :func:`add_safe_globals`.

    Raises:
        ArgumentTypeError: something in the list is neither a class nor a function.

    >>> import tinygrad_rnn as tg
    >>> class Tagger(tg.nn.Module):
    ...     pass
    >>> with tg.serialization.safe_globals([Tagger]):
    ...     print(Tagger in tg.serialization.get_safe_globals())
    True
    """

    def __init__(self, safe_globals: list[Global | tuple[Global, str]]) -> None:
        self.added = _listed(safe_globals)

    def __enter__(self) -> None:
        _here.set((*_here.get(), self.added))

    def __exit__(self, *exc: object) -> None:
        blocks = list(_here.get())
        for i in reversed(range(len(blocks))):  # its own entry: blocks need not end in the order in which they began
            if blocks[i] is self.added:
                del blocks[i]
                break
        _here.set(tuple(blocks))


def full_name(value: Any) -> str:
    """The module and the qualified name of a class or function: ``__main__.Tagger``."""
    return f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def name_of(value: Any) -> str | None:
    """The name by which files know an allowed class or function; None if it is not allowed."""
    # Fills ``_names``.
    _own()
    if id(value) in _names:  # these are never freed, so no other object has their id
        return _names[id(value)]
    return next((name for name, candidate in _allowed() if candidate is value), None)


def named(name: str) -> Any:
    """The class or function that a file names; None if that name is not allowed."""
    return dict(_allowed()).get(name, _own().get(name))


def _allowed() -> Iterator[Listed]:
    yield from _everywhere
    for block in _here.get():
        yield from block


def _listed(values: list[Global | tuple[Global, str]]) -> list[Listed]:
    listed: list[Listed] = []
    for item in values:
        value, name = item if isinstance(item, tuple) else (item, None)
        if not isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
            raise ArgumentTypeError(f"add_safe_globals() takes classes and functions, got {value!r}")
        listed.append((name or full_name(value), value))
    return listed


def _own() -> dict[str, Any]:
    """What files may always name, by its public name, whatever file it lives in."""
    if not _always:
        table = {f"tinygrad_rnn.{name}": getattr(ops, name) for name in HELD}
        for name in nn.functional.__all__:
            table.setdefault(f"tinygrad_rnn.nn.functional.{name}", getattr(nn.functional, name))
        bases = {"nn": nn.Module, "optim": optim.Optimizer, "optim.lr_scheduler": optim.lr_scheduler.LRScheduler}
        for (place, base), package in zip(bases.items(), (nn, optim, optim.lr_scheduler), strict=True):
            for name in package.__all__:
                value = getattr(package, name)
                # From nn every class (Parameter among them), from the others no helpers.
                if isinstance(value, type) and (issubclass(value, base) or package is nn):
                    table[f"tinygrad_rnn.{place}.{name}"] = value
        table["tinygrad_rnn.nn.StackOptions"] = StackOptions
        inside_attention = nn.linear.NonDynamicallyQuantizableLinear
        table["tinygrad_rnn.nn.modules.linear.NonDynamicallyQuantizableLinear"] = inside_attention
        table["tinygrad_rnn.nn.utils.rnn.PackedSequence"] = nn.utils.rnn.PackedSequence
        table.update({f"{kind.__module__}.{kind.__qualname__}": kind for kind in HOLDERS})
        for name, value in table.items():
            # An object with two names is written under its first.
            _names.setdefault(id(value), name)
        _always.update(table)
    return _always

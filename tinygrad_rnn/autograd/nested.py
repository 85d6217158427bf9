"""Tensors in containers: what a function takes and gives, as a flat list with the path to each part.

Tuples (named ones too), lists, mappings and dataclasses are containers, to any depth; None is an empty one.  All
else is a leaf.

>>> [path for path, _ in leaves((1.0, {"state": [2.0, None]}))]
['[0]', "[1]['state'][0]"]
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..tape.tensor import Tensor

__all__ = ["leaves", "mapped", "tensors_in"]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of ``value`` in order, with the path that leads to it: ``[1][0]``, ``['key']``, ``.field``.

    >>> list(leaves([(3, None), {"a": 4}]))
    [('[0][0]', 3), ("[1]['a']", 4)]
    """
    if value is None:
        return
    parts = _parts(value)
    if parts is None:
        yield path, value
        return
    for step, part in parts:
        yield from leaves(part, path + step)


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in ``value``, in order.

    >>> import tinygrad_rnn as tg
    >>> tensors_in((tg.ones(1), [tg.zeros(1), 3]))
    [tensor([1.]), tensor([0.])]
    """
    return [leaf for _, leaf in leaves(value) if isinstance(leaf, Tensor)]


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same containers, with ``change(leaf)`` in place of each leaf.

    >>> mapped(({"a": 1}, [2, None]), lambda x: -x)
    ({'a': -1}, [-2, None])
    """
    parts = None if value is None else _parts(value)
    if value is None:
        return None
    if parts is None:
        return change(value)
    found = [mapped(part, change) for _, part in parts]
    if isinstance(value, tuple):
        return value._make(found) if hasattr(value, "_make") else tuple(found)
    if isinstance(value, list):
        return found
    twin = copy.copy(value)  # keeps a subclass, and what it has beside its items
    if isinstance(value, Mapping):
        for key, part in zip(value, found, strict=True):
            twin[key] = part
    else:
        for field, part in zip(dataclasses.fields(value), found, strict=True):
            object.__setattr__(twin, field.name, part)  # a frozen one too
    return twin


def _parts(value: Any) -> list[tuple[str, Any]] | None:
    """What a container holds, each part with its step of the path; None for what is no container."""
    if isinstance(value, Tensor):
        return None
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f".{name}", part) for name, part in zip(value._fields, value, strict=True)]
    if isinstance(value, (tuple, list)):
        return [(f"[{k}]", part) for k, part in enumerate(value)]
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):  # is_dataclass is true of the class, too
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    return None

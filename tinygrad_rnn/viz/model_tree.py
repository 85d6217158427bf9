"""A module as a tree that folds: its parameters, how many numbers they have, and which stand in several places.

Modules stand above this package: they are asked for what every module has, its tables of parameters, buffers and
modules.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..tape.tensor import Tensor
from .markup import BORDER, ROWS, Html, box, clipped, code, fold, in_bytes, joined, more, table, tag

__all__ = ["module"]

MODULES = 300
"""Of a larger model, so many modules are shown."""


class _Tied(NamedTuple):
    """A parameter, buffer or module that stands in several places of a model.

    Attributes:
        mark: a number.
        first: the path of the first place.
    """

    mark: int
    first: str


TINTS = ("37,99,235", "234,88,12", "22,163,74", "192,38,211", "202,138,4", "8,145,178")


class _Model:
    """What is known of a model before it is drawn: how large it is, and what is shared in it."""

    def __init__(self, root: Any) -> None:
        places: dict[Any, list[str]] = {}
        self._kept: list[Any] = []  # ids are of living objects
        for path, owner in _modules(root):
            for name, held in _own(owner, "_modules"):
                places.setdefault(id(held), []).append(_path(path, name))
            for name, held in (*_own(owner, "_parameters"), *_own(owner, "_buffers")):
                places.setdefault(_memory(held), []).append(_path(path, name))
                self._kept.append(held)
        shared = [key for key, found in places.items() if len(found) > 1]
        self._tied = {key: _Tied(mark, places[key][0]) for mark, key in enumerate(shared, 1)}

    def tied(self, held: Any) -> _Tied | None:
        """How something is marked that stands in several places."""
        return self._tied.get(_memory(held) if isinstance(held, Tensor) else id(held))

    def mark(self, held: Any, path: str) -> Html | None:
        """The mark itself: a number in a coloured frame, and where it stands first."""
        found = self.tied(held)
        if found is None:
            return None
        tint = TINTS[(found.mark - 1) % len(TINTS)]
        look = f"border:2px solid rgb({tint});background:rgba({tint},.2);border-radius:8px;padding:0 5px;margin:0 4px"
        first = "shared" if path == found.first else f"the same as {found.first}"
        return joined(tag("span", f"{found.mark}", style=look), first)


def _modules(root: Any) -> Iterable[tuple[str, Any]]:
    """All modules with their paths, each once."""
    seen: set[int] = set()
    waiting = [("", root)]
    while waiting:
        path, owner = waiting.pop()
        if id(owner) in seen:
            continue
        seen.add(id(owner))
        yield path, owner
        waiting += [(_path(path, name), held) for name, held in _own(owner, "_modules")][::-1]


def _own(owner: Any, table: str) -> list[tuple[str, Any]]:
    """The parameters, buffers or modules that a module itself holds."""
    return [(name, held) for name, held in getattr(owner, table).items() if held is not None]


def _path(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _memory(held: Any) -> Any:
    """The same for tensors of the same memory and shape."""
    data = held._data
    if not data.size:
        return id(held)
    return held.data_ptr(), data.shape, data.strides, data.dtype.str


def _count(owner: Any) -> tuple[int, int, int, int]:
    """The entries of all parameters of a module, each once; of these, those with gradients; bytes; lazy ones."""
    entries = wanted = size = lazy = 0
    seen: set[Any] = set()
    for _, below in _modules(owner):
        for _, held in _own(below, "_parameters"):
            if _is_lazy(held):
                lazy += 1
            elif _memory(held) not in seen:
                seen.add(_memory(held))
                entries += held._data.size
                size += held._data.nbytes
                wanted += held._data.size if held.requires_grad else 0
    return entries, wanted, size, lazy


def _is_lazy(held: Any) -> bool:
    """Whether the shape of a parameter is not known before the first call."""
    return type(held).__name__.startswith("Uninitialized")


def _counted(owner: Any) -> str:
    entries, wanted, size, lazy = _count(owner)
    if not entries + lazy:
        return ""
    text = f"{entries:,} parameter{'' if entries == 1 else 's'}"
    if wanted != entries:
        text += f", {wanted:,} of them trained" if wanted else ", none of them trained"
    if size:
        text += f", {in_bytes(size)}"
    return text + (f", and {lazy} of unknown shape" if lazy else "")


def module(root: Any) -> Html:
    """A module as a tree that folds: parameters with their shapes and numbers, and what is shared."""
    model = _Model(root)
    left = itertools.count(MODULES, -1)
    return box(*_module(root, "", "", model, left, ()))


def _module(owner: Any, name: str, path: str, model: _Model, left: Any, above: tuple[int, ...]) -> tuple[Html, ...]:
    kind = type(owner).__name__
    extra = clipped(owner.extra_repr().replace("\n", ", "), 120)
    mark = model.mark(owner, path) if path else None
    head = joined(
        joined(code(name), ": ") if name else None,
        tag("b", kind),
        f"({extra})" if extra else None,
        tag("span", f" {_counted(owner)}", style="font-weight:normal;opacity:.8"),
        mark,
    )
    found = model.tied(owner)
    if id(owner) in above or (path and found is not None and path != found.first):  # it stands there already
        return (tag("div", head, style="margin:2px 0"),)
    held = [_parameter(n, p, _path(path, n), model, "") for n, p in _own(owner, "_parameters")]
    held += [_parameter(n, b, _path(path, n), model, "buffer") for n, b in _own(owner, "_buffers")]
    parts = [table(None, held[:ROWS], right=(2,)), more(len(held) - ROWS, "parameters")] if held else []
    hidden = 0
    children = _own(owner, "_modules")
    for below, child in children:
        if next(left) <= 0:
            hidden += 1
            continue
        inside = _module(child, below, _path(path, below), model, left, (*above, id(owner)))
        parts.append(
            inside[0]
            if len(inside) == 1
            else fold(inside[0], *inside[1:], opened=len(above) < 1 and len(children) <= 8)
        )
    parts.append(more(hidden, "modules"))
    if not any(parts):
        return (tag("div", head, style="margin:2px 0"),) if path else (head,)
    body = tag("div", *parts, style=f"margin-left:8px;padding-left:10px;border-left:1px solid {BORDER}")
    return head, body


def _parameter(name: str, held: Any, path: str, model: _Model, kind: str) -> list[Any]:
    if _is_lazy(held):
        return [code(name), "shape not known before the first call", "", kind, ""]
    data = held._data
    notes = [kind] if kind else [] if held.requires_grad else ["not trained"]
    if held.is_cuda:
        notes.append(str(held.device))
    return [
        code(name),
        f"{data.dtype.name}{list(data.shape)}",
        f"{data.size:,}",
        ", ".join(notes),
        model.mark(held, path),
    ]

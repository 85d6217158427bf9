"""Names that a program gives to its tensors: variables, entries of containers, attributes, parameters of modules.

A Tape shows ``W`` rather than a number.  Python does not say which variable an object will be bound to, so the names of
results are looked for a little later, when the next operation is recorded: ``h = tanh(a)`` is found then in the frame
of the user's function.  What is looked at is read and never called.

The equations of this package's cells have names, too, those of the field.  Their last result is returned at once, so
that no later look would find it; there the instruction that follows the operation says which variable is assigned.
"""

from __future__ import annotations

import dis
import functools
import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from ...backend import is_array
from ...source_line import Line, in_package, user_frame
from ..modes import Watcher
from ..tensor import Tensor

__all__ = [
    "assigned",
    "is_of_shell",
    "leaf_variable",
    "named_tensors",
    "place_of_leaf",
    "stack_of_user",
    "user_frames",
    "variable_of",
]

DEPTH = 4
"""So many containers and objects inside each other are searched."""
MOST = 4000
"""So many values are looked at for one name: a program may hold a data set in a list."""
FEW = 16
"""Of a longer list only the last entry is looked at for the result of the operation before."""
FRAMES = 4
"""In so many functions of the user's that call each other results are looked for."""
EQUATIONS = "ops.recurrent.cells", "_cell"
"""The module and the functions of this package whose variables are the field's names of what they hold: gates, states.
"""

SHELLS = ("IPython.", "ipykernel.")
"""Below a cell of a notebook there are frames of these, which are no part of the program."""

OPAQUE = (ModuleType, type, FunctionType, BuiltinFunctionType, MethodType, Watcher, str, bytes, int, float, complex)


def stack_of_user(bottom: int | None) -> tuple[Line, ...]:
    """The lines of the user's program that are running, the innermost first, down to the frame with that id."""
    lines = []
    for frame in user_frames():
        if not frame.f_code.co_filename.startswith("<frozen "):  # runpy, importlib
            lines.append(Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        if id(frame) == bottom or len(lines) == 16:  # without the frame of the tape: a recursion, or another thread
            break
    return tuple(lines)


def user_frames() -> Iterator[FrameType]:
    """The frames that are not code of this package, the innermost first; of a notebook, down to that of the cell."""
    frame = user_frame()
    while frame is not None:
        kind = _kinds.get(frame.f_code) or _kind_of(frame)
        if kind == "shell":
            return
        if kind == "user":
            yield frame
        frame = frame.f_back


def is_of_shell(name: str) -> bool:
    """Whether it is a variable in which a shell keeps a result that it has shown: ``_``, ``__``, ``_12``, ``Out``.

    >>> [name for name in ("_", "_12", "Out", "_h", "W_1") if is_of_shell(name)]
    ['_', '_12', 'Out']
    """
    bare = name.lstrip("_")
    return name in ("Out", "_oh") or (bare != name and (not bare or bare.isdecimal()))


def named_tensors(bottom: int | None) -> Iterator[tuple[str, Tensor]]:
    """The tensors that variables hold in the functions that run, with the names of these.

    The outermost function comes first: what it holds was there before it was handed to the others.
    """
    frame: FrameType | None = sys._getframe(1)
    count = 0
    spaces = []
    while frame is not None and count < FRAMES:
        kind = _kinds.get(frame.f_code) or _kind_of(frame)
        if kind == "equations":
            parameters = frame.f_code.co_varnames[: frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount]
            # h and c come from the step before, or are rows of it
            spaces.append({k: v for k, v in frame.f_locals.items() if k == "x" or k not in parameters})
        elif kind == "user":
            spaces.append(frame.f_locals)
        if kind == "user":
            count += 1
            if id(frame) == bottom:
                break
        elif kind == "shell":
            break
        frame = frame.f_back
    for variables in reversed(spaces):
        for name, value in list(variables.items()):
            if isinstance(value, Tensor):
                if not is_of_shell(name):
                    yield name, value
            elif type(value) in (list, tuple, dict) and value and not is_of_shell(name):
                yield from _entries(name, value)


def assigned() -> tuple[tuple[int, int], str] | None:
    """The variable of a cell's equations that the result of the running operation is assigned to.

    Returns:
        A key of the call and the instruction there, and the name: of several operations with one key, as those of a
        function that is composed of some, the last gives the result.  None outside of equations, or in a larger term.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        kind = _kinds.get(frame.f_code) or _kind_of(frame)
        if kind == "user":
            return None
        if kind == "equations":
            name = _targets(frame.f_code).get(frame.f_lasti)
            return None if name is None else ((id(frame), frame.f_lasti), name)
        frame = frame.f_back
    return None


@functools.lru_cache(maxsize=64)
def _targets(code: CodeType) -> dict[int, str]:
    """The instructions of a function whose result goes into a variable at once, by offset, with that variable."""
    instructions = list(dis.get_instructions(code))
    by_offset = {instruction.offset: instruction for instruction in instructions}
    found = {}
    for instruction, following in itertools.pairwise(instructions):
        offsets = range(instruction.offset, following.offset)  # a call stands at the cache behind its instruction
        while following.opname == "JUMP_FORWARD":  # of a choice, ``h = f(a) if p else g(a)``
            following = by_offset[following.argval]
        if following.opname.startswith("STORE_FAST"):  # of which newer Pythons have forms for two variables
            name = following.argval
            found.update(dict.fromkeys(offsets, name if isinstance(name, str) else name[0]))
    return found


_kinds: dict[CodeType, str] = {}
"""Of code that was met: "user", "shell", "ours" or "equations" of ours; some twenty are looked at for each record."""


def _kind_of(frame: FrameType) -> str:
    module, function = EQUATIONS
    if frame.f_globals.get("__name__") == "runpy":  # which holds the variables of the script that it runs in its own
        kind = "ours"
    elif not in_package(frame):
        kind = "shell" if (frame.f_globals.get("__name__") or "").startswith(SHELLS) else "user"
    elif frame.f_code.co_name.endswith(function) and frame.f_globals.get("__name__", "").endswith(module):
        kind = "equations"
    else:
        kind = "ours"
    if len(_kinds) > 10_000:  # of a program that makes code as it runs
        _kinds.clear()
    _kinds[frame.f_code] = kind
    return kind


def _entries(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors among the entries of a short container, or the last of a list, which may just have been appended."""
    items = list(value.items()) if type(value) is dict else list(enumerate(value[-1:] if len(value) > FEW else value))
    if len(items) > FEW:
        items = items[-1:]
    for key, item in items:
        if isinstance(item, Tensor):
            place = len(value) - 1 if type(value) is not dict and len(value) > FEW else key
            yield f"{name}{_subscript(place)}", item


def leaf_variable(node: Any) -> str | None:
    """The user's variable that holds the tensor of a leaf."""
    frame = user_frame()
    if frame is None:
        return None
    for name, value in [*frame.f_locals.items(), *frame.f_globals.items()]:  # a function's own names first
        if isinstance(value, Tensor) and value._node is node and not is_of_shell(name):
            return name
    return None


def variable_of(wanted: Any) -> str | None:
    """What the user calls an object: a variable, or the way to it through containers and attributes.

    >>> class Net:
    ...     def __init__(self):
    ...         self.layers = [object()]
    >>> net = {"first": Net()}
    >>> variable_of(net["first"].layers[0])
    'net["first"].layers[0]'
    """
    return _searched(lambda value: value is wanted)


def place_of_leaf(node: Any) -> str | None:
    """The way to the tensor of a leaf, through containers and attributes of the user's variables."""
    return _searched(lambda value: isinstance(value, Tensor) and value._node is node)


def _searched(is_it: Callable[[Any], bool]) -> str | None:
    """The shortest way to the first value that it is, in the user's frame: its own variables, then the globals."""
    frame = user_frame()
    if frame is None:
        return None
    spaces = [frame.f_locals] if frame.f_locals is frame.f_globals else [frame.f_locals, frame.f_globals]
    for space in spaces:
        found = _way(list(space.items()), is_it)
        if found is not None:
            return found
    return None


def _way(variables: Iterable[tuple[str, Any]], is_it: Callable[[Any], bool]) -> str | None:
    waiting = deque(
        (name, value, 0) for name, value in variables if not name.startswith("__") and not is_of_shell(name)
    )
    seen: set[int] = set()
    left = MOST
    while waiting and left:
        path, value, depth = waiting.popleft()
        if is_it(value):
            return path
        left -= 1
        if depth < DEPTH and not isinstance(value, (*OPAQUE, Tensor)) and id(value) not in seen:
            seen.add(id(value))
            # an object that is being made may change while it is read
            waiting.extend([(path + step, inner, depth + 1) for step, inner in _parts(value)])
    return None


def _parts(value: Any) -> list[tuple[str, Any]]:
    """What a container or an object holds, each with what is written behind its name to get it."""
    if value is None or is_array(value):
        return []
    if isinstance(value, dict):
        return [(_subscript(key), item) for key, item in list(value.items()) if isinstance(key, (str, int))]
    if isinstance(value, (list, tuple)):
        fields = getattr(type(value), "_fields", None)  # of a named tuple
        if fields:
            return [(f".{name}", item) for name, item in zip(fields, value, strict=False)]
        return [(_subscript(k), item) for k, item in enumerate(value[:MOST])]
    held = getattr(value, "__dict__", None)
    if type(held) is not dict:
        slots = [name for kind in type(value).__mro__ for name in _slots_of(kind)]
        return [(f".{name}", getattr(value, name)) for name in slots if hasattr(value, name)]
    parts = [(f".{name}", item) for name, item in list(held.items()) if not name.startswith("__")]
    for table in ("_parameters", "_buffers", "_modules"):  # a module's attributes are not in __dict__ itself
        if isinstance(held.get(table), dict):
            parts = [part for part in parts if part[0] != f".{table}"]
            parts += [(f".{name}", item) for name, item in list(held[table].items())]
    return parts


def _slots_of(kind: type) -> tuple[str, ...]:
    """The attributes for which a class of the user's has slots, which are read without running any code."""
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple([name for name in names if not name.startswith("__")])


def _subscript(key: Any) -> str:
    if isinstance(key, str) and key.isprintable() and not {'"', "\\"} & set(key):
        return f'["{key}"]'
    return f"[{key!r}]"

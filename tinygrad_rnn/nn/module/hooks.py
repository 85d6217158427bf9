"""Where a module keeps its hooks, by number, in order; and where those of all modules are kept.

The hooks of all modules run before a module's own.

>>> import tinygrad_rnn as tg
>>> def show(module, args, out):
...     print(type(module).__name__, list(out.shape))
>>> with tg.nn.modules.module.register_module_forward_hook(show):
...     _ = tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.Tanh())(tg.zeros(1, 2))
Linear [1, 3]
Tanh [1, 3]
Sequential [1, 3]
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..errors import TinygradRnnError
from ..tape.hooks.tensor_hooks import RemovableHandle

__all__ = ["ANYWHERE", "EVERYWHERE", "HookTable", "MixedHooksError", "RemovableHandle", "registered"]
__all__ += ["add_backward_hook", "add_hook", "empty_tables"]
__all__ += ["register_module_backward_hook", "register_module_buffer_registration_hook"]
__all__ += ["register_module_forward_hook", "register_module_forward_pre_hook"]
__all__ += ["register_module_full_backward_hook", "register_module_full_backward_pre_hook"]
__all__ += ["register_module_module_registration_hook", "register_module_parameter_registration_hook"]

HookTable = OrderedDict[int, Callable[..., Any]]
Hook = Callable[..., Any]


class MixedHooksError(TinygradRnnError, RuntimeError):
    """Backward hooks of the old kind and of the new one on the same module."""


def empty_tables() -> dict[str, OrderedDict[int, Any]]:
    """The tables that a call of a module looks at."""
    return {
        "_forward_hooks": OrderedDict(),
        "_forward_hooks_with_kwargs": OrderedDict(),
        "_forward_hooks_always_called": OrderedDict(),
        "_forward_pre_hooks": OrderedDict(),
        "_forward_pre_hooks_with_kwargs": OrderedDict(),
        "_backward_hooks": OrderedDict(),
        "_backward_pre_hooks": OrderedDict(),
    }


class _Everywhere:
    """The hooks of all modules, under the names that a module has for its own."""

    _is_full_backward_hook: bool | None = None

    def __init__(self) -> None:
        self.__dict__.update(empty_tables())


EVERYWHERE: Any = _Everywhere()

ANYWHERE: HookTable = OrderedDict()
"""All hooks of ``EVERYWHERE``: empty as a rule, which a call of a module finds out at once."""

REGISTRATION: dict[str, HookTable] = {"parameter": OrderedDict(), "buffer": OrderedDict(), "module": OrderedDict()}


def add_hook(hook: Hook, table: HookTable, *more: OrderedDict[int, Any], prepend: bool = False) -> RemovableHandle:
    """Put a hook at the end of a table (``prepend``: at its beginning), and a mark into each of the others."""
    handle = RemovableHandle(table, *more)
    table[handle.id] = hook
    for other in more:
        other[handle.id] = True
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def add_backward_hook(owner: Any, hook: Hook, full: bool, *more: HookTable, prepend: bool = False) -> RemovableHandle:
    """Put a backward hook into the table of ``owner``, a module or all of them.

    Raises:
        MixedHooksError: there was one of the other kind before.
    """
    if owner._is_full_backward_hook is not None and owner._is_full_backward_hook is not full:
        where = "as global Module hooks" if owner is EVERYWHERE else "on a single Module"
        raise MixedHooksError(
            f"Cannot use both regular backward hooks and full backward hooks {where}. Please use only one of them."
        )
    owner.__dict__["_is_full_backward_hook"] = full
    return add_hook(hook, owner._backward_hooks, *more, prepend=prepend)


def registered(kind: str, module: Any, name: str, value: Any) -> Any:
    """What the hooks of registration make of a parameter, buffer or submodule that a module is about to hold."""
    for hook in list(REGISTRATION[kind].values()):
        changed = hook(module, name, value)
        if changed is not None:
            value = changed
    return value


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """``hook(module, args)`` before ``forward`` of every module; it may return other arguments."""
    return add_hook(hook, EVERYWHERE._forward_pre_hooks, ANYWHERE)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """``hook(module, args, output)`` after ``forward`` of every module; it may return another output."""
    flags = [EVERYWHERE._forward_hooks_with_kwargs] * with_kwargs
    flags += [EVERYWHERE._forward_hooks_always_called] * always_call
    return add_hook(hook, EVERYWHERE._forward_hooks, ANYWHERE, *flags)


def register_module_backward_hook(hook: Hook) -> RemovableHandle:
    """``Module.register_backward_hook`` of every module."""
    return add_backward_hook(EVERYWHERE, hook, False, ANYWHERE)


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """``Module.register_full_backward_pre_hook`` of every module."""
    return add_hook(hook, EVERYWHERE._backward_pre_hooks, ANYWHERE)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """``Module.register_full_backward_hook`` of every module."""
    return add_backward_hook(EVERYWHERE, hook, True, ANYWHERE)


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """``hook(module, name, parameter)`` when a module gets a parameter; it may return another one."""
    return add_hook(hook, REGISTRATION["parameter"])


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """``hook(module, name, buffer)`` when a module gets a buffer; it may return another one."""
    return add_hook(hook, REGISTRATION["buffer"])


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """``hook(module, name, submodule)`` when a module gets a submodule; it may return another one."""
    return add_hook(hook, REGISTRATION["module"])

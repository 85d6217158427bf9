"""Hooks of modules: their tables, the hooks of all modules, and the call of a module with its hooks.

A table maps the number of a handle to a hook, in the order in which they run.  The hooks of all modules run before a
module's own:

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

from ...errors import TinygradRnnError
from ...source_line import warn_user
from ...tape.hooks.tensor_hooks import RemovableHandle, add_hook
from ...tape.modes import state
from ...tape.observe.module_paths import called
from ...tape.observe.scopes import CALLS
from .backward_hooks import Borders, hook_last_node

__all__ = ["ANYWHERE", "HookTable", "MixedHooksError", "PreHookError", "registered"]
__all__ += ["add_backward_hook", "call_with_hooks", "empty_tables"]
__all__ += ["register_module_backward_hook", "register_module_buffer_registration_hook"]
__all__ += ["register_module_forward_hook", "register_module_forward_pre_hook"]
__all__ += ["register_module_full_backward_hook", "register_module_full_backward_pre_hook"]
__all__ += ["register_module_module_registration_hook", "register_module_parameter_registration_hook"]

HookTable = OrderedDict[int, Callable[..., Any]]
Hook = Callable[..., Any]


class MixedHooksError(TinygradRnnError, RuntimeError):
    """Backward hooks of the old and of the new kind on the same module."""


class PreHookError(TinygradRnnError, RuntimeError):
    """A forward pre-hook with keywords that returned neither None nor ``(args, kwargs)``."""


# tables ---------------------------------------------------------------------------------------------------------


def empty_tables() -> dict[str, OrderedDict[int, Any]]:
    """The tables that a call of a module checks, by attribute name."""
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

ANYWHERE: HookTable = CALLS
"""All hooks of ``EVERYWHERE``, and the tapes that are open, in one table, so that a call of a module checks one."""

REGISTRATION: dict[str, HookTable] = {"parameter": OrderedDict(), "buffer": OrderedDict(), "module": OrderedDict()}


def add_backward_hook(owner: Any, hook: Hook, full: bool, *more: HookTable, prepend: bool = False) -> RemovableHandle:
    """Put a backward hook into the table of ``owner``, a module or ``EVERYWHERE``.

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
    """The parameter, buffer or submodule to register: ``value``, or what the registration hooks put in its place."""
    # A copy: a hook may remove itself.
    for hook in list(REGISTRATION[kind].values()):
        changed = hook(module, name, value)
        if changed is not None:
            value = changed
    return value


CALLED = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""The tables whose hooks act when a module is called."""


# calls ----------------------------------------------------------------------------------------------------------


def call_with_hooks(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module.forward(*args, **kwargs)``, with the hooks of all modules and those of this one before and after it."""
    watchers = state.here.watchers
    if not watchers:
        return _call_with_hooks(module, args, kwargs)
    if any(getattr(owner, table) for owner in (module, EVERYWHERE) for table in CALLED):  # a tape comes here without
        for watcher in watchers:
            watcher.hooked(f"the module {type(module).__name__}")
    return called(_call_with_hooks, module, args, kwargs)


def _call_with_hooks(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    done: set[int] = set()
    result: Any = None
    try:
        # Before the pre-hooks run: a backward hook that one of them adds acts from the next call on, as in PyTorch.
        pre, full, of_last_node = _backward_hooks(module)
        args, kwargs = _after_pre_hooks(module, args, kwargs)
        # After the pre-hooks, which may replace the arguments.
        borders = Borders(module, pre, full) if pre or full else None
        if borders is not None:
            args = borders.enter(args)
        result = module.forward(*args, **kwargs)
        for key, hook, with_kwargs in _hooks(module, "forward"):
            # Before it runs: one that raises is not called again below.
            done.add(key)
            result = _after_hook(module, hook, args, kwargs if with_kwargs else None, result)
        if borders is not None:
            result = borders.leave(result)
        if of_last_node:
            hook_last_node(module, of_last_node, args, result)
        return result
    # Not BaseException: after a Ctrl-C no hook runs, as in PyTorch.
    except Exception:
        for key, hook, with_kwargs in _hooks(module, "forward"):
            everywhere = key in EVERYWHERE._forward_hooks_always_called
            if key in done or not (everywhere or key in module._forward_hooks_always_called):
                continue
            try:
                result = _after_hook(module, hook, args, kwargs if with_kwargs else None, result)
            except Exception as error:  # the caller gets the first one
                warn_user(
                    f"{'global ' if everywhere else ''}module forward hook with ``always_call=True`` raised an "
                    f"exception that was silenced as another error was raised in forward: {error}"
                )
        raise


def _hooks(module: Any, when: str) -> list[tuple[int, Hook, bool]]:
    """A snapshot of the hooks of all modules and of this one: number, hook, whether it takes keywords."""
    return [
        (key, hook, key in getattr(owner, f"_{when}_hooks_with_kwargs"))
        for owner in (EVERYWHERE, module)
        for key, hook in getattr(owner, f"_{when}_hooks").items()
    ]


def _backward_hooks(module: Any) -> tuple[list[Hook], list[Hook], list[Hook]]:
    """The backward pre-hooks of all modules and this one's, the full hooks, and those of the old kind."""
    pre: list[Hook] = []
    full: list[Hook] = []
    old: list[Hook] = []
    for owner in (EVERYWHERE, module):
        pre += owner._backward_pre_hooks.values()
        (full if owner._is_full_backward_hook else old).extend(owner._backward_hooks.values())
    return pre, full, old


def _after_pre_hooks(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of ``forward``: those given, or what the pre-hooks returned in their place."""
    for _, hook, with_kwargs in _hooks(module, "forward_pre"):
        if not with_kwargs:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
            continue
        changed = hook(module, args, kwargs)
        if changed is not None:
            if not isinstance(changed, tuple) or len(changed) != 2:
                raise PreHookError(
                    f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                )
            args, kwargs = changed
    return args, kwargs


def _after_hook(module: Any, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any] | None, result: Any) -> Any:
    changed = hook(module, args, result) if kwargs is None else hook(module, args, kwargs, result)
    return result if changed is None else changed


# hooks of all modules -------------------------------------------------------------------------------------------


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

"""Paths of modules while a Tape is open: a call of ``model.encoder`` is recorded as that of ``model.encoder``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..modes import state
from .names import variable_of
from .scopes import NOWHERE, inside

__all__ = ["called", "parameter_name"]


def called(call: Callable[..., Any], module: Any, *args: Any) -> Any:
    """``call(module, *args)``, which runs the module's ``forward``, in the scope of that module."""
    scope = state.here.scope or NOWHERE
    return inside(call, module, *args, scope={"module": _path(module, scope.owner, scope.module), "owner": module})


def _path(module: Any, owner: Any, path: str | None) -> str:
    """The path of a module that is called by ``owner``, or by the user."""
    if owner is not None:
        if module is owner:  # as a forward that calls the module again
            return str(path)
        for name, child in owner.named_modules():
            if child is module:
                return f"{path}.{name}"
    name = variable_of(module) or type(module).__name__
    return name if path is None else f"{path}.{name.removeprefix('self.')}"  # no child of it, as in a plain list


def parameter_name(node: Any) -> str | None:
    """The name of a leaf that is a parameter of the module that runs; None if it is not."""
    scope = state.here.scope
    if scope is None or scope.owner is None:
        return None
    for name, parameter in scope.owner.named_parameters():
        if parameter._node is node:
            return f"{scope.module}.{name}"
    return None

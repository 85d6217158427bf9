"""Calling a module: ``forward``, with the hooks around it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..errors import TinygradRnnError
from .backward_hooks import called_between_borders
from .caution import caution
from .hooks import HookTable, RemovableHandle
from .state import State

__all__ = ["Calling", "PreHookError"]


class PreHookError(TinygradRnnError, RuntimeError):
    """A hook that returned what it must not."""


def _forward_missing(self: Calling, *input: Any) -> Any:
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')


class Calling(State):
    """The part of :class:`Module` that runs."""

    _forward_hooks: HookTable
    _forward_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks_always_called: OrderedDict[int, bool]
    _forward_pre_hooks: HookTable
    _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
    _backward_hooks: HookTable
    _backward_pre_hooks: HookTable

    forward: Callable[..., Any] = _forward_missing

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``forward``, with the hooks around it."""
        if self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        done: set[int] = set()
        result: Any = None
        try:
            args, kwargs = self._run_pre_hooks(args, kwargs)

            def inner(args: tuple[Any, ...]) -> Any:
                nonlocal result
                result = self.forward(*args, **kwargs)
                for key in list(self._forward_hooks):
                    done.add(key)
                    result = self._run_forward_hook(key, args, kwargs, result)
                return result

            if self._backward_hooks or self._backward_pre_hooks:
                pre, hooks = list(self._backward_pre_hooks.values()), list(self._backward_hooks.values())
                return called_between_borders(self, args, inner, pre, hooks)  # type: ignore[arg-type]
            return inner(args)
        except Exception:
            for key in [key for key in self._forward_hooks_always_called if key not in done]:
                try:
                    result = self._run_forward_hook(key, args, kwargs, result)
                except Exception as error:
                    caution(
                        "module forward hook with ``always_call=True`` raised an exception that was silenced as "
                        f"another error was raised in forward: {error}"
                    )
            raise

    def _run_pre_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for key, hook in list(self._forward_pre_hooks.items()):
            if key not in self._forward_pre_hooks_with_kwargs:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
                continue
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise PreHookError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                    )
                args, kwargs = changed
        return args, kwargs

    def _run_forward_hook(self, key: int, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        more = (kwargs,) if key in self._forward_hooks_with_kwargs else ()
        changed = self._forward_hooks[key](self, args, *more, result)
        return result if changed is None else changed

    # registration --------------------------------------------------------------------------------------------

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """``hook(module, args)`` runs before ``forward`` and may return other arguments.

        Args:
            prepend: run before the hooks that are there.
            with_kwargs: call ``hook(module, args, kwargs)``, which may return ``(args, kwargs)``.
        """
        return _register(hook, prepend, self._forward_pre_hooks, *[self._forward_pre_hooks_with_kwargs] * with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """``hook(module, args, output)`` runs after ``forward`` and may return another output.

        Args:
            prepend: run before the hooks that are there.
            with_kwargs: call ``hook(module, args, kwargs, output)``.
            always_call: run also if ``forward`` raised, then with output None.

        >>> import tinygrad_rnn as tg
        >>> layer, seen = tg.nn.Linear(2, 3), []
        >>> with layer.register_forward_hook(lambda module, args, output: seen.append(output.shape)):
        ...     _ = layer(tg.zeros(4, 2))
        >>> seen
        [torch.Size([4, 3])]
        """
        flags = [self._forward_hooks_with_kwargs] * with_kwargs + [self._forward_hooks_always_called] * always_call
        return _register(hook, prepend, self._forward_hooks, *flags)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """``hook(module, grad_input, grad_output)`` runs in the backward sweep, once the gradients are known.

        Both are tuples, in the order of the positional arguments and of the outputs, with None where there is no
        gradient.  The hook may return other gradients of the inputs.  The module's output must be a tensor or a
        tuple of them.

        >>> import tinygrad_rnn as tg
        >>> layer, seen = tg.nn.Linear(2, 1), []
        >>> handle = layer.register_full_backward_hook(lambda module, before, after: seen.append(after[0].tolist()))
        >>> (3 * layer(tg.zeros(1, 2))).sum().backward()
        >>> seen
        [[[3.0]]]
        """
        return _register(hook, prepend, self._backward_hooks)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """``hook(module, grad_output)`` runs before the sweep enters the module, and may return other gradients."""
        return _register(hook, prepend, self._backward_pre_hooks)

    register_backward_hook = register_full_backward_hook


def _register(
    hook: Callable[..., Any], prepend: bool, table: HookTable, *flags: OrderedDict[int, bool]
) -> RemovableHandle:
    handle = RemovableHandle(table, *flags)
    table[handle.id] = hook
    for flag in flags:
        flag[handle.id] = True
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle

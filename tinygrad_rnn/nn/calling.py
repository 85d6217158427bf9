"""Calling a module: ``forward``, with the hooks around it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..errors import TinygradRnnError
from .backward_hooks import Borders, hook_last_node
from .hooks import ANYWHERE, EVERYWHERE, HookTable, RemovableHandle, add_backward_hook, add_hook
from .state import State
from .user_warning import caution

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
    _is_full_backward_hook: bool | None = None

    forward: Callable[..., Any] = _forward_missing

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``forward``, with the hooks around it."""
        if (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or ANYWHERE
        ):
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        done: set[int] = set()
        result: Any = None
        try:
            pre, hooks, last_hooks = self._backward_hooks_now()
            args, kwargs = self._run_pre_hooks(args, kwargs)
            borders = Borders(self, pre, hooks) if pre or hooks else None  # type: ignore[arg-type]
            if borders is not None:
                args = borders.enter(args)
            result = self.forward(*args, **kwargs)
            for key, hook, with_kwargs in self._hooks_now("forward"):
                done.add(key)
                result = self._after_forward(hook, args, kwargs if with_kwargs else None, result)
            if borders is not None:
                result = borders.leave(result)
            if last_hooks:
                hook_last_node(self, last_hooks, args, result)  # type: ignore[arg-type]
            return result
        except Exception:
            for key, hook, with_kwargs in self._hooks_now("forward"):
                everywhere = key in EVERYWHERE._forward_hooks_always_called
                if key in done or not (everywhere or key in self._forward_hooks_always_called):
                    continue
                try:
                    result = self._after_forward(hook, args, kwargs if with_kwargs else None, result)
                except Exception as error:
                    caution(
                        f"{'global ' if everywhere else ''}module forward hook with ``always_call=True`` raised an "
                        f"exception that was silenced as another error was raised in forward: {error}"
                    )
            raise

    def _hooks_now(self, when: str) -> list[tuple[int, Callable[..., Any], bool]]:
        """The hooks of all modules and this one's, as they are now: number, hook, whether it takes keywords."""
        return [
            (key, hook, key in getattr(owner, f"_{when}_hooks_with_kwargs"))
            for owner in (EVERYWHERE, self)
            for key, hook in getattr(owner, f"_{when}_hooks").items()
        ]

    def _backward_hooks_now(self) -> tuple[list[Any], list[Any], list[Any]]:
        """The backward pre-hooks of all modules and this one's, the full hooks, and those of the old kind."""
        pre: list[Any] = []
        full: list[Any] = []
        old: list[Any] = []
        for owner in (EVERYWHERE, self):
            pre += owner._backward_pre_hooks.values()
            (full if owner._is_full_backward_hook else old).extend(owner._backward_hooks.values())
        return pre, full, old

    def _run_pre_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for _, hook, with_kwargs in self._hooks_now("forward_pre"):
            if not with_kwargs:
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

    def _after_forward(self, hook: Callable[..., Any], args: tuple[Any, ...], kwargs: Any, result: Any) -> Any:
        changed = hook(self, args, result) if kwargs is None else hook(self, args, kwargs, result)
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
        flags = [self._forward_pre_hooks_with_kwargs] * with_kwargs
        return add_hook(hook, self._forward_pre_hooks, *flags, prepend=prepend)

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
        return add_hook(hook, self._forward_hooks, *flags, prepend=prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """``hook(module, grad_input, grad_output)`` runs in the backward sweep, once the gradients are known.

        Both are tuples, in the order of the positional arguments and of the outputs, with None where there is no
        gradient or no tensor.  The hook may return other gradients of the inputs.  The module's output must be a
        tensor or a tuple; of a dictionary, a list, or a tuple within the tuple, no gradients are seen.

        Raises:
            MixedHooksError: the module has a hook of ``register_backward_hook``.

        >>> import tinygrad_rnn as tg
        >>> layer, seen = tg.nn.Linear(2, 1), []
        >>> handle = layer.register_full_backward_hook(lambda module, before, after: seen.append(after[0].tolist()))
        >>> (3 * layer(tg.zeros(1, 2, requires_grad=True))).sum().backward()
        >>> seen
        [[[3.0]]]
        """
        return add_backward_hook(self, hook, True, prepend=prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """``hook(module, grad_output)`` runs before the sweep enters the module, and may return other gradients."""
        return add_hook(hook, self._backward_pre_hooks, prepend=prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, grad_input, grad_output)`` around the last operation alone: use the full hook.

        Raises:
            MixedHooksError: the module has a hook of ``register_full_backward_hook``.
        """
        return add_backward_hook(self, hook, False)

"""Looking at, and replacing, the gradients that pass a module in the backward sweep.

A module with such hooks is called between two borders: its inputs pass through one, its outputs through the other.
A border is an identity with one record for all its tensors, so that it sees all their gradients together:

    inputs -> | -> forward -> | -> outputs          backward: first the right border, then the left one

The right border shows the gradients of the outputs to the pre-hooks and remembers them; the left one shows the
gradients of the inputs, with those of the outputs, to the hooks.  A module whose inputs need no gradient has no left
border: its hooks run at the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import TinygradRnnError
from ..tape.fused import OUTPUT
from ..tape.modes import state
from ..tape.node import Node
from ..tape.primitive import Primitive
from ..tape.tensor import Tensor, wrap
from ..typing import Value
from .caution import caution

if TYPE_CHECKING:
    from .module import Module

__all__ = ["BackwardHookError", "called_between_borders"]

Grads = tuple[Tensor | None, ...]


class BackwardHookError(TinygradRnnError, RuntimeError):
    """A hook that returned what cannot replace the gradients."""


def _pass_back(gs: Sequence[Value], ans: Any, *args: Any, needs: Any, notify: Callable[[Grads], Grads]) -> list[Value]:
    raw = not any(isinstance(g, Tensor) for g in gs)
    grads = notify(tuple([wrap(g) if raw and g is not None else g for g in gs]))
    return [g._data if raw and g is not None else g for g in grads]


BORDER = Primitive("module_border", lambda *arrays: arrays, (), (), joint=_pass_back, listed=False)


def _border(tensors: list[Tensor], notify: Callable[[Grads], Grads]) -> list[Tensor]:
    """The tensors again, copied: a write inside the module must not reach what was given to it."""
    copies = [wrap(t._data.copy()) for t in tensors]
    parents = tuple([t._node for t in tensors])
    first = copies[0]._data
    node = Node(BORDER, parents, parents, {"notify": notify}, None, (), first.shape, first.dtype)
    for watcher in state.watchers:
        watcher.recorded(node, tuple([t._data for t in copies]))
    for number, t in enumerate(copies):
        if parents[number] is not None:
            place = {"number": number, "count": len(copies)}
            t._node = Node(OUTPUT, (node,), (node,), place, None, (), t._data.shape, t._data.dtype)
    return copies


def called_between_borders(
    module: Module, args: tuple[Any, ...], call: Callable[[tuple[Any, ...]], Any], pre: list[Any], hooks: list[Any]
) -> Any:
    """``call(args)`` between two borders.

    Args:
        module: passed on to the hooks.
        pre: ``hook(module, grad_output)``, may return other gradients of the outputs.
        hooks: ``hook(module, grad_input, grad_output)``, may return other gradients of the inputs.
    """
    if not state.recording:
        return call(args)
    seen: list[Grads] = []
    places = [k for k, a in enumerate(args) if isinstance(a, Tensor)]
    needed = any(args[k].requires_grad for k in places)

    def at_inputs(grads: Grads) -> Grads:
        if not seen:  # the sweep came by another way than the outputs, as the second one of a gradient of a gradient
            return grads
        after = seen.pop()
        shown: list[Any] = [None] * len(args)
        for k, g in zip(places, grads, strict=True):
            shown[k] = g
        for hook in hooks:
            shown = list(_replaced(hook(module, tuple(shown), after), shown, "input"))
        return tuple([shown[k] for k in places])

    def at_outputs(grads: Grads) -> Grads:
        for hook in pre:
            grads = _replaced(hook(module, grads), grads, "output")
        seen[:] = [grads]
        if not needed:
            for hook in hooks:
                hook(module, (None,) * len(args), grads)
        return grads

    if needed:
        inside = dict(zip(places, _border([args[k] for k in places], at_inputs), strict=True))
        args = tuple([inside.get(k, a) for k, a in enumerate(args)])
    result = call(args)
    outputs = list(result) if isinstance(result, tuple) else [result]
    if not all(isinstance(t, Tensor) for t in outputs):
        caution(
            "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors "
            f"but received {type(result)}"
        )
        return result
    if not any(t.requires_grad for t in outputs):
        return result
    outputs = _border(outputs, at_outputs)
    return tuple(outputs) if isinstance(result, tuple) else outputs[0]


def _replaced(given: Any, before: Sequence[Any], which: str) -> Grads:
    """What a hook returned in place of the gradients, or these if it returned None."""
    if given is None:
        return tuple(before)
    grads = given if isinstance(given, tuple) else (given,)
    if len(grads) != len(before):
        raise BackwardHookError(
            f"Backward hook returned an invalid number of grad_{which}, got {len(grads)}, but expected {len(before)}"
        )
    return grads

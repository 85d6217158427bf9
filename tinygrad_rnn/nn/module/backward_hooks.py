"""Backward hooks of modules: they see, and may replace, the gradients at the inputs and outputs of a module.

A module with such hooks is called between two borders: its inputs pass through one, its outputs through the other.
A border is an identity with one record for all its tensors, so that it gets all their gradients together:

    inputs -> | -> forward -> | -> outputs          backward: first the right border, then the left one

The right border passes the gradients of the outputs to the pre-hooks and keeps them; the left one passes the
gradients of the inputs, with those of the outputs, to the hooks.  A module whose inputs need no gradient has no left
border: its hooks run at the right one.  A value that is not a tensor (a number, None, a tuple, a packed sequence, a
dictionary) bypasses the border, and is None among the gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ...backend import array_module
from ...errors import TinygradRnnError
from ...source_line import warn_user
from ...tape.hooks.tensor_hooks import checked
from ...tape.modes import state
from ...tape.multi_output import OUTPUT
from ...tape.node import Node
from ...tape.primitive import Primitive
from ...tape.tensor import Tensor, as_array, wrap
from ...typing import Value

__all__ = ["BackwardHookError", "Borders", "hook_last_node"]

Grads = tuple[Tensor | None, ...]
Hook = Callable[..., Any]


class BackwardHookError(TinygradRnnError, RuntimeError):
    """A hook whose result cannot replace the gradients."""


def _pass_back(gs: Sequence[Any], ans: Any, *args: Any, notify: Any, needs: Sequence[bool]) -> list[Value | None]:
    # Raw arrays in a plain sweep, tensors in one that is recorded for the next order.
    raw = not any(isinstance(g, Tensor) for g in gs)
    own = [g if g is None else wrap(as_array(g).copy()) if raw else g.clone() for g in gs]  # hooks may write to them
    grads = notify(own)
    return [g._data if raw and g is not None else g for g in grads]


BORDER = Primitive("module_border", lambda *arrays: arrays, (), (), vjp_all=_pass_back, listed=False)


def _border(values: Sequence[Any], notify: Callable[..., Sequence[Any]]) -> list[Any] | None:
    """The values after a border: tensors are copied, so that a write inside does not reach the caller's.

    Returns:
        None if no gradient can pass: no tensor requires grad, or nothing is recorded.
    """
    tensors = [v for v in values if isinstance(v, Tensor)]
    if not (state.recording and any(t.requires_grad for t in tensors)):
        return None
    parents = tuple([t._node for t in tensors])
    first = tensors[0]._data
    node = Node(BORDER, parents, parents, {"notify": notify}, None, (), first.shape, first.dtype)
    for watcher in state.watchers:
        watcher.recorded(node, tuple([t._data for t in tensors]))
    passed: list[Any] = []
    number = 0
    for value in values:
        if isinstance(value, Tensor):
            if value.requires_grad:
                place = {"number": number, "count": len(tensors)}
                data = value._data.copy()
                value = wrap(data, Node(OUTPUT, (node,), (node,), place, None, (), data.shape, data.dtype))
            number += 1
        passed.append(value)
    return passed


class Borders:
    """The two borders of one call of a module.

    Args:
        module: passed on to the hooks.
        pre: ``hook(module, grad_output)``, may return other gradients of the outputs.
        hooks: ``hook(module, grad_input, grad_output)``, may return other gradients of the inputs.
    """

    def __init__(self, module: Any, pre: Sequence[Hook], hooks: Sequence[Hook]) -> None:
        self.module, self.pre, self.hooks = module, pre, hooks
        self.grad_output: Grads | None = None  # of the outputs, once the sweep has passed the right border
        self.inputs: list[Any] = []  # of each argument: shape and dtype, None for a value that is not a tensor
        self.outputs: list[Any] = []  # the same of each output
        self.left = False  # whether there is a left border

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments for ``forward``, from the left border."""
        inside = _border(args, self.at_inputs)
        self.inputs = _layouts(args)
        self.left = inside is not None
        return args if inside is None else tuple(inside)

    def leave(self, result: Any) -> Any:
        """The result for the caller, from the right border."""
        if not isinstance(result, (Tensor, tuple)):
            warn_user(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors "
                f"but received {type(result)}"
            )
            return result
        outputs = result if isinstance(result, tuple) else (result,)
        self.outputs = _layouts(outputs)
        outside = _border(outputs, self.at_outputs)
        if outside is None:
            return result
        return _tuple_like(result, outside) if isinstance(result, tuple) else outside[0]

    def at_outputs(self, grads: Sequence[Any]) -> Sequence[Any]:
        """Run the pre-hooks; return the gradients of the outputs as they leave them."""
        grad_output = _by_value(grads, self.outputs)
        for hook in self.pre:
            given = hook(self.module, grad_output)
            grad_output = _replaced(hook, given, grad_output, "Backward pre hook", "grad_output")
        if self.left:
            self.grad_output = grad_output
        elif self.hooks:
            self._without_inputs(grad_output)
        return [g for g, layout in zip(grad_output, self.outputs, strict=True) if layout is not None]

    def at_inputs(self, grads: Sequence[Any]) -> Sequence[Any]:
        """Run the hooks; return the gradients of the inputs as they leave them."""
        # A sweep that comes here brings one gradient at least; the others are zeros.
        like = array_module(next(g for g in grads if g is not None)._data)
        tensors = [layout for layout in self.inputs if layout is not None]
        grads = [wrap(like.zeros(*t)) if g is None else g for g, t in zip(grads, tensors, strict=True)]
        # Taken out: a second sweep must not find what the first one left.
        grad_output, self.grad_output = self.grad_output, None
        if grad_output is None:  # the sweep came around the outputs, as the second one of a gradient of a gradient
            return grads
        grad_input = _by_value(grads, self.inputs)
        for hook in self.hooks:
            given = hook(self.module, grad_input, grad_output)
            grad_input = _replaced(hook, given, grad_input, "Backward hook", "grad_input")
        return [g for g, layout in zip(grad_input, self.inputs, strict=True) if layout is not None]

    def _without_inputs(self, grad_output: Grads) -> None:
        warn_user(
            "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs "
            "require gradients. The gradients of the inputs are None"
        )
        for hook in self.hooks:
            given = hook(self.module, (None,) * len(self.inputs), grad_output)
            if given is not None and not (isinstance(given, tuple) and all(g is None for g in given)):
                raise BackwardHookError(
                    "Backward hook for Modules where no input requires gradient should always return None or None for "
                    "all gradients."
                )


def _layouts(values: Sequence[Any]) -> list[Any]:
    """Shape and dtype of each tensor; None for other values."""
    return [(v._data.shape, v._data.dtype) if isinstance(v, Tensor) else None for v in values]


def _by_value(grads: Sequence[Any], layouts: Sequence[Any]) -> Grads:
    """One gradient for each value: those of the tensors in order, None for other values."""
    rest = iter(grads)
    return tuple([None if layout is None else next(rest) for layout in layouts])


def _tuple_like(kind: tuple[Any, ...], items: list[Any]) -> tuple[Any, ...]:
    """``items`` as a tuple of the class of ``kind``: a named tuple, or a packed sequence, stays one."""
    if type(kind) is tuple:
        return tuple(items)
    make = getattr(kind, "_make", None)
    remade: tuple[Any, ...] = make(items) if make is not None else type(kind)(*items)
    return remade


def _replaced(hook: Hook, given: Any, before: Grads, who: str, what: str) -> Grads:
    """The gradients that a hook returned, checked; those it was given if it returned None.

    Raises:
        BackwardHookError: another number of them.
        ArgumentTypeError, ShapeRuntimeError, DtypeError: one of another type, shape or dtype.
    """
    if given is None:
        return before
    grads = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if len(grads) != len(before):
        raise BackwardHookError(
            f"{who} returned an invalid number of {what}, got {len(grads)}, but expected {len(before)}"
        )
    return tuple([new if new is None else checked(hook, new, old) for new, old in zip(grads, before, strict=True)])


def hook_last_node(module: Any, hooks: Sequence[Hook], args: tuple[Any, ...], result: Any) -> None:
    """Register ``hook(module, grad_input, grad_output)`` on the operation that made the (first) output.

    The hooks of ``register_backward_hook`` see no more than that: of a module of several operations, or with several
    outputs, the other gradients are missing.
    """
    first = result
    while first is not None and not isinstance(first, Tensor):
        first = _first_of(first)
    if first is None or not isinstance(first._node, Node):
        return
    for hook in hooks:
        first._node.register_hook(partial(hook, module))
    for values, what, where, missing in ((result, "return", "", "output"), (args, "take", "as input ", "input")):
        if not isinstance(values, Tensor) and not (
            isinstance(values, tuple) and all(isinstance(v, Tensor) for v in values)
        ):
            warn_user(
                f"Using non-full backward hooks on a Module that does not {what} {where}a single Tensor or a tuple of "
                "Tensors is deprecated and will be removed in future versions. This hook will be missing some of the "
                f"grad_{missing}. Please use register_full_backward_hook to get the documented behavior.",
                FutureWarning,
            )
            return
    makers = {t.grad_fn for t in (result if isinstance(result, tuple) else (result,))} - {None}
    if len(makers) > 1:
        warn_user(
            "Using a non-full backward hook when outputs are generated by different autograd Nodes is deprecated and "
            "will be removed in future versions. This hook will be missing some grad_output. Please use "
            "register_full_backward_hook to get the documented behavior.",
            FutureWarning,
        )
    elif {t.grad_fn for t in args} - {None} != {parent for parent, _ in first._node.next_functions}:
        warn_user(
            "Using a non-full backward hook when the forward contains multiple autograd Nodes is deprecated and will "
            "be removed in future versions. This hook will be missing some grad_input. Please use "
            "register_full_backward_hook to get the documented behavior.",
            FutureWarning,
        )


def _first_of(values: Any) -> Any:
    """The first element, for a dictionary the first tensor; None if there is none."""
    if isinstance(values, dict):
        return next((v for v in values.values() if isinstance(v, Tensor)), None)
    return values[0] if isinstance(values, (tuple, list)) and values else None

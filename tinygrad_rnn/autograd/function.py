"""Function: an operation whose backward pass the user writes, in PyTorch's form.

The call leaves one node, whose residual is the context that ``forward`` and ``backward`` share.  With several outputs
each has a small node of its own that puts its cotangent into a list for the main node, as for fused primitives.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..backend import array_module
from ..errors import ArgumentTypeError, GraphError, ShapeRuntimeError, TinygradRnnError
from ..ops import cast, sum_to
from ..tape.formula import Formula
from ..tape.inplace.writes import check_write, commit
from ..tape.modes import state, within
from ..tape.node import Node, VersionCounter
from ..tape.primitive import Primitive
from ..tape.tensor import Tensor, as_array, wrap
from ..typing import Array, Cotangent, Value
from .context import FunctionCtx, FunctionNode, Saved

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class MissingMethod(TinygradRnnError, NotImplementedError):
    """A Function without ``forward`` or ``backward``."""


class Function:
    """An operation with its own backward pass: write ``forward`` and ``backward`` as static methods, call ``apply``.

    ``forward(ctx, *args)`` computes, unrecorded, a tensor or a tuple of tensors.  ``backward(ctx, *grads)`` gets
    the gradient with respect to each output and returns one for each argument of ``forward`` (None for what is no
    tensor).  Written in differentiable operations, it gives higher derivatives too.  Alternatively
    ``forward(*args)`` computes alone and ``setup_context(ctx, inputs, output)`` does what concerns ``ctx``.

    A class may say in ``formula`` what it computes, as equations for whoever shows a backward pass.

    >>> import tinygrad_rnn as tg
    >>> class Cube(tg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x**3
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return grad * 3 * x**2
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> (slope,) = tg.autograd.grad(Cube.apply(x), x, create_graph=True)
    >>> slope.item(), tg.autograd.grad(slope, x)
    (12.0, (tensor(12.),))
    """

    formula: ClassVar[Formula | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise GraphError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd "
            f"function with static forward method: call {type(self).__name__}.apply(...)"
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs: ``forward(ctx, *args)``, or ``forward(*args)`` beside ``setup_context``."""
        raise MissingMethod("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keep in ``ctx`` what ``backward`` needs, if ``forward`` takes no ``ctx``."""
        raise MissingMethod("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Give the gradient with respect to each argument of ``forward``."""
        raise MissingMethod(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """PyTorch's rule for its forward mode, which may be there and is not called.

        ``autograd.functional.jvp`` goes through ``backward``, here as in PyTorch.
        """
        raise MissingMethod(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD. There is "
            "no forward mode here: autograd.functional.jvp() needs the backward method alone"
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward`` and record the call.

        Raises:
            InplaceError: an input marked dirty cannot be written to.
            GraphError: an input marked dirty was not returned.
        """
        ctx = FunctionCtx()
        separate = cls.setup_context is not Function.setup_context
        if separate:
            args = _with_defaults(cls, args, kwargs)
            kwargs = {}
        for name, value in kwargs.items():
            if isinstance(value, Tensor) and value._node is not None:
                raise ArgumentTypeError(
                    f"{cls.__name__}.apply(): argument {name!r} requires grad and was given by name, where it would "
                    "get no gradient. Give it by position"
                )
        parents = tuple([a._node if isinstance(a, Tensor) else None for a in args])
        ctx.needs_input_grad = tuple([node is not None for node in parents])
        if separate:
            result = within(False, cls.forward, *args)
            within(False, cls.setup_context, ctx, args, result)
        else:
            # unrecorded: its derivative is the user's backward
            result = within(False, cls.forward, ctx, *args, **kwargs)
        outputs = result if isinstance(result, tuple) else (result,)
        given = _record(cls, ctx, args, kwargs, parents, outputs)
        return given if isinstance(result, tuple) else given[0]


@functools.lru_cache(maxsize=256)
def _signature(forward: Any) -> inspect.Signature:
    return inspect.signature(forward)


def _with_defaults(cls: type[Function], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """All arguments by position: ``backward`` returns a gradient for each, given or not."""
    bound = _signature(cls.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args


# recording ---------------------------------------------------------------------------------------------------------


def _among(t: Any, items: Sequence[Any]) -> int | None:
    return next((k for k, item in enumerate(items) if item is t), None)  # by identity: == of tensors is elementwise


def _record(
    cls: type[Function],
    ctx: FunctionCtx,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    parents: tuple[Any, ...],
    outputs: tuple[Any, ...],
) -> tuple[Any, ...]:
    """The tensors that ``apply`` returns, with a node where the call is recorded."""
    name = cls.__name__ + "Backward"
    if any(_among(t, outputs) is None for t in ctx._dirty):
        raise GraphError(
            "Some elements marked as dirty during the forward method were not returned as output. The inputs that are "
            f"modified inplace must all be outputs of the Function ({cls.__name__})."
        )
    recorded = state.recording and any(parent is not None for parent in parents)
    recorded = recorded and any(isinstance(t, Tensor) for t in outputs)
    for t in ctx._dirty:  # before any node is made, so that a refusal leaves no trace
        check_write(t, cls.__name__, recorded)
    given = [t if _among(t, ctx._dirty) is not None else _fresh(t, args) for t in outputs]
    if recorded:
        ctx._outputs = tuple([(t._data.shape, t._data.dtype) if isinstance(t, Tensor) else None for t in outputs])
        ctx._tensors = tuple([isinstance(a, Tensor) for a in args])
        ctx._several = len(outputs) > 1
        p = _primitive_of(cls, bool(ctx._to_save))
        # a node has one shape; of several outputs each has its own at its own node
        y = next(t._data for t in given if isinstance(t, Tensor))
        node = FunctionNode(p, parents, parents, {}, ctx, (), y.shape, y.dtype)
        ctx.adopt(node)
    for k, t in enumerate(given):
        if not isinstance(t, Tensor):
            continue
        live = recorded and t._data.dtype.kind in "fc" and _among(outputs[k], ctx._constant) is None
        at = ctx._output_node(k) if live else None
        if _among(t, ctx._dirty) is not None:  # its views get new nodes, too, as after any write
            commit(t, at, cls.__name__)
        else:
            t._node = at
    if recorded:
        _keep(ctx, args, outputs, given, name)
        values = tuple([t._data if isinstance(t, Tensor) else t for t in given])
        if state.watchers:
            node.constants, node.keywords = args, kwargs  # type: ignore[attr-defined]  # to replay the call with
        for watcher in state.watchers:
            watcher.recorded(node, values if ctx._several else values[0])
    return tuple(given)


def _fresh(t: Any, args: Sequence[Any]) -> Any:
    """An output as a tensor of its own, over memory that is no input's."""
    if not isinstance(t, Tensor):
        return t
    shared = t._node is not None or any(  # an input, or a view of one: a write to either would change both
        isinstance(a, Tensor) and (a is t or _same(a._versions, t._versions)) for a in args
    )
    out = wrap(array_module(t._data).array(t._data) if shared else t._data)
    if not shared:
        out._versions = t._versions  # forward may have saved t: a write to this one is a write to that
    return out


def _same(a: VersionCounter | None, b: VersionCounter | None) -> bool:
    return a is not None and a is b


def _keep(ctx: FunctionCtx, args: Sequence[Any], outputs: Sequence[Any], given: Sequence[Any], name: str) -> None:
    """Turn what ``forward`` wants to keep into saved memory."""

    def saved(t: Tensor | None) -> Saved | None:
        if t is None:
            return None
        number = _among(t, outputs)
        if number is not None:
            differentiable = given[number]._node is not None
            return Saved(given[number], number if differentiable else None, f"output {number} of {name}")
        position = _among(t, args)
        return Saved(t, None, "saved by it" if position is None else f"argument {position} of {name}")

    ctx._saved = tuple([saved(t) for t in ctx._to_save])
    # an output alone: it would own the node that owns this context
    kept = {key: saved(value) for key, value in vars(ctx).items() if isinstance(value, Tensor) and _in(value, outputs)}
    for key in kept:
        delattr(ctx, key)
    ctx.__dict__["_kept"] = kept
    ctx._to_save = ctx._dirty = ctx._constant = ()  # the context must own no tensor of the user's


def _in(t: Tensor, outputs: Sequence[Any]) -> bool:
    return _among(t, outputs) is not None


def _primitive_of(cls: type[Function], saves_anything: bool) -> Primitive:
    """The primitive of a Function's calls, one for those that save tensors and one for the others."""
    # not inherited: a subclass may have another forward
    made: dict[bool, Primitive] | None = cls.__dict__.get("_primitives")
    if made is None:
        made = {}
        cls._primitives = made  # type: ignore[attr-defined]
    if saves_anything not in made:

        def vjp_all(g: Cotangent, ctx: FunctionCtx, *parents: Any, needs: tuple[bool, ...]) -> list[Value | None]:
            return _pull(cls, g, ctx, parents, needs)

        p = Primitive(cls.__name__, cls.forward, (), (), vjp_all=vjp_all, residual=saves_anything, listed=False)
        p.backward_name = cls.__name__ + "Backward"
        p.formula = cls.formula if isinstance(cls.formula, Formula) else None  # a user's attribute may have that name
        p.apply = cls.apply  # with which gradcheck replays the call
        made[saves_anything] = p
    return made[saves_anything]


# the backward pass -------------------------------------------------------------------------------------------------


def _pull(
    cls: type[Function], g: Cotangent, ctx: FunctionCtx, parents: tuple[Any, ...], needs: tuple[bool, ...]
) -> list[Value | None]:
    """Run the user's ``backward`` and check what it returns."""
    name = cls.__name__ + "Backward"
    record = state.recording
    gs: Any = g if ctx._several else [g]
    some = next(item for item in gs if item is not None)  # there is one, or the sweep would not have come here
    xp = array_module(some._data if record else some)
    grads: list[Tensor | None] = []
    for item, kind in zip(gs, ctx._outputs, strict=True):
        if item is not None:
            grads.append(item.clone() if record else wrap(as_array(item).copy()))  # a copy: backward may write to it
        elif kind is None or not ctx._materialize:
            grads.append(None)
        else:
            grads.append(wrap(xp.zeros(*kind)))
    ctx.needs_input_grad = needs  # of this sweep: grad() may want less than was recorded
    pull = cls.vjp if cls.vjp is not Function.vjp else cls.backward
    returned = pull(ctx, *grads)
    results = returned if isinstance(returned, tuple) else (returned,)
    extra = results[len(parents) :]  # PyTorch takes any number of None behind the gradients
    if len(results) < len(parents) or any(item is not None for item in extra):
        raise GraphError(
            f"function {name} returned an incorrect number of gradients (expected {len(parents)}, got {len(results)}): "
            "backward returns one for each argument of forward, None where there is none"
        )
    found: list[Value | None] = []
    for position, (result, parent, need) in enumerate(zip(results, parents, needs, strict=False)):
        if result is not None and not ctx._tensors[position]:
            raise GraphError(
                f"function {name} returned a gradient different than None at position {position + 1}, but the "
                "corresponding forward input was not a Variable"
            )
        checked = _checked(name, position, result, parent)
        found.append(None if checked is None or not need else checked if record else checked._data)
    return found


def _checked(name: str, position: int, result: Any, parent: Any) -> Tensor | None:
    """One returned gradient, in the shape and dtype of its argument."""
    if result is None:
        return None
    if not isinstance(result, Tensor):
        raise ArgumentTypeError(
            f"expected Variable or None (got {type(result).__name__}): {name} returned it at index {position}. Wrap "
            "arrays with tensor(...)"
        )
    if parent is None:  # of a tensor that needs no gradient: dropped without a word, as in PyTorch
        return None
    shape, expected = result._data.shape, tuple(parent.shape)
    if shape != expected:
        fits = len(shape) >= len(expected) and all(  # of a broadcast argument PyTorch does the sum itself
            n == m or m == 1 for n, m in zip(shape[::-1], expected[::-1], strict=False)
        )
        if not fits:
            raise ShapeRuntimeError(
                f"Function {name} returned an invalid gradient at index {position} - got {list(shape)} but expected "
                f"shape compatible with {list(expected)}"
            )
        result = sum_to(result, expected)
    out: Tensor = result if result._data.dtype == parent.dtype else cast(result, dtype=parent.dtype)
    return out


def _refuse(*args: Any, **params: Any) -> Any:
    raise GraphError(
        "trying to differentiate twice a function that was marked with @once_differentiable: its backward is not "
        "written in differentiable operations"
    )


def _nothing(a: Array) -> Array:
    return a


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a ``backward`` that leaves the tape (it computes with raw arrays): differentiating it is then an error.

    >>> import tinygrad_rnn as tg
    >>> class Square(tg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     @once_differentiable
    ...     def backward(ctx, g):
    ...         return 2 * ctx.saved_tensors[0] * g
    >>> x = tg.tensor([3.0], requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad
    tensor([6.])
    """

    @functools.wraps(backward)
    def once(ctx: Any, *grads: Any) -> Any:
        record = state.recording
        returned = within(False, backward, ctx, *grads)
        if not record:
            return returned
        results = returned if isinstance(returned, tuple) else (returned,)
        # unsealed, a second derivative would be 0 without a word
        sealed = tuple([_sealed(r, ctx._owner()) if isinstance(r, Tensor) else r for r in results])
        return sealed if isinstance(returned, tuple) else sealed[0]

    return once


SEAL = Primitive("once_differentiable", _nothing, (_refuse,), ("",), listed=False)


def _sealed(t: Tensor, owner: Node | None) -> Tensor:
    node = None if owner is None else Node(SEAL, (owner,), (owner,), {}, None, (), t._data.shape, t._data.dtype)
    return wrap(t._data, node)

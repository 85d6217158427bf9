"""The context of a custom Function: what its forward and backward pass share, and what is saved between them.

What is saved is memory and history, never the tensor that the user holds: so the graph owns no tensor, and there are
no cycles, not even if an output is saved or is stored as an attribute of the context.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from ..backend import tensor_type
from ..errors import ArgumentTypeError, GraphError, InplaceError, ShapeRuntimeError
from ..tape.multi_output import outputs_of
from ..tape.node import Leaf, Node, VersionCounter
from ..tape.refusals import FREED
from ..tape.tensor import Tensor, wrap
from ..typing import Array, DType, Shape

__all__ = ["FunctionCtx", "FunctionNode", "Packed", "Saved"]


class Packed:
    """In place of a saved array: what a hook on saved values made of it."""

    __slots__ = ("content", "dtype", "shape", "unpack")

    def __init__(self, content: Any, unpack: Callable[[Any], Tensor], shape: Shape, dtype: DType) -> None:
        self.content, self.unpack, self.shape, self.dtype = content, unpack, shape, dtype

    def restore(self) -> Array:
        """The array again.

        Raises:
            ArgumentTypeError: the unpack hook returned no tensor.
            ShapeRuntimeError: it returned one of another shape or dtype.
        """
        t = self.unpack(self.content)
        if not isinstance(t, Tensor):
            raise ArgumentTypeError(f"saved_tensors_hooks: unpack returned {type(t).__name__}, expected a Tensor")
        if t._data.shape != self.shape or t._data.dtype != self.dtype:
            raise ShapeRuntimeError(
                f"saved_tensors_hooks: unpack returned {t.dtype.name}{list(t.shape)} for a value that was saved as "
                f"{self.dtype.name}{list(self.shape)}"
            )
        return t._data


class Saved:
    """A saved tensor: its memory, its place in the graph, and how often it had been written."""

    def __init__(self, t: Tensor, output: int | None, what: str) -> None:
        self.data: Array | Packed = t._data
        # an output's node would own itself: it is looked up when needed
        self.node: Leaf | Node | None = None if output is not None else t._node
        self.output = output
        self.versions: VersionCounter = t._own_versions()  # kept beside the memory: t itself may be gone by then
        self.version = self.versions.count
        self.what = what

    def unpack(self, ctx: FunctionCtx) -> Tensor:
        """The tensor that was saved.

        Raises:
            InplaceError: it was written to since.
        """
        if self.versions.count != self.version:  # any write, wherever: the user sees all of the memory
            raise InplaceError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"[{tensor_type(self.data.dtype)} {list(self.data.shape)}], which is {self.what}, is at version "
                f"{self.versions.count}; expected version {self.version} instead. Hint: write to a copy (x.clone()) or "
                "use the out-of-place form; autograd.detect_anomaly() shows the line that recorded the operation."
            )
        data = self.data.restore() if isinstance(self.data, Packed) else self.data
        t = wrap(data, self.node if self.output is None else ctx._output_node(self.output))
        t._versions = self.versions
        return t


class FunctionCtx:
    """What ``forward`` and ``backward`` of one call share.  Other attributes may be set on it freely.

    Attributes:
        needs_input_grad: for each argument of ``forward``, whether its gradient is wanted.

    >>> import tinygrad_rnn as tg
    >>> class Scaled(tg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x, factor):
    ...         ctx.factor = factor  # anything that backward needs beside tensors
    ...         return x * factor
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * ctx.factor, None
    >>> x = tg.ones(1, requires_grad=True)
    >>> Scaled.apply(x, 5.0).backward()
    >>> x.grad
    tensor([5.])
    """

    needs_input_grad: tuple[bool, ...] = ()
    _to_save: tuple[Any, ...] = ()
    _saved: tuple[Saved | None, ...] = ()
    _dirty: tuple[Any, ...] = ()
    _constant: tuple[Any, ...] = ()
    _materialize = True
    _several = False
    _owner: Callable[[], Node | None] = staticmethod(lambda: None)  # weakly, the node of the call
    _outputs: tuple[Any, ...] = ()  # shape and dtype of each, None for what is no tensor
    _tensors: tuple[bool, ...] = ()  # which arguments are tensors

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or outputs for ``backward``, where ``saved_tensors`` gives them back with their history.

        Raises:
            ArgumentTypeError: something else than a tensor or None: set it as an attribute instead.
        """
        for position, t in enumerate(tensors):
            if t is not None and not isinstance(t, Tensor):
                raise ArgumentTypeError(
                    f"save_for_backward can only save variables, but argument {position} is of type "
                    f"{type(t).__name__}. Set it as an attribute: ctx.name = value"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Accepted as in PyTorch; there is no forward mode that would read them."""

    def mark_dirty(self, *args: Tensor) -> None:
        """Say which inputs ``forward`` wrote to.  They must be returned."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Say which outputs have no gradient."""
        self._constant = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether ``backward`` gets zeros (the default) or None for an output that no gradient reached."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What ``save_for_backward`` kept.

        Raises:
            InplaceError: one of them was written in place since.
        """
        return tuple([None if saved is None else saved.unpack(self) for saved in self._saved])

    def __getattr__(self, name: str) -> Any:
        """An output that ``forward`` set as an attribute: kept as a saved tensor, or it would own its own graph."""
        kept = self.__dict__.get("_kept", {})  # not self._kept, which comes here again as long as it is not set
        if name in kept:
            return kept[name].unpack(self)
        raise AttributeError(f"the context has no attribute {name!r}: forward did not set it")

    def adopt(self, node: Node) -> None:
        """Belong to another node: checkpointing hands the context of its second run to the node of the first."""
        self._owner = weakref.ref(node)

    def _output_node(self, number: int) -> Node:
        owner = self._owner()
        assert owner is not None
        if not self._several:  # else each output has a node, which this one does not refer to: another will do
            return owner
        shape, dtype = self._outputs[number]
        place = {"number": number, "count": len(self._outputs)}
        return Node(outputs_of(owner.name()), (owner,), (owner,), place, None, (), shape, dtype)


class FunctionNode(Node):
    """The node of a call of a Function."""

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What ``save_for_backward`` kept.

        Raises:
            GraphError: a backward pass has freed it.
        """
        if self.ans is None:
            raise GraphError(FREED)
        return tuple(self.ans.saved_tensors)

"""Nodes: what one recorded operation leaves behind.

Rules that the rest of the engine relies on:

* A node points to its parents, never to its children, and a leaf node only weakly to its tensor.  So the
  tensors that can reach a node own it: there are no cycles, and a graph that nobody holds is freed at once.
* Indices grow with time.  A parent's index is smaller than its child's, hence falling index is an order in
  which every child comes before its parents: the sweep needs no other sort.
* The clock that gives indices also stamps writes in place.  A saved value is stale exactly if its own memory was
  written after the node was recorded, i.e. if such a write has a stamp greater than the node's index.
* In ``args`` a value that the vjps do not read is replaced by the parent that stands for it, which knows its
  shape and dtype and nothing else.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..backend import is_array, scalar_name
from ..errors import InplaceError
from ..typing import Array, DType, Params, Shape, Value
from .hooks.tensor_hooks import register_leaf_hook, register_node_hook, register_prehook
from .inplace.versions import Clock, Write, now, stamp_write, writes

if TYPE_CHECKING:
    from .primitive import Primitive
    from .tensor import Tensor

__all__ = ["Clock", "Hook", "Leaf", "Node", "now", "stamp_write", "writes"]

Hook = Callable[..., Any]


class Leaf:
    """The node of a tensor that requires grad and was not computed: where the sum of gradients arrives."""

    __slots__ = ("dtype", "hooks", "index", "post_hooks", "shape", "tensor")

    def __init__(self, tensor: Tensor, shape: Shape, dtype: DType) -> None:
        self.index = now()
        self.tensor: weakref.ref[Tensor] = weakref.ref(tensor)
        self.shape = shape
        self.dtype = dtype
        self.hooks: dict[int, Hook] | None = None
        self.post_hooks: dict[int, Hook] | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def variable(self) -> Tensor | None:
        """The tensor itself, if it still exists."""
        return self.tensor()

    def name(self) -> str:
        return "AccumulateGrad"

    register_hook = register_leaf_hook
    register_prehook = register_prehook

    def __repr__(self) -> str:
        return f"<{self.name()} #{self.index}>"


class Node:
    """One applied primitive: its parents, the values its vjps need, its output's shape and dtype."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "ans",
        "args",
        "clocks",
        "dtype",
        "hooks",
        "index",
        "params",
        "parents",
        "primitive",
        "shape",
    )

    # Rarely set, so kept out of the slots: an instance gets a __dict__ only when it is.
    info: str | None = None

    def __init__(
        self,
        primitive: Primitive,
        parents: tuple[Leaf | Node | None, ...],
        args: tuple[Value, ...],
        params: Params,
        ans: Array,
        clocks: tuple[Clock | None, ...],
        shape: Shape,
        dtype: DType,
    ) -> None:
        self.index = now()
        self.primitive = primitive
        self.parents = parents
        self.args: tuple[Value, ...] | None = args
        self.params = params
        self.ans = ans
        self.clocks = clocks
        self.shape = shape
        self.dtype = dtype
        self.hooks: dict[int, Hook] | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def next_functions(self) -> tuple[tuple[Leaf | Node | None, int], ...]:
        """The parents, in PyTorch's form: pairs of node and output number."""
        return tuple((parent, 0) for parent in self.parents)

    def name(self) -> str:
        """The name in PyTorch's form: ``TanhBackward0``."""
        return self.primitive.backward_name

    register_hook = register_node_hook
    register_prehook = register_prehook

    def __repr__(self) -> str:
        return f"<{self.name()} #{self.index}>"

    def check_fresh(self) -> None:
        """Raise if a saved value was written in place after it was saved.

        Raises:
            InplaceError: names the operation that saved the value.
        """
        for position, clock in enumerate(self.clocks):
            if clock is not None and clock.stamp > self.index:
                write = clock.first_overwrite(self._saved(position), self.index)
                if write is not None:
                    raise InplaceError(self._stale(position, clock, write))

    def _saved(self, position: int) -> Array | None:
        """The array that a clock watches, first those of the arguments, then of the output; None if not at hand."""
        if position < len(self.parents):
            value = self.args and self.args[position]
        else:  # a fused primitive has its residual there
            value = self.ans if self.primitive.joint is None else None
        return value if is_array(value) else None

    def _stale(self, position: int, clock: Clock, write: Write) -> str:
        number = position - len(self.parents)  # the clocks of the arguments, then those of the outputs
        value: Any = self
        maker: Leaf | Node | None = self
        made, role = number, "its output"
        if number < 0:
            value, maker = (self if self.args is None else self.args[position]), self.parents[position]
            made = maker.params.get("number", 0) if isinstance(maker, Node) else 0
            role = f"its argument {position}"
        which = f", which is output {made} of {maker.name()}," if isinstance(maker, Node) else ""
        version = clock.version_at(self.index)
        expected = "an earlier version" if version is None else f"version {version}"
        where = f" at {self.info}" if self.info else ""
        return (
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"[{_type_name(value)} {list(value.shape)}]{which} is at version {clock.count}; expected {expected} "
            f"instead. Hint: {self.primitive.name} saved it ({role}) for its gradient{where}, and "
            f"{write.writer or 'an optimiser or the like'} wrote to it later. Write to a copy (x.clone()), use the "
            "out-of-place form, or call backward() first; autograd.detect_anomaly() shows the lines."
        )


def _type_name(x: Any) -> str:
    return f"torch.{scalar_name(x.dtype)}Tensor"

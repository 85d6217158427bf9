"""Nodes: what one recorded operation leaves behind.

Rules that the rest of the engine relies on:

* A node points to its parents, never to its children, and a leaf node only weakly to its tensor.  So only tensors
  keep nodes alive: there are no cycles, and a graph that is dropped is freed at once.
* Indices grow with time.  A parent's index is smaller than its child's, hence falling index is an order in
  which every child comes before its parents: the sweep needs no other sort.
* In ``args`` a value that the vjps do not read is replaced by its node, which knows shape and dtype and nothing else.
  A number or an array without history has no node: its parent is None.

For ``y = tanh(a)`` the node has the parent ``a``'s node, nothing in ``args`` and, because tanh's vjp reads it, ``y`` in
``ans``.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

from ..typing import DType, Params, Shape
from .primitive import Primitive

__all__ = ["Leaf", "Node", "VersionCounter", "last_write", "now"]

now: Callable[[], int] = itertools.count(1).__next__
"""The next tick of the one counter, for recorded operations and writes in place alike."""
last_write = [0]
"""The tick at which any memory was last written in place: nodes recorded later need no check."""


class VersionCounter:
    """How often a piece of memory was written in place; a tensor, its views and what was detached from it share one."""

    # Of the class until the first write: most counters stay at 0.
    stamp = 0  # the tick of the last write to this memory: a value saved before it may be stale
    count = 0  # the number of writes, PyTorch's ``_version``
    log: Any = None  # which entries were written when: see ``inplace/versions.py``
    views: dict[weakref.ref[Any], None] | None = None  # the living ones: see ``inplace/views.py``


class Leaf:
    """The node of a tensor that requires grad and was not computed: where the sum of gradients arrives."""

    __slots__ = ("dtype", "hooks", "index", "post_hooks", "shape", "tensor")

    register_hook: Callable[..., Any]
    register_prehook: Callable[..., Any]

    def __init__(self, tensor: Any, shape: Shape, dtype: DType) -> None:
        self.index = now()
        self.tensor: weakref.ref[Any] = weakref.ref(tensor)  # the tensor holds the leaf: both ways would be a cycle
        self.shape = shape
        self.dtype = dtype
        self.hooks: Any = None
        self.post_hooks: Any = None

    @property
    def ndim(self) -> int:
        """The number of axes of the tensor."""
        return len(self.shape)

    @property
    def variable(self) -> Any:
        """The tensor itself, if it still exists."""
        return self.tensor()

    def name(self) -> str:
        """PyTorch's name for the node of a leaf."""
        return "AccumulateGrad"

    def __repr__(self) -> str:
        return f"<{self.name()} #{self.index}>"


class Node:
    """One applied primitive: its parents, the values its vjps need, its output's shape and dtype."""

    __slots__ = (
        *("__dict__", "__weakref__", "ans", "args", "dtype", "hooks", "index", "params", "parents", "primitive"),
        *("shape", "versions"),
    )

    info: str | None = None  # where it was recorded; anomaly mode alone sets it, so it is no slot
    check_saved: Callable[[], None]  # given by ``inplace/versions.py``, as the next two are by ``hooks/``
    register_hook: Callable[..., Any]
    register_prehook: Callable[..., Any]

    def __init__(
        self,
        primitive: Primitive,
        parents: tuple[Leaf | Node | None, ...],
        args: tuple[Any, ...],
        params: Params,
        ans: Any,
        versions: tuple[VersionCounter | None, ...],
        shape: Shape,
        dtype: DType,
    ) -> None:
        self.index = now()
        self.primitive = primitive
        self.parents = parents
        self.args: tuple[Any, ...] | None = args  # see above; None once freed
        self.params = params
        self.ans = ans  # the output, if a vjp reads it; for a fused primitive, what its kernel left; else None
        self.versions = versions  # of the memory of each saved argument, and last of the output
        self.shape = shape
        self.dtype = dtype
        self.hooks: Any = None

    @property
    def ndim(self) -> int:
        """The number of axes of the result."""
        return len(self.shape)

    @property
    def next_functions(self) -> tuple[tuple[Leaf | Node | None, int], ...]:
        """The parents, in PyTorch's form: pairs of node and output number."""
        return tuple((parent, 0) for parent in self.parents)  # 0: each output of a fused primitive has its own node

    def name(self) -> str:
        """The name in PyTorch's form: ``TanhBackward0``."""
        return self.primitive.backward_name

    def __repr__(self) -> str:
        return f"<{self.name()} #{self.index}>"

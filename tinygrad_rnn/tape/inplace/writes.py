"""Writing in place: the memory changes, the graph grows.

A node says how a *value* came to be.  A write gives a tensor another value, so it gives it another node; nodes that
were recorded before keep meaning the old value.  If one of them saved the old value for its vjp, the stamp of the
write tells, and the sweep raises.

A write to a view changes its parent too.  The parent's new value is its old one with a region replaced,

    parent' = write(parent, value)        vjps: g with zeros in the region, and the region of g,

and so on up to the head of the family.  Every other view that was taken is then taken again, from its parent's new
node.  Nothing is copied for this: a node of ``write`` knows how the region is taken, not where it is in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...backend import array_module
from ...errors import InplaceError
from ...source_line import user_line
from ...typing import Array, Params, Value
from ..apply import primitive
from ..formula import Formula
from ..hooks.tensor_hooks import move_retained
from ..modes import state
from ..node import Leaf, Node
from ..partial_gradient import Part
from ..primitive import REGISTRY, Primitive
from ..tensor import Tensor, as_array, wrap
from .versions import overlap, stamp_write
from .views import ancestry, derive, region, unlock, views_of

__all__ = ["Erased", "check_memory", "check_write", "commit", "stamped"]

AnyNode = Leaf | Node

LEAF = (
    "a leaf Variable that requires grad is being used in an in-place operation. {op}() would change a tensor of shape "
    "{shape} whose gradient is wanted at the value that it had. Under tg.no_grad() (an update of a weight), or "
    "after x = x.clone(), it can be written to"
)
VIEW_OF_LEAF = (
    "a view of a leaf Variable that requires grad is being used in an in-place operation. {op}() would change the "
    "leaf of shape {shape} through its view. Under tg.no_grad(), or in a view of x.clone(), it can be written to"
)
LEAF_VIEW = (
    "a leaf Variable that requires grad is being used in an in-place operation. {op}() would change, through shared "
    "memory, a tensor of shape {shape} on which requires_grad_() was called and which is itself a view. Call it on a "
    "clone() of the view"
)
UNRECORDED_VIEW = (
    "A view was created in no_grad mode and is being modified inplace with grad mode enabled. {op}() would change a "
    "tensor of shape {shape} that has a history, by way of a view that has none. Take the view with recording on, or "
    "write under tg.no_grad(); x.detach()[...] writes to the same memory without a gradient"
)
OVERLAPPING = (
    "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
    "Please clone() the tensor before performing the operation. {op}(): a tensor of shape {shape} made by expand() "
    "or unfold() repeats memory"
)


class Erased(Part):
    """A cotangent with zeros in one region: what reaches the old value of a tensor that was written there.

    Where the sweep owns the cotangent and this is its last use, the zeros are written into it; so a chain of T
    writes to slices of one tensor costs T slices on the way back, not T times the whole.
    """

    __slots__ = ("erase", "g")

    def __init__(self, g: Array, erase: Callable[[Array], None]) -> None:
        self.g: Any = g  # a number, where NumPy made one of an array without axes
        self.erase = erase

    def start(self) -> Array:
        rest: Array = array_module(self.g).array(self.g, order="C")
        self.erase(rest)
        return rest

    def take(self) -> Array:
        g: Array = self.g
        # a number is no memory; an expanded array has one place for many entries
        if isinstance(self.g, np.generic) or not g.flags.c_contiguous:
            return self.start()
        self.erase(g)
        return g

    def add_to(self, total: Array) -> None:
        total += self.start()  # not erase(total), which would lose what others added in the region


def _write(a: Array, value: Array, view: Primitive, how: Params) -> Array:
    out: Array = array_module(a).array(a, order="C")
    region(view, how, out)[...] = value
    return out


def _write_vjps(
    g: Value, y: Any, a: Any, value: Any, needs: Sequence[bool], view: Primitive, how: Params
) -> list[Value | None]:
    """The cotangents of the parent and of the value written to a view of it."""
    of_parent, of_value = needs
    return [write(g, 0, view=view, how=how) if of_parent else None, view.apply(g, **how) if of_value else None]


def _raw_write_vjps(
    g: Array, y: Any, a: Any, value: Any, needs: Sequence[bool], view: Primitive, how: Params
) -> list[Any]:
    """The same with the zeros written into ``g``, where that may be: for T writes to slices, T slices."""

    def erase(total: Array) -> None:
        region(view, how, total)[...] = 0

    of_value = as_array(view.forward(g, **how)).copy() if needs[1] else None  # copied before the region of g is erased
    return [Erased(g, erase) if needs[0] else None, of_value]


write = primitive(
    "view_write",
    _write,
    vjp_all=_write_vjps,
    formula=Formula(
        r"y_{j} = \begin{cases} v_{i} & j = \iota(i) \\ a_{j} & \text{otherwise} \end{cases}",
        a=r"\bar{a}_{j} = \begin{cases} 0 & j = \iota(i) \\ \bar{y}_{j} & \text{otherwise} \end{cases}",
        value=r"\bar{v}_{i} = \bar{y}_{\iota(i)}",
    ),
    doc="``a`` with ``value`` in place of the region that ``view`` shows.",
)
forget = primitive(
    "forget",
    lambda a: a.copy("K"),
    lambda g, y, a: _zeros(g),
    formula=Formula("a", a="0"),
    doc="A value that no longer depends on ``a``.",
)

WRITE, FORGET = REGISTRY["view_write"], REGISTRY["forget"]
WRITE.backward_name = "CopySlices"
WRITE.add_raw_form(None, _raw_write_vjps)


def _zeros(g: Any) -> Any:
    return wrap(_zeros(g._data)) if isinstance(g, Tensor) else array_module(g).zeros_like(g)


def check_memory(t: Tensor, op: str) -> None:
    """Refuse to write to memory that is read-only, or where several entries share one place.

    Raises:
        InplaceError: see above.
    """
    data = t._data
    flags = data.flags
    if flags.c_contiguous and getattr(flags, "writeable", True):  # the usual case: such entries have a place each
        return
    if _repeats(data):  # before the lock: NumPy locks what it expands, and the overlap is what is to be said
        raise InplaceError(OVERLAPPING.format(op=op, shape=list(data.shape)))
    if not getattr(data.flags, "writeable", True) and not unlock(t):
        raise InplaceError(
            f"{op}(): the memory of this tensor of shape {list(data.shape)} is read-only. Write to a clone()"
        )


def _repeats(data: Array) -> bool:
    """Whether two entries share one address."""
    if 0 in data.shape:
        return False
    reach = data.itemsize
    # apart, if each step is longer than what all shorter ones reach
    for step, length in sorted((abs(step), length) for step, length in zip(data.strides, data.shape, strict=True)):
        if length > 1:
            if step < reach:
                break
            reach += step * (length - 1)
    else:
        return False
    # The axes interleave: only the addresses themselves tell.
    addresses = np.zeros((), np.int64)
    for step, length in zip(data.strides, data.shape, strict=True):
        addresses = addresses[..., None] + step * np.arange(length)
    return np.unique(addresses).size < addresses.size


def check_write(t: Tensor, op: str, recorded: bool, place: Array | None = None, *, shape_only: bool = False) -> None:
    """Refuse a write after which a gradient would be wrong.

    Args:
        t: the tensor that is written to.
        op: the name of what writes.
        recorded: the new value has a history.
        place: the part of the memory of ``t`` that is written, if not all.
        shape_only: no memory is written, the tensor gets another shape.

    Raises:
        InplaceError: ``t`` or what it is a view of is a leaf that requires grad, was taken without recording, or
            repeats memory.
    """
    if not state.here.recording or (not recorded and t._node is None and not t._is_view()):
        return
    line = ancestry(t)
    for relative in line:
        if type(relative._node) is Leaf:
            sentence = LEAF if relative is t else VIEW_OF_LEAF
            raise InplaceError(sentence.format(op=op, shape=list(relative._data.shape)))
    if not recorded and all(relative._node is None for relative in line):
        return
    for relative in line[1:]:  # of which a part would be written, and its repetitions along with it, unrecorded
        if not shape_only and not relative._data.flags.c_contiguous and _repeats(relative._data):
            raise InplaceError(OVERLAPPING.format(op=op, shape=list(relative._data.shape)))
    for relative in line[:-1]:  # all but the head, which is no view
        if not relative._view[3]:
            raise InplaceError(UNRECORDED_VIEW.format(op=op, shape=list(line[-1]._data.shape)))
    place = t._data if place is None else place
    for other in views_of(line[-1]):
        if type(other._node) is Leaf and overlap(other._data, place):
            raise InplaceError(LEAF_VIEW.format(op=op, shape=list(other._data.shape)))


def commit(t: Tensor, node: AnyNode | None, op: str, place: Array | None = None) -> Tensor:
    """After the memory of ``t`` was written: stamp it, and give ``t`` and its family their new nodes.

    ``node`` is that of the new value of ``t``, None for a constant.  ``check_write`` came before.
    """
    place = t._data if place is None else place
    here = state.here
    stamped(t, op, place)  # first: the nodes made below are later than the stamp, so that they are not stale
    if not here.recording or (node is None and t._node is None and not t._is_view()):
        return t
    line = ancestry(t)
    if node is None:
        if all(relative._node is None for relative in line):
            return t
        if t._node is not None:  # stay a part of the graph, as in PyTorch, with a gradient of zero
            node = Node(FORGET, (t._node,), (t._node,), {}, None, (), t._data.shape, t._data.dtype)
            _show(node, t)
    _assign(t, node)
    for child, parent in itertools.pairwise(line):
        _, p, params, _ = child._view
        parents = (parent._node, child._node)
        x = parent._data
        written = Node(WRITE, parents, parents, {"view": p, "how": params}, None, (), x.shape, x.dtype)
        _show(written, parent)
        _assign(parent, written)
    for child in line[-2::-1]:  # views of the new value, as the others: a hook sees the uses of that view alone
        view_again = derive(child)
        if view_again is not None:
            _show(view_again, child)
        _assign(child, view_again)
    relatives = set(map(id, line))
    for view in views_of(line[-1]):
        # a view of another part kept its value, and keeps its node
        if id(view) not in relatives and (view._node is None or overlap(view._data, place)):
            _assign(view, derive(view))
    return t


def stamped(t: Tensor, op: str, place: Array | None = None) -> Tensor:
    """``t``, whose memory was just written; all that there is to do where it is neither recorded nor a view."""
    place = t._data if place is None else place
    watchers = state.here.watchers
    # the user's line is slow to find
    stamp_write(t._versions or t._own_versions(), place, _writer(op) if watchers else op + "()")
    for watcher in watchers:
        watcher.written(t, op)
    return t


def _writer(op: str) -> str:
    return f"{op}() at {user_line()}"


def _assign(t: Tensor, node: AnyNode | None) -> None:
    before = t._node
    t._node = node
    if t.retains_grad:
        move_retained(t, before)


def _show(node: Node, t: Tensor) -> None:
    for watcher in state.watchers:
        watcher.recorded(node, t._data)

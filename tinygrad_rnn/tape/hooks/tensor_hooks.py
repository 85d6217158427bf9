"""Hooks: functions that see a cotangent when it is complete, before it is used, and may replace it.

Where they sit, and in which order they run:

1. hooks of a tensor (``Tensor.register_hook``), in the order of registration: each gets the complete cotangent,
   as the one before left it;
2. ``retain_grad``, which stores what the tensor hooks left;
3. pre-hooks of a node (``Node.register_prehook``);
4. the vjps; then the hooks of the node (``Node.register_hook``), which see both sides of it;
5. at a leaf, after ``.grad`` was added to, ``Tensor.register_post_accumulate_grad_hook``.

All of them but the fourth live in the node's table ``hooks``, whose keys give the order and which the sweep asks to
``run``.  The fourth replaces the node's primitive by one that calls the hooks: the sweep knows nothing about it.

A hook gets a tensor of its own: writing to it changes what goes on from here, and nothing else.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import ArgumentTypeError, DtypeError, GraphError, ShapeRuntimeError
from ...typing import Cotangent, Value
from ..modes import state
from ..node import Leaf, Node
from ..partial_gradient import Contribution, Part
from ..primitive import Primitive
from ..sums import accumulate
from ..sweep import contributions
from ..tensor import Tensor, as_array, wrap
from .node_hooks import stand_in

__all__ = ["METHODS", "HookTable", "RemovableHandle", "add_hook", "checked", "move_retained"]

_ids = itertools.count(1)
RETAIN = 1 << 60  # after every hook of the tensor ...
NODE = 1 << 61  # ... and before every pre-hook of the node


class HookTable(dict[int, Callable[..., Any]]):
    """Hooks by number; a handle refers to it weakly."""

    def run(self, g: Cotangent, record: bool) -> Any:
        """Show a complete cotangent to the hooks, in order; each may replace it.

        Raises:
            ArgumentTypeError: a hook returned something that is no tensor.
            ShapeRuntimeError: a replacement has another shape.
        """
        several = isinstance(g, list)  # the cotangents of a primitive with several outputs
        ts = [_tensor(item, record) for item in (g if isinstance(g, list) else (g,))]
        for key, hook in sorted(self.items()):  # a list: a hook may remove itself
            if key < NODE:
                replaced = hook(ts[0])
                if replaced is not None:
                    ts = [checked(hook, replaced, ts[0])]
            else:
                ts = _replaced(hook, hook(tuple(ts)), ts)
        values = ts if record else [None if t is None else t._data for t in ts]
        return values if several else values[0]


class RemovableHandle:
    """The receipt for a hook: takes it out again, when asked or at the end of ``with``.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor(1.0, requires_grad=True)
    >>> with x.register_hook(lambda g: 10 * g):
    ...     (3 * x).backward()
    >>> (3 * x).backward()
    >>> x.grad
    tensor(33.)
    """

    def __init__(self, *tables: Any) -> None:
        self.id = next(_ids)
        self._tables = [weakref.ref(table) for table in tables]  # weakly: a handle that is kept keeps no graph alive

    def remove(self) -> None:
        """Take the hook out.  Twice, or after its owner is gone, is no error."""
        for reference in self._tables:
            table = reference()
            if table is not None:
                for key in (self.id, NODE + self.id):  # the handle does not know which kind of hook it is for
                    table.pop(key, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.remove()


def add_hook(hook: Callable[..., Any], table: Any, *marked: Any, prepend: bool = False) -> RemovableHandle:
    """Put a hook at the end of a table (``prepend``: of an ordered one, at its beginning).

    Args:
        table: a dictionary that can be referred to weakly; maps the number of the handle to the hook.
        marked: more such tables, which get True under the same number until the handle is removed.
    """
    handle = RemovableHandle(table, *marked)
    table[handle.id] = hook
    for other in marked:
        other[handle.id] = True
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def _table_of(owner: Leaf | Node, name: str = "hooks") -> HookTable:
    """The table in which a hook is about to be put."""
    for watcher in state.here.watchers:
        watcher.hooked("a tensor")
    table: HookTable | None = getattr(owner, name)
    if table is None:
        table = HookTable()
        setattr(owner, name, table)
    return table


# methods of Tensor -----------------------------------------------------------------------------------------------


def register_hook(self: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Call ``hook(grad)`` when the gradient of this tensor is complete; what it returns replaces the gradient.

    Args:
        hook: gets the sum over all uses of the tensor, of its shape; returns None or a replacement.

    Returns:
        A handle whose ``remove()`` takes the hook out.

    Raises:
        GraphError: the tensor does not require grad.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> h = x * x
    >>> handle = h.register_hook(lambda g: g / 2)                 # halved on its way through h
    >>> h.sum().backward()
    >>> x.grad
    tensor([ 1., -2.])
    """
    if self._node is None:
        raise GraphError(
            "cannot register a hook on a tensor that doesn't require gradient: "
            f"the tensor of shape {self.shape} was not computed from one that does. Call requires_grad_() first"
        )
    if not callable(hook):
        raise ArgumentTypeError(f"register_hook(): expected a function of the gradient, got {type(hook).__name__}")
    return add_hook(hook, _table_of(self._node))


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """Call ``hook(tensor)`` after a backward pass added to ``tensor.grad``: to step and free it at once, say.

    Raises:
        GraphError: not a leaf that requires grad.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor(1.0, requires_grad=True)
    >>> handle = w.register_post_accumulate_grad_hook(lambda p: print("w.grad =", p.grad.item()))
    >>> (w * 3).backward()
    w.grad = 3.0
    """
    if self._node is None:
        raise GraphError(
            "cannot register a hook on a tensor that doesn't require gradient: call requires_grad_() on the leaf first"
        )
    if not self.is_leaf:
        raise GraphError(
            "post accumulate grad hooks cannot be registered on non-leaf tensors: gradients accumulate in leaves "
            f"only, and this one was computed by {self._node.name()}. Use register_hook"
        )
    return add_hook(hook, _table_of(self._node, "post_hooks"))


def retain_grad(self: Tensor) -> None:
    """Let a backward pass fill ``.grad`` of this computed tensor too (a leaf's is filled anyway).

    Raises:
        GraphError: the tensor does not require grad.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> h = x * x
    >>> h.retain_grad()
    >>> (2 * h).backward()
    >>> h.grad
    tensor(2.)
    """
    if self._node is None:
        raise GraphError("can't retain_grad on Tensor that has requires_grad=False: nothing was recorded for it")
    if self.is_leaf or self.retains_grad:
        return
    self._retain = True  # type: ignore[attr-defined]
    _table_of(self._node)[RETAIN] = _retainer(self)


def _retainer(t: Tensor) -> Callable[[Tensor], None]:
    reference = weakref.ref(t)  # the node must not own the tensor, which owns the node

    def retain(g: Tensor) -> None:
        kept = reference()
        if kept is not None:
            accumulate(kept, g if state.recording else g._data, False, state.recording)

    return retain


def move_retained(t: Tensor, before: Leaf | Node | None) -> None:
    """After a write in place gave ``t`` a new node: its gradient is from now on that of the new value."""
    if t.retains_grad and t._node is not None and before is not None:
        table = before.hooks
        if table is not None:
            table.pop(RETAIN, None)
        _table_of(t._node)[RETAIN] = _retainer(t)


METHODS: dict[str, Any] = {
    "register_hook": register_hook,
    "register_post_accumulate_grad_hook": register_post_accumulate_grad_hook,
    "retain_grad": retain_grad,
}


# tensors for hooks -----------------------------------------------------------------------------------------------


def _tensor(value: Any, record: bool) -> Any:
    """A cotangent as a tensor that the hook may write to."""
    if value is None:
        return None
    # a recorded copy: what the hook writes is differentiated, too
    return value.clone() if record else wrap(as_array(value).copy())


def _name(hook: Any) -> str:
    return getattr(hook, "__name__", type(hook).__name__)


def checked(hook: Any, new: Any, old: Tensor | None) -> Tensor:
    """The gradient that a hook returned, if it fits the one that it replaces.

    Raises:
        ArgumentTypeError: it is no tensor.
        ShapeRuntimeError, DtypeError: it has another shape or type.
    """
    if not isinstance(new, Tensor):
        raise ArgumentTypeError(
            f"expected Variable, but hook returned '{type(new).__name__}': hook '{_name(hook)}' must return a Tensor "
            "that replaces the gradient, or None to leave it"
        )
    if old is not None and new._data.shape != old._data.shape:
        raise ShapeRuntimeError(
            f"hook '{_name(hook)}' has changed the size of value: the gradient has shape {old.shape}, "
            f"and the hook returned {new.shape}"
        )
    if old is not None and new._data.dtype != old._data.dtype:
        raise DtypeError(
            f"hook '{_name(hook)}' has changed the type of value: the gradient is {old.dtype}, and the hook returned "
            f"{new.dtype}. Convert it: grad.to(...)"
        )
    return new


def _replaced(hook: Any, new: Any, old: Sequence[Tensor | None]) -> list[Any]:
    """What a node's hook made of a tuple of cotangents."""
    if new is None:
        return list(old)
    new = new if isinstance(new, (tuple, list)) else (new,)
    if len(new) != len(old):
        raise GraphError(
            f"hook '{_name(hook)}' has returned an incorrect number of values (got {len(new)}, but expected {len(old)})"
        )
    return [None if n is None else checked(hook, n, o) for n, o in zip(new, old, strict=True)]


# methods of Node and Leaf ----------------------------------------------------------------------------------------


def _whole(node: Any) -> Any:
    """The node of the whole operation: the outputs of a primitive with several have only places in it."""
    return node.parents[0] if node.name() != "AccumulateGrad" and node.primitive.name == "output" else node


def register_prehook(node: Leaf | Node, hook: Callable[[tuple[Tensor, ...]], Any]) -> RemovableHandle:
    """Call ``hook(grad_outputs)`` before this operation is swept; a tuple that it returns replaces them."""
    table = _table_of(_whole(node))
    handle = RemovableHandle(table)
    table[NODE + handle.id] = hook
    return handle


def register_leaf_hook(leaf: Leaf, hook: Callable[[tuple[()], tuple[Tensor, ...]], Any]) -> RemovableHandle:
    """Call ``hook((), (grad,))`` after ``grad`` was added to the leaf's ``.grad``."""
    arrived: list[Tensor] = []
    before, after = _table_of(leaf), _table_of(leaf, "post_hooks")
    handle = RemovableHandle(before, after)
    # the cotangent itself: .grad may hold those of earlier sweeps, too
    before[NODE + handle.id] = lambda gs: arrived.__setitem__(slice(None), gs)
    after[handle.id] = lambda t: hook((), (arrived.pop(),))
    return handle


def register_node_hook(node: Node, hook: Callable[[tuple[Any, ...], tuple[Any, ...]], Any]) -> RemovableHandle:
    """Call ``hook(grad_inputs, grad_outputs)`` when this operation was swept; what it returns replaces grad_inputs.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> y = x * x
    >>> handle = y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: print(len(grad_inputs), grad_outputs))
    >>> y.backward()
    2 (tensor(1.),)
    """
    node = _whole(node)
    for watcher in state.here.watchers:
        watcher.hooked("a node")
    table: HookTable | None = getattr(node, "after", None)
    if table is None:
        table = HookTable()  # the first hook: one stand-in serves all of them
        node.after = table  # type: ignore[attr-defined]
        owned = table

        def pull(
            node: Node, original: Primitive, g: Cotangent, needs: tuple[bool, ...], record: bool
        ) -> list[Value | None]:
            found = contributions(node, original, g, needs, record)
            outputs = tuple([_tensor(item, record) for item in (g if isinstance(g, list) else (g,))])
            ts = [_tensor(_plain(c), record) for c in found]  # a hook sees arrays of the parent's shape, and no parts
            for _, after in sorted(owned.items()):
                ts = _replaced(after, after(tuple(ts), outputs), ts)
            return ts if record else [None if t is None else t._data for t in ts]

        stand_in(node, pull)
    return add_hook(hook, table)


def _plain(contribution: Contribution) -> Any:
    return contribution.start() if isinstance(contribution, Part) else contribution


Leaf.register_hook, Leaf.register_prehook = register_leaf_hook, register_prehook
Node.register_hook, Node.register_prehook = register_node_hook, register_prehook

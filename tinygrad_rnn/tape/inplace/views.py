"""Views: tensors that share memory, and what is remembered of them so that a write to one reaches all.

A view knows its parent and how it was taken from it: ``view._view = (parent, primitive, params, recorded)``.  The
other direction goes through the version counter, which a tensor shares with its views, theirs, and detached twins: it
refers weakly to each view taken while recording was on.  So nothing here keeps a tensor alive that the user let
go, and a view costs no list to be pruned: it strikes itself out when it dies.

Tensors that descend from one parentless tensor are a *family*: one piece of memory with one history.  ``detach``
founds a new family over the same memory, with the same version counter: writes are seen by the check for stale saved
values, gradients do not pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np

from ...errors import DtypeError
from ...typing import Array, Params
from .. import apply, refusals
from ..modes import state, tell
from ..node import Leaf, Node
from ..primitive import Primitive
from ..tensor import Tensor, as_array, wrap
from .versions import overlap

__all__ = ["ancestry", "become_view", "derive", "leave_family", "region", "shown", "unlock", "viewer"]
__all__ += ["views_of"]

ndarray = np.ndarray
_new = object.__new__


def detach(self: Tensor) -> Tensor:
    """The same memory as a tensor without history: what comes after does not reach what came before."""
    if not getattr(self._data.flags, "writeable", True):  # CuPy's flags have no such entry
        unlock(self)
    out = wrap(self._data)
    out._versions = self._own_versions()
    return out


def detach_(self: Tensor) -> Tensor:
    """Forget this tensor's own history.  Its views keep theirs; a view is from now on none.

    What was computed from it before keeps its history, and its gradient.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor(3.0, requires_grad=True)
    >>> b = 2 * w
    >>> c = b * b
    >>> b.detach_()
    tensor(6.)
    >>> c.backward()
    >>> w.grad
    tensor(24.)
    """
    leave_family(self)
    self._node = None
    return self


def _set_data(self: Tensor, value: Tensor) -> None:
    """Other memory, shared with ``value``.  What was saved of the old stays as it was, and so do views of it."""
    if isinstance(self._node, Leaf) and value._data.dtype.kind != "f":
        if value._data.dtype.kind != "c":
            raise DtypeError(
                "data set to a tensor that requires gradients must be floating point or complex dtype, and this "
                f"one is {value.dtype}. Switch them off first: requires_grad_(False)"
            )
        raise refusals.not_differentiable(value._data.dtype)
    leave_family(self)
    self._data, self._versions = value._data, value._own_versions()
    if isinstance(self._node, Leaf):  # vjps, and the check of assigned gradients, read the shape there
        self._node.shape = value._data.shape
        self._node.dtype = value._data.dtype


def _is_view(self: Tensor) -> bool:
    """Whether it shares memory with a tensor that it was taken from (and is not detached from it)."""
    return getattr(self, "_view", None) is not None


def _base(self: Tensor) -> Tensor | None:
    """The tensor whose memory a view shows, itself no view; None if this is none."""
    return ancestry(self)[-1] if _is_view(self) else None


def viewer(p: Primitive) -> Callable[..., Any]:
    """The function that applies a primitive of one argument whose result may share memory with it."""
    forward = p.forward

    def apply(a: Any, **params: Any) -> Any:
        if not isinstance(a, Tensor):
            return forward(a, **params)
        return shown(p, a, forward(a._data, **params), params)

    return apply


def shown(p: Primitive, a: Tensor, y: Any, params: Params) -> Tensor:
    """The raw result ``y`` of a view primitive as a tensor: a view of ``a`` if it shares its memory, and recorded."""
    x = a._data
    if type(y) is not ndarray:
        y = _whole(p, params, x, y)
    out = _new(Tensor)
    out._data = y
    out._node = out._versions = None
    here = state.here
    recording = here.recording
    base = y.base
    # NumPy gives the owner as base, also of a view of a view
    if base is not None and (base is x or base is x.base or overlap(x, y)):
        out._versions = versions = a._versions or a._own_versions()
        out._view = (a, p, params, recording)
        if recording:  # a view taken under no_grad is no part of the history: a write gives it no node
            views = versions.views
            if views is None:
                views = versions.views = {}
            views[ref(out, views.pop)] = None
    parent = a._node
    if parent is not None and recording:
        out._node = Node(p, (parent,), (parent,), params, None, (), y.shape, y.dtype)
    if here.watchers:
        tell(p, (a,), params, out)
    return out


def region(p: Primitive, params: Params, x: Array) -> Array:
    """The part of a raw array that a view primitive shows, as an array that can be written to.

    ``x`` is C-contiguous, or the very array of which the view was taken: then no reshape has to copy.
    """
    y: Array = p.forward(x, **params)
    if type(y) is not ndarray:
        y = _whole(p, params, x, y)
    if isinstance(y, ndarray) and not y.flags.writeable and x.flags.writeable:
        y.flags.writeable = True  # np.diagonal gives a view that could be written to, but says no
    return y


def _whole(p: Primitive, params: Params, x: Array, y: Any) -> Array:
    """An array in place of a NumPy scalar: a 0-d view, where ``x[i]`` gave the number and no memory."""
    return p.forward(x[..., None], **params).reshape(()) if isinstance(y, np.generic) else as_array(y)


def become_view(t: Tensor, view: tuple[Tensor, Primitive, Params, bool]) -> None:
    """Make ``t``, which shows that memory already, the view that ``view`` describes."""
    versions = view[0]._own_versions()
    t._versions, t._view = versions, view
    if versions.views is None:
        versions.views = {}
    # two references to it as keys would be compared by ==, entry by entry
    if view[3] and all(reference() is not t for reference in list(versions.views)):
        versions.views[ref(t, versions.views.pop)] = None


def derive(t: Tensor) -> Node | None:
    """A new node for a view, from its parent as it is now."""
    parent, p, params, _ = t._view
    if parent._node is None:
        return None
    return Node(p, (parent._node,), (parent._node,), params, None, (), t._data.shape, t._data.dtype)


def unlock(t: Tensor) -> bool:
    """Whether the memory may be written to, though NumPy said no.

    Parts of broadcast arrays and diagonals are read-only by custom.  What the user locked is at the head of the family,
    and stays so.
    """
    head = ancestry(t)[-1]
    if head is t or not head._data.flags.writeable:
        return False
    try:
        t._data.flags.writeable = True
    except ValueError:  # the view that it was taken from was locked when it was taken
        parent, p, params, _ = t._view
        unlock(parent)
        t._data = region(p, params, parent._data)
    return True


def ancestry(t: Tensor) -> list[Tensor]:
    """The tensor, the one that it is a view of, and so on to the head of the family."""
    line = [t]
    while (view := getattr(t, "_view", None)) is not None:
        t = view[0]
        line.append(t)
    return line


def views_of(head: Tensor) -> list[Tensor]:
    """The living views of a family that were taken while recording was on, parents before children."""
    versions = head._versions
    if versions is None or not versions.views:
        return []
    living = [t for t in [reference() for reference in list(versions.views)] if t is not None]
    depths = {id(head): 0}  # how many views lie between; -1 in another family.  Each is looked at once, not its line
    for t in living:
        line = []
        while id(t) not in depths:
            if (view := getattr(t, "_view", None)) is None:
                depths[id(t)] = -1
            else:
                line.append(t)
                t = view[0]
        depth = depths[id(t)]
        for relative in reversed(line):
            depth += depth >= 0
            depths[id(relative)] = depth
    return sorted([t for t in living if depths[id(t)] > 0], key=lambda t: depths[id(t)])


def leave_family(t: Tensor) -> Tensor:
    """Let ``t`` change its memory or forget its history, while its views keep both.

    Returns:
        A twin that takes the place of ``t`` as a parent and as a view; ``t`` heads a family of its own.
    """
    twin = wrap(t._data, t._node)
    twin._versions = t._own_versions()
    for child in views_of(ancestry(t)[-1]):
        if child._view[0] is t:
            child._view = (twin, *child._view[1:])
    if (view := getattr(t, "_view", None)) is not None:
        become_view(twin, view)
        del t._view
    return twin


DATA = "The same memory without history.  Writes through it are seen by the check for stale saved values."
METHODS: dict[str, Any] = {
    "detach": detach,
    "detach_": detach_,
    "data": property(lambda self: self.detach(), _set_data, doc=DATA),
    "_is_view": _is_view,
    "_base": property(_base),
}
for name, member in METHODS.items():
    setattr(Tensor, name, member)
apply.viewer = viewer

"""Tensor: a raw array, and the node that says how it was computed.

This file holds what a tensor *is*.  What can be done with it (operators, ``sum``, ``backward`` ...) is bound to the
class by ``ops/methods.py``, because operations need Tensor and Tensor needs operations.  Views, writes in place and
hooks attach themselves: see ``inplace/`` and ``hooks/``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import DTYPES, Device, array_device, array_module, dtype, shown
from ..typing import Array, Params, Size
from . import refusals
from .node import Leaf, Node, VersionCounter
from .primitive import Primitive

if TYPE_CHECKING:
    from ..typing import Operators
else:
    Operators = object  # the methods' declarations are for type checkers alone

__all__ = ["Tensor", "as_array", "wrap"]


class Tensor(Operators):
    """An array whose history can be recorded.

    Made by :func:`tinygrad_rnn.tensor` and by operations.  Called directly it is PyTorch's legacy
    constructor: ``Tensor(2, 3)`` has that shape and unset float32 values, ``Tensor([1, 2])`` those values in
    float32 (see ``ops/creation.py``).

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> w.grad
    tensor([2., 4.])
    """

    __slots__ = ("__weakref__", "_data", "_grad", "_node", "_retain", "_versions", "_view")

    _data: Array
    _node: Leaf | Node | None
    _versions: VersionCounter | None
    _view: tuple[Tensor, Primitive, Params, bool]  # parent, how it was taken, whether that was recorded; see views

    # what it is ------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The length of each axis."""
        return Size(self._data.shape)

    @property
    def dtype(self) -> dtype:
        """The type of its entries."""
        try:
            return DTYPES[self._data.dtype]
        except KeyError:  # of a byte order or type that the table does not list
            return dtype(self._data.dtype)

    @property
    def device(self) -> Device:
        """Where its memory is."""
        return array_device(self._data)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        ndim: int = self._data.ndim
        return ndim

    @property
    def _version(self) -> int:
        """How often this memory was written in place."""
        return 0 if self._versions is None else self._versions.count

    def _own_versions(self) -> VersionCounter:
        """The version counter of this memory, made when it is first needed."""
        versions = self._versions
        if versions is None:
            versions = self._versions = VersionCounter()
        return versions

    # its place in the graph --------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients with respect to it are recorded."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise refusals.no_flag(value)
        if isinstance(self._node, Node):  # also for True, unlike requires_grad_(): so PyTorch's attribute does
            raise refusals.not_leaf(value)
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether gradients with respect to this leaf are wanted.

        Raises:
            DtypeError: the values are not floating point.
            GraphError: switched off on a computed tensor (use ``detach``).
        """
        if requires_grad and self._node is None:  # twice is no mistake, nor is it for a computed tensor
            if self._data.dtype.kind != "f":
                raise refusals.not_differentiable(self._data.dtype)
            self._node = Leaf(self, self._data.shape, self._data.dtype)
        elif not requires_grad and self._node is not None:
            if not self.is_leaf:
                raise refusals.not_leaf(False)
            self.detach_()
        return self

    @property
    def is_leaf(self) -> bool:
        """True if it was not computed from tensors that require grad."""
        return not isinstance(self._node, Node)

    @property
    def grad_fn(self) -> Node | None:
        """The node of the operation that computed it; None for a leaf."""
        return self._node if isinstance(self._node, Node) else None

    @property
    def grad(self) -> Tensor | None:
        """The sum of the gradients that arrived so far; None before the first."""
        try:
            return self._grad
        except AttributeError:  # unset until the first gradient: one slot less to fill at every operation
            if isinstance(self._node, Node) and not self.retains_grad:
                refusals.warn_no_grad()
            return None

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            fits = isinstance(value, Tensor) and value is not self
            if not fits or value._data.shape != self._data.shape or value._data.dtype != self._data.dtype:
                raise refusals.wrong_grad(self, value, Tensor)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def retains_grad(self) -> bool:
        """Whether ``retain_grad`` was called on this computed tensor."""
        return getattr(self, "_retain", False)

    if TYPE_CHECKING:  # bound by inplace/views.py and ops/methods.py; spelled out for the type checker

        def __init__(self, *args: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...
        def detach(self) -> Tensor: ...
        def detach_(self) -> Tensor: ...
        def _touch(self) -> None: ...

        data: Tensor


_new = object.__new__


def wrap(data: Array, node: Leaf | Node | None = None) -> Tensor:
    """A tensor over a raw array, without copying and without asking what it is."""
    out = _new(Tensor)
    out._data = data
    out._node = node
    out._versions = None
    return out


shown.tensor = wrap


def as_array(x: Any) -> Array:
    """A result of NumPy as an array: reductions and 0-d arithmetic give scalars, which Tensor never holds."""
    if type(x) is np.ndarray:
        return x
    return np.asarray(x) if isinstance(x, np.generic) or not hasattr(array_module(x), "cuda") else x

"""Tensor: a raw array, and the node that says how it was computed.

This file holds what a tensor *is*.  What can be done with it (operators, ``sum``, ``backward`` ...) is bound to the
class by ``ops/methods.py``, because operations need Tensor and Tensor needs operations.  Views, writes in place and
hooks attach themselves: see ``inplace/`` and ``hooks/``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import DTYPES, Device, array_device, array_module, check_numbers, dtype, is_array, shown
from ..backend.quiet import unreported
from ..errors import ArgumentTypeError, DtypeError, GraphError, ShapeRuntimeError
from ..source_line import warn_user
from ..typing import Array, DType, Params, Size
from .node import Leaf, Node, VersionCounter
from .primitive import Primitive

if TYPE_CHECKING:
    from ..typing import Operators
else:
    Operators = object

__all__ = ["Tensor", "as_array", "check_differentiable", "wrap"]

ndarray = np.ndarray


def check_differentiable(dtype: DType) -> None:
    if dtype.kind != "f":
        remedy = "keep the real and the imaginary part as two tensors" if dtype.kind == "c" else "convert it: x.float()"
        raise DtypeError(
            f"only Tensors of floating point dtype can require gradients, and this one is {dtype}. Instead {remedy}"
        )


NOT_LEAF = "you can only change requires_grad flags of leaf variables."
USE_DETACH = (
    " If you want to use a computed variable in a subgraph that doesn't require differentiation use "
    "var_no_grad = var.detach()."
)


class Tensor(Operators):
    """An array whose history can be recorded.

    Made by :func:`tinygrad_rnn.tensor` and by operations.  Called directly it is PyTorch's legacy
    constructor: ``Tensor(2, 3)`` has that shape and unset float32 values, ``Tensor([1, 2])`` those values in
    float32.  An array of float32 is wrapped as it is, sharing memory; another is converted to float32.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> w.grad
    tensor([2., 4.])
    """

    __slots__ = ("__weakref__", "_versions", "_data", "_grad", "_node", "_retain", "_view")

    _data: Array
    _node: Leaf | Node | None
    _versions: VersionCounter | None
    _view: tuple[Tensor, Primitive, Params, bool]  # parent, how it was taken, whether that was recorded; see views

    def __init__(self, *args: Any) -> None:
        if len(args) == 1 and is_array(args[0]):
            check_numbers(args[0].dtype)
            self._data = as_array(args[0]).astype(np.float32, copy=False)
        elif len(args) == 1 and isinstance(args[0], Size):
            self._data = np.empty(args[0], np.float32)
        elif all(isinstance(a, (int, np.integer)) for a in args):
            self._data = np.empty(args or 0, np.float32)
        elif len(args) == 1:
            self._data = unreported(np.array)(args[0], np.float32)
        else:
            raise ArgumentTypeError("Tensor(): expected sizes, a sequence of values, or one array")
        self._node = None
        self._versions = None

    # what it is ------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return Size(self._data.shape)

    @property
    def dtype(self) -> dtype:
        try:
            return DTYPES[self._data.dtype]
        except KeyError:
            return dtype(self._data.dtype)

    @property
    def device(self) -> Device:
        return array_device(self._data)

    @property
    def is_cuda(self) -> bool:
        return bool(self.device.type == "cuda")

    @property
    def ndim(self) -> int:
        ndim: int = self._data.ndim
        return ndim

    @property
    def nbytes(self) -> int:
        nbytes: int = self._data.nbytes
        return nbytes

    @property
    def itemsize(self) -> int:
        itemsize: int = self._data.itemsize
        return itemsize

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
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise GraphError(f"requires_grad must be a bool, got {type(value).__name__}")
        if isinstance(self._node, Node):
            raise GraphError(NOT_LEAF if value else NOT_LEAF + USE_DETACH)
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether gradients with respect to this leaf are wanted.

        Raises:
            DtypeError: the values are not floating point.
            GraphError: switched off on a computed tensor (use ``detach``).
        """
        if requires_grad and self._node is None:
            check_differentiable(self._data.dtype)
            self._node = Leaf(self, self._data.shape, self._data.dtype)
        elif not requires_grad and self._node is not None:
            if not self.is_leaf:
                raise GraphError(NOT_LEAF + USE_DETACH)
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
        except AttributeError:
            if isinstance(self._node, Node) and not self.retains_grad:
                _warn_no_grad()
            return None

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise ArgumentTypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
                )
            if value is self:
                raise GraphError("can't assign Variable as its own grad")
            if value._data.shape != self._data.shape:
                raise ShapeRuntimeError(
                    f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
                    f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
            if value._data.dtype != self._data.dtype:
                raise DtypeError(
                    f"attempting to assign a gradient with dtype '{value.dtype}' to a tensor with grad_dtype "
                    f"'{self.dtype}'. Convert it: grad.to(x.dtype)"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def retains_grad(self) -> bool:
        """Whether ``retain_grad`` was called on this computed tensor."""
        return getattr(self, "_retain", False)

    if TYPE_CHECKING:  # bound by inplace/views.py and ops/methods.py; spelled out for the type checker

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
    if type(x) is ndarray:
        return x
    return np.asarray(x) if isinstance(x, np.generic) or not hasattr(array_module(x), "cuda") else x


def _warn_no_grad() -> None:
    warn_user(
        "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be "
        "populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf "
        "Tensor, use .retain_grad() on the non-leaf Tensor.",
    )

"""Tensor: a raw array, and the node that says how it was computed.

This file holds what a tensor *is*.  What one can do with it (operators, ``sum``, ``backward`` ...) lives in
``ops`` and ``tape.backward`` and is bound to the class in one named place, ``ops/methods.py``, because
operations need Tensor and Tensor needs operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import DTYPES, Device, array_device, array_module, check_numbers, dtype, is_array, shown, to_numpy
from ..backend.quiet import unreported
from ..errors import ArgumentError, ArgumentTypeError, DtypeError, GraphError, ShapeError, ShapeRuntimeError
from ..source_line import warn_user
from ..typing import Array, DType, Params
from .defaults import defaults
from .modes import state
from .node import Clock, Leaf, Node, stamp_write

if TYPE_CHECKING:
    from .primitive import Primitive

__all__ = ["Size", "Tensor", "as_array", "wrap"]

ndarray = np.ndarray


class Size(tuple[int, ...]):
    """The shape of a tensor: a tuple that can also say how many entries there are."""

    __slots__ = ()

    def numel(self) -> int:
        """The product of the axis lengths."""
        n = 1
        for length in self:
            n *= length
        return n

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"


def _check_differentiable(dtype: DType) -> None:
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


class Tensor:
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

    __slots__ = ("__weakref__", "_clock", "_data", "_grad", "_node", "_retain", "_view")

    _data: Array
    _node: Leaf | Node | None
    _clock: Clock | None
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
        self._clock = None

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
        return 0 if self._clock is None else self._clock.count

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
            _check_differentiable(self._data.dtype)
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

    def detach(self) -> Tensor:
        """The same memory as a tensor without history: what comes after does not reach what came before."""
        if not getattr(self._data.flags, "writeable", True):
            from .inplace.views import unlock

            unlock(self)
        out = wrap(self._data)
        out._clock = self._own_clock()
        return out

    def detach_(self) -> Tensor:
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
        from .inplace.views import leave_family

        leave_family(self)
        self._node = None
        return self

    @property
    def data(self) -> Tensor:
        """The same memory without history.  Writes through it are seen by the check for stale saved values."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        """Other memory, shared with ``value``.  What was saved of the old stays as it was, and so do views of it."""
        from .inplace.views import leave_family

        if isinstance(self._node, Leaf) and value._data.dtype.kind != "f":
            if value._data.dtype.kind != "c":
                raise DtypeError(
                    "data set to a tensor that requires gradients must be floating point or complex dtype, and this "
                    f"one is {value.dtype}. Switch them off first: requires_grad_(False)"
                )
            _check_differentiable(value._data.dtype)
        leave_family(self)
        self._data, self._clock = value._data, value._own_clock()
        if isinstance(self._node, Leaf):
            self._node.shape = value._data.shape
            self._node.dtype = value._data.dtype

    # writes in place ---------------------------------------------------------------------------------------

    def _own_clock(self) -> Clock:
        """The clock of this memory, made when it is first needed."""
        clock = self._clock
        if clock is None:
            clock = self._clock = Clock()
        return clock

    def _is_view(self) -> bool:
        """Whether it shares memory with a tensor that it was taken from (and is not detached from it)."""
        return getattr(self, "_view", None) is not None

    @property
    def _base(self) -> Tensor | None:
        """The tensor whose memory a view shows, itself no view; None if this is none."""
        from .inplace.views import ancestry

        return ancestry(self)[-1] if self._is_view() else None

    def _touch(self) -> None:
        """Declare that ``_data`` was just written in place."""
        stamp_write(self._own_clock(), self._data)

    # to plain Python and NumPy -------------------------------------------------------------------------------

    def numpy(self, *, force: bool = False) -> Any:
        """The values as a NumPy array, sharing memory on the host.

        Raises:
            GraphError: the tensor requires grad and operations are recorded: what is computed with the array would
                not be (``force=True`` detaches it and copies from a GPU).
            ArgumentTypeError: the tensor is on a GPU.
        """
        if not force:
            if self._node is not None and state.recording:
                raise GraphError(
                    "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
                )
            if self.is_cuda:
                raise ArgumentTypeError(
                    f"can't convert {self.device} device type tensor to numpy. "
                    "Use Tensor.cpu() to copy the tensor to host memory first."
                )
        return to_numpy(self._data)

    def tolist(self) -> Any:
        """The values as nested Python lists; a plain number for a 0-d tensor."""
        return self._data.tolist()

    def item(self) -> Any:
        """The value of a tensor with one entry, as a Python number.

        Raises:
            ShapeRuntimeError: it has more entries or none.
        """
        if self._data.size != 1:
            raise ShapeRuntimeError(
                f"a Tensor with {self._data.size} elements cannot be converted to Scalar: its shape is {self.shape}"
            )
        return self._data.item()

    def __float__(self) -> float:
        if self._node is not None and not defaults.warned_of_float:  # array[0] = t comes here too
            defaults.warned_of_float = True
            warn_user(
                "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\nConsider "
                "using tensor.detach() first: the number has no history, so no gradient passes through it",
            )
        return float(self._one())

    def __int__(self) -> int:
        return int(self._one())

    def __complex__(self) -> complex:
        return complex(self._one())

    def _one(self) -> Any:
        """What ``float(t)`` converts."""
        if self._data.size != 1:
            raise ShapeError(
                f"only one element tensors can be converted to Python scalars: the shape of this one is {self.shape}"
            )
        return self._data.item()

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iub" or self._data.size != 1:
            raise ArgumentTypeError("only integer tensors of a single element can be converted to an index")
        return int(self._data.item())

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ShapeRuntimeError(
                f"Boolean value of Tensor with {'no values' if not self._data.size else 'more than one value'} "
                f"is ambiguous: its shape is {self.shape}. Use any() or all()"
            )
        return bool(self._data.item())

    def __len__(self) -> int:
        if self._data.ndim == 0:
            raise ArgumentTypeError("len() of a 0-d tensor")
        return len(self._data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """What ``np.asarray`` takes: as :meth:`numpy`, in another dtype or as a copy where that is asked for.

        Raises:
            GraphError: as :meth:`numpy`; so also of tensors inside a list that NumPy makes an array of.
            ArgumentError: ``copy=False``, but another dtype needs a copy.
        """
        if self._node is not None and state.recording:
            raise GraphError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead. NumPy asked for "
                "the values, and an array of them has no history: for np.array([x, y]) of tensors use tg.stack([x, y])"
            )
        values = self.numpy()
        if dtype is None or values.dtype == dtype:
            return values.copy() if copy else values
        if copy is False:
            raise ArgumentError(
                f"Unable to avoid copy while creating an array as requested: the tensor is {values.dtype}, and "
                f"{np.dtype(dtype)} was asked for. Leave out copy=False"
            )
        return values.astype(dtype)

    __hash__ = object.__hash__

    if TYPE_CHECKING:  # bound by ops/methods.py; spelled out for the type checker

        def __getattr__(self, name: str) -> Any: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __iter__(self) -> Any: ...


_new = object.__new__


def wrap(data: Array, node: Leaf | Node | None = None) -> Tensor:
    """A tensor over a raw array, without copying and without asking what it is."""
    out = _new(Tensor)
    out._data = data
    out._node = node
    out._clock = None
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

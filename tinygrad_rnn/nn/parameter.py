"""Parameters: the learned tensors of a module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ..backend import Device, as_dtype, check_numbers, chosen_device, is_array, to_device
from ..errors import ArgumentTypeError, GraphError, ShapeRuntimeError
from ..tape.modes import defaults
from ..tape.tensor import Tensor, as_array

__all__ = ["Parameter", "UninitializedParameter", "empty", "is_lazy"]


class Parameter(Tensor):
    """A leaf that a :class:`Module` registers as a parameter when it becomes an attribute.

    Args:
        data: a tensor or raw array, whose memory is shared; by default an empty one.
        requires_grad: whether gradients are computed for it.

    Raises:
        ArgumentTypeError: ``data`` is neither a tensor nor an array.
        DtypeError: ``requires_grad`` with values that are not floating.

    >>> import tinygrad_rnn as tg
    >>> w = tg.nn.Parameter(tg.ones(2))
    >>> w.requires_grad, w.is_leaf
    (True, True)
    """

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        if data is None:
            data = np.empty(0, defaults.dtype)
        if isinstance(data, Tensor):
            self._data = data._data
            self._versions = data._own_versions()  # the memory is shared, so writes by either must be seen by both
        elif is_array(data):
            check_numbers(data.dtype)
            self._data = as_array(data)
            self._versions = None
        else:
            raise ArgumentTypeError(
                f"Parameter(): data must be a Tensor, not {type(data).__name__}. Make one with tinygrad_rnn.tensor(...)"
            )
        self._node = None
        if requires_grad:
            self.requires_grad_()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """A parameter with a copy of the values, without the gradient."""
        # By way of ``memo``: tied parameters of a model are tied in its copy too.
        if id(self) not in memo:
            memo[id(self)] = type(self)(self._data.copy(), self.requires_grad)
        copied: Parameter = memo[id(self)]
        return copied

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


UNINITIALIZED = (
    "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in `load_state_dict` "
    "when trying to load an uninitialized parameter into an initialized one. Call `forward` to initialize the "
    "parameters before accessing their attributes."
)


class UninitializedParameter(Parameter):
    """A parameter whose shape is not known yet; ``materialize`` sets it and makes this a plain Parameter.

    >>> p = UninitializedParameter()
    >>> p.materialize((2, 3))
    >>> type(p).__name__, p.shape
    ('Parameter', torch.Size([2, 3]))
    """

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(empty((0,), device=device, dtype=dtype), requires_grad)

    def materialize(self, shape: Sequence[int], device: Any = None, dtype: Any = None) -> None:
        """Become a :class:`Parameter` of this shape, with unset values."""
        wanted = self.requires_grad
        self.__class__ = Parameter  # type: ignore[assignment]
        self._data = empty(shape, device=self.device if device is None else device, dtype=dtype or self._data.dtype)
        self._node = None
        self.requires_grad_(wanted)

    @property
    def shape(self) -> NoReturn:
        """Not known before the first call: raises GraphError."""
        raise GraphError(UNINITIALIZED)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self._data.dtype)
        copied: Parameter = memo[id(self)]
        return copied

    def __repr__(self) -> str:
        return "<UninitializedParameter>"

    def _repr_html_(self) -> None:
        """In a notebook the text."""
        return None


def is_lazy(parameter: object) -> bool:
    """Whether the shape of a parameter is still unknown."""
    return isinstance(parameter, UninitializedParameter)


def empty(shape: Sequence[int], device: Any = None, dtype: Any = None) -> Any:
    """A raw array with unset values, in the default dtype, on the host unless told otherwise."""
    for place, n in enumerate(shape):
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise ArgumentTypeError(
                f"empty(): argument 'size' (position 1) must be tuple of ints, but found element of type "
                f"{type(n).__name__} at pos {place}: a layer's sizes are whole numbers"
            )
        if n < 0:
            raise ShapeRuntimeError(
                f"Trying to create tensor with negative dimension {n}: {list(shape)}: a layer's sizes are whole numbers"
            )
    values = np.empty(tuple(shape), defaults.dtype if dtype is None else as_dtype(dtype, "empty"))
    place = chosen_device(device)
    return values if place is None else to_device(values, Device(place))

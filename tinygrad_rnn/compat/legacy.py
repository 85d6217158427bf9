"""Names of PyTorch before 0.4: constructors by element type (``FloatTensor``, ``LongTensor``, ...) and ``Variable``.

    LongTensor([1, 2])            the values, as int64
    LongTensor(2, 3)              zeros of that shape (PyTorch does not initialise them)
    isinstance(x, LongTensor)     whether x is a tensor of int64 in the host's memory

In new code ``tg.tensor`` and ``tg.zeros`` say which of the two is meant, and a Variable is just a Tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import dtype, scalar_name
from ..errors import ArgumentTypeError
from ..ops import tensor, zeros
from ..source_line import warn_user
from ..tape.tensor import Tensor
from ..typing import DType, Size

__all__ = ["BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor"]
__all__ += ["IntTensor", "LongTensor", "ShortTensor", "Variable"]


class _Legacy(type):
    """The metaclass of the constructors: ``isinstance(x, LongTensor)`` and ``LongTensor(...)``."""

    dtype: DType

    def __instancecheck__(cls, instance: Any) -> bool:
        # Tensors of all types have one class; before PyTorch 0.4 each of these names was a class of its own.
        return isinstance(instance, Tensor) and instance.dtype == cls.dtype and not instance.is_cuda

    def __call__(cls, *args: Any) -> Tensor:
        """A tensor of the given values, or of zeros in the given sizes.

        Raises:
            ArgumentTypeError: the arguments are neither one sequence of values nor sizes.

        >>> import tinygrad_rnn as tg
        >>> tg.LongTensor([3, 1]), tg.FloatTensor(1, 2), isinstance(tg.tensor([1]), tg.LongTensor)
        (tensor([3, 1]), tensor([[0., 0.]]), True)
        """
        # As in PyTorch a Size is a shape, and any other sequence holds values.
        if len(args) == 1 and not isinstance(args[0], (int, np.integer, Size)):
            return tensor(args[0], dtype=cls.dtype)
        # No arguments make an empty tensor, where zeros() would make a scalar.
        sizes = args[0] if len(args) == 1 and isinstance(args[0], Size) else args or (0,)
        if not all(isinstance(size, (int, np.integer)) for size in sizes):
            raise ArgumentTypeError(f"{cls.__name__}(): expected sizes or one sequence of values, got {args!r}")
        made: Tensor = zeros(*sizes, dtype=cls.dtype)
        return made


def _constructor(name: str) -> Any:
    of = dtype(name)
    doc = f"Tensors of {name}: of given values, or of a given shape."
    return _Legacy(f"{scalar_name(of)}Tensor", (), {"dtype": of, "__doc__": doc, "__module__": __name__})


HalfTensor = _constructor("float16")
FloatTensor = _constructor("float32")
DoubleTensor = _constructor("float64")
ByteTensor = _constructor("uint8")
CharTensor = _constructor("int8")
ShortTensor = _constructor("int16")
IntTensor = _constructor("int32")
LongTensor = _constructor("int64")
BoolTensor = _constructor("bool")


class _AnyTensor(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_AnyTensor):
    """``Variable(t, requires_grad)`` is ``t.detach().requires_grad_(requires_grad)``; every Tensor is an instance.

    >>> import tinygrad_rnn as tg
    >>> x = Variable(tg.ones(2), requires_grad=True)
    >>> x
    tensor([1., 1.], requires_grad=True)
    >>> isinstance(x, Variable)
    True
    """

    def __new__(cls, data: Any, requires_grad: bool = False, volatile: bool | None = None) -> Any:
        if volatile is not None:
            warn_user("volatile was removed and now has no effect. Use `with tinygrad_rnn.no_grad():` instead.")
        if not isinstance(data, Tensor):
            raise ArgumentTypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        return data.detach().requires_grad_(requires_grad)

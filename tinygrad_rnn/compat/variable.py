"""``Variable``, of PyTorch before 0.4: today another name for Tensor, kept for old scripts."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentTypeError
from ..tape.tensor import Tensor

__all__ = ["Variable"]


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

    def __new__(cls, data: Any, requires_grad: bool = False) -> Any:
        if not isinstance(data, Tensor):
            raise ArgumentTypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        return data.detach().requires_grad_(requires_grad)

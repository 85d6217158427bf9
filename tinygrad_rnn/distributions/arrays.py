"""Parameters of one shape, sums over the axes of an event, logits and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..tape.modes import defaults, enable_grad
from ..tape.tensor import Tensor
from ..typing import Size

__all__ = ["all_over_last", "broadcast_all", "clamp_probs", "lazy_property", "limits", "logits_to_probs"]
__all__ += ["probs_to_logits", "size", "sum_over_last"]


def size(shape: Any) -> Size:
    """A shape; TypeError for a number, as a sample of ``2`` is asked for by ``(2,)``."""
    return Size(tuple(shape))


def limits(dtype: Any) -> Any:
    """eps, tiny, max of a dtype."""
    return np.finfo(dtype)


def broadcast_all(*values: Any) -> tuple[Any, ...]:
    """Tensors of the common shape; numbers take the dtype of the first tensor, or the default.

    Raises:
        ValueError: one is neither a tensor nor a number.

    >>> import tinygrad_rnn as tg
    >>> broadcast_all(tg.zeros(2), 1)
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    if not all(isinstance(v, (Tensor, int, float, np.number)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__."
        )
    like = next((v for v in values if isinstance(v, Tensor)), None)
    dtype = defaults.dtype if like is None else like._data.dtype
    found = [v if isinstance(v, Tensor) else constant_of(v, dtype, like) for v in values]
    return tuple(ops.broadcast_tensors(*found))


def constant_of(value: Any, dtype: Any, like: Tensor | None) -> Tensor:
    """A number as a 0-d tensor."""
    made = ops.full((), value, dtype=dtype)
    return made if like is None else made.to(like.device)


def sum_over_last(value: Any, axes: int) -> Any:
    """The sum over the last ``axes`` axes."""
    return value.sum(tuple(range(-axes, 0))) if axes else value


def all_over_last(value: Any, axes: int) -> Any:
    """Whether all hold over the last ``axes`` axes."""
    for _ in range(axes):
        value = value.all(-1)
    return value


def clamp_probs(probs: Any) -> Any:
    """Probabilities at least eps away from 0 and 1."""
    eps = float(limits(probs.dtype).eps)
    return ops.clamp(probs, eps, 1 - eps)


def logits_to_probs(logits: Any, is_binary: bool = False) -> Any:
    """sigmoid, or softmax over the last axis."""
    return ops.sigmoid(logits) if is_binary else ops.softmax(logits, -1)


def probs_to_logits(probs: Any, is_binary: bool = False) -> Any:
    """The logarithm of the odds, or of probabilities of the categories; of probabilities off 0 and 1."""
    p = clamp_probs(probs)
    return ops.log(p) - ops.log1p(-p) if is_binary else ops.log(p)


class lazy_property:
    """A property that is computed once, when it is first asked for, and then is an attribute."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with enable_grad():  # it is kept, also for uses that want gradients
            value = self.wrapped(instance)
        instance.__dict__[self.name] = value
        return value

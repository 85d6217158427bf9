"""Dropout layers: active in training, the identity in evaluation."""

from __future__ import annotations

from ..tape.tensor import Tensor
from . import functional as F
from .functional.masking import check_probability
from .module import Module

__all__ = ["Dropout", "Dropout1d", "Dropout2d"]


class _Dropout(Module):
    p: float
    inplace: bool

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(p)
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """While training, each entry is 0 with probability p, else x / (1 - p).

    Args:
        p: the probability of zero.
        inplace: turn the input itself into the result.

    Raises:
        ArgumentError: p outside [0, 1].

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Dropout(0.9).eval()(tg.ones(2))
    tensor([1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """While training, each channel of (N, C, L) or (C, L) is 0 throughout with probability p, else x / (1 - p).

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> y = tg.nn.Dropout1d(0.5)(tg.ones(1, 6, 2))
    >>> y.reshape(6, -1).amax(1).tolist() == y.reshape(6, -1).amin(1).tolist()  # whole channels
    True
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """While training, each channel of (N, C, H, W) is 0 throughout with probability p, else x / (1 - p).

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> y = tg.nn.Dropout2d(0.5)(tg.ones(1, 6, 2, 2))
    >>> y.reshape(6, -1).amax(1).tolist() == y.reshape(6, -1).amin(1).tolist()  # whole channels
    True
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)

"""Pooling layers along time."""

from __future__ import annotations

from typing import Any

from ..tape.tensor import Tensor
from . import functional as F
from .functional.convolution import Size
from .module import Module

__all__ = ["AvgPool1d", "MaxPool1d"]


class MaxPool1d(Module):
    """The maximum of each window along time; arguments as for ``functional.max_pool1d``.

    Shapes:
        input ``(N, C, L)`` or ``(C, L)``; output ``(N, C, (L + 2 padding - dilation (K - 1) - 1) / stride + 1)``,
        rounded down, or up with ``ceil_mode``; with ``return_indices`` a pair of it and the places of the maxima.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.MaxPool1d(2)(tg.tensor([[1.0, 3.0, 2.0, 2.0, 0.0]]))
    tensor([[3., 2.]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        return F.max_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class AvgPool1d(Module):
    """The mean of each window along time; arguments as for ``functional.avg_pool1d``.

    Shapes:
        input ``(N, C, L)`` or ``(C, L)``; output ``(N, C, (L + 2 padding - K) / stride + 1)``, rounded down, or up
        with ``ceil_mode``.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.AvgPool1d(2)(tg.tensor([[1.0, 3.0, 2.0, 4.0, 5.0]]))
    tensor([[2., 3.]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = (
            (value,) if isinstance(value, int) else tuple(value)
            for value in (kernel_size, kernel_size if stride is None else stride, padding)
        )
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"

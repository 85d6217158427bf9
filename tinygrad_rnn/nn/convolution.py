"""Convolution and pooling layers along time."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..tape.tensor import Tensor
from . import functional as F
from . import init
from .functional.convolution import Size
from .module import Module
from .parameter import Parameter, empty

__all__ = ["Conv1d"]

MODES = ("zeros", "reflect", "replicate", "circular")


def _single(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


class Conv1d(Module):
    """y[n, o, t] = b[o] + sum over c and k of w[o, c, k] x[n, c, stride t + dilation k], a cross-correlation.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: K.
        stride: how far apart windows begin.
        padding: how many entries are put before and after; ``"valid"``: none; ``"same"``: as many as keep the length.
        dilation: how far apart the entries of a window are.
        groups: into how many groups, each by itself, channels are divided.
        bias: whether there is a b.
        padding_mode: what is put there: ``"zeros"``, ``"reflect"`` (the inner entries mirrored at the edge),
            ``"replicate"`` (the edge again and again), ``"circular"`` (from the other end).

    Shapes:
        input ``(N, C, L)`` or ``(C, L)``, output ``(N, O, (L + 2 padding - dilation (K - 1) - 1) // stride + 1)`` or
        without N; ``weight`` (O, C / groups, K), ``bias`` (O,).  Both start uniform on +-sqrt(groups / (C K)), the
        weight drawn first.

    Raises:
        ArgumentError: channels that ``groups`` does not divide, an unknown padding or mode of it.

    Source: A. Waibel et al., "Phoneme recognition using time-delay neural networks" (1989).

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Conv1d(3, 5, 2)(tg.zeros(4, 3, 7)).shape
    torch.Size([4, 5, 6])
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ArgumentError("groups must be a positive integer")
        if in_channels % groups:
            raise ArgumentError(f"in_channels must be divisible by groups: {in_channels} and {groups}")
        if out_channels % groups:
            raise ArgumentError(f"out_channels must be divisible by groups: {out_channels} and {groups}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _single(kernel_size)
        self.stride = _single(stride)
        self.padding = padding if isinstance(padding, str) else _single(padding)
        self.dilation = _single(dilation)
        self.groups = groups
        self.padding_mode = padding_mode
        if isinstance(padding, str):
            if padding not in ("valid", "same"):
                raise ArgumentError(f"Invalid padding string {padding!r}, should be one of 'valid', 'same'")
            if padding == "same" and self.stride != (1,):
                raise ArgumentError("padding='same' is not supported for strided convolutions")
        if padding_mode not in MODES:
            raise ArgumentError(f"padding_mode must be one of {MODES}, but got padding_mode='{padding_mode}'")
        self.weight = Parameter(empty((out_channels, in_channels // groups, *self.kernel_size), device, dtype))
        self.register_parameter("bias", Parameter(empty((out_channels,), device, dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias again."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = self.weight.shape[1] * self.weight.shape[2]
            bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros" and padding != "valid":
            if padding == "same":
                total = self.dilation[0] * (self.kernel_size[0] - 1)
                sides = (total // 2, total - total // 2)
            else:
                sides = (padding[0], padding[0])
            input, padding = F.pad(input, sides, mode=self.padding_mode), 0
        return F.conv1d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [] if self.padding == (0,) else [f"padding={self.padding}"]
        parts += [] if self.dilation == (1,) else [f"dilation={self.dilation}"]
        parts += [] if self.groups == 1 else [f"groups={self.groups}"]
        parts += [] if self.bias is not None else ["bias=False"]
        parts += [] if self.padding_mode == "zeros" else [f"padding_mode={self.padding_mode}"]
        return ", ".join(parts)

"""Layer normalisation, with and without centring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tape.tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter, empty

__all__ = ["LayerNorm", "RMSNorm"]


class _Norm(Module):
    normalized_shape: tuple[int, ...]
    elementwise_affine: bool
    weight: Parameter | None

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None, affine: bool) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = affine

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LayerNorm(_Norm):
    """(x - mean) / sqrt(variance + eps) * w + b, over the last axes of each sample.

    Args:
        normalized_shape: the sizes of those axes; an int for one axis.
        eps: keeps the division finite.
        elementwise_affine: whether there are w and b, of that shape, initially 1 and 0.
        bias: whether there is a b.

    Shapes:
        input and output ``(..., *normalized_shape)``.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.LayerNorm(2)(tg.tensor([[0.0, 2.0]])).detach()
    tensor([[-1.0000,  1.0000]])
    """

    eps: float
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine)
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            made = Parameter(empty(self.normalized_shape, device, dtype)) if wanted else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset to w = 1, b = 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bias={self.bias is not None}"


class RMSNorm(_Norm):
    """x / sqrt(mean(x**2) + eps) * w, over the last axes of each sample; arguments as for ``LayerNorm``."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine)
        made = Parameter(empty(self.normalized_shape, device, dtype)) if elementwise_affine else None
        self.register_parameter("weight", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset to w = 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

"""Layer normalisation, with and without centring, and batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ShapeError
from ..ops import ones, tensor, zeros
from ..tape.tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter, empty

__all__ = ["BatchNorm1d", "LayerNorm", "RMSNorm"]


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
    """x / sqrt(mean(x**2) + eps) * w, over the last axes of each sample; arguments as for ``LayerNorm``.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.RMSNorm(2)(tg.tensor([3.0, 4.0]))
    tensor([0.8485, 1.1314], grad_fn=<MulBackward0>)
    """

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


class BatchNorm1d(Module):
    """(x - mean) / sqrt(variance + eps) * w + b, of each channel over the batch and over time.

    In training mean and variance are those of the batch, and running ones follow them; in evaluation they are the
    running ones.  In a recurrent layer's loop running values of one step do not fit another: normalise its input, or
    use ``LayerNorm``.

    Args:
        num_features: C, the number of channels.
        eps: keeps the division finite.
        momentum: how much of the running values each batch replaces; None: they are the mean over all batches so far.
        affine: whether there are w and b, initially 1 and 0.
        track_running_stats: whether there are running values; without them evaluation is as training.
        bias: whether there is a b.

    Shapes:
        input and output ``(N, C)`` or ``(N, C, L)``; ``weight``, ``bias``, ``running_mean``, ``running_var`` (C,);
        ``num_batches_tracked`` ().

    Raises (when it is called):
        ShapeError: neither 2-D nor 3-D; in training, one value for each channel.

    Source: S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift" (2015), algorithms 1 and 2.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.BatchNorm1d(1)
    >>> layer(tg.tensor([[1.0], [3.0]])).detach().tolist()[1][0] > 0.99, layer.running_mean
    (True, tensor([0.2000]))
    """

    _version = 2  # since 2 there is num_batches_tracked

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, Parameter(empty((num_features,), device, dtype)) if wanted else None)
        made: tuple[Tensor | None, ...] = (None, None, None)
        if track_running_stats:
            made = (
                zeros(num_features, dtype=dtype, device=device),
                ones(num_features, dtype=dtype, device=device),
                tensor(0, device=device),
            )
        for name, value in zip(("running_mean", "running_var", "num_batches_tracked"), made, strict=True):
            self.register_buffer(name, value)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Reset to a running mean of 0 and variance of 1, over no batches."""
        for value, start in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if value is not None:
                value.fill_(start)

    def reset_parameters(self) -> None:
        """Reset to w = 1, b = 0 and no running values."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (2, 3):
            raise ShapeError(f"expected 2D or 3D input (got {input.ndim}D input)")
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1 / self.num_batches_tracked.item()
        running = self.track_running_stats or not self.training
        return F.batch_norm(
            input,
            self.running_mean if running else None,
            self.running_var if running else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            momentum,
            self.eps,
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        key = prefix + "num_batches_tracked"
        if (local_metadata.get("version") or 1) < 2 and self.num_batches_tracked is not None and key not in state_dict:
            state_dict[key] = self.num_batches_tracked
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

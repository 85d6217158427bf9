"""Affine and bilinear layers, and layers that copy or reshape."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..tape.tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter, UninitializedParameter, empty, is_lazy

__all__ = ["Bilinear", "Flatten", "Identity", "LazyLinear", "Linear", "Unflatten"]


class Identity(Module):
    """The identity; any arguments of the constructor are ignored.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Identity()(tg.tensor([1.0]))
    tensor([1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """y = x W^T + b.

    Args:
        in_features: I, the size of the input's last axis.
        out_features: O, that of the output's.
        bias: whether there is a b.

    Shapes:
        input ``(..., I)``, output ``(..., O)``; ``weight`` (O, I), ``bias`` (O,).  Both start uniform on
        +-1/sqrt(I), the weight drawn first.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Linear(3, 2)(tg.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    in_features: int
    out_features: int
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty((out_features, in_features), device, dtype))
        self.register_parameter("bias", Parameter(empty((out_features,), device, dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias again."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # gain / sqrt(I) = 1 / sqrt(3 I): bound 1 / sqrt(I)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class NonDynamicallyQuantizableLinear(Linear):
    """A ``Linear``, under the name that PyTorch prints for that of ``MultiheadAttention``."""


class LazyLinear(Linear):
    """A ``Linear`` that takes ``in_features`` from its first input and then becomes a plain ``Linear``.

    Loading a ``state_dict`` sets the sizes too.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.LazyLinear(2)
    >>> _ = layer(tg.zeros(5, 3))
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    """

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        # No bias yet: both parameters are replaced by ones without a shape.
        super().__init__(0, out_features, bias=False)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def has_uninitialized_params(self) -> bool:
        """Whether the input size is still unknown."""
        return any(is_lazy(parameter) for parameter in self._parameters.values())

    def reset_parameters(self) -> None:
        """Draw weight and bias again, once their shapes are known."""
        # The base's constructor calls this before there are shapes.
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take the sizes from an input and draw the weights."""
        if self.has_uninitialized_params():
            self.in_features = input.shape[-1]
            for parameter, shape in (
                (self.weight, (self.out_features, self.in_features)),
                (self.bias, (self.out_features,)),
            ):
                if isinstance(parameter, UninitializedParameter):
                    parameter.materialize(shape)
            self.reset_parameters()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        first: Tensor = args[0] if args else kwargs["input"]
        self.initialize_parameters(first)
        # A state_dict may have given the weight its shape before the first input.
        self.in_features = self.weight.shape[1]
        self.__class__ = Linear  # type: ignore[assignment]
        # By the call of Linear, with the hooks.
        return self(*args, **kwargs)


class Bilinear(Module):
    """y_o = x1^T W_o x2 + b_o.

    Shapes:
        inputs ``(..., I1)`` and ``(..., I2)``, output ``(..., O)``; ``weight`` (O, I1, I2), ``bias`` (O,), both
        initially uniform on +-1/sqrt(I1).

    Raises:
        ArgumentError: in1_features <= 0.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Bilinear(3, 4, 5)(tg.ones(2, 3), tg.ones(2, 4)).shape
    torch.Size([2, 5])
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ArgumentError(f"in1_features must be > 0, but got (in1_features={in1_features})")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(empty((out_features, in1_features, in2_features), device, dtype))
        self.register_parameter("bias", Parameter(empty((out_features,), device, dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias again."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Flatten(Module):
    """The axes ``start_dim`` to ``end_dim`` merged into one; by default all but the first.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Flatten()(tg.zeros(2, 3, 4)).shape
    torch.Size([2, 12])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        flat: Tensor = input.flatten(self.start_dim, self.end_dim)
        return flat

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """The axis ``dim`` split into several of the given sizes.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Unflatten(1, (2, 3))(tg.zeros(4, 6)).shape
    torch.Size([4, 2, 3])
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        axis = self.dim % input.ndim
        shape = input.shape
        split: Tensor = input.reshape((*shape[:axis], *self.unflattened_size, *shape[axis + 1 :]))
        return split

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"

"""Layers that learn the size of their input from the first batch."""

from __future__ import annotations

from typing import Any

from ..tape.tensor import Tensor
from .linear import Linear
from .parameter import UninitializedParameter, is_lazy

__all__ = ["LazyLinear"]


class LazyLinear(Linear):
    """A ``Linear`` whose ``in_features`` come from the first input; from then on it is a plain ``Linear``.

    Loading a ``state_dict`` settles the sizes too.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.LazyLinear(2)
    >>> _ = layer(tg.zeros(5, 3))
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    """

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, out_features, bias=False)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def has_uninitialized_params(self) -> bool:
        """Whether the size of the input is still open."""
        return any(is_lazy(parameter) for parameter in self._parameters.values())

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once there are any."""
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Settle the sizes from an input and draw the weights."""
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
        self.in_features = self.weight.shape[1]
        self.__class__ = Linear  # type: ignore[assignment]
        return self(*args, **kwargs)

"""Dropout: entries or channels set to zero at random in training."""

from __future__ import annotations

from typing import Any

from ...backend import scalar_name
from ...backend.random.draws import Generator
from ...backend.random.inplace import dropout_like
from ...errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeRuntimeError
from ...ops.inplace import applied
from ...source_line import warn_user
from ...tape.apply import primitive
from ...tape.formula import Formula
from ...tape.tensor import Tensor

__all__ = ["dropout", "dropout1d", "dropout2d"]

_masked = primitive(
    "dropout",
    lambda a, mask: a * mask,
    lambda g, y, a, mask: g * mask,
    formula=Formula(r"a \odot m", a=r"\bar{y} \odot m"),
)


def check_probability(p: Any) -> None:
    """Refuse a probability outside [0, 1]."""
    if isinstance(p, (str, bytes)) or not hasattr(p, "__float__"):
        raise ArgumentTypeError(f"dropout(): argument 'p' (position 2) must be float, not {type(p).__name__}")
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"dropout probability has to be between 0 and 1, but got {p}")


def _check_floating(input: Tensor) -> None:
    """Refuse integers, which cannot be scaled by 1 / (1 - p)."""
    if input.dtype.kind != "f":
        name = scalar_name(input.dtype)
        raise DtypeError(f"result type Float can't be cast to the desired output type {name}: use x.float()")


def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """While training, each entry is 0 with probability p, else x / (1 - p); else x.

    Args:
        p: the probability of zero; 1 gives zeros and draws nothing.
        generator: where to draw from, by default the default generator.

    Raises:
        ArgumentError: p outside [0, 1].
        DtypeError: integers.

    Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).

    >>> import tinygrad_rnn as tg
    >>> dropout(tg.ones(3), 0.5, training=False)
    tensor([1., 1., 1.])
    """
    check_probability(p)
    # Before the check of the type: without dropout integers pass, as in PyTorch.
    if not training or p == 0 or input.numel() == 0:
        return input
    _check_floating(input)
    return applied("dropout", _masked, input, inplace, mask=dropout_like(input._data, p, generator))


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """While training, each channel of (N, C, L) or (C, L) is 0 throughout with probability p, else x / (1 - p).

    Raises:
        ArgumentError: p outside [0, 1].
        DtypeError: integers.
        ShapeRuntimeError: neither 2-D nor 3-D.
    """
    check_probability(p)
    if input.ndim not in (2, 3):
        raise ShapeRuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input.")
    if not training or p == 0 or input.numel() == 0:
        return input
    _check_floating(input)
    # One entry for each channel, broadcast over the length. A copy in C order: draws follow the layout of memory.
    mask = dropout_like(input._data[..., :1].copy(), p, generator)
    return applied("dropout1d", _masked, input, inplace, mask=mask)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator | None = None
) -> Tensor:
    """While training, each channel of (N, C, H, W) is 0 throughout with probability p, else x / (1 - p).

    Warns of any other number of axes, and as PyTorch does takes the first two for N and C all the same, of (N, C, L)
    too: ``dropout1d`` says what is meant; of (N, C) this is ``dropout``.

    Raises:
        ArgumentError: p outside [0, 1].
        DtypeError: integers.
        ShapeRuntimeError: fewer than two axes.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> y = dropout2d(tg.ones(1, 6, 2, 2))
    >>> bool((y.amax((2, 3)) == y.amin((2, 3))).all())  # whole channels
    True
    """
    check_probability(p)
    if input.ndim == 3:
        warn_user(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired "
            "- input is interpreted as shape (N, C, L), where C is the channel dim. Use dropout1d for it"
        )
    elif input.ndim != 4:
        warn_user(
            f"dropout2d: Received a {input.ndim}-D input to dropout2d, which is deprecated and will result in an error "
            "in a future release. Use dropout instead: dropout2d is for (N, C, H, W)"
        )
    if not training or p == 0 or input.numel() == 0:
        return input
    if input.ndim < 2:
        raise ShapeRuntimeError(f"Feature dropout requires at least 2 dimensions in the input, not {input.ndim}")
    _check_floating(input)
    channels = input._data[(slice(None), slice(None), *[slice(1)] * (input.ndim - 2))].copy()
    return applied("dropout2d", _masked, input, inplace, mask=dropout_like(channels, p, generator))

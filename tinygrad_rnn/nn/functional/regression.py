"""Losses for regression: squared, absolute, Huber and smooth L1.

All take ``input`` and ``target`` of one shape (others are broadcast, with a warning), and return the entries, their
mean or their sum, by ``reduction``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import only
from ...errors import ArgumentError, ArgumentRuntimeError
from ...ops import absolute
from ...ops.dtypes import in_single
from ...ops.rounding import _clamp_number
from ...tape.apply import primitive
from ...tape.formula import Formula
from ...tape.tensor import Tensor
from ...typing import Array, Value
from .reduction import reduced, reduction_name, same_size_warning

__all__ = ["huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"]


# of the residual d = x - t; their second derivative does not depend on d, and is not recorded as if it did

_squared = primitive(
    "squared_error",
    only("f", "mse_cpu", np.square),
    in_single(lambda g, y, d: g * 2 * d),
    "a",
    formula=Formula("d^2", d=r"2 \bar{y} \odot d"),
    doc="d * d",
)


@in_single
def _huber(d: Array, delta: float) -> Array:
    size = np.abs(d)
    return np.where(size <= delta, np.square(size) * 0.5, (size - 0.5 * delta) * delta)


@in_single
def _smooth_l1(d: Array, beta: float) -> Array:
    size = np.abs(d)
    return np.where(size < beta, np.square(size) * (0.5 / beta), size - 0.5 * beta)


@in_single
def _smooth_l1_vjp(g: Value, y: Any, d: Value, beta: float) -> Value:
    return g * _clamp_number(d / beta, low=-1, high=1)


@in_single
def _huber_vjp(g: Value, y: Any, d: Value, delta: float) -> Value:
    return g * _clamp_number(d, low=-delta, high=delta)


_huber_of = primitive(
    "huber",
    only("f", "huber_cpu", _huber),
    _huber_vjp,
    "a",
    formula=Formula(
        r"\begin{cases} \frac{1}{2} d^2 & |d| \le \delta \\ "
        r"\delta (|d| - \frac{1}{2} \delta) & \text{otherwise} \end{cases}",
        d=r"\bar{y} \odot \min(\max(d, -\delta), \delta)",
    ),
)
_smooth_l1_of = primitive(
    "smooth_l1",
    only("f", "smooth_l1_cpu", _smooth_l1),
    _smooth_l1_vjp,
    "a",
    formula=Formula(
        r"\begin{cases} \frac{1}{2 \beta} d^2 & |d| < \beta \\ "
        r"|d| - \frac{1}{2} \beta & \text{otherwise} \end{cases}",
        d=r"\bar{y} \odot \min(\max(\frac{1}{\beta} d, -1), 1)",
    ),
)


@in_single
def _huber_entries(x: Tensor, t: Tensor, delta: float) -> Tensor:
    return _huber_of(x - t, delta=delta)


def _weighted(loss: Tensor, input: Tensor, weight: Tensor, reduction: str, mean_of_weights: bool) -> Tensor:
    if weight.shape != input.shape:
        raise ArgumentError(
            f"Weights and input must have the same size. Weights: {list(weight.shape)}, input: {list(input.shape)}"
        )
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" and mean_of_weights else reduced(loss, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x - t)**2.

    Args:
        weight: a factor for each entry; the mean is then divided by the sum of the factors.

    Raises:
        ArgumentError: an unknown reduction, or weights of another shape.
        UnsupportedDtype: neither tensor is floating.

    >>> import tinygrad_rnn as tg
    >>> mse_loss(tg.tensor([1.0, 2.0]), tg.tensor([0.0, 0.0])).item()
    2.5
    """
    same_size_warning(input, target)
    reduction = reduction_name(reduction, size_average, reduce)
    loss = _squared(input - target)
    return reduced(loss, reduction) if weight is None else _weighted(loss, input, weight, reduction, True)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|x - t|; arguments as for ``mse_loss``."""
    same_size_warning(input, target)
    reduction = reduction_name(reduction, size_average, reduce)
    loss = absolute(input - target)
    return reduced(loss, reduction) if weight is None else _weighted(loss, input, weight, reduction, True)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """With d = |x - t|: d**2 / (2 beta) where d < beta, else d - beta/2.

    Raises:
        ArgumentRuntimeError: beta < 0.

    Source: R. Girshick, "Fast R-CNN" (2015), equation 3, for beta = 1.
    """
    same_size_warning(input, target)
    reduction = reduction_name(reduction, size_average, reduce)
    if beta < 0:
        raise ArgumentRuntimeError(f"smooth_l1_loss does not support negative values for beta. Got {beta}")
    d = input - target
    # |d| is its limit, in which the formula divides 0 by 0.
    return reduced(absolute(d) if beta == 0 else _smooth_l1_of(d, beta=beta), reduction)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """With d = |x - t|: d**2 / 2 where d <= delta, else delta (d - delta/2).

    Raises:
        ArgumentRuntimeError: delta <= 0.

    Source: P. Huber, "Robust estimation of a location parameter" (1964), section 4.
    """
    same_size_warning(input, target)
    reduction = reduction_name(reduction)
    if delta <= 0:
        raise ArgumentRuntimeError(f"huber_loss does not support non-positive values for delta. Got {delta}")
    loss: Tensor = _huber_entries(input, target, delta)
    return reduced(loss, reduction) if weight is None else _weighted(loss, input, weight, reduction, False)

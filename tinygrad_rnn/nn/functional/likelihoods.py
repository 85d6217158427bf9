"""Losses that are negative log-likelihoods of a distribution: normal with a variance, and Poisson."""

from __future__ import annotations

import math

from ...errors import ArgumentError
from ...ops import exp, log, ones_like, where
from ...tape.tensor import Tensor
from .reduction import reduced, reduction_name

__all__ = ["gaussian_nll_loss", "poisson_nll_loss"]


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    r"""(log v + (x - t)**2 / v) / 2 with v = max(var, eps): minus the logarithm of a normal density.

    Shapes:
        input and target of one shape; var of the same, or without the last axis, or with 1 in place of one size;
        result ``()``, or the entries with "none".

    Args:
        var: the variance. The lower bound is not seen by the gradient, which passes as if var were larger than eps.
        full: with the constant log(2 pi) / 2.
        eps: the lower bound of the variance.

    Raises:
        ArgumentError: a variance is negative or of a shape that does not fit, or an unknown reduction.

    Source: D. Nix and A. Weigend, "Estimating the mean and variance of the target probability distribution" (1994),
    equation 4.

    >>> import tinygrad_rnn as tg
    >>> gaussian_nll_loss(tg.tensor([1.0]), tg.tensor([3.0]), tg.tensor([1.0])).item()
    2.0
    """
    v: Tensor = ones_like(input) * var if isinstance(var, float) else var
    if bool((v.detach() < 0).any()):
        raise ArgumentError("var has negative entry/entries")
    if v.shape != input.shape:
        if input.shape[:-1] == v.shape:
            v = v.unsqueeze(-1)
        elif input.ndim != v.ndim or [b for a, b in zip(input.shape, v.shape, strict=True) if a != b] != [1]:
            raise ArgumentError("var is of incorrect size")
    reduction = reduction_name(reduction)
    # the bound as a constant that is added: the value is eps, the gradient that of var
    least = v.detach()
    v = v + (least.clamp(min=eps) - least)
    loss = 0.5 * (log(v) + (input - target) ** 2 / v)
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""exp(x) - t x, or without ``log_input`` x - t log(x + eps): minus the logarithm of a Poisson probability.

    Shapes:
        input and target broadcast; result ``()``, or the entries with "none".

    Args:
        log_input: whether the input is the logarithm of the rate, or the rate.
        full: with Stirling's approximation of log t!, t log t - t + log(2 pi t) / 2, where t > 1.
        eps: added to the rate, so that 0 has a logarithm.

    Raises:
        ArgumentError: an unknown reduction.

    >>> import tinygrad_rnn as tg
    >>> poisson_nll_loss(tg.tensor([0.0]), tg.tensor([2.0])).item()
    1.0
    """
    reduction = reduction_name(reduction, size_average, reduce)
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        stirling = target * log(target) - target + 0.5 * log(2 * math.pi * target)
        loss = loss + where(target > 1, stirling, 0.0)
    return reduced(loss, reduction)

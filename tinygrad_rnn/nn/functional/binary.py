"""Binary cross entropy, of probabilities and of logits, and the Kullback-Leibler divergence."""

from __future__ import annotations

import numpy as np

from ...backend import not_implemented, scalar_name
from ...backend.quiet import unreported
from ...errors import ArgumentError, ArgumentRuntimeError, DtypeError
from ...ops import exp, log, maximum, where
from ...ops.dtypes import in_single
from ...source_line import warn_user
from ...tape.apply import primitive
from ...tape.formula import Formula
from ...tape.tensor import Tensor
from ...typing import Array
from .activation import log_sigmoid
from .reduction import reduced, reduction_name

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"]

LEAST_VARIANCE = float(np.float32(1e-12))  # p (1 - p) in the denominator of the derivative; PyTorch's is a float32
LOWEST_LOG = -100.0  # log 0 counts as this, so that a certain wrong prediction costs 100 and not infinity


@unreported
@in_single
def _log_likelihood(p: Array, t: Array) -> Array:
    yes, no = np.maximum(np.log(p), LOWEST_LOG), np.maximum(np.log1p(-p), LOWEST_LOG)
    logarithm: Array = (t - 1) * no - t * yes
    return logarithm


_bce = primitive(
    "binary_cross_entropy",
    _log_likelihood,
    (
        in_single(lambda g, y, p, t: g * ((p - t) / maximum((1 - p) * p, LEAST_VARIANCE))),
        in_single(lambda g, y, p, t: g * (log(1 - p) - log(p))),
    ),
    ("ab", "a"),
    formula=Formula(
        r"-t \odot \max(\log(p), -100) - (1 - t) \odot \max(\log(1 - p), -100)",
        p=r"\bar{y} \odot \frac{p - t}{\max(p \odot (1 - p), 10^{-12})}",
        t=r"\bar{y} \odot (\log(1 - p) - \log(p))",
    ),
)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)), logarithms kept above -100.

    Args:
        input: probabilities p.
        target: t in [0, 1], of the same shape.
        weight: a factor for each entry (broadcast).

    Raises:
        ArgumentError: shapes differ, or an unknown reduction.
        ArgumentRuntimeError: an entry outside [0, 1].
        DtypeError: dtypes differ.

    >>> import tinygrad_rnn as tg
    >>> binary_cross_entropy(tg.tensor([0.0]), tg.tensor([1.0])).item()
    100.0
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ArgumentError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. "
            "Please ensure they have the same size."
        )
    if input._data.dtype.kind != "f":
        raise not_implemented("binary_cross_entropy", input.dtype, "convert it, x.float()")
    if target._data.dtype != input._data.dtype:
        raise DtypeError(
            f"Found dtype {scalar_name(target.dtype)} but expected {scalar_name(input.dtype)}. Convert the target"
        )
    for name, t in (("input", input), ("target", target)):
        if not bool(((t._data >= 0) & (t._data <= 1)).all()):
            raise ArgumentRuntimeError(
                f"all elements of {name} should be between 0 and 1. For logits use binary_cross_entropy_with_logits"
            )
    result: Tensor = _of_probabilities(input, target, weight, reduction)
    return result


@in_single
def _of_probabilities(p: Tensor, t: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return _weighted(_bce(p, t), weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross entropy of sigmoid(x), from x itself: (1 - t) x - (1 + (w - 1) t) log(sigmoid(x)).

    Args:
        input: logits x.
        target: t, of the same shape.
        weight: a factor for each entry (broadcast).
        pos_weight: w, the factor of positive targets (broadcast, often one per class).

    Raises:
        ArgumentError: shapes differ, or an unknown reduction.
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ArgumentError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    if target._data.dtype.kind in "biu":
        raise DtypeError(
            f"result type Float can't be cast to the desired output type {scalar_name(target.dtype)}: the targets are "
            "probabilities, convert them: target.float()"
        )
    result: Tensor = _of_logits(input, target, weight, reduction, pos_weight)
    return result


@in_single
def _of_logits(x: Tensor, t: Tensor, weight: Tensor | None, reduction: str, pos_weight: Tensor | None) -> Tensor:
    likelihood = log_sigmoid(x)
    if pos_weight is not None:
        likelihood = likelihood * ((pos_weight - 1) * t + 1)
    # Not t log p + (1 - t) log(1 - p): for large x the sigmoid rounds to 1, and log(1 - p) would be infinite.
    loss: Tensor = (1 - t) * x - likelihood
    return _weighted(loss, weight, reduction)


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return reduced(loss if weight is None else loss * weight, reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The Kullback-Leibler divergence of q = exp(input) from p = target: p (log p - input).

    Args:
        input: log-probabilities.
        target: probabilities; or, with ``log_target``, their logarithms.
        reduction: "none", "mean" (over all entries), "sum", or "batchmean": the sum over the first axis's length,
            which is the divergence as it is defined.

    Raises:
        ArgumentError: an unknown reduction.

    >>> import tinygrad_rnn as tg
    >>> p = tg.tensor([[0.25, 0.75]])
    >>> kl_div(p.log(), p, reduction="batchmean").item()
    0.0
    """
    # Only where the default was left or "mean" asked for: the older arguments say what is meant.
    if size_average is None and reduce is None and reduction == "mean":
        warn_user(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release."
        )
    for t in (input, target):
        if t.dtype.kind != "f":
            raise DtypeError(f"kl_div: {'Complex' if t.dtype.kind == 'c' else 'Integral'} inputs not supported.")
    per_sample = reduction == "batchmean" and size_average is None and reduce is None
    reduction = reduction_name("sum" if per_sample else reduction, size_average, reduce)
    if log_target:
        loss = exp(target) * (target - input)
    else:
        zero = target.eq(0)
        # 0 log 0 counts as 0. The inner condition keeps log from 0: the gradient of the other branch would be nan.
        entropy = where(zero, 0, target * log(where(zero, 1, target)))
        loss = entropy - target * input
    loss = reduced(loss, reduction)
    return loss / input.shape[0] if per_sample and input.ndim else loss

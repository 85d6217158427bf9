"""Losses of comparisons: pairs, triplets and classes that are to be apart by a margin.

All are 0 where what is right is ahead by the margin, and return the entries, their mean or their sum, by
``reduction``.  At the margin itself the gradient is that of PyTorch: of those written with a lower bound (``clamp``) it
passes, of those written for classes it is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...backend import array_module
from ...errors import ArgumentError, IndexRuntimeError, ShapeRuntimeError
from ...ops import clamp, exp, gather, log1p, minimum, relu, sqrt, where
from ...ops.index import whole_numbers
from ...tape.tensor import Tensor, wrap
from .activation import logsigmoid
from .products import pairwise_distance
from .reduction import reduced, reduction_name

__all__ = ["cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss", "multi_margin_loss"]
__all__ += ["multilabel_margin_loss", "multilabel_soft_margin_loss", "soft_margin_loss", "triplet_margin_loss"]
__all__ += ["triplet_margin_with_distance_loss"]


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -y (x1 - x2) + margin): of y = 1, x1 is to rank above x2, of y = -1 below.

    Shapes:
        all three of one number of axes, broadcast; result ``()``, or the entries with "none".

    Raises:
        ShapeRuntimeError: the numbers of axes differ.
        ArgumentError: an unknown reduction.

    >>> import tinygrad_rnn as tg
    >>> margin_ranking_loss(tg.tensor([2.0, 1.0]), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 1.0]), margin=0.5).item()
    0.75
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise ShapeRuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"{input1.shape}, input2: {input2.shape}, target: {target.shape} "
        )
    return reduced(clamp(-target * (input1 - input2) + margin, min=0), reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where y = 1, and max(0, margin - x) where y = -1: x is a distance of what belongs together, or not.

    Raises:
        ArgumentError: an unknown reduction.

    >>> import tinygrad_rnn as tg
    >>> hinge_embedding_loss(tg.tensor([0.5, 0.25, 3.0]), tg.tensor([1, -1, -1]), reduction="none")
    tensor([0.5000, 0.7500, 0.0000])
    """
    reduction = reduction_name(reduction, size_average, reduce)
    apart = where(target != 1, clamp(margin - input, min=0), 0.0)
    return reduced(apart + where(target != -1, input, 0.0), reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-y x)) for y of 1 or -1.

    Beyond -y x of 88 in float32, 709 in float64, it is infinite, as in PyTorch; ``binary_cross_entropy_with_logits``
    is the same function without a limit, for targets of 1 and 0.

    Raises:
        ArgumentError: an unknown reduction.

    >>> import tinygrad_rnn as tg
    >>> round(soft_margin_loss(tg.tensor([0.0]), tg.tensor([1.0])).item(), 4)  # log 2
    0.6931
    """
    reduction = reduction_name(reduction, size_average, reduce)
    return reduced(log1p(exp(-input * target)), reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1/C of the sum over the classes i other than y of w_y max(0, margin - x_y + x_i)**p.

    Shapes:
        input ``(N, C)`` or ``(C,)``, target ``(N,)`` or ``()``, class numbers; result ``()``, or ``(N,)`` with "none".

    Args:
        p: 1 or 2.
        weight: ``(C,)``, one factor for each class.

    Raises:
        ArgumentError: another p, weights that are no vector, an unknown reduction.
        ShapeRuntimeError: sizes do not fit.
        IndexRuntimeError: a class outside 0 .. C-1.

    Source: K. Crammer and Y. Singer, "On the algorithmic implementation of multiclass kernel-based vector machines"
    (2001), section 3, with all classes in place of the worst one.

    >>> import tinygrad_rnn as tg
    >>> round(multi_margin_loss(tg.tensor([[0.1, 0.2, 0.4, 0.8]]), tg.tensor([3])).item(), 4)
    0.325
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ArgumentError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ArgumentError("weight must be one-dimensional")
    x, y = _rows(input), whole_numbers(target, "multi_margin_loss").reshape(-1)
    rows, classes = x.shape
    if target.ndim > 1 or len(y) != rows:
        raise ShapeRuntimeError(
            f"inconsistent target size, expected [{rows}] but got [{', '.join(map(str, target.shape))}]"
        )
    if weight is not None and weight.shape != (classes,):
        raise ShapeRuntimeError(
            f"inconsistent weight size, expected {classes} but got [{', '.join(map(str, weight.shape))}]"
        )
    _in_range(y, 0, classes)
    column = wrap(y[:, None])
    ahead = relu(margin - gather(x, 1, column) + x)
    loss = ahead if p == 1 else ahead * ahead
    if weight is not None:
        loss = loss * weight[wrap(y)][:, None]
    xp = array_module(y)
    others = wrap(xp.arange(classes) != y[:, None])
    entries = where(others, loss, 0.0).sum(1) / classes
    return reduced(entries if input.ndim > 1 or reduction != "none" else entries[0], reduction)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1/C of the sum over classes j that apply and i that do not of max(0, 1 - (x_j - x_i)).

    Shapes:
        input ``(N, C)`` or ``(C,)``, target of the same shape; result ``()``, or ``(N,)`` with "none".

    Args:
        target: the numbers of the classes that apply, then -1; what follows the first -1 is not looked at.

    Raises:
        ArgumentError: an unknown reduction.
        ShapeRuntimeError: shapes differ.
        IndexRuntimeError: a class outside -1 .. C-1.

    >>> import tinygrad_rnn as tg
    >>> x, y = tg.tensor([[0.1, 0.2, 0.4, 0.8]]), tg.tensor([[3, 0, -1, 1]])  # 3 and 0 apply
    >>> round(multilabel_margin_loss(x, y).item(), 4)
    0.85
    """
    reduction = reduction_name(reduction, size_average, reduce)
    x, y = _rows(input), whole_numbers(target, "multilabel_margin_loss")
    if y.shape != input.shape:
        raise ShapeRuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    y = y.reshape(x.shape)
    _in_range(y, -1, x.shape[1])
    xp, classes = array_module(y), x.shape[1]
    listed = xp.cumsum(y < 0, 1) == 0
    applies = ((y[:, :, None] == xp.arange(classes)) & listed[:, :, None]).any(1)
    right = gather(x, 1, wrap(xp.where(listed, y, 0)))
    pairs = relu(1 - right[:, :, None] + x[:, None, :])  # (N, listed j, i)
    counted = wrap(listed[:, :, None] & ~applies[:, None, :])
    entries = where(counted, pairs, 0.0).sum((1, 2)) / classes
    return reduced(entries if input.ndim > 1 or reduction != "none" else entries[0], reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-1/C of the sum over classes of y log s(x) + (1 - y) log s(-x), with s the sigmoid.

    Shapes:
        input ``(..., C)``, target of the same shape; result ``()``, or ``(...)`` with "none".

    Args:
        weight: a factor for each class, broadcast.

    Raises:
        ArgumentError: an unknown reduction.

    >>> import tinygrad_rnn as tg
    >>> round(multilabel_soft_margin_loss(tg.zeros(2, 3), tg.ones(2, 3)).item(), 4)  # log 2
    0.6931
    """
    reduction = reduction_name(reduction, size_average, reduce)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.sum(-1) / input.shape[-1], reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where y = 1, and max(0, cos(x1, x2) - margin) where y = -1.

    Shapes:
        inputs ``(N, D)`` and target ``(N,)``, or ``(D,)`` and ``()``; result ``()``, or ``(N,)`` with "none".

    Raises:
        ArgumentError: an unknown reduction.
        ShapeRuntimeError: shapes do not fit.

    >>> import tinygrad_rnn as tg
    >>> x1, x2 = tg.tensor([[1.0, 0.0], [1.0, 0.0]]), tg.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> cosine_embedding_loss(x1, x2, tg.tensor([1, -1]), reduction="none")
    tensor([1., 1.])
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if target.ndim > 1:
        raise ShapeRuntimeError("0D or 1D target tensor expected, multi-target not supported")
    expected = target.ndim + 1
    if not input1.ndim == input2.ndim == expected:
        raise ShapeRuntimeError(
            f"{target.ndim}D target tensor expects {expected}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    tiny = 1e-12
    of_both = (input1 * input2).sum(-1)
    cosine = of_both / sqrt(((input1 * input1).sum(-1) + tiny) * ((input2 * input2).sum(-1) + tiny))
    together = where(target == 1, 1 - cosine, 0.0)
    return reduced(together + where(target == -1, clamp(cosine - margin, min=0), 0.0), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), with d the distance in the p-norm.

    Shapes:
        ``(N, D)`` or ``(D,)`` each; result ``()``, or ``(N,)`` with "none".

    Args:
        eps: added to differences, as ``pairwise_distance`` does.
        swap: take the smaller of d(anchor, negative) and d(positive, negative).

    Raises:
        ArgumentError: the margin is not positive, or an unknown reduction.
        ShapeRuntimeError: the numbers of axes differ.

    Source: V. Balntas et al., "Learning shallow convolutional feature descriptors with triplet losses" (2016), equation
    2, for ``swap`` section 3.

    >>> import tinygrad_rnn as tg
    >>> a, p, n = tg.tensor([0.0, 0.0]), tg.tensor([1.0, 0.0]), tg.tensor([0.0, 1.5])
    >>> round(triplet_margin_loss(a, p, n).item(), 4)
    0.5
    """
    reduction = reduction_name(reduction, size_average, reduce)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    return _of_triplets("anchor", anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """``triplet_margin_loss`` with any distance.

    Args:
        distance_function: of two tensors the distances, one for each row; ``pairwise_distance`` if it is not given.

    Raises:
        ArgumentError: the margin is not positive, or an unknown reduction.
        ShapeRuntimeError: the numbers of axes differ.

    >>> import tinygrad_rnn as tg
    >>> def city_block(x, y):
    ...     return (x - y).abs().sum(-1)
    >>> a, p, n = tg.zeros(1, 2), tg.ones(1, 2), tg.full((1, 2), 2.0)
    >>> triplet_margin_with_distance_loss(a, p, n, distance_function=city_block, margin=3.0).item()
    1.0
    """
    reduction = reduction_name(reduction)
    distance = distance_function or pairwise_distance
    return _of_triplets("The anchor", anchor, positive, negative, distance, margin, swap, reduction)


def _of_triplets(
    begin: str,
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    if margin <= 0:
        raise ArgumentError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeRuntimeError(
            f"{begin}, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduced(clamp(margin + near - far, min=0), reduction)


def _rows(input: Tensor) -> Tensor:
    """One sample as a batch of one."""
    if input.ndim not in (1, 2) or input.shape[-1] == 0:
        raise ShapeRuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )
    return input if input.ndim == 2 else input.reshape(1, input.shape[0])


def _in_range(y: Any, low: int, high: int) -> None:
    """That all numbers of classes are; one that is not would read another entry.

    Raises:
        IndexRuntimeError: which number is not.
    """
    outside = (y < low) | (y >= high)
    if bool(outside.any()):
        raise IndexRuntimeError(f"Target {int(y[outside][0])} is out of bounds: classes are {low} .. {high - 1}")

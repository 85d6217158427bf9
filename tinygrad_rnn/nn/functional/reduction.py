"""Reduction of the entries of a loss, and the older arguments for it."""

from __future__ import annotations

from ...errors import ArgumentError
from ...source_line import warn_user
from ...tape.observe.leaks import note_loss
from ...tape.tensor import Tensor

__all__ = ["reduced", "reduction_name", "same_size_warning"]


def reduction_name(reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """Gives "none", "mean" or "sum", from the current argument or from the two that it replaced.

    Raises:
        ArgumentError: another name.

    >>> reduction_name("mean")
    'mean'
    """
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warn_user(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.")
    if reduction == "elementwise_mean":
        warn_user("reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.")
        return "mean"
    if reduction not in ("none", "mean", "sum"):
        raise ArgumentError(f"{reduction} is not a valid value for reduction. Use 'none', 'mean' or 'sum'")
    return reduction


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The entries, their mean or their sum."""
    if reduction == "none":
        return loss
    result: Tensor = loss.mean() if reduction == "mean" else loss.sum()
    note_loss(result._node)
    return result


def same_size_warning(input: Tensor, target: Tensor) -> None:
    """Warn where a loss would compare tensors of different shapes by broadcasting."""
    if target.shape != input.shape:
        warn_user(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). "
            "This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size."
        )

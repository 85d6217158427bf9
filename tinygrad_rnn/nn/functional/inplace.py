"""``inplace=True``: the input tensor itself becomes the result, and its place in the graph the result's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ops.inplace import in_place
from ...tape.tensor import Tensor

__all__ = ["applied"]


def applied(name: str, function: Callable[..., Any], input: Tensor, inplace: bool, **options: Any) -> Tensor:
    """``function(input)``, or ``input`` turned into it.

    Args:
        name: of the function, for messages.
        options: passed on.

    Raises:
        InplaceError: in place, on a leaf that requires grad.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([-1.0, 2.0])
    >>> applied("relu", tg.relu, x, inplace=True) is x, x.tolist()
    (True, [0.0, 2.0])
    """
    if inplace:
        return in_place(f"{name}_", function)(input, **options)
    result: Tensor = function(input, **options)
    return result

"""What ``inplace=True`` means here: afterwards the input tensor itself is the result.

Where nothing is recorded, its memory is written.  Where the result belongs to a graph, the input takes over the
result's memory and place in the graph, so that values saved for gradients stay as they were; views that were made
of the input before keep the old values.
"""

from __future__ import annotations

from ...errors import InplaceError
from ...tape.modes import is_grad_enabled
from ...tape.tensor import Tensor

__all__ = ["written"]


def written(input: Tensor, result: Tensor, inplace: bool) -> Tensor:
    """``result``, or ``input`` turned into it.

    Raises:
        InplaceError: ``input`` is a leaf that requires grad.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([-1.0, 2.0])
    >>> written(x, x * 2, inplace=True) is x, x.tolist()
    (True, [-2.0, 4.0])
    """
    if not inplace:
        return result
    if input.requires_grad and input.is_leaf and is_grad_enabled():
        raise InplaceError(
            "a leaf Variable that requires grad is being used in an in-place operation. Use inplace=False, or a copy"
        )
    if result._node is None:
        input._data[...] = result._data
        input._touch()
    else:
        input._data, input._node, input._clock = result._data, result._node, result._own_clock()
    return input

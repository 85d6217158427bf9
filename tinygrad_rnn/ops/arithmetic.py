"""The arithmetic functions by PyTorch's names, with their keyword arguments; operators call the primitives directly."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..errors import DtypeError
from ..tape import forward_errors
from ..typing import V
from . import elementwise
from .dtypes import mixed_type
from .elementwise import absolute, neg
from .rounding import divide_rounded

__all__ = ["absolute", "add", "div", "divide", "multiply", "negative", "rsub", "sub", "subtract", "true_divide"]


def _scaled(operation: Callable[..., Any], doc: str) -> Callable[..., Any]:
    def scaled(input: Any, other: Any, *, alpha: float = 1) -> Any:
        kind = mixed_type(input, other).kind
        if isinstance(alpha, bool) and kind != "b":
            raise DtypeError("Boolean alpha only supported for Boolean results.")
        if isinstance(alpha, float) and kind in "biu":
            raise DtypeError("For integral input tensors, argument alpha must not be a floating point number.")
        return operation(input, other * (bool(alpha) if kind == "b" else alpha))

    @functools.wraps(operation)
    def apply(input: Any = None, other: Any = None, *excess: Any, alpha: float = 1, out: Any = None) -> Any:
        if excess:  # add(a, 2, b) of before PyTorch 0.4, or too many
            more = {} if alpha == 1 and type(alpha) is int else {"alpha": alpha}
            more |= {} if out is None else {"out": out}
            return forward_errors.bind(operation.__name__, scaled, (input, other, *excess), more)  # type: ignore[misc]
        if alpha == 1 and type(alpha) is int and out is None:  # True and 1.0 have rules of their own
            return operation(input, other)
        given = {"alpha": alpha} if out is None else {"alpha": alpha, "out": out}
        return forward_errors.bind(operation.__name__, scaled, (input, other), given)  # type: ignore[misc]

    apply.__doc__ = doc
    apply.__signature__ = inspect.signature(scaled)  # type: ignore[attr-defined]
    return apply


add = _scaled(elementwise.add, "a + alpha b")
sub = subtract = _scaled(elementwise.sub, "a - alpha b")
multiply, negative, true_divide = elementwise.mul, neg, elementwise.div


def rsub(a: V, b: V, *, alpha: float = 1) -> V:
    """b - alpha a."""
    difference: V = sub(b, a, alpha=alpha)
    return difference


def div(a: V, b: V, *, rounding_mode: str | None = None) -> V:
    """a / b; ``rounding_mode="trunc"`` rounds the quotient towards 0, ``"floor"`` down.

    >>> import tinygrad_rnn as tg
    >>> tg.div(tg.tensor([7, -7]), 2, rounding_mode="trunc")
    tensor([ 3, -3])
    """
    return divide_rounded(a, b, rounding_mode)


# Set before __wrapped__, which inspect would follow to the primitive.
div.__signature__ = inspect.signature(div)  # type: ignore[attr-defined]
div.__wrapped__ = elementwise._true_divide  # type: ignore[attr-defined]  # what it is without options
divide = div

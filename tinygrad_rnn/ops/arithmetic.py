"""The arithmetic functions by PyTorch's names, with their keyword arguments; operators call the primitives directly."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..errors import DtypeError
from ..tape import forward_errors
from ..typing import Value
from . import elementwise
from .dtypes import mixed_type
from .elementwise import absolute, neg
from .rounding import divide_rounded

__all__ = ["absolute", "add", "div", "divide", "multiply", "negative", "rsub", "sub", "subtract", "true_divide"]


def _scaled(operation: Callable[..., Value], doc: str) -> Callable[..., Value]:
    def scaled(input: Value, other: Value, *, alpha: float = 1) -> Value:
        kind = mixed_type(input, other).kind
        if isinstance(alpha, bool) and kind != "b":
            raise DtypeError("Boolean alpha only supported for Boolean results.")
        if isinstance(alpha, float) and kind in "biu":
            raise DtypeError("For integral input tensors, argument alpha must not be a floating point number.")
        return operation(input, other * (bool(alpha) if kind == "b" else alpha))

    @functools.wraps(operation)
    def apply(input: Value = None, other: Value = None, *, alpha: float = 1, out: Any = None) -> Value:
        if alpha == 1 and type(alpha) is int and out is None:
            return operation(input, other)
        given = {"alpha": alpha} if out is None else {"alpha": alpha, "out": out}
        return forward_errors.bind(operation.__name__, scaled, (input, other), given)  # type: ignore[misc]

    apply.__doc__ = doc
    apply.__signature__ = inspect.signature(scaled)  # type: ignore[attr-defined]
    return apply


add = _scaled(elementwise.add, "a + alpha b")
sub = subtract = _scaled(elementwise.sub, "a - alpha b")
multiply, negative, true_divide = elementwise.mul, neg, elementwise.div


def rsub(a: Value, b: Value, *, alpha: float = 1) -> Value:
    """b - alpha a."""
    return sub(b, a, alpha=alpha)


def div(a: Value, b: Value, *, rounding_mode: str | None = None) -> Value:
    """a / b; ``rounding_mode="trunc"`` rounds the quotient towards 0, ``"floor"`` down.

    >>> import tinygrad_rnn as tg
    >>> tg.div(tg.tensor([7, -7]), 2, rounding_mode="trunc")
    tensor([ 3, -3])
    """
    return divide_rounded(a, b, rounding_mode)


div.__signature__ = inspect.signature(div)  # type: ignore[attr-defined]
div.__wrapped__ = elementwise._true_divide  # type: ignore[attr-defined]  # what it is without options
divide = div

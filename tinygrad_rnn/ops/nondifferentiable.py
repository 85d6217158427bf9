"""Operations without gradients: on tensors or arrays, computed on arrays, never recorded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..errors import NoDerivative
from ..tape.apply import NO_PARAMS, record
from ..tape.forward_errors import fail
from ..tape.modes import quietly, state, tell
from ..tape.primitive import Primitive
from ..tape.tensor import Tensor, as_array, wrap
from ..typing import Array, V

__all__ = ["constant", "plain", "raw", "without_derivative"]


def raw(x: Any) -> Any:
    """The array of a tensor; anything else as it is."""
    return x._data if isinstance(x, Tensor) else x


def constant(array: Array, like: V) -> V:
    """An array as a constant to compute with beside ``like``: a Tensor if that is one."""
    return wrap(array) if isinstance(like, Tensor) else array  # type: ignore[return-value]  # which is what V is


def without_derivative(name: str, sentence: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Declare an operation whose result requires grad where its input does, though no derivative is implemented.

    Args:
        name: of the record.
        sentence: of the error that a backward pass raises.

    Returns:
        ``f(result, input)``: the result, recorded.
    """

    def refuse(g: Any, y: Any, a: Any) -> Any:
        raise NoDerivative(sentence)

    # not listed: the property tests would differentiate it
    p = Primitive(name, lambda a: a, (refuse,), ("",), listed=False, arity=1)

    def apply(result: Tensor, input: Tensor) -> Tensor:
        if input.requires_grad and state.here.recording:
            record(p, (input,), (input._data,), NO_PARAMS, result)
            tell(p, (input,), NO_PARAMS, result)
        return result

    return apply


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays as one that also takes tensors, and then gives a tensor."""

    @functools.wraps(function)
    def apply(*args: Any, **kwargs: Any) -> Any:
        arrays = [raw(a) for a in args]
        values = {name: raw(a) for name, a in kwargs.items()}
        try:
            result = quietly(function, *arrays, **values)
        except (TypeError, ValueError, AttributeError) as error:
            fail(function.__name__, error, *arrays)
        if not any(isinstance(a, Tensor) for a in (*args, *kwargs.values())):  # raw arrays in, raw arrays out
            return result
        out = wrap(as_array(result))
        tell(function, args, kwargs, out)
        return out

    return apply

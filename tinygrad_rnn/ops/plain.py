"""Operations without gradients: what takes tensors or arrays, computes on arrays, and is never recorded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..tape.misfit import fail
from ..tape.modes import quietly
from ..tape.tensor import Tensor, as_array, wrap

__all__ = ["plain", "raw"]


def raw(x: Any) -> Any:
    """The array of a tensor; anything else as it is."""
    return x._data if isinstance(x, Tensor) else x


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays as one that also takes tensors, and then gives a tensor (or a tuple of them)."""

    @functools.wraps(function)
    def apply(*args: Any, **kwargs: Any) -> Any:
        arrays = [raw(a) for a in args]
        values = {name: raw(a) for name, a in kwargs.items()}
        try:
            result = quietly(function, *arrays, **values)
        except (TypeError, ValueError, AttributeError) as error:
            fail(function.__name__, error, *arrays)
        if not any(isinstance(a, Tensor) for a in (*args, *kwargs.values())):
            return result
        return tuple([wrap(as_array(r)) for r in result]) if isinstance(result, tuple) else wrap(as_array(result))

    return apply

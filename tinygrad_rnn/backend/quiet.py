"""NumPy's warnings of overflows and nans, switched off so that no interrupt leaves them off.

Python looks for signals when a function of Python is entered, and ``np.errstate.__exit__`` is one: a Ctrl-C there
leaves the user's own NumPy silent.  NumPy keeps the setting in a context variable, and to set that is a call into C,
which is complete before Python looks again.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .arrays import array_module

__all__ = ["QUIET", "converted", "numpy_errors", "seeded", "unreported"]

F = TypeVar("F", bound=Callable[..., Any])


def _setting() -> tuple[contextvars.ContextVar[Any], Any]:
    """The variable, and its value where all is ignored."""
    context = contextvars.Context()
    context.run(np.seterr, all="ignore")
    ((variable, quiet),) = context.items()
    return variable, quiet


numpy_errors, QUIET = _setting()


def unreported(function: F) -> F:
    """The function, inside which an overflow or a nan is a result and no warning: ``np.errstate(all="ignore")``.

    >>> unreported(np.log)(np.zeros(1))
    array([-inf])
    """

    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        before = numpy_errors.get()
        try:
            numpy_errors.set(QUIET)
            result = function(*args, **kwargs)
        finally:
            numpy_errors.set(before)
        return result

    return inside  # type: ignore[return-value]


@unreported
def seeded(seed: int) -> np.random.Generator:
    """``np.random.default_rng(seed)``, which switches NumPy's warnings while it mixes the seed."""
    return np.random.default_rng(seed)


@unreported
def converted(value: Any, dtype: Any, like: Any = None) -> Any:
    """An array in another dtype; or, with ``like``, anything as an array of that kind, NumPy's or CuPy's.

    What is too large becomes infinite, or some whole number, as in PyTorch without a warning.

    >>> converted(np.array([1.0, 1e300]), np.float32), converted(1e5, np.float16, like=np.zeros(1))
    (array([ 1., inf], dtype=float32), array(inf, dtype=float16))
    """
    return value.astype(dtype, copy=False) if like is None else array_module(like).asarray(value, dtype)

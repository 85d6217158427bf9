"""An interrupt-safe ``np.errstate(all="ignore")`` for NumPy's warnings of overflows and nans.

Python handles signals when it enters a Python function, and ``np.errstate.__exit__`` is one: a Ctrl-C there would leave
the user's NumPy silent.  NumPy keeps the setting in a context variable.  Setting that is a single call into C, which
is complete before Python handles a signal.
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
    """NumPy's context variable, and its value when everything is ignored."""
    context = contextvars.Context()  # an empty one: what np.seterr sets in it is NumPy's variable alone
    context.run(np.seterr, all="ignore")
    ((variable, quiet),) = context.items()
    return variable, quiet


numpy_errors, QUIET = _setting()


def unreported(function: F) -> F:
    """Decorator: inside the function an overflow or a nan is a result without a warning.

    >>> unreported(np.log)(np.zeros(1))
    array([-inf])
    """

    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        before = numpy_errors.get()
        try:
            # Set inside ``try``: a Ctrl-C right after it still restores the user's setting.
            numpy_errors.set(QUIET)
            result = function(*args, **kwargs)
        finally:
            numpy_errors.set(before)
        return result

    return inside  # type: ignore[return-value]


@unreported
def seeded(seed: int) -> np.random.Generator:
    """``np.random.default_rng(seed)``, which itself uses ``np.errstate`` while it mixes the seed."""
    return np.random.default_rng(seed)


@unreported
def converted(value: Any, dtype: Any, like: Any = None) -> Any:
    """An array in another dtype; or, with ``like``, any value as an array of that module, NumPy or CuPy.

    Values out of range become infinite, or some integer, without a warning, as in PyTorch.

    >>> converted(np.array([1.0, 1e300]), np.float32), converted(1e5, np.float16, like=np.zeros(1))
    (array([ 1., inf], dtype=float32), array(inf, dtype=float16))
    """
    return value.astype(dtype, copy=False) if like is None else array_module(like).asarray(value, dtype)

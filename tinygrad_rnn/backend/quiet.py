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

__all__ = ["QUIET", "numpy_errors", "unreported"]

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

"""How this package compiles: ``@compiled`` on a plain function of arrays and numbers."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from ..choice import KernelUnavailable

__all__ = ["compiled", "intrinsic", "ir", "overload", "types"]

F = TypeVar("F", bound=Callable[..., Any])

try:
    numba: Any = import_module("numba")
    types: Any = import_module("numba.core.types")
    ir: Any = import_module("llvmlite.ir")
    extending: Any = import_module("numba.extending")
    intrinsic: Callable[[F], F] = extending.intrinsic
    overload: Callable[[Any], Callable[[F], F]] = extending.overload
except ImportError as error:  # such as a Numba that is too old for this NumPy
    raise KernelUnavailable(f"Numba cannot be imported: {error}") from error

OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


def compiled(function: F) -> F:
    """``function``, compiled when it is first called with arguments of new types.

    The machine code is kept on disk, beside the source or, where that cannot be written to, in the user's cache, so
    that the next process loads it in milliseconds.  It runs without Python's lock.  A product and a sum may become
    one instruction, with one rounding; nothing else of arithmetic is relaxed: infinities and nan go as in NumPy.

    What is kept is renewed when the file of ``function`` changes, but not when another file does with a function that
    it calls: whoever edits one of those removes ``__pycache__``.
    """
    try:
        result: F = numba.njit(function, cache=True, **OPTIONS)
    except RuntimeError:  # there is no place to keep it
        result = numba.njit(function, **OPTIONS)
    return result

"""How this package compiles: ``@compiled`` on a plain function of arrays and numbers."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

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

    What is kept is renewed when any file of this package changes.
    """
    try:
        result: F = numba.njit(function, cache=True, **OPTIONS)
    except RuntimeError:  # there is no place to keep it
        return cast(F, numba.njit(function, **OPTIONS))
    kept: Any = getattr(getattr(result, "_cache", None), "_cache_file", None)
    if hasattr(kept, "_source_stamp"):  # Numba's own stamp is of the file of ``function``, not of those it calls
        kept._source_stamp = _stamp()
    return result


@functools.cache
def _stamp() -> str:
    """Of the sources of all compiled functions."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.blake2b(b"".join([path.read_bytes() for path in files])).hexdigest()

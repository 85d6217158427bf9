"""Access to CuPy: imported lazily, tried once per process with a small product.

A machine may have CuPy and no driver, or a driver and no cuBLAS, and ``cupy.is_available()`` does not detect either.
The check therefore runs what we depend on (an allocation, a compiled kernel, a product) and keeps the error's text.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import Any

from ...errors import DeviceError

__all__ = ["INSTALL_LINE", "module", "release", "require", "runtime_release", "unavailable_reason"]

INSTALL_LINE = "pip install 'tinygrad-rnn[cuda13]' (or [cuda12] for a CUDA 12 driver)"


def module() -> Any:
    """The cupy module.

    Raises:
        DeviceError: CuPy cannot be imported; the message quotes the reason.
    """
    try:
        return importlib.import_module("cupy")
    # Not ImportError alone: with a missing or a wrong CUDA library CuPy's import may raise others.
    except Exception as error:
        raise DeviceError(f"CuPy cannot be imported ({_one_line(error)}). Install it with {INSTALL_LINE}") from error


@functools.cache
def unavailable_reason() -> str | None:
    """Why no GPU can be used, in one line; None if one can.  Determined once per process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about paths that CuPy does not find; those that matter raise an error below
        return _tried()


def _tried() -> str | None:
    try:
        cupy = module()
    except DeviceError as error:
        return str(error)
    try:
        if cupy.cuda.runtime.getDeviceCount() < 1:
            return "CuPy is installed, but there is no CUDA device"
        two = cupy.ones((2, 2), dtype="float32")
        if float((two @ two + two).sum()) != 12.0:
            return "CuPy is installed, but a small product on the GPU gave a wrong result"
    except Exception as error:
        return f"CuPy is installed, but no GPU answers ({_one_line(error)})"
    return None


def release(number: int) -> str:
    """The usual notation of a CUDA version.

    >>> release(12040)
    '12.4'
    """
    return f"{number // 1000}.{number % 1000 // 10}"


def runtime_release() -> str:
    """The version of CUDA's runtime, where a GPU can be used."""
    return release(require().cuda.runtime.runtimeGetVersion())


def require() -> Any:
    """The cupy module, known to work.

    Raises:
        DeviceError: with the reason why no GPU can be used.
    """
    reason = unavailable_reason()
    if reason is not None:
        raise DeviceError(f"device 'cuda' is not available: {reason}")
    return module()


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"

"""The BLAS behind NumPy: its name, the kernels that it chose for this processor, its threads.

OpenBLAS, which NumPy's wheels contain, selects a set of kernels for the processor when it is loaded.
``OPENBLAS_CORETYPE``, set before NumPy is imported, overrides the choice.  On AMD processors with AVX-512 OpenBLAS
selects the kernels for Haswell, without AVX-512; those for SkylakeX were measured at twice the speed on large products.
"""

from __future__ import annotations

import ctypes
import functools
import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Blas", "address_of", "blas", "blas_threads", "faster_kernel", "multiplies_unpacked", "set_blas_threads"]

# NumPy's wheels prefix OpenBLAS's symbols, and builds with 64-bit integers add a suffix; Linux distributions often do
# neither. Every combination is tried.
_PREFIXES = ("scipy_openblas_", "openblas_")
_SUFFIXES = ("64_", "_64", "")


@dataclass(frozen=True)
class Blas:
    """The BLAS in use; None where it does not report a value.

    Attributes:
        name: such as ``OpenBLAS 0.3.31``.
        kernel: the processor family that its kernels were written for.
        threads: the number of threads that it uses.
    """

    name: str
    kernel: str | None = None
    threads: int | None = None


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The OpenBLAS in NumPy's wheel.  Loading it a second time gives the library that NumPy already uses."""
    root = Path(np.__file__).parent
    # Where the tools that repair wheels put libraries: beside the package on Linux and Windows, inside it on macOS.
    for folder in (root.parent / "numpy.libs", root / ".dylibs"):
        for path in glob.glob(str(folder / "*openblas*")):
            try:
                return ctypes.CDLL(path)
            except OSError:
                continue
    return None


@functools.cache
def _function(library: ctypes.CDLL | None, name: str) -> Any:
    for prefix in _PREFIXES:
        for suffix in _SUFFIXES:
            found = getattr(library, f"{prefix}{name}{suffix}", None)
            if found is not None:
                return found
    return None


@functools.cache
def address_of(name: str) -> int:
    """The address of OpenBLAS's function ``name`` that takes 64-bit integers; 0 if NumPy's library has none.

    >>> address_of("there is no such function")
    0
    """
    library = _library()
    # Only names that end in 64_: a build with 32-bit integers would misread the sizes that callers pass.
    for symbol in (f"scipy_{name}64_", f"{name}64_"):
        found = getattr(library, symbol, None)
        if found is not None:
            return ctypes.cast(found, ctypes.c_void_p).value or 0
    return 0


def blas() -> Blas:
    """The BLAS in use."""
    library = _library()
    config: Any = np.show_config(mode="dicts")
    info = config.get("Build Dependencies", {}).get("blas", {})
    name = f"{info.get('name', 'unknown')} {info.get('version', '')}".strip()
    corename, threads = _function(library, "get_corename"), _function(library, "get_num_threads")
    # Another BLAS (Accelerate, MKL), or an OpenBLAS outside of NumPy's wheel.
    if corename is None or threads is None:
        return Blas(name)
    # Without it ctypes takes the result for an int, and cuts the pointer to 32 bits.
    corename.restype = ctypes.c_char_p
    return Blas(name, corename().decode(), int(threads()))


@functools.cache
def multiplies_unpacked() -> bool:
    """Whether small products are computed without copying ("packing") an operand before.

    OpenBLAS does so with its AVX-512 kernels, up to about 10^6 multiplications per product.
    """
    return blas().kernel in ("SkylakeX", "Cooperlake", "SapphireRapids")


def blas_threads() -> int | None:
    """The number of threads of the BLAS in use; None if it does not report it."""
    threads = _threads()[0]
    return None if threads is None else int(threads())


def set_blas_threads(count: int) -> bool:
    """Use ``count`` threads in matrix products from now on.

    Returns:
        Whether the BLAS in use accepts the setting.
    """
    setter = _threads()[1]
    if setter is None:
        return False
    setter(count)
    return True


@functools.cache
def _threads() -> tuple[Any, Any]:
    """OpenBLAS's getter and setter of the number of threads, cached because every run of a kernel calls them."""
    getter, setter = (_function(_library(), f"{name}_num_threads") for name in ("get", "set"))
    if setter is not None:
        setter.argtypes = [ctypes.c_int]
    return getter, setter


def faster_kernel(cpuinfo: str = "/proc/cpuinfo") -> str | None:
    """The value of ``OPENBLAS_CORETYPE`` that would speed up this machine; None if OpenBLAS's own choice is good."""
    if "OPENBLAS_CORETYPE" in os.environ:
        return None
    try:
        text = Path(cpuinfo).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The flags are checked because these kernels end the process with SIGILL on a processor without the instructions.
    return "SkylakeX" if "AuthenticAMD" in text and " avx512vl" in text and " avx512dq" in text else None

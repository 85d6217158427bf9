"""Environment variables that OpenBLAS reads while NumPy is imported, and the values that suit this machine.

OpenBLAS reads its number of threads and its choice of kernels when it is loaded, before any code of this package runs.
A program that needs other values therefore restarts itself with the environment that ``settings`` returns.  A variable
that the user has set is left as it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from .blas import faster_kernel

__all__ = ["KERNEL", "PATIENCE", "SHORT", "THREADS", "described", "fast", "settings"]

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""OpenBLAS obeys the first of them that is set; other libraries read the others."""

KERNEL = "OPENBLAS_CORETYPE"

PATIENCE, SHORT = "OPENBLAS_THREAD_TIMEOUT", "18"
"""OpenBLAS's threads wait for the next product in a busy loop, by default for 2^26 cycles, about 25 ms: long enough to
keep a core from the threads of compiled layers all the time.  On two cores an update of a language model (LSTM of 256)
took 43 ms with the default and 22 ms with 2^18.
"""


def settings(threads: int) -> dict[str, str]:
    """The variables to set: the threads, unless the user has set them, and the kernels where others are faster here."""
    given = next((os.environ[name] for name in THREADS if name in os.environ), None)
    found = {} if given is not None else dict.fromkeys(THREADS, str(threads))
    return found | fast(several=(given or str(threads)) != "1")


def fast(several: bool) -> dict[str, str]:
    """The variables that make products faster here: the kernels and, with ``several`` threads, a short busy wait."""
    kernel = faster_kernel()
    found = {} if kernel is None else {KERNEL: kernel}
    if several and PATIENCE not in os.environ:
        found[PATIENCE] = SHORT
    return found


def described(variables: Mapping[str, str]) -> str:
    """One line that describes the variables that were set.

    >>> described({"OPENBLAS_CORETYPE": "SkylakeX", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
    'set for this run: OPENBLAS_CORETYPE=SkylakeX (faster products on this processor), 1 thread for products'
    """
    parts = []
    if KERNEL in variables:
        parts.append(f"{KERNEL}={variables[KERNEL]} (faster products on this processor)")
    if THREADS[0] in variables:
        count = variables[THREADS[0]]
        parts.append(f"{count} thread{'s' * (count != '1')} for products")
    if PATIENCE in variables:
        parts.append(f"{PATIENCE}={variables[PATIENCE]} (threads sleep between products)")
    return f"set for this run: {', '.join(parts)}"

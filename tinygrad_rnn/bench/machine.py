"""The machine and the installation, as far as times depend on them."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from ..backend.cpu.blas import blas

__all__ = ["cores", "machine", "processor", "version"]

PACKAGES = (
    "tinygrad-rnn",
    "numpy",
    "numba",
    "torch",
    "autograd",
    "mygrad",
    "jax",
    "jaxlib",
    "cupy-cuda12x",
    "cupy-cuda13x",
)
TELLING = ("_NUM_THREADS", "_CORETYPE", "XLA_FLAGS", "JAX_PLATFORMS", "TINYGRAD_RNN_KERNELS")
"""Endings of the names of environment variables that change times."""


def machine(threads: int) -> dict[str, Any]:
    """The facts needed to interpret times; ``threads`` is the number that each competitor may use."""
    library = blas()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "threads": threads,
        "blas": {"name": library.name, "kernels": library.kernel, "threads": library.threads},
        "packages": {name: found for name in PACKAGES if (found := version(name))},
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.endswith(TELLING)},
    }


def version(package: str) -> str | None:
    """The installed version of a package; None without one."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cores(quota: str = "/sys/fs/cgroup/cpu.max") -> int:
    """The number of cores that this process may use: those it is bound to, limited by the quota of its container.

    Args:
        quota: Linux's file with a container's share, such as ``max 100000`` or ``150000 100000``.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = Path(quota).read_text(encoding="ascii").split()
        # Rounded down: on the last part of a core threads would be throttled in the middle of a timing.
        return bound if share == "max" else max(1, min(bound, int(share) // int(period)))
    except (OSError, ValueError):
        return bound


def processor() -> str:
    """The name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

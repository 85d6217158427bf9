"""Peak memory of a layer's forward and backward pass, each measured in a separate process.

The process makes the layer and the input; runs a short sequence, so that everything that happens once has happened;
returns free memory to the system; reads its resident size; runs forward and backward once; and reports by how much the
peak of its resident size (VmHWM, reset before) exceeds that size.  The result is the memory that the pass itself needs,
however it is allocated: the output and all gradients are included, the input is not.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .measure import NUMPY_KERNELS, OURS

__all__ = ["can_measure", "peak_bytes"]

STATUS = Path("/proc/self/status")


def can_measure() -> bool:
    """Whether the system reports the peak of a process (Linux)."""
    return STATUS.exists()


def peak_bytes(name: str, kind: str, T: int, N: int, H: int, segments: str = "None") -> int:
    """Peak bytes of one forward and backward pass of ``nn.<kind>``.

    Args:
        name: the competitor: a package, or ``"numpy kernels"`` for this one without compiled kernels.
        segments: ``checkpoint_segments`` of our layer; ``"None"``: everything is kept.
    """
    lib, environment = (OURS, {"TINYGRAD_RNN_KERNELS": "numpy"}) if name == NUMPY_KERNELS else (name, {})
    # A process for each: memory that one library has kept would be at hand for the next.
    command = [sys.executable, "-m", __name__, lib, kind, *map(str, (T, N, H)), segments]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=True,  # Ctrl-C reaches this program alone, which then ends the other
    )
    # The last word alone: a library may print to standard output too.
    return int(done.stdout.split()[-1])


def _peak_here(lib: Any, kind: str, T: int, N: int, H: int, options: dict[str, Any]) -> int:
    layer = getattr(lib.nn, kind)(H, H, **options)
    values = np.random.default_rng(0).standard_normal((T, N, H), dtype=np.float32)
    _update(layer, lib.tensor(values[:8]))  # loads and compiles what runs once per process
    x = lib.tensor(values)
    # PyTorch and we copy; the original would count as memory of neither.
    del values
    gc.collect()
    _give_back()
    before = _start_of_peak()
    _update(layer, x)
    return (_kilobytes("VmHWM") - before) * 1024


def _start_of_peak() -> int:
    """Reset the peak; kilobytes from which it rises."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM to VmRSS
    except OSError:  # a container may forbid it: a pass below the peak so far is then not seen
        return _kilobytes("VmHWM")
    return _kilobytes("VmRSS")


def _update(layer: Any, x: Any) -> None:
    layer.zero_grad()
    output, _ = layer(x)
    output.sum().backward()


def _give_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _kilobytes(name: str) -> int:
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise OSError(f"{STATUS} does not tell {name}")


def _main() -> None:
    lib, kind, T, N, H, segments = sys.argv[1:]
    chosen: Any = {"None": None, "auto": "auto"}.get(segments, segments)
    options = {"checkpoint_segments": int(chosen) if str(chosen).isdigit() else chosen} if lib == OURS else {}
    print(_peak_here(importlib.import_module(lib), kind, int(T), int(N), int(H), options))


if __name__ == "__main__":
    _main()

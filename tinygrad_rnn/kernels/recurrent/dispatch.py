"""Which kernel computes a fused recurrent layer.

There are up to three, with the same arguments, outputs and gradients: NumPy's (any array module, any dtype, always
there), one compiled by Numba for arrays on the CPU (extra ``fast``), and CUDA kernels for arrays on a GPU.  The
package of the latter two has a function ``refuses(mode, *arrays, **params)``, which gives the reason why it should
not be asked, or None, and a module per mode with ``forward`` and ``backward``; it is imported when it is first asked.

The choice is made once per run forward.  Backward follows it: the residual remembers its kernel.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...backend import array_module
from ...errors import ArgumentError, TinygradRnnError
from ...source_line import warn_user
from ...typing import Array
from .numpy.split_batch import Halves

__all__ = ["KERNELS", "MODES", "STATES", "KernelUnavailable", "backward", "forward", "only", "reasons", "restorable"]
__all__ += ["restore"]

MODES = ("rnn", "gru", "lstm")
KERNELS = ("cuda", "numba", "numpy")
"""From the one that is preferred to the one that never refuses."""

RESTORED = {"numba": ("rnn",), "numpy": ("rnn",)}
"""The modes whose residual a kernel can make from the output of the run forward."""

STATES = {"rnn": 1, "gru": 1, "lstm": 2}
"""How many states a kernel of each mode takes and gives, beside its sequences."""

VARIABLE = "TINYGRAD_RNN_KERNELS"
PACKAGES = {"cuda": ".cuda", "numba": ".numba", "numpy": ".numpy"}

Outputs = tuple[Array, ...]


class KernelUnavailable(TinygradRnnError, RuntimeError):
    """A kernel was asked for by name and cannot do the work, or found out late that it cannot run here."""


class _Wish(threading.local):
    kernel: str | None = os.environ.get(VARIABLE) or None


_wish = _Wish()
_broken: dict[str, str] = {}


@contextmanager
def only(kernel: str) -> Iterator[None]:
    """Within, recurrent layers of this thread use ``kernel``; where it cannot or should not be used, they raise.

    Args:
        kernel: ``"numpy"``, ``"numba"``, ``"cuda"``, or ``"auto"`` for the usual choice.

    Raises:
        ArgumentError: there is no kernel of that name.
        KernelUnavailable: within, by a layer: the reason.
    """
    before = _wish.kernel
    _wish.kernel = None if kernel == "auto" else _known(kernel)
    try:
        yield
    finally:
        _wish.kernel = before


def _known(kernel: str) -> str:
    if kernel not in KERNELS:
        raise ArgumentError(f"recurrent kernels: expected one of {(*KERNELS, 'auto')}, got {kernel!r}")
    return kernel


def reasons(mode: str, *arrays: Array, **params: Any) -> dict[str, str | None]:
    """For each kernel, why it would not be chosen for this work; None for those that could."""
    return {kernel: _refusal(kernel, mode, arrays, params) for kernel in KERNELS}


def _refusal(kernel: str, mode: str, arrays: Sequence[Array], params: dict[str, Any]) -> str | None:
    if kernel == "numpy":
        return None
    on_cpu = array_module(arrays[0]) is np
    if on_cpu == (kernel == "cuda"):
        return "the arrays are on the CPU" if on_cpu else "the arrays are on the GPU"
    if kernel in _broken:
        return _broken[kernel]
    reason: str | None = _package(kernel).refuses(mode, *arrays, **params)
    return reason


@functools.cache
def _package(kernel: str) -> Any:
    return importlib.import_module(PACKAGES[kernel], __package__)


@functools.cache
def _module(kernel: str, mode: str) -> Any:
    module = importlib.import_module(f"{PACKAGES[kernel]}.{mode}", __package__)
    return Halves(module, STATES[mode]) if kernel == "numpy" else module


def forward(mode: str) -> Callable[..., tuple[Outputs, Any]]:
    """``forward(*arrays, **params)`` of the kernel that is chosen for the work."""

    def run(*arrays: Array, **params: Any) -> tuple[Outputs, Any]:
        wished = _wish.kernel
        if wished is not None:
            reason = _refusal(_known(wished), mode, arrays, params)
            if reason is not None:
                raise KernelUnavailable(f"the {wished} kernels were asked for by name, but {reason} ({mode})")
            return _start(wished, mode, arrays, params)
        for kernel in KERNELS[:-1]:
            if _refusal(kernel, mode, arrays, params) is None:
                try:
                    return _start(kernel, mode, arrays, params)
                except KernelUnavailable as error:
                    _broken[kernel] = str(error)
                    text = f"recurrent layers do not use the {kernel} kernels from now on, but NumPy's: {error}"
                    warn_user(text, RuntimeWarning)
        return _start(KERNELS[-1], mode, arrays, params)

    return run


def _start(kernel: str, mode: str, arrays: Sequence[Array], params: dict[str, Any]) -> tuple[Outputs, Any]:
    outputs, residual = _module(kernel, mode).forward(*arrays, **params)
    return outputs, None if residual is None else (kernel, mode, residual)


def backward(gs: Sequence[Array | None], residual: Any, *arrays: Array, needs: Sequence[bool], **params: Any) -> Any:
    """The backward run of the kernel that ran forward."""
    kernel, mode, left = residual
    return _module(kernel, mode).backward(gs, left, *arrays, needs=needs)


def restorable(residual: Any) -> bool:
    """Whether :func:`restore` can do it."""
    kernel, mode, _ = residual
    return mode in RESTORED.get(kernel, ())


def restore(residual: Any, y: Array, *arrays: Array, save: bool = True, **params: Any) -> Any:
    """What the kernel that left ``residual`` would leave of a run that gives ``y``, without the run."""
    kernel, mode, _ = residual
    return kernel, mode, _module(kernel, mode).restore(y, *arrays, **params)

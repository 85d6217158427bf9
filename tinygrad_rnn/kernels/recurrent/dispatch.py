"""Choice of the kernel that computes a fused recurrent layer.

A cell has up to three, with one interface (``interface.py``): NumPy's (any array module, any dtype), one compiled by
Numba for arrays on the CPU (extra ``fast``), and CUDA kernels for arrays on a GPU.  The rules by which one is chosen
are here, those that hold for every cell and those of RNN, GRU and LSTM; a compiled cell has its own beside them.  A
package of kernels is imported when it is first chosen.

The choice is made once per forward run.  Backward follows it: the residual remembers its kernel.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...backend import array_module
from ...backend.gpu.kernels import gpu
from ...errors import ArgumentError
from ...source_line import warn_user
from ...typing import Array
from . import threads
from .interface import DTYPES, Cell, Cotangents, Gradients, Kernel, KernelUnavailable, Needs, Options, Run, Weights
from .threads import SplitBatch

__all__ = ["CELLS", "GRU", "KERNELS", "LSTM", "RNN", "Standard", "backward", "forward", "only", "reasons", "refusal"]
__all__ += ["preferred", "restorable", "restore"]

KERNELS = ("cuda", "numba", "numpy")
"""From the one that is preferred to the one that computes everything."""

VARIABLE = "TINYGRAD_RNN_KERNELS"

OLDEST = 70
"""The compute capability below which the CUDA kernels were never compiled."""

FEW_ROWS, LARGE = 4, 1 << 18
"""Rows of a sequence, and bytes of a recurrent weight.

The time of Numba's kernels over that of NumPy's (one thread of a Xeon with AVX-512, float32, LSTM; forward alone, and
forward with backward), for T steps of N sequences:

    T, N       H = 32         H = 128        H = 256        H = 512        H = 1024
    1, 1     0.47  0.50     0.85  0.48     1.01  0.85     1.27  0.89     0.89  0.65
    2, 1     0.60  0.50     0.81  0.70     1.39  0.85     1.53  0.94     1.50  0.71
    4, 1     0.38  0.43     0.70  0.70     0.70  0.76     0.67  0.84     0.87  0.98
    2, 8     0.43  0.48     0.83  0.70     0.69  0.58     0.74  0.72     0.98  0.61
    8, 8     0.35  0.38     0.68  0.66     0.70  0.80     0.84  1.01     0.51  0.68
    32, 1    0.21  0.24     0.46  0.45     0.65  0.69     0.85  0.83     0.89  0.94
    32, 32   0.60  0.46     1.08  0.74     0.87  0.82     0.85  0.90     0.41  0.61

GRU and RNN are alike.  So NumPy is better at one thing: a step or two forward with a large weight, which is not worth
rearranging for it.
"""


class _Asked(threading.local):
    kernel: str | None = os.environ.get(VARIABLE) or None


_asked = _Asked()
_broken: dict[tuple[str, Cell], str] = {}


@contextmanager
def only(kernel: str) -> Iterator[None]:
    """Within, recurrent layers of this thread use ``kernel``; where it cannot or should not be used, they raise.

    Args:
        kernel: ``"numpy"``, ``"numba"``, ``"cuda"``, or ``"auto"`` for the usual choice.

    Raises:
        ArgumentError: there is no kernel of that name.
        KernelUnavailable: within, by a layer: the reason.
    """
    before = _asked.kernel
    _asked.kernel = None if kernel == "auto" else _known(kernel)
    try:
        yield
    finally:
        _asked.kernel = before


def _known(kernel: str) -> str:
    if kernel not in KERNELS:
        raise ArgumentError(f"recurrent kernels: expected one of {(*KERNELS, 'auto')}, got {kernel!r}")
    return kernel


# the three cells -----------------------------------------------------------------------------------------------------


class Standard:
    """RNN, GRU or LSTM, whose kernels take :class:`Weights`.  Those for CUDA are written by hand.

    Args:
        name: on the tape.
        states: how many it has.

    Attributes:
        generated: makes the kernel of Numba or of NumPy, which is generated from the equations.  The layer of
            operations, which this one cannot import, puts it here: it has the equations.
    """

    def __init__(self, name: str, states: int) -> None:
        self.name, self.states = name, states
        self.generated: Callable[[str], Kernel[Weights]] = self._not_there
        self._kernels: dict[str, Kernel[Weights]] = {}

    def kernel(self, backend: str) -> Kernel[Weights]:
        """That of a package, which is imported when it is first chosen."""
        found = self._kernels.get(backend)
        if found is None:
            found = self._imported() if backend == "cuda" else self.generated(backend)
            self._kernels[backend] = found
        return found

    def _not_there(self, backend: str) -> Kernel[Weights]:
        raise KernelUnavailable(f"the equations of {self.name} are in ops/recurrent/sequence.py, which is not imported")

    def _imported(self) -> Kernel[Weights]:
        found: Kernel[Weights] = importlib.import_module(".cuda.layer", __package__).KERNELS[self.name]
        return found

    def refusal(
        self, backend: str, x: Array, states: tuple[Array, ...], weights: Weights, options: Options
    ) -> str | None:
        """What its kernels do not compute, or should not."""
        if backend == "numpy":
            return None
        if backend == "cuda":
            if weights.w_hr is not None:
                return "there is no kernel for projected states"
            return "there is no kernel that gives the cell states of all steps" if options.cells else None
        if weights.w_ih.size == 0:
            return "there are no columns to compute"
        if not options.save and weights.w_hh.nbytes > LARGE and x.size < FEW_ROWS * x.shape[-1]:
            return "a large weight is not worth rearranging for so few steps"
        return None


RNN, GRU, LSTM = Standard("rnn", 1), Standard("gru", 1), Standard("lstm", 2)
CELLS = {cell.name: cell for cell in (RNN, GRU, LSTM)}

# rules ---------------------------------------------------------------------------------------------------------------


def reasons(mode: str, *arrays: Array, **params: Any) -> dict[str, str | None]:
    """For each kernel, why it would not be chosen for this work; None for those that could.

    Args:
        mode: ``"rnn"``, ``"gru"`` or ``"lstm"``.
        arrays: the input, the initial states, and the weights in PyTorch's order.
        params: ``sizes``, ``reverse``, ``save``, ``cells``, ``nonlinearity``, as in
            :class:`~tinygrad_rnn.kernels.recurrent.interface.Options`.
    """
    cell = CELLS[mode]
    states, weights = arrays[1 : 1 + cell.states], Weights(*arrays[1 + cell.states :])
    return {kernel: refusal(kernel, cell, arrays[0], states, weights, Options(**params)) for kernel in KERNELS}


def _fastest(x: Array) -> str:
    """Each array module has one kernel that is preferred to NumPy's."""
    return "numba" if type(x) is np.ndarray or array_module(x) is np else "cuda"


def preferred(x: Array) -> str:
    """The kernel that runs work with the input ``x`` unless it refuses: the one that was asked for by name, or else."""
    kernel = _asked.kernel or _fastest(x)
    return "numpy" if kernel == "numba" and not numba_installed() else kernel


def refusal(
    kernel: str, cell: Cell, x: Array, states: tuple[Array, ...], weights: tuple[Any, ...], options: Options
) -> str | None:
    """Why ``kernel`` should not do this work; None if it should."""
    if kernel != "numpy":
        on_cpu = type(x) is np.ndarray or array_module(x) is np
        if on_cpu == (kernel == "cuda"):
            return "the arrays are on the CPU" if on_cpu else "the arrays are on the GPU"
        if _broken and (kernel, cell) in _broken:
            return _broken[kernel, cell]
        reason = (_refused_by_cuda if kernel == "cuda" else _refused_by_numba)(x, states, weights)
        if reason is not None:
            return reason
    return cell.refusal(kernel, x, states, weights, options)


@functools.cache
def numba_installed() -> bool:
    """Whether there is a Numba to import."""
    return importlib.util.find_spec("numba") is not None


def _refused_by_numba(x: Array, states: tuple[Array, ...], weights: tuple[Any, ...]) -> str | None:
    if not numba_installed():
        return "Numba is not installed"
    dtype = x.dtype
    if dtype not in DTYPES:
        return f"they compute in float32 and float64, not in {dtype}"
    # Numba would compile the loops for every mixture of dtypes
    for a in (*states, *weights):
        if a is not None and a.dtype is not dtype and a.dtype != dtype:
            return "the arrays are of several dtypes"
    return None


def _refused_by_cuda(x: Array, states: tuple[Array, ...], weights: tuple[Any, ...]) -> str | None:
    capability = gpu().capability
    if capability < OLDEST:
        return f"the kernels need a GPU of compute capability 7.0 or newer, not {capability / 10}"
    dtype = x.dtype
    if dtype not in DTYPES:
        return f"the kernels compute in float32 and float64, not in {dtype}"
    if any(a is not None and a.dtype != dtype for a in (*states, *weights)):
        return "the arrays are of several dtypes"
    if 0 in x.shape or 0 in states[0].shape:
        return "there is nothing to compute"
    return None


# runs ----------------------------------------------------------------------------------------------------------------


def forward(cell: Cell, x: Array, states: tuple[Array, ...], weights: tuple[Any, ...], options: Options) -> Run:
    """The forward run of the kernel that is chosen for the work; arguments as those of every kernel.

    Raises:
        KernelUnavailable: a kernel was asked for by name, and refuses; or none does this work.
    """
    asked = _asked.kernel
    if asked is not None:
        # the name may come from the environment, so it is checked here and not only by ``only``
        reason = refusal(_known(asked), cell, x, states, weights, options)
        if reason is not None:
            raise KernelUnavailable(f"the {asked} kernels were asked for by name, but {reason} ({cell.name})")
        return _start(asked, cell, x, states, weights, options)
    preferred = _fastest(x)
    refused = refusal(preferred, cell, x, states, weights, options)
    if refused is None:
        try:
            return _start(preferred, cell, x, states, weights, options)
        except KernelUnavailable as error:
            # remembered, so that later calls neither try again nor warn again
            _broken[preferred, cell] = refused = str(error)
            text = f"recurrent layers ({cell.name}) do not use the {preferred} kernels from now on: {error}"
            warn_user(text, RuntimeWarning)
    reason = refusal("numpy", cell, x, states, weights, options)
    if reason is not None:
        raise KernelUnavailable(f"no kernel runs {cell.name}. {preferred}: {refused}; numpy: {reason}")
    return _start("numpy", cell, x, states, weights, options)


def _start(
    kernel: str, cell: Cell, x: Array, states: tuple[Array, ...], weights: tuple[Any, ...], options: Options
) -> Run:
    series, finals, left = _kernel(kernel, cell, states).forward(x, states, weights, options)
    return Run(series, finals, None if left is None else (kernel, cell, left))


def backward(
    x: Array,
    states: tuple[Array, ...],
    weights: tuple[Any, ...],
    options: Options,
    residual: Any,
    cotangents: Cotangents,
    needs: Needs,
) -> Gradients:
    """The backward run of the kernel that ran forward."""
    kernel, cell, left = residual
    found: Gradients = _kernel(kernel, cell, states).backward(x, states, weights, options, left, cotangents, needs)
    return found


def restorable(residual: Any) -> bool:
    """Whether :func:`restore` can make such a residual."""
    kernel, cell, _ = residual
    return hasattr(cell.kernel(kernel), "restore")


def restore(
    x: Array, states: tuple[Array, ...], weights: tuple[Any, ...], options: Options, residual: Any, y: Array
) -> Any:
    """What the kernel that left ``residual`` would leave of a run that gives ``y``, without the run."""
    kernel, cell, _ = residual
    return kernel, cell, _kernel(kernel, cell, states).restore(x, states, weights, options, y)


def _kernel(kernel: str, cell: Cell, states: tuple[Array, ...]) -> Any:
    """The kernel of a cell."""
    found = cell.kernel(kernel)
    # NumPy's can take half of the batch in each of two threads, if there are sequences enough
    return SplitBatch(found) if kernel == "numpy" and len(states[0]) >= 2 * threads.ROWS else found

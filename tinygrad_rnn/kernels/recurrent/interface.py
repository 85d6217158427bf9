"""Interface of the recurrent kernels: one layer, one direction, a whole sequence, forward and backward through time.

A kernel is an object with the two functions of :class:`Kernel`.  NumPy's, Numba's and CUDA's have the
same arguments and the same results; who calls one need not know which it is, nor whether it was written by hand or
generated.

Legend: T steps, N sequences, S rows (T * N, or those of packed input), I input features, H hidden size, P projection
size, R = P or H, G gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from ...errors import TinygradRnnError
from ...typing import Array

__all__ = [
    "DTYPES",
    "Cell",
    "Cotangents",
    "Gradients",
    "Kernel",
    "KernelUnavailable",
    "Needs",
    "Options",
    "Restoring",
    "Run",
    "Weights",
]


DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
"""What compiled kernels, and those of single steps, compute in.  NumPy's kernels of layers take any dtype."""


class KernelUnavailable(TinygradRnnError, RuntimeError):
    """A kernel was asked for by name and cannot do the work, or found out late that it cannot run here."""


class Weights(NamedTuple):
    """Weights of an RNN, a GRU or an LSTM in PyTorch's layout: the rows of each are G blocks of H, one per gate."""

    w_ih: Array  # (G*H, I)
    w_hh: Array  # (G*H, R)
    b_ih: Array | None = None  # (G*H,)
    b_hh: Array | None = None  # (G*H,)
    w_hr: Array | None = None  # (P, H): the projection of an LSTM's output


class Options(NamedTuple):
    """How a kernel is to run."""

    sizes: tuple[int, ...] | None = None  # of packed input: how many sequences run at each step; None: all of them
    reverse: bool = False  # read the sequence from its end
    save: bool = True  # leave a residual for the backward run
    cells: bool = False  # of an LSTM: give c after every step too
    nonlinearity: str = "tanh"  # of a plain RNN: or "relu"
    # inputs without gradient, of numbers in the dtype of x or of bools, for a compiled cell that has them
    step_masks: tuple[Array, ...] = ()  # one for each row of x: (T, N, K), or packed (S, K)
    sequence_masks: tuple[Array, ...] = ()  # one for each sequence, the same at every step: (N, K)


class Run(NamedTuple):
    """Result of a forward run."""

    # what is given at every step, (T, N, K) or (S, K): y, which is the first state; the other states, as c of an LSTM,
    # if ``Options.cells``; then what a compiled cell emits beside its states
    series: tuple[Array, ...]
    states: tuple[Array, ...]  # (N, K) each: those after the last step that each sequence was read at
    residual: Any  # what the backward run needs; None unless ``Options.save``


class Cotangents(NamedTuple):
    """Cotangents of the results of a :class:`Run`; None for a result that no gradient reached."""

    series: tuple[Array | None, ...]
    states: tuple[Array | None, ...]


class Needs(NamedTuple):
    """Which gradients are wanted."""

    x: bool
    states: tuple[bool, ...]
    weights: tuple[bool, ...]


class Gradients(NamedTuple):
    """Gradients of the arguments of a forward run; None for each that is not wanted."""

    x: Array | None
    states: tuple[Array | None, ...]
    weights: tuple[Array | None, ...]


W_contra = TypeVar("W_contra", bound=tuple[Any, ...], contravariant=True)


class Kernel(Protocol[W_contra]):
    """What every recurrent kernel offers: ``(x, states, weights, options)``, forward and backward.

    Type parameter: the tuple of weights; :class:`Weights` for RNN, GRU and LSTM.  A compiled cell has the matrices and
    the vectors that its step reads.
    """

    def forward(self, x: Array, states: tuple[Array, ...], weights: W_contra, options: Options) -> Run:
        """Run one direction.

        Args:
            x: (T, N, I), or packed (S, I) with ``options.sizes``.
            states: the initial ones, (N, K) each; the first is h.

        Returns:
            new arrays, none of which shares memory with an argument.  The residual may share memory with the series:
            they must not be written to before the backward run.

        Raises:
            KernelUnavailable: it turns out that this kernel cannot run here.
        """
        ...

    def backward(
        self,
        x: Array,
        states: tuple[Array, ...],
        weights: W_contra,
        options: Options,
        residual: Any,
        cotangents: Cotangents,
        needs: Needs,
    ) -> Gradients:
        """The gradients of a forward run with the same first four arguments.

        The residual serves any number of backward runs.  No argument is written to; the gradients are new arrays, none
        of which shares memory with another.  As many gradients of weights as the cell can have are given.
        """
        ...


class Restoring(Kernel[W_contra], Protocol[W_contra]):
    """A kernel whose residual follows from its output, so that a checkpoint need not run forward again."""

    def restore(self, x: Array, states: tuple[Array, ...], weights: W_contra, options: Options, y: Array) -> Any:
        """The residual of a forward run that gave ``y``."""
        ...


class Cell(Protocol):
    """The equations of a layer, as those see them who choose kernels and run them: a source of kernels.

    RNN, GRU and LSTM have CUDA kernels that are written by hand (``dispatch.py``); all others are generated.
    """

    @property
    def name(self) -> str:
        """What it is called on the tape, and in messages."""
        ...

    @property
    def states(self) -> int:
        """How many states its kernels take and give."""
        ...

    def kernel(self, backend: str) -> Kernel[Any]:
        """The kernel of ``"cuda"``, ``"numba"`` or ``"numpy"``, made when it is first asked for, and then the same.

        It may be :class:`Restoring`.

        Raises:
            KernelUnavailable: it cannot be made.
        """
        ...

    def refusal(self, backend: str, x: Array, states: tuple[Array, ...], weights: Any, options: Options) -> str | None:
        """Why this cell should not run on ``backend``, where other cells would do this work; None if it should.

        What holds for every cell, ``dispatch.refusal`` asks first: where the arrays are, and of which dtype.
        """
        ...

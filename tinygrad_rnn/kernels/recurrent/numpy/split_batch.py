"""NumPy's recurrent kernels in two threads, each of which takes half of the batch through the whole time.

The product of a step has too few rows for BLAS's own threads: they have to be woken at every step, and to pack the
weight.  Two halves know nothing of each other; what they compute for a weight is added at the end.  They share Python's
lock, so this pays only where a step consists of large products.  The time against one half that is the whole batch, on
two cores of a Zen 4, float32, T = 64, forward and backward:

    N, H      32, 512   32, 256   64, 192   16, 256   32, 192   64, 128   32, 128   8, 512   8, 256
    RNN         0.80      0.92      0.89                                                       1.08
    GRU         0.80      0.83                0.94      1.06                         1.02      1.14
    LSTM        0.75      0.81                                    0.94      1.08

Packed sequences stay whole: a half of them is not a range of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....backend.cpu.threads import get_num_threads
from ....typing import Array
from ..interface import Cotangents, Gradients, Needs, Options, Run, Weights
from ..numba.threads import share

__all__ = ["Halves"]

STEPS, ROWS, WORK = 8, 8, 1_000_000
"""The fewest steps, rows of a half, and multiplications of a gate at a step of a half."""

TWO = [(0, 1), (1, 2)]


class Halves:
    """A kernel that runs ``kernel``, in halves where that pays.

    It has the functions of :class:`~tinygrad_rnn.kernels.recurrent.interface.Restoring`, or all but ``restore``.
    """

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def forward(self, x: Array, states: tuple[Array, ...], weights: Weights, options: Options) -> Run:
        """That of the kernel."""
        if not _worthwhile(x, states, options):
            return self.kernel.forward(x, states, weights, options)  # type: ignore[no-any-return]
        run = self.kernel.forward
        first, second = self._both(lambda half: run(x[:, half], _cut(states, half), weights, options), x.shape[1])
        left = (first.residual, second.residual) if options.save else None
        return Run(_beside(first.series, second.series, 1), _beside(first.states, second.states, 0), left)

    def restore(self, x: Array, states: tuple[Array, ...], weights: Weights, options: Options, y: Array) -> Any:
        """That of the kernel, if it has one."""
        make = self.kernel.restore
        if not _worthwhile(x, states, options):
            return make(x, states, weights, options, y)
        halves = self._both(lambda half: make(x[:, half], _cut(states, half), weights, options, y[:, half]), x.shape[1])
        return tuple(halves)

    def backward(
        self,
        x: Array,
        states: tuple[Array, ...],
        weights: Weights,
        options: Options,
        residual: Any,
        cotangents: Cotangents,
        needs: Needs,
    ) -> Gradients:
        """That of the kernel, for a residual that is one or for a pair of them."""
        if type(residual) is not tuple:
            found: Gradients = self.kernel.backward(x, states, weights, options, residual, cotangents, needs)
            return found

        def run(half: slice) -> Gradients:
            series = tuple([None if g is None else g[:, half] for g in cotangents.series])
            given = Cotangents(series, _cut(cotangents.states, half))
            left = residual[half.start > 0]
            done: Gradients = self.kernel.backward(x[:, half], _cut(states, half), weights, options, left, given, needs)
            return done

        first, second = self._both(run, x.shape[1])
        sums = [None if a is None else np.add(a, b, out=a) for a, b in zip(first.weights, second.weights, strict=True)]
        (dx,) = _beside((first.x,), (second.x,), 1)
        return Gradients(dx, _beside(first.states, second.states, 0), tuple(sums))

    def _both(self, run: Callable[[slice], Any], batch: int) -> list[Any]:
        halves = [slice(0, batch // 2), slice(batch // 2, batch)]
        results: list[Any] = [None, None]
        quiet = np.geterr()  # errstate is thread-local: pass it on

        def work(k: int, _: int) -> None:
            with np.errstate(**quiet):
                results[k] = run(halves[k])

        share(work, TWO)
        return results


def _cut(states: tuple[Array | None, ...], half: slice) -> tuple[Array, ...]:
    """Those of half of the sequences."""
    return tuple([None if state is None else state[half] for state in states])


def _beside(first: tuple[Array | None, ...], second: tuple[Array | None, ...], axis: int) -> tuple[Array, ...]:
    """What the two halves gave, as arrays of the whole batch."""
    pairs = zip(first, second, strict=True)
    return tuple([None if a is None else np.concatenate([a, b], axis=axis) for a, b in pairs])


def _worthwhile(x: Array, states: tuple[Array, ...], options: Options) -> bool:
    rows, size = states[-1].shape[0] // 2, states[-1].shape[1]  # the cheap tests first: most layers are small
    if rows < ROWS or rows * size * size < WORK or x.shape[0] < STEPS or options.sizes is not None:
        return False
    return type(x) is np.ndarray and get_num_threads() > 1

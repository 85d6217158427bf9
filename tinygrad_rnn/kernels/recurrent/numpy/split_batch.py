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

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ....backend.cpu.threads import get_num_threads
from ....typing import Array
from ..numba.threads import share

__all__ = ["Halves"]

STEPS, ROWS, WORK = 8, 8, 1_000_000
"""The fewest steps, rows of a half, and multiplications of a gate at a step of a half."""

TWO = [(0, 1), (1, 2)]


class Halves:
    """``kernel`` with its two functions, in halves where that pays.

    Args:
        states: how many arguments after the input, and outputs after the first, are states (N, R).  What else there is
            per step is (T, N, K).
    """

    def __init__(self, kernel: ModuleType, states: int) -> None:
        self.kernel, self.states = kernel, states

    def forward(self, x: Array, *others: Array, **params: Any) -> tuple[tuple[Array, ...], Any]:
        """That of the kernel."""
        if not _worthwhile(x, others[self.states - 1], params):
            return self.kernel.forward(x, *others, **params)  # type: ignore[no-any-return]
        (outputs, left), (others_outputs, others_left) = self._both(
            lambda half: self.kernel.forward(x[:, half], *self._cut(others, half), **params), x.shape[1]
        )
        joined = [self._joined(k, *pair) for k, pair in enumerate(zip(outputs, others_outputs, strict=True))]
        return tuple(joined), None if left is None else (left, others_left)

    def restore(self, y: Array, x: Array, *others: Array, **params: Any) -> Any:
        """That of the kernel, if it has one."""
        make = self.kernel.restore
        if not _worthwhile(x, others[self.states - 1], params):
            return make(y, x, *others, **params)
        lefts = self._both(lambda half: make(y[:, half], x[:, half], *self._cut(others, half), **params), x.shape[1])
        return tuple(lefts)

    def backward(
        self, gs: Sequence[Array | None], residual: Any, x: Array, *others: Array, needs: Sequence[bool]
    ) -> Sequence[Array | None]:
        """That of the kernel."""
        if type(residual) is not tuple:
            return self.kernel.backward(gs, residual, x, *others, needs=needs)  # type: ignore[no-any-return]

        def run(half: slice) -> Sequence[Array | None]:
            given = [None if g is None else g[half] if 0 < k <= self.states else g[:, half] for k, g in enumerate(gs)]
            left = residual[half.start > 0]
            found: Sequence[Array | None] = self.kernel.backward(
                given, left, x[:, half], *self._cut(others, half), needs=needs
            )
            return found

        pairs = zip(*self._both(run, x.shape[1]), strict=True)
        return [
            None if a is None else np.add(a, b, out=a) if k > self.states else self._joined(k, a, b)
            for k, (a, b) in enumerate(pairs)
        ]

    def _cut(self, arguments: Sequence[Array], half: slice) -> list[Array]:
        return [a[half] if k < self.states else a for k, a in enumerate(arguments)]

    def _joined(self, k: int, a: Array, b: Array) -> Array:
        return np.concatenate([a, b], axis=0 if 0 < k <= self.states else 1)

    def _both(self, run: Callable[[slice], Any], batch: int) -> list[Any]:
        halves = [slice(0, batch // 2), slice(batch // 2, batch)]
        results: list[Any] = [None, None]
        quiet = np.geterr()  # which a thread does not take over from its caller

        def work(k: int, _: int) -> None:
            with np.errstate(**quiet):
                results[k] = run(halves[k])

        share(work, TWO)
        return results


def _worthwhile(x: Array, state: Array, params: dict[str, Any]) -> bool:
    if type(x) is not np.ndarray or params.get("sizes") is not None or get_num_threads() < 2:
        return False
    rows: int = state.shape[0] // 2
    size: int = state.shape[1]
    return x.shape[0] >= STEPS and rows >= ROWS and rows * size * size >= WORK

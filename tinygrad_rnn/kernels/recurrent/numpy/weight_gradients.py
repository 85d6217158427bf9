"""The gradients that are products over all rows: of the weights, of the bias, and of the input.

Where a second thread helps, they grow beside the loop, a part of the rows at a time, as soon as the cotangents of the
part are known; else they are one product each when the loop is through.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....backend import aligned_empty
from ....typing import Array
from .gemm import bias_gradient, input_gradient, weight_gradient
from .helper_thread import Beside, Task

__all__ = ["RowGradients"]


class RowGradients:
    """What follows from the cotangents ``dz`` (S, G*H) of the pre-activations.

    Args:
        tables: (S, K) each, what a weight was multiplied by; None where its gradient is not wanted.
        bias: whether that of a bias is wanted.
        w_ih: (G*H, I), if the gradient of the input is wanted.

    Attributes:
        weights: (G*H, K), one per table; these and what follows are there once ``beside`` is left.
        bias: (G*H).
        x: (S, I).
    """

    def __init__(
        self, beside: Beside, dz: Array, tables: Sequence[Array | None], bias: bool, w_ih: Array | None
    ) -> None:
        self._beside, self._dz, self._tables, self._w_ih = beside, dz, tables, w_ih
        self._sums = bias or any(table is not None for table in tables)
        self._last: Task | None = None
        self._missing = len(dz)
        self.weights: list[Array | None] = [None] * len(tables)
        self.bias: Array | None = bias_gradient(dz[:0]) if bias else None
        self.x = None if w_ih is None else aligned_empty((len(dz), w_ih.shape[1]), dz)
        if not len(dz):
            self._give(slice(0, 0))

    def ready(self, rows: slice) -> None:
        """The loop is through with these rows of ``dz``."""
        first, last = rows.start, rows.stop
        self._missing -= last - first
        if self._missing == 0 and self._beside.helps:  # the loop is over: something for both threads
            middle = (first + last) // 2
            self._give(slice(first, middle))
            self._give(slice(middle, last))
        elif self._beside.helps:
            self._give(rows)
        elif self._missing == 0:
            self._give(slice(0, len(self._dz)))

    def _give(self, rows: slice) -> None:
        if self._sums:
            self._last = self._beside.give(self._add, rows, self._last)
        if self.x is not None:
            self._beside.give(self._to_x, rows)

    def _add(self, rows: slice, before: Task | None) -> None:
        """Add the terms of some rows, after those of ``before``: in the same order in every run."""
        dz = self._dz[rows]
        weights = [None if table is None else weight_gradient(dz, table[rows]) for table in self._tables]
        bias = None if self.bias is None else bias_gradient(dz)
        if before is not None:
            before.wait()
            for total, more in zip((*self.weights, self.bias), (*weights, bias), strict=True):
                if total is not None:
                    total += more
        else:
            self.weights, self.bias = weights, bias

    def _to_x(self, rows: slice) -> None:
        assert self.x is not None and self._w_ih is not None
        input_gradient(self._dz[rows], self._w_ih, self.x[rows])

"""Cotangents that neither underflow nor overflow: numbers of a comfortable size, and the logarithm of what they lack.

A gradient that is pulled back through 1,000 steps may be 1e-400 or 1e400, which no float holds.  So every row of a
cotangent is kept as ``exp(log) * value``; where values leave the middle of their range, each row is divided by its
largest entry, and the logarithm of that goes into ``log``.  A row that is 0 is 0 exactly: there is no path, or a factor
on it was 0.

Shapes: values (M, K, W) for M sequences, K cotangents of each, W units; ``log`` (M, K).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..typing import Array

__all__ = ["Cotangents", "log_sum", "logarithm"]

LEAST, MOST = 1e-60, 1e60
"""Values are rescaled beyond these: their squares, and their products with what one step does, are still numbers."""


class Cotangents:
    """Rows of cotangents, one array for each state, with one logarithm for each row.

    Args:
        xp: the array module.
        sequences, count: M and K.
        widths: of the states.
    """

    def __init__(self, xp: Any, sequences: int, count: int, widths: Sequence[int]) -> None:
        self.xp = xp
        self.values: list[Array] = [xp.zeros((sequences, count, width)) for width in widths]
        self.log: Array = xp.zeros((sequences, count))

    def inject(self, state: int, rows: Any, given: Array) -> None:
        """Add to the rows ``rows``, an index of the first two axes, of one state; zeros change nothing."""
        xp = self.xp
        given = xp.broadcast_to(given, self.values[state][rows].shape)
        largest = abs(given).max(-1, initial=0)
        with np.errstate(all="ignore"):
            of_given = xp.where(largest > 0, xp.log(largest), -np.inf)
        alive = xp.zeros(largest.shape, bool)
        for values in self.values:
            alive |= (values[rows] != 0).any(-1)
        before = self.log[rows]
        after = xp.where(alive, xp.maximum(before, of_given), xp.where(largest > 0, of_given, 0))
        shift = xp.exp(xp.where(alive, before - after, 0))[..., None]
        for values in self.values:
            values[rows] *= shift
        self.log[rows] = after
        # as a unit times its size beside the row's: exp(-after) alone may overflow
        unit = given / xp.where(largest > 0, largest, 1)[..., None]
        self.values[state][rows] += xp.exp(of_given - after)[..., None] * unit

    def log_norms(self) -> Array:
        """log of the norm of each row, over all states (M, K), on the host."""
        found: Array = 0.5 * logarithm(sum(self.squares())) + to_numpy(self.log)
        return found

    def rescale(self, least: float = LEAST, most: float = MOST) -> None:
        """Bring the rows to a size of 1, if one is not between ``least`` and ``most``."""
        xp = self.xp
        largest = self.values[0].max(-1, initial=0)
        for values in self.values:
            xp.maximum(largest, values.max(-1, initial=0), out=largest)
            xp.maximum(largest, -values.min(-1, initial=0), out=largest)
        smallest = float(xp.where(largest > 0, largest, 1).min(initial=1))
        if float(largest.max(initial=0)) < most and smallest > least:
            return
        factor = xp.where(largest > 0, largest, 1)
        for values in self.values:
            values /= factor[..., None]
        self.log += xp.log(factor)

    def squares(self) -> list[Array]:
        """For each state the squared norms of the rows (M, K), without their scale."""
        return [self.xp.einsum("mkw,mkw->mk", values, values) for values in self.values]


def logarithm(values: Any) -> Array:
    """``log(values)`` with -inf for 0, on the host."""
    with np.errstate(divide="ignore"):
        found: Array = np.log(to_numpy(values))
    return found


def log_sum(logs: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """``log(sum(exp(logs)))``, of numbers however small or large.

    >>> import numpy as np
    >>> round(float(log_sum(np.array([-2000.0, -2000.0]))) + 2000, 6)
    0.693147
    """
    logs = np.asarray(logs, np.float64)
    largest = logs.max(axis, keepdims=True, initial=-np.inf)
    steady = np.where(np.isfinite(largest), largest, 0)
    with np.errstate(divide="ignore"):
        total: Array = np.log(np.exp(logs - steady).sum(axis, keepdims=True)) + steady
    return total.squeeze(axis) if axis is not None else total.reshape(())

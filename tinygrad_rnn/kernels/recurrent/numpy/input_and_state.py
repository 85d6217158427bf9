"""h and x side by side, so that one product per step is a layer's whole affine map.

    [h, x, 1] @ [W_hh, W_ih, b_ih + b_hh]^T = W_hh h + W_ih x + b

Against a projection of all steps ahead that saves, at every step, the addition of what was projected; the gradient of
the weights and of the bias is one product too, with the same table.  The rows of x are copied, and so are y, whose
rows no longer lie together, and the gradients; hence only while the table is small.  The time of an LSTM against that
without, forward and backward, two cores of a Zen 4, float32: 0.92 at (T, N, H) = (32, 8, 32), 0.95 at (64, 32, 64)
and at (64, 32, 128).

Shapes: x (T, N, I), not packed; h (N, R); K = R + I + 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....backend import aligned_empty
from ....typing import Array
from .packed_weights import FEW
from .schedule import Part, Plan

__all__ = ["Joined"]

LARGEST = 3 << 18
"""Elements of a table."""

LARGEST_BESIDE = 5 << 16
"""The same where a second thread could project x beside the steps: of an LSTM forward (64, 32, 128), elements 530,000,
that took 0.81 of the time of joined products; at (64, 32, 64), elements 270,000, 1.1 to 1.2."""

LINE = 16
"""Elements of which rows are a multiple, so that they begin alike."""


class Joined:
    """A state over a whole run as :class:`.plan.Trail` has it, each one beside the input that is read with it.

    Attributes:
        earlier: (S, K): the states before each step, the inputs, and 1.
    """

    running: Array = None

    def __init__(self, plan: Plan, x: Array, initial: Array) -> None:
        batch, size = initial.shape
        width = size + x.shape[-1] + 1
        whole = -(-width // LINE) * LINE
        self._plan, self._size = plan, size
        self._block = block = aligned_empty((plan.steps + 1, batch, whole), x)[:, :, :width]
        start, first = (plan.steps, 0) if plan.reverse else (0, 1)
        before = slice(1 - first, 1 - first + plan.steps)
        block[start, :, :size] = initial
        block[before, :, size:-1] = x
        block[before, :, -1] = 1
        self._after = block[first : first + plan.steps, :, :size]
        self._last = block[plan.steps - start, :, :size]
        self.earlier = block[before].reshape(plan.rows, width)

    @classmethod
    def of(cls, plan: Plan, x: Array, initial: Array, helped: bool = False) -> Joined | None:
        """The table for such a run, if it pays; ``helped``: there is a second thread, which could project x."""
        if type(x) is not np.ndarray or plan.packed or plan.steps < FEW or not plan.batch:
            return None
        if (plan.rows + plan.batch) * (initial.shape[1] + x.shape[-1] + 1) > (LARGEST_BESIDE if helped else LARGEST):
            return None
        return cls(plan, x, initial)

    @property
    def values(self) -> Array:
        """(T, N, R): the states after each step, a copy."""
        values = aligned_empty(self._after.shape, self._after)
        values[...] = self._after
        return values

    def views(self, part: Part) -> tuple[list[Array], list[Array]]:
        """What each visit of ``part`` reads, (N, K), and where it writes the state after it, (N, R)."""
        steps = self._plan.steps_of(part)
        block = self._block[steps.start : steps.stop + 1]
        before, after = list(block), list(block[:, :, : self._size])
        if self._plan.reverse:
            before.reverse()
            after.reverse()
        return before[:-1], after[1:]

    def final(self) -> Array:
        """The state (N, R) after the last visit, as an array of its own."""
        return self._last.copy()

    def weight(self, w_hh: Array, w_ih: Array, b_ih: Array | None, b_hh: Array | None) -> Array:
        """What the rows are multiplied by, before it is transposed: (G*H, K)."""
        weight = np.empty((len(w_hh), self.earlier.shape[1]), w_hh.dtype)
        weight[:, : self._size] = w_hh
        weight[:, self._size : -1] = w_ih
        bias: Any = weight[:, -1]
        bias[...] = 0 if b_ih is None else b_ih
        if b_hh is not None:
            bias += b_hh
        return weight

    def split(self, gradient: Array | None) -> tuple[Array | None, Array | None, Array | None]:
        """The gradient of the weight (G*H, K) as those of w_hh, w_ih and of a bias."""
        if gradient is None:
            return None, None, None
        size = self._size
        return gradient[:, :size].copy(), gradient[:, size:-1].copy(), gradient[:, -1].copy()

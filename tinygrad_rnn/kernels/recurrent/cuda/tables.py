"""Tables that a forward run saves for its backward run: S rows each, the same for all CUDA kernels.

So a run that began with one kind of kernel can go back with another.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ....typing import Array
from .cells import Cell

__all__ = ["Saved"]


class Saved(NamedTuple):
    """Tables of all rows.

    Attributes:
        earlier: (S, H): h before each step, for the gradient of w_hh.
        kept: (S, H): what the cell's way back reads besides the gates: the LSTM's c before the step, the GRU's h
            before the step, the plain RNN's h after it.
        gates: (S, slots * H), or None for a cell with one slot.
    """

    earlier: Array
    kept: Array
    gates: Array | None
    has_c: bool

    @classmethod
    def room(cls, xp: Any, cell: Cell, y: Array, shape: tuple[int, int]) -> Saved:
        """Tables to be filled by a run that gives ``y``, of ``shape`` = (S, H)."""
        earlier = xp.empty(shape, y.dtype)
        kept = xp.empty(shape, y.dtype) if cell.states > 1 else earlier if cell.slots > 1 else y
        gates = xp.empty((shape[0], cell.slots * shape[1]), y.dtype) if cell.slots > 1 else None
        return cls(earlier, kept, gates, cell.states > 1)

    def pointers(self) -> tuple[Array, Array | None, Array | None]:
        """As a forward kernel takes them: ``earlier``, ``earlier_c``, ``gates``."""
        return self.earlier, self.kept if self.has_c else None, self.gates

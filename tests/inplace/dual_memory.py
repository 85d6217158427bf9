"""A reference for programs that write in place: memory as numbers, gradients by forward mode, no graph at all.

A ``Memory`` is a row of numbers.  A ``Family`` over it adds, for each number, its derivatives with respect to the K
entries of the leaves; ``detach`` founds a family with zero derivatives over the same numbers.  A ``Place`` is what a
tensor shows: positions in the row, so a view is the same family with fewer or rearranged positions.

    read    numbers and derivatives at the positions
    write   put numbers there, and derivatives too if the write is recorded

Operations go through complex numbers: f(v + i e t) has the imaginary part e f'(v) t, exactly for a tiny e.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Dual", "Family", "Memory", "Place", "apply"]

TINY = 1e-100


class Dual:
    """Numbers of some shape, and their derivatives with a leading axis of length K."""

    def __init__(self, value: np.ndarray, slope: np.ndarray) -> None:
        self.value, self.slope = value, slope


def apply(f: Callable[..., Any], *operands: Dual | float) -> Dual:
    """f of duals and plain numbers."""
    axes = max((d.value.ndim for d in operands if isinstance(d, Dual)), default=0)

    def lifted(d: Dual | float) -> Any:
        if not isinstance(d, Dual):
            return d
        room = (1,) * (axes - d.value.ndim)  # broadcasting is from the right, and K stays in front
        return (d.value + 1j * TINY * d.slope).reshape(d.slope.shape[0], *room, *d.value.shape)

    z = f(*[lifted(d) for d in operands])
    value = f(*[d.value if isinstance(d, Dual) else d for d in operands])
    return Dual(np.asarray(value), np.asarray(z.imag / TINY).reshape(len(z), *np.shape(value)))


class Memory:
    """A row of numbers, shared by every tensor that shows some of them."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers


class Family:
    """Derivatives of the numbers in one memory.  ``leaf``: it may not be written to while recording."""

    def __init__(self, memory: Memory, slopes: np.ndarray, leaf: bool = False) -> None:
        self.memory, self.slopes, self.leaf = memory, slopes, leaf


class Place:
    """What one tensor shows: positions in a family.

    Attributes:
        blind: taken without recording, so without derivatives.
        repeated: a part of what shows a position twice, so that a write to it is one to its repetition, too.
    """

    def __init__(self, family: Family, positions: np.ndarray, blind: bool = False, repeated: bool = False) -> None:
        self.family, self.positions, self.blind, self.repeated = family, positions, blind, repeated

    @classmethod
    def new(cls, dual: Dual, leaf: bool = False) -> Place:
        shape = dual.value.shape
        slopes = dual.slope.reshape(len(dual.slope), -1).copy()
        return cls(
            Family(Memory(dual.value.reshape(-1).copy()), slopes, leaf), np.arange(dual.value.size).reshape(shape)
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.positions.shape

    @property
    def repeats(self) -> bool:
        """Whether two entries are one number."""
        return np.unique(self.positions).size < self.positions.size

    def read(self, recorded: bool = True) -> Dual:
        slopes = self.family.slopes[:, self.positions]
        seen = recorded and not self.blind
        return Dual(self.family.memory.numbers[self.positions], slopes if seen else np.zeros_like(slopes))

    def view(self, f: Callable[[np.ndarray], np.ndarray], recorded: bool) -> Place:
        return Place(self.family, f(self.positions), self.blind or not recorded, self.repeated or self.repeats)

    def detached(self) -> Place:
        return Place(Family(self.family.memory, np.zeros_like(self.family.slopes)), self.positions)

    def write(self, new: Dual, recorded: bool) -> None:
        self.family.memory.numbers[self.positions] = np.broadcast_to(new.value, self.shape)
        if recorded:
            slopes = new.slope.reshape(len(new.slope), *(1,) * (len(self.shape) - new.value.ndim), *new.value.shape)
            self.family.slopes[:, self.positions] = np.broadcast_to(slopes, (len(slopes), *self.shape))

    def assign(self, index: Any, new: Dual, recorded: bool) -> None:
        """One number after the other, so that the last one written to a position stays."""
        target = self.positions[index]
        values = np.broadcast_to(new.value, target.shape)
        slopes = new.slope.reshape(len(new.slope), *(1,) * (target.ndim - new.value.ndim), *new.value.shape)
        slopes = np.broadcast_to(slopes, (len(slopes), *target.shape))
        for place in np.ndindex(target.shape):
            self.family.memory.numbers[target[place]] = values[place]
            if recorded:
                self.family.slopes[:, target[place]] = slopes[(slice(None), *place)]

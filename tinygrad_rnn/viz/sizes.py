"""How large the cotangents of a sweep are, on a logarithmic scale, with what has no place on it told apart.

A gradient through time shrinks by many decades, so its norms are shown as powers of ten.  What is zero, below the
smallest normal number of its dtype, or no number, is a kind of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..tape.observe.records import Sweep
from ..tape.observe.tape import Tape
from ..tape.observe.values import Summary, size_of_norm

__all__ = ["Scale", "Size", "sizes_in", "sizes_of_values", "sweep_of", "text_of", "together"]

BINS = 9
"""So many shades are told apart by eye."""


@dataclass(frozen=True)
class Size:
    """The norm of an array, and what kind of number that is.

    Attributes:
        norm: the square root of the sum of squares; nan if it is not known.
        kind: ``"number"``; ``"zero"``; ``"tiny"``, below the smallest normal number of the dtype, where digits are
            lost; ``"not finite"``; ``"empty"``, an array without entries; ``"unknown"``, which the tape did not keep.
    """

    norm: float
    kind: str

    @classmethod
    def of(cls, value: Any) -> Size:
        """The size of what a tape kept of an array, or of several together.

        >>> Size.of(np.array([3e-42, 4e-42], np.float32)).kind, Size.of(np.zeros(3)).kind, Size.of(np.zeros(0)).kind
        ('tiny', 'zero', 'empty')
        """
        if isinstance(value, (list, tuple)):
            return together([cls.of(item) for item in value if item is not None])
        if value is None or (isinstance(value, Summary) and value.norm is None):
            return cls(math.nan, "unknown")
        if value.size == 0:
            return cls(0.0, "empty")
        norm = size_of_norm(value)
        if not math.isfinite(norm):
            return cls(norm, "not finite")
        if norm == 0:
            return cls(norm, "zero")
        kind = np.dtype(getattr(value.dtype, "name", value.dtype))
        tiny = kind.kind in "fc" and norm < float(np.finfo(kind).tiny)
        return cls(norm, "tiny" if tiny else "number")

    def __str__(self) -> str:
        return text_of(self.norm) if self.kind not in ("empty", "unknown") else self.kind


def together(sizes: Iterable[Size]) -> Size:
    """The size of several arrays as one: the most remarkable kind among them."""
    found = list(sizes)
    if not found:
        return Size(math.nan, "unknown")
    kinds = {size.kind for size in found}
    for kind in ("not finite", "unknown"):
        if kind in kinds:
            return next(size for size in found if size.kind == kind)
    norm = math.hypot(*[size.norm for size in found])
    kind = next(kind for kind in ("number", "tiny", "zero", "empty") if kind in kinds)
    return Size(norm, kind)


def text_of(number: float) -> str:
    """A number in few characters: ``0.5436``, ``1.2e-09``, ``0``, ``inf``.

    >>> [text_of(x) for x in (0.0, 0.54361, 1234.5, 1.25e-9, float("inf"))]
    ['0', '0.5436', '1234', '1.25e-09', 'inf']
    """
    return f"{number:.4g}" if number == 0 or not math.isfinite(number) or 1e-3 <= abs(number) < 1e5 else f"{number:.3g}"


def sweep_of(tape: Tape, sweep: int | Sweep | None) -> Sweep | None:
    """The sweep that a caller asks for, by default the last; None if there is none and none was asked for.

    Raises:
        ArgumentError: no sweep of this tape.
    """
    if sweep is None:
        return tape.sweeps[-1] if tape.sweeps else None
    if isinstance(sweep, Sweep) and sweep in tape.sweeps:
        return sweep
    if isinstance(sweep, int) and not isinstance(sweep, bool) and -len(tape.sweeps) <= sweep < len(tape.sweeps):
        return tape.sweeps[sweep]
    raise ArgumentError(f"sweep must be one of the {len(tape.sweeps)} sweeps of this tape or its number, not {sweep!r}")


def sizes_in(sweep: Sweep, upto: int | None = None) -> dict[int, Size]:
    """The size of the cotangent of each record that a sweep came to, in its first ``upto`` steps or in all."""
    found: dict[int, Size] = {}
    for step in sweep.steps if upto is None else sweep.steps[:upto]:
        if step.record is not None and (step.depth == 0 or step.record.number not in found):
            found[step.record.number] = Size.of(step.cotangent)
    return found


def sizes_of_values(tape: Tape) -> dict[int, Size]:
    """The size of the value of each record."""
    return {record.number: Size.of(record.value) for record in tape.records}


@dataclass(frozen=True)
class Scale:
    """A logarithmic scale of at most nine shades.

    Attributes:
        low: the power of ten at which it begins.
        decades: of one shade.
        count: of shades.
    """

    low: float
    decades: float
    count: int

    @classmethod
    def of(cls, sizes: Iterable[Size]) -> Scale:
        """The scale that holds all sizes that are numbers.

        >>> Scale.of([Size(2.0, "number"), Size(3e-9, "number"), Size(0.0, "zero")])
        Scale(low=-10.0, decades=2.0, count=6)
        """
        logs = [math.log10(size.norm) for size in sizes if size.kind in ("number", "tiny")]
        low, high = (min(logs), max(logs)) if logs else (0.0, 0.0)
        for decades in (0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 40, 80):
            start = math.floor(low / decades) * decades
            count = math.floor((high - start) / decades) + 1
            if count <= BINS:
                break
        return cls(float(start), float(decades), count)

    def shade(self, size: Size) -> int:
        """The number of the shade of a number, 0 for the smallest."""
        at = math.floor((math.log10(size.norm) - self.low) / self.decades)
        return min(max(at, 0), self.count - 1)

    def part(self, size: Size) -> float:
        """Where a number lies on the scale, from 0 to 1."""
        length = self.decades * self.count
        return min(max((math.log10(size.norm) - self.low) / length, 0.0), 1.0)

    def edges(self) -> list[float]:
        """The powers of ten at which shades begin and end."""
        return [self.low + self.decades * k for k in range(self.count + 1)]

"""Scratch memory for optimiser steps, and blocks that fit the cache: large arrays cut, small ones joined.

An update is a chain of element-wise passes.  On whole arrays each pass streams through main memory; on blocks of
64 Ki elements the scratch and the block stay in the second-level cache, which makes a step on a million float32
numbers about 1.6 times as fast.  On arrays of a thousand, calling NumPy costs more than the arithmetic: copied next
to each other into one block, and back, a hundred of them take a third of the time.  Blocks also bound the scratch.
On a GPU, where a pass is one kernel launch, arrays are not cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..backend import array_module, on_gpu
from ..typing import Array, Shape

__all__ = ["BLOCK", "Row", "Workspace"]

BLOCK = 65536
"""Elements in a block: measured best among 4 Ki ... 1 Mi on a core with 2 MiB of second-level cache."""
SMALL = 4096
"""Arrays of at most so many elements are joined; larger ones are worth separate passes."""

Row = Sequence[Array]
"""The arrays of one parameter, all of its shape: its value, its gradient, then its state."""


class Workspace:
    """Scratch arrays of an optimiser, allocated once per dtype and reused by every step and every parameter."""

    __slots__ = ("_flat", "_parts", "_views")

    def __init__(self) -> None:
        self._flat: dict[tuple[Any, ...], Array] = {}
        self._views: dict[tuple[Any, ...], Array] = {}
        self._parts: dict[tuple[Any, ...], list[list[Array]]] = {}

    def scratch(self, like: Array, slot: int, shape: Shape | None = None) -> Array:
        """An uninitialised array like ``like``, in its shape or another.  Slots do not overlap."""
        shape = like.shape if shape is None else shape
        place = (like.dtype, slot, getattr(like.device, "id", None))
        view = self._views.get((shape, place))
        if view is None:
            flat, size = self._flat.get(place), math.prod(shape)
            if flat is None or flat.size < size:
                flat = self._flat[place] = array_module(like).empty(size, like.dtype)
                self._views.clear()  # free the smaller memory
                self._parts.clear()
            view = self._views[shape, place] = flat[:size].reshape(shape)
        return view

    def blocks(self, rows: Sequence[Row], scratch: int) -> Iterator[list[Array]]:
        """Walk over the arrays of many parameters together, a block at a time.

        Args:
            rows: of the same kinds of arrays each.  An array may appear in a row twice, for a state that is not kept.

        Yields:
            lists: one view for each array of a row, to be written to (but for the second, the gradient), then
            ``scratch`` scratch arrays of the same shape.
        """
        waiting: list[Row] = []
        met: set[int] = set()
        count = 0
        for row in rows:
            size = row[0].size
            if size <= SMALL and _joinable(row):
                if count + size > BLOCK or id(row[0]) in met:  # a parameter that was given twice is updated twice
                    yield from self._joined(waiting, scratch)
                    waiting, met, count = [], set(), 0
                waiting.append(row)
                met.add(id(row[0]))
                count += size
            else:
                yield from self._cut(row, scratch)
        if waiting:
            yield from self._joined(waiting, scratch)

    def _cut(self, row: Row, scratch: int) -> Iterator[list[Array]]:
        first = row[0]
        # Arrays with gaps are not cut either: a flat view of them would be a copy, and its writes lost.
        if first.size <= BLOCK or on_gpu(first) or not all(a.flags.c_contiguous for a in row):
            yield [*row, *(self.scratch(first, i) for i in range(scratch))]
            return
        flat = [a.reshape(-1) for a in row]
        for start in range(0, first.size, BLOCK):
            block = [a[start : start + BLOCK] for a in flat]
            yield [*block, *(self.scratch(block[0], i) for i in range(scratch))]

    def _joined(self, rows: list[Row], scratch: int) -> Iterator[list[Array]]:
        # Of one row, or of several dtypes, there is nothing to join.
        if len(rows) == 1 or any(a.dtype != rows[0][0].dtype for row in rows for a in row):
            for row in rows:
                yield from self._cut(row, scratch)
            return
        columns = list(zip(*rows, strict=True))
        same = [next(k for k, other in enumerate(rows[0]) if other is a) for a in rows[0]]  # of equal ones the first
        first, shape = rows[0][0], (sum(row[0].size for row in rows),)
        views = [self.scratch(first, scratch + k, shape) for k in same]
        for k in sorted(set(same)):
            np.concatenate(columns[k], axis=None, out=views[k])
        yield [*views, *(self.scratch(first, i, shape) for i in range(scratch))]
        key = (first.dtype, tuple(same), tuple([row[0].shape for row in rows]))
        parts = self._parts.get(key)
        if parts is None:
            # Bounded, for groups whose gradients come and go from step to step.
            if len(self._parts) > 16:
                self._parts.clear()
            parts = self._parts[key] = [_split(view, rows) for view in views]
        # All but the gradients (1), which are only read.
        for k in sorted({k for k in same if k != 1}):
            for a, part in zip(columns[k], parts[k], strict=True):
                np.copyto(a, part)


def _joinable(row: Row) -> bool:
    """Whether arrays may be copied out and back: contiguous, on the host, and not views of shared memory."""
    # A view is not joined: two rows may overlap in one memory. A gradient may be one, since it is only read.
    return all(type(a) is np.ndarray and a.flags.c_contiguous and (a.base is None or k == 1) for k, a in enumerate(row))


def _split(view: Array, rows: Sequence[Row]) -> list[Array]:
    parts, start = [], 0
    for row in rows:
        parts.append(view[start : start + row[0].size].reshape(row[0].shape))
        start += row[0].size
    return parts

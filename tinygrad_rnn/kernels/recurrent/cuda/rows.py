"""Rows of a sequence, as the CUDA kernels are told where they are.

Time-major, S rows: step t has rows ``starts[t] .. starts[t + 1] - 1``, one for each of the first ``sizes[t]``
samples.  With equal lengths that is ``t * N + n`` and needs no table.  A kernel visits the steps in order, or from
the last one for a reversed direction; nothing is copied or gathered for either.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from ....backend.gpu.kernels import gpu
from ....typing import Array

__all__ = ["Rows"]


class Rows(NamedTuple):
    """The steps of one direction over one sequence.

    Attributes:
        steps: T.
        batch: N.
        sizes: packed input: how many samples run at each step, never rising; else None.
        reverse: the last step is visited first.

    >>> list(Rows(2, 3, sizes=(3, 1), reverse=True).visits())
    [(3, 1), (0, 3)]
    """

    steps: int
    batch: int
    sizes: tuple[int, ...] | None
    reverse: bool

    @property
    def total(self) -> int:
        """S, the number of rows."""
        return self.steps * self.batch if self.sizes is None else sum(self.sizes)

    def visits(self) -> Iterator[tuple[int, int]]:
        """First row and number of rows of each step, in the order of the visits."""
        sizes = self.sizes or (self.batch,) * self.steps
        starts = accumulate(sizes, initial=0)
        steps = list(zip(starts, sizes, strict=False))
        return iter(reversed(steps) if self.reverse else steps)

    def tables(self, xp: Any) -> tuple[Array | None, Array | None]:
        """``starts`` (T + 1) and ``lengths`` (N), int32 on the device; None where there is no need of them."""
        return (None, None) if self.sizes is None else _tables(xp.asarray, gpu().number, self.sizes, self.batch)


@functools.lru_cache(maxsize=64)  # the same for both directions, forward and backward, of all layers
def _tables(to_device: Any, device: int, sizes: tuple[int, ...], batch: int) -> tuple[Array, Array]:
    starts = np.concatenate([[0], np.cumsum(sizes)])
    lengths = (np.asarray(sizes)[:, None] > np.arange(batch)).sum(axis=0)
    both = to_device(np.concatenate([starts, lengths]).astype(np.int32))  # one transfer
    return both[: len(starts)], both[len(starts) :]

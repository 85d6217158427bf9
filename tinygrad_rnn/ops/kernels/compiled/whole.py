"""What comes before and after the loop over time, and how its work is divided among threads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....backend import aligned_empty
from ....typing import Array
from .arguments import plain
from .products import WIDTH, fill_strips, gemm_address, multiply_transposed
from .threads import evenly, share, threads_for
from .visits import Visits

__all__ = ["Division", "strips", "times_weight", "weight_gradients"]

NEAR = 1 << 18
"""Bytes of an input weight that stays in a second-level cache beside the recurrent one.  Up to there, multiplying by it
step by step, with operands that are in the cache, is faster than all rows at once, and no thread has to wait."""

ROWS_OF_A_STEP = 4
"""With fewer rows than that, a product is bound by reading the weight."""


NARROW = 128
"""Columns of a gradient up to which it is computed in pieces without copying, at 150 to 160 GFLOP/s, not at 120 to
145; with 512, 128 are left."""


class Division(NamedTuple):
    """How the work of a run is divided.

    Attributes:
        threads: how many there are.
        batch: the sequences of each.
        step_by_step: whether the input projection and its gradient are computed within the loop over time.
    """

    threads: int
    batch: list[tuple[int, int]]
    step_by_step: bool

    @classmethod
    def of(cls, visits: Visits, w_ih: Array, w_hh: Array) -> Division:
        """The division for so many rows, multiplied by these weights."""
        threads = threads_for(visits.rows * (w_ih.size + w_hh.size))
        batch = visits.shares(threads)
        return cls(threads, batch, visits.batch >= ROWS_OF_A_STEP * len(batch) and w_ih.nbytes <= NEAR)

    def numbered_batch(self) -> list[tuple[int, int, int]]:
        """The ranges of ``batch`` with their numbers."""
        return [(low, high, number) for number, (low, high) in enumerate(self.batch)]


def strips(division: Division, weight: Array, transposed: bool = False) -> Array:
    """The strips of ``weight``, or of its transpose, as :func:`.products.multiply` takes them."""
    weight = plain(weight)
    result = aligned_empty((weight.size,), weight)
    count = -(-weight.shape[0 if transposed else 1] // WIDTH)
    if weight.nbytes <= NEAR:
        fill_strips(0, count, weight, transposed, result)
    else:
        share(fill_strips, evenly(count, division.threads), weight, transposed, result)
    return result


def times_weight(division: Division, x: Array, w: Array, out: Array) -> None:
    """``out = x @ w``, (S, K) and (K, M), the rows of x in shares."""
    share(_rows, evenly(len(x), division.threads), x, w, out)


def _rows(low: int, high: int, x: Array, w: Array, out: Array) -> None:
    np.matmul(x[low:high], w, out=out[low:high])


def weight_gradients(division: Division, *work: tuple[Array, int, Array, Array | None]) -> None:
    """For each (table, first, x, result) ``result = table[:, first : first + M].T @ x``: (S, M).T @ (S, K) -> (M, K).

    The rows of every result in shares; a result of None is not wanted.
    """
    wanted = [item for item in work if item[3] is not None]
    if wanted:
        share(_columns, [(k, k + 1) for k in range(division.threads)], division.threads, wanted)


def _columns(part: int, after: int, parts: int, work: list[tuple[Array, int, Array, Array]]) -> None:
    for table, first, x, result in work:
        low, high = (len(result) * k // parts for k in (part, after))
        gemm = gemm_address(result.dtype)
        if gemm and len(x) and result.shape[1] <= NARROW:
            multiply_transposed(low, high, gemm, table, first, x, result)
        else:
            np.matmul(table[:, first + low : first + high].T, x, out=result[low:high])

"""What comes before and after the loop over time, and how its work is divided among threads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....backend import aligned_empty
from ....backend.unpacked import multiplies_unpacked
from ....typing import Array
from .arguments import plain
from .products import WIDTH, fill_strips, gemm_address, multiply_transposed
from .threads import evenly, share, threads_for
from .visits import Visits

__all__ = ["Division", "strips", "times_weight", "weight_gradients"]

NEAR = 1 << 18
"""Bytes of an input weight that stays in a second-level cache beside the recurrent one."""

ROWS_OF_A_STEP, ROWS_WHERE_FAR = 4, 16
"""Rows of a step, per thread, from which on the input projection and its gradient are computed step by step, with
operands that are in the cache, and no thread has to wait: with fewer, a product is bound by reading the weight.  The
second number is for input weights that are not near.  At (T, N, H) = (64, 32, 256) that took 0.95 of the time of
products over all rows at once; with a BLAS that packs the weight at every step, those are better."""


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
        near = w_ih.nbytes <= NEAR
        rows = visits.batch // len(batch)
        step_by_step = rows >= (ROWS_OF_A_STEP if near else ROWS_WHERE_FAR) and (near or multiplies_unpacked())
        return cls(threads, batch, step_by_step)

    def numbered_batch(self) -> list[tuple[int, int, int]]:
        """The ranges of ``batch`` with their numbers."""
        return [(low, high, number) for number, (low, high) in enumerate(self.batch)]


def strips(division: Division, *weights: Array | None, transposed: bool = False) -> list[Array]:
    """The strips of each weight, or of its transpose, as :func:`.products.multiply` takes them; None for None."""
    results: list[Array] = []
    work = []
    for weight in weights:
        if weight is not None:
            weight = plain(weight)
            if not transposed and weight.shape[1] <= WIDTH:
                weight = weight.reshape(-1)  # it is its only strip
            else:
                work.append((weight, aligned_empty((weight.size,), weight)))
                weight = work[-1][1]
        results.append(weight)
    if division.threads == 1 or sum([weight.nbytes for weight, _ in work]) <= NEAR:
        _strips(0, 1, 1, work, transposed)
    else:
        share(_strips, [(k, k + 1) for k in range(division.threads)], division.threads, work, transposed)
    return results


def _strips(part: int, after: int, parts: int, work: list[tuple[Array, Array]], transposed: bool) -> None:
    for weight, result in work:
        count = -(-weight.shape[0 if transposed else 1] // WIDTH)
        fill_strips(count * part // parts, count * after // parts, weight, transposed, result)


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
        gemm = gemm_address(wanted[0][0].dtype) if multiplies_unpacked() else 0
        ranges = [(k, k + 1) for k in range(division.threads)]
        share(_columns, ranges, division.threads, gemm, wanted)


def _columns(part: int, after: int, parts: int, gemm: int, work: list[tuple[Array, int, Array, Array]]) -> None:
    for table, first, x, result in work:
        low, high = len(result) * part // parts, len(result) * after // parts
        if gemm and len(x):
            multiply_transposed(low, high, gemm, table, first, x, result)
        else:
            np.matmul(table[:, first + low : first + high].T, x, out=result[low:high])

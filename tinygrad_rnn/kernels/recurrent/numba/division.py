"""What comes before and after the loop over time, and how its work is divided among threads."""

from __future__ import annotations

import functools
import sys
from typing import NamedTuple

import numpy as np

from ....backend import aligned_empty
from ....backend.cpu.blas import multiplies_unpacked
from ....typing import Array
from .arguments import plain
from .gemm import WIDTH, fill_strips, gemm_address, multiply, multiply_transposed
from .schedule import Visits
from .threads import evenly, share, threads_for

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
        numbered: the same, each with its number.
        step_by_step: whether the input projection and its gradient are computed within the loop over time.
    """

    threads: int
    batch: list[tuple[int, int]]
    numbered: list[tuple[int, int, int]]
    step_by_step: bool

    @classmethod
    def of(cls, visits: Visits, w_ih: Array, w_hh: Array) -> Division:
        """The division for so many rows, multiplied by these weights."""
        threads = threads_for(visits.rows * (w_ih.size + w_hh.size))
        if w_ih.nbytes <= NEAR:
            return _division(visits, threads, ROWS_OF_A_STEP)
        return _division(visits, threads, ROWS_WHERE_FAR if multiplies_unpacked() else sys.maxsize)


@functools.lru_cache(maxsize=16)
def _division(visits: Visits, threads: int, least: int) -> Division:
    """Layers ask for the same ones over and over.  ``least``: rows of a step that make it step by step."""
    batch = visits.shares(threads)
    numbered = [(low, high, number) for number, (low, high) in enumerate(batch)]
    return Division(threads, batch, numbered, visits.batch // len(batch) >= least)


def strips(division: Division, *weights: Array | None, transposed: bool = False) -> list[Array]:
    """The strips of each weight, or of its transpose, as :func:`.products.multiply` takes them; None for None."""
    results: list[Array] = []
    work = []
    for weight in weights:
        if weight is None:
            results.append(weight)
        elif not transposed and weight.shape[1] <= WIDTH:
            results.append(plain(weight).reshape(-1))  # it is its only strip
        else:
            result = aligned_empty((weight.size,), weight)
            work.append((plain(weight), result))
            results.append(result)
    if division.threads == 1 or sum([weight.nbytes for weight, _ in work]) <= NEAR:
        for weight, result in work:
            fill_strips(0, weight.size, weight, transposed, result)  # as many as there are
    else:
        share(_strips, [(k, k + 1) for k in range(division.threads)], division.threads, work, transposed)
    return results


def _strips(part: int, after: int, parts: int, work: list[tuple[Array, Array]], transposed: bool) -> None:
    for weight, result in work:
        count = -(-weight.shape[0 if transposed else 1] // WIDTH)
        fill_strips(count * part // parts, count * after // parts, weight, transposed, result)


def times_weight(
    division: Division, x: Array, first: int, weight: Array, out: Array, column: int, *, transposed: bool = False
) -> None:
    """``out[:, column : column + M] = x[:, first : first + K] @ W``, with W (K, M) a weight or its transpose.

    The rows of x in shares.
    """
    depth, width = weight.shape[::-1] if transposed else weight.shape
    gemm = gemm_address(weight.dtype) if division.threads == 1 and multiplies_unpacked() else 0
    if gemm:
        (w,) = strips(division, weight, transposed=transposed)
        multiply(gemm, x, 0, first, len(x), w, width, out, 0, column, False)
    else:
        w = weight.T if transposed else weight
        share(_rows, evenly(len(x), division.threads), x[:, first : first + depth], w, out[:, column : column + width])


def _rows(low: int, high: int, x: Array, w: Array, out: Array) -> None:
    np.matmul(x[low:high], w, out=out[low:high])


def weight_gradients(division: Division, *work: tuple[Array, int, Array, Array | None]) -> None:
    """For each (table, first, x, result) ``result = table[:, first : first + M].T @ x``: (S, M).T @ (S, K) -> (M, K).

    The rows of every result in shares; a result of None is not wanted.
    """
    gemm = gemm_address(work[0][0].dtype) if multiplies_unpacked() else 0
    if gemm and division.threads == 1:
        for table, first, x, result in work:
            if result is not None:
                multiply_transposed(0, len(result), gemm, table, first, x, result)
        return
    wanted = [item for item in work if item[3] is not None]
    if wanted:
        share(_columns, [(k, k + 1) for k in range(division.threads)], division.threads, gemm, wanted)


def _columns(part: int, after: int, parts: int, gemm: int, work: list[tuple[Array, int, Array, Array]]) -> None:
    for table, first, x, result in work:
        low, high = len(result) * part // parts, len(result) * after // parts
        if gemm:
            multiply_transposed(low, high, gemm, table, first, x, result)
        else:
            np.matmul(table[:, first + low : first + high].T, x, out=result[low:high])

"""Schedule of a compiled loop: the rows it visits as a table of numbers, the threads that share them, and their arrays.

A sequence of T steps is a table of rows, as in ``numpy/schedule.py``: S = T * N of them, or packed.  The states of all
steps are in one table (S + N, R): those after each step, in row order, and the N initial ones where the visits begin,
so before them or, if the last step is visited first, behind them.  With equal lengths the states *before* the steps are
then rows of the same table too, one operand for the weight gradient; packed ones have to be gathered.

A thread takes some sequences of the batch through the whole time.  Threads share no state, so none waits for another.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ....backend import aligned_empty
from ....backend.cpu.blas import multiplies_unpacked
from ....backend.memory import CACHE_LINE
from ....typing import Array
from .. import threads
from ..threads import share, threads_for

__all__ = ["AFTER", "BEFORE", "COUNT", "NEAR", "OLD", "ROW", "Division", "Visits", "plain", "room"]

# arrays as compiled code wants them -----------------------------------------------------------------------------------


def plain(a: Array) -> Array:
    """``a``, contiguous and writable: for every other kind of array the loops would be compiled again."""
    flags = a.flags
    return a if flags.c_contiguous and flags.writeable else a.copy()


def room(rows: int, width: int, like: Array) -> Array:
    """An array (rows, width or more), not filled.

    It has a cache line more in each row if rows would begin a multiple of 1 KiB apart, for those map to the same
    cache sets.
    """
    size = like.itemsize
    return aligned_empty((rows, width + (CACHE_LINE // size if width * size % 1024 == 0 else 0)), like)


# visits ---------------------------------------------------------------------------------------------------------------

ROW, COUNT, AFTER, BEFORE, OLD = range(5)
"""Columns of a table of visits: the first row of the step and how many it has; in the table of states, the first of
those after the visit and of those after the visit before it; how many of these it goes on with.  Sequences beyond
that many start from their initial states."""


def _values_and_initial(rows: int, batch: int, reverse: bool) -> tuple[int, int]:
    return (0, rows) if reverse else (batch, 0)


def _table(steps: int, batch: int, sizes: tuple[int, ...] | None, reverse: bool) -> tuple[Array, int]:
    """The table of visits, and S."""
    table = np.zeros((steps, 5), np.int64)
    if sizes is None:
        counts: Any = batch  # of every step
        rows = steps * batch
        starts = np.arange(0, rows, batch) if rows else np.zeros(steps, np.int64)
    else:
        counts = np.array(sizes, np.int64)
        starts = counts.cumsum() - counts
        rows = int(counts.sum())
    if reverse:
        starts = starts[::-1]
        counts = counts if sizes is None else counts[::-1]
    table[:, ROW] = starts
    table[:, COUNT] = counts
    table[:, AFTER] = starts + _values_and_initial(rows, batch, reverse)[0]
    table[1:, BEFORE] = table[:-1, AFTER]
    table[1:, OLD] = batch if sizes is None else np.minimum(counts[1:], counts[:-1])
    return table, rows


class Visits:
    """The visits of one direction over one sequence; cached, so not to be changed.

    Args:
        steps: T.
        batch: N.
        sizes: sequences that still run at each step, never rising; None if all N run to the end.
        reverse: visit the last step first.

    Attributes:
        table: (T, 5) in the order of the visits.
        rows: S.
        values, initial: where the states after the steps, and the initial ones, are in the table of states.

    >>> visits = Visits(2, 3, (3, 1), True)
    >>> visits.table[:, COUNT], visits.table[:, OLD]
    (array([1, 3]), array([0, 1]))
    """

    def __init__(self, steps: int, batch: int, sizes: tuple[int, ...] | None, reverse: bool) -> None:
        self.steps = steps
        self.batch, self.sizes, self.reverse = batch, sizes, reverse
        self.table, self.rows = _table(steps, batch, sizes, reverse)
        self.values, self.initial = _values_and_initial(self.rows, batch, reverse)
        self._last = int(self.table[-1, AFTER]) if steps else self.initial

    @classmethod
    def of(cls, x: Array, batch: int, sizes: Sequence[int] | None, reverse: bool) -> Visits:
        """Those for the input ``x``, (T, N, I) or packed (S, I)."""
        if sizes is None:
            return _visits(x.shape[0], batch, None, reverse)
        return _visits(len(sizes), batch, tuple(sizes), reverse)

    def in_rows(self, a: Array) -> Array:
        """``a`` (T, N, K) or packed (S, K) as (S, K), for compiled code."""
        return plain(a.reshape(self.rows, a.shape[-1]))

    def in_rows_or_one(self, a: Array) -> Array:
        """The same, or one row (1, K) that stands for all: the gradient of a sum over them is one number repeated."""
        # a broadcast row, as the gradient of a sum is: compiled code reads it once instead of S copies
        if self.rows and not any(a.strides[:-1]):
            return plain(a[(0,) * (a.ndim - 1)].reshape(1, -1))
        return self.in_rows(a)

    def room(self, initial: Array) -> Array:
        """A table of states (S + N, R) that has its initial ones."""
        table = aligned_empty((self.rows + self.batch, initial.shape[1]), initial)
        table[self.initial : self.initial + self.batch] = initial
        return table

    def after(self, states: Array) -> Array:
        """(S, R): the states after every step, a view."""
        return states[self.values : self.values + self.rows]

    def before(self, states: Array) -> Array:
        """(S, R): the states before every step."""
        # equal lengths: the states before the steps are a slice of the table
        if self.sizes is None:
            return states[self.batch :] if self.reverse else states[: self.rows]
        # packed: a sequence that begins at this visit (reversed) starts from its initial state
        result = np.empty((self.rows, states.shape[1]), states.dtype)
        for row, count, _, old, olds in self.table.tolist():
            result[row : row + olds] = states[old : old + olds]
            result[row + olds : row + count] = states[self.initial + olds : self.initial + count]
        return result

    def final(self, states: Array) -> Array:
        """(N, R): the state after the last visit of each sequence, an array of its own."""
        if self.sizes is None:
            return states[self._last : self._last + self.batch].copy()
        result = states[self.initial : self.initial + self.batch].copy()
        # from the last visit back: a sequence's final state is at the last visit that still has it
        done = 0
        visits = self.table if self.reverse else self.table[::-1]
        for _, count, after, _, _ in visits[-1:] if self.reverse else visits.tolist():
            result[done:count] = states[after + done : after + count]
            done = max(done, count)
        return result

    def shares(self, threads: int) -> list[tuple[int, int]]:
        """The batch in parts of about the same number of rows, one per thread, as (first, last + 1)."""
        parts = max(min(threads, self.batch), 1)
        if parts == 1:
            return [(0, self.batch)]
        if self.sizes is None:
            cuts = [self.batch * k // parts for k in range(parts + 1)]
        else:
            lengths = (self.table[:, COUNT] > np.arange(self.batch)[:, None]).sum(axis=1)
            cuts = [0, *np.searchsorted(lengths.cumsum(), [self.rows * k / parts for k in range(1, parts)]), self.batch]
        return [(int(low), int(high)) for low, high in itertools.pairwise(cuts) if low < high]


@functools.lru_cache(maxsize=16)
def _visits(steps: int, batch: int, sizes: tuple[int, ...] | None, reverse: bool) -> Visits:
    """Cached: a layer needs the same ones in every call."""
    return Visits(steps, batch, sizes, reverse)


# division among threads -----------------------------------------------------------------------------------------------

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
        work = visits.rows * (w_ih.size + w_hh.size)
        count = threads_for(work) if work >= 2 * threads.WORTHWHILE else 1  # most layers are small
        # a product before the loop would be the same one, with one more call
        if visits.steps == 1 and multiplies_unpacked():
            return _division(visits, count, 0)
        # the input weight stays in the cache beside the recurrent one
        if w_ih.nbytes <= NEAR:
            return _division(visits, count, ROWS_OF_A_STEP)
        return _division(visits, count, ROWS_WHERE_FAR if multiplies_unpacked() else sys.maxsize)

    def run(self, loop: Callable[..., object], ranges: Sequence[tuple[int, ...]], *arguments: Any) -> None:
        """``loop(*range, *arguments)`` for each of ``ranges``, ``batch`` or ``numbered``, in a thread of its own."""
        if self.threads == 1 and ranges and multiplies_unpacked():
            loop(*ranges[0], *arguments)  # small products are their caller's, however many threads BLAS has
        else:
            share(loop, ranges, *arguments)


@functools.lru_cache(maxsize=16)
def _division(visits: Visits, count: int, least: int) -> Division:
    """Cached: a layer needs the same one in every call.  ``least``: rows of a step that make it step by step."""
    batch = visits.shares(count)
    numbered = [(low, high, number) for number, (low, high) in enumerate(batch)]
    return Division(count, batch, numbered, visits.batch // len(batch) >= least)

"""Data of a compiled cell: its products, the kernels of its steps, and the names of the arrays that these take.

Forward, at each visit, for each segment of the step: the products that the segment begins with, then its kernel.
Backward the same from the last visit to the first.  Who does it is ``step_loops.py``; where a kernel takes a whole
sequence instead (``whole_sequences.py``), it fills the same arrays.

**Arrays by name.**  S rows of a sequence, N sequences:

============= ================ =====================================================================================
``p0``        (S, K) or (N, K) product 0; of x, which is multiplied before the loop, with S rows
``vector0``   (W,)             vector 0
``x``         (S, I)
``mask0``     (S, W) or (N, W) mask 0: those of the steps come first
``s0``        (S, H_0)         state 0 before each step; (2 N, H_0) where no one reads it later
``f0``        (N, H_0)         state 0 after the last step of each sequence
``y0``        (S, H_0)         state 0 after each step
``out0``      (S, W)           emitted value 0; ``dout0``: its cotangent
``kept``      (S, columns)     what the way back reads
``e0``        (S, K)           the operand of product 0, which kernels compute
``d0``        (2 N, H_0)       the cotangent of state 0 after a step: of this visit and of the one before, in turns
``df0``       (N, H_0)         that of the final state; ``di0``: of the initial one; ``dy0`` (S, H_0): of all steps
``z0``        (S, columns)     cotangents of products, table 0
``b0``        (N, K)           the cotangent of the operand of product 0, where a kernel reads it
``totals``    (N, columns)     sums over steps, for the gradients of vectors
``sums``      (N, columns)     sums over units, for later segments of the same step
``dx``        (S, I)
============= ================ =====================================================================================

A kernel never writes where another thread of the same launch reads: a state is read in the rows of this visit and
written to those of the next.  So a unit may read any other one.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

from ....backend.gpu.kernels import Launch
from ....typing import Array
from .cells import joined

__all__ = ["BACKWARD", "FORWARD", "Carry", "Part", "Product", "StepKernel", "Steps", "Summed"]

THREADS = 256
ROOM = 32  # numbers of shared memory for sums over a row: one for each warp that a block can have

FORWARD = ("row", "count", "state_row", "next_row", "next_count", "kept_row")
BACKWARD = ("row", "count", "next_count", "before_count", "here", "there")
"""What each launch is told, in this order.

Forward: the first row of this visit and how many sequences run, the row of their states, the row of those of the next
visit and how many sequences run there, and the row of what is kept.  Backward: how many sequences run at the visit
after this one, and at the one before it, and the rows of the cotangents of states, of this visit and of the one before.
"""


@dataclass(frozen=True)
class StepKernel:
    """One kernel of a cell.

    Attributes:
        name: of the function.
        pointers: the arrays that it takes, by name.
        widths, numbers: what the text leaves open, the last arguments.
        span: how many units there are in a row.
        by_rows: a block for each row, since there are sums over the row; else a thread for each unit.
    """

    name: str
    pointers: tuple[str, ...]
    widths: tuple[int, ...]
    numbers: tuple[float, ...]
    span: int
    by_rows: bool

    def launch(self, dtype: Any) -> Launch:
        """How its blocks are launched."""
        if not self.by_rows:
            return Launch(THREADS)
        threads = 32
        while threads < min(self.span, THREADS):
            threads *= 2
        return Launch(threads, ROOM * dtype.itemsize)

    def blocks(self, count: int) -> int:
        """For so many rows."""
        return count if self.by_rows else -(-count * self.span // THREADS)


class Part(NamedTuple):
    """A part of a matrix: W[lo:hi] (K, width), or transposed, as in ``linear``, W[:, lo:hi] (width, K)."""

    matrix: int
    transposed: bool
    lo: int
    hi: int
    width: int

    def whole(self, w: Array) -> bool:
        """Whether it is all of the matrix."""
        return bool(self.hi - self.lo == w.shape[1 if self.transposed else 0])

    def of(self, w: Array) -> Array:
        """The part, a view."""
        return w[:, self.lo : self.hi] if self.transposed else w[self.lo : self.hi]


@dataclass(frozen=True)
class Product:
    """Products of one operand, which are done as one.

    Attributes:
        source: the name of the operand.
        inner: K, its columns.
        segment: which segment of the step it comes before.
        parts: of matrices, side by side.
        live: those of them that have a gradient.
        table: of cotangents, which has the columns of ``live``; None if no gradient reaches it.
        asked: kernels of the way back read the cotangent of the operand.
        ready: the segment of the way back after which its own cotangent is known.
    """

    source: str
    inner: int
    segment: int
    parts: tuple[Part, ...]
    live: tuple[Part, ...]
    table: int | None
    asked: bool = False
    ready: int = 0

    @property
    def width(self) -> int:
        """The columns of its result."""
        return sum(part.width for part in self.parts)


class Carry(NamedTuple):
    """The cotangent of a state before the step, or of x: what a kernel stores, and products that are added to it."""

    stored: bool
    products: tuple[int, ...]


class Summed(NamedTuple):
    """Where the gradient of a part of a vector is: ``table`` of cotangents, or None for ``totals``, from ``column``."""

    vector: int
    first: int
    size: int
    table: int | None
    column: int


@dataclass(frozen=True)
class Steps:
    """A cell, step by step; see the names above.

    Attributes:
        text: of all kernels.
        widths: H_k of the states.
        products: in the order in which they are done.
        forward: the kernel of each segment; None where there is nothing to do.
        backward: the same of the way back.
        carries: of each state.
        of_x: of x; None if x has no gradient.
        dz_columns: of each table of cotangents.
        columns: of what is kept; ``kept_always``: kernels read it on the way forward too.
        after: the states other than 0 that the way back reads after the steps.
        step_masks: how many of the masks have a row for each step.
        emitted: the widths of what a step gives beside its states.
        total_columns, sum_columns: of ``totals`` and ``sums``.
        summed: gradients of vectors.
    """

    text: str
    widths: tuple[int, ...]
    products: tuple[Product, ...]
    forward: tuple[StepKernel | None, ...]
    backward: tuple[StepKernel | None, ...]
    carries: tuple[Carry, ...]
    of_x: Carry | None
    dz_columns: tuple[int, ...]
    columns: int
    kept_always: bool
    after: tuple[int, ...]
    step_masks: int
    emitted: tuple[int, ...]
    total_columns: int
    sum_columns: int
    summed: tuple[Summed, ...]
    matrices: int

    @functools.cached_property
    def source(self) -> str:
        """What is compiled; option ``-DREAL=``.  One object, by which compiled kernels are looked up at every call."""
        return joined("numbers", "functions", "row_sums") + self.text

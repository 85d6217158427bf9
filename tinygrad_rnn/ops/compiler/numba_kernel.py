"""Kernels of a program, compiled by Numba: called like those that are written by hand.

What is the same for all cells is here: the visits of a sequence, its tables, the weights in strips, the products
before and after the loop, and the gradients of the weights, each one product over all steps:

    dW = sum over steps of dZ^T A = dz^T table

The loops themselves come from :mod:`.numba_text`.  What does not change from call to call is found once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...backend import aligned_empty
from ...errors import ArgumentError
from ...kernels.recurrent.interface import Cotangents, Gradients, Needs, Options
from ...kernels.recurrent.interface import Run as Result
from ...kernels.recurrent.numba import products, schedule
from ...typing import Array
from .generated_modules import load
from .numba_layout import Piece, Run
from .numba_text import Generated, generate
from .program import Program

__all__ = ["CellKernel", "Residual"]


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    visits: schedule.Visits
    division: schedule.Division
    gates: Array  # (S, columns): slots, and what is kept
    states: tuple[Array, ...]  # (S + N, H_k) each: the tables of states
    operands: dict[int, Array]  # by group, the computed operands of products
    vectors: Array


class Part(NamedTuple):
    """Rows of the weight of a run: those of a matrix or of its transpose, and of these the columns lo to hi."""

    matrix: int
    transposed: bool  # as in ``linear``: the rows are those of the matrix itself
    first: int
    last: int
    lo: int
    hi: int

    def of(self, matrices: Sequence[Array | None]) -> Array | None:
        """The rows, a view (M, K)."""
        w = matrices[self.matrix]
        if w is None:
            return None
        _, transposed, first, last, lo, hi = self
        return w[first:last, lo:hi] if transposed else w[lo:hi, first:last].T


class Job(NamedTuple):
    """A product that gives gradients of weights: of columns of dz with a table."""

    source: str
    start: int
    columns: int
    parts: list[Part]
    alone: bool  # the rows are of one matrix, which has no other gradient


class CellKernel:
    """The kernel of a program; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`.

    The module imports Numba, as those of the kernels that are written by hand do.

    The weights of a call are the matrices of the program's prelude, then its vectors, (W,) each.

    Raises:
        Unknown: an operation that has no form in compiled code.
    """

    def __init__(self, program: Program, generated: Generated | None = None) -> None:
        self.program = program
        self.text = text = generated or generate(program)
        self.module = load(text.text)
        self._forward_parts = [self._parts(run.pieces) for run in text.runs]
        self._of_x = [i for i, run in enumerate(text.runs) if run.source == "x"]
        self._before_loop = [run.source == "x" and not run.add for run in text.runs]
        self._x_parts = [self._parts(run.pieces) for run in text.x_runs]
        self._largest = [self._largest_run(text.runs, is_x) for is_x in (True, False)]
        self._back_parts = [self._parts(run.pieces) for _, run in (*text.state_runs, *text.adjoint_runs)]
        adjoints = dict.fromkeys(number for number, _ in text.adjoint_runs)
        self._buffers = [program.products[number].operand_blocks[-1][1] for number in adjoints]
        self._jobs = self._found_jobs()
        # biases of the same length, which are the sum of whole vectors
        sizes = {text.vector_columns}
        sizes |= {size for _, v, _, count in text.biases for size in (count, program.vectors[v].width)}
        self._summed = [v for _, v, _, _ in text.biases] if len(sizes) == 1 else []
        self._totals: list[list[tuple[int, int, int]]] = [[] for _ in program.vectors]
        for v, first, count, at in text.totals:
            pieces = self._totals[v]
            if pieces and pieces[-1][0] + pieces[-1][1] == first and pieces[-1][2] + pieces[-1][1] == at:
                first, count, at = pieces[-1][0], pieces[-1][1] + count, pieces[-1][2]
                pieces.pop()
            pieces.append((first, count, at))
        self._sizes: dict[str, tuple[Array, Array, Array, Array]] = {}

    # found once --------------------------------------------------------------------------------------------------

    def _parts(self, pieces: Iterable[Piece]) -> list[Part]:
        """The rows of the weight of a run: neighbours in one matrix are one part."""
        found: list[Part] = []
        for number, first, last in pieces:
            p = self.program.products[number]
            part = Part(p.weight, p.transposed, first, last, *p.part)
            if found and found[-1]._replace(first=0, last=0) == part._replace(first=0, last=0):
                if found[-1].last == first:
                    part = found.pop()._replace(last=last)
            found.append(part)
        return found

    def _found_jobs(self) -> list[Job]:
        """The runs of the forward pass, without columns that no gradient reaches."""
        slots = self.program.slots
        reached = {(number, lo): slot.gradient is not None for slot in slots for number, lo in slot.products}
        found: list[tuple[str, int, list[Piece]]] = []
        for run in self.text.runs:
            at, follows = run.start, False
            for piece in run.pieces:
                if reached[piece.product, piece.lo]:
                    if not follows:
                        found.append((run.source, at, []))
                    found[-1][2].append(piece)
                follows = reached[piece.product, piece.lo]
                at += piece.hi - piece.lo
        parts = [self._parts(pieces) for _, _, pieces in found]
        uses = [part.matrix for ps in parts for part in ps]
        jobs = []
        for (source, start, pieces), ps in zip(found, parts, strict=True):
            alone = len(ps) == 1 and ps[0].transposed and uses.count(ps[0].matrix) == 1
            jobs.append(Job(source, start, sum(piece.hi - piece.lo for piece in pieces), ps, alone))
        return jobs

    def _largest_run(self, runs: Sequence[Run], is_x: bool) -> int | None:
        """The run with the most multiplications, of x or of all others: what the division of the work looks at."""
        of = {
            sum(run.widths) * self.program.products[run.pieces[0].product].operand_blocks[-1][1]: i
            for i, run in enumerate(runs)
            if (run.source == "x") == is_x
        }
        return of[max(of)] if of else None

    def _sizes_of(self, dtype: Any) -> tuple[Array, Array, Array, Array]:
        """What the text leaves open, as arrays: forward, and backward."""
        found = self._sizes.get(dtype.char)  # a dtype takes longer to look up
        if found is None:
            one, other = self.text.forward, self.text.backward
            widths = [np.array(sizes.widths, np.int64) for sizes in (one, other)]
            numbers = [np.array(sizes.numbers, dtype) for sizes in (one, other)]
            found = widths[0], numbers[0], widths[1], numbers[1]
            self._sizes[dtype.char] = found
        return found

    # at every call -----------------------------------------------------------------------------------------------

    def _split(self, weights: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        count = len(self.program.prelude.matrices)
        return weights[:count], weights[count:]

    def _packed(self, vectors: Sequence[Array], dtype: Any) -> Array:
        """The columns of ``vectors`` as the text has them."""
        if self._summed:
            first, *others = [vectors[v] for v in self._summed]
            for other in others:
                first = first + other
            return schedule.plain(first)
        packed = np.zeros(self.text.vector_columns, dtype)
        for at, v, first_entry, count in self.text.biases:
            packed[at : at + count] += vectors[v][first_entry : first_entry + count]
        return packed

    def _masks(self, visits: schedule.Visits, options: Options, dtype: Any) -> list[Array]:
        """The masks of a call as compiled code wants them.

        Raises:
            ArgumentError: they are not those that the cell was compiled for.
        """
        program = self.program
        asked, given = (*program.step_masks, *program.sequence_masks), (*options.step_masks, *options.sequence_masks)
        if len(options.step_masks) != len(program.step_masks) or len(asked) != len(given):
            raise ArgumentError(
                f"the cell has {len(program.step_masks)} masks of a step and {len(program.sequence_masks)} of a "
                f"sequence, got {len(options.step_masks)} and {len(options.sequence_masks)}"
            )
        found = []
        for k, (mask, a) in enumerate(zip(asked, given, strict=True)):
            rows = visits.rows if k < len(program.step_masks) else visits.batch
            kind = np.dtype(bool) if mask.boolean else dtype
            if a.dtype != kind or a.shape[-1] != mask.width or a.size != rows * mask.width:
                raise ArgumentError(
                    f"mask {k} must have {rows} rows of {mask.width} columns, and be {kind}; got {a.dtype} {a.shape}"
                )
            found.append(schedule.plain(a.reshape(rows, mask.width)))
        return found

    def forward(self, x: Array, states: tuple[Array, ...], weights: tuple[Array, ...], options: Options) -> Result:
        """One direction; the series are the first state, or with ``cells`` each, and then what is emitted."""
        text, dtype = self.text, x.dtype
        matrices, vectors = self._split(weights)
        visits = schedule.Visits.of(x, len(states[0]), options.sizes, options.reverse)
        in_loop: list[Any] = [_joined(parts, matrices) for parts in self._forward_parts]
        nothing = schedule.given(None, 2, dtype)
        division = schedule.Division.of(visits, *[nothing if i is None else in_loop[i] for i in self._largest])
        rows_x = visits.in_rows(x)
        tables = tuple([visits.room(s) for s in states])
        gates = schedule.room(visits.rows, text.columns, x)
        operands = {k: aligned_empty((visits.rows, width), x) for k, width in text.tables.items()}
        emitted = [aligned_empty((visits.rows, blocks[-1][1]), x) for blocks in self.program.emitted_blocks]
        # many rows per product: one large product before the loop is faster
        if not division.step_by_step:
            for i in self._of_x:
                w = in_loop[i]
                if self._before_loop[i]:
                    products.times_weight(division, rows_x, 0, w, gates, text.runs[i].start, transposed=True)
                    in_loop[i] = None
        strips = products.strips(division, *in_loop, transposed=True)
        packed = self._packed(vectors, dtype)
        widths, numbers, _, _ = self._sizes_of(dtype)
        division.run(
            self.module.forward,
            division.numbered,
            products.gemm_address(dtype),
            visits.table,
            visits.initial,
            rows_x,
            *self._masks(visits, options, dtype),
            *[schedule.given(w, 1, dtype) for w in strips],
            packed,
            gates,
            np.empty((len(division.batch), text.scratch), dtype) if text.scratch else nothing,
            *operands.values(),
            *emitted,
            *tables,
            widths,
            numbers,
        )
        given = [*[visits.after(t) for t in (tables if options.cells else tables[:1])], *emitted]
        series = tuple([table.reshape(*x.shape[:-1], table.shape[1]) for table in given])
        residual = Residual(visits, division, gates, tables, operands, packed) if options.save else None
        return Result(series, tuple([visits.final(t) for t in tables]), residual)

    def backward(
        self,
        x: Array,
        states: tuple[Array, ...],
        weights: tuple[Array, ...],
        options: Options,
        residual: Residual,
        cotangents: Cotangents,
        needs: Needs,
    ) -> Gradients:
        """Its gradients; those of the weights in the order of the weights."""
        text, dtype = self.text, x.dtype
        matrices, vectors = self._split(weights)
        visits, division, gates, tables, _, packed = residual
        rows_x = visits.in_rows(x)
        nothing = schedule.given(None, 2, dtype)
        dys = [nothing if g is None else visits.in_rows_or_one(g) for g in cotangents.series]
        count = len(tables) if options.cells else 1
        of_emitted = [
            np.zeros((1, blocks[-1][1]), dtype) if g is nothing else g
            for g, blocks in zip(dys[count:], self.program.emitted_blocks, strict=True)
        ]
        dys = [*dys[:count], *[nothing] * (len(tables) - count), *of_emitted]
        ds = [
            np.zeros(s.shape, dtype) if g is None else g.copy() for s, g in zip(states, cotangents.states, strict=True)
        ]
        dz = schedule.room(visits.rows, text.slot_columns, x)
        totals = np.zeros((len(division.batch), text.total_columns), dtype)
        # the cotangent of x: in the loop, or by one product after it
        dx = aligned_empty((visits.rows, x.shape[-1]), x) if needs.x else None
        of_x: list[Array | None] = [None] * len(text.x_runs)
        late = False
        if dx is not None:
            of_x = [_joined(parts, matrices) for parts in self._x_parts]
            late = not division.step_by_step and len(of_x) == 1 and not text.writes_dx
            if not of_x and not text.writes_dx:
                dx[:] = 0
        strips = products.strips(
            division, *([None] if late else of_x), *[_joined(parts, matrices) for parts in self._back_parts]
        )
        _, _, widths, numbers = self._sizes_of(dtype)
        division.run(
            self.module.backward,
            division.numbered,
            products.gemm_address(dtype),
            visits.table,
            visits.initial,
            rows_x,
            *self._masks(visits, options, dtype),
            packed,
            gates,
            np.empty((len(division.batch), text.scratch), dtype) if text.scratch else nothing,
            *[schedule.given(w, 1, dtype) for w in strips],
            *dys,
            dz,
            totals,
            schedule.given(dx, 2, dtype),
            *[np.empty((len(states[0]), width), dtype) for width in self._buffers],
            *tables,
            *ds,
            widths,
            numbers,
        )
        if dx is not None and late and of_x[0] is not None:
            products.times_weight(division, dz, text.x_runs[0].start, of_x[0], dx, 0)
        of_matrices = self._of_matrices(rows_x, residual, dz, matrices, needs.weights[: len(matrices)])
        total = totals[0] if len(totals) == 1 else totals.sum(axis=0)
        of_vectors = self._of_vectors(total, vectors, needs.weights[len(matrices) :])
        return Gradients(
            None if dx is None else dx.reshape(x.shape),
            tuple([d if wanted else None for d, wanted in zip(ds, needs.states, strict=True)]),
            (*of_matrices, *of_vectors),
        )

    def _of_matrices(
        self, rows_x: Array, residual: Residual, dz: Array, matrices: Sequence[Array], needs: Sequence[bool]
    ) -> list[Array | None]:
        """The gradients of the weights."""
        visits, division, _, states, operands, _ = residual
        found: list[Array | None] = [None] * len(matrices)
        tables: dict[str, Array] = {"x": rows_x, **{f"e{k}": table for k, table in operands.items()}}
        work, later = [], []
        for source, start, columns, parts, alone in self._jobs:
            if not any(needs[part.matrix] for part in parts):
                continue
            table = tables.get(source)
            if table is None:
                table = tables[source] = visits.before(states[int(source[1:])])
            shape = columns, table.shape[1]
            w = matrices[parts[0].matrix]
            result = aligned_empty(shape, w)
            if alone and w.shape == shape:
                found[parts[0].matrix] = result
            else:
                later.append((parts, result))
            work.append((dz, start, table, result))
        if work:
            products.weight_gradients(division, *work)
        for k, wanted in enumerate(needs):
            if wanted and found[k] is None:
                found[k] = np.zeros(matrices[k].shape, dz.dtype)
        for parts, result in later:
            at = 0
            for part in parts:
                count = part.last - part.first
                rows = part.of(found)
                if rows is not None:
                    rows += result[at : at + count]
                at += count
        return found

    def _of_vectors(self, total: Array, vectors: Sequence[Array], needs: Sequence[bool]) -> list[Array | None]:
        """The gradients of the vectors, from the sums over all rows."""
        found: list[Array | None] = []
        for pieces, v, wanted in zip(self._totals, vectors, needs, strict=True):
            if not wanted:
                found.append(None)
            elif len(pieces) == 1 and pieces[0][1] == v.size:
                found.append(total[pieces[0][2] : pieces[0][2] + v.size].copy())
            else:
                d = np.zeros(v.shape, total.dtype)
                for first, count, at in pieces:
                    d[first : first + count] += total[at : at + count]
                found.append(d)
        return found


def _joined(parts: Sequence[Part], matrices: Sequence[Array]) -> Array:
    """The weight of a run (M, K)."""
    if len(parts) == 1:
        matrix, transposed, first, last, lo, hi = parts[0]
        w = matrices[matrix]
        if transposed:
            return w if w.shape == (last - first, hi - lo) else w[first:last, lo:hi]
        return w[lo:hi, first:last].T
    joined: Array = np.concatenate([part.of(matrices) for part in parts])
    return joined

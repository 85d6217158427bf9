"""Kernels of a program, compiled by Numba: called like those that are written by hand.

What is the same for all cells is here: the visits of a sequence, its tables, the weights in strips, the products
before and after the loop, and the gradients of the weights, each one product over all steps:

    dW = sum over steps of dZ^T A = dz^T table

The loops themselves come from :mod:`.numba_text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...backend import aligned_empty
from ...kernels.recurrent.interface import Cotangents, Gradients, Needs, Options
from ...kernels.recurrent.interface import Run as Result
from ...kernels.recurrent.numba import products, schedule
from ...typing import Array
from .generated_modules import load
from .numba_layout import Piece, Run
from .numba_text import generate
from .program import Program

__all__ = ["CellKernel", "Residual"]


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    visits: Any
    division: Any
    gates: Array  # (S, columns): slots, and what is kept
    states: tuple[Array, ...]  # (S + N, H_k) each: the tables of states
    operands: dict[int, Array]  # by group, the computed operands of products
    vectors: Array


class CellKernel:
    """The kernel of a program; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`.

    The module imports Numba, as those of the kernels that are written by hand do.

    The weights of a call are the matrices of the program's prelude, then its vectors, (W,) each.

    Raises:
        Unknown: an operation that has no form in compiled code.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.text = generate(program)
        self.module = load(self.text.text)
        self._numbers: dict[tuple[Any, bool], tuple[Array, Array]] = {}

    def _sizes(self, dtype: Any, back: bool) -> tuple[Array, Array]:
        """What the text leaves open, as arrays."""
        found = self._numbers.get((dtype, back))
        if found is None:
            sizes = self.text.backward if back else self.text.forward
            found = np.array(sizes.widths, np.int64), np.array(sizes.numbers, dtype)
            self._numbers[dtype, back] = found
        return found

    def _rows_of(self, run: Run, matrices: Sequence[Array]) -> Array:
        """The weight of a run (M, K): a row for each column of its result."""
        pieces: list[Array] = []
        for piece in run.pieces:
            p = self.program.products[piece.product]
            w, (lo, hi) = matrices[p.weight], p.part
            if p.transposed:
                pieces.append(w[piece.lo : piece.hi, lo:hi])
            else:
                pieces.append(w[lo:hi, piece.lo : piece.hi].T)
        return _joined(pieces)

    def _vectors(self, vectors: Sequence[Array], dtype: Any) -> Array:
        packed = np.zeros(self.text.vector_columns, dtype)
        for at, v, first, count in self.text.biases:
            packed[at : at + count] += vectors[v].reshape(-1)[first : first + count]
        return packed

    def forward(self, x: Array, states: tuple[Array, ...], weights: tuple[Array, ...], options: Options) -> Result:
        """One direction; the series are the states after every step, of the first state alone but for ``cells``."""
        text = self.text
        matrices, vectors = self._split(weights)
        dtype = x.dtype
        visits = schedule.Visits.of(x, len(states[0]), options.sizes, options.reverse)
        of_runs = [self._rows_of(run, matrices) for run in text.runs]
        division = self._division(visits, of_runs, dtype)
        rows_x = visits.in_rows(x)
        tables = tuple([visits.room(s) for s in states])
        gates = schedule.room(visits.rows, text.columns, x)
        operands = {k: aligned_empty((visits.rows, width), x) for k, width in text.tables.items()}
        # many rows per product: one large product before the loop is faster
        early = [run.source == "x" and not run.add and not division.step_by_step for run in text.runs]
        for run, w, is_early in zip(text.runs, of_runs, early, strict=True):
            if is_early:
                products.times_weight(division, rows_x, 0, w, gates, run.start, transposed=True)
        in_loop = [None if is_early else w for w, is_early in zip(of_runs, early, strict=True)]
        strips = products.strips(division, *in_loop, transposed=True)
        packed = self._vectors(vectors, dtype)
        division.run(
            self.module.forward,
            division.numbered,
            products.gemm_address(dtype),
            visits.table,
            visits.initial,
            rows_x,
            *[schedule.given(w, 1, dtype) for w in strips],
            packed,
            gates,
            np.empty((len(division.batch), text.scratch), dtype),
            *operands.values(),
            *tables,
            *self._sizes(dtype, False),
        )
        given = tables if options.cells else tables[:1]
        series = tuple([visits.after(t).reshape(*x.shape[:-1], t.shape[1]) for t in given])
        residual = Residual(visits, division, gates, tables, operands, packed) if options.save else None
        return Result(series, tuple([visits.final(t) for t in tables]), residual)

    def _split(self, weights: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        count = len(self.program.prelude.matrices)
        return weights[:count], weights[count:]

    def _division(self, visits: Any, of_runs: Sequence[Array], dtype: Any) -> Any:
        nothing = schedule.given(None, 2, dtype)
        of_x = [w for run, w in zip(self.text.runs, of_runs, strict=True) if run.source == "x"]
        others = [w for run, w in zip(self.text.runs, of_runs, strict=True) if run.source != "x"]
        size = lambda w: w.size  # noqa: E731
        return schedule.Division.of(
            visits, max(of_x, key=size, default=nothing), max(others, key=size, default=nothing)
        )

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
        text, program = self.text, self.program
        matrices, vectors = self._split(weights)
        visits, division, gates, tables, _operands, packed = residual
        dtype = x.dtype
        rows_x = visits.in_rows(x)
        series = [*cotangents.series, *[None] * (len(tables) - len(cotangents.series))]
        dys = [schedule.given(None if g is None else visits.in_rows_or_one(g), 2, dtype) for g in series]
        ds = [
            np.zeros(s.shape, dtype) if g is None else g.copy() for s, g in zip(states, cotangents.states, strict=True)
        ]
        dz = schedule.room(visits.rows, text.slot_columns, x)
        totals = np.zeros((len(division.batch), text.total_columns), dtype)
        dx = aligned_empty((visits.rows, x.shape[-1]), x) if needs.x else None
        of_x = [self._rows_of(run, matrices) for run in text.x_runs] if dx is not None else []
        late = dx is not None and not division.step_by_step and len(of_x) == 1 and not text.writes_dx
        if dx is not None and not of_x and not text.writes_dx:
            dx[:] = 0
        in_loop: list[Array | None] = [None] * len(text.x_runs) if late or dx is None else [*of_x]
        in_loop += [self._rows_of(run, matrices) for _, run in (*text.state_runs, *text.adjoint_runs)]
        strips = products.strips(division, *[None if w is None else schedule.plain(w) for w in in_loop])
        adjoints = dict(text.adjoint_runs)
        buffers = [
            np.empty((len(states[0]), program.products[number].operand_blocks[-1][1]), dtype) for number in adjoints
        ]
        division.run(
            self.module.backward,
            division.numbered,
            products.gemm_address(dtype),
            visits.table,
            visits.initial,
            rows_x,
            packed,
            gates,
            np.empty((len(division.batch), text.scratch), dtype),
            *[schedule.given(w, 1, dtype) for w in strips],
            *dys,
            dz,
            totals,
            schedule.given(dx, 2, dtype),
            *buffers,
            *tables,
            *ds,
            *self._sizes(dtype, True),
        )
        if dx is not None and late:
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
        """The gradients of the weights: one product for each run whose columns have a gradient."""
        visits, division, _, tables, operands, _ = residual
        found: list[Array | None] = [None] * len(matrices)
        before: dict[str, Array] = {"x": rows_x, **{f"e{k}": table for k, table in operands.items()}}
        jobs, after = [], []
        for source, start, pieces in self._gradient_runs():
            if not any(needs[self.program.products[piece.product].weight] for piece in pieces):
                continue
            if source not in before:
                before[source] = visits.before(tables[int(source[1:])])
            table = before[source]
            p, columns = self.program.products[pieces[0].product], sum(piece.hi - piece.lo for piece in pieces)
            w = matrices[p.weight]
            whole = {piece.product for piece in pieces} == {p.number} and w.shape == (columns, table.shape[1])
            if p.transposed and whole and found[p.weight] is None and self._once(p.weight):
                found[p.weight] = result = aligned_empty(w.shape, w)
            else:
                result = np.empty((columns, table.shape[1]), w.dtype)
                after.append((pieces, result))
            jobs.append((dz, start, table, result))
        if jobs:
            products.weight_gradients(division, *jobs)
        for k, (w, wanted) in enumerate(zip(matrices, needs, strict=True)):
            if wanted and found[k] is None:
                found[k] = np.zeros(w.shape, w.dtype)
        for pieces, result in after:
            at = 0
            for piece in pieces:
                p, count = self.program.products[piece.product], piece.hi - piece.lo
                total, (lo, hi) = found[p.weight], p.part
                if total is not None:
                    if p.transposed:
                        total[piece.lo : piece.hi, lo:hi] += result[at : at + count]
                    else:
                        total[lo:hi, piece.lo : piece.hi] += result[at : at + count].T
                at += count
        return [d if wanted else None for d, wanted in zip(found, needs, strict=True)]

    def _once(self, weight: int) -> bool:
        return sum(p.weight == weight for p in self.program.products) == 1

    def _gradient_runs(self) -> list[tuple[str, int, list[Piece]]]:
        """Of the runs of the forward pass the parts that have a gradient: (source, first column of dz, pieces)."""
        found: list[tuple[str, int, list[Piece]]] = []
        with_gradient = {
            (number, lo): slot.gradient is not None for slot in self.program.slots for number, lo in slot.products
        }
        for run in self.text.runs:
            at, open_ = run.start, False
            for piece in run.pieces:
                if with_gradient[piece.product, piece.lo]:
                    if not open_:
                        found.append((run.source, at, []))
                    found[-1][2].append(piece)
                open_ = with_gradient[piece.product, piece.lo]
                at += piece.hi - piece.lo
        return found

    def _of_vectors(self, total: Array, vectors: Sequence[Array], needs: Sequence[bool]) -> list[Array | None]:
        found = [np.zeros(v.shape, v.dtype) if wanted else None for v, wanted in zip(vectors, needs, strict=True)]
        for v, first, count, at in self.text.totals:
            d = found[v]
            if d is not None:
                d.reshape(-1)[first : first + count] += total[at : at + count]
        return found


def _joined(pieces: list[Array]) -> Array:
    """Rows of one array, where the pieces follow each other in it; else a new one."""
    if len(pieces) == 1:
        return pieces[0]
    first, base = pieces[0], pieces[0].base
    width = first.shape[1] if first.ndim == 2 else 0
    if base is not None and all(p.base is base and p.strides == first.strides for p in pieces):
        row, at = first.strides[0], first.__array_interface__["data"][0]
        for p in pieces:
            if p.__array_interface__["data"][0] != at or p.shape[1] != width:
                return np.concatenate(pieces)
            at += row * len(p)
        whole: Array = np.lib.stride_tricks.as_strided(first, (sum(len(p) for p in pieces), width), first.strides)
        return whole
    return np.concatenate(pieces)

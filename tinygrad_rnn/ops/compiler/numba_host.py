"""Text of the host side of compiled kernels: what is done in Python before and after a loop over the visits.

A step of a small layer takes a microsecond, and so does an array: at (T, N, H) = (32, 8, 32) a driver for all cells,
with its lists and dictionaries of arrays, took 40 us of an LSTM's 300.  So the driver of a cell is text as well, beside
its loops, and as straight as if it were written by hand.  What it does is the same for all:

* forward: the tables, the sums of biases, the weights in strips, the product with x before the loop if that is faster;
* backward: the same weights the other way, and afterwards the gradients of the weights, each one product over all
  steps, ``dW = sum over steps of dZ^T A = dz^T table``.

Names: those of :mod:`.host_text`; ``s0`` are tables of states; others are those of the loops, which :mod:`.numba_text`
explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .arrangement import Block, Part
from .host_text import Generated, HostText, Sum, in_tuple, names_of
from .numba_layout import Piece, Run, printable
from .numba_text import Loops, loops_of
from .program import Program
from .unit_loops import Function, Table
from .units import Unknown

__all__ = ["generate"]

HEAD = '''"""Kernels of a cell with {names}.

Written by tinygrad_rnn.ops.compiler; changes are lost.
"""

import math

import numpy as np

from tinygrad_rnn.backend import aligned_empty
from tinygrad_rnn.kernels.recurrent.interface import Gradients, Run
from tinygrad_rnn.kernels.recurrent.numba import products
from tinygrad_rnn.kernels.recurrent.numba.activations import exp, expm1, sigmoid, tanh
from tinygrad_rnn.kernels.recurrent.numba.jit import compiled_apart
from tinygrad_rnn.kernels.recurrent.numba.products import multiply, strips, times_weight, weight_gradients
from tinygrad_rnn.kernels.recurrent.numba.rows import plus, row_max
from tinygrad_rnn.kernels.recurrent.numba.schedule import (
    AFTER, BEFORE, COUNT, OLD, ROW, Division, Visits, plain, room
)
'''


ARRAYS = "widths, numbers, nothing, no_rows = cell.arrays(dtype)"


def generate(program: Program) -> Generated:
    """The text of a program's kernels.

    Raises:
        Unknown: an operation that has no form in compiled code, or no columns.
    """
    if min(program.input_size, *program.widths) < 1:  # loops count on one unit at least
        raise Unknown("x and every state must have a column at least")
    loops = loops_of(program)
    host = _Host(program, loops)
    forward, backward = host.forward(), host.backward()
    names = ", ".join([name for name in program.prelude.parameters if printable(name)]) or "no parameters"
    blocks = [loops.forward, loops.backward, forward, backward]
    if host.restorable:
        blocks.append(host.restore())
    text = "\n\n\n".join([HEAD.format(names=names).rstrip(), *["\n".join(lines) for lines in blocks]]) + "\n"
    return Generated(text, loops.sizes.widths, tuple(loops.sizes.numbers), host.restorable)


class _Job(NamedTuple):
    """A product that gives gradients of weights: of columns of dz with a table."""

    source: str
    start: int
    parts: list[Part]


class _Host(HostText):
    """The functions of the host side of one program."""

    def __init__(self, program: Program, loops: Loops) -> None:
        self.loops, self.layout = loops, loops.layout
        spans: dict[int, list[Block]] = {}
        for _, v, lo, count in self.layout.biases:
            spans.setdefault(v, []).append((lo, lo + count))
        for total in loops.totals:
            spans.setdefault(total.vector, []).append((total.lo, total.hi))
        super().__init__(program, loops.sizes, spans, "np")
        self.jobs = self._jobs()
        self.operands = self.layout.operand_widths()
        tables = {job.source for job in self.jobs}
        kept = [name for name in loops.takes_backward if name in ("gates", "vectors")]
        kept += [f"e{k}" for k in self.operands if f"e{k}" in tables]
        self.residual = ["visits", "division", *kept, *[f"s{k}" for k in self.states]]
        self.restorable = len(program.widths) == 1 and kept in ([], ["vectors"])

    # weights -----------------------------------------------------------------------------------------------------

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

    def _weight(self, f: Function, run: Run) -> str:
        """The weight of a run (M, K)."""
        parts = [self.rows_of(f, part, f"matrix{part.matrix}") for part in self._parts(run.pieces)]
        return parts[0] if len(parts) == 1 else f"np.concatenate([{', '.join(parts)}])"

    def _jobs(self) -> list[_Job]:
        """The runs of the forward pass, without columns that no gradient reaches."""
        slots = self.program.slots
        reached = {(number, lo): slot.gradient is not None for slot in slots for number, lo in slot.products}
        found: list[tuple[str, int, list[Piece]]] = []
        for run in self.layout.runs:
            at, follows = run.start, False
            for piece in run.pieces:
                if reached[piece.product, piece.lo]:
                    if not follows:
                        found.append((run.source, at, []))
                    found[-1][2].append(piece)
                follows = reached[piece.product, piece.lo]
                at += piece.hi - piece.lo
        return [_Job(source, start, self._parts(pieces)) for source, start, pieces in found]

    def _largest(self, is_x: bool) -> int | None:
        """The run with the most multiplications, of x or of all others: what the division of the work looks at."""
        of = {
            sum(run.widths) * self.layout.operand_width(run.pieces[0].product): i
            for i, run in enumerate(self.layout.runs)
            if (run.source == "x") == is_x
        }
        return of[max(of)] if of else None

    # both functions ----------------------------------------------------------------------------------------------

    def _schedule(self, f: Function) -> list[str]:
        """The visits, and the division among threads."""
        lines = [ARRAYS, "visits = Visits.of(x, len(initial0), options.sizes, options.reverse)"]
        sizes = []
        for is_x in (True, False):
            i = self._largest(is_x)
            sizes.append("no_rows" if i is None else self._weight(f, self.layout.runs[i]))
        return [*lines, f"division = Division.of(visits, {', '.join(sizes)})"]

    def _call(self, name: str, takes: Sequence[str]) -> list[str]:
        """The call of a loop."""
        given = {"gemm": "products.gemm_address(dtype)", "visits": "visits.table", "initial": "visits.initial"}
        given["x"] = "rows"
        return [f"division.run({name}, division.numbered, {', '.join([given.get(a, a) for a in takes])})"]

    def _scratch(self, f: Function, takes: Sequence[str]) -> list[str]:
        widths = {"scratch": [self.loops.scratch], "several": self.loops.several}
        wanted = [name for name in widths if name in takes]
        return [f"{name} = np.empty((len(division.batch), {f.offset(widths[name])}), dtype)" for name in wanted]

    def _masks(self) -> list[str]:
        masks = [f"mask{k}" for k in range(len(self.program.step_masks) + len(self.program.sequence_masks))]
        return [f"{names_of(masks)} = map(plain, cell.masks(visits, options, dtype))"] if masks else []

    def _strips(self, names: Sequence[str], weights: Sequence[str], how: str = "") -> list[str]:
        return [f"{names_of(names)} = strips(division, {', '.join(weights)}{how})"] if names else []

    def _summed(self, f: Function) -> list[str]:
        """The sums of biases, and vectors that are read by themselves, side by side."""
        biases, widths = self.layout.biases, self.layout.vector_widths
        columns = sum(widths)
        if all(count == columns == self.program.vectors[v].width for _, v, _, count in biases):
            names = [f"vector{v}" for _, v, _, _ in biases]
            return [f"vectors = {f'plain({names[0]})' if len(names) == 1 else ' + '.join(names)}"]
        table = Table([(sum(widths[:k]), sum(widths[: k + 1])) for k in range(len(widths))])
        lines = [f"vectors = np.empty({f.total(widths)}, dtype)"]
        filled: set[int] = set()
        for at, v, lo, count in biases:
            to = f"vectors[{self.range_of(f, table, at, at + count)}]"
            entries = self.entries_of(f, v, lo, lo + count)
            here = set(range(at, at + count))
            if not here & filled:
                lines.append(f"{to} = {entries}")
            elif here <= filled:
                lines.append(f"{to} += {entries}")
            else:  # some of them for the second time
                lines[0] = lines[0].replace("np.empty", "np.zeros")
                lines = [line.replace("] = ", "] += ") for line in lines] + [f"{to} += {entries}"]
            filled |= here
        return lines

    # forward -----------------------------------------------------------------------------------------------------

    def forward(self) -> list[str]:
        """The lines of ``run_forward``."""
        program, loops, layout = self.program, self.loops, self.layout
        f, takes = Function(loops.sizes), loops.takes_forward
        body = [*self._schedule(f), "rows = visits.in_rows(x)"]
        body += [f"s{k} = visits.room(initial{k})" for k in self.states]
        if "gates" in takes:
            body.append(f"gates = room(visits.rows, {f.offset(layout.gate_widths)}, rows)")
        body += [f"e{k} = aligned_empty((visits.rows, {f.width(width)}), rows)" for k, width in self.operands.items()]
        for k, blocks in enumerate(program.emitted_blocks):
            body.append(f"y{k} = aligned_empty((visits.rows, {f.width(blocks[-1][1])}), rows)")
        if "vectors" in takes or "vectors" in self.residual:
            body += self._summed(f)
        names = [f"m{i}" for i in range(len(layout.runs))]
        weights = [self._weight(f, run) for run in layout.runs]
        early = [i for i, run in enumerate(layout.runs) if run.source == "x" and not run.add]
        if early:
            body.append("if division.step_by_step:")
            body += ["    " + line for line in self._strips(names, weights, ", transposed=True")]
            body.append("else:  # many rows per product: one large product before the loop is faster")
            for i in early:
                at = f.offset(layout.columns_before(layout.runs[i].start))
                body.append(f"    times_weight(division, rows, 0, {weights[i]}, gates, {at}, transposed=True)")
            body.append(f"    {' = '.join([names[i] for i in early])} = nothing")
            late = [i for i in range(len(names)) if i not in early]
            rest = self._strips([names[i] for i in late], [weights[i] for i in late], ", transposed=True")
            body += ["    " + line for line in rest]
        else:
            body += self._strips(names, weights, ", transposed=True")
        body += [*self._masks(), *self._scratch(f, takes), *self._call("forward", takes)]
        body += self.series([f"visits.after(s{k}).reshape(*x.shape[:-1], initial{k}.shape[1])" for k in self.states])
        body.append(f"residual = {in_tuple(self.residual)} if options.save else None")
        body.append(f"return Run(series, {in_tuple([f'visits.final(s{k})' for k in self.states])}, residual)")
        return self.function(f, "run_forward", "cell, x, states, weights, options", "One direction.", body)

    def restore(self) -> list[str]:
        """The lines of ``run_restore``."""
        f = Function(self.loops.sizes)
        body = [*self._schedule(f), "s0 = visits.room(initial0)", "visits.after(s0)[:] = y.reshape(visits.rows, -1)"]
        if "vectors" in self.residual:
            body += self._summed(f)
        body.append(f"return {in_tuple(self.residual)}")
        doc = "The residual of a run that gave ``y``: its states are all that there is to it."
        return self.function(f, "run_restore", "cell, x, states, weights, options, y", doc, body)

    # backward ----------------------------------------------------------------------------------------------------

    def backward(self) -> list[str]:
        """The lines of ``run_backward``."""
        loops, layout = self.loops, self.layout
        f, takes = Function(loops.sizes), loops.takes_backward
        body = [ARRAYS, *self.wants(), f"{names_of(self.residual)} = residual", *self.cotangents()]
        for k in self.states:
            body.append(f"dy{k} = no_rows if dy{k} is None else visits.in_rows_or_one(dy{k})")
        for k, blocks in enumerate(self.program.emitted_blocks):
            nothing = f"np.zeros((1, {f.width(blocks[-1][1])}), dtype)"
            body.append(f"dy_of{k} = {nothing} if dy_of{k} is None else visits.in_rows_or_one(dy_of{k})")
        if "x" in takes or any(job.source == "x" for job in self.jobs):
            body.append("rows = visits.in_rows(x)")
        if "dz" in takes:
            body.append(f"dz = room(visits.rows, {f.offset([s.width for s in self.program.slots])}, s0)")
        if loops.totals:
            body.append(f"totals = np.zeros((len(division.batch), {f.offset(loops.total_widths)}), dtype)")
        empty = "aligned_empty" if loops.x_runs or loops.writes_dx else "np.zeros"
        like = "s0" if loops.x_runs or loops.writes_dx else "dtype"
        body.append(f"dx = {empty}((visits.rows, x.shape[-1]), {like}) if needs.x else no_rows")
        # the cotangent of x: in the loop, or by one product after it
        of_x = [f"x{i}" for i in range(len(loops.x_runs))]
        of_x_weights = [self._weight(f, run) for run in loops.x_runs]
        others = [f"m{i}" for i in range(len(loops.state_runs))] + [f"a{i}" for i in range(len(loops.adjoint_runs))]
        weights = [self._weight(f, run) for _, run in (*loops.state_runs, *loops.adjoint_runs)]
        late = len(of_x) == 1 and not loops.writes_dx
        if of_x:
            body.append(f"if needs.x{' and division.step_by_step' if late else ''}:")
            both = self._strips([*of_x, *others], [*of_x_weights, *weights])
            rest = [*self._strips(others, weights), f"{' = '.join(of_x)} = nothing"]
            body += [*["    " + line for line in both], "else:", *["    " + line for line in rest]]
        else:
            body += self._strips(others, weights)
        for n in dict.fromkeys(number for number, _ in loops.adjoint_runs):
            body.append(f"b{n} = np.empty((len(initial0), {f.width(layout.operand_width(n))}), dtype)")
        body += [*self._masks(), *self._scratch(f, takes), *self._call("backward", takes)]
        if late:
            body.append("if needs.x and not division.step_by_step:")
            at = f.offset(layout.columns_before(loops.x_runs[0].start))
            body.append(f"    times_weight(division, dz, {at}, {of_x_weights[0]}, dx, 0)")
        body += self._gradients_of_matrices(f)
        if loops.totals:
            body.append("total = totals[0] if len(totals) == 1 else totals.sum(axis=0)")
        sums: dict[int, list[Sum]] = {}
        for total in loops.totals:
            sums.setdefault(total.vector, []).append(Sum(total.lo, total.hi, "total", total.before))
        body += self.gradients_of_vectors(f, sums, {"total": sum(loops.total_widths)})
        body += ["dx = dx.reshape(x.shape) if needs.x else None", self.gradients()]
        arguments = "cell, x, states, weights, options, residual, cotangents, needs"
        return self.function(f, "run_backward", arguments, "Its gradients.", body)

    def _pieces(self, m: int) -> list[Block] | None:
        """The rows of a matrix that are results of products as they are, if these are all of its rows."""
        parts = [part for job in self.jobs for part in job.parts if part.matrix == m]
        alone = all(len(job.parts) == 1 for job in self.jobs if any(part.matrix == m for part in job.parts))
        whole = all(p.transposed and (p.lo, p.hi) == (0, self.axes[m][1].bounds[-1]) for p in parts)
        rows = sorted([(p.first, p.last) for p in parts])
        ends = [0, *[last for _, last in rows]]
        tiled = [first for first, _ in rows] == ends[:-1] and ends[-1] == self.axes[m][0].bounds[-1]
        return rows if parts and alone and whole and tiled else None

    def _gradients_of_matrices(self, f: Function) -> list[str]:
        """Each one product over all steps; those that are no rows of a gradient are added to it afterwards."""
        lines: list[str] = []
        direct = {m for m in self.matrices if self._pieces(m)}
        for m in self.matrices:
            how = f"aligned_empty(matrix{m}.shape, s0)" if m in direct else f"np.zeros(matrix{m}.shape, dtype)"
            lines.append(f"dmatrix{m} = {how} if wants_matrix{m} else None")
        sources: dict[str, list[str]] = {}
        work, later = [], []
        for k, (source, start, parts) in enumerate(self.jobs):
            wanted = [f"wants_matrix{m}" for m in dict.fromkeys(part.matrix for part in parts)]
            sources[source] = list(dict.fromkeys([*sources.get(source, []), *wanted]))
            result = f"dmatrix{parts[0].matrix}"
            if parts[0].matrix in direct:
                rows = self.rows_of(f, parts[0], result)
                result = rows if rows == result else f"{rows} if {wanted[0]} else None"
            else:
                asked = " or ".join(wanted)
                columns, depth = f.offset(self.heights(parts)), self._depth(f, source)
                lines.append(f"product{k} = aligned_empty(({columns}, {depth}), s0) if {asked} else None")
                result = f"product{k}"
                for i, part in enumerate(parts):
                    first, last = (f.offset(self.heights(parts[:j])) for j in (i, i + 1))
                    rows = f"product{k}" if len(parts) == 1 else f"product{k}[{first if i else ''}:{last}]"
                    later += self.added(f, part, rows)
            table = f"before_{source}" if source[0] == "s" else "rows" if source == "x" else source
            work.append(f"(dz, {f.offset(self.layout.columns_before(start))}, {table}, {result})")
        for source, wanted in sources.items():
            if source[0] == "s":  # of packed sequences they have to be gathered
                lines.append(f"before_{source} = visits.before({source}) if {' or '.join(wanted)} else {source}")
        if work:
            lines.append(f"weight_gradients(division, {', '.join(work)})")
        return lines + later

    def _depth(self, f: Function, source: str) -> str:
        """The columns of a table."""
        if source == "x":
            return "x.shape[-1]"
        return f"initial{source[1:]}.shape[1]" if source[0] == "s" else f.width(self.operands[int(source[1:])])

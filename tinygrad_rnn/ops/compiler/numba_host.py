"""Text of the host side of compiled kernels: what is done in Python before and after a loop over the visits.

A step of a small layer takes a microsecond, and so does an array: at (T, N, H) = (32, 8, 32) a driver for all cells,
with its lists and dictionaries of arrays, took 40 us of an LSTM's 300.  So the driver of a cell is text as well, beside
its loops, and as straight as if it were written by hand.  What it does is the same for all:

* forward: the tables, the sums of biases, the weights in strips, the product with x before the loop if that is faster;
* backward: the same weights the other way, and afterwards the gradients of the weights, each one product over all
  steps, ``dW = sum over steps of dZ^T A = dz^T table``.

Names: ``matrix0`` and ``vector0`` are weights, ``initial0`` states before the sequence, ``s0`` their tables; others are
those of the loops, which :mod:`.numba_text` explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .arrangement import Block
from .numba_layout import Piece, Run, printable
from .numba_text import Loops, Total, loops_of
from .program import Program
from .unit_loops import Function, Table
from .units import Unknown

__all__ = ["Generated", "generate"]

HEAD = '''"""Kernels of a cell with {names}.

Written by tinygrad_rnn.ops.compiler; changes are lost.
"""

import math

import numpy as np

from tinygrad_rnn.backend import aligned_empty
from tinygrad_rnn.kernels.recurrent.interface import Gradients, Run
from tinygrad_rnn.kernels.recurrent.numba import products
from tinygrad_rnn.kernels.recurrent.numba.activations import exp, expm1, sigmoid, tanh
from tinygrad_rnn.kernels.recurrent.numba.jit import compiled
from tinygrad_rnn.kernels.recurrent.numba.products import multiply, strips, times_weight, weight_gradients
from tinygrad_rnn.kernels.recurrent.numba.rows import row_max, row_sum
from tinygrad_rnn.kernels.recurrent.numba.schedule import (
    AFTER, BEFORE, COUNT, OLD, ROW, Division, Visits, given, plain, room
)
'''


@dataclass(frozen=True)
class Generated:
    """The text of a program's kernels.

    Attributes:
        text: a module with the functions ``run_forward`` and ``run_backward``, which take what those of a
            :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel` take, after an object with the attribute
            ``widths``, and the methods ``arrays`` and ``masks`` of :class:`.numba_kernel.CellKernel`; and
            ``run_restore`` if ``restorable``.
        widths, numbers: what the text leaves open.
        restorable: the residual follows from the states, and there is one.
    """

    text: str
    widths: tuple[int, ...]
    numbers: tuple[float, ...]
    restorable: bool


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


class _Part(NamedTuple):
    """Rows of the weight of a run: those of a matrix or of its transpose, and of these the columns lo to hi."""

    matrix: int
    transposed: bool  # as in ``linear``: the rows are those of the matrix itself
    first: int
    last: int
    lo: int
    hi: int


class _Job(NamedTuple):
    """A product that gives gradients of weights: of columns of dz with a table."""

    source: str
    start: int
    parts: list[_Part]


def _tuple(values: Iterable[str]) -> str:
    found = list(values)
    return f"({found[0]},)" if len(found) == 1 else f"({', '.join(found)})"


def _names(names: Iterable[str]) -> str:
    """Names that a tuple is unpacked to."""
    found = list(names)
    return f"({found[0]},)" if len(found) == 1 else ", ".join(found)


class _Host:
    """The functions of the host side of one program."""

    def __init__(self, program: Program, loops: Loops) -> None:
        self.program, self.loops, self.layout = program, loops, loops.layout
        self.states = range(len(program.widths))
        self.matrices, self.vectors = range(len(program.prelude.matrices)), range(len(program.vectors))
        self.jobs = self._jobs()
        self.operands = self.layout.operand_widths()
        tables = {job.source for job in self.jobs}
        kept = [name for name in loops.takes_backward if name in ("gates", "vectors")]
        kept += [f"e{k}" for k in self.operands if f"e{k}" in tables]
        self.residual = ["visits", "division", *kept, *[f"s{k}" for k in self.states]]
        self.restorable = len(program.widths) == 1 and kept in ([], ["vectors"])
        self.cuts = [self._cuts_of_vector(v) for v in self.vectors]
        self.axes = [self._axes_of_matrix(m) for m in self.matrices]

    # weights -----------------------------------------------------------------------------------------------------

    def _cuts_of_vector(self, v: int) -> Table:
        """The bounds of its entries that have places of their own."""
        spans = [(lo, lo + count) for _, of, lo, count in self.layout.biases if of == v]
        spans += [(total.lo, total.hi) for total in self.loops.totals if total.vector == v]
        return Table([(0, self.program.vectors[v].width), *spans])

    def _axes_of_matrix(self, m: int) -> tuple[Table, Table]:
        """The same of the axes of a matrix."""
        height, width = (*self.program.prelude.matrices[m].shape, 1)[:2]
        rows, columns = [(0, height)], [(0, width)]
        for p in self.program.products:
            if p.weight == m:
                (rows if p.transposed else columns).extend(p.blocks)
                (columns if p.transposed else rows).append(p.part)
        return Table(rows), Table(columns)

    def _parts(self, pieces: Iterable[Piece]) -> list[_Part]:
        """The rows of the weight of a run: neighbours in one matrix are one part."""
        found: list[_Part] = []
        for number, first, last in pieces:
            p = self.program.products[number]
            part = _Part(p.weight, p.transposed, first, last, *p.part)
            if found and found[-1]._replace(first=0, last=0) == part._replace(first=0, last=0):
                if found[-1].last == first:
                    part = found.pop()._replace(last=last)
            found.append(part)
        return found

    def _range(self, f: Function, table: Table, lo: int, hi: int) -> str:
        """``lo:hi``, shorter where it begins or ends with the table."""
        first = "" if lo == 0 else f.offset(table.before(lo))
        last = "" if hi == table.bounds[-1] else f.offset(table.before(hi))
        return f"{first}:{last}"

    def _of(self, f: Function, part: _Part, array: str) -> str:
        """The rows of ``array``, a matrix or a gradient of it, that are a part (M, K)."""
        rows, columns = self.axes[part.matrix]
        m, k = (part.first, part.last), (part.lo, part.hi)
        above, beside = (m, k) if part.transposed else (k, m)
        cuts = [self._range(f, rows, *above), self._range(f, columns, *beside)]
        if cuts[1] == ":":
            cuts = cuts[:1] if cuts[0] != ":" else []
        return f"{array}[{', '.join(cuts)}]"[: None if cuts else -2] + ("" if part.transposed else ".T")

    def _weight(self, f: Function, run: Run) -> str:
        """The weight of a run (M, K)."""
        parts = [self._of(f, part, f"matrix{part.matrix}") for part in self._parts(run.pieces)]
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

    def _function(self, f: Function, name: str, arguments: str, doc: str, body: list[str]) -> list[str]:
        """The lines of a function, which begins with names for sizes and weights."""
        lines = [f'"""{doc}"""']
        if f.used:
            lines.append(f"{_names([f'w{k}' for k in range(len(self.loops.sizes.names))])} = cell.widths")
        lines += [line.strip() for line in f.named_offsets()]
        weights = [*[f"matrix{k}" for k in self.matrices], *[f"vector{k}" for k in self.vectors]]
        if weights:
            lines.append(f"{_names(weights)} = weights")
        lines += [f"{_names([f'initial{k}' for k in self.states])} = states", "dtype = x.dtype"]
        return [f"def {name}({arguments}):", *["    " + line for line in [*lines, *body]]]

    def _schedule(self, f: Function) -> list[str]:
        """The visits, and the division among threads."""
        lines = ["visits = Visits.of(x, len(initial0), options.sizes, options.reverse)"]
        sizes = []
        for is_x in (True, False):
            i = self._largest(is_x)
            sizes.append("given(None, 2, dtype)" if i is None else self._weight(f, self.layout.runs[i]))
        return [*lines, f"division = Division.of(visits, {', '.join(sizes)})"]

    def _call(self, name: str, takes: Sequence[str]) -> list[str]:
        """The call of a loop."""
        given = {"gemm": "products.gemm_address(dtype)", "visits": "visits.table", "initial": "visits.initial"}
        given["x"] = "rows"
        lines = ["widths, numbers = cell.arrays(dtype)"] if {"widths", "numbers"} & set(takes) else []
        return [*lines, f"division.run({name}, division.numbered, {', '.join([given.get(a, a) for a in takes])})"]

    def _scratch(self, f: Function, takes: Sequence[str]) -> list[str]:
        widths = {"scratch": [self.loops.scratch], "several": self.loops.several}
        wanted = [name for name in widths if name in takes]
        return [f"{name} = np.empty((len(division.batch), {f.offset(widths[name])}), dtype)" for name in wanted]

    def _masks(self) -> list[str]:
        masks = [f"mask{k}" for k in range(len(self.program.step_masks) + len(self.program.sequence_masks))]
        return [f"{_names(masks)} = cell.masks(visits, options, dtype)"] if masks else []

    def _strips(self, names: Sequence[str], weights: Sequence[str], how: str = "") -> list[str]:
        return [f"{_names(names)} = strips(division, {', '.join(weights)}{how})"] if names else []

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
            to = f"vectors[{self._range(f, table, at, at + count)}]"
            entries = f"vector{v}[{self._range(f, self.cuts[v], lo, lo + count)}]".removesuffix("[:]")
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
            body.append(f"    {' = '.join([names[i] for i in early])} = given(None, 1, dtype)")
            late = [i for i in range(len(names)) if i not in early]
            rest = self._strips([names[i] for i in late], [weights[i] for i in late], ", transposed=True")
            body += ["    " + line for line in rest]
        else:
            body += self._strips(names, weights, ", transposed=True")
        body += [*self._masks(), *self._scratch(f, takes), *self._call("forward", takes)]
        after = [f"visits.after(s{k}).reshape(*x.shape[:-1], initial{k}.shape[1])" for k in self.states]
        emitted = [f"y{k}.reshape(*x.shape[:-1], y{k}.shape[1])" for k in range(len(program.emitted))]
        body.append(f"series = {_tuple([after[0], *emitted])}")
        if after[1:]:
            body += ["if options.cells:", f"    series = (series[0], {', '.join(after[1:])}, *series[1:])"]
        body.append(f"residual = {_tuple(self.residual)} if options.save else None")
        body.append(f"return Run(series, {_tuple([f'visits.final(s{k})' for k in self.states])}, residual)")
        return self._function(f, "run_forward", "cell, x, states, weights, options", "One direction.", body)

    def restore(self) -> list[str]:
        """The lines of ``run_restore``."""
        f = Function(self.loops.sizes)
        body = [*self._schedule(f), "s0 = visits.room(initial0)", "visits.after(s0)[:] = y.reshape(visits.rows, -1)"]
        if "vectors" in self.residual:
            body += self._summed(f)
        body.append(f"return {_tuple(self.residual)}")
        doc = "The residual of a run that gave ``y``: its states are all that there is to it."
        return self._function(f, "run_restore", "cell, x, states, weights, options, y", doc, body)

    # backward ----------------------------------------------------------------------------------------------------

    def _cotangents(self, f: Function) -> list[str]:
        """Those of the series and of the final states, as compiled code wants them."""
        series, emitted = [f"dy{k}" for k in self.states], [f"dy_of{k}" for k in range(len(self.program.emitted))]
        if emitted and len(series) > 1:
            more = ", ".join(["None"] * (len(series) - 1))
            given = f"cotangents.series if options.cells else (cotangents.series[0], {more}, *cotangents.series[1:])"
        elif len(series) > 1:
            given = f"(*cotangents.series, {', '.join(['None'] * (len(series) - 1))})[:{len(series)}]"
        else:
            given = "cotangents.series"
        lines = [f"{_names([*series, *emitted])} = {given}"]
        lines += [f"{dy} = given(None, 2, dtype) if {dy} is None else visits.in_rows_or_one({dy})" for dy in series]
        for dy, blocks in zip(emitted, self.program.emitted_blocks, strict=True):
            nothing = f"np.zeros((1, {f.width(blocks[-1][1])}), dtype)"
            lines.append(f"{dy} = {nothing} if {dy} is None else visits.in_rows_or_one({dy})")
        lines.append(f"{_names([f'end{k}' for k in self.states])} = cotangents.states")
        for k in self.states:
            lines.append(f"ds{k} = np.zeros(initial{k}.shape, dtype) if end{k} is None else end{k}.copy()")
        return lines

    def backward(self) -> list[str]:
        """The lines of ``run_backward``."""
        loops, layout = self.loops, self.layout
        f, takes = Function(loops.sizes), loops.takes_backward
        wanted = [*[f"wants_matrix{k}" for k in self.matrices], *[f"wants_vector{k}" for k in self.vectors]]
        body = [f"{_names(wanted)} = needs.weights"] if wanted else []
        body += [f"{_names(self.residual)} = residual", *self._cotangents(f)]
        if "x" in takes or any(job.source == "x" for job in self.jobs):
            body.append("rows = visits.in_rows(x)")
        if "dz" in takes:
            body.append(f"dz = room(visits.rows, {f.offset([s.width for s in self.program.slots])}, s0)")
        if loops.totals:
            body.append(f"totals = np.zeros((len(division.batch), {f.offset(loops.total_widths)}), dtype)")
        empty = "aligned_empty" if loops.x_runs or loops.writes_dx else "np.zeros"
        like = "s0" if loops.x_runs or loops.writes_dx else "dtype"
        body.append(f"dx = {empty}((visits.rows, x.shape[-1]), {like}) if needs.x else given(None, 2, dtype)")
        # the cotangent of x: in the loop, or by one product after it
        of_x = [f"x{i}" for i in range(len(loops.x_runs))]
        of_x_weights = [self._weight(f, run) for run in loops.x_runs]
        others = [f"m{i}" for i in range(len(loops.state_runs))] + [f"a{i}" for i in range(len(loops.adjoint_runs))]
        weights = [self._weight(f, run) for _, run in (*loops.state_runs, *loops.adjoint_runs)]
        late = len(of_x) == 1 and not loops.writes_dx
        if of_x:
            body.append(f"if needs.x{' and division.step_by_step' if late else ''}:")
            both = self._strips([*of_x, *others], [*of_x_weights, *weights])
            rest = [*self._strips(others, weights), f"{' = '.join(of_x)} = given(None, 1, dtype)"]
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
        body += [*self._gradients_of_matrices(f), *self._gradients_of_vectors(f)]
        states = [f"ds{k} if needs.states[{k}] else None" for k in self.states]
        weights = [*[f"dmatrix{k}" for k in self.matrices], *[f"dvector{k}" for k in self.vectors]]
        body.append("dx = dx.reshape(x.shape) if needs.x else None")
        body.append(f"return Gradients(dx, {_tuple(states)}, {_tuple(weights) if weights else '()'})")
        arguments = "cell, x, states, weights, options, residual, cotangents, needs"
        return self._function(f, "run_backward", arguments, "Its gradients.", body)

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
                rows = self._of(f, parts[0], result)
                result = rows if rows == result else f"{rows} if {wanted[0]} else None"
            else:
                asked = " or ".join(wanted)
                columns, depth = f.offset(self._heights(parts)), self._depth(f, source)
                lines.append(f"product{k} = aligned_empty(({columns}, {depth}), s0) if {asked} else None")
                result = f"product{k}"
                later += self._added(f, k, parts)
            table = f"before_{source}" if source[0] == "s" else "rows" if source == "x" else source
            work.append(f"(dz, {f.offset(self.layout.columns_before(start))}, {table}, {result})")
        for source, wanted in sources.items():
            if source[0] == "s":  # of packed sequences they have to be gathered
                lines.append(f"before_{source} = visits.before({source}) if {' or '.join(wanted)} else {source}")
        if work:
            lines.append(f"weight_gradients(division, {', '.join(work)})")
        return lines + later

    def _heights(self, parts: Sequence[_Part]) -> list[int]:
        """The widths that the rows of several parts consist of."""
        found = []
        for part in parts:
            rows, columns = self.axes[part.matrix]
            found += (rows if part.transposed else columns).between(part.first, part.last)
        return found

    def _depth(self, f: Function, source: str) -> str:
        """The columns of a table."""
        if source == "x":
            return "x.shape[-1]"
        return f"initial{source[1:]}.shape[1]" if source[0] == "s" else f.width(self.operands[int(source[1:])])

    def _added(self, f: Function, k: int, parts: Sequence[_Part]) -> list[str]:
        """Statements that add the rows of a product to the gradients that they belong to."""
        lines = []
        for i, part in enumerate(parts):
            before, here = self._heights(parts[:i]), self._heights(parts[: i + 1])
            first, last = f.offset(before), f.offset(here)
            rows = f"product{k}" if len(parts) == 1 else f"product{k}[{first if i else ''}:{last}]"
            to = self._of(f, part._replace(transposed=True), f"dmatrix{part.matrix}") if part.transposed else ""
            if not part.transposed:
                to, rows = self._of(f, part, f"dmatrix{part.matrix}").removesuffix(".T"), f"{rows}.T"
            lines += [f"if wants_matrix{part.matrix}:", f"    {to} += {rows}"]
        return lines

    def _gradients_of_vectors(self, f: Function) -> list[str]:
        """From the sums over all rows."""
        totals, widths = self.loops.totals, self.loops.total_widths
        lines = ["total = totals[0] if len(totals) == 1 else totals.sum(axis=0)"] if totals else []
        given_away = False
        for v, vector in enumerate(self.program.vectors):
            pieces = self._joined([t for t in totals if t.vector == v])
            ends = [0, *[t.hi for t in pieces]]
            whole = bool(pieces) and [t.lo for t in pieces] == ends[:-1] and ends[-1] == vector.width
            entries = [self._entries(f, v, t) for t in pieces]
            if whole and len(pieces) == 1:
                if sum(widths) == vector.width and not given_away:
                    given_away, how = True, "total"
                else:
                    how = f"{entries[0]}.copy()"
            elif whole:
                how = f"np.concatenate([{', '.join(entries)}])"
            else:
                how = f"np.zeros(vector{v}.shape, dtype)"
            lines.append(f"dvector{v} = {how} if wants_vector{v} else None")
            if not whole and pieces:
                lines.append(f"if wants_vector{v}:")
                for t, of in zip(pieces, entries, strict=True):
                    lines.append(f"    dvector{v}[{self._range(f, self.cuts[v], t.lo, t.hi)}] += {of}")
        return lines

    def _joined(self, totals: Sequence[Total]) -> list[Total]:
        """Neighbours in a vector that are neighbours in the sums as well are one."""
        found: list[Total] = []
        for t in sorted(totals, key=lambda t: t.lo):
            if found and found[-1].hi == t.lo and sum(found[-1].before) + found[-1].hi - found[-1].lo == sum(t.before):
                t = found.pop()._replace(hi=t.hi)
            found.append(t)
        return found

    def _entries(self, f: Function, v: int, t: Total) -> str:
        """Where a sum is."""
        first = f.offset(t.before) if t.before else ""
        last = f.offset([*t.before, *self.cuts[v].between(t.lo, t.hi)])
        return f"total[{first}:{last}]" if t.before or t.hi - t.lo < sum(self.loops.total_widths) else "total"

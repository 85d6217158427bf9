"""Text that the hosts of Numba's and of NumPy's kernels share: how they begin, parts of weights, gradients of these.

The host of a cell is what is done in Python before and after its loops, written for that cell alone.

Names: ``matrix0`` and ``vector0`` are weights, ``initial0`` states before the sequence, ``w0`` widths, ``o0`` sums of
these; gradients have a ``d`` before their names, and ``wants_matrix0`` says whether one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from .arrangement import Block, Part
from .program import Program
from .unit_loops import Function, Sizes, Table
from .units import Expr

__all__ = ["Generated", "HostText", "Sum", "in_tuple", "names_of"]


class Generated(NamedTuple):
    """The text of a program's kernels.

    Attributes:
        text: a module with the functions ``run_forward`` and ``run_backward``, which take what those of a
            :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel` take, after a :class:`.text_kernel.CellKernel`;
            and ``run_restore`` if ``restorable``.
        widths, numbers: what the text leaves open.
        restorable: the residual follows from the states, and there is one.
        constants: expressions of vectors alone, which the kernel computes at each call.
        functions: of NumPy's, the phases by name.
    """

    text: str
    widths: tuple[int, ...]
    numbers: tuple[float, ...]
    restorable: bool
    constants: tuple[Expr, ...] = ()
    functions: Mapping[str, Any] = MappingProxyType({})


class Sum(NamedTuple):
    """Entries lo to hi of the gradient of a vector: those of an array that come after others."""

    lo: int
    hi: int
    array: str
    before: list[int]


def in_tuple(values: Iterable[str]) -> str:
    """A tuple of values."""
    found = list(values)
    return f"({found[0]},)" if len(found) == 1 else f"({', '.join(found)})"


def names_of(names: Iterable[str]) -> str:
    """Names that a tuple is unpacked to."""
    found = list(names)
    return f"({found[0]},)" if len(found) == 1 else ", ".join(found)


class HostText:
    """Parts of the host side of one program.

    Args:
        program: of the cell.
        sizes: what the text leaves open.
        spans: by vector, entries of it that have places of their own.
        xp: the name of the array module.

    Attributes:
        states, matrices, vectors: their numbers.
        cuts: by vector, the bounds of those entries.
        axes: by matrix, the bounds of the parts of its rows and columns.
    """

    def __init__(self, program: Program, sizes: Sizes, spans: Mapping[int, Sequence[Block]], xp: str) -> None:
        self.program, self.sizes, self.xp = program, sizes, xp
        self.states = range(len(program.widths))
        self.matrices, self.vectors = range(len(program.prelude.matrices)), range(len(program.vectors))
        self.cuts = [Table([(0, program.vectors[v].width), *spans.get(v, ())]) for v in self.vectors]
        self.axes = [self._axes(m) for m in self.matrices]

    def _axes(self, m: int) -> tuple[Table, Table]:
        height, width = (*self.program.prelude.matrices[m].shape, 1)[:2]
        rows, columns = [(0, height)], [(0, width)]
        for p in self.program.products:
            if p.weight == m:
                (rows if p.transposed else columns).extend(p.blocks)
                (columns if p.transposed else rows).append(p.part)
        return Table(rows), Table(columns)

    def function(self, f: Function, name: str, arguments: str, doc: str, body: list[str]) -> list[str]:
        """The lines of a function, which begins with names for sizes and weights."""
        lines = [f'"""{doc}"""']
        if f.used:
            lines.append(f"{names_of([f'w{k}' for k in range(len(self.sizes.names))])} = cell.widths")
        lines += [line.strip() for line in f.named_offsets()]
        weights = [*[f"matrix{k}" for k in self.matrices], *[f"vector{k}" for k in self.vectors]]
        if weights:
            lines.append(f"{names_of(weights)} = weights")
        lines += [f"{names_of([f'initial{k}' for k in self.states])} = states", "dtype = x.dtype"]
        return [f"def {name}({arguments}):", *["    " + line for line in [*lines, *body]]]

    def wants(self) -> list[str]:
        """Which gradients of weights are wanted."""
        found = [*[f"wants_matrix{k}" for k in self.matrices], *[f"wants_vector{k}" for k in self.vectors]]
        return [f"{names_of(found)} = needs.weights"] if found else []

    def gradients(self) -> str:
        """The end of the function that gives gradients."""
        states = [f"ds{k} if needs.states[{k}] else None" for k in self.states]
        weights = [*[f"dmatrix{k}" for k in self.matrices], *[f"dvector{k}" for k in self.vectors]]
        return f"return Gradients(dx, {in_tuple(states)}, {in_tuple(weights) if weights else '()'})"

    def series(self, after: Sequence[str]) -> list[str]:
        """What is given at every step: the first state, or with ``cells`` all of them, and what is emitted."""
        emitted = [f"y{k}.reshape(*x.shape[:-1], y{k}.shape[1])" for k in range(len(self.program.emitted))]
        lines = [f"series = {in_tuple([after[0], *emitted])}"]
        if after[1:]:
            lines += ["if options.cells:", f"    series = (series[0], {', '.join(after[1:])}, *series[1:])"]
        return lines

    def cotangents(self) -> list[str]:
        """Those of the series and of the final states, and of these what is carried from step to step."""
        series, emitted = [f"dy{k}" for k in self.states], [f"dy_of{k}" for k in range(len(self.program.emitted))]
        if emitted and len(series) > 1:
            more = ", ".join(["None"] * (len(series) - 1))
            given = f"cotangents.series if options.cells else (cotangents.series[0], {more}, *cotangents.series[1:])"
        elif len(series) > 1:
            given = f"(*cotangents.series, {', '.join(['None'] * (len(series) - 1))})[:{len(series)}]"
        else:
            given = "cotangents.series"
        lines = [f"{names_of([*series, *emitted])} = {given}"]
        lines.append(f"{names_of([f'end{k}' for k in self.states])} = cotangents.states")
        for k in self.states:
            lines.append(f"ds{k} = {self.xp}.zeros(initial{k}.shape, dtype) if end{k} is None else end{k}.copy()")
        return lines

    # weights -----------------------------------------------------------------------------------------------------

    def range_of(self, f: Function, table: Table, lo: int, hi: int) -> str:
        """``lo:hi``, shorter where it begins or ends with the table."""
        first = "" if lo == 0 else f.offset(table.before(lo))
        last = "" if hi == table.bounds[-1] else f.offset(table.before(hi))
        return f"{first}:{last}"

    def rows_of(self, f: Function, part: Part, array: str) -> str:
        """The rows of ``array``, a matrix or a gradient of it, that are a part (M, K)."""
        rows, columns = self.axes[part.matrix]
        m, k = (part.first, part.last), (part.lo, part.hi)
        above, beside = (m, k) if part.transposed else (k, m)
        cuts = [self.range_of(f, rows, *above), self.range_of(f, columns, *beside)]
        if cuts[1] == ":":
            cuts = cuts[:1] if cuts[0] != ":" else []
        return f"{array}[{', '.join(cuts)}]"[: None if cuts else -2] + ("" if part.transposed else ".T")

    def entries_of(self, f: Function, v: int, lo: int, hi: int) -> str:
        """Entries of a vector."""
        return f"vector{v}[{self.range_of(f, self.cuts[v], lo, hi)}]".removesuffix("[:]")

    def heights(self, parts: Iterable[Part]) -> list[int]:
        """The widths that the rows of several parts consist of."""
        found = []
        for part in parts:
            rows, columns = self.axes[part.matrix]
            found += (rows if part.transposed else columns).between(part.first, part.last)
        return found

    def added(self, f: Function, part: Part, rows: str) -> list[str]:
        """Statements that add ``rows`` of a product to the gradient that they belong to."""
        to = self.rows_of(f, part, f"dmatrix{part.matrix}")
        if not part.transposed:
            to, rows = to.removesuffix(".T"), f"{rows}.T"
        return [f"if wants_matrix{part.matrix}:", f"    {to} += {rows}"]

    def gradients_of_vectors(
        self, f: Function, sums: Mapping[int, Sequence[Sum]], columns: Mapping[str, int]
    ) -> list[str]:
        """From sums over all rows.

        Args:
            sums: by vector.
            columns: of the arrays that have them.
        """
        lines = []
        given_away: set[str] = set()
        for v, vector in enumerate(self.program.vectors):
            pieces = self._joined(sums.get(v, ()))
            ends = [0, *[s.hi for s in pieces]]
            whole = bool(pieces) and [s.lo for s in pieces] == ends[:-1] and ends[-1] == vector.width
            entries = [self._entries(f, v, s, columns[s.array]) for s in pieces]
            if whole and len(pieces) == 1:
                if entries[0] == pieces[0].array and entries[0] not in given_away:
                    how = entries[0]
                    given_away.add(how)
                else:
                    how = f"{entries[0]}.copy()"
            elif whole:
                how = f"{self.xp}.concatenate([{', '.join(entries)}])"
            else:
                how = f"{self.xp}.zeros(vector{v}.shape, dtype)"
            lines.append(f"dvector{v} = {how} if wants_vector{v} else None")
            if not whole and pieces:
                lines.append(f"if wants_vector{v}:")
                for s, of in zip(pieces, entries, strict=True):
                    lines.append(f"    dvector{v}[{self.range_of(f, self.cuts[v], s.lo, s.hi)}] += {of}")
        return lines

    def _joined(self, sums: Sequence[Sum]) -> list[Sum]:
        """Neighbours in a vector that are neighbours in the sums as well are one."""
        found: list[Sum] = []
        for s in sorted(sums, key=lambda s: s.lo):
            if found and (found[-1].hi, found[-1].array) == (s.lo, s.array):
                if sum(found[-1].before) + found[-1].hi - found[-1].lo == sum(s.before):
                    s = found.pop()._replace(hi=s.hi)
            found.append(s)
        return found

    def _entries(self, f: Function, v: int, s: Sum, columns: int) -> str:
        """Where a sum is."""
        if not s.before and s.hi - s.lo == columns:
            return s.array
        first = f.offset(s.before) if s.before else ""
        return f"{s.array}[{first}:{f.offset([*s.before, *self.cuts[v].between(s.lo, s.hi)])}]"

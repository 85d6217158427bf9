"""Weights of a program as NumPy's kernels multiply with them, and their gradients from dZ.

The gradient of a weight is one product over all rows, ``dW = dZ^T A``, with the table of its operand; a run of blocks
of dZ gives those of all weights of one operand, whose rows are then put where they belong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...kernels.recurrent.numpy.products import bias_gradient, weight_gradient
from ...typing import Array
from .array_statements import Place
from .numpy_layout import BackRun, NumpyLayout, Part
from .numpy_text import Generated
from .numpy_workspace import Workspace
from .program import Program

__all__ = ["Biases", "ParameterGradients", "joined_weight", "rows_of", "weight_of"]


def rows_of(part: Part, matrices: Sequence[Array | None]) -> Array:
    """The rows of a weight that a part is, a view (W, K)."""
    matrix, transposed, first, last, lo, hi = part
    w: Any = matrices[matrix]
    rows: Array = w[first:last, lo:hi] if transposed else w[lo:hi, first:last].T
    return rows


def weight_of(parts: Sequence[Part], matrices: Sequence[Array]) -> Array:
    """The weight of a slot, (W, K)."""
    total = rows_of(parts[0], matrices)
    for part in parts[1:]:
        total = total + rows_of(part, matrices)
    return total


def joined_weight(run: BackRun, matrices: Sequence[Array], xp: Any) -> Array:
    """The weights of a run one below the other, (G * W, K): a view, if they are so in one matrix."""
    if run.side is None:
        joined: Array = xp.concatenate([weight_of(parts, matrices) for parts in run.weights])
        return joined
    return rows_of(run.side, matrices)


class Biases:
    """The sums of the vectors of some slots, scaled as their products are."""

    def __init__(self, layout: NumpyLayout, slots: Sequence[int]) -> None:
        given = [layout.slots[j] for j in slots]
        self.width = given[0].slot.width
        self.vectors = [s.slot.vectors for s in given]
        self.scales = [0.5 if s.halved else 1.0 for s in given]
        self.none = not any(self.vectors)
        # slices of one sum of whole vectors
        alike = len({tuple([v for v, _ in of]) for of in self.vectors}) == 1
        self.alike = alike and all(len({lo for _, lo in of}) == 1 for of in self.vectors)

    def of(self, vectors: Sequence[Array], xp: Any) -> Array | None:
        """(G, 1, W); None if there are none."""
        if self.none:
            return None
        width = self.width
        if self.alike:
            total = vectors[self.vectors[0][0][0]]
            for v, _ in self.vectors[0][1:]:
                total = total + vectors[v]
            if len(self.scales) == 1 and self.scales[0] == 1:
                lo = self.vectors[0][0][1]
                return total[None, None, lo : lo + width]
        out: Array = xp.empty((len(self.scales), 1, width), vectors[0].dtype)
        for place, of, scale in zip(out, self.vectors, self.scales, strict=True):
            if self.alike:
                xp.multiply(total[of[0][1] : of[0][1] + width], scale, out=place[0])
                continue
            place[:] = 0
            for v, lo in of:
                place[0] += vectors[v][lo : lo + width]
            if scale != 1:
                place *= scale
        return out


class Job(NamedTuple):
    """A product that gives gradients of weights: of columns of dZ with a table."""

    source: Place  # the operand
    kind: int
    columns: slice | None  # None: all
    pieces: list[tuple[slice, Part]]  # which rows of the product are the gradient of which rows of a weight
    matrices: list[int]
    whole: bool  # it is the gradient of one matrix, as it is


class Total(NamedTuple):
    """Entries lo to hi of the gradient of a vector: the sums of columns of dZ."""

    kind: int
    lo: int
    hi: int
    columns: slice


class ParameterGradients:
    """The gradients of the matrices and vectors of a program.

    Attributes:
        states: those whose values before each step are read.
        late: the vectors of which something is summed by the text.
    """

    def __init__(self, program: Program, text: Generated) -> None:
        self._layout = layout = text.layout
        self._jobs: list[Job] = []
        users: dict[int, set[int]] = {}
        sizes: dict[int, int] = {}  # of each matrix
        inner: dict[int, int] = {}
        for p in program.products:
            users.setdefault(p.weight, set()).add(p.number)
            inner[p.weight] = max(inner.get(p.weight, 0), p.part[1])
            sizes[p.weight] = inner[p.weight] * p.width
        for group, run in layout.weight_runs():
            width, pieces = layout.classes[run.kind], self._pieces(run)
            start, count = run.first * width, len(run.slots) * width
            every = (start, count) == (0, layout.blocks_b[run.kind] * width)
            part = pieces[0][1]
            whole = len(pieces) == 1 and part.transposed and len(users[part.matrix]) == 1
            whole = whole and (part.last - part.first) * (part.hi - part.lo) == sizes[part.matrix]
            columns = None if every else slice(start, start + count)
            matrices = sorted({part.matrix for _, part in pieces})
            self._jobs.append(Job(layout.source(group), run.kind, columns, pieces, matrices, whole))
        parts = [part for job in self._jobs for _, part in job.pieces]
        shared = {
            a.matrix
            for i, a in enumerate(parts)
            for b in parts[:i]
            if a.matrix == b.matrix and a.first < b.last and b.first < a.last and a.lo < b.hi and b.lo < a.hi
        }
        areas: dict[int, int] = {}
        for part in parts:
            areas[part.matrix] = areas.get(part.matrix, 0) + (part.last - part.first) * (part.hi - part.lo)
        # the matrices of which each entry is written once
        self._covered = {k for k, area in areas.items() if k not in shared and area == sizes[k]}
        self.states = {job.source.which for job in self._jobs if job.source.table == "o"}
        self.late = {v for v, _, _, b in text.totals if b is None}
        self._widths = [v.width for v in program.vectors]
        self._totals: list[list[Total]] = [[] for _ in program.vectors]
        for v, lo, hi, b in text.totals:
            if b is not None:
                self._add_total(self._totals[v], lo, hi, b)
        self._summed = [v not in self.late and sum([t.hi - t.lo for t in ts]) == w for v, (ts, w) in enumerate(
            zip(self._totals, self._widths, strict=True))]  # fmt: skip

    def _pieces(self, run: BackRun) -> list[tuple[slice, Part]]:
        """The rows of a run's product: neighbours in one matrix are one piece."""
        width = self._layout.classes[run.kind]
        pieces: list[tuple[slice, Part]] = []
        for g, parts in enumerate(run.weights):
            rows = slice(g * width, (g + 1) * width)
            for part in parts:
                last = pieces[-1] if pieces else None
                if last is not None and last[0].stop == rows.start and last[1].last == part.first:
                    if last[1]._replace(first=0, last=0) == part._replace(first=0, last=0):
                        pieces[-1] = slice(last[0].start, rows.stop), last[1]._replace(last=part.last)
                        continue
                pieces.append((rows, part))
        return pieces

    def _add_total(self, totals: list[Total], lo: int, hi: int, b: Place) -> None:
        width = self._layout.classes[b.which]
        start, last = b.lo * width, totals[-1] if totals else None
        if last is not None and (last.kind, last.hi, last.columns.stop) == (b.which, lo, start):
            totals[-1] = last._replace(hi=hi, columns=slice(last.columns.start, start + width))
        else:
            totals.append(Total(b.which, lo, hi, slice(start, start + width)))

    def of_matrices(
        self, space: Workspace, dz: dict[int, Array], matrices: Sequence[Array], needs: Sequence[bool]
    ) -> list[Array | None]:
        """Those of the matrices; None for each that is not wanted.

        Args:
            space: of the backward run, with the tables of operands.
            dz: by class, (S, blocks * W).
            matrices: of the prelude.
            needs: which are wanted.
        """
        found: list[Array | None] = [None] * len(matrices)
        for source, kind, columns, pieces, of, whole in self._jobs:
            if not any(needs[k] for k in of):
                continue
            table = (
                space.states[source.which].earlier if source.table == "o" else space.rows[source.table, source.which]
            )
            result = weight_gradient(dz[kind] if columns is None else dz[kind][:, columns], table)
            if whole:
                found[of[0]] = result
                continue
            for rows, part in pieces:
                k = part.matrix
                if not needs[k]:
                    continue
                covered = k in self._covered
                if found[k] is None:
                    found[k] = (space.xp.empty if covered else space.xp.zeros)(matrices[k].shape, result.dtype)
                place = rows_of(part, found)
                if covered:
                    place[...] = result[rows]
                else:
                    place += result[rows]
        for k, wanted in enumerate(needs):
            if wanted and found[k] is None:
                found[k] = space.xp.zeros(matrices[k].shape, space.dtype)
        return found

    def of_vectors(self, space: Workspace, dz: dict[int, Array], needs: Sequence[bool]) -> list[Array | None]:
        """Those of the vectors."""
        sums: dict[int, Array] = {}
        found: list[Array | None] = []
        for v, wanted in enumerate(needs):
            if not wanted:
                found.append(None)
                continue
            summed = self._summed[v]
            d: Array | None = space.given.get(("totals", v))
            if d is None:
                d = (space.xp.empty if summed else space.xp.zeros)(self._widths[v], space.dtype)
            for kind, lo, hi, columns in self._totals[v]:
                if kind not in sums:
                    sums[kind] = bias_gradient(dz[kind])
                if summed:
                    d[lo:hi] = sums[kind][columns]
                else:
                    d[lo:hi] += sums[kind][columns]
            found.append(d)
        return found

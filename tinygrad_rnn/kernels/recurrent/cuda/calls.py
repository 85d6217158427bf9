"""One call of a compiled cell on a GPU: its arrays by name, before the recurrence and after it.

Before it: the arguments, the products with x of all rows, and room for what the recurrence fills (``steps.py`` has the
names).  After it: gradients of weights, each one product over all rows, and of vectors, sums over all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ....backend import array_module
from ....backend.gpu.device_copies import dense
from ....backend.gpu.gemm import multiply, sum_of_rows
from ....typing import Array
from ..interface import Cotangents, Gradients, Needs, Options, Run
from .cells import Cell
from .rows import Rows
from .steps import Part, Product, Steps, Summed

__all__ = ["Call", "Residual", "Weight", "backward_product", "forward_product"]


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    rows: Rows
    arrays: dict[str, Array | None]


class Weight(NamedTuple):
    """The weight of a product as cuBLAS reads it: (width, K), or else (K, width)."""

    array: Array
    transposed: bool

    @classmethod
    def of(cls, xp: Any, parts: Sequence[Part], matrices: Sequence[Array]) -> Weight:
        """Parts side by side; a copy only where there are several, or a part with gaps."""
        if len(parts) == 1:
            (part,) = parts
            w = matrices[part.matrix]
            return cls(dense(xp, w if part.whole(w) else part.of(w)), part.transposed)
        found = [(part, part.of(matrices[part.matrix])) for part in parts]
        # joined in any layout: NumPy keeps that of transposed matrices, CuPy does not
        return cls(dense(xp, xp.concatenate([w if part.transposed else w.T for part, w in found])), True)

    def rows(self, xp: Any) -> Array:
        """As (width, K)."""
        return self.array if self.transposed else dense(xp, self.array.T)


def forward_product(out: Array, a: Array, w: Weight, p: Product, count: int) -> None:
    """The first ``count`` rows of A W."""
    multiply(out, a, w.array, (count, p.width, p.inner), b_across=w.transposed)


def backward_product(out: Array, dz: Array, w: Weight, p: Product, count: int, add: bool) -> None:
    """The first ``count`` rows of dZ W^T."""
    width = sum(part.width for part in p.live)
    multiply(out, dz, w.array, (count, p.inner, width), b_across=not w.transposed, add=add)


class Call:
    """A forward or a backward run.

    Attributes:
        arrays: by name; None for one that is not there.
        weights: of the products, as they are read forward.
    """

    def __init__(
        self,
        steps: Steps,
        x: Array,
        states: Sequence[Array],
        weights: tuple[Array, ...],
        options: Options,
        residual: Residual | None = None,
    ) -> None:
        self.steps, self.states = steps, states
        self.xp, self.dtype, self.shape = array_module(x), x.dtype, x.shape
        self.save, self.cells = options.save, options.cells
        self.matrices, self.vectors = weights[: steps.matrices], weights[steps.matrices :]
        self._back: dict[int, Weight] = {}
        if residual is None:
            sizes, batch = options.sizes, len(states[0])
            self.rows = Rows(x.shape[0] if sizes is None else len(sizes), batch, sizes, options.reverse)
            self.arrays = self._arguments(x, options)
        else:
            self.rows, self.arrays = residual.rows, dict(residual.arrays)

    def room(self, count: int, columns: int) -> Array | None:
        """A table; None if it has no columns."""
        return self.xp.empty((count, columns), self.dtype) if columns else None

    def array(self, name: str) -> Array:
        """One that is there."""
        found = self.arrays[name]
        assert found is not None, name
        return found

    @property
    def most(self) -> int:
        """How many sequences have a step."""
        return self.rows.batch if self.rows.sizes is None else max(self.rows.sizes, default=0)

    # forward -----------------------------------------------------------------------------------------------------

    def _arguments(self, x: Array, options: Options) -> dict[str, Array | None]:
        xp, total = self.xp, self.rows.total
        found: dict[str, Array | None] = {"x": dense(xp, x).reshape(total, x.shape[-1])}
        found |= {f"vector{k}": dense(xp, v) for k, v in enumerate(self.vectors)}
        masks = [m.reshape(total, m.shape[-1]) for m in options.step_masks] + list(options.sequence_masks)
        found |= {f"mask{k}": dense(xp, m.astype(self.dtype, copy=False)) for k, m in enumerate(masks)}
        return found

    def begin(self) -> None:
        """Products with x, and room for the results."""
        steps, arrays, total = self.steps, self.arrays, self.rows.total
        self.weights = [Weight.of(self.xp, p.parts, self.matrices) for p in steps.products]
        for k, (s, width) in enumerate(zip(self.states, steps.widths, strict=True)):
            given = k == 0 or self.cells or (self.save and k in steps.after)
            arrays[f"y{k}"] = self.room(total, width) if given else None
            arrays[f"s{k}"] = self.room(total, width) if self.save else None
            # of sequences without steps the initial state is the final one
            arrays[f"f{k}"] = self.xp.empty(s.shape, self.dtype) if self.most == len(s) else s.copy()
        arrays |= {f"out{k}": self.room(total, width) for k, width in enumerate(steps.emitted)}
        arrays["kept"] = self.room(total, steps.columns) if self.save else None
        for k, p in enumerate(steps.products):
            if p.source == "x":
                arrays[f"p{k}"] = out = self.xp.empty((total, p.width), self.dtype)
                forward_product(out, self.array("x"), self.weights[k], p, total)

    def run(self) -> Run:
        """The results."""
        steps, arrays = self.steps, self.arrays
        states = range(len(steps.widths))
        names = [f"y{k}" for k in states if k == 0 or self.cells] + [f"out{k}" for k in range(len(steps.emitted))]
        series = tuple([self.array(name).reshape(*self.shape[:-1], -1) for name in names])
        finals = tuple([self.array(f"f{k}") for k in states])
        if not self.save:
            return Run(series, finals, None)
        read = {name for k in steps.backward if k is not None for name in k.pointers}
        read |= {p.source for p in steps.products} | {f"vector{k}" for k in range(len(self.vectors))}
        read |= {name for name in arrays if name.startswith("mask")}
        return Run(series, finals, Residual(self.rows, {name: a for name, a in arrays.items() if name in read}))

    def _constants(self) -> tuple[Array | None, ...]:
        """Vectors and masks."""
        masks = sum(name.startswith("mask") for name in self.arrays)
        return (*self._numbered("vector", len(self.vectors)), *self._numbered("mask", masks))

    def _numbered(self, name: str, count: int) -> tuple[Array | None, ...]:
        return tuple([self.arrays[f"{name}{k}"] for k in range(count)])

    def whole_forward(self, cell: Cell) -> tuple[Array | None, ...]:
        """The arguments of a kernel of whole sequences, after the products."""
        count = len(self.steps.widths)
        given = self._numbered("y", count if "-DALL_SERIES=1" in cell.options else 1)
        states = tuple([dense(self.xp, s) for s in self.states])
        tables = (*self._numbered("f", count), *self._numbered("s", count), self.arrays["kept"])
        return (*self._constants(), *states, *given, *tables)

    def whole_backward(self, cell: Cell) -> tuple[Array | None, ...]:
        """The same of the way back; the last three are cotangents of both products, and sums for vectors."""
        count, steps = len(self.steps.widths), self.steps
        was = tuple([self.arrays[f"{kind}{k}"] for kind, k in cell.was])
        given = self._numbered("dy", count if "-DALL_SERIES=1" in cell.options else 1)
        ends = (*self._numbered("df", count), *self._numbered("di", count))
        of = [None if k is None else steps.products[k].table for k in (cell.of_state, cell.of_x)]
        dz = None if of[0] is None else self.array(f"z{of[0]}")
        dz_input = self.array(f"z{of[1]}") if cell.separate_input and of[1] is not None else None
        return (self.arrays.get("kept"), *self._constants(), *was, *given, *ends, dz, dz_input, self.arrays["totals"])

    # backward ----------------------------------------------------------------------------------------------------

    def begin_back(self, cotangents: Cotangents, needs: Needs) -> None:
        """The cotangents of the results, and room for those of the arguments."""
        steps, arrays, xp, batch = self.steps, self.arrays, self.xp, self.rows.batch
        series = [None if g is None else dense(xp, g) for g in cotangents.series]
        own = len(steps.widths) if self.cells else 1
        arrays |= {f"dy{k}": series[k] if k < own and k < len(series) else None for k in range(len(steps.widths))}
        arrays |= {f"dout{k}": series[own + k] if own + k < len(series) else None for k in range(len(steps.emitted))}
        for k, (s, g) in enumerate(zip(self.states, cotangents.states, strict=True)):
            arrays[f"df{k}"] = final = None if g is None else dense(xp, g)
            arrays[f"di{k}"] = start = xp.empty(s.shape, self.dtype)
            if self.most < batch:  # of sequences without steps
                start[self.most :] = 0 if final is None else final[self.most :]
        arrays |= {f"z{t}": self.room(self.rows.total, columns) for t, columns in enumerate(steps.dz_columns)}
        arrays["totals"] = xp.zeros((batch, steps.total_columns), self.dtype) if steps.total_columns else None
        arrays["dx"] = xp.empty(self.shape, self.dtype) if needs.x else None

    def back(self, k: int) -> Weight:
        """The weight of product k, as it is read on the way back."""
        if k not in self._back:
            self._back[k] = Weight.of(self.xp, self.steps.products[k].live, self.matrices)
        return self._back[k]

    def dz(self, k: int, first: int, count: int) -> Array:
        """Rows of the cotangent of product k."""
        return self.array(f"z{self.steps.products[k].table}")[first : first + count]

    def gradients(self, needs: Needs) -> Gradients:
        """The results of the way back; those of the weights in the order of the weights."""
        steps, total = self.steps, self.rows.total
        dx, of_x = self.arrays["dx"], steps.of_x
        if dx is not None:
            if of_x is None or not (of_x.stored or of_x.products):
                dx[...] = 0
            for i, k in enumerate(of_x.products if of_x is not None else ()):
                add = i > 0 or (of_x is not None and of_x.stored)
                backward_product(dx, self.dz(k, 0, total), self.back(k), steps.products[k], total, add)
        starts = tuple([self.arrays[f"di{k}"] if wanted else None for k, wanted in enumerate(needs.states)])
        of_matrices = self._of_matrices(needs.weights[: steps.matrices])
        return Gradients(dx, starts, (*of_matrices, *self._of_vectors(needs.weights[steps.matrices :])))

    def _of_matrices(self, needs: Sequence[bool]) -> list[Array | None]:
        """For each product one product over all rows."""
        xp, matrices, products, total = self.xp, self.matrices, self.steps.products, self.rows.total
        found: list[Array | None] = [None] * len(matrices)
        uses = [part.matrix for p in products for part in p.live]
        later: list[tuple[Product, Array]] = []
        for p in products:
            if p.table is None or not any(needs[part.matrix] for part in p.live):
                continue
            dz, operand, first = self.array(f"z{p.table}"), self.array(p.source), p.live[0]
            width = dz.shape[1]
            alone = len(p.live) == 1 and uses.count(first.matrix) == 1 and first.whole(matrices[first.matrix])
            if alone and not first.transposed:
                out = xp.empty((p.inner, width), self.dtype)
                found[first.matrix] = multiply(out, operand, dz, (p.inner, width, total), a_across=True)
                continue
            out = multiply(xp.empty((width, p.inner), self.dtype), dz, operand, (width, p.inner, total), a_across=True)
            if alone:
                found[first.matrix] = out
            else:
                later.append((p, out))
        for k, wanted in enumerate(needs):
            if wanted and found[k] is None:
                found[k] = xp.zeros(matrices[k].shape, self.dtype)
        for p, result in later:
            at = 0
            for part in p.live:
                whole = found[part.matrix]
                if whole is not None:
                    rows = part.of(whole)
                    rows += result[at : at + part.width] if part.transposed else result[at : at + part.width].T
                at += part.width
        return found

    def _of_vectors(self, needs: Sequence[bool]) -> list[Array | None]:
        """Sums of tables over all rows."""
        vectors = self.vectors
        tables: dict[int | None, list[Summed]] = {}
        for s in self.steps.summed:
            if needs[s.vector]:
                tables.setdefault(s.table, []).append(s)
        found: list[Array | None] = [None] * len(vectors)
        for table, pieces in tables.items():
            every = self.array("totals" if table is None else f"z{table}")
            columns = every.shape[1]
            # vectors that are all of a table get arrays of their own from one product
            alone = [s for s in pieces if s.size == columns == vectors[s.vector].size]
            sums = sum_of_rows(every, (max(1, len(alone)), columns))
            for s in pieces:
                if s in alone:
                    found[s.vector] = sums[alone.index(s)]
                    continue
                whole = found[s.vector]
                if whole is None:
                    whole = found[s.vector] = self.xp.zeros(vectors[s.vector].shape, self.dtype)
                whole[s.first : s.first + s.size] = sums[0, s.column : s.column + s.size]
        for k, wanted in enumerate(needs):
            if wanted and found[k] is None:  # no gradient reaches it
                found[k] = self.xp.zeros(vectors[k].shape, self.dtype)
        return found

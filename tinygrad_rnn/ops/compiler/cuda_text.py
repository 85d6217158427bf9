"""Text of the CUDA kernels of a program, step by step: for each segment of a step a kernel forward, and one back.

Between two products of a step there is work of one unit at a time; a kernel does it for all rows of a visit at once.
Who calls it, with which arrays, is ``kernels/recurrent/cuda/steps.py``, which explains the names of the arrays.

**Threads.**  Where no sum over the units of a row is asked for, each unit of each row has a thread.  Else a row has a
block, whose threads walk over the units together, pass by pass.

**Products** of one operand are done as one, with their weights side by side, for every launch costs some microseconds.
Their results stay apart from each other; sums of products and biases are made where they are read.  Cotangents of
products are in tables, one for each product; those that are the same for two products, as of the LSTM's ``W x`` and
``U h``, are one table.

**What is kept** is what ``Program.kept`` lists, but for a value that ends in a new state (the LSTM's tanh(c')): it is
computed again from what is kept of the same step, since a read from memory would take longer.

**Sizes** are not in the text, as for Numba: cells of other sizes are the same kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ...kernels.recurrent.cuda.steps import BACKWARD, FORWARD, Carry, Part, Product, StepKernel, Steps, Summed
from .cuda_forms import form
from .numba_layout import Layout
from .program import Program
from .unit_loops import Function, Rows, Sizes, Table
from .units import Expr, walk

__all__ = ["Generator", "Kept"]

REDUCTIONS = ("rowsum", "rowmax")


class Kept:
    """What the way back of a program finds: kept values in columns, states, and what follows from these.

    Attributes:
        values: the kept ones, in the order of their columns.
        again: numbers of expressions that are computed again.
        after: numbers of new states that are read from their tables, with (state, first column).
    """

    def __init__(self, program: Program, layout: Layout, reductions: bool = True) -> None:
        self.layout = layout
        sums = [e for e in layout.forward_all if e.op in REDUCTIONS] if reductions else []
        found = {e.number: e for e in [*program.kept, *sums]}
        self.again: set[int] = set()
        self.after: dict[int, tuple[int, int]] = {}
        for number in program.quotients:
            rest = found.keys() - {number}
            if self._follows(found[number], rest):
                del found[number]
        self.values = [found[n] for n in sorted(found)]
        numbers = set(found)
        # new states are computed again if what they are made of is kept, else read from their tables
        read = [e for e in walk(program.backward_roots(), lambda e: e.number in numbers) if e.number in layout.state_at]
        for e in read:
            if e.number in numbers or e.depends > 2:
                continue
            if layout.state_at[e.number][0] == 0 or not self._follows(e, numbers):
                self.after[e.number] = layout.state_at[e.number]

    @staticmethod
    def _follows(e: Expr, kept: Iterable[int]) -> bool:
        """Whether a value can be computed from what is kept and from what is there before the step."""
        kept = set(kept)
        below = walk(e.args, lambda a: a.number in kept)
        return all(a.number in kept or (a.op != "product" and a.op not in REDUCTIONS) for a in below)


class _Text(Rows):
    """The statements of one kernel."""

    statement = "const auto {0} = {1};"

    def __init__(self, load: Callable[[Expr, _Text], str | None], by_rows: bool) -> None:
        self.sizes = Sizes()
        super().__init__(Function(self.sizes), load)
        self.by_rows = by_rows
        self.pointers: dict[str, bool] = {}  # by name, whether it is written to
        self.views: dict[str, str] = {}  # by name of the row of an array, where it is
        self.span = 1

    def array(self, name: str, *, written: bool = False) -> str:
        """An array that the kernel takes."""
        self.pointers[name] = self.pointers.get(name, False) or written
        return name

    def row(self, view: str, where: str, array: str, columns: Sequence[int], *, written: bool = False) -> str:
        """A name for a row of an array."""
        self.array(array, written=written)
        self.views.setdefault(view, f"{array} + ({where}) * {self.f.offset(columns)}")
        return view

    def form(self, op: str, args: Sequence[str]) -> str:
        """An operation of named arguments."""
        return form(op, args)

    def number(self, value: float) -> str:
        """A number: those of two digits as they are, others as arguments, for they may be sizes."""
        if isinstance(value, bool):
            return "true" if value else "false"
        return f"real({value!r})" if value in (0.0, 1.0, 2.0, 0.5, -1.0) else self.f.number(value)

    def for_units(self, width: int, stores: Sequence[tuple[Sequence[Expr], str, str, str]]) -> None:
        """For each of ``width`` units the stores (terms, operator, place, condition)."""
        self.names, self.body = {}, []
        statements = []
        for terms, operator, place, condition in stores:
            text = " + ".join([self.value(e) for e in terms]) or "real(0)"
            statements.append(f"{condition}{place} {operator} {text};")
        if not stores:
            return
        self.open(width)
        self.lines += ["    " + line for line in self.body + statements] + ["}"]

    def open(self, width: int) -> None:
        """The head of a loop over units."""
        self.span = max(self.span, width)
        w = self.f.width(width)
        each = f"for (int u = threadIdx.x; u < {w}; u += blockDim.x) {{" if self.by_rows else f"if (u < {w}) {{"
        self.lines.append(each)

    def reduce(self, e: Expr) -> None:
        """A sum or a maximum over the units of a row."""
        name, total = f"r{e.number}", e.op == "rowsum"
        begin = "real(0)" if total else "-exponential(real(1e4))"  # -inf
        self.lines.append(f"real of_thread{e.number} = {begin};")
        singles = []
        for a in e.args:
            if a.width <= 1:
                singles.append(self.value(a))
                continue
            self.names, self.body = {}, []
            value, own = self.value(a), f"of_thread{e.number}"
            self.open(a.width)
            add = f"{own} += {value};" if total else f"{own} = larger({own}, {value});"
            self.lines += ["    " + line for line in [*self.body, add]] + ["}"]
        function = "row_sum" if total else "row_max"
        text = f"{function}(of_thread{e.number}, room)"
        for single in singles:
            text = f"{text} + {single}" if total else f"larger({text}, {single})"
        self.lines.append(f"const real {name} = {text};")
        self.of_row[e.number] = name

    def finished(self, name: str, where: Sequence[str]) -> tuple[str, StepKernel]:
        """The text of the kernel, and what it is called with."""
        pointers = [f"real* {p}" if w else f"const real* __restrict__ {p}" for p, w in self.pointers.items()]
        span = self.f.width(self.span)
        body = [f"const int {name} = {text};" for text, name in self.f.offsets.items()]
        if self.by_rows:
            body += ["SHARED(base);", "real* const room = (real*)base;", "const int n = blockIdx.x;"]
        else:
            body += ["const int at = blockIdx.x * blockDim.x + threadIdx.x;", f"if (at >= count * {span}) return;"]
            body.append(f"const int n = at / {span}, u = at % {span};")
        body += [f"auto* const {view} = {text};" for view, text in self.views.items()]
        sizes = self.sizes
        arguments = [*pointers, *[f"int {w}" for w in where], *[f"int w{k}" for k in range(len(sizes.widths))]]
        arguments += [f"real c{k}" for k in range(len(sizes.numbers))]
        head = f'extern "C" __global__ void {name}(' + ", ".join(arguments) + ")"
        lines = [head, "{", *["    " + line for line in body + self.lines], "}", ""]
        kernel = StepKernel(name, tuple(self.pointers), sizes.widths, tuple(sizes.numbers), self.span, self.by_rows)
        return "\n".join(lines), kernel


Store = tuple[tuple[Expr, ...], str, str, str, int]  # terms, operator, place, condition, width
Sum = tuple[Expr, int, list[int]]  # what, its width, the widths before it


@dataclass(frozen=True)
class _Group:
    """Products of one operand that are done as one, by number."""

    source: str
    products: tuple[int, ...]


class Generator:
    """All kernels of one program."""

    def __init__(self, program: Program) -> None:
        self.program, self.layout = program, Layout(program)
        spans = zip(self.layout.x_table.bounds, self.layout.x_table.bounds[1:], strict=False)
        self.x_table = Table([*spans, (0, program.input_size)])
        self.masks = [*program.step_masks, *program.sequence_masks]
        every = [*self.layout.forward_all, *walk(program.backward_roots())]

        def spans_of(op: str, of: int) -> list[tuple[int, int]]:
            return [(e.at[1], e.at[1] + max(e.width, 1)) for e in every if e.op == op and e.at[0] == of]

        self.vector_tables = [Table([*spans_of("vector", k), *v.blocks]) for k, v in enumerate(program.vectors)]
        products = enumerate(program.products)
        self.operand_tables = [Table([*spans_of("adjoint", k), *p.operand_blocks]) for k, p in products]
        self.kept = Kept(program, self.layout)
        self.keep(self.kept.values)
        direct = self.layout.direct
        pairs = zip(program.state_gradients, self._state_blocks(), strict=True)
        self.direct = {f"s{k}": direct(g, blocks, f"s{k}") for k, (g, blocks) in enumerate(pairs)}
        self.direct["x"] = direct(program.input_gradient, program.input_blocks, "x")
        self.groups = self._groups()
        self.group_of = {number: k for k, g in enumerate(self.groups) for number in g.products}
        self.tables, self.table_of = self._tables()
        self.dz_of: dict[int, tuple[int, int]] = {}  # by number of an expression: table, place
        for t, table in enumerate(self.tables):
            for k, (e, _) in enumerate(table):
                if e.op != "number":
                    self.dz_of.setdefault(e.number, (t, k))
        self._found_sums = self._find_sums()

    def keep(self, values: list[Expr]) -> None:
        """What is kept, in the order of its columns."""
        self.kept.values = values
        self.kept_widths = [max(e.width, 1) for e in values]
        self.kept_at = {e.number: k for k, e in enumerate(values)}

    def _state_blocks(self) -> list[tuple[tuple[int, int], ...]]:
        p = self.program
        pairs = zip(p.state_gradients, p.state_gradient_blocks, p.new_state_blocks, strict=True)
        return [new if g is None else own for g, own, new in pairs]

    # products ----------------------------------------------------------------------------------------------------

    def _groups(self) -> list[_Group]:
        """The products by operand, but for those whose cotangents are asked for one by one."""
        p, layout = self.program, self.layout
        directly = {n for numbers, _ in self.direct.values() for n in numbers}
        found = []
        order = sorted(range(len(p.groups)), key=lambda k: (layout.segment(k), layout.source(k) != "x", k))
        for k in order:
            numbers = p.groups[k].products
            live = [n for n in numbers if p.products[n].gradient is not None]
            if len(live) < 2 or all(n in directly for n in live):
                found.append(_Group(layout.source(k), numbers))
            else:
                found += [_Group(layout.source(k), (n,)) for n in numbers]
        return found

    def _live(self, group: _Group) -> list[int]:
        return [n for n in group.products if self.program.products[n].gradient is not None]

    def _tables(self) -> tuple[list[list[tuple[Expr, int]]], list[int | None]]:
        """The tables of cotangents, and which one is that of a group."""
        tables: list[list[tuple[Expr, int]]] = []
        table_of: list[int | None] = []
        for group in self.groups:
            columns: list[tuple[Expr, int]] = []
            for n in self._live(group):
                p = self.program.products[n]
                assert p.gradient is not None
                columns += [(e, hi - lo) for e, (lo, hi) in zip(p.gradient, p.blocks, strict=True)]
            if not columns:
                table_of.append(None)
                continue
            same = [t for t, known in enumerate(tables) if known == columns]
            table_of.append(same[0] if same else len(tables))
            if not same:
                tables.append(columns)
        return tables, table_of

    def _products(self, asked: set[int], ready: dict[int, int]) -> tuple[Product, ...]:
        found = []
        for group, table in zip(self.groups, self.table_of, strict=True):
            first = self.program.products[group.products[0]]
            of_group = self.layout.group_of[group.products[0]]
            (number, *_) = group.products

            def part(n: int) -> Part:
                p = self.program.products[n]
                return Part(p.weight, p.transposed, *p.part, p.width)

            found.append(
                Product(
                    source=group.source,
                    inner=first.operand_blocks[-1][1],
                    segment=self.layout.segment(of_group),
                    parts=tuple(map(part, group.products)),
                    live=tuple(map(part, self._live(group))),
                    table=table,
                    asked=any(n in asked for n in group.products),
                    ready=ready.get(number, 0),
                )
            )
        return tuple(found)

    # leaves ------------------------------------------------------------------------------------------------------

    def _leaf(self, e: Expr, t: _Text) -> str | None:
        """What is there before the step."""
        f, layout, program = t.f, self.layout, self.program
        if e.op == "input":
            row = t.row("x_n", "(size_t)row + n", "x", self.x_table.before(program.input_size))
            return f.entry(row, self.x_table.before(e.at[0]), e.width)
        if e.op == "state":
            k, lo = e.at
            row = t.row(f"s{k}_n", "(size_t)row + n", f"s{k}", self._state_columns(k))
            return f.entry(row, layout.state_tables[k].before(lo), e.width)
        if e.op == "mask":
            k, lo = e.at
            of_step = k < len(program.step_masks)
            width, logical = self.masks[k]
            table = Table([(0, width), *[(b, b) for b in layout.mask_tables[k].bounds]])
            row = t.row(f"mask{k}_n", "(size_t)row + n" if of_step else "(size_t)n", f"mask{k}", table.before(width))
            entry = f.entry(row, table.before(lo), e.width)
            return f"({entry} != 0)" if logical else entry
        if e.op == "vector":
            v, lo = e.at
            array = t.array(f"vector{v}")
            return f.entry(array, self.vector_tables[v].before(lo), e.width)
        return None

    def _state_columns(self, k: int) -> list[int]:
        return self.layout.state_tables[k].before(self.program.widths[k])

    def _product_columns(self, group: _Group, n: int | None) -> list[int]:
        """The widths before product n of a group, or of all."""
        widths: list[int] = []
        for number in group.products:
            if number == n:
                break
            widths += [hi - lo for lo, hi in self.program.products[number].blocks]
        return widths

    def _product(self, e: Expr, t: _Text) -> str:
        number, lo = e.at
        k = self.group_of[number]
        group = self.groups[k]
        where = "(size_t)row + n" if group.source == "x" else "(size_t)n"
        row = t.row(f"p{k}_n", where, f"p{k}", self._product_columns(group, None))
        own = [hi - first for first, hi in self.program.products[number].blocks if hi <= lo]
        return t.f.entry(row, [*self._product_columns(group, number), *own], e.width)

    def _kept_entry(self, e: Expr, t: _Text, where: str, *, written: bool = False) -> str:
        row = t.row("kept_n", where, "kept", self.kept_widths, written=written)
        return t.f.entry(row, self.kept_widths[: self.kept_at[e.number]], e.width)

    # forward -----------------------------------------------------------------------------------------------------

    def forward(self) -> tuple[list[str], list[StepKernel | None]]:
        """Text and kernels by segment."""
        p, layout = self.program, self.layout
        stage = layout.stage
        stages = {stage[e.number] for e in [*p.forward_roots(), *self.kept.values]}
        reductions = [e for e in self.kept.values if e.op in REDUCTIONS]
        self.kept_always = len(stages) > 1
        texts: list[str] = []
        kernels: list[StepKernel | None] = []
        last = max([0, *[segment for segment, _ in stages], *map(layout.segment, range(len(p.groups)))])
        for segment in range(last + 1):
            own = [e for e in reductions if stage[e.number][0] == segment]
            done: set[int] = {e.number for e in self.kept.values if stage[e.number][0] < segment}
            stored: dict[int, str] = {}  # new states of earlier passes, with their places

            def load(e: Expr, t: _Text, done: set[int] = done, stored: dict[int, str] = stored) -> str | None:
                if e.number in done:
                    return self._kept_entry(e, t, "(size_t)kept_row + n")
                if e.number in stored:
                    return stored[e.number]
                if e.op == "product":
                    return self._product(e, t)
                found = self._leaf(e, t)
                if e.op == "state":  # of a table of its own rows
                    t.views[f"s{e.at[0]}_n"] = t.views[f"s{e.at[0]}_n"].replace("(size_t)row", "(size_t)state_row")
                return found

            t = _Text(load, bool(own))
            passes = {step for s, step in stages if s == segment} | {stage[e.number][1] - 1 for e in own}
            for step in sorted(passes):
                here = (segment, step)
                stores = self._forward_stores(t, here)
                for width in dict.fromkeys(store[4] for store in stores):
                    t.for_units(width, [store[:4] for store in stores if store[4] == width])
                done |= {e.number for e in self.kept.values if stage[e.number] == here and e.op not in REDUCTIONS}
                for terms, _, place, condition, _ in stores:
                    if not condition and terms[0].number in layout.state_at and terms[0].width > 1:
                        stored.setdefault(terms[0].number, place)
                for e in own:
                    if stage[e.number][1] - 1 == step:
                        t.reduce(e)
                        place = self._kept_entry(e, t, "(size_t)kept_row + n", written=True)
                        t.lines.append(f"if (kept && threadIdx.x == 0) {place} = r{e.number};")
            if t.lines:
                text, kernel = t.finished(f"forward_{segment}", FORWARD)
                texts.append(text)
                kernels.append(kernel)
            else:
                kernels.append(None)
        return texts, kernels

    def _forward_stores(self, t: _Text, here: tuple[int, int]) -> list[Store]:
        p, layout, f = self.program, self.layout, t.f
        stage = layout.stage
        stores: list[Store] = []
        for e in self.kept.values:
            if stage[e.number] == here and e.op not in REDUCTIONS:
                place = self._kept_entry(e, t, "(size_t)kept_row + n", written=True)
                stores.append(((e,), "=", place, "if (kept) ", max(e.width, 1)))
        for k, g in enumerate(p.groups):
            if layout.source(k)[0] == "e":
                first = p.products[g.products[0]]
                table = Table(first.operand_blocks)
                columns = table.before(first.operand_blocks[-1][1])
                for e, (lo, hi) in zip(g.operand, first.operand_blocks, strict=True):
                    if stage[e.number] == here:
                        row = t.row(f"e{k}_n", "(size_t)kept_row + n", f"e{k}", columns, written=True)
                        stores.append(((e,), "=", f.entry(row, table.before(lo), hi - lo), "", hi - lo))
        for k, (exprs, blocks) in enumerate(zip(p.new_states, p.new_state_blocks, strict=True)):
            for e, (lo, hi) in zip(exprs, blocks, strict=True):
                if stage[e.number] != here:
                    continue
                w = self._state_columns(k)
                before = layout.state_tables[k].before(lo)
                t.row(f"s{k}_new", "(size_t)next_row + n", f"s{k}", w, written=True)
                t.array(f"f{k}", written=True)
                size = f.offset(w)
                t.views[f"s{k}_new"] = (
                    f"n < next_count ? s{k} + ((size_t)next_row + n) * {size} : f{k} + (size_t)n * {size}"
                )
                place = f.entry(f"s{k}_new", before, hi - lo)
                stores.append(((e,), "=", place, "", hi - lo))
                row = t.row(f"y{k}_n", "(size_t)row + n", f"y{k}", w, written=True)
                condition = "" if k == 0 else f"if (y{k}) "
                stores.append(((e,), "=", f.entry(row, before, hi - lo), condition, hi - lo))
        for k, (exprs, blocks) in enumerate(zip(p.emitted, p.emitted_blocks, strict=True)):
            for e, (lo, hi) in zip(exprs, blocks, strict=True):
                if stage[e.number] == here:
                    stores.append(((e,), "=", self._emitted(t, "out", k, lo, hi - lo, written=True), "", hi - lo))
        return stores

    def _emitted(self, t: _Text, name: str, k: int, lo: int, width: int, *, written: bool = False) -> str:
        """Columns of an emitted value, or of its cotangent."""
        table = self.layout.emitted_tables[k]
        columns = table.before(self.program.emitted_blocks[k][-1][1])
        row = t.row(f"{name}{k}_n", "(size_t)row + n", f"{name}{k}", columns, written=written)
        return t.f.entry(row, table.before(lo), width)

    # backward ----------------------------------------------------------------------------------------------------

    def backward(self) -> tuple[list[str], list[StepKernel | None]]:
        """The same of the way back; it also finds ``asked``, ``ready``, ``carries``, ``of_x`` and ``summed``."""
        p, layout = self.program, self.layout
        stage = layout.backward_stage
        self.carries, of_states = self._carries()
        numbers, rest = self.direct["x"]
        self.of_x = None if p.input_gradient is None else Carry(any(rest), self._of(numbers))
        dx = list(zip(rest, p.input_blocks, strict=True)) if any(rest) else []
        sums = self.sums()
        dz = [(e, t, k, width) for t, table in enumerate(self.tables) for k, (e, width) in enumerate(table)]
        roots = [*[e for e, _, _, _ in dz], *[e for e, _, _ in sums]]
        roots += [e for terms in [*[of[0] for of in of_states], *rest] for e in terms]
        below = list(walk(roots, lambda e: e.depends < 3))
        self.asked = {e.at[0] for e in below if e.op == "adjoint"}
        products = p.products
        self.ready = {n: max([stage(e)[0] for e in products[n].gradient or ()], default=0) for n in self.asked}
        reductions = [e for e in below if e.op in REDUCTIONS and e.depends == 3]
        self.sum_place = {e.number: k for k, e in enumerate(reductions)}
        last = max([(0, 0), *[stage(e) for e in roots], *[(segment + 1, 0) for segment in self.ready.values()]])
        texts: list[str] = []
        kernels: list[StepKernel | None] = []
        for segment in range(last[0] + 1):
            own = [e for e in reductions if stage(e)[0] == segment]
            done = {n for n, (a, k) in self.dz_of.items() if stage(self.tables[a][k][0])[0] < segment}
            earlier = {e.number for e in reductions if stage(e)[0] < segment}
            t = _Text(functools.partial(self._back_leaf, done, earlier), bool(own))
            passes = {stage(e)[1] for e in roots if stage(e)[0] == segment} | {stage(e)[1] - 1 for e in own}
            passes |= {last[1]} if segment == last[0] else set()
            for step in sorted(passes):
                here = (segment, step)
                stores: list[Store] = []
                for e, number, k, width in dz:
                    if stage(e) == here:
                        stores.append(((e,), "=", self._dz_entry(t, number, k, width, written=True), "", width))
                for e, width, widths in sums:
                    if stage(e) == here:
                        row = t.row("totals_n", "(size_t)n", "totals", self.total_widths, written=True)
                        stores.append(((e,), "+=", t.f.entry(row, widths, width), "", width))
                if here == last:
                    stores += self._carry_stores(t, of_states)
                    for terms, (lo, hi) in dx:
                        columns = self.x_table.before(p.input_size)
                        row = t.row("dx_n", "(size_t)row + n", "dx", columns, written=True)
                        place = t.f.entry(row, self.x_table.before(lo), hi - lo)
                        stores.append((tuple(terms), "=", place, "if (dx) ", hi - lo))
                for width in dict.fromkeys(store[4] for store in stores):
                    t.for_units(width, [store[:4] for store in stores if store[4] == width])
                done |= {n for n, (a, k) in self.dz_of.items() if stage(self.tables[a][k][0]) == here}
                for e in own:
                    if stage(e)[1] - 1 == step:
                        t.reduce(e)
                        row = t.row("sums_n", "(size_t)n", "sums", [1] * len(reductions), written=True)
                        t.lines.append(f"if (threadIdx.x == 0) {row}[{self.sum_place[e.number]}] = r{e.number};")
            if t.lines:
                text, kernel = t.finished(f"backward_{segment}", BACKWARD)
                texts.append(text)
                kernels.append(kernel)
            else:
                kernels.append(None)
        self.sum_columns = len(reductions)
        return texts, kernels

    def _of(self, numbers: Iterable[int]) -> tuple[int, ...]:
        return tuple(sorted({self.group_of[n] for n in numbers}))

    def _carries(self) -> tuple[tuple[Carry, ...], list[tuple[list[Expr], int, int, int]]]:
        """Of each state: what is stored, and what products add to it; the stores (terms, state, lo, hi)."""
        carries, stores = [], []
        for k, blocks in enumerate(self._state_blocks()):
            numbers, rest = self.direct[f"s{k}"]
            stored = any(rest) or not numbers
            carries.append(Carry(stored, self._of(numbers)))
            if stored:
                stores += [(terms, k, lo, hi) for terms, (lo, hi) in zip(rest, blocks, strict=True)]
        return tuple(carries), stores

    def _carry_stores(self, t: _Text, of_states: list[tuple[list[Expr], int, int, int]]) -> list[Store]:
        stores: list[Store] = []
        for terms, k, lo, hi in of_states:
            w = self._state_columns(k)
            t.row(f"d{k}_before", "(size_t)there + n", f"d{k}", w, written=True)
            t.array(f"di{k}", written=True)
            size = t.f.offset(w)
            t.views[f"d{k}_before"] = (
                f"n < before_count ? d{k} + ((size_t)there + n) * {size} : di{k} + (size_t)n * {size}"
            )
            place = t.f.entry(f"d{k}_before", self.layout.state_tables[k].before(lo), hi - lo)
            stores.append((tuple(terms), "=", place, "", hi - lo))
        return stores

    def sums(self) -> list[Sum]:
        """What is added up over the steps for vectors, where it is no column of a table of cotangents."""
        return self._found_sums

    def _find_sums(self) -> list[Sum]:
        sums: list[Sum] = []
        summed: list[Summed] = []
        widths: list[int] = []
        for v, vector in enumerate(self.program.vectors):
            for e, (lo, hi) in zip(vector.gradient or (), vector.blocks, strict=False):
                t, k = self.dz_of.get(e.number, (-1, 0))
                if t >= 0 and self.tables[t][k][1] == hi - lo:
                    summed.append(Summed(v, lo, hi - lo, t, sum(w for _, w in self.tables[t][:k])))
                    continue
                summed.append(Summed(v, lo, hi - lo, None, sum(widths)))
                sums.append((e, hi - lo, list(widths)))
                widths.append(hi - lo)
        self.total_widths = widths
        self.summed = _merged(summed)
        return sums

    def _dz_entry(self, t: _Text, table: int, k: int, width: int, *, written: bool = False) -> str:
        widths = [w for _, w in self.tables[table]]
        row = t.row(f"z{table}_n", "(size_t)row + n", f"z{table}", widths, written=written)
        return t.f.entry(row, widths[:k], width)

    def _back_leaf(self, done: set[int], earlier: set[int], e: Expr, t: _Text) -> str | None:
        f, layout = t.f, self.layout
        if e.number in done:
            table, k = self.dz_of[e.number]
            return self._dz_entry(t, table, k, e.width)
        if e.number in earlier:
            row = t.row("sums_n", "(size_t)n", "sums", [1] * len(self.sum_place), written=True)
            return f"{row}[{self.sum_place[e.number]}]"
        if e.op == "cotangent":
            k, lo = e.at
            w = self._state_columns(k)
            size, before = f.offset(w), layout.state_tables[k].before(lo)
            t.array(f"d{k}", written=True)
            t.array(f"df{k}")
            t.views[f"d{k}_n"] = (
                f"n < next_count ? d{k} + ((size_t)here + n) * {size} : df{k} ? df{k} + (size_t)n * {size} : nullptr"
            )
            own = f"(d{k}_n ? {f.entry(f'd{k}_n', before, e.width)} : real(0))"
            row = t.row(f"dy{k}_n", "(size_t)row + n", f"dy{k}", w)
            return f"{own} + (dy{k} ? {f.entry(row, before, e.width)} : real(0))"
        if e.op == "emitted":
            k, lo = e.at
            return f"(dout{k} ? {self._emitted(t, 'dout', k, lo, e.width)} : real(0))"
        if e.op == "adjoint":
            number, lo = e.at
            k = self.group_of[number]
            blocks = self.program.products[number].operand_blocks
            operand = self.operand_tables[number]
            row = t.row(f"b{k}_n", "(size_t)n", f"b{k}", operand.before(blocks[-1][1]))
            return f.entry(row, operand.before(lo), e.width)
        if e.number in self.kept_at:
            return self._kept_entry(e, t, "(size_t)row + n")
        if e.number in self.kept.after:
            k, lo = self.kept.after[e.number]
            row = t.row(f"y{k}_n", "(size_t)row + n", f"y{k}", self._state_columns(k))
            return f.entry(row, layout.state_tables[k].before(lo), e.width)
        return self._leaf(e, t)

    def steps(self) -> Steps:
        """All of it."""
        forward, forward_kernels = self.forward()
        backward, backward_kernels = self.backward()
        text = "\n".join(['#line 1 "cell"', *forward, *backward])
        return Steps(
            text=text,
            widths=self.program.widths,
            products=self._products(self.asked, self.ready),
            forward=tuple(forward_kernels),
            backward=tuple(backward_kernels),
            carries=self.carries,
            of_x=self.of_x,
            dz_columns=tuple([sum(w for _, w in table) for table in self.tables]),
            columns=sum(self.kept_widths),
            kept_always=self.kept_always,
            step_masks=len(self.program.step_masks),
            emitted=tuple([blocks[-1][1] for blocks in self.program.emitted_blocks]),
            after=tuple(sorted({k for k, _ in self.kept.after.values()} - {0})),
            total_columns=sum(self.total_widths),
            sum_columns=self.sum_columns,
            summed=self.summed,
            matrices=len(self.program.prelude.matrices),
        )


def _merged(summed: Sequence[Summed]) -> tuple[Summed, ...]:
    """Neighbours as one."""
    found: list[Summed] = []
    for s in summed:
        if found:
            before = found[-1]
            next_one = before._replace(
                first=before.first + before.size, size=s.size, column=before.column + before.size
            )
            if s == next_one:
                found[-1] = before._replace(size=before.size + s.size)
                continue
        found.append(s)
    return tuple(found)

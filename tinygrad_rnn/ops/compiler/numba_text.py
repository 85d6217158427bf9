"""Text of the compiled kernels of a program: one loop over the visits of a sequence forward, and one back.

The text is Python for Numba: a visit multiplies the rows of x and of the states by their weights, then walks over the
rows and the units of a row.

**Tables.**  What a step leaves to the backward pass is in one row of ``gates`` for each row of the sequence: first the
slots, which the products fill, then what is kept.  A kept value takes the place of the slot that is read for it
alone, as an LSTM's gates replace their pre-activations.  States before and after every step are in tables of their own,
and so are computed operands of products, which the gradients of the weights read.

**Sizes** are not in the text.  It has a name for each width, ``w0``, and offsets are sums of these.  LLVM is told
that no width is below 1, so that no index is negative, without which it would not vectorise; and cells of other sizes
have the same text, and so the same machine code.

**Loops.**  A loop over units that reads many arrays is not vectorised.  So forward each kept value is computed in a
loop for itself, and read again from the cache of the first level; backward sums over rows get their own loops where
there would be more than ``MOST_STREAMS``.  Sums over the units of a row go through ``scratch``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .numba_layout import Layout, Run
from .program import Program
from .unit_loops import Function, Rows, Sizes, Table
from .units import Expr, walk

__all__ = ["Loops", "Total", "loops_of"]

MOST_STREAMS = 16
"""Places in memory that one loop of the backward pass reads and writes, beyond which it is split."""

LEAST_SHARED = 3
"""Operations of a value that the backward pass of a cell with sums over rows computes once for several loops."""

CONSTANTS = {
    "zero": "kind(0)",
    "minus_zero": "kind(-0.0)",
    "half": "kind(0.5)",
    "one": "kind(1)",
    "two": "kind(2)",
    "least": "kind(1e-38)",
}


class Total(NamedTuple):
    """Where the sum over all rows is that is the gradient of entries lo to hi of a vector."""

    vector: int
    lo: int
    hi: int
    before: list[int]  # the widths before it in a row of ``totals``


@dataclass(frozen=True)
class Loops:
    """The text of a program's loops, and what has to be prepared for them.

    Attributes:
        layout: where values are.
        sizes: what the text leaves open.
        forward, backward: the lines of the functions of these names.
        takes_forward, takes_backward: their arguments after ``low, high, number``: those that they read.
        x_runs, state_runs: runs of the backward pass that give the cotangent of x, and of each state.
        adjoint_runs: those that fill the table of a product's adjoint, by product.
        totals, total_widths: where the sums of vectors' gradients are, and the widths that a row of them consists of.
        scratch: the length of a row of ``scratch``.
        several: the widths that a row of ``several`` consists of: values of the backward pass that several loops read.
        writes_dx: the loop itself writes entries of the cotangent of x, unit by unit.
    """

    layout: Layout
    sizes: Sizes
    forward: list[str]
    backward: list[str]
    takes_forward: list[str]
    takes_backward: list[str]
    x_runs: list[Run]
    state_runs: list[tuple[int, Run]]
    adjoint_runs: list[tuple[int, Run]]
    totals: list[Total]
    total_widths: list[int]
    scratch: int
    several: list[int]
    writes_dx: bool


def loops_of(program: Program) -> Loops:
    """The loops of a program's kernels.

    Raises:
        Unknown: an operation that has no form in compiled code.
    """
    return _Text(program).loops()


def _shared(loops: Sequence[Sequence[Expr]], there: Callable[[Expr], bool]) -> list[Expr]:
    """Values of the backward pass that several loops compute, and that cost more than to be read again.

    Args:
        loops: what each stores.
        there: what is stored anyway.
    """
    counts: Counter[int] = Counter()
    users: dict[int, list[int]] = {}
    every: dict[int, Expr] = {}
    for roots in loops:
        # not below numbers of a row, which are computed once, whatever reads them
        for e in walk(roots, lambda e: there(e) or e.width <= 1):
            counts[e.number] += 1
            every[e.number] = e
    for e in every.values():
        for a in e.args:
            users.setdefault(a.number, []).append(e.number)
    found = []
    costs: dict[int, int] = {}
    for number in sorted(every):  # arguments first
        e = every[number]
        free = not e.args or e.width <= 1 or there(e)
        cost = 0 if free else 1 + sum([costs[a.number] for a in e.args])
        diverges = number not in users or any(counts[u] < counts[number] for u in users[number])
        if e.depends == 3 and cost >= LEAST_SHARED and counts[number] > 1 and diverges:
            found.append(e)
            cost = 0
        costs[number] = cost
    return found


def _streams(roots: Sequence[Expr], stored: Callable[[Expr], bool]) -> int:
    """Places in memory that a loop reads to compute some values; numbers of a row are in registers."""
    below = walk(roots, lambda e: stored(e) or e.width <= 1)
    return sum([e.width > 1 and e.op != "number" and (not e.args or stored(e)) for e in below])


class _Store(NamedTuple):
    """What is stored for each unit: the sum of the terms."""

    terms: tuple[Expr, ...]
    operator: str
    place: str
    width: int


def _parts(stores: Sequence[_Store], stored: Callable[[Expr], bool] | None) -> list[list[_Store]]:
    """Stores in as few loops as have few streams of memory; all in one if nothing tells what is ``stored``."""
    parts: list[list[_Store]] = []
    for store in stores:
        joined = [*parts[-1], store] if parts else [store]
        if stored is not None:
            streams = len(joined) + _streams([e for one in joined for e in one.terms], stored)
            if len(joined) > 1 and streams > MOST_STREAMS:
                joined = [store]
                parts.append([])
        parts[-1:] = [joined]
    return parts


class _Text:
    """Both functions of one program."""

    def __init__(self, program: Program) -> None:
        self.program, self.layout, self.sizes = program, Layout(program), Sizes()
        self.widest = 0

    def _held_entry(self, f: Function, e: Expr) -> str:
        return f.entry("z", self.layout.held_before[e.number], e.width)

    def _leaf(self, f: Function, e: Expr) -> str | None:
        """A leaf that is there before the step."""
        if e.op == "input":
            return f.entry("x_n", self.layout.x_table.before(e.at[0]), e.width)
        if e.op == "state":
            k, lo = e.at
            return f.entry(f"s{k}_old", self.layout.state_tables[k].before(lo), e.width)
        if e.op == "mask":
            k, lo = e.at
            return f.entry(f"mask{k}_n", self.layout.mask_tables[k].before(lo), e.width)
        if e.op == "vector":
            return f.entry("vectors", self.layout.vector_before[e.at], e.width)
        return None

    def _function(
        self, f: Function, name: str, doc: str, order: str, arguments: list[str], body: list[str]
    ) -> tuple[list[str], list[str]]:
        """The lines of a function over the visits, and which of the arguments it reads."""
        names = set(re.findall(r"[a-z_]+[0-9]*", "\n".join([line.partition("#")[0] for line in [*VISIT, *body]])))
        lines = ["    kind = s0.dtype.type"]
        lines += [f"    {c} = {value}" for c, value in CONSTANTS.items() if c in names]
        numbers = [k for k in range(len(self.sizes.numbers)) if f"c{k}" in names]
        lines += [f"    c{k} = numbers[{k}]" for k in numbers]
        lines += ["    total = totals[number]"] * ("total" in names)
        needed = {"s0": True, "widths": bool(f.used), "numbers": bool(numbers), "totals": "total" in names}
        read = [a for a in arguments if needed.get(a, a in names)]
        head = ["@compiled_apart", f"def {name}({', '.join(['low', 'high', 'number', *read])}):", f'    """{doc}"""']
        return [*head, *f.preamble(), *lines, f"    for k in {order}:", *VISIT, *body], read

    def _forward(self) -> tuple[list[str], list[str]]:
        p, layout, f = self.program, self.layout, Function(self.sizes)
        stage = layout.stage
        done: set[int] = set()

        def load(e: Expr, rows: Rows) -> str | None:
            if e.number in done:
                if e.number in layout.held_before:
                    return self._held_entry(f, e)
                k, lo = layout.state_at[e.number]
                return f.entry(f"s{k}_new", layout.state_tables[k].before(lo), e.width)
            if e.number in layout.slot_of:
                j = layout.slot_of[e.number]
                text = f.entry("z", layout.slot_before(j), e.width)
                if j in layout.bias_before:
                    text += " + " + f.entry("vectors", layout.bias_before[j], e.width)
                return text
            return self._leaf(f, e)

        def stored(e: Expr) -> bool:
            return e.number in done or e.number in layout.slot_of

        # what is to be stored: (stage, expression, place, width)
        roots: list[tuple[tuple[int, int], Expr, str, int]] = []
        for k, g in enumerate(p.groups):
            if layout.source(k)[0] == "e":
                first = p.products[g.products[0]]
                table = Table(first.operand_blocks)
                for e, (lo, hi) in zip(g.operand, first.operand_blocks, strict=True):
                    place = f.entry(f"e{k}_n", table.before(lo), hi - lo)
                    roots.append((stage[e.number], e, place, hi - lo))
        for k, (exprs, blocks) in enumerate(zip(p.new_states, p.new_state_blocks, strict=True)):
            for e, (lo, hi) in zip(exprs, blocks, strict=True):
                place = f.entry(f"s{k}_new", layout.state_tables[k].before(lo), hi - lo)
                roots.append((stage[e.number], e, place, hi - lo))
        for k, (exprs, blocks) in enumerate(zip(p.emitted, p.emitted_blocks, strict=True)):
            for e, (lo, hi) in zip(exprs, blocks, strict=True):
                place = f.entry(f"y{k}_n", layout.emitted_tables[k].before(lo), hi - lo)
                roots.append((stage[e.number], e, place, hi - lo))
        reductions = [e for e in layout.held if e.op in ("rowsum", "rowmax")]
        held = [e for e in layout.held if e.op not in ("rowsum", "rowmax")]
        ends = {(stage[e.number][0], stage[e.number][1] - 1) for e in reductions}
        stages = sorted({s for s, *_ in roots} | {stage[e.number] for e in held} | ends)
        body: list[str] = []
        for segment in sorted({s for s, _ in stages} | {r.segment for r in layout.runs}):
            for i, run in enumerate(layout.runs):
                if run.segment == segment:
                    body += self._multiply_forward(f, run, i)
            if not any(s == segment for s, _ in stages):
                continue
            rows = Rows(f, load)
            for at in [s for s in stages if s[0] == segment]:
                here = [r for r in roots if r[0] == at]
                own = [e for e in held if stage[e.number] == at]
                for e in own:
                    j = layout.slot_of.get(e.number)
                    untouched = (
                        j is not None and j not in layout.bias_before and layout.held_at[e.number] == layout.slot_at[j]
                    )
                    if not untouched:
                        rows.lines.append(f"# kept: {_equation(e)}")
                        rows.loop(max(e.width, 1), [([e], "=", self._held_entry(f, e))])
                    done.add(e.number)
                for width in dict.fromkeys(w for *_, w in here):
                    rows.lines.append(
                        "# " + ", ".join(sorted({place.split("[")[0] for *_, place, w in here if w == width}))
                    )
                    rows.loop(width, [([e], "=", place) for _, e, place, w in here if w == width])
                done |= {e.number for _, e, _, _ in here if e.number in layout.state_at}
                ending = [e for e in reductions if (stage[e.number][0], stage[e.number][1] - 1) == at]
                self._reduce(rows, ending, stored)
                rows.lines += [f"{self._held_entry(f, e)} = r{e.number}" for e in ending]
                done |= {e.number for e in ending}
            body += self._for_rows(rows)
        arguments = ["gemm", "visits", "initial", "x", *self._masks()]
        arguments += [*[f"m{i}" for i in range(len(layout.runs))], "vectors", "gates", "scratch"]
        arguments += [f"e{k}" for k in layout.operand_widths()] + [f"y{k}" for k in range(len(p.emitted))]
        arguments += [*[f"s{k}" for k in range(len(p.widths))], "widths", "numbers"]
        doc = "Take the sequences ``low`` to ``high`` through the time."
        return self._function(f, "forward", doc, "range(len(visits))", arguments, body)

    def _masks(self) -> list[str]:
        return [f"mask{k}" for k in range(len(self.layout.mask_tables))]

    def _multiply_forward(self, f: Function, run: Run, i: int) -> list[str]:
        column, width = f.offset(self.layout.columns_before(run.start)), f.offset(run.widths)
        lines = [f"        # {self.layout.named(run)}"]

        def call(table: str, top: str, first: str, count: str) -> str:
            to = f"gates, row + {first}, {column}, {run.add}"
            return f"            multiply(gemm, {table}, {top}, 0, {count}, m{i}, {width}, {to})"

        if run.source[0] == "s":
            return [
                *lines,
                "        if low < old:",
                call(run.source, "before + low", "low", "old - low"),
                "        if old < stop:",
                call(run.source, "initial + old", "old", "stop - old"),
            ]
        asked = f"len(m{i}) and low < stop" if run.source == "x" else "low < stop"
        return [*lines, f"        if {asked}:", call(run.source, "row + low", "low", "stop - low")]

    def _reduce(self, rows: Rows, reductions: Sequence[Expr], stored: Callable[[Expr], bool]) -> None:
        """Sums and maxima over the units of a row, all of one pass.

        Sums are added up in the loop that computes their terms, one for all terms of a width that have few streams of
        memory together; ``stored`` tells what is one.  Maxima go through scratch.
        """
        sums = [e for e in reductions if e.op == "rowsum"]
        chunks: list[list[_Store]] = []
        for e in sums:
            rows.lines += [f"# {_equation(e)}", f"r{e.number} = minus_zero"]  # to which any number can be added
            for width in dict.fromkeys([a.width for a in e.args]):
                pieces: list[list[Expr]] = []
                for a in [a for a in e.args if a.width == width]:
                    joined = [*pieces[-1], a] if pieces else [a]
                    if len(joined) > 1 and (width <= 1 or _streams(joined, stored) > MOST_STREAMS):
                        pieces.append([a])
                    else:
                        pieces[-1:] = [joined]
                for piece in pieces:
                    store = _Store(tuple(piece), "plus", f"r{e.number}", width)
                    others = [*chunks[-1], store] if chunks else [store]
                    together = _streams([a for one in others for a in one.terms], stored)
                    if len(others) > 1 and (width <= 1 or others[0].width != width or together > MOST_STREAMS):
                        chunks.append([store])
                    else:
                        chunks[-1:] = [others]
        for chunk in chunks:
            rows.loop(max(chunk[0].width, 1), [store[:3] for store in chunk])
        for e in sums:
            rows.of_row[e.number] = f"r{e.number}"
        for e in [e for e in reductions if e.op == "rowmax"]:
            self._largest(rows, e)

    def _largest(self, rows: Rows, e: Expr) -> None:
        """A maximum over the units of a row."""
        name = f"r{e.number}"
        rows.lines.append(f"# {_equation(e)}")
        for k, a in enumerate(sorted(e.args, key=lambda a: a.width)):
            if a.width <= 1:
                found = rows.value(a)
            else:
                self.widest = max(self.widest, a.width)
                rows.loop(a.width, [([a], "=", "scratch[number, u]")])
                found = f"row_max(scratch[number], {rows.f.width(a.width)})"
            if k == 0:
                rows.lines.append(f"{name} = {found}")
            else:
                rows.lines += [f"top = {found}", f"{name} = {name} if {name} >= top or {name} != {name} else top"]
        rows.of_row[e.number] = name

    def _cotangents_of_states(self, f: Function) -> list[_Store]:
        """The runs that give them, and what is stored beside."""
        program, layout = self.program, self.layout
        self.state_runs: list[tuple[int, Run]] = []
        stores = []
        for k, gradient in enumerate(program.state_gradients):
            blocks = program.new_state_blocks[k] if gradient is None else program.state_gradient_blocks[k]
            direct, rest = layout.direct(gradient, blocks, f"s{k}")
            runs = []
            for group in sorted({layout.group_of[n] for n in direct}):
                runs += layout.backward_runs([n for n in direct if layout.group_of[n] == group], group)
            fill = any(rest) or not runs
            for i, run in enumerate(runs):
                run.add = fill or i > 0
                self.state_runs.append((k, run))
            for terms, (lo, hi) in zip(rest, blocks, strict=True):
                stays = len(terms) == 1 and terms[0].op == "cotangent" and terms[0].at == (k, lo)
                if fill and not stays:
                    place = f.entry(f"d{k}", layout.state_tables[k].before(lo), hi - lo)
                    stores.append(_Store(tuple(terms), "=", place, hi - lo))
        return stores

    def _cotangent_of_x(self, f: Function) -> list[_Store]:
        """The same."""
        program, layout = self.program, self.layout
        direct, rest = layout.direct(program.input_gradient, program.input_blocks, "x")
        self.x_runs = layout.backward_runs(direct, layout.group_of[direct[0]]) if direct else []
        self.writes_dx = any(rest)
        for i, run in enumerate(self.x_runs):
            run.add = self.writes_dx or i > 0
        if not self.writes_dx:
            return []
        return [
            _Store(tuple(terms), "=", f.entry("dx_n", layout.x_table.before(lo), hi - lo), hi - lo)
            for terms, (lo, hi) in zip(rest, program.input_blocks, strict=True)
        ]

    def _sums_of_vectors(self, f: Function, dz_of: dict[int, int]) -> list[_Store]:
        """What is summed over the rows for vectors; sums of dz are those of whole rows."""
        layout, slots = self.layout, self.program.slots
        sums: list[_Store] = []
        self.totals: list[Total] = []
        widths = [s.width for s in slots]
        self.sums_dz = False
        known: dict[tuple[int, int], list[int]] = {}  # sums that another vector has too, as of two biases
        for v, vector in enumerate(self.program.vectors):
            if vector.gradient is None:
                continue
            for e, (lo, hi) in zip(vector.gradient, vector.blocks, strict=True):
                j = dz_of.get(e.number, -1)
                if j >= 0 and slots[j].width == hi - lo:
                    self.totals.append(Total(v, lo, hi, layout.slot_before(j)))
                    self.sums_dz = True
                    continue
                if (e.number, hi - lo) in known:
                    self.totals.append(Total(v, lo, hi, known[e.number, hi - lo]))
                    continue
                known[e.number, hi - lo] = list(widths)
                sums.append(_Store((e,), "+=", f.entry("total", widths, hi - lo), hi - lo))
                self.totals.append(Total(v, lo, hi, list(widths)))
                widths.append(hi - lo)
        self.total_widths = widths
        return sums

    def _backward(self) -> tuple[list[str], list[str]]:
        program, layout, f = self.program, self.layout, Function(self.sizes)
        stage = layout.backward_stage
        carry, dx = self._cotangents_of_states(f), self._cotangent_of_x(f)
        dz: list[_Store] = []
        dz_of: dict[int, int] = {}  # by number of an expression, the slot whose dz it is
        for j, s in enumerate(program.slots):
            if s.gradient is not None:
                place = f.entry("d", layout.slot_before(j), s.width)
                dz.append(_Store((s.gradient,), "=", place, s.width))
                if s.gradient.op != "number":
                    dz_of.setdefault(s.gradient.number, j)
        sums = self._sums_of_vectors(f, dz_of)
        roots = [e for store in (*dz, *sums, *carry, *dx) for e in store.terms]
        below = list(walk(roots, lambda e: e.depends < 3))
        reductions = [e for e in below if e.op in ("rowsum", "rowmax") and e.depends == 3]
        shared: list[Expr] = []
        if reductions:
            together: dict[tuple[int, int], list[Expr]] = {}  # of one loop, or nearly so
            for store in (*dz, *carry, *dx):
                for e in store.terms:
                    together.setdefault(stage(e), []).append(e)
            alone = [*[store.terms for store in sums], *[[a] for e in reductions for a in e.args]]
            shared = _shared([*together.values(), *alone], lambda e: layout.is_there(e) or e.number in dz_of)
        self.several = [e.width for e in shared]
        several_before = {e.number: self.several[:k] for k, e in enumerate(shared)}
        in_several: set[int] = set()  # of this segment
        # adjoints that expressions read
        asked: dict[int, list[tuple[int, int]]] = {}
        for e in below:
            if e.op == "adjoint":
                asked.setdefault(e.at[0], []).append((e.at[1], e.at[1] + max(e.width, 1)))
        adjoints = sorted(asked)
        others = walk([e for store in (*dz, *sums, *carry) for e in store.terms], lambda e: e.depends < 3)
        always = {e.at[0] for e in others if e.op == "adjoint"}  # the rest is for the cotangent of x alone
        self.adjoint_runs: list[tuple[int, Run]] = []
        for n in adjoints:
            for i, run in enumerate(layout.backward_runs([n], layout.group_of[n])):
                run.add = i > 0
                self.adjoint_runs.append((n, run))
        tables = {n: Table([*program.products[n].operand_blocks, *asked[n]]) for n in adjoints}
        ready = {n: max([stage(e)[0] for e in program.products[n].gradient or ()], default=0) for n in adjoints}
        done: set[int] = set()

        def load(e: Expr, rows: Rows) -> str | None:
            if e.number in done:
                return f.entry("d", layout.slot_before(dz_of[e.number]), e.width)
            if e.number in in_several:
                return f.entry("t", several_before[e.number], e.width)
            if e.op == "cotangent":
                k, lo = e.at
                return f.entry(f"d{k}", layout.state_tables[k].before(lo), e.width)
            if e.op == "emitted":
                k, lo = e.at
                return f.entry(f"dy_of{k}_n", layout.emitted_tables[k].before(lo), e.width)
            if e.op == "adjoint":
                return f.entry(f"b{e.at[0]}_n", tables[e.at[0]].before(e.at[1]), e.width)
            if e.number in layout.quotients:  # 0 where the sigmoid is; in a third of a tanh's time
                k, lo, s = layout.quotients[e.number]
                gate = rows.value(s)
                after = f.entry(f"s{k}_new", layout.state_tables[k].before(lo), e.width)
                return f"{after} / ({gate} if {gate} > least else least)"
            if e.number in layout.held_before:
                return self._held_entry(f, e)
            if e.number in layout.state_at:
                k, lo = layout.state_at[e.number]
                return f.entry(f"s{k}_new", layout.state_tables[k].before(lo), e.width)
            return self._leaf(f, e)

        def stored(e: Expr) -> bool:
            return layout.is_there(e) or e.number in done or e.number in in_several

        ends = [(stage(e)[0], stage(e)[1] - 1) for e in reductions]
        last = max([(0, 0), *[stage(e) for e in roots], *[(segment + 1, 0) for segment in ready.values()]])
        stages = sorted({*[stage(store.terms[0]) for store in (*dz, *sums)], *[stage(e) for e in shared], *ends, last})
        body: list[str] = []
        for segment in sorted({s for s, _ in stages}):
            rows = Rows(f, load)
            in_several.clear()
            if segment == stages[0][0]:
                self._add_series(rows)
            for here in [s for s in stages if s[0] == segment]:
                mine = [store for store in dz if stage(store.terms[0]) == here]
                summed = [store for store in sums if stage(store.terms[0]) == here]
                common = [e for e in shared if stage(e) == here]
                if common:
                    rows.lines += [f"# for several loops: {_equation(e)}" for e in common]
                    places = [f.entry("t", several_before[e.number], e.width) for e in common]
                    stores = [_Store((e,), "=", place, e.width) for e, place in zip(common, places, strict=True)]
                    self._in_parts(rows, stores, stored, in_several)
                if here == last and dx:
                    self._store_dx(rows, dx)
                self._stores(rows, mine, summed, carry if here == last else [], done, dz_of, in_several)
                self._reduce(rows, [e for e, at in zip(reductions, ends, strict=True) if at == here], stored)
            if segment == last[0] and self.sums_dz:
                rows.lines.append(f"for u in range({f.offset([s.width for s in program.slots])}):")
                rows.lines.append("    total[u] += d[u]")
            body += self._for_rows(rows, adjoints)
            for i, (n, run) in enumerate(self.adjoint_runs):
                if ready[n] == segment:
                    width, wanted = f.width(layout.operand_width(n)), "" if n in always else "len(dx) and "
                    body += self._multiply_backward(f, run, f"a{i}", f"b{n}", "low", width, wanted)
        for i, (k, run) in enumerate(self.state_runs):
            body += self._multiply_backward(f, run, f"m{i}", f"ds{k}", "low", f.width(program.widths[k]))
        for i, run in enumerate(self.x_runs):
            width = f.width(program.input_size, of_x=True)
            body += self._multiply_backward(f, run, f"x{i}", "dx", "row + low", width, f"len(x{i}) and ")
        states = range(len(program.widths))
        arguments = ["gemm", "visits", "initial", "x", *self._masks()]
        arguments += ["vectors", "gates", "scratch", "several"]
        arguments += [f"x{i}" for i in range(len(self.x_runs))] + [f"m{i}" for i in range(len(self.state_runs))]
        arguments += [f"a{i}" for i in range(len(self.adjoint_runs))] + [f"dy{k}" for k in states]
        arguments += [f"dy_of{k}" for k in range(len(program.emitted))]
        arguments += ["dz", "totals", "dx", *[f"b{n}" for n in adjoints]]
        arguments += [*[f"s{k}" for k in states], *[f"ds{k}" for k in states], "widths", "numbers"]
        doc = "Take the gradients of the sequences ``low`` to ``high`` back through the time."
        return self._function(f, "backward", doc, "range(len(visits) - 1, -1, -1)", arguments, body)

    def _add_series(self, rows: Rows) -> None:
        """Statements that add the cotangents of this step's states to those that came from the step after it."""
        rows.lines.append("# what reaches the states of this step")
        for k, width in enumerate(self.program.widths):
            rows.lines += [
                f"if len(dy{k}):",
                f"    dy_n = dy{k}[row + n if len(dy{k}) > 1 else 0]",
                f"    for u in range({rows.f.width(width)}):",
                f"        d{k}[u] += dy_n[u]",
            ]

    def _store_dx(self, rows: Rows, dx: list[_Store]) -> None:
        inner = Rows(rows.f, rows.load)
        inner.of_row = dict(rows.of_row)
        inner.lines.append("dx_n = dx[row + n]")
        for width in dict.fromkeys(store.width for store in dx):
            inner.loop(width, [store[:3] for store in dx if store.width == width])
        rows.lines += ["# x itself", "if len(dx):", *["    " + line for line in inner.lines]]

    def _stores(
        self,
        rows: Rows,
        dz: list[_Store],
        sums: list[_Store],
        carry: list[_Store],
        done: set[int],
        dz_of: dict[int, int],
        in_several: set[int],
    ) -> None:
        """The loops of one stage; afterwards what ``dz`` was made of is read from there."""

        def there(e: Expr) -> bool:
            return self.layout.is_there(e) or e.number in in_several

        after = done | {e.number for store in dz for e in store.terms if e.number in dz_of}

        def reads_cotangents(store: _Store) -> bool:
            below = walk(store.terms, lambda e: e.depends < 3 or e.number in after or e.number in in_several)
            return any(e.op in ("cotangent", "adjoint") and e.number not in after for e in below)

        every = [*dz, *sums, *carry]

        def stop(e: Expr) -> bool:
            return there(e) or e.number in done

        split = _streams([e for store in every for e in store.terms], stop) + len(every) > MOST_STREAMS
        early = [store for store in sums if split and reads_cotangents(store)]
        late = [store for store in sums if split and store not in early]
        self._in_parts(rows, early, stop)
        now = [*dz, *([] if split else sums)]
        widths = dict.fromkeys(store.width for store in [*now, *carry])
        apart = split and bool(in_several)  # what they have in common is there
        if len(widths) == 1 and 1 not in widths and not apart:  # all in one loop
            (width,) = widths
            rows.loop(width, [store[:3] for store in [*now, *carry]])
        else:  # loops of other widths may read the cotangents too: these change last
            for width in sorted(widths, key=lambda w: w != 1):
                for part in _parts([store for store in now if store.width == width], stop if apart else None):
                    rows.loop(width, [store[:3] for store in part])
            done |= after
            for width in sorted(widths, key=lambda w: w == 1):
                rows.loop(width, [store[:3] for store in carry if store.width == width])
        done |= after
        self._in_parts(rows, late, stop)

    def _in_parts(
        self, rows: Rows, stores: Sequence[_Store], stored: Callable[[Expr], bool], done: set[int] | None = None
    ) -> None:
        """The loops of some stores, for each width as few as have few streams of memory; ``done``: what is stored."""
        for width in dict.fromkeys(store.width for store in stores):
            for part in _parts([store for store in stores if store.width == width], stored):
                rows.loop(width, [store[:3] for store in part])
                if done is not None:
                    done |= {e.number for store in part for e in store.terms}

    def _for_rows(self, rows: Rows, buffers: Sequence[int] = ()) -> list[str]:
        """The loop over the rows of a visit, with a name for each row of a table that it reads or writes."""
        text = "\n".join(rows.lines)
        views = {"t": "several[number]", "z": "gates[row + n]", "d": "dz[row + n]", "x_n": "x[row + n]"}
        views |= {f"e{k}_n": f"e{k}[row + n]" for k in range(len(self.program.groups))}
        views |= {f"b{n}_n": f"b{n}[n]" for n in buffers}
        per_step = len(self.program.step_masks)
        views |= {f"{mask}_n": f"{mask}[{'row + n' if k < per_step else 'n'}]" for k, mask in enumerate(self._masks())}
        for k in range(len(self.program.emitted)):
            views[f"y{k}_n"] = f"y{k}[row + n]"
            views[f"dy_of{k}_n"] = f"dy_of{k}[row + n if len(dy_of{k}) > 1 else 0]"
        for k in range(len(self.program.widths)):
            views[f"s{k}_old"] = f"s{k}[(before if n < old else initial) + n]"
            views[f"s{k}_new"] = f"s{k}[after + n]"
            views[f"d{k}"] = f"ds{k}[n]"
        lines = [f"{name} = {view}" for name, view in views.items() if re.search(rf"\b{name}\[", text)]
        return ["        for n in range(low, stop):", *["            " + line for line in lines + rows.lines]]

    def _multiply_backward(
        self, f: Function, run: Run, weight: str, target: str, top: str, width: str, asked: str = ""
    ) -> list[str]:
        column = f.offset(self.layout.columns_before(run.start))
        return [
            f"        # back through {self.layout.named(run)}",
            f"        if {asked}low < stop:",
            f"            multiply(gemm, dz, row + low, {column}, stop - low, {weight}, {width}, "
            f"{target}, {top}, 0, {run.add})",
        ]

    def loops(self) -> Loops:
        """All of it."""
        forward, takes_forward = self._forward()
        backward, takes_backward = self._backward()
        return Loops(
            layout=self.layout,
            sizes=self.sizes,
            forward=forward,
            backward=backward,
            takes_forward=takes_forward,
            takes_backward=takes_backward,
            x_runs=self.x_runs,
            state_runs=self.state_runs,
            adjoint_runs=self.adjoint_runs,
            totals=self.totals,
            total_widths=self.total_widths,
            scratch=self.widest,
            several=self.several,
            writes_dx=self.writes_dx,
        )


def _equation(e: Expr) -> str:
    """What an expression is made of, without sizes: ``v31 = sigmoid(v27)``."""

    def name(a: Expr) -> str:
        if a.op == "number":
            return "a number"
        return f"{'r' if a.width <= 1 else 'v'}{a.number}" if a.args else " ".join(map(str, [a.op, *a.at[:-1]]))

    return f"{name(e)} = {e.op}({', '.join(map(name, e.args))})" if e.args else f"{name(e)} as it is"


VISIT = [
    "        row, after, before = visits[k, ROW], visits[k, AFTER], visits[k, BEFORE]",
    "        # of these sequences low:old ran at the visit before, old:stop start from their initial states",
    "        stop = min(high, visits[k, COUNT])",
    "        old = max(min(stop, visits[k, OLD]), low)",
]

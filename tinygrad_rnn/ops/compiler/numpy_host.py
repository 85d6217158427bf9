"""Text of the host side of NumPy's kernels: what is done before, between and after the phases of :mod:`.numpy_text`.

It reads as if it were written by hand for the cell: tables, weights in an order that suits BLAS, a loop over parts of
the sequence, so long that a handful of their tables stay in the cache, and at last the gradients of the weights, each
one product over all steps.  What it calls is in ``kernels/recurrent/numpy``: the order of visits
(:mod:`~tinygrad_rnn.kernels.recurrent.numpy.schedule`) and the products
(:mod:`~tinygrad_rnn.kernels.recurrent.numpy.products`).  Where a second thread helps, it multiplies what no step waits
for beside the loop.

Arrays may also be CuPy's: every call is one of the array module of x.

Names: those of :mod:`.host_text`, and letters as in :mod:`.numpy_layout` for tables; ``state0`` is a trajectory,
``old0`` and ``new0`` are its views before and after each visit, ``times0`` weights of a product of every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .arrangement import Block, Part
from .array_statements import Place
from .host_text import Generated, HostText, Sum, in_tuple, names_of
from .numba_layout import printable
from .numpy_layout import BackRun, Run
from .numpy_text import Steps, steps_of
from .numpy_writer import COLUMNS, NAMES
from .numpy_writer import Function as StepFunction
from .program import Program
from .unit_loops import Function, Sizes, Table

__all__ = ["generate"]

HEAD = '''"""Kernels of a cell with {names}.

Written by tinygrad_rnn.ops.compiler; changes are lost.  The letters of names: numpy_layout.py.
"""

from contextlib import nullcontext
from functools import partial

from tinygrad_rnn.backend import aligned_empty, array_module
from tinygrad_rnn.kernels.recurrent.interface import Gradients, Run
from tinygrad_rnn.kernels.recurrent.numpy.products import (
    PackedWeights, Projection, RowGradients, added, functions, most_rows, pack_bias, projections, scratch_for,
    second_thread, to_operand,
)
from tinygrad_rnn.kernels.recurrent.numpy.schedule import Blocks, Plan, Trajectory
'''
ERF = """from tinygrad_rnn.ops.compiler.units import OPERATIONS

erf = OPERATIONS["erf"]
"""

PLAN = "plan = Plan.of(x, initial0, options.sizes, options.reverse)"

WIDTH = 100
"""Columns of a line of the text, without its indentation."""

FAMILIES = {"n": "o", "d": "o", "g": "o", "j": "x", "l": "y"}
"""Tables that have the columns of another."""


def generate(program: Program) -> Generated:
    """The text of a program's kernels.

    Raises:
        Unknown: an operation that has no form in calls of NumPy.
    """
    steps = steps_of(program)
    host = _Host(program, steps)
    parts = [host.forward(), host.backward(), *([host.restore()] if host.restorable else [])]
    blocks = ["\n".join(host.function(*part)) for part in parts]  # when all widths have names
    names = ", ".join([name for name in program.prelude.parameters if printable(name)]) or "no parameters"
    functions = [function.text(name) for name, function in steps.functions.items()]
    head = HEAD.format(names=names) + (ERF if any("erf(" in text for text in functions) else "")
    text = "\n\n\n".join([head.rstrip(), *functions, *blocks]) + "\n"
    numbers = tuple([steps.numbers[k] for k in host.open])
    return Generated(text, host.sizes.widths, numbers, host.restorable, tuple(steps.constants), steps.functions)


_Parts = tuple[Function, str, str, str, list[str]]
"""The arguments of ``HostText.function``."""


class _Job(NamedTuple):
    """A product that gives gradients of weights: of blocks of dz with a table."""

    source: Place  # the operand
    run: BackRun
    pieces: list[tuple[int, int, Part]]  # blocks first to last of the run give rows of the gradient of a weight


class _Host(HostText):
    """The functions of the host side of one program."""

    def __init__(self, program: Program, steps: Steps) -> None:
        self.steps, self.layout = steps, steps.layout
        layout = self.layout
        spans: dict[int, list[Block]] = {}
        for s in layout.slots:
            for v, lo in s.slot.vectors:
                spans.setdefault(v, []).append((lo, lo + s.slot.width))
        for v, lo, hi, _ in steps.totals:
            spans.setdefault(v, []).append((lo, hi))
        tables: dict[tuple[str, int], list[Block]] = {}
        for q in self._places(steps.functions):
            if q.table == "v":
                spans.setdefault(q.which, []).append((q.lo, q.hi))
            elif q.table in COLUMNS and q.table != "k":
                tables.setdefault((FAMILIES.get(q.table, q.table), q.which), []).append((q.lo, q.hi))
        super().__init__(program, Sizes(), spans, "xp")
        closed = [isinstance(value, bool) or repr(value) in NAMES for value in steps.numbers]
        self.open = [k for k in range(len(closed)) if not closed[k]]
        self.tables = {key: Table([(0, steps.width_of(*key)), *of]) for key, of in tables.items()}
        self.jobs = [_Job(layout.operand(group), run, self._pieces(run)) for group, run in layout.weight_runs()]
        read = {job.source.which for job in self.jobs if job.source.table == "o"}
        self.reads_before = steps.reads_before | read
        first = [program.products[g.products[0]] for g in program.groups]
        self.operands = [k for k, p in enumerate(first) if p.source == "computed"]
        self.in_loop = [k for k in self.operands if not first[k].hoisted]
        self.residual = ["plan", *[f"z{kind}" for kind in layout.blocks_z], *[f"state{k}" for k in self.states]]
        self.residual += sorted({f"e{job.source.which}" for job in self.jobs if job.source.table == "e"})
        self.restorable = len(program.widths) == 1 and not layout.blocks_z and not self.operands

    @staticmethod
    def _places(functions: dict[str, StepFunction], *names: str) -> Iterator[Place]:
        for name in names or functions:
            if name in functions:
                yield from functions[name].arguments.values()
                yield from (functions[name].visits or {}).values()

    def _pieces(self, run: BackRun) -> list[tuple[int, int, Part]]:
        """The rows of a run's product: neighbours in one matrix are one piece."""
        pieces: list[tuple[int, int, Part]] = []
        for g, parts in enumerate(run.weights):
            for part in parts:
                if pieces and pieces[-1][1] == g and pieces[-1][2].last == part.first:
                    if pieces[-1][2]._replace(first=0, last=0) == part._replace(first=0, last=0):
                        first, _, before = pieces.pop()
                        pieces.append((first, g + 1, before._replace(last=part.last)))
                        continue
                pieces.append((g, g + 1, part))
        return pieces

    # places ------------------------------------------------------------------------------------------------------

    def _kind(self, f: Function, kind: int) -> str:
        """The name of the width of a class."""
        return f.width(self.layout.classes[kind])

    def _cut(self, f: Function, place: Place) -> str:
        """The columns of a place as a second index, ``, lo:hi``; nothing if it has all."""
        family = FAMILIES.get(place.table, place.table)
        table = self.cuts[place.which] if family == "v" else self.tables[family, place.which]
        return f", {self.range_of(f, table, place.lo, place.hi)}".removesuffix(", :")

    def _table(self, place: Place) -> str:
        """The name of a table of rows (S, K)."""
        name = {"x": "rows", "j": "dx", "l": f"dy_of{place.which}", "m": f"mask{place.which}"}
        return name.get(place.table, f"{place.table}{place.which}")

    def _is_of_sequences(self, place: Place) -> bool:
        return place.table == "m" and place.which >= len(self.program.step_masks)

    def _rows(self, f: Function, place: Place) -> str:
        """The rows of the part and the columns of a place."""
        return f"{self._table(place)}[part.rows{self._cut(f, place)}]"

    @staticmethod
    def _block(place: Place, whole: int | None = None) -> str:
        """The blocks of a place as an index; nothing if they are all."""
        if (place.lo, place.hi) == (0, whole) and place.hi > 1:
            return ""
        return str(place.lo) if place.hi == place.lo + 1 else f"{place.lo}:{place.hi}"

    def _same(self, f: Function, place: Place) -> str | None:
        """What is the same for all steps."""
        table, which = place.table, place.which
        if table == "#":
            return NAMES.get(repr(self.steps.numbers[which]), f"number{which}")
        if table == "v":
            return f"vector{which}[None{self._cut(f, place)}]"
        return f"k{which}" if table == "k" else None

    def _whole(self, f: Function, place: Place) -> str:
        """An argument of a function without loop."""
        table, which, lo, _, columns = place
        same = self._same(f, place)
        if same is not None:
            return same
        if table in ("project", "back"):
            return f"{table}{which}"
        if table == "total":
            return f"total{which}[{self.range_of(f, self.cuts[which], place.lo, place.hi)}]".removesuffix("[:]")
        if table == "z":
            return f"z{which}.table(part)"
        if table == "n rows":
            return f"state{which}.values[None, part.rows]"
        if table in ("x rows", "e rows"):
            return f"{self._table(place._replace(table=table[0]))}[part.rows]"
        if table in ("a rows", "b rows"):
            return f"{table[0]}{which}"
        if table in "on":
            of = f"state{which}.{'earlier' if table == 'o' else 'values'}"
            return f"plan.by_step({of}[part.rows{self._cut(f, place)}], part)"
        if self._is_of_sequences(place):
            of = f"mask{which}[:{self._cut(f, place)}]".removesuffix("[:]")
            return f"plan.of_sequences({of}, part)"
        if table in "xmeylj":
            return f"plan.by_step({self._rows(f, place)}, part)"
        of = f"late{which}" if table == "r" else f"{table}{which}{'_of_steps' if table in 'tu' else ''}"
        if columns is not None:
            return f"plan.by_step({of}[{lo}, :size{self._inner(f, place, self.steps.late_runs, 'sums')}], part)"
        return f"plan.by_step({of}{'' if table in 'ab' else '[:, :size]'}, part)"

    def _inner(self, f: Function, place: Place, runs: Sequence[BackRun], name: str) -> str:
        """The same of columns within a block of ``r``, the cotangent of an operand."""
        assert place.columns is not None
        alike = [q.columns for q in self._places(self.steps.functions, name) if q[:2] == place[:2]]
        table = Table([(0, runs[place.which].width), *[columns for columns in alike if columns is not None]])
        return f", {self.range_of(f, table, *place.columns)}".removesuffix(", :")

    def _views(self, f: Function, place: Place) -> str:
        """What each visit of the part has."""
        table, which = place.table, place.which
        layout = self.layout
        if table == "z":
            block = self._block(place, layout.blocks_z[which])
            block = f"slice({block.replace(':', ', ')})" if ":" in block else block
            return f"z{which}.views(part{', ' + block if block else ''})"
        if table in "ong":
            cut = self._cut(f, place)
            of = {"o": f"old{which}", "n": f"new{which}", "g": f"series{which}[part.first : part.last]"}[table]
            if not cut:
                return of
            return f"[{'a if a is None else ' if table == 'g' else ''}a[:{cut}] for a in {of}]"
        if table == "left":
            run = self.steps.back_runs[which]
            blocks = self._block(Place("b", run.kind, run.first, run.first + len(run.slots)))
            return f"times{which}.lefts(plan.split_part(b{run.kind}[{blocks}], part))"
        if table == "e" and which in self.in_loop:
            cut = self._cut(f, place)
            return f"[a[:{cut}] for a in e{which}.views(part, 0)]" if cut else f"e{which}.views(part, 0)"
        if table in "xmeyl":
            return f"plan.split_part({self._rows(f, place)}, part)"
        block = self._block(place) or ":"
        return f"plan.split_part({table}{which}[{block}{'' if table in 'ab' else ', :size'}], part)"

    def _of_n(self, f: Function, place: Place) -> str:
        """What all visits of n sequences share."""
        table, which = place.table, place.which
        same = self._same(f, place)
        if same is not None:
            return same
        if table in ("dot", "weight", "rest", "into", "into_rest"):
            return f"{table}{which}"
        if table == "c":
            block = self._block(place, self.layout.blocks_c[which])
            return f"c{which}[{block}]" if block else f"c{which}"
        if table in "dm":
            return f"{'ds' if table == 'd' else 'mask'}{which}[:n{self._cut(f, place)}]"
        if place.columns is not None:
            cut = self._inner(f, place, self.steps.back_runs, "steps_back")
            return f"{table}{which}.of(n)[{place.lo}{', :' if cut else ''}{cut}]"
        return f"{table}{which}.of(n)[{self._block(place)}]"

    # calls -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _wrapped(start: str, items: Iterable[str], end: str) -> list[str]:
        """A call, in several lines if it is long."""
        lines, given = [start], list(items)
        for i, item in enumerate(given):
            text = item + (", " if i < len(given) - 1 else end)
            if len(lines[-1]) + len(text) > WIDTH and lines[-1].strip():
                lines[-1] = lines[-1].rstrip()
                lines.append("    ")
            lines[-1] += text
        return lines if given else [start + end]

    def _call(self, f: Function, name: str) -> list[str]:
        """The call of a function without loop, if there is one."""
        function = self.steps.functions.get(name)
        if function is None:
            return []
        return self._wrapped(f"{name}(", ["f", *[self._whole(f, q) for q in function.arguments.values()]], ")")

    def _loop(self, f: Function, name: str, back: bool) -> list[str]:
        """The call of a loop for each run of visits."""
        function = self.steps.functions.get(name)
        moves = "" if back else f", {in_tuple([f'state{k}' for k in self.states])}"
        end = f"]{moves}{', back=True' if back else ''}):"
        if function is None or function.visits is None:
            if back:
                return []
            lines = self._wrapped("for _, visits in plan.runs(part, [", [], end)
            return [*lines, "    for _ in visits:", "        pass  # states that ``inputs`` computed"]
        sides = sorted({q.which for q in function.visits.values() if q.table in "on"})
        lines = [f"old{k}, new{k} = state{k}.views(part)" for k in sides]
        visits = [self._views(f, q) for q in function.visits.values()]
        lines += self._wrapped("for n, visits in plan.runs(part, [", visits, end)
        runs: Sequence[Run | BackRun] = self.steps.back_runs if back else self.layout.runs
        for run in runs:
            i, to = run.number, f"{'r' if back else 'p'}{run.number}.of(n)"
            if isinstance(run, BackRun) and run.into is not None:
                to = self._of_n(f, run.into)
            each = ", each=True" if back and len(run.slots) > 1 else ""
            lines.append(f"    dot{i}, weight{i}, into{i}, rest{i}, into_rest{i} = times{i}.operands({to}{each})")
        given = ["f", "visits", *[self._of_n(f, q) for q in function.arguments.values()]]
        return [*lines, *["    " + line for line in self._wrapped(f"{name}(", given, ")")]]

    def _numbers(self, places: Iterable[Place]) -> list[str]:
        lines = {}
        for q in places:
            if q.table == "#":
                name, value = self._same(Function(Sizes()), q), self.steps.numbers[q.which]
                of = f"cell.numbers[{self.open.index(q.which)}]" if q.which in self.open else repr(value)
                lines[q.which] = f"{name} = xp.full((), {of}, {'bool' if isinstance(value, bool) else 'dtype'})"
        return [lines[k] for k in sorted(lines)]

    def _constants(self, places: Iterable[Place]) -> list[str]:
        vectors = in_tuple([f"vector{v}" for v in self.vectors]) if self.vectors else "()"
        wanted = sorted({q.which for q in places if q.table == "k"})
        return [f"k{k} = cell.constant({k}, {vectors}, xp, dtype)" for k in wanted]

    def _begin(self, places: Sequence[Place], plan: list[str]) -> list[str]:
        """What both functions begin with."""
        masks = [f"mask{k}" for k in range(len(self.program.step_masks) + len(self.program.sequence_masks))]
        lines = ["xp = array_module(x)", "f = functions(xp)", *plan, "rows = x.reshape(plan.rows, x.shape[-1])"]
        if masks:
            lines.append(f"{names_of(masks)} = cell.masks(plan, options, dtype)")
        return [*lines, *self._numbers(places), *self._constants(places)]

    def _parts(self, f: Function, least: Sequence[str] = ()) -> list[str]:
        used = sorted({s.kind for s in self.layout.slots}) or [self.layout.kind(w) for w in self.program.widths]
        widths = list(dict.fromkeys(self._kind(f, kind) for kind in used))
        given = [names[0] if len(names) == 1 else f"max({', '.join(names)})" for names in (widths, least) if names]
        most = "most = max([part.size for part in parts], default=0)"
        return [f"parts = plan.parts(most_rows({', '.join(given)}))", most]

    def _scratch(self, f: Function, tables: str, phases: Sequence[str], loop: str) -> list[str]:
        """Room for some steps, and for one."""
        lines, layout = [], self.layout
        for (table, kind), count in self.steps.blocks.items():
            if table in tables:
                lines.append(self._room(f, table, f"{table}{kind}", count, kind))
        rooms: dict[tuple[int, bool], int] = {}
        for name in phases:
            for key, count in self.steps.rooms.get(name, {}).items():
                rooms[key] = max(rooms.get(key, 0), count)
        for (width, boolean), count in rooms.items():
            kind, letter = layout.kind(width), "tu"[boolean]
            lines.append(self._room(f, "q" if boolean else letter, f"{letter}{kind}_of_steps", count, kind))
        for (width, boolean), count in self.steps.rooms.get(loop, {}).items():
            kind = layout.kind(width)
            like = "xp.empty(0, bool)" if boolean else "x"
            lines.append(f"{'tu'[boolean]}{kind} = {self._blocks(f, count, kind, like=like)}")
        return lines

    def _room(self, f: Function, table: str, name: str, count: int, kind: int) -> str:
        if table in "hq":
            return f"{name} = xp.empty(({count}, most, {self._kind(f, kind)}), bool)"
        return f"{name} = scratch_for(x, {count}, most, {self._kind(f, kind)})"

    def _blocks(self, f: Function, count: int, kind: int, keep: str = "False", like: str = "x") -> str:
        return f"Blocks(plan, {count}, {self._kind(f, kind)}, {like}, keep={keep})"

    # weights -----------------------------------------------------------------------------------------------------

    def _weight(self, f: Function, parts: Sequence[Part], turned: bool = False) -> str:
        """The weight of a slot (W, K), or ``turned`` (K, W)."""
        terms = [self.rows_of(f, part, f"matrix{part.matrix}") for part in parts]
        if turned:
            terms = [t.removesuffix(".T") if t.endswith(".T") else f"{t}.T" for t in terms]
        return " + ".join(terms)

    def _scales(self, slots: Sequence[int]) -> str:
        return in_tuple(["0.5" if self.layout.slots[j].halved else "1.0" for j in slots])

    def _biases(self, f: Function, name: str, slots: Sequence[int]) -> tuple[list[str], str]:
        """Statements, and the sums of the vectors of some slots, scaled as their products are."""
        given = [self.layout.slots[j].slot for j in slots]
        if not any(s.vectors for s in given):
            return [], "None"
        first = [v for v, _ in given[0].vectors]
        alike = len(first) > 1 and all([v for v, _ in s.vectors] == first for s in given)
        alike = alike and all(len({lo for _, lo in s.vectors}) == 1 for s in given)
        lines, entries = [], []
        if alike and len({self.program.vectors[v].width for v in first}) == 1:  # slices of one sum of whole vectors
            lines = [f"{name} = {' + '.join([f'vector{v}' for v in first])}"]
            for s in given:
                lo = s.vectors[0][1]
                cut = self.range_of(f, self.cuts[first[0]], lo, lo + s.width)
                entries.append(f"{name}[{cut}]".removesuffix("[:]"))
        else:
            for s in given:
                terms = [self.entries_of(f, v, lo, lo + s.width) for v, lo in s.vectors]
                entries.append(" + ".join(terms) or "None")
        return lines, f"pack_bias([{', '.join(entries)}], {self._scales(slots)})"

    # forward -----------------------------------------------------------------------------------------------------

    def forward(self) -> _Parts:
        """What ``run_forward`` consists of."""
        f, layout, steps = Function(self.sizes), self.layout, self.steps
        places = list(self._places(steps.functions, "inputs", "steps", "outputs"))
        body = self._begin(places, [PLAN])
        for k in self.operands:
            width = f.width(layout.width(k))
            keep = "options.save" if f"e{k}" in self.residual else "False"
            of_loop = f"Blocks(plan, 1, {width}, x, keep={keep})"
            body.append(f"e{k} = {of_loop if k in self.in_loop else f'aligned_empty((plan.rows, {width}), x)'}")
        for k, bounds in enumerate(self.program.emitted_blocks):
            body.append(f"y{k} = aligned_empty((plan.rows, {f.width(bounds[-1][1])}), x)")
        for run in layout.runs_before:
            body += self._projection(f, run)
        least = [f"project{run.number}.rows" for run in layout.runs_before if not run.adds]
        body += self._parts(f, least)
        body += [f"state{k} = Trajectory(plan, initial{k}, {self._kept(k)})" for k in self.states]
        for kind, count in layout.blocks_z.items():
            keep = "True" if steps.keeps else "options.save"
            body.append(f"z{kind} = {self._blocks(f, count, kind, keep)}")
        for run in layout.runs:
            blocks = f"[{', '.join([self._weight(f, parts, turned=True) for parts in run.weights])}]"
            i, scales = run.number, self._scales(run.slots)
            body.append(f"# {layout.named(run.weights, run.group)}, at every step")
            body += self._wrapped(f"times{i} = PackedWeights(", [blocks, "plan.batch", scales], ", plan.steps)")
            body.append(f"p{i} = {self._blocks(f, len(run.slots), run.kind)}")
        for kind in layout.blocks_c:
            slots = [j for j in layout.order if (c := layout.slots[j].bias) is not None and c.which == kind]
            lines, given = self._biases(f, f"summed_c{kind}", slots)
            body += [*lines, f"c{kind} = {given}"]
        body += self._scratch(f, "sq", ["inputs"], "steps")
        inside = [*self._call(f, "inputs"), *self._loop(f, "steps", back=False), *self._call(f, "outputs")]
        body += self._over_parts(f, inside)
        body += self.series([f"state{k}.values.reshape(*x.shape[:-1], initial{k}.shape[1])" for k in self.states])
        body.append(f"residual = {in_tuple(self.residual)} if options.save else None")
        body.append(f"return Run(series, {in_tuple([f'state{k}.final()' for k in self.states])}, residual)")
        return f, "run_forward", "cell, x, states, weights, options", "One direction.", body

    def _kept(self, k: int) -> str:
        """What a trajectory keeps."""
        rest = '"after"' if k not in self.steps.in_place else '"after" if options.cells else "last"'
        if k in self.reads_before:
            return f'"both" if options.save else {rest}'
        return rest if k not in self.steps.in_place else '"after" if options.save or options.cells else "last"'

    def _projection(self, f: Function, run: Run) -> list[str]:
        """The product of a run before the loop."""
        source = self._table(self.layout.operand(run.group))
        lines, bias = ([], "None") if run.adds else self._biases(f, f"summed{run.number}", run.slots)
        blocks = [self._weight(f, parts) for parts in run.weights]
        start, end = ("partial(added, ", ")") if run.adds else ("", "")
        given = [f"[{', '.join(blocks)}]", self._scales(run.slots), f"{bias}){end}"]
        lines.append(f"# {self.layout.named(run.weights, run.group)}, before the loop")
        return [*lines, *self._wrapped(f"project{run.number} = {start}Projection({source}, ", given, "")]

    def _over_parts(self, f: Function, inside: list[str]) -> list[str]:
        """The loop over parts, with the products of x before what is done inside."""
        layout = self.layout
        lines: list[str] = []
        early = [run for run in layout.runs_before if run.early]
        alone = early[0] if len(early) == 1 and layout.slots[early[0].slots[0]].a.table == "a" else None  # type: ignore[union-attr]
        alone = alone if alone is not None and len(alone.slots) == layout.blocks_a[alone.kind] else None
        for kind, count in layout.blocks_a.items():
            room = f"scratch_for(x, {count}, most, {self._kind(f, kind)})"
            if alone is None or alone.kind != kind:
                lines.append(f"room{kind} = {room}")
                continue
            columns = f.offset([layout.classes[kind]] * count)
            lines.append(f"helper = second_thread(rows.size * {columns}, x)  # projects the next part meanwhile")
            lines.append(f"rooms = [{room} for _ in range(1 if helper is None else 2)]")
        cuts = [f"a{kind} = room{kind}[:, :size]" for kind in layout.blocks_a if alone is None or alone.kind != kind]
        body = [*(["size = part.size"] if any(":size" in line for line in [*inside, *cuts]) else []), *cuts]
        for run in early:
            a = layout.slots[run.slots[0]].a
            if a is not None and run is not alone:
                to = f"a{run.kind}[{run.first}:{run.first + len(run.slots)}]"
                to = f"state{a.which}.values[None, part.rows]" if a.table == "n" else to
                body.append(f"project{run.number}(rows[part.rows], {to})")
        body += inside
        if alone is None:
            return [*lines, "for part in parts:", *["    " + line for line in body or ["pass"]]]
        i = alone.number
        lines.append("with helper or nullcontext():")
        of = f"projections(helper, project{i}, rows, parts, rooms)"
        lines.append(f"    for part, a{alone.kind} in zip(parts, {of}, strict=True):")
        return [*lines, *["        " + line for line in body]]

    def restore(self) -> _Parts:
        """The same of ``run_restore``."""
        keep = "both" if self.reads_before else "after"
        body = [PLAN, f'state0 = Trajectory(plan, initial0, "{keep}")']
        body += ["state0.fill(y.reshape(plan.rows, -1))", f"return {in_tuple(self.residual)}"]
        doc = "The residual of a run that gave ``y``: its states are all that there is to it."
        f, arguments = Function(self.sizes), "cell, x, states, weights, options, y"
        return f, "run_restore", arguments, doc, body

    # backward ----------------------------------------------------------------------------------------------------

    def backward(self) -> _Parts:
        """The same of ``run_backward``."""
        f, layout, steps = Function(self.sizes), self.layout, self.steps
        places = list(self._places(steps.functions, "slopes", "steps_back", "sums"))
        body = [*self.wants(), *self._begin(places, [f"{names_of(self.residual)} = residual"]), *self.cotangents()]
        for k, bounds in enumerate(self.program.emitted_blocks):
            width = f.width(bounds[-1][1])
            nothing = f"xp.zeros((plan.rows, {width}), dtype)"
            body.append(f"dy_of{k} = {nothing} if dy_of{k} is None else dy_of{k}.reshape(plan.rows, {width})")
        for k in sorted({q.which for q in places if q.table == "g"}):
            body.append(f"series{k} = plan.terms(dy{k})")
        body += self._parts(f)
        for kind, count in layout.blocks_b.items():
            columns, width = f.offset([layout.classes[kind]] * count), self._kind(f, kind)
            body.append(f"dz{kind} = aligned_empty((plan.rows, {columns}), x)")
            body.append(f"gates{kind} = dz{kind}.reshape(plan.rows, {count}, {width}).swapaxes(0, 1)")
            if count > 1:
                body.append(f"room{kind} = scratch_for(x, {count}, most, {width})")
        empty, like = ("aligned_empty", "x") if steps.x_runs or steps.writes_dx else ("xp.zeros", "dtype")
        asked = "" if steps.writes_dx else " if needs.x else None"
        body.append(f"dx = {empty}((plan.rows, x.shape[-1]), {like}){asked}")
        for run in steps.back_runs:
            blocks = [f"[{', '.join([self._weight(f, parts) for parts in run.weights])}]"]
            end = ", plan.batch, products=plan.steps)"
            body += self._wrapped(f"times{run.number} = PackedWeights(", blocks, end)
            if run.into is None:
                width = f.width(run.width)
                body.append(f"r{run.number} = Blocks(plan, {len(run.slots)}, {width}, x, keep=False)")
        for run in steps.late_runs:
            blocks = [f"[{', '.join([self._weight(f, parts) for parts in run.weights])}]"]
            body += self._wrapped(f"back{run.number} = partial(to_operand, xp.stack(", blocks, "))")
            body.append(f"late{run.number} = scratch_for(x, 1, most, {f.width(run.width)})")
        late = sorted({v for v, _, _, b in steps.totals if b is None})
        body += [f"total{v} = xp.zeros(vector{v}.shape, dtype)" for v in late]
        body += self._scratch(f, "fhi", ["slopes", "sums"], "steps_back")
        inside = []
        for kind, count in layout.blocks_b.items():
            inside.append(f"b{kind} = {f'room{kind}[:, :size]' if count > 1 else f'gates{kind}[:, part.rows]'}")
        inside += [*self._call(f, "slopes"), *self._loop(f, "steps_back", back=True), *self._call(f, "sums")]
        for kind, count in layout.blocks_b.items():
            if count > 1:
                inside.append(f"gates{kind}[:, part.rows] = b{kind}")
        if any(":size" in line for line in inside):
            inside.insert(0, "size = part.size")
        lines, after = self._row_gradients(f)
        body += [*lines, "    for part in reversed(parts):"]
        body += ["        " + line for line in [*inside, "large.ready(part.rows)"]]
        body += [*after, "dx = dx.reshape(x.shape) if needs.x else None", self.gradients()]
        arguments = "cell, x, states, weights, options, residual, cotangents, needs"
        return f, "run_backward", arguments, "Its gradients.", body

    def _of_dz(self, f: Function, run: BackRun) -> str:
        """The columns of dz that a run has."""
        count, width = self.layout.blocks_b[run.kind], self.layout.classes[run.kind]
        last = run.first + len(run.slots)
        if (run.first, last) == (0, count):
            return f"dz{run.kind}"
        lo = f.offset([width] * run.first) if run.first else ""
        return f"dz{run.kind}[:, {lo}:{f.offset([width] * last) if last < count else ''}]"

    def _row_gradients(self, f: Function) -> tuple[list[str], list[str]]:
        """The context of the loop, in which products over all rows grow; and the gradients that are made of these."""
        steps, layout = self.steps, self.layout
        products, after = [], []
        users: dict[int, int] = {}
        for job in self.jobs:
            for _, _, part in job.pieces:
                users[part.matrix] = users.get(part.matrix, 0) + 1
        direct: dict[int, int] = {}
        for k, job in enumerate(self.jobs):
            table = f"state{job.source.which}.earlier" if job.source.table == "o" else self._table(job.source)
            table += ".rows()" if job.source.table == "e" and job.source.which in self.in_loop else ""
            matrices = list(dict.fromkeys(part.matrix for _, _, part in job.pieces))
            asked = " or ".join([f"wants_matrix{m}" for m in matrices])
            products.append(f"({self._of_dz(f, job.run)}, {table} if {asked} else None)")
            part = job.pieces[0][2]
            whole = (0, self.axes[part.matrix][0].bounds[-1]), (0, self.axes[part.matrix][1].bounds[-1])
            if len(job.pieces) == 1 and users[part.matrix] == 1 and part.transposed:
                if ((part.first, part.last), (part.lo, part.hi)) == whole:
                    direct[part.matrix] = k
        names = [f"gradient{k}" for k in range(len(self.jobs))]
        if names:
            after.append(f"{names_of(names)} = large.products")
        for m in self.matrices:
            zeros = f"xp.zeros(matrix{m}.shape, dtype) if wants_matrix{m} else None"
            after.append(f"dmatrix{m} = {f'gradient{direct[m]}' if m in direct else zeros}")
        for k, job in enumerate(self.jobs):
            width = self.layout.classes[job.run.kind]
            for first, last, part in job.pieces:
                if part.matrix in direct:
                    continue
                cut = ":".join([f.offset([width] * n) if n else "" for n in (first, last)])
                rows = f"gradient{k}" if (first, last) == (0, len(job.run.slots)) else f"gradient{k}[{cut}]"
                after += self.added(f, part, rows)
        # sums for vectors
        sums: dict[int, list[Sum]] = {}
        columns: dict[str, int] = {}
        asked_of: dict[int, list[int]] = {}
        for v, lo, hi, b in steps.totals:
            if b is None:
                sums.setdefault(v, []).append(Sum(lo, hi, f"total{v}", self.cuts[v].before(lo)))
                columns[f"total{v}"] = self.program.vectors[v].width
            else:
                width = layout.classes[b.which]
                sums.setdefault(v, []).append(Sum(lo, hi, f"sum{b.which}", [width] * b.lo))
                columns[f"sum{b.which}"] = width * layout.blocks_b[b.which]
                asked_of.setdefault(b.which, []).append(v)
        added = []
        for kind, of in asked_of.items():
            added.append(f"dz{kind} if {' or '.join([f'wants_vector{v}' for v in dict.fromkeys(of)])} else None")
        if added:
            after.append(f"{names_of([f'sum{kind}' for kind in asked_of])} = large.sums")
        after += self.gradients_of_vectors(f, sums, columns)
        into_x = []
        for run in steps.x_runs:
            side = run.side
            if side is not None:
                w = self.rows_of(f, side, f"matrix{side.matrix}")
            else:
                w = f"xp.concatenate([{', '.join([self._weight(f, parts) for parts in run.weights])}])"
            into_x.append(f"({self._of_dz(f, run)}, {w})")
        x = ["dx if needs.x else None", f"[{', '.join(into_x)}] if needs.x else ()"] if into_x else []
        x += ["True"] if into_x and steps.writes_dx else []
        given = ["plan.rows", f"[{', '.join(products)}]", f"[{', '.join(added)}]", *x]
        return self._wrapped("with RowGradients(", given, ") as large:"), after

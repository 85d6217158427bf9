"""Text of the NumPy kernels of a program: calls with ``out=`` on whole blocks, in three phases forward and three back.

What waits for no step before it is done for many steps at once, by one call for all of them; only the rest is in the
loop over time.  Forward:

    inputs      what depends on x and masks alone
    steps       the loop: products with states, and what depends on these
    outputs     copies of what is emitted

and back, where a cotangent is a sum of factors times cores (:mod:`.linear_forms`):

    slopes      the factors: all that depends on no cotangent
    steps_back  the loop: what the step before needs
    sums        what it does not need: gradients of vectors, of x unit by unit, and of products before the loop

Each is a function; one that has nothing to do is left out.  Products of all rows, with x and for the gradients of
weights, are the business of the host (:mod:`.numpy_host`).

**Ranges.**  Calls that do the same to neighbouring blocks are one call: one tanh for the four gates of an LSTM.  There
sigmoid(a) is ``0.5 tanh(0.5 a) + 0.5``, whose inner factor is folded into the weights.  That has an absolute error of a
rounding, so a sigmoid that is divided by, or of which a logarithm is taken, is ``1 / (1 + exp(-a))``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .array_statements import MASKS, Operand, Place, Statements
from .numpy_layout import BackRun, NumpyLayout, Slotted, merged
from .numpy_text_back import BackwardText
from .numpy_writer import PRODUCT, Function, Writer
from .program import Program
from .units import Expr

__all__ = ["Steps", "steps_of"]


class Steps(NamedTuple):
    """The phases of a program's kernels, and what their host has to prepare.

    Attributes:
        layout: where everything is.
        functions: the phases, by name.
        width_of: the columns of a table of rows, by letter and number.
        numbers: by which the names ``#`` count.
        constants: by which the names ``k`` count: expressions of vectors alone.
        blocks: by letter and class, how many blocks a table of some steps has.
        rooms: of each function that has temporaries: by width and kind, how many.
        back_runs: products of the loop back, and ``late_runs`` of ``sums``.
        totals: what the gradient of a vector sums: (vector, lo, hi, dZ), or None for one of ``sums``.
        x_runs: of dZ with the weights of x, for the gradient of x.
        writes_dx: ``sums`` writes terms of the gradient of x.
        reads_before: the states whose value before a step is read on the way back.
        in_place: the states that may be where the ones before them are.
        keeps: ``z`` is needed for all steps even if nothing is saved.
    """

    layout: NumpyLayout
    functions: dict[str, Function]
    width_of: Callable[[str, int], int]
    numbers: list[float]
    constants: list[Expr]
    blocks: dict[tuple[str, int], int]
    rooms: dict[str, dict[tuple[int, bool], int]]
    back_runs: list[BackRun]
    late_runs: list[BackRun]
    totals: list[tuple[int, int, int, Place | None]]
    x_runs: list[BackRun]
    writes_dx: bool
    reads_before: set[int]
    in_place: set[int]
    keeps: bool


def steps_of(program: Program) -> Steps:
    """The phases of a program's kernels.

    Raises:
        Unknown: an operation that has no form in calls of NumPy.
    """
    layout = NumpyLayout(program)
    writer = Writer(program, layout)
    forward = _Forward(writer)
    back = BackwardText(writer, layout.forms)
    order = ["inputs", "steps", "outputs", "slopes", "steps_back", "sums"]
    functions = {name: writer.functions[name] for name in order if name in writer.functions}

    def states(letters: str, *names: str) -> set[int]:
        chosen = [functions[name] for name in names if name in functions]
        places = [q for f in chosen for q in [*f.arguments.values(), *(f.visits or {}).values()]]
        return {q.which for q in places if q.table[0] in letters and q.table in ("o", "n", "n rows")}

    in_place = set(range(1, len(program.widths))) - states("on", "inputs", "outputs")
    in_place -= set(functions["steps"].overwritten if "steps" in functions else in_place)
    in_place -= {q.which for s in layout.slots if (q := s.a) is not None and q.table == "n"}
    return Steps(
        layout=layout,
        functions=functions,
        width_of=writer.width_of,
        numbers=writer.numbers,
        constants=writer.constants,
        blocks=writer.blocks,
        rooms=writer.rooms,
        back_runs=back.back_runs,
        late_runs=back.late_runs,
        totals=back.totals,
        x_runs=back.x_runs,
        writes_dx=bool(back.late_x),
        reads_before=states("o", "slopes", "steps_back", "sums"),
        in_place=in_place,
        keeps=forward.keeps,
    )


class _Forward:
    """The functions ``inputs``, ``steps`` and ``outputs``."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.waiting: dict[int, Place] = {}  # by number, what the loop reads of ``inputs``
        self.waiting_exprs: dict[int, Expr] = {}
        self.into_states: list[tuple[Expr, Place]] = []
        self.into_emitted: list[tuple[Expr, Place]] = []
        self.keeps = False
        self._steps()
        self._inputs()

    # forward -----------------------------------------------------------------------------------------------------

    def _leaf_of_steps(self, e: Expr) -> Operand | None:
        found = self.writer.leaf(e)
        if found is None and e.depends <= 1:
            found = self._from_inputs(e)
        return found

    def _from_inputs(self, e: Expr) -> Place:
        """Where a value of ``inputs`` is read by the loop."""
        found = self.waiting.get(e.number)
        if found is None:
            if e.number in self.writer.layout.z:
                found = self.writer.layout.z[e.number]
            elif e.number in self.writer.layout.slot_of:
                s = self.writer.layout.slots[self.writer.layout.slot_of[e.number]]
                assert s.a is not None
                found = s.a
            else:
                found = self.writer.new_block("q" if e.op in MASKS else "s", e.width)
            self.waiting[e.number] = found
            self.waiting_exprs[e.number] = e
        return found

    def _targets(self) -> dict[int, list[Place]]:
        """Where results of the forward pass are wanted."""
        p, targets = self.writer.program, {n: [place] for n, place in self.writer.layout.z.items()}
        for n, place in self.writer.layout.state_at.items():
            targets.setdefault(n, []).append(place)
        for k, g in enumerate(p.groups):
            first = p.products[g.products[0]]
            if first.source == "computed":
                for e, (lo, hi) in zip(g.operand, first.operand_blocks, strict=True):
                    if e.args and e.width == hi - lo:
                        targets.setdefault(e.number, []).append(Place("e", k, lo, hi))
        return targets

    def _operand(self, code: Statements, group: int) -> None:
        """Have the operand of a group computed."""
        first = self.writer.program.products[self.writer.program.groups[group].products[0]]
        if first.source == "computed":
            for e, (lo, hi) in zip(self.writer.program.groups[group].operand, first.operand_blocks, strict=True):
                code.store(e, Place("e", group, lo, hi))

    def _steps(self) -> None:
        p, layout = self.writer.program, self.writer.layout
        targets = self._targets()
        moving = dict(targets)
        # what is emitted and is in no table yet goes to its own
        emitted = [
            (e, Place("y", k, lo, hi))
            for k, (exprs, blocks) in enumerate(zip(p.emitted, p.emitted_blocks, strict=True))
            for e, (lo, hi) in zip(exprs, blocks, strict=True)
        ]
        for e, place in emitted:
            if e.args and e.number not in moving and e.width == place.hi - place.lo and e.depends > 1:
                if e.number not in layout.slot_of:
                    moving[e.number] = [place]
        code = self.code = Statements(self._leaf_of_steps, self.writer.number, self.writer.block_width, moving)
        code.known = {}
        for run in layout.runs:
            self._operand(code, run.group)
            i = run.number
            dot, w, rest, into, into_rest = (Place(t, i, 0, 0) for t in PRODUCT)
            source = layout.operand(run.group)
            code.note(f"# {layout.named(run.weights, run.group)}")
            code.add("{3}({0}, {1}, out={2})", [source, w, into, dot], elementwise=False)
            code.add("if {1} is not None: matmul({0}, {1}, out={2})", [source, rest, into_rest], elementwise=False)
            complete = [j for j in layout.order if layout.slots[j].p and layout.slots[j].p[-1].which == i]
            self._sums(code, [layout.slots[j] for j in complete])
            self._activations(code, [layout.slots[j] for j in complete if layout.slots[j].kind == run.kind])
        late = []
        for k, (exprs, blocks) in enumerate(zip(p.new_states, p.new_state_blocks, strict=True)):
            for e, (lo, hi) in zip(exprs, blocks, strict=True):
                if e.depends <= 1 and e.args:
                    self.into_states.append((e, Place("n", k, lo, hi)))
                else:
                    code.store(e, Place("n", k, lo, hi))
        for e in layout.kept:
            if e.depends > 1:
                code.store(e, layout.z[e.number])
        for e, place in emitted:
            if e.depends <= 1 and (e.args or e.op == "product"):
                self.into_emitted.append((e, place))
                continue
            found = code.operand(e)
            if isinstance(found, Place) and found.table in "zn":
                late.append((found, place))
                self.keeps = self.keeps or found.table == "z"
            elif found != place:
                code.store(e, place)
        self.writer.add("steps", code, True, "Take all sequences through the time.")
        outputs = Statements(lambda e: None, self.writer.number, self.writer.block_width)
        for found, place in late:
            outputs.copy(found, place)
        self.writer.add("outputs", outputs, False, "What is emitted, of values that have a place already.")

    def _sums(self, code: Statements, slots: Sequence[Slotted]) -> None:
        """Add up what makes a slot."""
        shapes: dict[tuple[str, ...], list[tuple[Place, ...]]] = {}
        for s in slots:
            n = s.slot.expr.number
            others = [q for q in (s.a, *s.p[:-1], s.bias) if q is not None]
            target = s.p[-1]
            if s.activation is None and (n in self.writer.layout.z or code.targets.get(n)):
                target = self.writer.layout.z.get(n) or code.targets[n][0]
            places = (target, s.p[-1], *others)
            shapes.setdefault(tuple([f"{q.table}{q.which}" for q in places]), []).append(places)
            code.known[n] = target
        for rows in shapes.values():
            for target, last, *others in merged(rows):
                if not others:
                    code.copy(last, target)
                    continue
                code.add("add({0}, {1}, out={out})", [others[0], last], target)
                for other in others[1:]:
                    code.add("add({0}, {1}, out={out})", [target, other], target)

    def _activations(self, code: Statements, slots: Sequence[Slotted]) -> None:
        """The tanhs and sigmoids of slots, by ranges."""
        rows: list[tuple[Place, ...]] = []
        halved: list[tuple[Place, ...]] = []
        for s in slots:
            e = s.activation
            if e is None:
                continue
            source = code.known[s.slot.expr.number]
            assert isinstance(source, Place)
            targets = code.targets.get(e.number)
            target = targets[0] if targets else source
            rows.append((source, target))
            if s.halved:
                halved.append((target,))
            code.known[e.number] = target
        for source, target in merged(rows):
            code.add("tanh({0}, out={out})", [source], target)
        half = self.writer.number(0.5)
        for (target,) in merged(halved):
            code.add("multiply({0}, {1}, out={out})", [target, half], target)
            code.add("add({0}, {1}, out={out})", [target, half], target)
        for s in slots:
            if s.activation is not None:
                for other in code.targets.get(s.activation.number, [])[1:]:
                    code.copy(code.known[s.activation.number], other)

    def _inputs(self) -> None:
        layout = self.writer.layout
        targets = self._targets()
        code = Statements(self.writer.leaf, self.writer.number, self.writer.block_width, {})
        for n, place in self.waiting.items():
            if n not in layout.slot_of or place.table != "a":
                targets.setdefault(n, []).insert(0, place) if place not in targets.get(n, []) else None
        code.targets = targets
        last = {j: max([r.number for r in layout.runs_before if j in r.slots], default=-1) for j in layout.order}
        for run in layout.runs_before:
            self._operand(code, run.group)
            source, to = layout.operand(run.group), Place("a rows", run.kind, run.first, run.first + len(run.slots))
            a = layout.slots[run.slots[0]].a
            if a is not None and a.table == "n":
                to = Place("n rows", a.which, 0, 1)
            rows = Place(f"{source.table} rows", source.which, 0, 0)
            if not run.early:
                code.note(f"# {layout.named(run.weights, run.group)}")
                code.add("{0}({1}, {2})", [Place("project", run.number, 0, 0), rows, to], elementwise=False)
            done = [layout.slots[j] for j in run.slots if last[j] == run.number and not layout.slots[j].inside]
            for s in done:
                assert s.a is not None
                n = s.slot.expr.number
                code.known[n] = s.a
                for place in targets.get(n, []):
                    code.copy(s.a, place)
            self._activations(code, done)
        for n, e in self.waiting_exprs.items():
            code.store(e, self.waiting[n])
        for e, place in (*self.into_states, *self.into_emitted):
            code.store(e, place)
        for e in layout.kept:
            if e.depends <= 1:
                code.store(e, layout.z[e.number])
        if any(isinstance(q, Place) and q.table == "z" for q in code.known.values()):
            self.keeps = True
        self.writer.add("inputs", code, False, "What depends on x and on masks alone, of many steps at once.")

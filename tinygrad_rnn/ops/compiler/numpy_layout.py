"""Layout of a program's tables for NumPy calls: blocks of one width side by side, and what is where.

An element-wise call on one gate takes several times as long if the gates of a row are side by side in memory, so
tables are block-major, (blocks, rows, W), and there is one for each width W that a cell has, its *class*.  In a class
the order of blocks is chosen so that what can be one call is a range: slots of the same products, and of these first
those that become sigmoids, then those that become tanhs.

**Letters.**  Names in the text begin with one, then the number of the class or of what it belongs to:

===== ================================================================================
a     what products with x, and others that wait for no state, give; of some steps
p     what products of a step give, by run
z     what is kept for the backward pass
s     other values that wait for no state; of some steps
o, n  states before and after the step (old, new)
x, m  x, and masks
e, y  operands of products that are computed, and what is emitted; of all steps
t, u  temporaries: numbers, bools
v     vectors;  k: what is computed of vectors alone;  c: sums of biases
d     cotangents of states, carried from step to step;  g, l: those of a series, of emitted values
b     factors of dZ, and then dZ;  f, h: other factors, numbers and bools; of some steps
r     terms of the cotangent of an operand, by run
i     cotangents that are read after the loop;  j: the cotangent of x
===== ================================================================================
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .arrangement import Part, Slot
from .array_statements import Place
from .linear_forms import LinearForms
from .numba_layout import Operands
from .program import Program
from .units import Expr, walk

__all__ = ["BackRun", "NumpyLayout", "Run", "merged"]

SAFE = frozenset(["mul", "add", "sub", "neg", "spread", "rowsum"])
"""What may read a sigmoid that has an absolute error of a rounding: 0.5 tanh(0.5 a) + 0.5."""


@dataclass
class Run:
    """Products of one operand with the weights of some slots of a class, side by side: one call.

    Attributes:
        number: counts the runs of its kind.
        group: the operand: its place in ``Program.groups``.
        kind: the class.
        slots: in the order of their blocks.
        weights: for each slot the parts whose sum is its weight.
        first: of those before the loop, its first block in ``a``.
        adds: to what an earlier one left.
        segment: of the step; products of computed values wait for these.
        early: its operand is x, and it adds to nothing: the host has it done, perhaps by a second thread.
    """

    number: int
    group: int
    kind: int
    slots: list[int]
    weights: list[list[Part]]
    first: int = 0
    adds: bool = False
    segment: int = 0
    early: bool = False


@dataclass
class BackRun:
    """The products of blocks ``first`` and following of dZ with their weights: terms of the cotangent of an operand.

    Attributes:
        number: counts those of a step, and of what follows the loop.
        kind: the class.
        first, slots: the blocks.
        weights: for each the parts whose sum is its weight.
        width: the columns of the operand.
        into: the cotangent of a state that is nothing but this.
    """

    number: int
    kind: int
    first: int
    slots: list[int]
    weights: list[list[Part]]
    width: int
    into: Place | None = None

    @functools.cached_property
    def side(self) -> Part | None:
        """Its weights, if they are neighbours in one matrix."""
        first = self.weights[0][0]
        at = first.first
        for parts in self.weights:
            part = parts[0]
            if len(parts) > 1 or part.first != at or part._replace(first=0, last=0) != first._replace(first=0, last=0):
                return None
            at = part.last
        return first._replace(last=at)


def merged(rows: Iterable[tuple[Place, ...]]) -> list[tuple[Place, ...]]:
    """Places that are used alike: neighbours become ranges."""
    found: list[tuple[Place, ...]] = []
    for row in rows:
        if found and all(_follows(one, other) for one, other in zip(found[-1], row, strict=True)):
            found[-1] = tuple([one._replace(hi=other.hi) for one, other in zip(found[-1], row, strict=True)])
        else:
            found.append(row)
    return found


def _follows(one: Place, other: Place) -> bool:
    return one[:2] == other[:2] and one.hi == other.lo and one.table in "apzscbf"


@dataclass
class Slotted:
    """What is known of a slot."""

    slot: Slot
    kind: int
    hoisted: list[int]  # groups whose product is done before the loop
    inside: list[int]  # groups whose product is done at every step
    activation: Expr | None = None  # the tanh or sigmoid that alone reads it
    halved: bool = False  # it holds half of the sum: a sigmoid becomes a tanh
    a: Place | None = None
    p: list[Place] = field(default_factory=list)
    bias: Place | None = None  # where it is added at every step
    b: Place | None = None


class NumpyLayout(Operands):
    """Where the values of a program are."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.forms = LinearForms(program, program.backward_roots())
        self.classes: list[int] = []
        self.slots = [self._slotted(s) for s in program.slots]
        self.slot_of = {s.slot.expr.number: j for j, s in enumerate(self.slots)}
        self.state_at = {e.number: Place("n", k, lo, hi) for e, k, lo, hi in self.new_states()}
        self.kept = self._chosen()
        self._find_activations()
        self._place()
        self._place_cotangents()

    def kind(self, width: int) -> int:
        """The class of a width."""
        width = max(width, 1)
        if width not in self.classes:
            self.classes.append(width)
        return self.classes.index(width)

    def _slotted(self, s: Slot) -> Slotted:
        products = self.program.products
        groups = dict.fromkeys(self.group_of[number] for number, _ in s.products)
        hoisted = [g for g in groups if products[self.program.groups[g].products[0]].hoisted]
        hoisted.sort(key=lambda g: products[self.program.groups[g].products[0]].source != "input")
        return Slotted(s, self.kind(s.width), hoisted, [g for g in groups if g not in hoisted])

    # what is kept ------------------------------------------------------------------------------------------------

    def _chosen(self) -> list[Expr]:
        """What is kept: a tanh of a new state takes less time to compute again."""
        kept = {e.number: e for e in self.program.kept}

        def there(a: Expr) -> bool:
            return a.number in kept or a.number in self.state_at or a.op in ("state", "input", "mask", "vector")

        for e in list(kept.values()):
            if e.op in ("tanh", "sigmoid") and e.width > 1 and e.args[0].number not in self.slot_of:
                if there(e.args[0]):
                    del kept[e.number]
        return list(kept.values())

    def _find_activations(self) -> None:
        kept = {e.number for e in self.kept}
        p = self.program
        users: dict[int, list[Expr]] = {}
        every = {e.number: e for e in walk([*p.forward_roots(), *p.kept, *p.backward_roots()])}
        for e in every.values():
            for a in e.args:
                users.setdefault(a.number, []).append(e)
        roots = {e.number for e in p.forward_roots()} | kept
        for s in self.slots:
            readers = users.get(s.slot.expr.number, [])
            if len(readers) == 1 and readers[0].op in ("tanh", "sigmoid") and s.slot.expr.number not in roots:
                (e,) = readers
                if e.op == "sigmoid" and not all(a.op in SAFE for a in users.get(e.number, [])):
                    continue
                s.activation, s.halved = e, e.op == "sigmoid"

    # blocks ------------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """The order of slots, and the blocks of ``a``, ``p``, ``c`` and ``z``."""
        ranks: dict[tuple[tuple[int, ...], ...], int] = {}

        def rank(j: int) -> tuple[int, int, int]:
            s = self.slots[j]
            products = (tuple(s.hoisted), tuple(s.inside))
            kind = "sigmoid tanh".split().index(s.activation.op) if s.activation is not None else 2
            return ranks.setdefault(products, len(ranks)), kind, j

        order = sorted(range(len(self.slots)), key=rank)
        self.order = order
        counts: dict[str, dict[int, int]] = {"a": {}, "c": {}, "z": {}}
        self.blocks_a, self.blocks_c, self.blocks_z = counts.values()

        def new(table: str, kind: int) -> Place:
            at = counts[table].get(kind, 0)
            counts[table][kind] = at + 1
            return Place(table, kind, at, at + 1)

        self._new = new
        hoisted = [s for s in self.slots if s.hoisted]
        for j in order:
            s = self.slots[j]
            if s.hoisted and len(hoisted) == 1 and self._is_state(s):
                s.a = self.state_at[s.activation.number]  # type: ignore[union-attr]
            elif s.hoisted:
                s.a = new("a", s.kind)
            elif s.slot.vectors:
                s.bias = new("c", s.kind)
        self.runs_before, self.runs = self._runs_before(), self._runs_inside()
        self.z: dict[int, Place] = {}
        numbers = {e.number: e for e in self.kept}
        slots = [self.slots[j] for j in order]
        first = [s.slot.expr if s.activation is None else s.activation for s in slots]
        for e in [*[e for e in first if e.number in numbers], *self.kept]:
            if e.number not in self.z:
                self.z[e.number] = new("z", self.kind(e.width))

    def _is_state(self, s: Slotted) -> bool:
        """Whether a slot becomes a whole state, as of a plain RNN: its products with x go where that will be."""
        place = None if s.activation is None else self.state_at.get(s.activation.number)
        return place is not None and bool(s.inside) and place.lo == 0 and place.hi == self.program.widths[place.which]

    def _parts(self, j: int, group: int) -> list[Part]:
        found = []
        for number, lo in self.slots[j].slot.products:
            if self.group_of[number] == group:
                p = self.program.products[number]
                found.append(Part(p.weight, p.transposed, lo, lo + self.slots[j].slot.width, *p.part))
        return found

    def operand(self, group: int) -> Place:
        """The operand of a group, as it is at a step."""
        source = self.source(group)
        table, which = ("x", 0) if source == "x" else ("o" if source[0] == "s" else "e", int(source[1:]))
        return Place(table, which, 0, self.width(group))

    def _runs_before(self) -> list[Run]:
        runs: list[Run] = []
        for group in sorted(range(len(self.program.groups)), key=lambda g: (self.segment(g), g)):
            mine = [j for j in self.order if group in self.slots[j].hoisted]
            for kind in dict.fromkeys(self.slots[j].kind for j in mine):
                of_kind = [j for j in mine if self.slots[j].kind == kind]
                for j in of_kind:
                    s = self.slots[j]
                    assert s.a is not None
                    adds, last = group != s.hoisted[0], runs[-1] if runs else None
                    follows = last is not None and (last.group, last.kind, last.adds) == (group, kind, adds)
                    if last is None or not follows or last.first + len(last.slots) != s.a.lo:
                        last = Run(len(runs), group, kind, [], [], s.a.lo, adds, self.segment(group))
                        runs.append(last)
                    last.slots.append(j)
                    last.weights.append(self._parts(j, group))
        # what adds comes after what it adds to
        runs.sort(key=lambda r: (r.segment, r.adds))
        for i, run in enumerate(runs):
            run.number, run.early = i, not run.adds and self.source(run.group) == "x"
        return runs

    def _runs_inside(self) -> list[Run]:
        runs: list[Run] = []
        for group in sorted(range(len(self.program.groups)), key=lambda g: (self.segment(g), g)):
            mine = [j for j in self.order if group in self.slots[j].inside]
            for kind in dict.fromkeys(self.slots[j].kind for j in mine):
                of_kind = [j for j in mine if self.slots[j].kind == kind]
                run = Run(len(runs), group, kind, of_kind, [self._parts(j, group) for j in of_kind])
                run.segment = self.segment(group)
                for i, j in enumerate(of_kind):
                    self.slots[j].p.append(Place("p", run.number, i, i + 1))
                runs.append(run)
        return runs

    # the way back ------------------------------------------------------------------------------------------------

    def _place_cotangents(self) -> None:
        """The blocks of ``b``: the slots in the order of their weights' rows, those without x first.

        Those that are times the same core follow each other: they are one call.
        """
        self.blocks_b: dict[int, int] = {}
        ranks: dict[int, int] = {}

        def rank(j: int) -> tuple[bool, int, int]:
            gradient = self.slots[j].slot.gradient
            assert gradient is not None
            e = self.forms.value(gradient)
            core = e.args[0].number if e.op == "mul" else -1 - j
            return bool(self.slots[j].hoisted), ranks.setdefault(core, len(ranks)), j

        self.order_back = sorted([j for j, s in enumerate(self.slots) if s.slot.gradient is not None], key=rank)
        for j in self.order_back:
            s = self.slots[j]
            at = self.blocks_b.get(s.kind, 0)
            self.blocks_b[s.kind] = at + 1
            s.b = Place("b", s.kind, at, at + 1)

    def named(self, weights: Sequence[Sequence[Part]], group: int) -> str:
        """A product in words: ``state 0 @ weight_hh``."""
        return self.in_words(group, [part.matrix for parts in weights for part in parts])

    def back_runs(self, products: Sequence[int], first: int) -> list[BackRun]:
        """The runs that give the adjoint of some products of one operand, numbered from ``first``."""
        group, wanted = self.group_of[products[0]], set(products)
        runs: list[BackRun] = []
        for kind in range(len(self.classes)):
            for j in self.order_back:
                s = self.slots[j]
                parts = [
                    part
                    for (number, _), part in zip(
                        [q for q in s.slot.products if self.group_of[q[0]] == group], self._parts(j, group), strict=True
                    )
                    if number in wanted
                ]
                if s.kind != kind or not parts:
                    continue
                assert s.b is not None
                if not runs or runs[-1].kind != kind or runs[-1].first + len(runs[-1].slots) != s.b.lo:
                    runs.append(BackRun(first + len(runs), kind, s.b.lo, [], [], self.width(group)))
                runs[-1].slots.append(j)
                runs[-1].weights.append(parts)
        return runs

    def weight_runs(self) -> list[tuple[int, BackRun]]:
        """For each group the runs whose columns of dZ give the gradients of its weights."""
        found = []
        for group, g in enumerate(self.program.groups):
            found += [(group, run) for run in self.back_runs(g.products, 0)]
        return found

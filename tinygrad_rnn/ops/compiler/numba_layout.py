"""Layout of a program's tables for compiled kernels: the columns of slots, of what is kept, and of vectors; the runs.

A row of ``gates`` has first the slots, which the products fill, then what is kept.  A kept value takes the place of the
slot that is read for it alone, as an LSTM's gates replace their pre-activations.  Products of one operand whose slots
follow each other are one :class:`Run`, one call of BLAS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .program import Program
from .unit_loops import Table
from .units import Expr, walk

__all__ = ["Layout", "Operands", "Piece", "Run", "printable"]


class Piece(NamedTuple):
    """Columns lo to hi of a product."""

    product: int
    lo: int
    hi: int


@dataclass
class Run:
    """Products that are one call of BLAS: of one operand, with columns side by side.

    Attributes:
        pieces: columns of products, in the order of their slots.
        start: their first column in a row of slots.
        source: "x", "s0" for state 0, or "e0" for the operand of group 0.
        group: its place in ``Program.groups``.
        add: it adds to what an earlier one left.
        segment: the segment of the step that it begins.
    """

    pieces: list[Piece]
    start: int
    source: str
    group: int
    add: bool
    segment: int

    @property
    def widths(self) -> list[int]:
        """Of its pieces."""
        return [p.hi - p.lo for p in self.pieces]


class Operands:
    """The operands of a program's products, by group: what they are, and when they are there."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.group_of = {number: k for k, g in enumerate(program.groups) for number in g.products}

    def source(self, group: int) -> str:
        """The table of an operand: "x", "s0" for state 0, "e0" for what group 0 computes."""
        product = self.program.products[self.program.groups[group].products[0]]
        if product.source == "state":
            return f"s{product.operand[0].at[0]}"
        return "x" if product.source == "input" else f"e{group}"

    def segment(self, group: int) -> int:
        """The segment of the step that the product of a group begins."""
        computed = self.source(group)[0] == "e"
        return max(self.program.stages[e.number][0] for e in self.program.groups[group].operand) + 1 if computed else 0

    def width(self, group: int) -> int:
        """The columns of an operand."""
        return self.operand_width(self.program.groups[group].products[0])

    def operand_width(self, number: int) -> int:
        """The columns of the operand of a product."""
        return self.program.products[number].operand_blocks[-1][1]

    def new_states(self) -> Iterator[tuple[Expr, int, int, int]]:
        """The expressions that are new states, block by block: (expression, state, lo, hi)."""
        p = self.program
        for k, (exprs, blocks) in enumerate(zip(p.new_states, p.new_state_blocks, strict=True)):
            for e, (lo, hi) in zip(exprs, blocks, strict=True):
                if e.args and e.width == hi - lo:
                    yield e, k, lo, hi

    def in_words(self, group: int, matrices: Iterable[int]) -> str:
        """A product of an operand with some matrices: ``x @ weight_ih``."""
        of = self.program.prelude.matrices
        names = dict.fromkeys(printable(of[m].name) or "a computed weight" for m in matrices)
        source = self.source(group)
        kind = {"x": "x", "s": f"state {source[1:]}", "e": "computed values"}[source[0]]
        return f"{kind} @ {', '.join(names)}"


class Layout(Operands):
    """Where the values of a program are.

    What is before a column is given as a list of widths, of which the text makes a sum: it has no sizes.

    Attributes:
        slot_of, slot_at: the slot that an expression is, by number; the first column of each slot.
        state_at: the new state (k, lo) that an expression is, by number.
        forward_all: what the forward pass computes, arguments first.
        stage: as ``Program.stages``, of all of these.
        held, held_before, held_at: what is kept, with sums over units, which a later product may need; by number what
            is before their columns, and the first of these.
        quotients: of ``Program.quotients`` those that need not be kept.  Where the sigmoid is 0 the quotient is lost,
            and so it must be read for the new state alone, and be bounded.
        bias_before, vector_before: what is before the bias of slot j, and before a vector that is read by itself.
        columns, slot_columns, gate_widths: of a row of ``gates``; of these the slots, which ``dz`` has too; and the
            widths that it consists of.
        biases: (first column in ``vectors``, vector, its first entry, how many): what is added up there.
        vector_widths: the widths that ``vectors`` consists of.
        x_table, state_tables, mask_tables, emitted_tables: the bounds of blocks of x, of each state, of each mask, and
            of each emitted value.
        runs: of the forward pass.
    """

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.slots = program.slots
        self.slot_of = {s.expr.number: j for j, s in enumerate(self.slots)}
        self.slot_at: list[int] = []
        at = 0
        for s in self.slots:
            self.slot_at.append(at)
            at += s.width
        self.slot_columns = at
        self.state_at = {e.number: (k, lo) for e, k, lo, _ in self.new_states()}
        # values that the backward pass alone asks for are made by the forward pass where they are kept
        self.forward_all = list(walk([*program.forward_roots(), *program.kept]))
        self.stage = dict(program.stages)
        for e in self.forward_all:
            if e.number not in self.stage:
                segment, step = max([self.stage[a.number] for a in e.args], default=(0, 0))
                self.stage[e.number] = segment, step + (e.op in ("rowsum", "rowmax"))
        self.users: dict[int, list[Expr]] = {}
        for e in self.forward_all:
            for a in e.args:
                self.users.setdefault(a.number, []).append(e)
        roots = {e.number for e in program.forward_roots()}
        self.quotients = {
            n: q
            for n, q in program.quotients.items()
            if len(self.users.get(n, ())) == 1 and n not in roots and self._is_tanh(n)
        }
        reductions = [e for e in self.forward_all if e.op in ("rowsum", "rowmax")]
        held = {e.number: e for e in [*program.kept, *reductions] if e.number not in self.quotients}
        self.held = [held[n] for n in sorted(held)]
        self._place_held()
        self._place_vectors()
        every = [*self.forward_all, *walk(program.backward_roots())]

        def spans(op: str, *of: int) -> list[tuple[int, int]]:
            return [(e.at[-1], e.at[-1] + max(e.width, 1)) for e in every if e.op == op and e.at[:-1] == of]

        self.x_table = Table([*spans("input"), *program.input_blocks])
        self.state_tables = [
            Table([*spans("state", k), *spans("cotangent", k), *blocks, *program.state_gradient_blocks[k]])
            for k, blocks in enumerate(program.new_state_blocks)
        ]
        masks = range(len(program.step_masks) + len(program.sequence_masks))
        self.mask_tables = [Table(spans("mask", k)) for k in masks]
        self.emitted_tables = [
            Table([*spans("emitted", k), *blocks]) for k, blocks in enumerate(program.emitted_blocks)
        ]
        self._back: dict[int, tuple[int, int]] = {}
        self.runs = self._forward_runs()

    def backward_stage(self, e: Expr) -> tuple[int, int]:
        """The segment and the pass of the backward pass in which an expression can be computed first.

        A segment begins when the adjoints are there that the ones before it made possible, a pass when the sums over
        rows are known that the pass before ended with.
        """
        found = self._back.get(e.number)
        if found is None:
            if e.op == "adjoint":
                gradient = self.program.products[e.at[0]].gradient
                assert gradient is not None
                found = max(self.backward_stage(a) for a in gradient)[0] + 1, 0
            elif e.depends < 3:
                found = 0, 0
            else:
                segment, step = max([self.backward_stage(a) for a in e.args], default=(0, 0))
                found = segment, step + (e.op in ("rowsum", "rowmax"))
            self._back[e.number] = found
        return found

    def _is_tanh(self, number: int) -> bool:
        return any(e.number == number and e.op == "tanh" for e in self.program.kept)

    def _place_held(self) -> None:
        """Columns of what is kept: on the slot that is read for it alone, or behind the slots."""
        numbers = {e.number for e in self.held}
        own = {e.number for e in self.program.forward_roots()}
        self.held_before: dict[int, list[int]] = {}
        self.held_at: dict[int, int] = {}
        widths = [s.width for s in self.slots]
        for j, s in enumerate(self.slots):
            readers = {s.expr.number} if s.expr.number in numbers else self._readers(s.expr, numbers, own)
            if len(readers) == 1:
                (n,) = readers
                width = next((e.width for e in self.held if e.number == n), None)
                if width == s.width and n not in self.held_before:
                    self.held_before[n], self.held_at[n] = widths[:j], self.slot_at[j]
        at = self.slot_columns
        for e in self.held:
            if e.number not in self.held_before:
                width = max(e.width, 1)
                self.held_before[e.number], self.held_at[e.number] = list(widths), at
                widths.append(width)
                at += width
        self.columns, self.gate_widths = at, widths

    def _readers(self, e: Expr, held: set[int], roots: set[int]) -> set[int]:
        """The kept values that are computed of a value; -1 among them if something else is, too."""
        found, stack, seen = set(), [e], set()
        while stack:
            a = stack.pop()
            if a.number in seen:
                continue
            seen.add(a.number)
            if a.number in roots:
                found.add(-1)
            for user in self.users.get(a.number, ()):
                if user.number in held:
                    found.add(user.number)
                else:
                    stack.append(user)
        return found

    def _place_vectors(self) -> None:
        """Columns of the sums of biases, one for each slot that has any, and of vectors that are read by themselves."""
        p = self.program
        self.vector_widths: list[int] = []
        self.bias_before: dict[int, list[int]] = {}
        self.vector_before: dict[tuple[int, int], list[int]] = {}
        pieces = []
        at = 0
        for j, s in enumerate(self.slots):
            if s.vectors:
                self.bias_before[j] = list(self.vector_widths)
                self.vector_widths.append(s.width)
                pieces += [(at, v, lo, s.width) for v, lo in s.vectors]
                at += s.width
        inner = {s.expr.number for s in self.slots}
        read = [*walk(p.forward_roots(), lambda e: e.number in inner), *walk(p.backward_roots(), self.is_there)]
        leaves = {e.at: e for e in read if e.op == "vector"}
        for v, lo in sorted(leaves):
            width = max(leaves[v, lo].width, 1)
            self.vector_before[v, lo] = list(self.vector_widths)
            self.vector_widths.append(width)
            pieces.append((at, v, lo, width))
            at += width
        merged: list[tuple[int, int, int, int]] = []
        for at, v, lo, width in pieces:  # neighbours are one copy
            for k, (start, of, first, count) in enumerate(merged):
                if of == v and start + count == at and first + count == lo:
                    merged[k] = (start, of, first, count + width)
                    break
            else:
                merged.append((at, v, lo, width))
        self.biases = tuple(merged)

    def is_there(self, e: Expr) -> bool:
        """Whether the backward pass finds a value of the forward pass in a table."""
        return e.number in self.held_before or e.number in self.state_at or e.number in self.quotients

    def _forward_runs(self) -> list[Run]:
        order = sorted(range(len(self.program.groups)), key=lambda k: (self.segment(k), self.source(k) != "x", k))
        written: set[int] = set()
        runs: list[Run] = []
        for k in order:
            of_group: list[Run] = []
            for j, s in enumerate(self.slots):
                for number, lo in s.products:
                    if self.group_of[number] == k:
                        piece = Piece(number, lo, lo + s.width)
                        self._join(of_group, piece, self.slot_at[j], k, j in written, self.segment(k))
                        written.add(j)
            runs += of_group
        return runs

    def _join(self, runs: list[Run], piece: Piece, at: int, group: int, add: bool, segment: int) -> None:
        for run in runs:
            if run.start + sum(run.widths) == at and run.add == add:
                run.pieces.append(piece)
                return
        runs.append(Run([piece], at, self.source(group), group, add, segment))

    def backward_runs(self, products: Iterable[int], group: int) -> list[Run]:
        """The runs of dz by which some products of a group give the cotangent of their operand."""
        wanted = set(products)
        runs: list[Run] = []
        for j, s in enumerate(self.slots):
            if s.gradient is not None:
                for number, lo in s.products:
                    if number in wanted:
                        self._join(runs, Piece(number, lo, lo + s.width), self.slot_at[j], group, False, 0)
        return runs

    def named(self, run: Run) -> str:
        """A run in words: ``x @ weight_ih``."""
        return self.in_words(run.group, [self.program.products[piece.product].weight for piece in run.pieces])

    def slot_before(self, j: int) -> list[int]:
        """The widths of the slots before slot j."""
        return [s.width for s in self.slots[:j]]

    def columns_before(self, column: int) -> list[int]:
        """The widths of the slots before a column that begins one."""
        return self.slot_before(self.slot_at.index(column))

    def _terms(self, e: Expr) -> list[Expr]:
        return self._terms(e.args[0]) + self._terms(e.args[1]) if e.op == "add" else [e]

    def direct(
        self, gradient: Sequence[Expr] | None, blocks: Sequence[tuple[int, int]], source: str
    ) -> tuple[list[int], list[list[Expr]]]:
        """The products whose adjoint is a term of all blocks of a cotangent, and the other terms of each block."""
        if gradient is None:
            return [], [[] for _ in blocks]
        terms = [self._terms(e) for e in gradient]
        direct = []
        for number, product in enumerate(self.program.products):
            if product.gradient is None or self.source(self.group_of[number]) != source:
                continue
            at = [(number, lo) for lo, _ in blocks]
            if all(sum(t.op == "adjoint" and t.at == a for t in ts) == 1 for a, ts in zip(at, terms, strict=True)):
                direct.append(number)
        rest = [[t for t in ts if not (t.op == "adjoint" and t.at[0] in direct)] for ts in terms]
        return direct, rest

    def operand_widths(self) -> dict[int, int]:
        """By group whose operand is computed, its columns."""
        groups = enumerate(self.program.groups)
        return {k: self.operand_width(g.products[0]) for k, g in groups if self.source(k)[0] == "e"}


def printable(name: str) -> str:
    """A parameter's name where it is harmless in a comment, else nothing: it becomes part of a text that is run."""
    return name if re.fullmatch(r"[A-Za-z0-9_.]+", name) else ""

"""Statements of generated code for whole arrays: calls with ``out=``, and which temporary array each uses.

A value is in a :class:`Place`, which the layout gave it, or in a temporary; both are blocks of columns, (n, W) at a
step and (steps, N, W) where many steps are done at once.  Temporaries are shared out when all statements are known: one
is free again after the last statement that reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .units import BOOLEAN, Expr, Unknown, walk

__all__ = ["MASKS", "Operand", "Place", "Statements", "Temporary", "overlap"]


class Place(NamedTuple):
    """Columns lo to hi of a table of rows, (n, hi - lo); or blocks lo to hi of a table of blocks, (hi - lo, n, W).

    One block is (n, W), or of these the ``columns``.
    """

    table: str
    which: int
    lo: int
    hi: int
    columns: tuple[int, int] | None = None


class Temporary(NamedTuple):
    """A value that is read by a few statements: of so many columns, numbers or bools."""

    number: int
    width: int
    boolean: bool


Operand = Place | Temporary | str

MASKS = frozenset([*BOOLEAN, "logical_not", "isnan", "isinf", "isfinite"])
"""Operations whose result is true or false."""

CALLS = {
    "sub": "subtract",
    "mul": "multiply",
    "div": "true_divide",
    "neg": "negative",
    "abs": "absolute",
    "pow": "power",
}
PLAIN = frozenset(
    ["add", "maximum", "minimum", "tanh", "sqrt", "reciprocal", "arctan2", "hypot", "copysign", *MASKS, *CALLS]
    + ["exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "sinh", "cosh", "arcsin", "arccos"]
    + ["arctan", "arcsinh", "arccosh", "arctanh", "floor", "ceil", "trunc", "rint"]
)
"""Operations that are one call."""

SEVERAL: dict[str, list[tuple[str, bool]]] = {
    # with whether the result may be where an argument is
    "relu": [("maximum({0}, {zero}, out={out})", True)],
    "rsqrt": [("sqrt({0}, out={out})", True), ("reciprocal({out}, out={out})", True)],
    "sigmoid": [
        ("negative({0}, out={out})", True),
        ("exp({out}, out={out})", True),
        ("add({out}, {one}, out={out})", True),
        ("reciprocal({out}, out={out})", True),
    ],
    "sign": [("sign({0}, out={out})", True), ("copyto({out}, {zero}, where=isnan({out}))", True)],
    "where": [("copyto({out}, {2})", False), ("copyto({out}, {1}, where={0})", False)],
    "erf": [("copyto({out}, erf({0}))", True)],
}


COPY = "copyto({out}, {0})"

UNSHARED = "nzbfisey"
"""Tables whose places are written and read under their names alone."""


def overlap(place: Place, other: Operand | None) -> bool:
    """Whether two places share memory."""
    if not isinstance(other, Place):
        return False
    if place.table == "b" and other.table in ("left", "b rows"):
        return True
    return place[:2] == other[:2] and place.lo < other.hi and other.lo < place.hi


@dataclass
class Statement:
    """One line: ``form`` with the operands filled in."""

    form: str
    args: tuple[Operand, ...]
    out: Operand | None
    elementwise: bool  # the result may be where an argument is that nothing else reads


class Statements:
    """The statements that compute expressions, each once.

    Args:
        leaf: where a value is that need not be computed; None for others.
        number: the name of a number.
        width: the columns of a block, or of columns.
        targets: by number of an expression, where it is wanted.
    """

    def __init__(
        self,
        leaf: Callable[[Expr], Operand | None],
        number: Callable[[float], str],
        width: Callable[[Place], int],
        targets: dict[int, list[Place]] | None = None,
    ) -> None:
        self.leaf, self.number, self.width = leaf, number, width
        self.targets = {} if targets is None else targets
        self.known: dict[int, Operand] = {}
        self.lines: list[Statement | str] = []
        self._temporaries = 0

    def operand(self, e: Expr) -> Operand | None:
        """Where a value is, if it is anywhere."""
        found = self.known.get(e.number)
        if found is None:
            found = self.number(e.at[0]) if e.op == "number" else self.leaf(e)
            if found is not None:
                self.known[e.number] = found
        return found

    def value(self, root: Expr) -> Operand:
        """Where a value is, after the statements that compute it."""
        for e in walk([root], lambda e: self.operand(e) is not None):
            if self.operand(e) is None:
                self._compute(e)
        return self.known[root.number]

    def temporary(self, width: int, boolean: bool = False) -> Temporary:
        """A new one."""
        self._temporaries += 1
        return Temporary(self._temporaries, max(width, 1), boolean)

    def add(self, form: str, args: Sequence[Operand], out: Operand | None = None, elementwise: bool = True) -> None:
        """A statement."""
        self.lines.append(Statement(form, tuple(args), out, elementwise))

    def note(self, text: str) -> None:
        """A line as it is."""
        self.lines.append(text)

    def copy(self, source: Operand, to: Operand) -> None:
        """A copy, unless it is there."""
        if source != to:
            self.add(COPY, [source], to)

    def store(self, e: Expr, to: Place) -> None:
        """Have a value in a place."""
        if self.operand(e) is None and e.number not in self.targets:
            self.targets[e.number] = [to]
        self.copy(self.value(e), to)

    def _compute(self, e: Expr) -> None:
        args = [self.known[a.number] for a in e.args]
        if e.op == "spread":  # NumPy spreads it
            self.known[e.number] = args[0]
            return
        targets = self.targets.get(e.number, [])
        out: Operand = targets[0] if targets else self.temporary(e.width, e.op in MASKS)
        self.apply(e, args, out)
        self.known[e.number] = out
        for other in targets[1:]:
            self.copy(out, other)

    def apply(self, e: Expr, args: Sequence[Operand], out: Operand) -> None:
        """Statements that compute an expression of operands."""
        if e.op in PLAIN:
            holes = ", ".join([f"{{{k}}}" for k in range(len(args))])
            self.add(f"{CALLS.get(e.op, e.op)}({holes}, out={{out}})", args, out)
        elif e.op == "where" and out in args[1:]:
            other = 1 if args[2] == out else 2
            test = "{0}" if other == 1 else "logical_not({0})"
            self.add(f"copyto({{out}}, {{{other}}}, where={test})", args, out, elementwise=False)
        elif e.op in SEVERAL:
            for form, elementwise in SEVERAL[e.op]:
                for hole, number in (("{zero}", 0.0), ("{one}", 1.0)):
                    form = form.replace(hole, self.number(number))
                self.add(form, args if re.search(r"{\d}", form) else (), out, elementwise)
        elif e.op in ("rowsum", "rowmax"):
            self._reduce(e, args, out)
        else:
            raise Unknown(f"{e.op}() has no form in calls of NumPy")

    def _reduce(self, e: Expr, args: Sequence[Operand], out: Operand) -> None:
        reduce, join = ("row_sum", "add") if e.op == "rowsum" else ("row_max", "maximum")
        for k, (a, place) in enumerate(zip(e.args, args, strict=True)):
            to = out if k == 0 else self.temporary(1)
            if a.op != "number" and (a.depends == 0 or a.op == "mask"):  # it may be the same in all rows
                self.add(f"copyto({{out}}, {reduce}({{0}}, axis=-1, keepdims=True))", [place], to)
            elif a.op == "spread" or a.width <= 1:  # the same in all columns
                form = f"multiply({{0}}, {self.number(max(a.width, 1))}, out={{out}})"
                self.add(form if e.op == "rowsum" else "copyto({out}, {0})", [place], to)
            else:
                self.add(f"{reduce}({{0}}, axis=-1, out={{out}}, keepdims=True)", [place], to, elementwise=False)
            if k:
                self.add(f"{join}({{0}}, {{1}}, out={{out}})", [out, to], out)

    def overwritten(self) -> frozenset[int]:
        """States of which the value before the step is read after one is written that comes after it."""
        self._use_destinations()
        written: set[int] = set()
        found: set[int] = set()
        for line in self.lines:
            if isinstance(line, Statement):
                new = {line.out.which} if isinstance(line.out, Place) and line.out.table == "n" else set()
                # an elementwise call may write where it reads
                found |= {a.which for a in line.args if isinstance(a, Place) and a.table == "o"} & (
                    written if line.elementwise else written | new
                )
                written |= new
        return frozenset(found)

    def _mentions(self) -> dict[Temporary, list[int]]:
        """The statements that write or read a temporary."""
        found: dict[Temporary, list[int]] = {}
        for i, line in enumerate(self.lines):
            if isinstance(line, Statement):
                for t in {t for t in (*line.args, line.out) if isinstance(t, Temporary)}:
                    found.setdefault(t, []).append(i)
        return found

    def _use_destinations(self) -> None:
        """Have a temporary of which a result is made be where that result goes, if that is not used before."""
        for t, span in sorted(self._mentions().items(), key=lambda item: item[1][-1], reverse=True):
            line = self.lines[span[-1]]
            assert isinstance(line, Statement)
            place = line.out
            if not isinstance(place, Place) or place.table not in UNSHARED or not line.elementwise or t.boolean:
                continue
            between = [a for a in self.lines[span[0] : span[-1]] if isinstance(a, Statement)]
            used = [q for a in (*between, line) for q in a.args] + [a.out for a in between]
            if self.width(place) != t.width or any(overlap(place, q) for q in used):
                continue
            for i in span:
                other = self.lines[i]
                assert isinstance(other, Statement)
                other.args = tuple([place if a == t else a for a in other.args])
                other.out = place if other.out == t else other.out

    # text ----------------------------------------------------------------------------------------------------------

    def text(self, name: Callable[[Place], str], rooms: dict[tuple[int, bool], int]) -> list[str]:
        """All lines; ``rooms`` gets, by width and kind, how many temporary blocks they use at most."""
        self._use_destinations()
        last = {t: span[-1] for t, span in self._mentions().items()}
        free: dict[tuple[int, bool], list[int]] = {}
        block: dict[Temporary, int] = {}

        def shown(a: Operand) -> str:
            if isinstance(a, str):
                return a
            if isinstance(a, Place):
                return name(a)
            return name(Place("u" if a.boolean else "t", a.width, block[a], block[a] + 1))

        found = []
        for i, line in enumerate(self.lines):
            if isinstance(line, str):
                found.append(line)
                continue
            if line.form == COPY and line.args == (line.out,):  # made where it is wanted
                continue
            over = {a for a in line.args if isinstance(a, Temporary) and last[a] == i and a != line.out}

            def release(over: set[Temporary] = over) -> None:
                for a in sorted(over, reverse=True):
                    free.setdefault((a.width, a.boolean), []).append(block[a])

            if line.elementwise:
                release()
            out = line.out
            if isinstance(out, Temporary) and out not in block:
                kind = out.width, out.boolean
                idle = free.setdefault(kind, [])
                if not idle:
                    rooms[kind] = rooms.get(kind, 0) + 1
                    idle.append(rooms[kind] - 1)
                block[out] = idle.pop()
            if not line.elementwise:
                release()
            holes = {"out": "" if out is None else shown(out)}
            found.append(line.form.format(*[shown(a) for a in line.args], **holes))
            if isinstance(out, Temporary) and last[out] == i:  # nothing reads it
                free.setdefault((out.width, out.boolean), []).append(block[out])
        return found

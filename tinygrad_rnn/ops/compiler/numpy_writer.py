"""Functions of the text of NumPy kernels: names for places, and what each function is given.

A function without loop is given tables, of whose blocks its lines take some, as in ``tanh(z0[0:3], out=t0[0:3])``.  One
with a loop is given, for each visit, views: ``for z0_0to3, o0 in visits``.  What does not change within the loop is an
argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .array_statements import Operand, Place, Statements
from .numpy_layout import NumpyLayout
from .program import Program
from .units import Expr

__all__ = ["COLUMNS", "NAMES", "PRODUCT", "Function", "Writer"]

COLUMNS = "onxmeydgljvk"
"""Tables of rows; all others are of blocks."""

PRODUCT = ("dot", "weight", "rest", "into", "into_rest")
"""What a product of every step has: its function, its weight, where its results go; and the same for what is left over
of a weight that is cut into blocks."""

FIXED = ("p", "t", "u", "v", "c", "k", "d", "r", "#", *PRODUCT)
"""What is the same at every visit of as many sequences."""

NAMES = {"0.0": "zero", "0.5": "half", "1.0": "one", "-1.0": "minus_one", "2.0": "two"}
"""Names of numbers that stand in the text; others are given to it, for they may be sizes, as of a mean."""


@dataclass
class Function:
    """One function of the text, and what it is given.

    Attributes:
        doc: what it does.
        lines: its statements.
        arguments: by name; of a function with a loop, those that do not change within.
        visits: by name, what each visit has of its own; None of a function without loop.
        overwritten: states of which the value before the step is read after one is written that comes after it.
    """

    doc: str
    lines: list[str]
    arguments: dict[str, Place] = field(default_factory=dict)
    visits: dict[str, Place] | None = None
    overwritten: frozenset[int] = frozenset()

    def text(self, name: str) -> str:
        """As it stands in the module."""
        loop = self.visits is not None
        calls = sorted({line.split("(", 1)[0].split()[-1] for line in self.lines if "(" in line and line[0] != "#"})
        calls = [c for c in calls if not c.startswith(("project", "back", "dot"))]
        inner = ("isnan", "logical_not", "row_sum", "row_max", "column_sum")
        calls = sorted({*calls, *[c for c in inner if any(f"{c}(" in line for line in self.lines)]} - {"if"})
        head = f"def {name}({', '.join(['f', *(['visits'] if loop else []), *self.arguments])}):"
        lines = [head, f'    """{self.doc}"""']
        if calls:
            lines.append(f"    {', '.join(calls)} = {', '.join([f'f.{c}' for c in calls])}")
        if self.visits is not None:
            lines.append(f"    for {''.join([n + ', ' for n in self.visits]).rstrip()} in visits:")
        return "\n".join([*lines, *[("    " * (1 + loop)) + line for line in self.lines]])


class Writer:
    """The functions of one program.

    Attributes:
        layout: where everything is.
        numbers: by which the names of numbers count.
        constants: by which the names ``k`` count: expressions of vectors alone.
        blocks: by letter and class, how many blocks a table of some steps has.
        rooms: of each function that has temporaries: by width and kind, how many.
        functions: by name.
    """

    def __init__(self, program: Program, layout: NumpyLayout) -> None:
        self.program, self.layout = program, layout
        self.numbers: list[float] = []
        self.constants: list[Expr] = []
        self.blocks: dict[tuple[str, int], int] = {}
        self.rooms: dict[str, dict[tuple[int, bool], int]] = {}
        self.functions: dict[str, Function] = {}
        self._columns: dict[tuple[str, int], list[tuple[int, int]]] = {}
        self._constants: dict[int, int] = {}

    # names -------------------------------------------------------------------------------------------------------

    def number(self, value: float) -> str:
        """The name of a number."""
        for k, known in enumerate(self.numbers):
            if repr(known) == repr(value):
                return f"#{k}"
        self.numbers.append(value)
        return f"#{len(self.numbers) - 1}"

    def width_of(self, table: str, which: int) -> int:
        """All columns of a table of rows."""
        p = self.program
        if table in "ondg":
            return p.widths[which]
        if table in "xj":
            return p.input_size
        if table in "yl":
            return p.emitted_blocks[which][-1][1]
        if table == "v":
            return p.vectors[which].width
        if table == "m":
            return [*p.step_masks, *p.sequence_masks][which].width
        return self.layout.width(which)

    def block_width(self, place: Place) -> int:
        """The columns of a place; -1 of several blocks and of parts of one."""
        if place.table in COLUMNS:
            return place.hi - place.lo
        return self.layout.classes[place.which] if place.hi == place.lo + 1 and place.columns is None else -1

    def _index(self, place: Place, bounds: tuple[int, int]) -> int:
        known = self._columns.setdefault(place[:2], [])
        if bounds not in known:
            known.append(bounds)
        return known.index(bounds)

    def _name(self, place: Place, whole: bool) -> tuple[str, Place]:
        """A name and what has it; of ``whole`` tables of blocks this is the table, and blocks are its entries."""
        table, which, lo, hi, columns = place
        if table in ("left", "total", "project", "back", *PRODUCT):
            return f"{table}{which}" + (f"_{self._index(place, (lo, hi))}" if table == "total" else ""), place
        if table in ("t", "u"):  # whose number is a width
            which = self.layout.kind(which)
            place = place._replace(which=which)
        start = f"{table[0]}{'' if table[0] in 'xj' else which}{table[1:].replace(' ', '_')}"
        if table == "#":
            return NAMES.get(repr(self.numbers[which]), f"number{which}"), place
        if table in COLUMNS:
            every = table == "k" or (lo, hi) == (0, self.width_of(table, which))
            return start if every else f"{start}_{self._index(place, (lo, hi))}", place
        if columns is not None:
            return f"{start}_{lo}_{self._index(place, columns)}", place
        if whole:
            return start, Place(table, which, 0, 0)
        return f"{start}_{lo}" if hi == lo + 1 else f"{start}_{lo}to{hi}", place

    def add(self, name: str, code: Statements, loop: bool, doc: str) -> None:
        """Add a function with these statements."""
        function = Function(doc, [], visits={} if loop else None)

        def shown(place: Place) -> str:
            text, has = self._name(place, not loop)
            fixed = not loop or place.table in FIXED or (place.table == "m" and self._of_sequence(place.which))
            into = function.arguments if fixed or function.visits is None else function.visits
            into[text] = has
            if place.table.endswith(" rows") and place.table[0] in "abn":
                return f"{text}[{place.lo}:{place.hi}]"
            if (has != place and place.table not in ("t", "u")) or (has.lo, has.hi) == (0, 0) != (place.lo, place.hi):
                return f"{text}[{place.lo}]" if place.hi == place.lo + 1 else f"{text}[{place.lo}:{place.hi}]"
            return text

        def with_numbers(operand: Operand) -> Operand:
            if isinstance(operand, str) and operand.startswith("#"):
                return Place("#", int(operand[1:]), 0, 0)
            return operand

        rooms: dict[tuple[int, bool], int] = {}
        for line in code.lines:
            if not isinstance(line, str):
                line.args = tuple([with_numbers(a) for a in line.args])
                for k in range(len(self.numbers), -1, -1):  # in a form
                    if f"#{k}" in line.form:
                        line.form = line.form.replace(f"#{k}", shown(Place("#", k, 0, 0)))
        function.overwritten = code.overwritten()
        function.lines = code.text(shown, rooms)
        if function.lines:
            self.functions[name] = function
            self.rooms[name] = rooms

    def _of_sequence(self, mask: int) -> bool:
        return mask >= len(self.program.step_masks)

    def new_block(self, table: str, width: int) -> Place:
        """Another block of a table of some steps."""
        kind = self.layout.kind(width)
        at = self.blocks.get((table, kind), 0)
        self.blocks[table, kind] = at + 1
        return Place(table, kind, at, at + 1)

    # leaves ------------------------------------------------------------------------------------------------------

    def leaf(self, e: Expr) -> Operand | None:
        """What is there before everything else."""
        if e.op == "vector":
            v, lo = e.at
            return Place("v", v, lo, lo + max(e.width, 1))
        if e.depends == 0 and e.args:
            at = self._constants.setdefault(e.number, len(self.constants))
            if at == len(self.constants):
                self.constants.append(e)
            return Place("k", at, 0, max(e.width, 1))
        if e.op in ("input", "mask", "state", "emitted"):
            *k, lo = e.at
            letter = {"input": "x", "mask": "m", "state": "o", "emitted": "l"}[e.op]
            return Place(letter, k[0] if k else 0, lo, lo + max(e.width, 1))
        return None

"""Statements of generated code: names for sizes, places in tables, and loops over the units of a row."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .units import Expr, Unknown

__all__ = ["Function", "Rows", "Sizes", "Table"]

LITERALS = {0.0: "zero", 1.0: "one", -1.0: "(-one)", 2.0: "two", 0.5: "half"}
"""Numbers that stand in the text; others are given to it, for they may be sizes, as of a mean."""

FORMS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "pow": "{0} ** {1}",
    "reciprocal": "one / {0}",
    "rsqrt": "one / np.sqrt({0})",
    "relu": "zero if {0} <= zero else {0}",  # nan stays nan
    "maximum": "{0} if {0} >= {1} or {0} != {0} else {1}",
    "minimum": "{0} if {0} <= {1} or {0} != {0} else {1}",
    "sign": "one if {0} > zero else (-one if {0} < zero else zero)",
    "where": "{1} if {0} else {2}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "logical_and": "{0} and {1}",
    "logical_or": "{0} or {1}",
    "logical_not": "not {0}",
    "spread": "{0}",
    "tanh": "tanh({0})",
    "sigmoid": "sigmoid({0})",
    "exp": "exp({0})",
    "expm1": "expm1({0})",
    "erf": "math.erf({0})",
    **{name: f"np.{name}({{0}}, {{1}})" for name in ("arctan2", "hypot", "copysign")},
    **{name: f"np.{name}({{0}})" for name in ("abs", "sqrt", "exp2", "log", "log1p", "log2", "log10")},
    **{name: f"np.{name}({{0}})" for name in ("sin", "cos", "tan", "sinh", "cosh", "arcsin", "arccos", "arctan")},
    **{name: f"np.{name}({{0}})" for name in ("arcsinh", "arccosh", "arctanh", "floor", "ceil", "trunc", "rint")},
    **{name: f"np.{name}({{0}})" for name in ("isnan", "isinf", "isfinite")},
}
"""Each operation of a unit in Python as Numba compiles it."""


class Sizes:
    """What a text leaves open: the widths w0, w1, ... and the numbers c0, c1, ..., in this order.

    The width of x has a name of its own wherever x stands as a whole, so that the text is the same whether or not it
    is as wide as a state.
    """

    def __init__(self) -> None:
        self.names: list[tuple[int, bool]] = []
        self.numbers: list[float] = []

    @property
    def widths(self) -> tuple[int, ...]:
        """In the order of their names."""
        return tuple([n for n, _ in self.names])


class Function:
    """The names of sizes in one function, and of its offsets and numbers."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.used: set[int] = set()
        self.offsets: dict[str, str] = {}

    def width(self, n: int, of_x: bool = False) -> str:
        """The name of a width."""
        if n == 1 and not of_x:
            return "1"
        names = self.sizes.names
        if (n, of_x) not in names:
            names.append((n, of_x))
        k = names.index((n, of_x))
        self.used.add(k)
        return f"w{k}"

    def total(self, widths: Iterable[int]) -> str:
        """The sum of widths, spelled out."""
        counts = Counter([n for n in widths if n])
        ones = counts.pop(1, 0)
        terms = [self.width(n) if k == 1 else f"{k} * {self.width(n)}" for n, k in sorted(counts.items())]
        return " + ".join(terms + [str(ones)] * (ones > 0)) or "0"

    def offset(self, widths: Iterable[int]) -> str:
        """A name for the sum."""
        text = self.total(widths)
        if text.isidentifier() or text.isdecimal():
            return text
        return self.offsets.setdefault(text, f"o{len(self.offsets)}")

    def entry(self, array: str, before: Sequence[int], width: int) -> str:
        """Unit u of the ``width`` columns of a row that come after others, or the one that there is."""
        offset = self.offset(before)
        if width <= 1:
            return f"{array}[{offset}]"
        return f"{array}[u]" if offset == "0" else f"{array}[{offset} + u]"

    def number(self, value: float) -> str:
        """The name of a number."""
        if isinstance(value, bool):
            return str(value)
        if value in LITERALS and not (value == 0 and math.copysign(1, value) < 0):
            return LITERALS[value]
        numbers = self.sizes.numbers
        for k, known in enumerate(numbers):
            if repr(known) == repr(value):
                return f"c{k}"
        numbers.append(value)
        return f"c{len(numbers) - 1}"

    def preamble(self) -> list[str]:
        """Statements of a compiled function that give the names their values."""
        # none is below 1, and LLVM has to know that no offset is negative.  Not by an early return: after one Numba
        # counts references to the views of every row, which takes a third of the time of a loop over 32 units
        lines = [f"    w{k} = max(widths[{k}], 1)" for k in sorted(self.used)]
        return [*lines, *self.named_offsets()]

    def named_offsets(self) -> list[str]:
        """Statements that give the names of sums their values."""
        return [f"    {name} = {text}" for text, name in self.offsets.items()]


class Table:
    """A table whose columns the text names by sums of widths: those between the bounds at which something begins."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self.bounds = sorted({0} | {b for span in spans for b in span})

    def before(self, lo: int) -> list[int]:
        """The widths whose sum is ``lo``."""
        return self.between(0, lo)

    def between(self, lo: int, hi: int) -> list[int]:
        """The widths whose sum is ``hi - lo``."""
        first, last = self.bounds.index(lo), self.bounds.index(hi)
        return [b - a for a, b in itertools.pairwise(self.bounds[first : last + 1])]


class Rows:
    """Statements for one row: loops over its units, and numbers of the row before them."""

    statement = "{0} = {1}"

    def __init__(self, function: Function, load: Callable[[Expr, Any], str | None]) -> None:
        self.f, self.load = function, load
        self.lines: list[str] = []
        self.of_row: dict[int, str] = {}
        self.names: dict[int, str] = {}
        self.body: list[str] = []

    def number(self, value: float) -> str:
        """The name of a number."""
        return self.f.number(value)

    def form(self, op: str, args: Sequence[str]) -> str:
        """An operation of named arguments."""
        if op not in FORMS:
            raise Unknown(f"{op}() has no form in compiled code")
        return FORMS[op].format(*args)

    def value(self, e: Expr) -> str:
        """The name of a value, after the statements that compute it."""
        if e.op == "number":
            return self.number(e.at[0])
        single = e.width <= 1
        names, lines = (self.of_row, self.lines) if single else (self.names, self.body)
        if e.number not in names:
            text = self.load(e, self)
            if text is None:
                text = self.form(e.op, [self.value(a) for a in e.args])
            name = f"{'r' if single else 'v'}{e.number}"
            lines.append(self.statement.format(name, text))
            names[e.number] = name
        return names[e.number]

    def loop(self, width: int, stores: Sequence[tuple[Sequence[Expr], str, str]]) -> None:
        """One loop over ``width`` units: for each store (terms, operator, place); "plus" adds to a sum of the row."""
        if not stores:
            return
        self.names, self.body = {}, []
        statements = []
        for terms, operator, place in stores:
            text = " + ".join([self.value(e) for e in terms]) or "zero"
            added = operator == "plus"
            statements.append(f"{place} = plus({place}, {text})" if added else f"{place} {operator} {text}")
        if width == 1:
            assert not self.body
            self.lines += statements
        else:
            self.lines.append(f"for u in range({self.f.width(width)}):")
            self.lines += ["    " + line for line in self.body + statements]

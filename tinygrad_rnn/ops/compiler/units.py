"""Expressions of one unit: what a program computes for one entry of a row, and the algebra that shortens them.

A cell does the same to every unit of a block of columns: ``c' = f * c + i * g`` holds for each of the H entries of a
row.  So a program needs no arrays: an :class:`Expr` says what is computed for *one* unit, of leaves such as "the entry
of state 1 in this column".  A kernel is a loop over units around it, in which every intermediate value is a number.

Expressions are hash-consed: one that is made a second time is the first one.  So common subexpressions are found by
the way, and "the same" is ``is``.

**Rules.**  ``Units.apply`` shortens what it makes.  Each rule keeps the value for every input, up to rounding,
infinities and nans included: a rule such as ``0 * x -> 0`` would hide a nan, and is not among them.  Where a rule holds
for bounded values alone, it asks for an operand that cannot be infinite (``_bounded``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TinygradRnnError
from ...tape.primitive import REGISTRY

__all__ = ["CHEAP", "LEAVES", "OPERATIONS", "Expr", "Symbol", "Units", "Unknown", "walk"]

LEAVES = ("input", "state", "mask", "product", "vector", "cotangent", "emitted", "adjoint", "number")
"""What expressions are made of; ``Expr.at`` says where it is:

========== ============ ==================================================================
input      (lo,)        x, in column lo + u for unit u
state      (k, lo)      state k before the step
mask       (k, lo)      mask k: of the step, or, beyond these, of the sequence
product    (p, lo)      what product p gives
vector     (v, lo)      a vector that depends on parameters only
cotangent  (k, lo)      the cotangent of new state k
emitted    (k, lo)      the cotangent of emitted value k
adjoint    (p, lo)      the cotangent of product p times its weight: that of its operand
number     (value,)
========== ============ ==================================================================
"""

BOOLEAN = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or")

OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "neg": np.negative,
    "abs": np.abs,
    "sign": lambda a: np.where(a != a, 0.0, np.sign(a)),  # as PyTorch: 0 for nan
    "relu": lambda a: np.maximum(a, 0),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": np.where,
    "tanh": np.tanh,
    "sigmoid": lambda a: np.reciprocal(np.exp(-a) + 1),
    "sqrt": np.sqrt,
    "rsqrt": lambda a: 1 / np.sqrt(a),
    "reciprocal": np.reciprocal,
    "pow": np.power,
    "arctan2": np.arctan2,
    "hypot": np.hypot,
    "copysign": np.copysign,
    "logical_not": np.logical_not,
    "erf": lambda a: REGISTRY["erf"].forward(np.asarray(a)),
    **{name: getattr(np, name) for name in BOOLEAN},
    **{name: getattr(np, name) for name in ("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sin", "cos")},
    **{name: getattr(np, name) for name in ("tan", "sinh", "cosh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh")},
    **{name: getattr(np, name) for name in ("arctanh", "floor", "ceil", "trunc", "rint", "isnan", "isinf", "isfinite")},
}
"""What is done unit by unit, with its function of NumPy."""

CHEAP = frozenset(
    ["add", "sub", "mul", "neg", "abs", "sign", "relu", "maximum", "minimum", "where", "copysign", "spread"]
    + [*BOOLEAN, "logical_not", "isnan", "isinf", "isfinite"]
)
"""What takes less than reading its value back from memory."""

SYNONYMS = {
    "subtract": "sub",
    "multiply": "mul",
    "true_divide": "div",
    "divide": "div",
    "negative": "neg",
    "absolute": "abs",
    "power": "pow",
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_not": "logical_not",
    "invert": "logical_not",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "atan2": "arctan2",
    "fmax": "",
    "fmin": "",
}
"""Names of NumPy's functions and of primitives, where they differ from ours; "" has no counterpart."""

WITHIN_ONE = frozenset(["tanh", "sigmoid", "sin", "cos", "sign"])


class Unknown(TinygradRnnError, NotImplementedError):
    """An operation that is not computed unit by unit, or in a way that is not known."""


@dataclass(frozen=True, eq=False)
class Expr:
    """What is computed for one unit of a block of columns.

    Attributes:
        number: counts the expressions of a program; those that it is made of have smaller numbers.
        op: a leaf of ``LEAVES``, an operation of ``OPERATIONS``, or one of

            rowsum, rowmax: over all units of its arguments, which are the blocks of a value; one number for a row;
            spread: one number for a row as a block of ``width`` columns.
        args: expressions.
        at: of a leaf, where it is.
        width: the columns of its block; 1 also for one number for a row, 0 for a number that is the same everywhere.
        depends: on what: 0 on parameters, 1 on the input and masks, 2 on states, 3 on cotangents.
    """

    number: int
    op: str
    args: tuple[Expr, ...]
    at: tuple[Any, ...]
    width: int
    depends: int

    def __repr__(self) -> str:
        if self.op == "number":
            return repr(self.at[0])
        return f"%{self.number}" if self.args else f"{self.op}[{', '.join(map(str, self.at))}]"

    def equation(self) -> str:
        """What it is made of: ``%5 = mul(%3, state[0, 0])``."""
        return f"%{self.number} = {self.op}({', '.join(map(repr, self.args))})"


def walk(roots: Iterable[Expr], stop: Callable[[Expr], bool] = lambda e: False) -> Iterator[Expr]:
    """Each expression below ``roots`` once, arguments first; nothing below one at which to ``stop``."""
    seen: set[int] = set()
    stack = [(e, False) for e in reversed(list(roots))]
    while stack:
        e, ready = stack.pop()
        if ready:
            yield e
        elif e.number not in seen:
            seen.add(e.number)
            stack.append((e, True))
            if not stop(e):
                stack.extend((a, False) for a in reversed(e.args))


def _key(op: str, args: tuple[Expr, ...], at: tuple[Any, ...], width: int) -> Any:
    # by repr, which tells 0.0 from -0.0, and 1 from True
    return op, tuple([a.number for a in args]), repr(at), width


class Units:
    """Makes the expressions of one program.

    Args:
        known: expressions that were made before, which new ones may be made of.
    """

    def __init__(self, known: Iterable[Expr] = ()) -> None:
        self._table = {_key(e.op, e.args, e.at, e.width): e for e in known}
        self._next = max([e.number for e in self._table.values()], default=-1) + 1

    def _make(self, op: str, args: tuple[Expr, ...], at: tuple[Any, ...], width: int, depends: int) -> Expr:
        key = _key(op, args, at, width)
        found = self._table.get(key)
        if found is None:
            found = self._table[key] = Expr(self._next, op, args, at, width, depends)
            self._next += 1
        return found

    def leaf(self, op: str, at: tuple[Any, ...], width: int, depends: int) -> Expr:
        """A leaf of ``LEAVES``."""
        return self._make(op, (), at, width, depends)

    def value(self, number: float) -> Expr:
        """A number that is the same everywhere."""
        return self._make("number", (), (number if isinstance(number, bool) else float(number),), 0, 0)

    def over(self, op: str, blocks: Iterable[tuple[Expr, int]]) -> Expr:
        """``rowsum`` or ``rowmax`` over the blocks of a value, each with its width."""
        args = tuple([e if e.width == width else self.spread(e, width) for e, width in blocks])
        return self._make(op, args, (), 1, max(a.depends for a in args))

    def spread(self, e: Expr, width: int) -> Expr:
        """One number for a row as a block of columns."""
        return self._make("spread", (e,), (), width, e.depends)

    def apply(self, op: str, *args: Expr) -> Expr:
        """An operation, shortened by the first rule that fits."""
        if all(a.op == "number" for a in args) and op not in ("rowsum", "rowmax"):
            with np.errstate(all="ignore"):
                return self.value(OPERATIONS[op](*[a.at[0] for a in args]).item())
        for rule in RULES:
            shorter = rule(self, op, args)
            if shorter is not None:
                return shorter
        widths = {a.width for a in args} - {0, 1}
        if len(widths) > 1:
            raise Unknown(f"{op}() of blocks of {sorted(widths)} columns")
        return self._make(op, args, (), max(a.width for a in args), max(a.depends for a in args))


# rules ---------------------------------------------------------------------------------------------------------------


def _is(e: Expr, number: float) -> bool:
    return e.op == "number" and e.at[0] == number and not isinstance(e.at[0], bool)


def _bounded(e: Expr, depth: int = 8) -> bool:
    """Whether an expression is finite or nan, and so small that sums of it do not overflow."""
    if e.op == "number":
        return bool(abs(e.at[0]) < 1e6)
    if e.op in WITHIN_ONE:
        return True
    return depth > 0 and e.op in ("add", "sub", "mul", "neg", "spread") and all(_bounded(a, depth - 1) for a in e.args)


def _identities(u: Units, op: str, args: tuple[Expr, ...]) -> Expr | None:
    """``1 x = x / 1 = x - 0 = --x = x``, ``x + -y = x - y``; not ``x + 0``, which makes +0 of -0."""
    if op == "mul":
        a, b = args
        if _is(a, 1):
            return b
        if _is(b, 1):
            return a
    if op == "div" and _is(args[1], 1):
        return args[0]
    if op == "sub" and _is(args[1], 0) and not np.signbit(args[1].at[0]):
        return args[0]
    if op == "neg" and args[0].op == "neg":
        return args[0].args[0]
    if op == "add":
        a, b = args
        if b.op == "neg":
            return u.apply("sub", a, b.args[0])
        if a.op == "neg":
            return u.apply("sub", b, a.args[0])
    return None


def _powers(u: Units, op: str, args: tuple[Expr, ...]) -> Expr | None:
    """``x ** 1 = x``, ``x ** 2 = x x``, ``x ** 3 = x (x x)``."""
    if op == "pow":
        a, b = args
        if _is(b, 1):
            return a
        if _is(b, 2):
            return u.apply("mul", a, a)
        if _is(b, 3):
            return u.apply("mul", a, u.apply("mul", a, a))
    return None


def _complement(u: Units, e: Expr) -> Expr | None:
    """z, where an expression is ``1 - z``."""
    return e.args[1] if e.op == "sub" and _is(e.args[0], 1) else None


def _slopes(u: Units, op: str, args: tuple[Expr, ...]) -> Expr | None:
    """``y (1 - y) = y - y y`` for a bounded y, as of the slope of a sigmoid."""
    if op == "mul":
        for y, rest in (args, args[::-1]):
            if _complement(u, rest) is y and _bounded(y):
                return u.apply("sub", y, u.apply("mul", y, y))
    return None


def _mixtures(u: Units, op: str, args: tuple[Expr, ...]) -> Expr | None:
    """``(1 - z) n + z h = n + z (h - n)`` for z and n bounded, as of the GRU; an infinite h stays infinite."""
    if op == "add" and args[0].op == args[1].op == "mul":
        for first, second in (args, args[::-1]):
            for rest, n in (first.args, first.args[::-1]):
                z = _complement(u, rest)
                if z is None or not _bounded(z) or not _bounded(n) or z.op != "sigmoid":
                    continue
                for gate, h in (second.args, second.args[::-1]):
                    if gate is z:
                        return u.apply("add", n, u.apply("mul", z, u.apply("sub", h, n)))
    return None


Rule = Callable[[Units, str, tuple[Expr, ...]], "Expr | None"]
RULES: list[Rule] = [_identities, _powers, _slopes, _mixtures]


# other primitives ----------------------------------------------------------------------------------------------------


class Symbol(np.lib.mixins.NDArrayOperatorsMixin):
    """One unit of a value, to compute with: handed to a primitive's forward function, it tells what that is made of."""

    dtype, itemsize, ndim, size = np.dtype(np.float64), 8, 2, 2

    def __init__(self, units: Units, expr: Expr) -> None:
        self.units, self.expr = units, expr

    def _of(self, x: Any) -> Expr:
        return x.expr if isinstance(x, Symbol) else self.units.value(x.item() if hasattr(x, "item") else x)

    def _apply(self, name: str, args: Iterable[Any]) -> Symbol:
        op = SYNONYMS.get(name, name)
        args = [self._of(x) for x in args]
        if op == "square":
            op, args = "mul", [args[0], args[0]]
        if op not in OPERATIONS:
            raise Unknown(f"it uses np.{name}()")
        return Symbol(self.units, self.units.apply(op, *args))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return NotImplemented if method != "__call__" or options else self._apply(ufunc.__name__, inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function is np.clip:
            a, low, high = (*args, *options.values())[:3]
            a = a if low is None else np.maximum(a, low)
            return a if high is None else np.minimum(a, high)
        if function in (np.zeros_like, np.ones_like):
            return Symbol(self.units, self.units.value(float(function is np.ones_like)))
        return self._apply(function.__name__, args)

    def call(self, op: str) -> Symbol:
        """An operation of ours that NumPy does not have."""
        return self._apply(op, [self])

    def astype(self, *args: Any, **options: Any) -> Symbol:
        """Itself: all that is computed is of one dtype."""
        return self

    def copy(self, *args: Any) -> Symbol:
        """Itself."""
        return self

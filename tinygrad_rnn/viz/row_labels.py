"""What a row of a picture is called: the operation in the names of the program, as ``h = tanh(a)`` or ``W @ h``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..tape.observe.records import Record, Reference
from ..tape.observe.tape import Tape
from .source_names import constant_name

__all__ = ["label_of", "name_of", "own_name"]

INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "matmul": "@",
    "pow": "**",
    "floor_divide": "//",
    "remainder": "%",
}
UNKNOWN = "·"
"""An argument without a name, or with another one in each column."""
LONGEST = 56
"""So many characters of a label are shown; of one argument half as many."""


def label_of(records: Sequence[Record], tape: Tape, module: str | None = None) -> str:
    """The operation of one row, in the names on which all of its records agree.

    ``module``: the path of the module whose records stand together, which need not be said again.

    >>> import tinygrad_rnn as tg
    >>> W, x = tg.ones(2, 2, requires_grad=True), tg.ones(1, 2)
    >>> with tg.Tape() as tape:
    ...     h = (x @ W.T) ** 2
    ...     rest = h[:, 1:] - 1.5
    >>> [label_of([record], tape) for record in tape]
    ['W.T', 'x @ W.T', 'h = · ** 2', 'h[:, 1:]', 'rest = · - 1.5']
    """
    first = records[0]
    count = max(len(record.references) for record in records)
    arguments = [_agreed(_argument(record, k, tape, module) for record in records) or UNKNOWN for k in range(count)]
    text = _called(first, arguments, records)
    variables = {record.variable for record in records if record.variable is not None}
    if len(variables) == 1:
        text = f"{variables.pop()} = {text}"
    return _short(text, LONGEST)


def name_of(reference: Reference, tape: Tape) -> str | None:
    """The name of what a reference is to; None if it has none.

    A result that has none but shows a leaf otherwise, as ``W.T`` does, is called after it.
    """
    if reference.kind == "leaf":
        return tape.leaves[reference.number].name
    if reference.kind != "record":
        return None
    record = tape.records[reference.number]
    name = record.variables[reference.output] if reference.output < len(record.variables) else None
    if name is None and record.name == "permute" and record.references[0].kind == "leaf":
        return label_of([record], tape)
    return name


def own_name(name: str, module: str | None) -> str:
    """The name of a leaf in a module, whose path the title of the band says: ``weight_hh_l0``."""
    return name if module is None else name.removeprefix(f"{module}.")


def _argument(record: Record, k: int, tape: Tape, module: str | None) -> str | None:
    """The name of an argument; None if nothing is known that speaks against what it is called in other columns."""
    if k >= len(record.references):
        return None
    reference = record.references[k]
    if reference.kind == "constant":
        value = record.arguments[k] if k < len(record.arguments) else None
        if isinstance(value, (int, float)):
            return None if isinstance(value, bool) else f"{value:.4g}"
        return constant_name(record, k, tape)
    name = own_name(name_of(reference, tape) or UNKNOWN, module)
    most = LONGEST // 2
    if len(name) > most and "." in name:  # the end of a path says more
        return f"…{name[1 - most :]}"
    return _short(name, most)


def _agreed(names: Iterable[str | None]) -> str | None:
    """The name that all columns have in common; the first may have another, as it has ``h_0`` for ``h``."""
    listed = list(names)
    for known in ({name for name in part if name is not None} for part in (listed, listed[1:])):
        if len(known) == 1:
            return known.pop()
    return None


def _called(record: Record, arguments: list[str], records: Sequence[Record]) -> str:
    name, params = record.name, record.params
    if name in INFIX and len(arguments) == 2:
        return f"{arguments[0]} {INFIX[name]} {arguments[1]}"
    if len(arguments) == 1:
        a = arguments[0]
        if name == "neg":
            return f"-{a}"
        if name == "pow_number":
            return f"{a} ** {params['exponent']:.4g}" if _is_number(params.get("exponent")) else f"{a} ** ..."
        if name == "permute" and tuple(params.get("dims", ())) == (1, 0):
            return f"{a}.T"
        if name == "getitem":
            index = _agreed(_index(other.params.get("index")) for other in records)
            return f"{a}[{index or UNKNOWN}]"
    if len(arguments) > 8 and name in ("stack", "cat"):
        arguments = [*arguments[:2], "...", arguments[-1]]
    return f"{name}({', '.join(arguments)})"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _index(index: Any) -> str:
    """An index as it is written: ``0, 1:``."""
    if isinstance(index, tuple):
        return ", ".join(map(_index, index))
    if isinstance(index, slice):
        parts = ["" if part is None else str(part) for part in (index.start, index.stop, index.step)]
        return ":".join(parts[: 2 + (index.step is not None)])
    if index is Ellipsis:
        return "..."
    return str(index) if index is None or isinstance(index, int) else UNKNOWN


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

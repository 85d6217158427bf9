"""What the program calls its constants: the ``x[t]`` of ``U @ x[t]``, which no record has a name for.

The line of a record is read, and in it the one expression that the record can be of: the same operation, on the names
that the other arguments have.
"""

from __future__ import annotations

import ast
import functools
from weakref import WeakKeyDictionary

from ..tape.observe.records import Record
from ..tape.observe.tape import Tape

__all__ = ["constant_name"]

LONGEST = 16
OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.MatMult: "matmul",
    ast.Pow: "pow",
}
Expressions = dict[int, list[tuple[str, tuple[str, ...]]]]
_known: WeakKeyDictionary[Tape, dict[object, str | None]] = WeakKeyDictionary()


def constant_name(record: Record, k: int, tape: Tape) -> str | None:
    """What the program calls an argument that has no record: a variable, with an index or an attribute; else None.

    >>> import tinygrad_rnn as tg
    >>> W, U = (tg.ones(2, 2, requires_grad=True) for _ in range(2))
    >>> x = tg.ones(3, 2)
    >>> with tg.Tape() as tape:
    ...     y = U @ x[1] + W @ (2 * x[2])
    >>> [constant_name(record, 1, tape) for record in tape if record.name == "matmul"]
    ['x[1]', None]
    """
    if record.line is None:
        return None
    names = tuple(_name(record, j, tape) for j in range(len(record.references)))
    seen = _known.setdefault(tape, {})
    key = record.line.file, record.line.number, record.name, names, k
    if key not in seen:
        seen[key] = _found(record, names, k, tape)
    return seen[key]


def _name(record: Record, k: int, tape: Tape) -> str | None:
    """The name of an argument, without the path to it."""
    reference = record.references[k]
    name = None
    if reference.kind == "leaf":
        name = tape.leaves[reference.number].name
    elif reference.kind == "record":
        shown = tape.records[reference.number]
        name = shown.variable
        if name is None and shown.name == "permute" and shown.references[0].kind == "leaf":
            name = f"{tape.leaves[shown.references[0].number].name}.T"
    return None if name is None else _last(name)


def _last(path: str) -> str:
    """``W`` of ``self.cell.W``, and ``W.T`` of ``self.cell.W.T``."""
    place = path.removesuffix(".T")
    return place.rpartition(".")[2] + path[len(place) :]


def _found(record: Record, names: tuple[str | None, ...], k: int, tape: Tape) -> str | None:
    assert record.line is not None
    text, number = tape.source(record.line.file), record.line.number
    expressions = _expressions(text).get(number, [])
    if not expressions:  # of an example within a text, the line alone is Python
        expressions = _expressions("".join(text.splitlines()[number - 1 : number]).strip()).get(1, [])
    found = {
        arguments[k]
        for operation, arguments in expressions
        if operation == record.name
        and len(arguments) >= len(names)
        and all(
            argument == "" or name in (None, _last(argument)) for name, argument in zip(names, arguments, strict=False)
        )
    }
    return found.pop() or None if len(found) == 1 else None


@functools.lru_cache(maxsize=32)
def _expressions(text: str) -> Expressions:
    """By line the operations that are written there, and how their arguments are; "" for what is no plain name."""
    found: Expressions = {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            operation, arguments = OPERATORS[type(node.op)], [node.left, node.right]
        elif isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
            operation, arguments = (node.func.id if isinstance(node.func, ast.Name) else node.func.attr), node.args
        else:
            continue
        written = operation, tuple(map(_written, arguments))
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            found.setdefault(line, []).append(written)
    return found


def _written(node: ast.expr) -> str:
    inner = node
    while isinstance(inner, (ast.Attribute, ast.Subscript)):
        inner = inner.value
    text = ast.unparse(node) if isinstance(inner, ast.Name) else ""
    return text if len(text) <= LONGEST else ""

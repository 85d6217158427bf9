"""Small changes to a program's syntax tree, one at a time: what a test suite ought to notice."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = ["Mutation", "mutations"]


class Mutation(NamedTuple):
    """One changed program.

    Attributes:
        number: its place among the mutations of its file.
        line, end: where the change is; ``end`` is the last line of the top-level statement around it.
        start: the first line of that statement.
        names: what that statement defines, and the words that it hands on: tests are named after them.
        scope: the function or class that the change is in, such as ``Tensor.sum``, or ``<module>``.
        text: the line as it stands there, without its indentation.
        change: what was changed, in words.
        build: makes the whole changed module.
    """

    number: int
    line: int
    start: int
    end: int
    names: frozenset[str]
    scope: str
    text: str
    change: str
    build: Callable[[], ast.Module]


COMPARE: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
BINARY: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip

TYPES = {"Callable", "Iterable", "Iterator", "Mapping", "Sequence", "Union", "Optional", "dict", "list", "tuple"}


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """The ways to change one node, each as words and a function that changes a copy of it in place."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARE:
        new = COMPARE[type(node.ops[0])]
        yield f"{type(node.ops[0]).__name__} -> {new.__name__}", lambda n: n.ops.__setitem__(0, new())
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in BINARY:
        other = BINARY[type(node.op)]
        yield f"{type(node.op).__name__} -> {other.__name__}", lambda n: setattr(n, "op", other())
    elif isinstance(node, ast.BoolOp):
        yield "and <-> or", lambda n: setattr(n, "op", ast.Or() if isinstance(n.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "-x -> +x", lambda n: setattr(n, "op", ast.UAdd())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not x -> not not x", lambda n: setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand))
    elif isinstance(node, ast.Constant):
        yield from _constant(node)
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        yield "condition -> its negation", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    elif isinstance(node, ast.Return) and node.value is not None and not _is_nothing(node.value):
        yield "return None", lambda n: setattr(n, "value", ast.Constant(None))
    elif isinstance(node, ast.Continue):
        yield "continue -> break", lambda n: setattr(n, "__class__", ast.Break)
    elif isinstance(node, ast.Break):
        yield "break -> continue", lambda n: setattr(n, "__class__", ast.Continue)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "the call is left out", lambda n: setattr(n, "value", ast.Constant(None))


def _constant(node: ast.Constant) -> Iterator[tuple[str, Callable[[Any], None]]]:
    value = node.value
    if isinstance(value, bool):
        yield f"{value} -> {not value}", lambda n: setattr(n, "value", not value)
    elif isinstance(value, int):
        yield f"{value} -> {value + 1}", lambda n: setattr(n, "value", value + 1)
    elif isinstance(value, float):
        yield f"{value} -> {value * 1.5 + 0.25}", lambda n: setattr(n, "value", value * 1.5 + 0.25)
    elif isinstance(value, str) and value.count(" ") < 3:  # more is a sentence, for people
        other = "" if value else "?"
        yield f"{value!r} -> {other!r}", lambda n: setattr(n, "value", other)


def _is_nothing(node: ast.AST) -> bool:
    """None, and False, which means the same to everybody who asks whether."""
    return isinstance(node, ast.Constant) and (node.value is None or node.value is False)


def _sites(tree: ast.Module) -> Iterator[tuple[ast.stmt, tuple[Any, ...], ast.AST]]:
    """Every node that may be changed, with its top-level statement and the way to it from the root."""

    def visit(node: ast.AST, top: ast.stmt, way: tuple[Any, ...]) -> Iterator[Any]:
        if _is_text(node):
            return
        yield top, way, node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "type_comment", "decorator_list", "bases"):
                continue
            if isinstance(value, ast.AST):
                yield from visit(value, top, (*way, name))
            elif isinstance(value, list):
                for k, item in enumerate(value):
                    if isinstance(item, ast.AST):
                        yield from visit(item, top, (*way, (name, k)))

    for k, statement in enumerate(tree.body):
        yield from visit(statement, statement, (("body", k),))


def _is_text(node: ast.AST) -> bool:
    """Whether a node is for people or the type checker, not for the program: docstrings, messages, ``__all__``."""
    if isinstance(node, (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom, ast.Assert)):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.keyword) and node.arg in ("doc", "strict"):  # strict: a check of our own reasoning
        return True
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    if isinstance(node, ast.Assign) and _is_type(node.value):
        return True
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {t.id if isinstance(t, ast.Name) else getattr(t, "attr", "") for t in targets}
        return bool(names & {"__all__", "__slots__", "__tracebackhide__", "__doc__", "__name__", "__qualname__"})
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        return called.endswith(("warn", "Error", "Range", "Warning", "namedtuple", "TypeVar"))
    return isinstance(node, ast.FunctionDef) and node.name in ("__repr__", "__str__")


def _is_type(node: ast.AST) -> bool:
    """Whether an assigned value is a name for a type: ``Vjp = Callable[..., Any]``."""
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in TYPES


def _names(top: ast.stmt, line: int) -> frozenset[str]:
    """What a statement of the module defines; of a table, what stands in the line."""
    found: set[str] = set()
    if isinstance(top, (ast.FunctionDef, ast.ClassDef)):
        return frozenset({top.name})
    if isinstance(top, (ast.Assign, ast.AnnAssign)):
        targets = top.targets if isinstance(top, ast.Assign) else [top.target]
        found.update(node.id for t in targets for node in ast.walk(t) if isinstance(node, ast.Name))
    for node in ast.walk(top):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.lineno == line:
            found.update(word for word in node.value.split() if word.isidentifier())
    return frozenset(found)


def _scope(tree: ast.Module, way: Any) -> str:
    """The qualified name of the innermost function or class on the way to a node."""
    found: Any = tree
    inside = []
    for step in way:
        if isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inside.append(found.name)
        found = getattr(found, step) if isinstance(step, str) else getattr(found, step[0])[step[1]]
    return ".".join(inside) or "<module>"


def mutations(source: str) -> Iterator[Mutation]:
    """All single changes of a module, in the order of its text."""
    tree = ast.parse(source)
    rows = source.split("\n")
    number = 0
    for top, way, node in _sites(tree):
        for change, apply in _changes(node):

            def build(way: Any = way, apply: Callable[[Any], None] = apply) -> ast.Module:
                mutant = copy.deepcopy(tree)
                found: Any = mutant
                for step in way:
                    found = getattr(found, step) if isinstance(step, str) else getattr(found, step[0])[step[1]]
                apply(found)
                return ast.fix_missing_locations(mutant)

            line = getattr(node, "lineno", top.lineno)
            text = rows[line - 1].strip()
            names = _names(top, line)
            scope = _scope(tree, way)
            yield Mutation(number, line, top.lineno, top.end_lineno or top.lineno, names, scope, text, change, build)
            number += 1

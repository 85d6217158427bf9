"""The loops of a program's source: where they are, and which statement of the body a line belongs to."""

from __future__ import annotations

import ast
import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..source_line import Line

__all__ = ["Loop", "Place", "Sources"]

HEADER = 60
"""So many characters of the head of a loop are shown."""


@dataclass(frozen=True)
class Loop:
    """One loop of a source.

    Attributes:
        head: as the source has it: ``for t in range(30)``.
        start, stop: its first and its last line; of a ``for`` without what it iterates over, which is computed before.
        lines: the first line of each statement of its body, those inside ``with`` and ``if`` included.
        targets: the variable that each of them assigns; None if it is no plain assignment.
    """

    head: str
    start: int
    stop: int
    lines: tuple[int, ...]
    targets: tuple[str | None, ...]

    def statement_of(self, line: int) -> int:
        """The number of the statement that a line belongs to; -1 for the condition of a ``while``."""
        return bisect.bisect_right(self.lines, line) - 1


@dataclass(frozen=True)
class Place:
    """A loop that ran when a record was made.

    Attributes:
        loop: the loop.
        file: of its source.
        callers: the lines by way of which its function was called, the outermost first.
        line: the line of its body that ran.
    """

    loop: Loop
    file: str
    callers: tuple[Line, ...]
    line: int

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for the same loop, called from the same lines."""
        return self.file, self.loop.start, self.loop.head, self.callers

    @property
    def statement(self) -> int:
        """The statement of the body that ran."""
        return self.loop.statement_of(self.line)


class Sources:
    """The loops of the sources of one tape; each file is read once.

    Args:
        text_of: gives the text of a file; empty if there is none.
    """

    def __init__(self, text_of: Callable[[str], str]) -> None:
        self._text_of = text_of
        self._files: dict[str, list[Loop] | None] = {}
        self._paths: dict[tuple[Line, ...], tuple[Place, ...]] = {}

    def path(self, stack: tuple[Line, ...]) -> tuple[Place, ...]:
        """The loops that ran at lines that call each other (the innermost first), the outer before the inner."""
        if stack not in self._paths:
            lines = stack[::-1]
            self._paths[stack] = tuple(
                [
                    Place(loop, line.file, lines[:depth], line.number)
                    for depth, line in enumerate(lines)
                    for loop in self._loops(line.file) or ()
                    if loop.start <= line.number <= loop.stop
                ]
            )
        return self._paths[stack]

    def known(self, stack: tuple[Line, ...]) -> bool:
        """Whether there is a source for each of these lines, so that no loop is missed."""
        return bool(stack) and all(self._loops(line.file) is not None for line in stack)

    def _loops(self, file: str) -> list[Loop] | None:
        if file not in self._files:
            text = self._text_of(file)
            try:
                self._files[file] = loops_in(text) if text else None
            except (SyntaxError, ValueError, RecursionError):  # a notebook's magic, a file that has changed
                self._files[file] = None
        return self._files[file]


def loops_in(text: str) -> list[Loop]:
    """The loops of a program, the outer before the inner.

    A loop around a ``with Tape()`` is left out: each of its passes has a tape of its own.

    >>> lines = "for k in range(9):", "    with tg.Tape() as tape:", "        h = [f(x) for x in xs]"
    >>> [loop.head for loop in loops_in(chr(10).join(lines))]
    ['for x in xs']

    Raises:
        SyntaxError: it is no Python.
    """
    found: list[Loop] = []

    def visit(node: ast.AST, around: list[Loop]) -> None:
        made = _loop(node)
        if made is not None:
            found.append(made)
            around = [*around, made]
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            if any("Tape(" in ast.unparse(item.context_expr) for item in node.items):
                found[:] = [loop for loop in found if not any(loop is other for other in around)]
        for child in ast.iter_child_nodes(node):
            visit(child, around)

    visit(ast.parse(text), [])
    return sorted(found, key=lambda loop: (loop.start, -loop.stop))


def _loop(node: ast.AST) -> Loop | None:
    if isinstance(node, (ast.For, ast.AsyncFor)):
        head = f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}"
        start = node.body[0].lineno
    elif isinstance(node, ast.While):
        head, start = f"while {ast.unparse(node.test)}", node.lineno
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        first = node.generators[0]
        head, start = f"for {ast.unparse(first.target)} in {ast.unparse(first.iter)}", node.lineno
        return Loop(_shortened(head), start, node.end_lineno or start, (start,), (None,))
    else:
        return None
    statements = list(_statements(node.body))
    lines, targets = zip(*statements, strict=True)
    return Loop(_shortened(head), start, node.end_lineno or start, lines, targets)


def _statements(body: Sequence[ast.stmt]) -> Iterator[tuple[int, str | None]]:
    """The first line of each statement and the variable that it assigns; loops and functions as a whole."""
    for node in body:
        yield node.lineno, _target(node)
        for name in ("body", "handlers", "orelse", "finalbody"):
            if isinstance(node, (ast.With, ast.AsyncWith, ast.If, ast.Try)):
                for inner in getattr(node, name, ()):
                    yield from _statements(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


def _target(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target: ast.expr = node.targets[0]
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        target = node.target
    else:
        return None
    return target.id if isinstance(target, ast.Name) else None


def _shortened(text: str) -> str:
    return text if len(text) <= HEADER else f"{text[: HEADER - 1]}…"

"""The mutator changes one thing at a time, and only what a test could notice."""

from __future__ import annotations

import ast

from tests.mutation.mutate import mutations

SOURCE = '''
"""A module."""
from __future__ import annotations
from typing import TYPE_CHECKING
import os

__all__ = ["f"]
if TYPE_CHECKING:
    x = 1

def f(a: int, b: float = 2.5, *, flag: bool = True) -> int:
    """Its docstring."""
    if a < b and not flag:
        raise ValueError(f"a {a} is too small: {b + 1}")
    for k in range(3):
        a += k * 2
        if k == 1:
            continue
        os.getcwd()
    return -a
'''


def changed() -> dict[tuple[int, str], str]:
    return {(m.line, m.change): ast.unparse(m.build()) for m in mutations(SOURCE)}


def test_each_mutant_differs_from_the_original_and_compiles() -> None:
    original = ast.unparse(ast.parse(SOURCE))
    found = changed()
    assert len(set(found.values())) == len(found) == len(list(mutations(SOURCE)))
    for text in found.values():
        assert text != original
        compile(text, "mutant", "exec")


def test_the_changes_are_those_that_one_would_make_by_mistake() -> None:
    assert {change for _, change in changed()} == {
        "2.5 -> 4.0",
        "True -> False",
        "condition -> its negation",
        "and <-> or",
        "Lt -> LtE",
        "not x -> not not x",
        "3 -> 4",
        "Add -> Sub",
        "Mult -> Div",
        "2 -> 3",
        "Eq -> NotEq",
        "1 -> 2",
        "continue -> break",
        "the call is left out",
        "return None",
        "-x -> +x",
    }


def test_text_for_people_and_types_stay_as_they_are() -> None:
    lines = {line for line, _ in changed()}
    rows = SOURCE.split("\n")
    for number, row in enumerate(rows, start=1):
        if any(word in row for word in ("import", "__all__", "raise", '"""', "x = 1")):
            assert number not in lines, row


def test_every_mutant_knows_the_statement_around_it() -> None:
    first = SOURCE.split("\n").index("def f(a: int, b: float = 2.5, *, flag: bool = True) -> int:") + 1
    assert {(m.start, m.end) for m in mutations(SOURCE)} == {(first, first + 9)}

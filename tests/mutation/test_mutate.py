"""The mutator changes one thing at a time, and only what a test could notice."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from tools.mutation.cover import ROOT
from tools.mutation.equivalents import Equivalents
from tools.mutation.mutate import Mutation, mutations
from tools.mutation.swap import Functions, changed_codes, compiled

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


def test_what_tests_are_named_after_is_what_the_statement_defines() -> None:
    found = mutations('sin = cos = unary("sin", True)\nTABLE = {\n    "one": 1,\n    "two": 2,\n}\n')
    assert {(m.line, m.change): set(m.names) for m in found} == {
        (1, "'sin' -> ''"): {"sin", "cos"},
        (1, "True -> False"): {"sin", "cos"},
        (3, "'one' -> ''"): {"TABLE", "one"},
        (3, "1 -> 2"): {"TABLE", "one"},
        (4, "'two' -> ''"): {"TABLE", "two"},
        (4, "2 -> 3"): {"TABLE", "two"},
    }


MODULE = """
LIMIT = 3

def plain(x):
    return x + 1

def outer(k):
    def inner(x):
        return x * k
    return inner

twice = outer(2)
half = lambda x: x / 2

class Thing:
    def method(self, x, step=1):
        return x - step
"""


def loaded(tmp_path: pathlib.Path) -> tuple[dict[str, Any], str]:
    path = str(tmp_path / "module.py")
    scope: dict[str, Any] = {}
    exec(compiled(ast.parse(MODULE), path), scope)
    return scope, path


def test_the_code_of_living_functions_is_exchanged_closures_lambdas_and_methods_too(tmp_path: pathlib.Path) -> None:
    results: dict[tuple[int, str], Any] = {}  # "anew": what runs at import changes, or what a closure encloses
    for mutation in mutations(MODULE):
        scope, path = loaded(tmp_path)
        pairs = changed_codes(path, ast.parse(MODULE), mutation.build())
        if pairs is None or not Functions(str(tmp_path)).exchange(pairs):
            results[mutation.line, mutation.change] = "anew"
            continue
        thing = scope["Thing"]()
        calls = (scope["plain"], scope["twice"], scope["outer"](2), scope["half"], thing.method)
        results[mutation.line, mutation.change] = tuple(call and call(6) for call in calls)
    usual = (7, 12, 12, 3.0, 5)
    assert results == {
        (2, "3 -> 4"): "anew",
        (5, "return None"): (None, *usual[1:]),
        (5, "Add -> Sub"): (5, *usual[1:]),
        (5, "1 -> 2"): (8, *usual[1:]),
        (9, "return None"): "anew",
        (9, "Mult -> Div"): (7, 3.0, 3.0, *usual[3:]),
        (10, "return None"): (7, 12, None, *usual[3:]),
        (12, "2 -> 3"): "anew",
        (13, "Div -> Mult"): (*usual[:3], 12, 5),
        (13, "2 -> 3"): (*usual[:3], 2.0, 5),
        (16, "1 -> 2"): "anew",
        (17, "return None"): (*usual[:4], None),
        (17, "Sub -> Add"): (*usual[:4], 7),
    }


def mutant(source: str, change: str) -> Mutation:
    return next(m for m in mutations(source) if m.change == change)


def test_an_equivalent_mutant_outlives_a_rename_and_has_a_reason() -> None:
    line = "return least if value <= least else value"
    rows = ["# at the bound both are one", f"a.py :: f :: {line} :: LtE -> Lt", "a.py :: f :: y = 1 :: 1 -> 2"]
    listed = Equivalents("\n".join(rows))
    found = mutant(f"def f(value, least):\n    {line}\n", "LtE -> Lt")
    assert listed.lost() == rows[1:]
    assert listed.reason("a.py", found) == "at the bound both are one" and listed.lost() == rows[2:]
    assert listed.reason("renamed.py", found) and listed.reason("a.py", found._replace(scope="renamed"))
    assert not listed.reason("renamed.py", found._replace(scope="renamed"))
    names = mutant("def f(x, low):\n    return low if x <= low else x\n", "LtE -> Lt")
    assert listed.reason("a.py", names) and not listed.reason("b.py", names)
    other = mutant("def f(x, low):\n    return low if x <= low else low\n", "LtE -> Lt")
    assert not listed.reason("a.py", other)
    with pytest.raises(ValueError, match="line 1: no reason is given"):
        Equivalents("a.py :: f :: x = 1 :: 1 -> 2")


def test_a_short_line_is_found_in_its_own_function_only() -> None:
    listed = Equivalents("# as good\na.py :: f :: return a :: return None\n")
    found = mutant("def f(a):\n    return a\n", "return None")
    assert listed.reason("moved.py", found) and not listed.reason("a.py", found._replace(scope="g"))


def test_every_equivalent_mutant_of_the_list_still_exists() -> None:
    listed = Equivalents()
    for path in (ROOT / "tinygrad_rnn").rglob("*.py"):
        for mutation in mutations(path.read_text(encoding="utf-8")):
            listed.reason(path.relative_to(ROOT / "tinygrad_rnn").as_posix(), mutation)
    assert listed.lost() == []


TRIED = """
import pathlib, sys
import pytest
from tools.mutation import trial
from tools.mutation.mutate import mutations

file = "kernels/recurrent/numpy/products.py"
source = pathlib.Path("tinygrad_rnn", file).read_text(encoding="utf-8")
found = [m for m in mutations(source) if "WIDTHS = " in source.splitlines()[m.line - 1]]
trial.load(file, found[0].build())
sys.exit(pytest.main([sys.argv[1], *trial.QUIET]))
"""


def test_a_mutant_of_what_runs_at_import_is_what_the_tests_see(tmp_path: pathlib.Path) -> None:
    test = tmp_path / "test_it.py"
    test_it = "def test_it():\n    assert products.WIDTHS == (64, 32)"
    lines = ["from tinygrad_rnn.kernels.recurrent.numpy import products", test_it]
    test.write_text("\n".join(lines))
    run = subprocess.run([sys.executable, "-c", TRIED, str(test)], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1 and "1 failed" in run.stdout, run.stdout + run.stderr

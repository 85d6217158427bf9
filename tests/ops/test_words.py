"""What the operations say and how they are called: messages, signatures, names and docstrings, word by word."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tests.support.rows import together
from tests.support.words import signature
from tinygrad_rnn import errors
from tinygrad_rnn.ops.methods import METHODS

HERE = Path(__file__)

REFUSALS = HERE.with_name("refusals.txt")
"""One mistake in a line: ``expression => the error: its message``; "..." at the end stands for NumPy's own words."""
MISTAKES = [row.split(" => ", 1) for row in REFUSALS.read_text(encoding="utf-8").splitlines()]

SIGNATURES = HERE.with_name("signatures.txt")
"""Every function that has defaults, and the methods that are no functions, with them: they are a promise."""
PROMISED = dict(row.split("(", 1) for row in SIGNATURES.read_text(encoding="utf-8").splitlines())

ALIASES = """
absolute:abs arccos:acos arccosh:acosh arcsin:asin arcsinh:asinh arctan:atan arctanh:atanh fix:trunc multiply:mul
negative:neg subtract:sub
"""
OWN_NAMES = dict(pair.split(":") for pair in ALIASES.split())

FUNCTIONS: dict[str, Callable[..., Any]] = {name: getattr(tg, name) for name in [*tg.ops.__all__, "set_printoptions"]}
FUNCTIONS = {name: f for name, f in FUNCTIONS.items() if callable(f) and not isinstance(f, type)}
PUBLIC = {f"Tensor.{name}": getattr(tg.Tensor, name) for name in METHODS if name not in FUNCTIONS}
PUBLIC = FUNCTIONS | {name: f for name, f in PUBLIC.items() if callable(f)}


@together
@pytest.mark.parametrize(("expression", "expected"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_the_message_of_each_mistake(expression: str, expected: str) -> None:
    with pytest.raises(errors.TinygradRnnError) as caught:
        eval(expression, {"t": tg, "np": np})
    said = f"{type(caught.value).__name__}: {caught.value}"
    if expected.endswith("..."):
        said = f"{said[: len(expected) - 3]}..."
    assert said == expected


@together
@pytest.mark.parametrize("name", sorted(PROMISED))
def test_the_defaults_are_what_was_promised(name: str) -> None:
    assert signature(PUBLIC[name]) == PROMISED[name]


def test_every_function_with_defaults_is_in_the_table() -> None:
    assert sorted(name for name, f in PUBLIC.items() if "=" in signature(f) and name not in PROMISED) == []


MADE = {name: f for name, f in METHODS.items() if re.fullmatch(r"new_.*|[a-z].*_|__i\w+__", name)}
MADE.pop("__iter__"), MADE.pop("__invert__")


@together
@pytest.mark.parametrize("name", sorted(FUNCTIONS | MADE))
def test_a_function_knows_its_name(name: str) -> None:
    f = FUNCTIONS.get(name) or MADE[name]
    assert f.__name__ == f.__qualname__ == OWN_NAMES.get(name, name)


@together
@pytest.mark.parametrize("name", sorted(name for name, f in PUBLIC.items() if f.__doc__))
def test_a_docstring_is_put_together_without_gaps(name: str) -> None:
    first = PUBLIC[name].__doc__.split("\n")[0].replace(" ...", "")
    assert not re.search(r"^\s*$| [.,;:]|^[.,;:]|[^.]  ", first), first

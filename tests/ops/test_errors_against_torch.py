"""Where PyTorch refuses, we refuse with an error that its handler catches, PyTorch's sentence first, then more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tests.support.rows import together
from tinygrad_rnn.errors import TinygradRnnError

TABLE = Path(__file__).with_name("error_sentences.txt")
"""One mistake in a line: expression | the built-in error of PyTorch's | how its message begins."""

ROWS = [[part.strip() for part in line.rsplit("|", 2)] for line in TABLE.read_text(encoding="utf-8").splitlines()]
rows = pytest.mark.parametrize(("expression", "kind", "sentence"), ROWS, ids=[row[0] for row in ROWS])


def run(library: Any, expression: str) -> Exception:
    try:
        result = eval(expression, {"t": library})
    except Exception as error:
        return error
    raise AssertionError(f"{expression} gave {result}")


@together
@rows
def test_the_error_is_ours_and_pytorchs_handler_catches_it(expression: str, kind: str, sentence: str) -> None:
    error = run(tg, expression)
    assert isinstance(error, TinygradRnnError), f"{type(error).__name__}: {error}"
    assert isinstance(error, getattr(__import__("builtins"), kind)), f"{type(error).__mro__}"
    assert str(error).startswith(sentence), f"{error}"


@together
@rows
def test_the_table_says_what_pytorch_says(expression: str, kind: str, sentence: str) -> None:
    torch = pytest.importorskip("torch")
    error = run(torch, expression)
    assert isinstance(error, getattr(__import__("builtins"), kind)), f"{type(error).__name__}: {error}"
    start = str(error)[: len(sentence)]
    assert start.casefold() == sentence.casefold(), str(error)

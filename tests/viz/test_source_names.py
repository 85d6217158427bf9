"""What the program calls arguments that have no record, read from the line that used them."""

from __future__ import annotations

import linecache
from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.viz.source_names import constant_name


class Cell:
    """Holds tensors, as modules do."""

    def __init__(self) -> None:
        self.W, self.x, self.far = tg.ones(2, 2, requires_grad=True), tg.ones(2, 2), [tg.ones(2, 2)]

    def named(self) -> Any:
        return self.W @ self.x

    def indexed(self) -> Any:
        return self.far[0] * self.W

    def computed(self) -> Any:
        return self.W @ (self.x * 2)

    def called(self) -> Any:
        return tg.mul(self.W, self.x)

    def transposed(self) -> Any:
        return self.x @ self.W.T

    def two_that_may_be(self) -> Any:
        return self.W * self.x + self.W * self.far[0]

    def by_other_names(self) -> Any:
        return (lambda: self.W)() - self.x + self.W @ self.far[0]

    def over_lines(self) -> Any:
        return (
            self.W
            @ self.x
        )  # fmt: skip


@pytest.mark.parametrize(
    ("way", "record", "position", "name"),
    [
        ("named", -1, 1, "self.x"),
        ("indexed", -1, 0, "self.far[0]"),
        ("computed", -1, 1, None),
        ("called", -1, 1, "self.x"),
        ("transposed", -1, 0, "self.x"),
        ("two_that_may_be", 0, 1, None),
        ("by_other_names", 0, 1, "self.x"),
        ("by_other_names", 1, 1, "self.far[0]"),
        ("over_lines", -1, 1, "self.x"),
    ],
)
@pytest.mark.parametrize("read", [False, True])
def test_a_constant_is_called_as_the_line_has_it(
    way: str, record: int, position: int, name: str | None, read: bool
) -> None:
    cell = Cell()
    with tg.Tape() as tape:
        getattr(cell, way)()
    again = tg.Tape.from_json(tape.to_json()) if read else tape
    assert constant_name(again[record], position, again) == name


def test_an_example_within_a_text_is_read_line_by_line() -> None:
    w, x = tg.ones(2, requires_grad=True), tg.ones(2)
    text = "A page, which is not Python:\n\n    y = w * x\n"
    linecache.cache["a-page.md"] = len(text), None, text.splitlines(keepends=True), "a-page.md"
    with tg.Tape() as tape:
        exec(compile("\n\ny = w * x", "a-page.md", "exec"), {"w": w, "x": x})
    assert constant_name(tape[0], 1, tape) == "x"


def test_without_a_source_there_is_no_name() -> None:
    w, x = tg.ones(2, requires_grad=True), tg.ones(2)
    with tg.Tape() as tape:
        exec(compile("w * x", "<nowhere>", "exec"), {"w": w, "x": x})
    assert constant_name(tape[0], 1, tape) is None

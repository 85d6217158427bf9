"""Tables whose rows share a test: none is lost, and each that fails is named."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import tinygrad_rnn as tg
from tests.support import rows


def sections(test: Any) -> dict[str, list[rows.Row]]:
    (mark,) = test.pytestmark
    assert mark.args[0] == "rows"
    return {param.id: param.values[0] for param in mark.args[1]}


def outcome(test: Any) -> tuple[dict[str, Any], Any]:
    """What the one section of a table recorded, and what it raised."""
    recorded: dict[str, Any] = {}
    (table,) = sections(test).values()
    try:
        test(rows=table, record_property=recorded.__setitem__)
    except (AssertionError, pytest.skip.Exception) as error:
        return recorded, error
    return recorded, None


pytestmark = pytest.mark.skipif(rows.APART, reason="rows have tests of their own")


def test_every_row_runs_and_each_failure_is_named_with_its_message() -> None:
    seen = []

    @rows.together
    @pytest.mark.parametrize(("word", "number"), [("a", 1), ("b", 2), ("c", 3), ("d", 4)])
    def numbers_are_odd(word: str, number: int) -> None:
        seen.append(word)
        if number == 4:
            pytest.fail("four")
        if number % 2 == 0:
            raise ValueError(f"{number} is even")

    recorded, error = outcome(numbers_are_odd)
    assert seen == ["a", "b", "c", "d"] and recorded == {"rows": 4}
    head, *lines = str(error).split("\n")
    assert head.startswith("2 of 4 rows failed")
    assert lines == ["[1] b-2: ValueError: 2 is even", "[3] d-4: Failed: four"]
    assert isinstance(error.__cause__, ValueError), "its traceback is shown"


@pytest.mark.parametrize("x", [pytest.param(1, id="one"), 2.5, None, int, [1]])
@pytest.mark.parametrize(("y", "z"), [("a", True), ("b", 1j)])
@pytest.mark.parametrize("v", [0, 1], ids=["zero", None])
@pytest.mark.parametrize("w", [2, 3], ids=lambda w: "two" if w == 2 else None)
def test_a_row_has_the_name_that_pytest_gives_it(
    request: pytest.FixtureRequest, w: int, v: int, y: str, z: Any, x: Any
) -> None:
    given = request.node.callspec
    names = [row.name for row in rows.rows_of(request.function) if row.arguments == given.params]
    assert names == [given.id]


def test_skipped_rows_are_counted_and_the_test_is_skipped_if_all_are() -> None:
    @rows.together
    @pytest.mark.parametrize("number", [1, 2, 3])
    def all_skipped(number: int) -> None:
        pytest.skip("no library")

    @rows.together
    @pytest.mark.parametrize("number", [1, 2, 3])
    def some(number: int) -> None:
        if number < 3:
            pytest.skip("too small")

    recorded, skip = outcome(all_skipped)
    assert isinstance(skip, pytest.skip.Exception) and skip.msg == "3 rows: no library"
    assert recorded == {"rows": 0, "rows skipped": {"no library": 3}}
    assert outcome(some) == ({"rows": 1, "rows skipped": {"too small": 2}}, None)


def test_a_failure_among_skipped_rows_is_a_failure() -> None:
    @rows.together
    @pytest.mark.parametrize("number", [1, 2])
    def table(number: int) -> None:
        assert number != 1, "one"
        pytest.skip("two")

    assert str(outcome(table)[1]).endswith("[0] 1: AssertionError: one\nassert 1 != 1")


def test_a_row_that_leaks_global_state_fails_and_the_next_does_not_see_it() -> None:
    seen = []

    @rows.together
    @pytest.mark.parametrize("number", [1, 2])
    def table(number: int) -> None:
        seen.append(tg.get_default_dtype())
        tg.set_default_dtype(tg.float64 if number == 1 else tg.float32)

    error = outcome(table)[1]
    assert "1 of 2 rows" in str(error) and "[0] 1: AssertionError: the test leaked global state: default" in str(error)
    assert seen == [tg.float32, tg.float32]


def test_sections_are_values_of_an_argument_and_marks() -> None:
    @rows.together(by="name")
    @pytest.mark.parametrize("name", ["first", pytest.param("second", marks=pytest.mark.gpu)])
    @pytest.mark.parametrize("number", [1, 2])
    def table(number: int, name: str) -> None: ...

    found = sections(table)
    assert list(found) == ["first", "second-gpu"]
    assert [row.name for row in found["first"]] == ["1-first", "2-first"]
    (mark,) = table.pytestmark
    assert [[m.name for m in param.marks] for param in mark.args[1]] == [[], ["gpu"]]


def test_other_marks_and_fixtures_stay() -> None:
    @rows.together
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("number", [1, 2])
    def table(number: int, tool: str) -> None:
        assert tool == "hammer"

    assert [mark.name for mark in table.pytestmark] == ["filterwarnings", "parametrize"]
    (param,) = table.pytestmark[1].args[1]
    table(rows=param.values[0], record_property=lambda *_: None, tool="hammer")
    with pytest.raises(AssertionError, match="2 of 2 rows"):
        table(rows=param.values[0], record_property=lambda *_: None, tool="nail")


@rows.together
@pytest.mark.parametrize("number", [1, 2])
def test_a_warning_in_a_row_is_an_error(number: int) -> None:
    with pytest.raises(UserWarning):
        warnings.warn("of a row", stacklevel=1)

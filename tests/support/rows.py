"""Tables as tests: the rows of a parametrised test run one after another, in one test for the table.

A test costs pytest and its workers some two milliseconds, ten times what a row of most tables takes.  Under
``together`` each row is still tested by itself: it runs after rows that failed, global state is compared before and
after it, and the failure of the test names each row that failed with its own message.

    @together
    @pytest.mark.parametrize(("expression", "expected"), ROWS)
    def test_a_table(expression, expected): ...

To run single rows, give each a test of its own again, under the name that pytest gives it:

    ROWS=apart .venv/bin/pytest tests/ops/test_words.py -k softmax
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from tests.support import state

__all__ = ["Row", "counted", "rows_of", "run", "show", "together"]

APART = os.environ.get("ROWS") == "apart"
RAN, SKIPPED = "rows", "rows skipped"
Test = Callable[..., Any]


class Row(NamedTuple):
    """One row: its name, its arguments, the section of the table, and the marks that pytest would give to its test."""

    name: str
    arguments: dict[str, Any]
    section: str
    marks: tuple[Any, ...]


def together(test: Test | None = None, *, by: str | None = None) -> Any:
    """Decorate a test that ``pytest.mark.parametrize`` was applied to, so that it runs all its rows.

    Args:
        test: the test.
        by: an argument of the test; each of its values becomes a test of its own, with the rows that have this value.

    Rows with a mark, as that of a GPU, are in a test with this mark.  Rows that are skipped are counted at the end of
    the run, and the test is skipped if all its rows are.  Fixtures of the test are made once, for all rows.
    """
    if test is None:
        return functools.partial(together, by=by)
    if APART:
        return test
    sections: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows_of(test, by):
        sections.setdefault((row.section, *[mark.name for mark in row.marks]), []).append(row)
    given = inspect.signature(test)
    taken = {name for row in itertools.chain(*sections.values()) for name in row.arguments}
    fixtures = [name for name in given.parameters if name not in taken]

    @functools.wraps(test)
    def whole(rows: list[Row], **found: Any) -> None:
        run(test, rows, {name: found[name] for name in fixtures}, found["record_property"])

    wanted = dict.fromkeys(["rows", "record_property", *fixtures])
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in wanted]
    whole.__signature__ = given.replace(parameters=parameters)
    whole.pytestmark = [mark for mark in test.pytestmark if mark.name != "parametrize"]
    params = [
        pytest.param(rows, id="-".join(filter(None, key)) or "table", marks=rows[0].marks)
        for key, rows in sections.items()
    ]
    return pytest.mark.parametrize("rows", params)(whole)


def rows_of(test: Test, by: str | None = None) -> Iterator[Row]:
    """Each row of a table of the test with each of the others, in pytest's order."""
    tables = [list(_table(mark, by)) for mark in test.pytestmark if mark.name == "parametrize"]
    for parts in itertools.product(*tables):
        arguments = {name: value for part in parts for name, value in part.arguments.items()}
        marks = tuple(mark for part in parts for mark in part.marks)
        yield Row("-".join(p.name for p in parts), arguments, "".join(p.section for p in parts), marks)


def run(test: Test, rows: list[Row], fixtures: dict[str, Any], record_property: Callable[[str, Any], None]) -> None:
    """Run the rows.

    Raises:
        AssertionError: rows failed; the message has a line or more for each, and its cause is the first failure.
        pytest.skip.Exception: every row was skipped.
    """
    failed: list[tuple[str, BaseException]] = []
    skipped: list[Any] = []
    for number, row in enumerate(rows):
        try:
            with state.left_as_found():
                test(**row.arguments, **fixtures)
        except pytest.skip.Exception as skip:
            skipped.append(skip)
        except (Exception, pytest.fail.Exception) as error:
            failed.append((f"[{number}] {row.name}", error))
    record_property(RAN, len(rows) - len(skipped))
    if skipped:
        record_property(SKIPPED, dict(Counter(str(skip.msg) for skip in skipped)))
    if failed:
        lines = [f"{name}: {type(error).__name__}: {error}" for name, error in failed]
        head = f"{len(failed)} of {len(rows)} rows failed (ROWS=apart in the environment gives each a test of its own):"
        raise AssertionError("\n".join([head, *lines])) from failed[0][1]
    if len(skipped) == len(rows):
        skipped[-1].msg = counted(rows, skipped[-1].msg)
        raise skipped[-1]  # of the line that skipped, which pytest shows


def counted(rows: Sequence[Row], reason: str) -> str:
    """The reason why a test is skipped, with the number of its rows."""
    return f"{len(rows)} rows: {reason}" if rows else reason


def show(terminal: Any) -> None:
    """Write how many rows ran, and why others were skipped."""
    tests, ran, skipped = 0, 0, Counter[str]()
    for report in itertools.chain(*terminal.stats.values()):
        for name, value in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "call" else ():
            if name == RAN:
                tests, ran = tests + 1, ran + value
            elif name == SKIPPED:
                skipped.update(value)
    if tests:
        terminal.section("rows of tables")
        terminal.write_line(f"{tests} of the tests ran {ran} rows")
        for reason, count in skipped.most_common():
            terminal.write_line(f"skipped {count} rows: {reason}")


def _table(mark: pytest.Mark, by: str | None) -> Iterator[Row]:
    """The rows of one ``parametrize``, named as pytest names them."""
    names, values = mark.args
    ids = mark.kwargs.get("ids")
    single = isinstance(names, str) and "," not in names
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for number, value in enumerate(values):
        given, marks, name = value if _is_param(value) else (value, (), None)
        given = given if _is_param(value) or not single else (given,)
        words = [_word(v, f"{n}{number}", ids) for n, v in zip(names, given, strict=True)]
        chosen = None if ids is None or callable(ids) else list(ids)[number]
        arguments = dict(zip(names, given, strict=True))
        section = words[names.index(by)] if by in names else ""
        yield Row(str(name or chosen or "-".join(words)), arguments, section, tuple(marks))


def _is_param(value: Any) -> bool:
    return isinstance(value, type(pytest.param()))


def _word(value: Any, otherwise: str, ids: Any) -> str:
    word = ids(value) if callable(ids) else None
    if word is None:
        plain = value is None or isinstance(value, (str, bool, int, float, complex))
        word = value if plain else getattr(value, "__name__", otherwise)
    return str(word)

"""What tests measure, as tables at the end of the run: in the thorough profile, and of pages in a browser always."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.profiles import THOROUGH
from tinygrad_rnn.tape.observe.text_table import table

__all__ = ["measured", "show"]

KEY = "measured"
Row = dict[str, Any]


def measured(
    record_property: Callable[[str, Any], None], title: str, row: Row, profile: str | None = "thorough"
) -> None:
    """Keep a row of the table ``title``; the properties of a test reach the end also from another process.

    Args:
        record_property: pytest's fixture.
        title, row: the table, and a row of it by column.
        profile: where it is shown; None: everywhere.
    """
    if profile is None or THOROUGH:
        record_property(KEY, [title, row])


def show(terminal: Any) -> None:
    """Write the tables."""
    tables: dict[str, list[Row]] = {}
    for reports in terminal.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == KEY and report.when == "call":
                    tables.setdefault(value[0], []).append(value[1])
    for title, rows in tables.items():
        terminal.section(title)
        head = list(rows[0])
        cells = [[_short(row[column]) for column in head] for row in rows]
        terminal.write_line(table(head, cells, right=tuple(range(1, len(head)))))
        for column in head:
            if "error" in column:
                terminal.write_line(f"largest {column}: {max(row[column] or 0.0 for row in rows):.1e}")
        terminal.write_line(f"{len(rows)} rows")


def _short(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.1e}" if isinstance(value, float) else str(value)

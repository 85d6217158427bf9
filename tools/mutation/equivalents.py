"""Mutants that no test can tell from the original, each with the reason why.

``equivalent.txt`` holds them: a reason on a line that begins with ``#``, under it the mutants that it explains, each
as ``file :: function :: text of the line :: change``.  An entry outlives a rename: its file may have another name, and
where the line says enough to be told from others so may its function, or the names in the line.
"""

from __future__ import annotations

import keyword
import pathlib
import re
from typing import NamedTuple

from tools.mutation.mutate import Mutation

__all__ = ["Entry", "Equivalents", "shape_of"]

LIST = pathlib.Path(__file__).parent / "equivalent.txt"
TELLING = 24  # letters: a shorter line, such as ``return a``, is like others
NAME = re.compile(r"(?<![\w\"'])[A-Za-z_]\w*(?![\w\"'])")


class Entry(NamedTuple):
    """One mutant of the list."""

    file: str
    scope: str
    text: str
    change: str

    def __str__(self) -> str:
        return " :: ".join(self)


def shape_of(line: str) -> str:
    """A line of code with its names numbered in the order in which they appear; the comment at its end is dropped.

    >>> shape_of("if high <= lowest[later] or low >= highest[later]:  # apart")
    'if _1 <= _2[_3] or _4 >= _5[_3]:'
    """
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        name = found.group()
        return name if keyword.iskeyword(name) else numbers.setdefault(name, f"_{len(numbers) + 1}")

    return NAME.sub(number, re.sub(r"\s+#.*$", "", line))


class Equivalents:
    """The list, and which of its entries were met."""

    def __init__(self, text: str | None = None) -> None:
        self.reasons: dict[Entry, str] = {}
        self.met: set[Entry] = set()
        reason = ""
        for number, row in enumerate((LIST.read_text(encoding="utf-8") if text is None else text).split("\n"), start=1):
            row = row.strip()
            if row.startswith("#"):
                reason = row.lstrip("# ")
            elif row:
                entry = Entry(*(part.strip() for part in row.split(" :: ")))
                if not reason:
                    raise ValueError(f"equivalent.txt, line {number}: no reason is given")
                self.reasons[entry] = reason
            else:
                reason = ""
        self._moved = {(e.scope, e.text, e.change): e for e in self.reasons}
        telling = [e for e in self.reasons if len(e.text) > TELLING]
        self._same_line = {(e.file, e.text, e.change): e for e in telling}
        self._same_shape = {(e.file, e.scope, shape_of(e.text), e.change): e for e in telling}

    def reason(self, file: str, m: Mutation) -> str | None:
        """Why the mutant is equivalent, or None if it is not listed."""
        entry: Entry | None = Entry(file, m.scope, m.text, m.change)
        if entry not in self.reasons:
            entry = (
                self._moved.get((m.scope, m.text, m.change))
                or self._same_line.get((file, m.text, m.change))
                or self._same_shape.get((file, m.scope, shape_of(m.text), m.change))
            )
        if entry is None:
            return None
        self.met.add(entry)
        return self.reasons[entry]

    def lost(self) -> list[str]:
        """The entries that no mutant belongs to any more, once every mutant was asked for."""
        return [str(entry) for entry in self.reasons if entry not in self.met]

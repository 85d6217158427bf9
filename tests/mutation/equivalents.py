"""Mutants that no test can tell from the original, each with the reason why.

``equivalent.txt`` holds them: a reason on a line that begins with ``#``, under it the mutants that it explains, each
as ``file :: text of the line :: change``.  The text of the line finds them again when the lines move.
"""

from __future__ import annotations

import pathlib

from tests.mutation.mutate import Mutation

__all__ = ["Equivalents"]

LIST = pathlib.Path(__file__).parent / "equivalent.txt"


class Equivalents:
    """The list, and which of its entries were met."""

    def __init__(self, text: str | None = None) -> None:
        self.reasons: dict[tuple[str, str, str], str] = {}
        self.met: set[tuple[str, str, str]] = set()
        reason = ""
        for number, row in enumerate((LIST.read_text(encoding="utf-8") if text is None else text).split("\n"), start=1):
            row = row.strip()
            if row.startswith("#"):
                reason = row.lstrip("# ")
            elif row:
                file, line, change = (part.strip() for part in row.split(" :: "))
                if not reason:
                    raise ValueError(f"equivalent.txt, line {number}: no reason is given")
                self.reasons[file, line, change] = reason
            else:
                reason = ""

    def reason(self, file: str, mutation: Mutation) -> str | None:
        """Why the mutant is equivalent, or None if it is not listed."""
        entry = file, mutation.text, mutation.change
        if entry in self.reasons:
            self.met.add(entry)
        return self.reasons.get(entry)

    def lost(self, files: set[str]) -> list[str]:
        """Entries of these files that no mutant belongs to any more."""
        return [" :: ".join(entry) for entry in self.reasons if entry[0] in files and entry not in self.met]

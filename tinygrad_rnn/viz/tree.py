"""A tape as a picture in text: a line for each operation, a character for each time step, as high as its cotangent."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

from ..errors import ArgumentError
from ..tape.observe.records import Sweep
from ..tape.observe.tape import Tape
from ..tape.observe.values import short
from .layout import Band, columns_by_time, layout
from .row_labels import own_name
from .sizes import Scale, Size, sizes_in, sizes_of_values, sweep_of, text_of, together
from .sums import shares_of_leaf, terms_of
from .svg import shortened

__all__ = ["tree"]

BARS = "▁▂▃▄▅▆▇█"
NARROWEST = 40
MOST_LINES, MOST_BANDS = 40, 40
"""So many lines of a band, and bands, are written; what is left out is counted."""


def tree(tape: Tape, width: int, sweep: int | Sweep | None) -> str:
    """The tape as lines of text; :meth:`Tape.tree` tells the arguments."""
    if isinstance(width, bool) or not isinstance(width, int) or width < NARROWEST:
        raise ArgumentError(f"width must be a number of characters, at least {NARROWEST}, not {width!r}")
    return "\n".join(_Text(tape, width, sweep_of(tape, sweep)).lines())


class _Text:
    """The lines of one tape and one of its sweeps."""

    def __init__(self, tape: Tape, width: int, sweep: Sweep | None) -> None:
        self.tape, self.width, self.sweep = tape, width, sweep
        self.sizes = sizes_of_values(tape) if sweep is None else sizes_in(sweep)
        self.scale = Scale.of(self.sizes.values())
        self.layout = layout(tape)
        labels = [row.label for band in self.layout.bands for row in band.rows]
        longest = max(map(len, labels), default=0) + 2 + 2 * self._deepest()
        self.left = min(longest, max(16, int(0.42 * width)))
        self.room = width - self.left - 2

    def lines(self) -> Iterator[str]:
        """Everything, from the head to the legend."""
        for line in self._head():
            yield from textwrap.wrap(line, self.width)
        bands = [(b, band) for b, band in enumerate(self.layout.bands)]
        folded = len(bands) > MOST_BANDS
        kept = [*bands[: MOST_BANDS - 8], *bands[-8:]] if folded else bands
        for k, (b, band) in enumerate(kept):
            if folded and k == MOST_BANDS - 8:
                yield ""
                yield f"... {len(bands) - len(kept):,} more loops and stretches"
            yield ""
            yield from self._band(b, band)
        if self.sizes:
            yield ""
            for line in self._legend():
                yield from textwrap.wrap(line, self.width)

    def _deepest(self) -> int:
        return max((self._depth(b) for b in range(len(self.layout.bands))), default=0)

    def _depth(self, b: int) -> int:
        parent = self.layout.bands[b].parent
        return 0 if parent is None else 1 + self._depth(parent)

    def _head(self) -> Iterator[str]:
        count = len(self.tape.records)
        text = f"{count:,} record{'s' * (count != 1)}"
        if self.sweep is None:
            yield f"{text}, no backward pass yet: bars show the size of values" if count else f"{text}"
            return
        steps = f"sweep {self.sweep.number} ({self.sweep.kind}) of {len(self.sweep.steps):,} steps"
        yield f"{text}, {steps}: bars show the size of cotangents"
        if self.sweep.error:
            yield shortened(f"ended by {self.sweep.error}", self.width)

    def _band(self, b: int, band: Band) -> Iterator[str]:
        indent = "  " * self._depth(b)
        order = columns_by_time(band)
        each = max(1, math.ceil(len(order) / self.room))
        groups = [order[k : k + each] for k in range(0, len(order), each)]
        title = band.title
        if band.kind == "loop":
            first, last = band.times[order[0]], band.times[order[-1]]
            title += f", t = {first} to {last}" if first != last else f", t = {first}"
            title += f", {each} steps a character" if each > 1 else ""
        yield indent + shortened(title, self.width - len(indent))
        rows = list(range(len(band.rows)))
        if self.sweep is not None and self.sizes and not any(n in self.sizes for row in band.cells for n in row):
            if rows:
                yield f"{indent}  {len(rows)} operation{'s' * (len(rows) != 1)}: no gradient came here"
            return
        folded = len(rows) > MOST_LINES
        for k, r in enumerate([*rows[: MOST_LINES - 8], *rows[-8:]] if folded else rows):
            if folded and k == MOST_LINES - 8:
                yield f"{indent}  ... {len(rows) - MOST_LINES:,} more"
            label = f"{indent}  {shortened(band.rows[r].label, self.left - len(indent) - 2)}"
            numbers = [[n for c in group if (n := band.cells[r][c]) >= 0] for group in groups]
            bars = "".join(self._bar(group) for group in numbers)
            text = self._numbers(numbers[0][0]) if band.kind == "straight" else ""
            yield f"{label.ljust(self.left)}  {bars}{text}".rstrip()
        if band.kind == "loop" and self.sweep is not None:
            yield from self._weights(band, groups, indent, self.sweep)

    def _bar(self, numbers: list[int]) -> str:
        """One character for the records of some time steps: the largest of them."""
        sizes = [self.sizes[n] for n in numbers if n in self.sizes]
        if not sizes:
            return "." if numbers else " "
        return _character(sizes, self.scale)

    def _numbers(self, n: int) -> str:
        record = self.tape.records[n]
        several = isinstance(record.value, tuple) and len(record.value) > 1
        value = f"{len(record.value)} results" if several else short(record.value)
        size = self.sizes.get(n)
        parts = [value]
        if self.sweep is not None:
            parts.append("no gradient" if size is None else f"cotangent {size}")
        return "  " + shortened(" | ".join(parts), max(8, self.room - 4))

    def _weights(self, band: Band, groups: list[list[int]], indent: str, sweep: Sweep) -> Iterator[str]:
        column = {n: k for k, group in enumerate(groups) for row in band.cells for c in group if (n := row[c]) >= 0}
        numbers = dict.fromkeys(
            reference.number
            for n in column
            for reference in self.tape.records[n].references
            if reference.kind == "leaf"
        )
        for number in list(numbers)[:MOST_LINES]:
            name = self.tape.leaves[number].name
            shares = shares_of_leaf(self.tape, name, sweep)
            if len(shares) < 2:
                continue
            terms, total = terms_of(shares)
            found: dict[int, list[Size]] = {}
            for term in terms:
                if term.record is not None and term.record.number in column:
                    found.setdefault(column[term.record.number], []).append(term.size)
            if not found:
                continue
            summed = {k: together(sizes) for k, sizes in found.items()}
            scale = Scale.of(summed.values())
            bars = "".join(_character([summed[k]], scale) if k in summed else "." for k in range(len(groups)))
            label = f"{indent}  {shortened(f'{own_name(name, band.module)}.grad', self.left - len(indent) - 2)}"
            yield f"{label.ljust(self.left)}  {bars}"
            norms = [size.norm for size in summed.values() if size.kind in ("number", "tiny")]
            if norms:
                about = f"{len(shares):,} shares, {text_of(min(norms))} to {text_of(max(norms))}; the sum {total}"
                yield " " * (self.left + 2) + shortened(about, self.room)

    def _legend(self) -> Iterator[str]:
        norms = [size.norm for size in self.sizes.values() if size.kind in ("number", "tiny")]
        of = "values" if self.sweep is None else "cotangents"
        if norms:
            low, high = text_of(min(norms)), text_of(max(norms))
            yield f"{BARS[0]} to {BARS[-1]}: norms of {of}, here from {low} to {high}, on a logarithmic scale"
        kinds = {size.kind for size in self.sizes.values()}
        words = {"zero": "0 exactly zero", "tiny": "~ below the smallest normal number", "not finite": "! not finite"}
        found = [text for kind, text in words.items() if kind in kinds]
        if self.sweep is not None and len(self.sizes) < len(self.tape.records):
            found.append(". no gradient came here")
        found += ["? not kept"] if "unknown" in kinds else []
        if found:
            yield ", ".join(found)


def _character(sizes: list[Size], scale: Scale) -> str:
    kinds = {size.kind for size in sizes}
    if "not finite" in kinds:
        return "!"
    numbers = [size for size in sizes if size.kind == "number"]
    if numbers:
        part = scale.part(max(numbers, key=lambda size: size.norm))
        return BARS[min(int(part * len(BARS)), len(BARS) - 1)]
    return "~" if "tiny" in kinds else "0" if "zero" in kinds else "?" if "unknown" in kinds else "-"

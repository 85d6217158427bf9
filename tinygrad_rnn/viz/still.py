"""A tape as a still picture: SVG without any script.

Rows are the operations of a loop's body, columns its time steps, and a cell is a record, shaded by the size of its
cotangent.  Below a loop stand the weights that it uses, each once, with a bar for what every time step contributed to
its gradient: the tied weight as one thing.  Curves at the right of a loop say what one step takes from the step before.
A program without a loop is drawn as a graph (``still_graph.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import ArgumentError, GraphError
from ..tape.observe.records import Record, Step, Sweep
from ..tape.observe.tape import Tape
from ..tape.observe.values import short
from .layout import Band, Layout, columns_by_time, layout
from .row_labels import own_name
from .sizes import Scale, Size, sizes_in, sizes_of_values, sweep_of, text_of, together
from .still_graph import draw_graph, fits_a_graph, waiting
from .sums import Term, is_fused, shares_of_leaf, terms_of
from .svg import Picture, class_of, hover, number, shortened, width_of

__all__ = ["Moment", "chosen", "to_svg"]

MARGIN = 20.0
NARROWEST, WIDEST, WIDEST_OF_FEW = 2.0, 22.0, 34.0
"""Of a column; where there are more columns than that allows, several are one; of a dozen columns or less."""
MOST_ROWS, MOST_STRAIGHT, MOST_BANDS, MOST_WEIGHTS = 44, 24, 14, 10
"""So much is drawn of each; what is left out is counted."""
MOST_HOVERS = 400
"""Above so many cells none says its numbers when the mouse is over it."""
LONGEST_LABEL = 46


@dataclass(frozen=True)
class Moment:
    """What a picture shows: a sweep as a whole, one step of it, or, without a sweep, values.

    Attributes:
        sweep: the sweep; None if the tape has none.
        step: the number of a step.
        sizes: the size of the cotangent of each record so far, or of its value.
        scale: of the whole sweep, so that a shade means the same at each of its steps.
    """

    sweep: Sweep | None
    step: int | None
    sizes: dict[int, Size]
    scale: Scale

    @property
    def of(self) -> str:
        """What the sizes are of."""
        return "cotangent" if self.sweep is not None else "value"

    @property
    def current(self) -> Step | None:
        """The step that is shown."""
        return None if self.sweep is None or self.step is None else self.sweep.steps[self.step]


def chosen(tape: Tape, step: int | None, sweep: int | Sweep | None) -> Moment:
    """The sweep (by default the last) and the step that a caller asks for."""
    found = sweep_of(tape, sweep)
    if found is None:
        if step is not None:
            raise GraphError("this tape has watched no backward pass, so there is no step of it to show")
        sizes = sizes_of_values(tape)
        return Moment(None, None, sizes, Scale.of(sizes.values()))
    if step is not None:
        count = len(found.steps)
        if isinstance(step, bool) or not isinstance(step, int) or not -count <= step < count:
            raise ArgumentError(
                f"step must be the number of one of the {count} steps of sweep {found.number}, not {step!r}"
            )
        step %= count
    sizes = sizes_in(found)
    return Moment(found, step, sizes if step is None else sizes_in(found, step + 1), Scale.of(sizes.values()))


def to_svg(
    tape: Tape,
    step: int | None = None,
    sweep: int | Sweep | None = None,
    *,
    width: float = 960,
    title: str | None = None,
) -> str:
    """The tape as SVG; :meth:`Tape.to_svg` tells the arguments."""
    if isinstance(width, bool) or not isinstance(width, (int, float)) or not 320 <= width <= 10_000:
        raise ArgumentError(f"width must be a number of pixels from 320 to 10000, not {width!r}")
    moment = chosen(tape, step, sweep)
    found = layout(tape)
    picture = Picture(width, title or _name(tape), _in_words(tape, found, moment))
    graph = fits_a_graph(tape, found, width - 2 * MARGIN)
    _head(picture, tape, moment, graph)
    if not tape.records:
        picture.text(MARGIN, picture.y + 16, "Nothing was recorded: no operation on a tensor that requires grad.", "s")
        picture.y += 24
    elif graph:
        draw_graph(picture, tape, moment.sizes, moment.sweep, moment.scale, moment.step, MARGIN)
    else:
        _Grid(picture, tape, found, moment).draw()
    picture.y += 14
    return picture.done()


# head ----------------------------------------------------------------------------------------------------------------


def _name(tape: Tape) -> str:
    count = len(tape.records)
    return f"A tape of {count:,} record{'s' * (count != 1)}"


def _in_words(tape: Tape, found: Layout, moment: Moment) -> str:
    """What is read out to those who do not see the picture."""
    loops = [band for band in found.bands if band.kind == "loop"]
    parts = [f"{_name(tape)}."]
    for band in loops[:3]:
        count = len(band.times)
        parts.append(f"Loop {band.title}: {len(band.rows)} operations, {count} time step{'s' * (count != 1)}.")
    if len(loops) > 3:
        parts.append(f"{len(loops) - 3} more loops.")
    numbers = [size.norm for size in moment.sizes.values() if size.kind in ("number", "tiny")]
    if numbers:
        parts.append(f"The norms of the {moment.of}s go from {text_of(min(numbers))} to {text_of(max(numbers))}.")
    zero = sum(size.kind == "zero" for size in moment.sizes.values())
    if zero:
        parts.append(f"{zero} are zero.")
    return " ".join(parts)


def _head(picture: Picture, tape: Tape, moment: Moment, graph: bool) -> None:
    picture.text(MARGIN, 31, shortened(picture.name, int((picture.width - 2 * MARGIN) / 9)), "h")
    picture.y = 50
    for line, kind in _subtitles(tape, moment, graph):
        picture.text(MARGIN, picture.y, shortened(line, int((picture.width - 2 * MARGIN) / 6.6)), kind)
        picture.y += 17
    picture.y += 4
    _legend(picture, len(tape.records), moment, graph)


def _subtitles(tape: Tape, moment: Moment, graph: bool) -> Iterable[tuple[str, str]]:
    sweep = moment.sweep
    if sweep is None:
        if tape.records:
            yield "no backward pass yet: shaded by the size of each value", "s"
        return
    numbers = f", the tape has {len(tape.sweeps)}, from 0 on" if len(tape.sweeps) > 1 else ""
    which = f"sweep {sweep.number} ({sweep.kind}{numbers}), "
    if moment.current is None:
        yield f"{which}{len(sweep.steps):,} steps", "s"
        if graph:
            text = "arrows go as the values go; the number at an arrow is the norm of what came back along it"
        else:
            text = "a row is an operation, a column a time step, a cell a record, shaded by the size of its cotangent"
        yield text, "s"
    else:
        current = moment.current
        what = f"leaf {current.name}" if current.record is None else repr(current.record).split("  #")[0]
        yield f"{which}step {moment.step} (the last is {len(sweep.steps) - 1}): {what}", "s"
        given = ", ".join(f"{c.to} ({Size.of(c.value)})" for c in current.contributions)
        size = Size.of(current.cotangent)
        yield f"its cotangent, of norm {size}, is complete" + (f"; it gives to {given}" if given else ""), "s"
    if sweep.error:
        yield f"ended by {sweep.error}", "e"


def _legend(picture: Picture, count: int, moment: Moment, graph: bool) -> None:
    scale = moment.scale
    x, y = MARGIN, picture.y
    symbol = "|∂L/∂y|" if moment.of == "cotangent" else "|y|"
    picture.text(x, y + 10, f"norm of the {moment.of} {symbol}", "t")
    x += 172
    kinds = {size.kind for size in moment.sizes.values()}
    if "number" in kinds or scale.count > 1:
        for k, edge in enumerate(scale.edges()):
            at = x + 34 * k
            if k < scale.count:
                sample = Size(10 ** (edge + scale.decades / 2), "number")
                picture.cells([(class_of(sample, scale), at, y, 34, 11), ("k", at, y, 34, 11)])
            picture.text(at, y + 23, _power(edge), "t", "middle")
        x += 34 * scale.count + 26
    words = {"zero": "exactly zero", "tiny": "below the smallest normal number", "not finite": "not finite"}
    words |= {"unknown": "not kept", "empty": "empty"}
    entries = [(class_of(Size(0, kind), scale), text) for kind, text in words.items() if kind in kinds]
    if len(moment.sizes) < count:
        entries.append(("k", "no gradient came here" if moment.step is None else "not yet"))
    if moment.step is not None:
        entries.append(("wait", "something arrived"))
    elif moment.sweep is not None and not graph:
        entries += [("bar", "share of a gradient"), ("lost", "a share below the rounding of the sum")]
    for kind, text in entries:
        wide = 16 + 5.6 * len(text) + 16
        if x + wide > picture.width - MARGIN and x > MARGIN:
            x, y = MARGIN, y + 32
        picture.cells([(kind, x, y, 11, 11)] + ([("k", x, y, 11, 11)] if kind not in ("wait", "bar", "lost") else []))
        picture.text(x + 16, y + 10, text, "t")
        x += wide
    picture.y = y + 38


def _power(edge: float) -> str:
    """A power of ten at an edge of the scale: ``1e-6``, ``0.32``, ``100``."""
    if -2 <= edge <= 3:
        return f"{float(f'{10**edge:.1e}'):g}"
    digits, power = f"{10**edge:.1e}".split("e")
    return f"1e{edge:g}" if edge == int(edge) else f"{digits}e{int(power)}"


# loops and stretches -------------------------------------------------------------------------------------------------


class _Grid:
    """Draws the bands of a layout below each other."""

    def __init__(self, picture: Picture, tape: Tape, found: Layout, moment: Moment) -> None:
        self.picture, self.tape, self.found, self.moment, self.scale = picture, tape, found, moment, moment.scale
        self.at: dict[int, tuple[float, float, float, float]] = {}  # of records: x, y, width, height
        self.hovers = len(tape.records) <= MOST_HOVERS
        bands = self._bands()
        self.depth = {b: self._depth(b) for b, _ in bands}
        loops = [band for _, band in bands if band.kind == "loop"] or [band for _, band in bands]
        labels = [shortened(row.label, LONGEST_LABEL) for band in loops for row in band.rows]
        names = [shortened(leaf.name, 24) + ".grad" for leaf in tape.leaves]
        longest = max(map(width_of, labels + names), default=0)
        self.left = (
            MARGIN + min(max(longest, 90.0), 0.36 * picture.width) + 16 + 12 * max(self.depth.values(), default=0)
        )
        self.right = picture.width - MARGIN - 100  # room for curves and for numbers
        widest = max((len(band.times) for _, band in bands if band.kind == "loop"), default=1)
        most = WIDEST if widest > 12 else WIDEST_OF_FEW
        self.pitch = min(max((self.right - self.left) / widest, NARROWEST), most)

    def _bands(self) -> list[tuple[int, Band]]:
        bands = [(b, band) for b, band in enumerate(self.found.bands) if band.rows]
        return bands if len(bands) <= MOST_BANDS else [*bands[: MOST_BANDS - 4], *bands[-4:]]

    def _untouched(self, band: Band) -> bool:
        """Whether the sweep came to nothing of a loop, as to what an earlier pass of training computed."""
        if self.moment.sweep is None or self.moment.step is not None or not self.moment.sizes or band.kind != "loop":
            return False
        return not any(n in self.moment.sizes for row in band.cells for n in row)

    def _depth(self, b: int) -> int:
        parent = self.found.bands[b].parent
        return 0 if parent is None else 1 + self._depth(parent)

    def draw(self) -> None:
        """Everything below the head."""
        bands = self._bands()
        last = -1
        all_bands = sum(bool(band.rows) for band in self.found.bands)
        for k, (b, band) in enumerate(bands):
            if len(bands) < all_bands and k == MOST_BANDS - 4:
                self._note(f"… {all_bands - len(bands)} more loops and stretches")
            self._band(b, band)
            last = b
        assert last >= 0
        self._arrows()

    def _note(self, text: str, x: float = MARGIN) -> None:
        self.picture.text(x, self.picture.y + 11, text, "t")
        self.picture.y += 20

    def _band(self, b: int, band: Band) -> None:
        picture, indent = self.picture, MARGIN + 12 * self.depth[b]
        top = picture.y
        count = len(band.times)
        title = shortened(band.title, 90)
        picture.text(indent, top + 11, title, "b")
        if band.kind == "loop":
            rows = len(band.rows)
            text = f"{count:,} step{'s' * (count != 1)}"
            if self._untouched(band):
                text += f" of {rows} operation{'s' * (rows != 1)}: no gradient came here"
            picture.text(indent + width_of(title, False) + 20, top + 11, text, "t")
        picture.y = top + 20
        if self._untouched(band):
            picture.y += 4
        elif band.kind == "loop":
            self._loop(band, indent)
        else:
            self._stretch(band, indent)
        if self.depth[b]:
            x = number(indent - 7)
            picture.add(f'<path class="n" d="M{x} {number(top)}V{number(picture.y - 12)}"/>')

    # a loop ----------------------------------------------------------------------------------------------------------

    def _loop(self, band: Band, indent: float) -> None:
        picture = self.picture
        order = columns_by_time(band)
        groups = _grouped(order, max(1, int((self.right - self.left) / self.pitch)))
        xs = [self.left + self.pitch * k for k in range(len(groups))]
        gap = 1.0 if self.pitch >= 7 else 0.0
        self._times(band, groups, xs)
        rows, left_out = _folded(list(range(len(band.rows))), MOST_ROWS)
        height = 16.0 if len(rows) <= 24 else 13.0
        cells, outlines, y_of = [], [], {}
        for k, r in enumerate(rows):
            if left_out and k == MOST_ROWS - 8:
                picture.text(indent, picture.y + 10, f"… {left_out} more rows", "t")
                picture.y += height
            y = picture.y
            y_of[r] = y
            picture.text(indent, y + height - 5, shortened(band.rows[r].label, self._room(indent)), "m")
            for x, group in zip(xs, groups, strict=True):
                numbers = [n for c in group if (n := band.cells[r][c]) >= 0]
                if not numbers:
                    continue
                place = (x, y + 1, self.pitch - gap, height - 2)
                for n in numbers:
                    self.at[n] = place
                sizes = [self.moment.sizes[n] for n in numbers if n in self.moment.sizes]
                kind = class_of(_largest(sizes), self.scale)
                cells.append((kind, *place))
                if kind != "k" and self.pitch >= 7:
                    outlines.append(("k", *place))
            picture.y += height
        picture.cells(_merged(cells) if gap == 0 else cells, crisp=gap == 0)
        picture.cells(outlines)
        if self.hovers:
            picture.add(*[self._hover(n) for r in rows for n in band.cells[r] if n >= 0])
        self._carried(band, order, y_of, height, xs[-1] + self.pitch + 4)
        picture.y += 8
        self._weights(band, groups, xs, indent)
        picture.y += 14

    def _room(self, indent: float) -> int:
        """So many characters fit at the left of the cells."""
        return int((self.left - indent - 8) / 6.63)

    def _times(self, band: Band, groups: Sequence[Sequence[int]], xs: Sequence[float]) -> None:
        """Labels of time steps, as many as have room."""
        picture = self.picture
        labels = [str(band.times[group[0]]) for group in groups]
        room = max(len(label) for label in labels) * 6.2 + 8
        every = _round_up(math.ceil(room / self.pitch))
        for k in range(0, len(labels), every):
            picture.text(xs[k] + self.pitch / 2, picture.y + 8, labels[k], "t time", "middle")
        picture.text(self.left - 8, picture.y + 8, "t", "t", "end")
        if len(groups) < len(band.times):
            each = f"{len(groups[0])} steps a column: the largest"
            picture.text(picture.width - MARGIN, picture.y - 9, each, "t", "end")
        picture.y += 13

    def _hover(self, n: int) -> str:
        record = self.tape.records[n]
        size = self.moment.sizes.get(n)
        text = f"{repr(record).split('  #')[0]}\n{self.moment.of}: {'none' if size is None else f'norm {size}'}"
        return hover(*self.at[n], f"{text}\nvalue: {shortened(short(record.value), 120)}")

    def _carried(self, band: Band, order: list[int], y_of: dict[int, float], height: float, x: float) -> None:
        """Curves for what a step takes from the step before, as seen between two steps in the middle."""
        pairs = carried(band, self.tape)
        drawn = [(a, b) for a, b in pairs if a in y_of and b in y_of][:4]
        for k, (a, b) in enumerate(drawn):
            ya, yb = y_of[a] + height / 2, y_of[b] + height / 2
            reach = number(x + 22 + 9 * k)
            if a == b:
                ya, yb = ya + 5, yb - 5
            d = f"M{number(x)} {number(ya)}C{reach} {number(ya)} {reach} {number(yb)} {number(x)} {number(yb)}"
            self.picture.add(f'<path class="arc" d="{d}" marker-end="url(#tg-tip)"/>')
        if drawn:
            lowest = max(y_of[r] for pair in drawn[-1:] for r in pair)
            highest = min(y_of[r] for pair in drawn[-1:] for r in pair)
            middle = (lowest + highest + height) / 2 + 3
            self.picture.text(x + 20 + 8 * len(drawn), middle, "next step", "t")

    # weights ---------------------------------------------------------------------------------------------------------

    def _weights(self, band: Band, groups: Sequence[Sequence[int]], xs: Sequence[float], indent: float) -> None:
        """For each leaf that the loop uses, a bar for what each of its columns contributed."""
        if self.moment.sweep is None:
            return
        columns = {n: k for k, group in enumerate(groups) for row in band.cells for c in group if (n := row[c]) >= 0}
        numbers = dict.fromkeys(
            reference.number
            for row in band.cells
            for n in row
            if n >= 0
            for reference in self.tape.records[n].references
            if reference.kind == "leaf"
        )
        strips = []
        for number_of_leaf in numbers:
            name = self.tape.leaves[number_of_leaf].name
            shares = shares_of_leaf(self.tape, name, self.moment.sweep)
            if len(shares) < 2:
                continue
            count = len(shares)
            if self.moment.step is not None:  # those that are there already
                shares = [share for share in shares if share.record and share.record.number in self.moment.sizes]
            found, total = terms_of(shares) if shares else ((), Size(0.0, "zero"))
            inside = [term for term in found if term.record is not None and term.record.number in columns]
            if inside or self.moment.step is not None:
                text = f"{count:,} shares" if len(found) == count else f"{len(found):,} of {count:,} shares"
                strips.append((own_name(name, band.module), inside, total, text))
        for name, terms, total, text in strips[:MOST_WEIGHTS]:
            self._strip(name, terms, total, text, columns, xs, indent)
        if len(strips) > MOST_WEIGHTS:
            self._note(f"… {len(strips) - MOST_WEIGHTS} more weights", indent)

    def _strip(
        self,
        name: str,
        terms: Sequence[Term],
        total: Size,
        count: str,
        columns: dict[int, int],
        xs: Sequence[float],
        indent: float,
    ) -> None:
        picture, tall = self.picture, 26.0
        base = picture.y + tall
        room = self._room(indent)
        picture.text(indent, base - 11, shortened(f"{name}.grad" if len(name) + 5 <= room else name, room), "m b")
        picture.text(indent, base + 1, count, "t")
        by_column: dict[int, list[Term]] = {}
        for term in terms:
            assert term.record is not None
            by_column.setdefault(columns[term.record.number], []).append(term)
        sizes = {k: together(term.size for term in found) for k, found in by_column.items()}
        scale = Scale.of(sizes.values())
        gap = 1.0 if self.pitch >= 7 else 0.0
        bars = []
        for k, size in sizes.items():
            wide = self.pitch - gap
            if size.kind in ("number", "tiny"):
                tallness = max(1.5, tall * (0.06 + 0.94 * scale.part(size)))
                lost = all(term.changes is False for term in by_column[k])
                inset = 0.4 if lost else 0.0
                bars.append(
                    (
                        "lost" if lost else "bar",
                        xs[k] + inset,
                        base - tallness + inset,
                        wide - 2 * inset,
                        tallness - inset,
                    )
                )
            else:
                bars.append((class_of(size, scale), xs[k], base - 5, wide, 5))
        picture.cells(bars, crisp=gap == 0)
        end = xs[-1] + self.pitch
        picture.add(f'<path class="n" d="M{number(xs[0])} {number(base + 0.5)}H{number(end)}"/>')
        picture.text(end + 8, base - 11, f"norm {total}", "t")
        norms = [size.norm for size in sizes.values() if size.kind in ("number", "tiny")]
        if norms and max(norms) > min(norms):
            picture.text(end + 8, base + 1, f"{text_of(min(norms))} … {text_of(max(norms))}", "t")
        if self.hovers:
            for k, found in by_column.items():
                lines = [f"share of %{t.record.number}: norm {t.size}" for t in found if t.record is not None]
                lines += ["below the rounding of the sum"] if all(t.changes is False for t in found) else []
                picture.add(hover(xs[k], base - tall, self.pitch, tall, "\n".join(lines)))
        picture.y = base + 10

    # what stands outside of loops ------------------------------------------------------------------------------------

    def _stretch(self, band: Band, indent: float) -> None:
        picture = self.picture
        records = [self.tape.records[row[0]] for row in band.cells]
        rows, left_out = _folded(list(range(len(records))), MOST_STRAIGHT)
        cells, height = [], 16.0
        for k, r in enumerate(rows):
            if left_out and k == MOST_STRAIGHT - 8:
                picture.text(indent, picture.y + 10, f"… {left_out:,} more records", "t")
                picture.y += height
            record, y = records[r], picture.y
            picture.text(indent, y + height - 5, shortened(band.rows[r].label, self._room(indent)), "m")
            place = (self.left, y + 1, 14.0, height - 2)
            self.at[record.number] = place
            size = self.moment.sizes.get(record.number)
            cells += [(class_of(size, self.scale), *place), ("k", *place)]
            picture.text(
                self.left + 24, y + height - 5, shortened(self._numbers(record, size), self._room_right()), "t"
            )
            picture.y += height
        picture.cells(cells)
        if self.hovers:
            picture.add(*[self._hover(records[r].number) for r in rows])
        picture.y += 16

    def _room_right(self) -> int:
        return int((self.picture.width - MARGIN - self.left - 24) / 6)

    def _numbers(self, record: Record, size: Size | None) -> str:
        several = isinstance(record.value, tuple) and len(record.value) > 1
        value = "" if several else short(record.value)
        parts = [f"value {shortened(value, 60)}" if value else f"{len(record.variables)} results"]
        if is_fused(record):
            parts.append(f"fused: tape.expand({record.number}) opens it")
        if self.moment.sweep is not None:
            none = "no gradient" if self.moment.step is None else "not yet"
            parts.append(none if size is None else f"cotangent: norm {size}")
        return "  ·  ".join(parts)

    # one step --------------------------------------------------------------------------------------------------------

    def _arrows(self) -> None:
        """Of the step that is shown: where it is, where its contributions go, and who waits for more."""
        current = self.moment.current
        if current is None or self.moment.sweep is None or self.moment.step is None:
            return
        for n in waiting(self.moment.sweep, self.moment.step):
            if isinstance(n, int) and n in self.at:
                self.picture.add(_frame("wait", self.at[n]))
        if current.record is None or current.record.number not in self.at:
            return
        here = self.at[current.record.number]
        for contribution in current.contributions:
            target = contribution.target
            if target.kind == "record" and target.number in self.at:
                self.picture.add(_arrow(here, self.at[target.number]))
        self.picture.add(_frame("ring", here))


def carried(band: Band, tape: Tape) -> list[tuple[int, int]]:
    """The rows whose results the next column uses, each with the row that uses them: what a loop hands on."""
    if len(band.times) < 2:
        return []
    c = min(len(band.times) // 2, len(band.times) - 2) if len(band.times) > 2 else 0
    row_of = {row[c]: r for r, row in enumerate(band.cells) if row[c] >= 0}
    pairs: dict[tuple[int, int], None] = {}
    for r, row in enumerate(band.cells):
        if row[c + 1] >= 0:
            for reference in tape.records[row[c + 1]].references:
                if reference.kind == "record" and reference.number in row_of:
                    pairs[row_of[reference.number], r] = None
    return list(pairs)


def _grouped(columns: list[int], most: int) -> list[list[int]]:
    """Columns that are drawn as one, if there are more than there is room for."""
    each = math.ceil(len(columns) / most)
    return [columns[k : k + each] for k in range(0, len(columns), each)]


def _folded(rows: list[int], most: int) -> tuple[list[int], int]:
    """The rows that are drawn, and how many are left out in the middle."""
    return (rows, 0) if len(rows) <= most else ([*rows[: most - 8], *rows[-8:]], len(rows) - most)


def _largest(sizes: list[Size]) -> Size | None:
    """The most remarkable of several sizes: one that is no number, else the largest."""
    if not sizes:
        return None
    odd = next((size for size in sizes if size.kind == "not finite"), None)
    rank = ("unknown", "empty", "zero", "tiny", "number")
    return odd or max(sizes, key=lambda size: (rank.index(size.kind), 0.0 if size.kind == "unknown" else size.norm))


def _merged(cells: list[tuple[str, float, float, float, float]]) -> list[tuple[str, float, float, float, float]]:
    """Cells of one class that touch in a row, as one."""
    merged: list[tuple[str, float, float, float, float]] = []
    for cell in cells:
        kind, x, y, w, h = cell
        if merged and merged[-1][0] == kind and merged[-1][2] == y and abs(merged[-1][1] + merged[-1][3] - x) < 0.01:
            merged[-1] = (kind, merged[-1][1], y, merged[-1][3] + w, h)
        else:
            merged.append(cell)
    return merged


def _round_up(n: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50 ..."""
    size = int(10 ** math.floor(math.log10(max(n, 1))))
    return next(size * k for k in (1, 2, 5, 10) if size * k >= n)


def _frame(kind: str, place: tuple[float, float, float, float]) -> str:
    x, y, w, h = place
    return (
        f'<rect class="{kind}" x="{number(x - 1.5)}" y="{number(y - 1.5)}" width="{number(w + 3)}" '
        f'height="{number(h + 3)}" rx="2"/>'
    )


def _arrow(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> str:
    ax, ay, bx, by = a[0] + a[2] / 2, a[1] + a[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2
    length = math.hypot(bx - ax, by - ay) or 1.0
    bend = min(18.0, 0.25 * length)
    mx, my = (ax + bx) / 2 + bend * (by - ay) / length, (ay + by) / 2 - bend * (bx - ax) / length
    d = f"M{number(ax)} {number(ay)}Q{number(mx)} {number(my)} {number(bx)} {number(by)}"
    return f'<path class="go" d="{d}" marker-end="url(#tg-gotip)"/>'

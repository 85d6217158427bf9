"""Where the records of a tape stand in a picture: the one layout of the page and of the still pictures.

A program of recurrent nets is a few loops.  So the records are put into bands: of a loop, whose rows are the operations
of its body and whose columns are time steps, and of what stands before, between and after loops, in one column.

    rows           %0  matmul(W, const)    %3  matmul(W, %2)      %6 ...
                   %1  add(%0, const)      %4  add(%3, const)     %7
                   %2  tanh(%1)            %5  tanh(%4)           %8
    columns        t=0                     t=1                    t=2

Loops are known in one of two ways.  Where records carry a time step (composed layers, ``with tape.at(t=t)``), that
tells the columns.  Elsewhere they are found in the sequence of records (``loops.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..tape.observe.records import Record
from ..tape.observe.tape import Tape
from .loops import Found, LoopFinder, key_of
from .row_labels import label_of

__all__ = ["Band", "Layout", "Row", "columns_by_time", "layout"]


MOST_COMPARED = 1_000_000
"""Of a loop whose passes all differ, so many pairs of operations are compared before less care is taken."""


@dataclass(frozen=True)
class Row:
    """One operation of a loop's body, or one record outside of loops.

    Attributes:
        label: what it computes, in the names of the program where all columns agree: ``h = tanh(a)``, ``W @ h``.
        primitive: the name of the operation.
        line: the number of its line in the source; None if that is not known.
    """

    label: str
    primitive: str
    line: int | None

    def plain(self) -> dict[str, Any]:
        """The row as data for JSON."""
        return {"label": self.label, "primitive": self.primitive, "line": self.line}


@dataclass(frozen=True)
class Band:
    """A loop, or a stretch of records outside of loops.

    Attributes:
        kind: ``"loop"`` or ``"straight"``.
        title: where in the program it is: module path, layer and direction, or the line of the source.
        parent: the number of the band that encloses it; None if none does.
        rows: its operations, from the first to the last of a body.
        times: a label for each column, in the order of recording: the time step where the program gave it, else
            numbers from 0; of a stretch 0.
        cells: for each row, the number of the record in each column; -1 where there is none.
        sweep: the number of the sweep that recorded it (``create_graph=True``); None for what the program computed.
        module: the path of the module whose records they all are; None if there is none.
    """

    kind: str
    title: str
    parent: int | None
    rows: tuple[Row, ...]
    times: tuple[int, ...]
    cells: tuple[tuple[int, ...], ...]
    sweep: int | None = None
    module: str | None = None

    def plain(self) -> dict[str, Any]:
        """The band as data for JSON."""
        return {
            "kind": self.kind,
            "title": self.title,
            "parent": self.parent,
            "rows": [row.plain() for row in self.rows],
            "times": list(self.times),
            "cells": [list(row) for row in self.cells],
            "sweep": self.sweep,
            "module": self.module,
        }


@dataclass(frozen=True)
class Layout:
    """Where each record of a tape stands: exactly once.

    Attributes:
        bands: in the order of the program; one that lies in another comes after it.
        columns: the records of one time step after the other, in the order in which the program ran them; a stretch
            outside of loops is one column.
        leaves: the numbers of the leaves, those that loops use first.
    """

    bands: tuple[Band, ...]
    columns: tuple[tuple[int, ...], ...]
    leaves: tuple[int, ...]

    def places(self) -> dict[int, tuple[int, int, int]]:
        """For the number of each record its band, row and column."""
        return {
            number: (b, r, c)
            for b, band in enumerate(self.bands)
            for r, row in enumerate(band.cells)
            for c, number in enumerate(row)
            if number >= 0
        }

    def plain(self) -> dict[str, Any]:
        """The layout as data for JSON."""
        return {
            "bands": [band.plain() for band in self.bands],
            "columns": [list(column) for column in self.columns],
            "leaves": list(self.leaves),
        }


def columns_by_time(band: Band) -> list[int]:
    """The columns of a band from left to right: by time, where each has one of its own, so that bands are comparable.

    A direction that reads from the end was recorded from the last time step to the first.
    """
    columns = list(range(len(band.times)))
    return sorted(columns, key=band.times.__getitem__) if len(set(band.times)) == len(columns) else columns


def layout(tape: Tape) -> Layout:
    """The layout of a tape, live or read from JSON.

    >>> import tinygrad_rnn as tg
    >>> W, h = tg.tensor(0.5, requires_grad=True), tg.tensor(1.0)
    >>> with tg.Tape() as tape:
    ...     for x in (1.0, -1.0, 2.0):
    ...         a = W * h + x
    ...         h = tg.tanh(a)
    ...     loss = h.square()
    >>> for band in layout(tape).bands:
    ...     print(band.title, [row.label for row in band.rows], band.cells)
    for x in (1.0, -1.0, 2.0) ['W * h', 'a = · + ·', 'h = tanh(a)'] ((0, 3, 6), (1, 4, 7), (2, 5, 8))
    line 5 ['loss = square(h)'] ((9,),)
    """
    finder = LoopFinder(tape)
    bands: list[Band] = []
    columns: list[tuple[int, ...]] = []
    for sweep, group in itertools.groupby(tape.records, key=lambda record: record.sweep):
        for piece in _pieces(list(group)):
            if isinstance(piece, _Timed):
                _add_timed(piece, sweep, finder, bands, columns)
            else:
                for found in finder.split(piece):
                    _add_found(found, sweep, None, finder, bands, columns)
    return Layout(tuple(_numbered(bands)), tuple(columns), _leaves(tape, bands))


def _numbered(bands: list[Band]) -> Iterator[Band]:
    """Loops of the same title told apart: the second is ``lstm (2)``."""
    seen: dict[tuple[str, str], int] = {}
    for band in bands:
        key = band.kind, band.title
        count = seen[key] = seen.get(key, 0) + 1
        yield band if count == 1 or band.kind != "loop" else Band(**{**vars(band), "title": f"{band.title} ({count})"})


def _leaves(tape: Tape, bands: list[Band]) -> tuple[int, ...]:
    in_loops = {
        reference.number
        for band in bands
        if band.kind == "loop"
        for row in band.cells
        for number in row
        if number >= 0
        for reference in tape.records[number].references
        if reference.kind == "leaf"
    }
    return tuple(sorted(range(len(tape.leaves)), key=lambda number: number not in in_loops))


# loops whose time steps are known ------------------------------------------------------------------------------------


@dataclass
class _Column:
    time: int
    records: list[Record] = field(default_factory=list)


@dataclass
class _Timed:
    """A loop whose records say their time step."""

    columns: list[_Column] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)


def _place(record: Record) -> tuple[Any, ...]:
    """What tells loops apart that follow each other: the last step of one may be the first of the next."""
    return record.module, record.layer, record.direction, record.line


def _running(record: Record) -> tuple[int, ...]:
    """The lines that ran, those of the function where the tape was opened first: what comes later has greater ones."""
    return tuple([line.number for line in reversed(record.stack)])


def _pieces(records: list[Record]) -> list[_Timed | list[Record]]:
    """Loops with time steps, and the stretches between."""
    pieces: list[_Timed | list[Record]] = []
    loop: _Timed | None = None
    between: list[Record] = []
    for record in records:
        t = record.time
        if t is None:
            between.append(record)
            continue
        column = loop.columns[-1] if loop else None
        other = bool(between) and column is not None and _place(record)[:3] != _place(column.records[-1])[:3]
        if loop and column and t == column.time and not other:
            column.records += [*between, record]  # what came between belongs to this step
        elif loop and column and t not in loop.seen:
            last = max(map(_running, column.records))
            cut = next((k for k, r in enumerate(between) if _running(r) <= last), len(between))
            column.records += between[:cut]
            loop.columns.append(_Column(t, [*between[cut:], record]))
            loop.seen.add(t)
        else:
            begun = _begun(loop, record) if loop and not between else []
            if between:
                pieces.append(between)
            loop = _Timed([_Column(t, [*begun, record])], {t})
            if begun and begun[0].time != t:
                loop = _Timed([_Column(begun[0].time or 0, begun), _Column(t, [record])], {begun[0].time or 0, t})
            pieces.append(loop)
        between = []
    if between:
        pieces.append(between)
    return _completed(pieces)


def _begun(loop: _Timed, record: Record) -> list[Record]:
    """The records at the end of a loop that are of the one which ``record`` goes on with, taken out of it.

    The direction from the end begins at the time step where the one from the beginning ends.
    """
    if len(loop.columns) < 2:
        return []
    known = {_place(r) for column in loop.columns[:-1] for r in column.records}
    last = loop.columns[-1].records
    start = len(last)
    while start > 0 and _place(last[start - 1]) not in known:
        start -= 1
    begun = last[start:]
    if not begun or _place(record) not in {_place(r) for r in begun}:
        return []
    del last[start:]
    if not last:
        loop.columns.pop()
    return begun


def _completed(pieces: list[_Timed | list[Record]]) -> list[_Timed | list[Record]]:
    """The first and the last step of each loop with what the others have before and after ``with tape.at(t=t)``."""
    for k, loop in enumerate(pieces):
        if not isinstance(loop, _Timed) or len(loop.columns) < 2:
            continue
        first, *_, last = loop.columns
        heads = {key_of(r) for column in loop.columns[1:] for r in _untimed(column.records)}
        tails = {key_of(r) for column in loop.columns[:-1] for r in _untimed(column.records[::-1])}
        before = pieces[k - 1] if k else None
        while isinstance(before, list) and before and key_of(before[-1]) in heads:
            first.records.insert(0, before.pop())
        after = pieces[k + 1] if k + 1 < len(pieces) else None
        while isinstance(after, list) and after and key_of(after[0]) in tails:
            last.records.append(after.pop(0))
    return [piece for piece in pieces if not isinstance(piece, list) or piece]


def _untimed(records: Iterable[Record]) -> Iterator[Record]:
    return itertools.takewhile(lambda record: record.time is None, records)


def _add_timed(
    loop: _Timed, sweep: int | None, finder: LoopFinder, bands: list[Band], columns: list[tuple[int, ...]]
) -> None:
    """A band for a loop; if layers run within each of its steps, one for each of them inside of it."""
    columns += [tuple([record.number for record in column.records]) for column in loop.columns]
    everything = [record for column in loop.columns for record in column.records]
    parts = dict.fromkeys((record.layer, record.direction) for record in everything)
    parts.pop((None, None), None)
    steps = [(column.time, column.records) for column in loop.columns]
    if len(parts) < 2:
        bands.append(_band("loop", _title(everything, sweep, finder), None, steps, sweep, finder.tape))
        return
    parent = None
    rest = [(t, [r for r in records if (r.layer, r.direction) == (None, None)]) for t, records in steps]
    if any(records for _, records in rest):
        parent = len(bands)
        bands.append(_band("loop", _title(everything, sweep, finder), None, rest, sweep, finder.tape))
    for part in parts:
        own = [(t, [r for r in records if (r.layer, r.direction) == part]) for t, records in steps]
        inside = [r for _, records in own for r in records]
        own = [(t, records) for t, records in own if records]
        bands.append(_band("loop", _title(inside, sweep, finder), parent, own, sweep, finder.tape))


# loops that were found -----------------------------------------------------------------------------------------------


def _add_found(
    found: Found,
    sweep: int | None,
    parent: int | None,
    finder: LoopFinder,
    bands: list[Band],
    columns: list[tuple[int, ...]],
) -> None:
    if found.kind == "straight":
        records = [record for step in found.steps for record in step]
        columns.append(tuple([record.number for record in records]))
        title = _title(records, sweep, finder)
        module = _common_path(record.module for record in records)
        rows = [_row([record], finder.tape, module) for record in records]
        cells = [(record.number,) for record in records]
        bands.append(Band("straight", title, parent, tuple(rows), (0,), tuple(cells), sweep, module))
        return
    everything = [record for step in found.steps for record in step]
    title = _title(everything, sweep, finder, found.header)
    own = len(bands)
    inner = {id(record) for part in found.inner for step in part.steps for record in step}
    steps = [(k, [r for r in step if id(r) not in inner]) for k, step in enumerate(found.steps)]
    bands.append(_band("loop", title, parent, steps, sweep, finder.tape))
    if not found.inner:
        columns += [tuple([record.number for record in step]) for step in found.steps]
        return
    waiting = list(found.inner)
    for step in found.steps:  # what stands before, between and after the inner loops is a column each
        rest: list[int] = []
        numbers = {record.number for record in step}
        for record in step:
            if waiting and waiting[0].steps[0][0] is record and record.number in numbers:
                if rest:
                    columns.append(tuple(rest))
                rest = []
                _add_found(waiting.pop(0), sweep, own, finder, bands, columns)
            elif id(record) not in inner:
                rest.append(record.number)
        if rest:
            columns.append(tuple(rest))


# bands ---------------------------------------------------------------------------------------------------------------


def _band(
    kind: str,
    title: str,
    parent: int | None,
    steps: Sequence[tuple[int, list[Record]]],
    sweep: int | None,
    tape: Tape,
) -> Band:
    rows = _aligned([records for _, records in steps])
    cells = [[-1] * len(steps) for _ in rows]
    for r, row in enumerate(rows):
        for column, record in row.items():
            cells[r][column] = record.number
    module = _common_path(record.module for _, records in steps for record in records)
    made = tuple([_row(list(row.values()), tape, module) for row in rows])
    return Band(kind, title, parent, made, tuple([t for t, _ in steps]), tuple(map(tuple, cells)), sweep, module)


def _aligned(columns: Sequence[list[Record]]) -> list[dict[int, Record]]:
    """The rows of a loop, each with its record by column: records of the same operation at the same place are in one.

    A step may lack operations that others have (a first state that is a constant, an ``if``, a batch that shrinks): so
    each is aligned to the rows so far, in their order, and what is new in it becomes a row behind what it followed.
    """
    rows: list[dict[int, Record]] = []
    keys: list[tuple[Any, ...]] = []  # of each row, as in the column that made it
    known: dict[tuple[Any, ...], list[dict[int, Record]]] = {}
    spent = 0
    for c, records in enumerate(columns):
        own = [(key_of(record), record.variable, _leaves_of(record)) for record in records]
        kind = tuple(own)
        if kind not in known:
            known[kind] = []
            at = 0
            spent += len(own) * len(keys)
            matched = _matched(own, keys) if spent <= MOST_COMPARED else _first_that_fit(own, keys)
            for key, place in zip(own, matched, strict=True):
                if place is None:
                    rows.insert(at, {})
                    keys.insert(at, key)
                    place_now = at
                else:
                    place_now = next(k for k in range(at, len(keys)) if keys[k] is place)
                known[kind].append(rows[place_now])
                at = place_now + 1
        for row, record in zip(known[kind], records, strict=True):
            row[c] = record
    return rows


def _leaves_of(record: Record) -> tuple[int, ...]:
    return tuple([reference.number for reference in record.references if reference.kind == "leaf"])


def _matched(own: list[tuple[Any, ...]], keys: list[tuple[Any, ...]]) -> list[tuple[Any, ...] | None]:
    """For each operation of a column the row that it belongs to, in order; None where there is none.

    The longest common subsequence, where variables and leaves of the same name count, too.
    """
    best = [[0.0] * (len(keys) + 1) for _ in range(len(own) + 1)]
    for a in range(len(own) - 1, -1, -1):
        for b in range(len(keys) - 1, -1, -1):
            best[a][b] = max(best[a + 1][b], best[a][b + 1])
            if own[a][0] == keys[b][0]:
                best[a][b] = max(best[a][b], best[a + 1][b + 1] + _likeness(own[a], keys[b]))
    found: list[tuple[Any, ...] | None] = []
    b = 0
    for a, key in enumerate(own):
        while b < len(keys) and best[a][b] == best[a][b + 1]:
            b += 1
        same = b < len(keys) and key[0] == keys[b][0]
        if same and best[a][b] == best[a + 1][b + 1] + _likeness(key, keys[b]):
            found.append(keys[b])
            b += 1
        else:
            found.append(None)
    return found


def _first_that_fit(own: list[tuple[Any, ...]], keys: list[tuple[Any, ...]]) -> list[tuple[Any, ...] | None]:
    """The same in one pass: the next row of the same operation, if there is one not far down."""
    found: list[tuple[Any, ...] | None] = []
    b = 0
    for key in own:
        place = next((k for k in range(b, min(b + 8, len(keys))) if keys[k][0] == key[0]), None)
        found.append(None if place is None else keys[place])
        b = b if place is None else place + 1
    return found


def _likeness(a: tuple[Any, ...], b: tuple[Any, ...]) -> float:
    return 2.0 + float(a[1] == b[1]) + float(a[2] == b[2])


def _row(records: list[Record], tape: Tape, module: str | None) -> Row:
    first = records[0]
    line = first.line.number if first.line else None
    return Row(label_of(records, tape, module), first.name, line)


def _title(records: list[Record], sweep: int | None, finder: LoopFinder, header: str | None = None) -> str:
    """Module path, layer and direction, and the loop as the source says it; else lines."""
    parts = [] if sweep is None else [f"sweep {sweep}, recorded"]
    module = _common_path([record.module for record in records])
    layers = {record.layer for record in records}
    directions = {record.direction for record in records}
    if module is not None:
        parts.append(module)
    if layers != {None} and len(layers) == 1:
        parts.append(f"layer {layers.pop()}")
        if directions == {1}:
            parts.append("backwards")
    elif directions == {1}:
        parts.append("backwards")
    if header is not None and module is not None:
        parts.append(header)
    if not parts or (sweep is None and module is None):
        header = header or finder.header_around(records)
        lines = [record.line for record in records if record.line is not None]
        if header is not None:
            parts.insert(0, header)
        elif lines and len({line.file for line in lines}) == 1:
            low, high = min(line.number for line in lines), max(line.number for line in lines)
            parts.insert(0, f"line {low}" if low == high else f"lines {low} to {high}")
    return ", ".join(parts) or records[0].name


def _common_path(modules: Iterable[str | None]) -> str | None:
    paths = [path.split(".") if path is not None else [] for path in dict.fromkeys(modules)]
    common = [names[0] for names in zip(*paths, strict=False) if len(set(names)) == 1]
    return ".".join(common) or None

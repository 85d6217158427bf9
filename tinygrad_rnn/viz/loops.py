"""Loops, found in the records of a tape that do not say their time step.

Where the source is known, it tells which records were made in a loop, and a new pass begins where the statements of its
body begin anew; in a body of one statement, after what that statement assigns.  So passes may differ: by an ``if``, by
inner loops of various lengths, by a first state that is a constant.

Otherwise (no source, a recorded sweep, recursion, a body of one statement without a variable) a loop is what repeats.
At a distance of one body, the period p, records are alike: the same operation at the same line, with inputs from the
same places before it.  All runs of such records are found for every p up to 200 by comparing the tape with itself,
moved by p, which takes O(n p) steps of NumPy.  Among runs that overlap the longest is taken, of these the one of the
smallest period.  Repetition alone proves little: ``a*b + c*d + e*f`` repeats ``mul, add``; so without a loop in the
source it takes more of it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tape.observe.records import Record
from ..tape.observe.tape import Tape
from .source_loops import Place, Sources

__all__ = ["Found", "LoopFinder", "key_of"]

LONGEST_BODY = 200
INPUTS = 4
"""So many inputs of a record are compared."""
Ints = NDArray[np.int64]


def key_of(record: Record) -> tuple[Any, ...]:
    """What makes records of different passes the same operation: all but their values."""
    line = record.line
    where = record.shape if line is None else (line.file, line.number)
    return record.name, where, record.module, record.layer, record.direction


@dataclass
class Found:
    """A loop, as the records of each pass, or a stretch of records without one.

    Attributes:
        kind: ``"loop"`` or ``"straight"``.
        steps: the records of each pass, with those of inner loops.
        inner: the loops inside of it, in order.
        header: the head of the loop as the source has it.
    """

    kind: str
    steps: list[list[Record]]
    inner: list[Found] = field(default_factory=list)
    header: str | None = None


@dataclass(frozen=True)
class _Run:
    """Records from ``start`` to ``stop`` that repeat with a period."""

    start: int
    stop: int
    period: int

    @property
    def passes(self) -> int:
        return (self.stop - self.start) // self.period


class LoopFinder:
    """Finds the loops of one tape; reads its sources once."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._sources = Sources(tape.source)

    def split(self, records: list[Record]) -> list[Found]:
        """The loops among consecutive records, and what is between them, in order."""
        return _joined(self._split(records, 0))

    def header_around(self, records: Sequence[Record]) -> str | None:
        """The head of the innermost loop of the source that all of these records were made in."""
        common = self._common(records)
        return common[-1].loop.head if common else None

    def _path(self, record: Record) -> tuple[Place, ...]:
        return self._sources.path(record.stack)

    def _common(self, records: Sequence[Record]) -> tuple[Place, ...]:
        common: tuple[Place, ...] | None = None
        for stack in dict.fromkeys(record.stack for record in records):
            path = self._sources.path(stack)
            if common is None:
                common = path
            same = [a.key == b.key for a, b in zip(common, path, strict=False)]
            common = common[: same.index(False) if False in same else len(same)]
        return common or ()

    # by the source ----------------------------------------------------------------------------------------------------

    def _split(self, records: list[Record], level: int) -> Iterator[Found]:
        """Loops and stretches; the first ``level`` loops around each record are those around all."""

        def loop_of(record: Record) -> Any:
            path = self._path(record)
            return path[level].key if len(path) > level else None

        for loop, group in itertools.groupby(records, key=loop_of):
            members = list(group)
            passes = None if loop is None else self._passes(members, level)
            if passes is not None and len(passes) > 1:
                yield self._nested(passes, level)
            elif passes is not None:
                yield from self._split(members, level + 1)
            else:
                found = self._repeating(members)
                deeper = len(found) > 1 and any(len(self._path(record)) > level + 1 for record in members)
                yield from self._split(members, level + 1) if deeper else found

    def _nested(self, passes: list[list[Record]], level: int) -> Found:
        """A loop, with the loops inside of it that have more passes; others are rows of the body."""
        inner = [found for records in passes for found in self._split(records, level + 1) if found.kind == "loop"]
        longest: Counter[str | None] = Counter()
        for found in inner:
            longest[found.header] = max(longest[found.header], len(found.steps))
        inner = [found for found in inner if longest[found.header] > len(passes)]
        return Found("loop", passes, inner, self._path(passes[0][0])[level].loop.head)

    def _passes(self, records: list[Record], level: int) -> list[list[Record]] | None:
        """The passes of the loop that all of these records were made in; None if the source does not tell them."""
        places = [self._path(record)[level] for record in records]
        statements = [place.statement for place in places]
        if len(set(statements)) > 1:
            cuts = [k for k in range(1, len(records)) if statements[k] < statements[k - 1]]
            loops = {at for at, record in zip(statements, records, strict=True) if len(self._path(record)) > level + 1}
            return _apart(_cut(records, cuts), dict(zip(map(id, records), statements, strict=True)), loops)
        target = places[0].loop.targets[statements[0]] if statements[0] >= 0 else None
        ends = [k + 1 for k, record in enumerate(records) if target is not None and record.variables == [target]]
        return _cut(records, [k for k in ends if k < len(records)]) if ends else None

    # by repetition ---------------------------------------------------------------------------------------------------

    def _repeating(self, records: list[Record]) -> list[Found]:
        """Loops and stretches among consecutive records, by what repeats."""
        if len(records) < 2:
            return [Found("straight", [records])]
        base, distances = _signatures(records)
        runs = _runs(base, distances)
        taken = np.zeros(len(records), bool)
        loops: list[tuple[int, int, Found]] = []
        for run in sorted(runs, key=lambda run: (run.start - run.stop, run.period)):
            free = _free_part(run, taken)
            if free is None or not self._is_loop(free, records):
                continue
            start, stop, cuts = _passes_of_run(free, records, base, taken)
            around = records[max(0, start - 1) : start] + records[stop : stop + 1]
            steps = _cut(records[start:stop], [cut - start for cut in cuts if start < cut < stop])
            loops.append((start, stop, Found("loop", steps, [], self._header_of(records[start:stop], around))))
            taken[start:stop] = True
        pieces, at = [], 0
        for start, stop, found in sorted(loops, key=lambda loop: loop[0]):
            if at < start:
                pieces.append(Found("straight", [records[at:start]]))
            pieces.append(found)
            at = stop
        if at < len(records):
            pieces.append(Found("straight", [records[at:]]))
        return pieces

    def _header_of(self, records: Sequence[Record], around: Sequence[Record]) -> str | None:
        """The head of the loop whose passes these records are: the outermost that nothing ``around`` is part of."""
        others = {place.key for record in around for place in self._path(record)}
        for place in self._common(records):
            if place.key not in others:
                return place.loop.head
        return self.header_around(records)

    def _is_loop(self, run: _Run, records: list[Record]) -> bool:
        """Whether the source has a loop there; without a source, whether it repeats often enough."""
        body = records[run.start : run.start + run.period]
        paths = [self._path(record) for record in body]
        one_line = len({record.stack for record in body}) == 1
        if any(paths) or any(record.sweep is not None or _recursive(record) for record in body):
            return run.passes >= (3 if one_line and run.period <= 2 else 2)
        if all(
            self._sources.known(record.stack) for record in body
        ):  # the source is known: map() or reduce(), or no loop
            return run.passes >= 4 and run.period >= 3
        return run.passes >= (2 if run.period >= 3 else 4)


def _joined(pieces: Iterator[Found]) -> list[Found]:
    """The pieces, with stretches that follow each other put together."""
    joined: list[Found] = []
    for piece in pieces:
        if joined and joined[-1].kind == piece.kind == "straight":
            joined[-1] = Found("straight", [joined[-1].steps[0] + piece.steps[0]])
        else:
            joined.append(piece)
    return joined


def _cut(records: list[Record], cuts: list[int]) -> list[list[Record]]:
    edges = [0, *cuts, len(records)]
    return [records[a:b] for a, b in itertools.pairwise(edges)]


def _apart(passes: list[list[Record]], statements: dict[int, int], loops: set[int]) -> list[list[Record]]:
    """The passes, where those whose later statements recorded nothing are told from the pass that follows.

    An ``if`` at the end of the body that is seldom true: then the first statement comes several times in what seems to
    be one pass.  ``loops``: the statements that are loops themselves, and repeat in any case.
    """
    if any(statements[id(records[0])] in loops for records in passes):
        return passes

    def head(records: list[Record]) -> list[Any]:
        first = statements[id(records[0])]
        return [key_of(r) for r in itertools.takewhile(lambda r: statements[id(r)] == first, records)]

    heads = [head(records) for records in passes]
    usual = min(heads, key=len)
    common = heads.count(usual) > 1
    parted: list[list[Record]] = []
    for records, keys in zip(passes, heads, strict=True):
        count = len(keys) // len(usual)
        if count > 1 and keys == usual * count and common:
            parted += _cut(records, [len(usual) * k for k in range(1, count)])
        else:
            parted.append(records)
    return parted


def _recursive(record: Record) -> bool:
    """Whether a function of the program called itself there."""
    places = [(line.file, line.function) for line in record.stack]
    return len(set(places)) < len(places)


# runs --------------------------------------------------------------------------------------------------------------


def _signatures(records: list[Record]) -> tuple[Ints, Ints]:
    """For each record a number of its kind, and how far before it its first inputs were recorded.

    0 stands for all other inputs: constants, leaves, and what was recorded before these records.
    """
    kinds: dict[Any, int] = {}
    base = np.array([kinds.setdefault(key_of(record), len(kinds)) for record in records], np.int64)
    distances = np.zeros((INPUTS, len(records)), np.int64)
    for i, record in enumerate(records):
        for k, reference in enumerate(record.references[:INPUTS]):
            if reference.kind == "record" and reference.number >= records[0].number:
                distances[k, i] = record.number - reference.number
    return base, distances


def _runs(base: Ints, distances: Ints) -> list[_Run]:
    """All maximal runs of at least two periods."""
    n = len(base)
    runs: list[_Run] = []
    longest = np.zeros(n, np.int64)  # of the runs so far that hold a record
    for p in range(1, min(LONGEST_BODY, n // 2) + 1):
        for s, e in _stretches(base[p:] == base[:-p], p):
            if longest[s : e + p].min() >= e + p - s:  # a multiple of a period that is known
                continue
            for a, b in _stretches(_same_inputs(distances, s, e, p), p):
                run = _Run(s + a, s + b + p, p)
                if longest[run.start : run.stop].min() < run.stop - run.start:
                    runs.append(run)
                    part = longest[run.start : run.stop]
                    np.maximum(part, run.stop - run.start, out=part)
    return runs


def _same_inputs(distances: Ints, s: int, e: int, p: int) -> NDArray[np.bool_]:
    """Which of the records from ``s`` to ``e`` have inputs from the same places as the ones a period later.

    The places are the same if they are as far before; or the same record; or both lie more than a pass before, as what
    an earlier loop computed does.  On the first pass anything is: a state is a constant there, a sum has not begun.
    """
    same = np.ones(e - s, bool)
    for distance in distances:
        a, b = distance[s:e], distance[s + p : e + p]
        same &= (a == b) | ((a > 0) & (b == a + p)) | ((a > p) & (b > p))
    same[:p] = True
    return same


def _stretches(flags: NDArray[np.bool_], least: int) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch of True that is long enough."""
    if np.count_nonzero(flags) < least:
        return
    edges = np.concatenate([[-1], np.flatnonzero(~flags), [len(flags)]])
    lengths = np.diff(edges) - 1
    for k in np.flatnonzero(lengths >= least):
        yield int(edges[k]) + 1, int(edges[k + 1])


def _free_part(run: _Run, taken: NDArray[np.bool_]) -> _Run | None:
    """What is left of a run where others were taken: at least two periods."""
    best = max(
        _stretches(~taken[run.start : run.stop], 2 * run.period), key=lambda part: part[1] - part[0], default=None
    )
    return None if best is None else _Run(run.start + best[0], run.start + best[1], run.period)


def _passes_of_run(
    run: _Run, records: list[Record], base: Ints, taken: NDArray[np.bool_]
) -> tuple[int, int, list[int]]:
    """Where a loop starts and stops, with passes that are not whole, and where its passes begin."""
    p, start, stop = run.period, run.start, run.stop
    body = set(base[start : start + p].tolist())
    if all(record.line is not None for record in records[start : start + p]):
        while start > 0 and run.start - start < p - 1 and not taken[start - 1] and int(base[start - 1]) in body:
            start -= 1
        while stop < len(records) and stop - run.stop < p - 1 and not taken[stop] and int(base[stop]) in body:
            stop += 1
    places = [tuple([line.number for line in reversed(record.stack)]) for record in records[run.start : run.start + p]]
    lowest = min(places)
    begins = [k for k in range(p) if places[k] == lowest and places[k - 1] != lowest]
    if begins:
        # of several, the one whose passes are whole at the start or at the end
        whole = [k for k in begins if (run.start + k - start) % p == 0 or (stop - run.start - k) % p == 0]
        offset = (whole or begins)[0]
    elif start < run.start or (stop - start) % p == 0:  # one line; the first pass is another, or none is
        offset = 0
    else:  # the first pass lacks what the others begin with
        offset = (stop - run.start) % p
    return start, stop, list(range(run.start + offset, run.stop, p))

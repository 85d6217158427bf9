"""What the debugger's page holds: tapes as JSON, their arrays as bytes, all of it deflated.

The content is that of ``Tape.to_json`` (docs/tape-format.md), packed so that a loop of a thousand equal steps costs
little: places are written relative to where they stand, so each step looks like the one before, and deflate does the
rest.  ``page/data.js`` unpacks it.

    4 bytes         length of the JSON, little-endian
    JSON            see :func:`packed`
    arrays          by dtype, all entries of all arrays one after another; byte 0 of each entry first, then byte 1, ...

Places are written as follows.

    array           0: the next that was not seen yet; k: the one k places back from there
    input           k > 0: the record k places back, or [k, output]; ["l", leaf, version]; ["e", index, output]; null
    argument        "=": the value that its input has; else an array, null, or {"number": 0.5}
    contribution    [position, array]; with the target in the middle if it is not the record's input at this position
"""

from __future__ import annotations

import itertools
import json
import math
import struct
import traceback
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..errors import GraphError
from ..source_line import Line
from ..tape.formula import symbol
from ..tape.observe.records import Record, Reference, Step, is_whole
from ..tape.observe.tape import Tape
from ..tape.observe.tape_json import Writer, reference
from ..tape.observe.tape_json import shares_of_leaf as shares_of
from ..tape.observe.values import Summary
from .mathml import template
from .source_names import constant_name

__all__ = ["Failure", "encoded", "packed"]

NEAR = 16
"""Of a long file, so many lines before and after each line that a record names."""
SHORT_FILE = 240
LONGEST_LINE = 1000
EXPANDED = 20_000
"""Fused records are opened as long as there are no more records than these in all."""


class Failure:
    """The exception that ended a program or a sweep: what it says, and the line of the program."""

    def __init__(self, text: str, line: Line | None = None, trace: str = "") -> None:
        self.text, self.line, self.trace = text, line, trace

    @classmethod
    def of(cls, error: BaseException | str, files: Iterable[str] = ()) -> Failure:
        """From an exception.

        Args:
            error: the exception, or what to say.
            files: those of the program: the line is the last of the traceback that lies in one of these.
        """
        if isinstance(error, str):
            return cls(error)
        known = set(files)
        frames = traceback.extract_tb(error.__traceback__)
        of_user = [frame for frame in frames if frame.filename in known] or list(frames)
        line = None
        if of_user:
            last = of_user[-1]
            line = Line(last.filename, last.lineno or 0, last.name)
        elif isinstance(error, SyntaxError) and error.filename:
            line = Line(error.filename, error.lineno or 0, "<module>")
        return cls(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, line)


class Packer(Writer):
    """Plain data from what tapes hold; arrays go into one table of bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[Any, int] = {}
        self.by_identity: dict[int, tuple[Any, int]] = {}
        self.table: dict[str, list[Any]] = {"dtype": [], "shape": [], "kept": []}
        self.sizes: list[float] = []
        self.dtypes: dict[str, int] = {}
        self.shapes: dict[tuple[int, ...], int] = {}
        self.entries: dict[str, list[bytes]] = {}

    def array(self, value: Any) -> int:
        """The place of an array, relative to the next."""
        known = self.by_identity.get(id(value))  # a copy of an argument stands at several records
        if known is not None and known[0] is value:
            return len(self.seen) - known[1]
        host = to_numpy(value)
        place = self._place(host.shape, host, None)
        if place == 0:
            self.by_identity[id(value)] = value, len(self.seen) - 1
        return place

    def _place(self, shape: tuple[int, ...], kept: np.ndarray[Any, Any], summary: Summary | None) -> int:
        kind = kept.dtype.newbyteorder("<")
        data = np.ascontiguousarray(kept, kind).tobytes()
        sizes: tuple[float | None, ...] = ()
        if summary is not None:
            sizes = (summary.norm, summary.minimum, summary.maximum)
        key = kept.dtype.name, shape, data, sizes
        number = self.seen.get(key)
        if number is not None:
            return len(self.seen) - number
        self.seen[key] = len(self.seen)
        self.table["dtype"].append(self.dtypes.setdefault(kept.dtype.name, len(self.dtypes)))
        self.table["shape"].append(self.shapes.setdefault(shape, len(self.shapes)))
        self.table["kept"].append(kept.size if summary is None else -1 - kept.size)
        self.entries.setdefault(kept.dtype.name, []).append(data)
        if sizes:
            self.sizes += [math.nan if size is None else size for size in sizes]
        return 0

    def value(self, value: Any) -> Any:
        """What is kept of one array, or of several."""
        if isinstance(value, Summary):
            return self._place(value.shape, to_numpy(value.head), value)
        return super().value(value)

    # records ---------------------------------------------------------------------------------------------------------

    def place(self, r: Reference, number: int) -> Any:
        """A reference, seen from a record."""
        if r.kind == "record":
            return [number - r.number, r.output] if r.output else number - r.number
        return reference(r)

    def records(self, tape: Tape) -> dict[str, Any]:
        """All records, by columns; a column in which all is None or empty is left out."""
        columns: dict[str, list[Any]] = {}

        def put(name: str, entry: Any) -> None:
            columns.setdefault(name, []).append(entry)

        for record in tape.records:
            several = isinstance(record.value, tuple)
            put("name", record.name)
            put("shape", self.shapes.setdefault(tuple(record.shape), len(self.shapes)))
            put("dtype", self.dtypes.setdefault(record.dtype.name, len(self.dtypes)))
            put("value", self.value(record.value))
            put("inputs", [self.place(r, record.number) for r in record.references])
            put("args", self.arguments(tape, record))
            put("argNames", list(record.argument_names))
            put("constants", self.constants(tape, record))
            put("saved", list(record._kept_names))
            put("more", {name: self.value(value) for name, value in record._more.items()})
            put("bytes", record.saved_bytes)
            put("params", {name: self.parameter(value) for name, value in record.params.items()})
            put("variables", record.variables if several or record.variable else [])
            put("module", record.scope.module)
            put("layer", record.scope.layer)
            put("direction", record.scope.direction)
            put("time", record.scope.time)
            put("sweep", record.sweep)
            put("line", None if record.line is None else self.line(record.line))
            put("stack", [self.line(line) for line in record.stack])
        return {name: shortened(column) for name, column in columns.items() if any(map(_says, column))}

    def constants(self, tape: Tape, record: Record) -> list[str | None]:
        """What the program calls those arguments that are arrays without a record; empty if it says nothing."""
        found = [
            constant_name(record, k, tape)
            if r.kind == "constant" and value is not None and not _is_number(value)
            else None
            for k, (r, value) in enumerate(zip(record.references, record.arguments, strict=False))
        ]
        return found if any(found) else []

    def arguments(self, tape: Tape, record: Record) -> list[Any]:
        """The values of the arguments."""
        found: list[Any] = []
        for value, r in itertools.zip_longest(record.arguments, record.references):
            same = r is not None and value is not None and tape._known(r) is value
            found.append("=" if same else self.argument(value))
        return found

    # sweeps ----------------------------------------------------------------------------------------------------------

    def steps(self, steps: Sequence[Step]) -> dict[str, Any]:
        """The steps of a sweep, by columns."""
        columns: dict[str, list[Any]] = {name: [] for name in ("target", "cotangent", "depth", "contributions")}
        last = 0
        for step in steps:
            place: Any = reference(step.target)
            if step.target.kind == "record" and not step.target.output:
                place, last = last - step.target.number, step.target.number
            columns["target"].append(place)
            columns["cotangent"].append(self.value(step.cotangent))
            columns["depth"].append(step.depth)
            columns["contributions"].append([self.contribution(step, c) for c in step.contributions])
        return {name: shortened(column) for name, column in columns.items()}

    def contribution(self, step: Step, c: Any) -> list[Any]:
        """Position, value, sums; the target is the record's input unless it is said."""
        record = step.record
        target = None
        if record is not None and c.position < len(record.references):
            target = record.references[c.position]
        usual = target is not None and target._replace(version=0) == c.target._replace(version=0)
        plain = [c.position, self.value(c.value)] if usual else [c.position, reference(c.target), self.value(c.value)]
        if c.after is not None:
            plain.append([self.value(c.before), self.value(c.after)])
        return plain

    def tape(self, tape: Tape) -> dict[str, Any]:
        """One tape."""
        plain: dict[str, Any] = {
            "values": tape.values,
            "leaves": [
                {"name": leaf.name, "shape": list(leaf.shape), "dtype": leaf.dtype.name}
                | {"values": [self.value(value) for value in leaf.values]}
                for leaf in tape.leaves
            ],
            "records": self.records(tape),
            "count": len(tape.records),
            "sweeps": [
                {"kind": sweep.kind, "error": sweep.error, "count": len(sweep.steps), "steps": self.steps(sweep.steps)}
                | {"seeds": [[reference(target), self.value(cotangent)] for target, cotangent in sweep.seeds]}
                for sweep in tape.sweeps
            ],
        }
        shares = {leaf.number: shares_of(tape, leaf) for leaf in tape.leaves}
        plain["shares"] = {str(number): [self.share(share) for share in found] for number, found in shares.items()}
        plain["earlier"] = {str(index): list(what) for index, what in tape._earlier.items()}
        return plain

    # arrays ----------------------------------------------------------------------------------------------------------

    def buffer(self) -> bytes:
        """The entries of all arrays."""
        pieces = [_transposed(b"".join(self.entries.get(name, [])), name) for name in self.dtypes]
        sizes = np.array(self.sizes, "<f8").tobytes()
        return b"".join([*pieces, _transposed(sizes, "float64")])


def _transposed(data: bytes, name: str) -> bytes:
    """Byte 0 of each entry, then byte 1 of each: exponents beside exponents, which deflate likes."""
    width = np.dtype(name).itemsize
    return np.frombuffer(data, np.uint8).reshape(-1, width).T.tobytes()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _says(entry: Any) -> bool:
    return entry is not None and entry != [] and entry != {}


def shortened(column: list[Any]) -> Any:
    """A column that says the same everywhere as ``{"all": it}``."""
    return {"all": column[0]} if column and all(entry == column[0] for entry in column) else column


def formulas(records: Iterable[Record]) -> dict[str, Any]:
    """The formulas of all operations that occur, by name and number of arguments."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(f"{record.name}/{len(record.argument_names)}", []).append(record)
    found: dict[str, Any] = {}
    for key, group in groups.items():
        formula = group[0].formula
        if formula is None:
            found[key] = None
            continue
        text = str(formula)
        names = [
            name
            for name in group[0].params
            if all(type(record.params.get(name)) in (int, float) for record in group)
            and f"{symbol(name)}(" not in text  # an index, which is a number only by chance
        ]
        found[key] = template(formula, group[0].argument_names, names) | {"params": names}
    return found


def sources(lines: Sequence[Sequence[Any]], source: Callable[[str], str]) -> dict[str, list[Any]]:
    """By file pieces of its text: each the number of its first line, and the lines.

    Of a short file they are all of it, of a long one what is near the lines that are named.
    """
    wanted: dict[str, set[int]] = {}
    for file, number, _, _ in lines:
        wanted.setdefault(file, set()).add(number)
    found: dict[str, list[Any]] = {}
    for file, numbers in wanted.items():
        text = source(file).splitlines()
        keep: Sequence[int] = range(1, len(text) + 1)
        if len(text) > SHORT_FILE:
            near = {n for line in numbers for n in range(line - NEAR, line + NEAR + 1)}
            keep = sorted(near.intersection(keep))
        pieces: list[Any] = []
        for n in keep:
            if not pieces or pieces[-1][0] + len(pieces[-1][1]) != n:
                pieces.append([n, []])
            line = text[n - 1]
            pieces[-1][1].append(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …")
        if pieces:
            found[file] = pieces
    return found


def expansions(tape: Tape) -> dict[int, Tape]:
    """The fused records, opened, where the tape kept what it takes."""
    found: dict[int, Tape] = {}
    if tape._read is not None:
        return found
    room = EXPANDED
    for record in tape.records:
        assert record.node is not None
        if record.node.primitive.reference is None or room <= 0:
            continue
        if not all(is_whole(value) or value is None or isinstance(value, (int, float)) for value in record.arguments):
            continue
        try:
            inner = tape.expand(record)
        except GraphError:  # what had arrived there was not kept
            continue
        room -= len(inner.records)
        if room > 0:
            found[record.number] = inner
    return found


def packed(
    tape: Tape, layout_of: Any, *, title: str, failure: Failure | None, inner: Mapping[int, Tape] | None = None
) -> bytes:
    """The payload: header, JSON, arrays.

    Args:
        layout_of: the function that arranges a tape, ``viz.layout.layout``.
        title: of the page.
        failure: what ended the program.
        inner: the fused records that can be opened, see :func:`expansions`.
    """
    packer, inner = Packer(), inner or {}
    tapes = [tape, *inner.values()]
    plain: dict[str, Any] = {
        "title": title,
        "tapes": [packer.tape(each) | {"layout": layout(layout_of(each).plain())} for each in tapes],
        "expansions": {str(number): k + 1 for k, number in enumerate(inner)},
        "formulas": formulas(record for each in tapes for record in each.records),
        "error": None,
    }
    if failure is not None:
        plain["error"] = {"text": failure.text, "trace": failure.trace}
        if failure.line is not None:
            plain["error"]["line"] = packer.line(failure.line)
    plain["lines"] = packer.lines
    plain["sources"] = sources(packer.lines, tape.source)
    plain["arrays"] = packer.table
    plain["dtypes"] = list(packer.dtypes)
    plain["shapes"] = [list(shape) for shape in packer.shapes]
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    return struct.pack("<I", len(text)) + text + packer.buffer()


def layout(plain: dict[str, Any]) -> dict[str, Any]:
    """A layout, whose cells are differences along each row: those of a loop are all the same."""
    for band in plain["bands"]:
        band["cells"] = [[b - a for a, b in itertools.pairwise([0, *row])] for row in band["cells"]]
    return plain


LETTERS = np.frombuffer(bytes(code for code in range(35, 127) if code != ord("<")), np.uint8)
"""91 that stand in a script and in every character set as themselves; without "<" nothing there can end a script."""
PIECE = 13 << 16


def encoded(content: bytes) -> str:
    """Deflated, as text that may stand in a script: 13 bits in two letters, low bits first, and the last 6 in one."""
    data = np.frombuffer(deflated(content), np.uint8)
    pieces = []
    for start in range(0, len(data), PIECE):
        bits = np.unpackbits(data[start : start + PIECE], bitorder="little")
        words = np.zeros((-(-len(bits) // 13), 16), np.uint8)  # of 16 bits, of which 13 are used
        words[:, :13].flat[: len(bits)] = bits
        values = np.packbits(words, axis=1, bitorder="little").view("<u2").ravel()
        pieces.append(LETTERS[np.stack(np.divmod(values, 91)[::-1], axis=1)].tobytes())
    text = b"".join(pieces).decode("ascii")
    return text[:-1] if 0 < 8 * len(data) % 13 <= 6 else text


def deflated(content: bytes) -> bytes:
    """Deflated in blocks of 8,192 symbols, so that styles, scripts and numbers have codes of their own."""
    stream = zlib.compressobj(9, memLevel=6)
    return stream.compress(content) + stream.flush()
